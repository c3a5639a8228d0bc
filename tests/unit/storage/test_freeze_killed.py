# SPDX-License-Identifier: GPL-3.0-or-later
"""A freeze whose run, controller or host dies: run again, thawed, opened by the dead man, and after a boot."""

import json
import os
import signal
import subprocess

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.storage import (
    freeze_mounts,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError
from freeze_host import OPEN_AGAIN, STEPS, thaw_program, wait_until


@pytest.mark.parametrize("step", STEPS)
def test_a_run_killed_anywhere_can_be_run_again(running, step):
    running.touched("a", "a/one", "one")
    running.killed("after " + step)
    result = running.run("frozen")
    assert result["state"] == "drained"
    assert running.text_on_target("a/one") == "one\n"
    assert running.text_on_target("growing.log") == running.text_here("growing.log")
    assert not running.writable()
    running.run("thawed")
    assert running.open_again() == OPEN_AGAIN


@pytest.mark.parametrize("step", ["deadman", "stop_writers", "read_only", "stop_live_sync", "verify"])
def test_a_run_killed_anywhere_can_be_thawed(running, step):
    running.killed("after " + step)
    assert running.run("thawed", run_id="rollback-1")["state"] == "thawed"
    assert running.open_again() == OPEN_AGAIN


def test_the_dead_man_opens_what_a_dead_controller_left_frozen(running):
    running.killed("after read_only", budget=3, deadman=4)
    assert wait_until(lambda: running.state()["state"] == "thawed", 20)
    assert running.open_again() == OPEN_AGAIN
    with pytest.raises(FreezeError, match="opened again by the dead-man"):
        running.run("committed")


@pytest.mark.parametrize("step", ["deadman", "stop_writers", "stop_live_sync", "verify"])
def test_the_thaw_program_opens_what_was_left_at_any_step(running, step):
    running.killed("after " + step)
    assert b"thawed" in thaw_program(running, "deadman", "run-1", "1")
    assert running.open_again() == OPEN_AGAIN


def test_the_dead_man_lets_a_committed_side_and_the_freeze_of_another_run_alone(running):
    running.run("frozen")
    assert b"nothing to do" in thaw_program(running, "deadman", "run-0", "1")
    running.run("committed")
    assert b"nothing to do" in thaw_program(running, "deadman", "run-1", "1")
    assert not running.writable()


def test_a_dead_man_that_was_replaced_by_a_later_one_does_nothing(running):
    running.killed("after read_only")
    running.run("frozen")
    assert b"nothing to do" in thaw_program(running, "deadman", "run-1", "1")
    assert not running.writable()
    assert b"thawed" in thaw_program(running, "deadman", "run-1", "2")
    assert running.open_again() == OPEN_AGAIN


def test_the_dead_man_ends_a_run_that_hangs(running):
    hooks = {"after_stop": [["sleep", "300"]]}
    process = running.start("frozen", budget=5, deadman=6, commands=hooks, hook_timeout=300)
    # The hook has its own limit, the rest of the budget; a process that is stopped keeps no limit at all.
    assert wait_until(lambda: not running.active("upload.service"))
    os.kill(process.pid, signal.SIGSTOP)
    assert wait_until(lambda: process.poll() is not None, 40)
    assert wait_until(lambda: running.open_again() == OPEN_AGAIN)


def test_without_systemd_run_the_dead_man_is_a_process(running):
    os.unlink(os.path.join(running.bin, "systemd-run"))
    running.path = os.environ["PATH"] = running.bin + os.pathsep + "/nowhere"
    for name in ("rsync", "mount", "sleep"):
        os.symlink("/usr/bin/" + name, os.path.join(running.bin, name))
    running.killed("after read_only", budget=3, deadman=4)
    assert running.state()["deadman"]["pid"]
    assert wait_until(lambda: running.state()["state"] == "thawed")
    assert running.open_again() == OPEN_AGAIN


def test_two_runs_at_once_the_second_is_told_of_the_first(running):
    first = running.start("frozen", commands={"after_stop": [["sleep", "2"]]})
    assert wait_until(lambda: not running.active("upload.service"))
    with pytest.raises(FreezeError, match="run run-1 .* is working on it"):
        running.run("frozen", run_id="run-2")
    assert json.loads(first.communicate(timeout=30)[0])["state"] == "drained"
    with pytest.raises(FreezeError, match="run run-1 has frozen it .opens by itself at"):
        running.run("frozen", run_id="run-2")
    assert running.run("frozen", run_id="run-2", take_over=True)["state"] == "drained"
    with pytest.raises(FreezeError, match="not drained by this run"):
        running.run("committed")


def test_after_a_boot_a_committed_side_is_closed_again(running):
    running.run("frozen")
    running.run("committed")
    for entry in reversed(freeze_mounts.mounts_of()):   # what a boot does to mounts
        if os.fsdecode(entry.point) in (running.tree, os.path.join(running.private, "data")):
            freeze_mounts.unmount(entry.point)
    assert running.writable()
    thaw_program(running, "boot")
    assert not running.writable()
    running.put("reverse", where=os.path.join(running.private, "data"))


def test_after_a_boot_the_migration_has_its_door_into_a_held_side_again(host):
    host.writer()
    host.run("staged", tree={"live_sync": {"method": "none"}})
    host.run("held")
    door = os.path.join(host.private, "data")
    for entry in reversed(freeze_mounts.mounts_of()):
        if os.fsdecode(entry.point) in (host.tree, door):
            freeze_mounts.unmount(entry.point)
    os.rmdir(door)
    assert b"state held" in thaw_program(host, "boot")
    host.put("carried", where=door)
    assert os.path.exists(os.path.join(host.tree, "carried"))


def test_after_a_boot_a_side_that_was_only_frozen_is_opened(running):
    running.run("frozen")
    for entry in reversed(freeze_mounts.mounts_of()):
        if os.fsdecode(entry.point) in (running.tree, os.path.join(running.private, "data")):
            freeze_mounts.unmount(entry.point)
    thaw_program(running, "boot")
    assert running.open_again() == OPEN_AGAIN
    assert running.run("read")["unwatched_since"] > 0
    with pytest.raises(FreezeError, match="opened again by the boot"):
        running.run("committed")


def test_an_operator_opens_a_frozen_side_without_the_controller_but_not_a_committed_one(running):
    program = os.path.join(running.root, "usr/local/lib/seamless-migration/storage-thaw")
    running.run("frozen")
    assert subprocess.call([program, "--root", running.root, "now", "files2026"]) == 0
    assert running.open_again() == OPEN_AGAIN
    running.run("frozen", run_id="run-2")
    running.run("committed", run_id="run-2")
    assert subprocess.call([program, "--root", running.root, "now", "files2026"]) == 1
    assert not running.writable()


def test_absent_takes_away_everything_that_was_laid(running):
    with pytest.raises(FreezeError, match="what keeps it so must stay"):
        running.run("frozen")
        running.run("absent")
    running.run("thawed")
    running.run("absent")
    left = [os.path.join(folder, name) for folder, _unused, names in os.walk(running.root) for name in names]
    assert [path for path in left if not path.endswith(".lock")] == []
    assert running.tree not in [os.fsdecode(entry.point) for entry in freeze_mounts.mounts_of()]
    assert running.open_again() == OPEN_AGAIN
    assert running.run("absent")["changed"] is False


def test_a_terminated_run_undoes_what_it_did(running):
    process = running.start("frozen", commands={"after_stop": [["sleep", "4"]]})
    assert wait_until(lambda: not running.active("upload.service"))
    os.kill(process.pid, signal.SIGTERM)
    assert "told to end" in json.loads(process.communicate(timeout=30)[0])["msg"]
    assert running.open_again() == OPEN_AGAIN
