# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies a tree with two workers, whose controller is killed, and then one of them. The order matters."""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import testinfra
from migration_story import descendants

CHECKOUT = Path(__file__).resolve().parents[3]
LAB = str(CHECKOUT / "lab/lab")
NAME = os.environ.get("LAB_NAME", "mol-storage_workers")
STATE = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "state")
WORKERS = ("nfs_client1", "nfs_client2")
LIMIT = 320 * 1024
SHOW = """
import hashlib, json, os, stat
seen, groups, top = {}, {}, b"/srv/files"
for folder, folders, names in sorted(os.walk(top)):
    for name in sorted(folders + names) + ([b""] if folder == top else []):
        path = os.path.join(folder, name).rstrip(b"/")
        status, key = os.lstat(path), os.path.relpath(path, top).decode("latin-1")
        if key.startswith((".seamless-", "cache", "lost+found")):
            continue
        content = ""
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as stream:
                content = hashlib.sha256(stream.read()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path).decode("latin-1")
        attributes = sorted((one, os.getxattr(path, one, follow_symlinks=False).hex())
                            for one in os.listxattr(path, follow_symlinks=False))
        group = None if stat.S_ISDIR(status.st_mode) else groups.setdefault(status.st_ino, key)
        seen[key] = [status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content, attributes, group]
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def inventory(request):
    return request.config.getoption("--ansible-inventory")


@pytest.fixture(scope="module")
def hosts(inventory):
    names = ("nfs_old", "files_new", *WORKERS)
    return {name: testinfra.get_host("ansible://" + name, ansible_inventory=inventory) for name in names}


def tree(host):
    code = base64.b64encode(SHOW.encode()).decode()
    return json.loads(host.check_output("echo %s | base64 -d | python3 -" % code))


def journal():
    """Measurements of the copy so far."""
    lines = [line for path in STATE.glob("**/*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    return [event for event in map(json.loads, lines) if event["event"] == "measured"]


class Run:
    """One run of storage_copy. Its output is kept in a file."""

    def __init__(self, inventory, folder, name):
        self.log = folder / name
        self.begin = len(journal())
        with open(self.log, "w", encoding="utf-8") as stream:
            argv = ["ansible-playbook", "-i", inventory, str(CHECKOUT / "playbooks/storage_copy.yml")]
            self.process = subprocess.Popen(argv, stdout=stream, stderr=stream, start_new_session=True)

    def events(self, step):
        return [event for event in journal()[self.begin :] if event["step"] == step]

    def wait_for_lists_of(self, host, timeout=120):
        """Wait until a worker has copied files, and is not through with what it was dealt."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for event in self.events("part_copy"):
                data = event["data"]
                if event["host"] == host and 0 < data["files_done"] < data["files_total"]:
                    return
            assert self.process.poll() is None, self.output()
            time.sleep(0.2)
        raise AssertionError("%s does not copy: %s" % (host, self.output()))

    def kill(self):
        """Power off the controller, with the workers of Ansible, which would go on to write to the journal."""
        for pid in descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def end(self, timeout=400):
        assert self.process.wait(timeout) == 0, self.output()
        return self.output()

    def output(self):
        return self.log.read_text(encoding="utf-8")


def becomes_equal(hosts, within=150):
    """What a dead worker had begun to send stays beside the files until the daemon waits for it no longer (60 s)."""
    end = time.monotonic() + within
    copy, source = tree(hosts["files_new"]), tree(hosts["nfs_old"])
    while copy != source and time.monotonic() < end:
        time.sleep(5)
        copy = tree(hosts["files_new"])
    assert copy == source


def recap(output, word):
    return {host: int(number) for host, number in re.findall(r"^(\w+) +:.*?%s=(\d+)" % word, output, re.M)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def test_the_port_of_the_daemon_is_open_for_the_workers_and_the_source_only(hosts):
    rules = hosts["files_new"].check_output("firewall-cmd --list-rich-rules")
    allowed = set(re.findall(r'source address="([0-9.]+)', rules))
    assert len(allowed) == 3


def test_killed_controller_and_killed_worker_cost_nothing_but_time(inventory, hosts, folder):
    first = Run(inventory, folder, "killed")
    for worker in WORKERS:
        first.wait_for_lists_of(worker)
    first.kill()
    lists = hosts["nfs_old"].check_output("ls /srv/files/.seamless-lists")
    assert hosts["nfs_old"].check_output("stat -c %a /srv/files/.seamless-lists") == "700"

    second = Run(inventory, folder, "goes on")
    second.wait_for_lists_of("nfs_client2")
    assert hosts["nfs_old"].check_output("ls /srv/files/.seamless-lists") == lists      # the tree is not cut again
    subprocess.run([LAB, "kill", "--name", NAME, "nfs_client2"], check=True, timeout=60)
    output = second.end()

    parts = [(event["host"], event["data"]) for event in second.events("part")]
    lost = [data for host, data in parts if host == "nfs_client2" and data["state"] == "lost"]
    assert len(lost) == 1, parts
    after = [host for host, data in parts if data["state"] == "done"]
    assert after.count("nfs_client1") >= 2, output      # its own lists, and then those of the other one
    copied = second.events("copied")[-1]["data"]
    assert copied["state"] == "done"
    becomes_equal(hosts)
    assert hosts["files_new"].run("ls /srv/files/cache").rc != 0
    assert hosts["nfs_old"].run("ls -d /srv/files/.seamless-lists").rc != 0
    assert hosts["files_new"].run("ls -d /srv/files/.seamless-*").rc != 0


def test_the_workers_copied_and_the_source_only_what_they_left(hosts):
    """All contents of ordinary files went through the workers."""
    by_worker = {}
    for event in journal():
        if event["step"] == "part":
            by_worker[event["host"]] = by_worker.get(event["host"], 0) + event["data"]["files"]
    assert by_worker["nfs_client1"] > 400
    answer = hosts["nfs_old"].check_output("cat /var/lib/seamless-migration/bulk/data/progress")
    assert json.loads(answer)["state"] == "done"


def test_all_workers_together_kept_to_the_limit():
    """What each had sent when it was looked at, over the time between two looks at all of them."""
    for event in journal():
        if event["step"] == "part_copy":
            assert event["data"]["limit_kib_per_s"] in (160, 320)
    for event in journal():
        if event["step"] == "part" and event["data"]["seconds"] > 5:
            assert event["data"]["bytes"] / event["data"]["seconds"] < 1.1 * LIMIT


def test_run_again_with_a_worker_that_is_still_dead_nothing_changes(inventory, hosts, folder):
    output = Run(inventory, folder, "again").end()
    assert recap(output, "changed") == dict.fromkeys(("nfs_old", "files_new", "nfs_client1", "nfs_client2"), 0)
    assert "nfs_client2 is left out of the copy" in output
    assert tree(hosts["files_new"]) == tree(hosts["nfs_old"])
