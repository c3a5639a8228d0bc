# SPDX-License-Identifier: GPL-3.0-or-later
"""After the cutover and after the rollback: nothing is lost, and the timer runs on the side that serves only."""

import json
import os
import subprocess
import sys
import time

import pytest

testinfra_hosts = ["ansible://app1"]
ROOT = os.environ["MOLECULE_PROJECT_DIRECTORY"]
NAME = "mol-" + os.environ["MOLECULE_SCENARIO_NAME"]
TIMER = "seamless-live-sync-data.timer"


def lab(command, *words, ok=(0,)):
    argv = [sys.executable, os.path.join(ROOT, "lab", "lab"), command, *words, "--name", NAME]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode in ok, done.stdout + done.stderr
    return done.stdout


def server(host, name):
    return host.get_host("ansible://%s?ansible_inventory=%s" % (name, host.backend.ansible_inventory))


@pytest.fixture(name="sides")
def _sides(host):
    """The server that the clients use by now, and the one that they have left: (name, host) of each."""
    found = [(name, server(host, name)) for name in ("files_old", "files_new")]
    found.sort(key=lambda one: not one[1].service("upload").is_running)
    return found


def test_nothing_is_lost_different_or_extra_where_the_clients_write(sides, tmp_path):
    time.sleep(3)  # people go on writing for a while
    path = tmp_path / "verdict.json"
    lab("writers", "pause")
    try:
        lab("verdict", "--host", sides[0][0], "--json", str(path), ok=(0, 3))
    finally:
        lab("writers", "resume")
    found = json.loads(path.read_text())
    assert [found[kind] for kind in ("lost", "different", "extra", "refused")] == [0, 0, 0, 0], found["paths"]
    assert found["acknowledged"] > 50
    assert not found["two_servers_at_once"]


def test_one_server_serves_and_the_other_takes_no_writes(sides):
    (_name, serves), (_other, left) = sides
    assert serves.service("upload").is_running
    assert not left.service("upload").is_running
    assert "Read-only file system" in left.run("touch /srv/files/not-here").stderr


def test_the_timer_runs_where_people_write_and_there_only(sides):
    (_name, serves), (_other, left) = sides
    assert serves.run("systemctl is-active %s", TIMER).stdout.strip() == "active"
    assert left.run("systemctl is-active %s", TIMER).stdout.strip() != "active"
    assert serves.run("pgrep -x lsyncd").rc != 0
