# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is done to a copy in between, at its end both sides are equal, and nothing was copied twice."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import testinfra

testinfra_hosts = ["ansible://files_old"]
PROJECT = Path(__file__).resolve().parents[3]
LARGE = 160 << 18


def lab(verb, *arguments):
    name = "mol-" + os.environ["MOLECULE_SCENARIO_NAME"]
    subprocess.run([str(PROJECT / "lab" / "lab"), verb, "--name", name, *arguments], check=True, capture_output=True)


@pytest.fixture
def target(host):
    return testinfra.get_host("ansible://files_new", ansible_inventory=host.backend.ansible_runner.inventory_file)


def differences(host, source, module, *more):
    """What rsync, with every attribute and the content looked at, would still change."""
    return host.check_output(
        "rsync -naHAXc --numeric-ids --delete --modify-window=-1 --password-file=/etc/seamless-migration/rsync.secret "
        "--exclude='/.seamless-*' --exclude=/lost+found --itemize-changes " + " ".join(more)
        + " %s/ rsync://migration@files_new/%s/" % (source, module))


class Copy:
    """The copy of /srv/large to one module, steered from outside."""

    def __init__(self, host, module, **options):
        self.host = host
        self.module = module
        self.options = dict({
            "src": "/srv/large", "dest": "rsync://migration@files_new/%s/" % module, "job": "story-" + module,
            "password_file": "/etc/seamless-migration/rsync.secret", "sentinel": ".seamless-sentinel", "workers": 4,
            "partition_files": 8,
        }, **options)

    def ask(self, state, **more):
        options = dict(self.options, state=state)
        options.update(more)
        answer = self.host.ansible("seamless.migration.bulk_copy", json.dumps(options), check=False)
        return dict(answer, failed="msg" in answer)  # testinfra does not say; only a failure has a msg

    def wait(self, until, timeout=120):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            answer = self.ask("status")
            if until(answer):
                return answer
            time.sleep(0.5)
        raise AssertionError("not within %d s: %r" % (timeout, answer))


@pytest.fixture
def copy(host, target):
    target.check_output("find /srv/second -mindepth 1 -delete")
    host.check_output("rm -rf /var/lib/seamless-migration/bulk/story-second")
    made = Copy(host, "second")
    yield made
    if made.ask("status")["state"] not in ("absent", "done"):
        made.ask("stopped")


def test_everything_that_a_file_system_holds_is_equal(host):
    assert differences(host, "/srv/files", "data", "--exclude='*.tmp'") == ""


def test_what_was_left_out_is_not_there(target):
    assert not target.file("/srv/files/left-out.tmp").exists
    assert not target.file("/srv/files/.seamless-sentinel").exists


def test_hard_links_and_holes_are_what_they_were(target):
    assert target.check_output("find /srv/files/kinds -type f -links +1 | wc -l") == "70"
    assert int(target.check_output("stat -c %b /srv/files/sparse")) < 1000


def test_a_copy_killed_in_the_middle_goes_on(host, copy):
    copy.ask("started", bwlimit_kib_per_s=512)  # slow enough that a busy controller looks before it is done
    answer = copy.wait(lambda answer: answer["progress"].get("bytes_done", 0) > LARGE // 20)
    engine = answer["progress"]["pid"]
    host.run("kill -STOP %d; pkill -9 -P %d; kill -9 %d" % (engine, engine, engine))
    assert copy.wait(lambda answer: answer["state"] == "stopped")["state"] == "stopped"
    answer = copy.ask("done", bwlimit_kib_per_s=0)
    assert answer["state"] == "done" and answer["bytes"] < LARGE
    assert differences(host, "/srv/large", "second") == ""


def test_a_link_cut_for_half_a_minute_is_survived(host, copy):
    copy.ask("started", bwlimit_kib_per_s=2048, io_timeout=10)
    copy.wait(lambda answer: answer["progress"].get("bytes_done", 0) > LARGE // 8)
    lab("cut", "files_new")
    time.sleep(30)
    lab("mend", "files_new")
    copy.ask("running", bwlimit_kib_per_s=0)
    assert copy.wait(lambda answer: answer["state"] != "running")["state"] == "done"
    assert differences(host, "/srv/large", "second") == ""


def test_a_running_copy_is_paused_and_its_limit_changed(host, copy):
    copy.ask("started", bwlimit_kib_per_s=1024)
    copy.wait(lambda answer: answer["progress"].get("sent_bytes", 0) > 1 << 20)
    assert copy.ask("paused")["state"] == "paused"
    before = copy.wait(lambda answer: answer["state"] == "paused")["progress"]["sent_bytes"]
    time.sleep(3)
    assert copy.ask("status")["progress"]["sent_bytes"] - before < 1 << 20
    assert copy.ask("running", bwlimit_kib_per_s=0)["changed"]
    assert copy.wait(lambda answer: answer["state"] == "done")["progress"]["limit_kib_per_s"] == 0
    assert differences(host, "/srv/large", "second") == ""


def test_a_target_that_is_too_small_is_told_before_the_copy_and_when_it_fills_up(host, target):
    copy = Copy(host, "small")
    answer = copy.ask("done", dest_free_bytes=16 << 20)
    assert answer.get("failed") and "needs at least" in answer["msg"], answer
    answer = copy.ask("done")
    assert answer.get("failed") and "full" in answer["msg"] and "Make room" in answer["msg"], answer
    target.check_output("mount -o remount,size=200m /srv/small")
    assert copy.ask("done")["state"] == "done"
    assert differences(host, "/srv/large", "small") == ""


def test_a_wrong_secret_is_told(host, copy):
    host.check_output("install -m 600 /dev/null /root/wrong && echo wrong > /root/wrong")
    answer = copy.ask("done", password_file="/root/wrong")
    assert answer.get("failed") and "refuses user or secret" in answer["msg"], answer


def test_a_source_that_is_not_mounted_deletes_nothing(host, target):
    copy = Copy(host, "second", src="/srv/unmounted", job="story-unmounted", delete=True, max_delete=-1)
    target.check_output("touch /srv/second/kept")
    host.check_output("mkdir -p /srv/unmounted")
    assert "empty" in copy.ask("done")["msg"]
    host.check_output("touch /srv/unmounted/something")
    assert "sentinel" in copy.ask("done")["msg"]
    assert target.file("/srv/second/kept").exists
