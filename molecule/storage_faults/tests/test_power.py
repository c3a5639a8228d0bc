# SPDX-License-Identifier: GPL-3.0-or-later
"""Both servers lose their power: each knows by itself after the boot whether it may serve."""

import signal
import time

from fault_story import (
    goes_back,
    goes_forward,
    kill_while_nobody_can_write,
    nothing_is_lost,
    other,
    state_of,
    writers_go_on,
)
from migration_story import Run, lab, play

testinfra_hosts = ["ansible://storage_source"]


def power_cut():
    for server in ("files_old", "files_new"):
        lab("kill", server)
    for server in ("files_new", "files_old"):
        lab("start", server)


def settled(host, within=120):
    """Whether the host has booted."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if host.run("systemctl is-system-running --wait").stdout.strip() in ("running", "degraded"):
            return True
        time.sleep(1)
    return False


def test_a_freeze_that_a_power_cut_ended_leaves_the_source_serving_and_the_target_closed(host, tmp_path):
    killed = Run("storage_cutover", at=("window_opened",), act=kill_while_nobody_can_write)
    assert killed.end() == -signal.SIGKILL
    power_cut()
    assert settled(host)
    assert settled(other(host))
    assert state_of(host) == "thawed"
    assert host.service("upload").is_running
    assert not other(host).service("upload").is_running
    assert writers_go_on()
    assert nothing_is_lost("files_old", tmp_path)
    play("storage_verify")
    goes_forward(host, tmp_path)


def test_after_a_power_cut_the_server_that_was_left_stays_closed_and_the_way_back_stays_open(host, tmp_path):
    power_cut()
    assert settled(host)
    assert settled(other(host))
    assert state_of(host) == "committed"
    assert not host.service("upload").is_running
    assert "Read-only file system" in host.run("touch /srv/files/new").stderr
    assert other(host).service("upload").is_running
    assert writers_go_on()
    assert nothing_is_lost("files_new", tmp_path)
    goes_back(host, tmp_path)
