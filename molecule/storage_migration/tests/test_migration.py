# SPDX-License-Identifier: GPL-3.0-or-later
"""After the cutover and after the rollback: the side that serves has everything, the other one takes nothing."""

import json
import os
import subprocess
import time
from urllib.parse import unquote

import pytest

testinfra_hosts = ["ansible://app1"]
ROOT = os.environ["MOLECULE_PROJECT_DIRECTORY"]
NAME = "mol-storage_migration"


def lab(*words, ok=(0,)):
    done = subprocess.run([os.path.join(ROOT, "lab", "lab"), *words], check=False, capture_output=True, text=True)
    assert done.returncode in ok, done.stdout + done.stderr
    return done.stdout


def storage_host(host, name):
    return host.get_host("ansible://%s?ansible_inventory=%s" % (name, host.backend.ansible_inventory))


@pytest.fixture(name="serving")
def _serving(host):
    """Which server the clients use by now, and which they have left."""
    address = host.run("getent hosts files.lab").stdout.split()[0]
    inventory = json.loads("\n".join(lab("inventory", "--name", NAME).splitlines()[1:]))
    groups = inventory["all"]["children"]
    old = groups["storage_source"]["hosts"]["files_old"]["ansible_host"]
    return ("files_old", "files_new") if address == old else ("files_new", "files_old")


def evidence(host, found):
    """What is known of the first path that is not as it was acknowledged: its log, and the file on both servers."""
    wrong = [*found["paths"]["lost"], *found["paths"]["different"], *found["paths"]["extra"]]
    if not wrong:
        return found["paths"]
    logged = host.run("grep -hF %s /var/lib/lab/writers/*.jsonl | tail -n 20", '"%s"' % wrong[0]).stdout
    place = "/srv/files/" + unquote(wrong[0])
    there = [
        storage_host(host, name).run("stat -c '%%n %%s %%y %%z %%i %%h' -- %s; sha256sum -- %s", place, place).stdout
        for name in ("files_old", "files_new")
    ]
    return [found["paths"], logged, *there]


def test_nothing_is_lost_different_or_extra_where_the_clients_write(host, serving, tmp_path):
    time.sleep(3)  # people go on writing for a while
    path = tmp_path / "verdict.json"
    lab("writers", "pause", "--name", NAME)
    try:
        lab("verdict", "--name", NAME, "--host", serving[0], "--json", str(path), ok=(0, 3))
        found = json.loads(path.read_text())
        counts = [found[kind] for kind in ("lost", "different", "extra", "refused")]
        assert counts == [0, 0, 0, 0], evidence(host, found)
    finally:
        lab("writers", "resume", "--name", NAME)
    assert found["acknowledged"] > 100
    assert not found["two_servers_at_once"]


def test_the_server_that_was_left_takes_no_writes(host, serving):
    left = storage_host(host, serving[1])
    tried = left.run("touch /srv/files/not-here")
    assert tried.rc != 0 and "Read-only file system" in tried.stderr
    assert not left.service("upload").is_running


def test_the_server_that_serves_runs_the_service_and_carries_everything_back(host, serving):
    serves = storage_host(host, serving[0])
    assert serves.service("upload").is_running
    assert serves.run("pgrep -x lsyncd").rc == 0
    assert storage_host(host, serving[1]).run("pgrep -x lsyncd").rc != 0
