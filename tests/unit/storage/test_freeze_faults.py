# SPDX-License-Identifier: GPL-3.0-or-later
"""A freeze that meets faults before and in the window: each is told, and what was begun is undone."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import OptionError
from ansible_collections.seamless.migration.plugins.module_utils.storage import (
    freeze_drain,
    freeze_mounts,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError
from freeze_host import OPEN_AGAIN, thaw_program


def test_a_full_target_undoes_the_freeze(running):
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", running.target])
    running.put("big", "x" * 3000000)
    running.touched("big")
    with pytest.raises(FreezeError, match="(?s)Everything was put back"):
        running.run("frozen")
    assert running.open_again() == OPEN_AGAIN


def test_a_target_that_became_read_only_stops_the_run_before_anything_is_touched(running):
    before = running.calls()
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", running.target])
    with pytest.raises(FreezeError, match="canary"):
        running.run("frozen")
    assert [call for call in running.calls()[len(before):] if call.startswith("stop")] == []
    assert running.state()["state"] == "staged"
    assert running.active("upload.service")


def test_a_dead_daemon_stops_the_run_before_anything_is_touched(running):
    before = running.calls()
    running.daemon.kill()
    running.daemon.wait(5)
    with pytest.raises(FreezeError, match="does not answer"):
        running.run("frozen")
    assert [call for call in running.calls()[len(before):] if call.startswith("stop")] == []
    assert running.state()["state"] == "staged"


def test_a_daemon_that_dies_in_the_window_undoes_the_freeze(running):
    with pytest.raises(FreezeError, match="Everything was put back"):
        running.run("frozen", commands={"after_drain": [["kill", "-9", str(running.daemon.pid)]]})
    assert running.open_again() == OPEN_AGAIN


def test_live_sync_that_is_down_stops_the_run_before_anything_is_touched(running):
    subprocess.check_call(["systemctl", "stop", "lsyncd.service"])
    with pytest.raises(FreezeError, match="live sync does not run"):
        running.run("frozen")
    assert running.active("upload.service")


def live_sync_pid(host):
    with open(os.path.join(host.units, "lsyncd.service.json")) as stream:
        return json.load(stream)["pid"]


def test_a_canary_that_does_not_arrive_undoes_the_freeze(running):
    pid = live_sync_pid(running)
    try:
        with pytest.raises(FreezeError, match="canary did not arrive.*Everything was put back"):
            running.run("frozen", drain_timeout=2, commands={"after_stop": [["kill", "-STOP", str(pid)]]})
    finally:
        os.kill(pid, signal.SIGCONT)
    assert running.open_again() == OPEN_AGAIN


def test_a_live_sync_that_lags_stops_the_run_before_anything_is_touched(running):
    pid = live_sync_pid(running)
    os.kill(pid, signal.SIGSTOP)
    before = running.calls()
    try:
        with pytest.raises(FreezeError, match="canary did not arrive"):
            running.run("frozen", drain_timeout=1)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [call for call in running.calls()[len(before):] if call.startswith("stop")] == []
    assert running.state()["state"] == "staged"


def test_what_the_guard_could_not_carry_is_carried_in_the_window(running):
    running.put("failed once", "now\n")
    running.touched("failed once", kind="dirty")
    assert running.run("frozen")["lists"]["data"]["dirty"] == 1
    assert running.text_on_target("failed once") == "now\n"


@pytest.mark.parametrize("sign", ["halted", "touched.overflow"])
def test_a_guard_that_cannot_vouch_for_its_lists_stops_the_run(running, sign):
    running.touched("x", kind=sign)
    with pytest.raises(FreezeError, match="the guard"):
        running.run("frozen")
    assert running.active("upload.service")


def test_hard_links_arrive_as_links(running):
    running.put("first", "linked\n")
    running.put("first", "linked\n", where=running.target)
    os.link(os.path.join(running.tree, "first"), os.path.join(running.tree, "second"))
    running.touched("second")
    running.run("frozen")
    first, second = (os.stat(os.path.join(running.target, name)) for name in ("first", "second"))
    assert first.st_ino == second.st_ino


def test_what_was_written_through_a_name_that_is_gone_arrives_under_the_names_that_stay(running):
    running.put("first", "old\n")
    running.put("first", "old\n", where=running.target)
    second = os.path.join(running.tree, "second")
    os.link(os.path.join(running.tree, "first"), second)
    with open(second, "a") as stream:
        stream.write("new\n")
    running.touched("second")
    running.touched("second", kind="hardlinks")
    running.touched(str(os.stat(second).st_ino), kind="inodes")
    os.unlink(second)
    result = running.run("frozen")
    assert running.text_on_target("first") == "old\nnew\n"
    assert result["lists"]["data"]["links_that_stay"] == 1


def test_a_difference_after_the_last_copy_undoes_the_freeze(running, monkeypatch):
    from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze_transfer

    bring = freeze_transfer.bring

    def spoiled(*arguments, **named):
        done = bring(*arguments, **named)
        running.put("a/one", "bad\n", where=running.target)
        return done

    monkeypatch.setattr(freeze_transfer, "bring", spoiled)
    running.touched("a/one")
    with pytest.raises(FreezeError, match="1 paths differ after the last copy, first data: a/one"):
        running.run("frozen")
    assert running.open_again() == OPEN_AGAIN


def test_a_writer_that_does_not_stop_undoes_the_freeze(running):
    running.unit("slow.service", stubborn=True)
    with pytest.raises(FreezeError, match="did not end within"):
        running.run("frozen", writers=["upload.service", "slow.service"], stop_timeout=1)
    assert running.open_again() == OPEN_AGAIN


def test_a_hook_that_fails_undoes_the_freeze_and_the_undo_hook_runs(running):
    mark = os.path.join(running.folder, "undone")
    with pytest.raises(FreezeError, match="Everything was put back"):
        running.run("frozen", commands={"after_stop": [["false"]], "on_undo": [["touch", mark]]})
    assert os.path.exists(mark)
    assert running.open_again() == OPEN_AGAIN


def test_a_writer_that_does_not_start_again_is_told_and_the_next_thaw_finishes(running):
    running.run("frozen")
    running.unit("upload.service", active=False, broken=True)
    with pytest.raises(FreezeError, match="start upload.service"):
        running.run("thawed")
    assert running.state()["state"] == "thawing"
    running.unit("upload.service", active=False)
    assert running.run("thawed")["state"] == "thawed"
    assert running.active("upload.service")


def test_a_thaw_after_the_commit_that_is_finished_later_does_not_start_live_sync(running):
    running.run("frozen")
    running.run("committed")
    running.unit("upload.service", active=False, broken=True)
    with pytest.raises(FreezeError, match="start upload.service"):
        running.run("thawed", other_side_frozen=True, other_side_run="r")
    running.unit("upload.service", active=False)
    running.run("thawed")
    assert running.open_again() == {"writable": True, "writer": True, "sync": False}


def test_more_paths_than_allowed_undo_the_freeze(running):
    running.touched(*["file-%d" % number for number in range(50)])
    with pytest.raises(FreezeError, match="more than max_delta 10"):
        running.run("frozen", max_delta=10)
    assert running.open_again() == OPEN_AGAIN


def test_a_unit_that_does_not_exist_is_told_before_anything_is_touched(running):
    with pytest.raises(FreezeError, match="uplaod.service is no unit"):
        running.run("frozen", writers=["upload.service", "uplaod"])
    assert running.active("upload.service")


def test_a_missing_sentinel_stops_the_run_before_anything_is_touched(running):
    os.unlink(os.path.join(running.tree, ".seamless-sentinel"))
    with pytest.raises(FreezeError, match="not mounted"):
        running.run("frozen")
    assert running.active("upload.service")


def test_a_whole_file_system_can_be_closed_and_opens_for_the_door_at_the_commit(host):
    host.live_sync()
    host.writer()
    host.run("frozen", read_only="remount")
    with pytest.raises(OSError):
        open(os.path.join(host.disk, "elsewhere"), "w").close()
    host.run("committed", read_only="remount")
    open(os.path.join(host.disk, "elsewhere"), "w").close()
    assert not host.writable()
    host.put("reverse", where=os.path.join(host.private, "data"))
    host.run("thawed", other_side_frozen=True, other_side_run="x", read_only="remount")
    assert host.writable()


def test_the_bandwidth_limit_is_lifted_and_comes_back_with_the_undo(running):
    limit = running.put("limit", "5000\n", where=running.folder)
    tree = running.params("frozen")["trees"][0]
    sync = dict(tree["live_sync"], bwlimit_file=limit)
    running.run("frozen", tree={"live_sync": sync})
    assert running.text_here(limit) == "0\n"
    running.run("thawed")
    assert running.text_here(limit) == "5000\n"


def test_a_tree_without_live_sync_gets_a_full_pass(host):
    host.unit("upload.service")
    host.put("a/new", "new\n")
    host.put("gone", "x", where=host.target)
    result = host.run("frozen", tree={"live_sync": {"method": "none"}})
    assert result["state"] == "drained"
    assert host.text_on_target("a/new") == "new\n"
    assert not os.path.exists(os.path.join(host.target, "gone"))


def test_a_pass_of_a_timer_is_ended_in_the_window_and_an_undo_starts_the_timer_alone(host):
    host.writer()
    host.unit("live-sync.timer")
    job = host.unit("live-sync.service", ["sleep", "3600"])
    units = ["live-sync.timer", "live-sync.service"]
    tree = {"live_sync": {"method": "periodic", "service": units}}
    assert host.run("frozen", tree=tree)["state"] == "drained"
    assert [host.active(unit) for unit in units] == [False, False]
    assert freeze_drain.wait_gone([job], 0) == []
    host.run("thawed", tree=tree)
    assert [host.active(unit) for unit in units] == [True, False]


def test_a_difference_after_a_full_pass_undoes_the_freeze(host, monkeypatch):
    from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze_transfer

    host.unit("upload.service")
    whole = freeze_transfer.whole

    def spoiled(*arguments, **named):
        if named.get("dry_run"):
            host.put("extra", "x", where=host.target)
        return whole(*arguments, **named)

    monkeypatch.setattr(freeze_transfer, "whole", spoiled)
    with pytest.raises(FreezeError, match="paths differ after the last copy"):
        host.run("frozen", tree={"live_sync": {"method": "none"}})
    assert host.writable() and host.active("upload.service")


def test_a_host_without_systemd_is_told_where_there_are_no_writers_either(host, monkeypatch):
    os.unlink(os.path.join(host.bin, "systemctl"))
    monkeypatch.setattr(command, "which", lambda name: None if name == "systemctl" else shutil.which(name))
    with pytest.raises(FreezeError, match="A freeze needs systemd"):
        host.run("staged", writers=[], tree={"live_sync": {"method": "none"}})


def test_a_held_side_has_no_writers_but_takes_the_copy(host):
    host.unit("upload.service")
    assert host.run("held")["changed"] is True
    assert host.run("held")["changed"] is False
    subprocess.check_call(["systemctl", "start", "upload.service"])
    assert not host.active("upload.service")
    assert host.writable()
    with pytest.raises(FreezeError, match="Freeze the other side"):
        host.run("thawed")
    host.run("thawed", other_side_frozen=True, other_side_run="run-1")
    assert host.active("upload.service")
    assert host.run("held")["changed"] is False
    assert host.active("upload.service")


def test_a_held_side_can_be_closed_for_everybody_but_the_copy(host):
    host.unit("upload.service")
    door = os.path.join(host.private, "data")
    held = {"hold_read_only": True, "tree": {"live_sync": {"method": "none"}}}
    assert host.run("held", **held)["changed"] is True
    assert host.run("held", **held)["changed"] is False
    assert not host.writable()
    host.put("carried", where=door)
    for entry in reversed(freeze_mounts.mounts_of()):
        if os.fsdecode(entry.point) in (host.tree, door):
            freeze_mounts.unmount(entry.point)
    assert host.writable()
    thaw_program(host, "boot")
    assert not host.writable()
    host.run("thawed", other_side_frozen=True, other_side_run="run-1")
    assert host.writable() and host.active("upload.service")


@pytest.fixture
def left(running):
    """The side that was left, as a target is after the way back."""
    running.run("frozen")
    running.run("committed")
    return running


def test_a_side_that_was_left_is_held_already_and_opens_only_with_evidence(left):
    before = left.state()
    done = left.run("held", run_id="prepare-2", tree={"dest_url": "", "live_sync": {"method": "none"}})
    assert (done["changed"], done["state"], done["run_id"]) == (False, "committed", "run-1")
    assert left.state() == before
    assert not left.writable() and not left.active("upload.service")
    left.put("carried", where=os.path.join(left.private, "data"))
    for writers in (True, False):
        with pytest.raises(FreezeError, match="Freeze the other side"):
            left.run("thawed", run_id="prepare-2", start_writers=writers)
    left.run("thawed", run_id="cutover-2", other_side_frozen=True, other_side_run="cutover-2")
    assert left.writable() and left.active("upload.service")


def another_tree(host):
    """A second tree of the same host, for params."""
    path = os.path.join(host.disk, "srv", "other")
    os.makedirs(path)
    changes = {"name": "other", "path": path, "private_path": os.path.join(host.private, "other"), "sentinel": "",
               "dest_url": "", "live_sync": {"method": "none"}}
    return dict(host.params("held")["trees"][0], **changes)


def test_what_is_new_since_a_side_was_left_is_blocked_and_has_its_door(left):
    left.unit("second.service")
    trees = left.params("held")["trees"] + [another_tree(left)]
    held = {"writers": ["upload.service", "second.service"], "trees": trees}
    assert left.run("held", **held)["changed"] is True
    assert left.run("held", **held)["changed"] is False
    subprocess.check_call(["systemctl", "start", "second.service"])
    assert not left.active("second.service")
    left.put("carried", where=os.path.join(left.private, "other"))
    assert left.state()["state"] == "committed" and not left.writable()
    assert left.run("held", **dict(held, trees=trees[1:]))["changed"] is False
    left.run("thawed", other_side_frozen=True, other_side_run="cutover-2", **held)
    assert left.writable() and left.active("upload.service") and left.active("second.service")


def test_a_tree_that_was_closed_and_is_not_asked_for_any_more_opens_with_the_others(left):
    left.run("held", trees=[another_tree(left)])
    left.run("thawed", other_side_frozen=True, other_side_run="cutover-2")
    assert left.writable()


def test_the_approach_is_left_out_where_the_writers_have_stopped_before(running):
    assert "approach" in [step["name"] for step in running.run("frozen")["steps"]]
    running.run("thawed")
    assert "approach" not in [step["name"] for step in running.run("frozen", approach=False)["steps"]]


def test_closing_a_held_side_needs_a_door_for_the_copy(host):
    with pytest.raises(OptionError, match="hold_read_only"):
        host.run("held", hold_read_only=True, read_only="remount")
