# SPDX-License-Identifier: GPL-3.0-or-later
"""The freeze of a storage host, on real mounts and against a real rsync daemon."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import OptionError
from ansible_collections.seamless.migration.plugins.module_utils.storage import (
    freeze_drain,
    freeze_holders,
    freeze_lists,
    freeze_mounts,
    freeze_watch,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError

OPEN_AGAIN = {"writable": True, "writer": True, "sync": True}
STEPS = ["deadman", "lift_throttle", "open_files", "stop_writers", "holders", "read_only", "drain", "stop_live_sync",
         "delta", "verify"]


@pytest.fixture
def running(host):
    """The host with its writer and its live sync at work, staged."""
    host.put("a/one", "one\n")
    host.put("one", "old\n", where=host.target)
    host.live_sync()
    host.writer()
    host.run("staged")
    return host


def wait_until(that, seconds=10):
    end = time.time() + seconds
    while time.time() < end:
        if that():
            return True
        time.sleep(0.05)
    return False


def test_a_freeze_brings_everything_over_and_leaves_a_closed_side(running):
    running.touched("a", "a/one", "one")
    result = running.run("frozen")
    assert result["state"] == "drained"
    assert [step["name"] for step in result["steps"] if step["ok"]][-len(STEPS):] == STEPS
    assert running.text_on_target("a/one") == "one\n"
    assert running.text_on_target("growing.log") == running.text_here("growing.log")
    assert not os.path.exists(os.path.join(running.target, "one"))
    assert os.stat(running.target).st_mtime_ns == os.stat(running.tree).st_mtime_ns
    assert not running.writable()
    assert not running.active("upload.service")
    assert not running.active("lsyncd.service")
    assert [name for name in os.listdir(running.target) if "canary" in name] == []
    assert [name for name in os.listdir(running.tree) if "canary" in name] == []
    assert result["open_files"][0]["path"] == "growing.log"
    assert result["lists"]["data"]["touched"] == 3
    assert result["paths_in_delta"] == 4
    assert 0 < result["window_ms"] < 20000


def test_the_private_door_stays_writable_while_the_tree_is_closed(running):
    result = running.run("frozen")
    door = result["private_paths"]["data"]
    running.put("reverse", "back\n", where=door)
    assert running.text_here("reverse") == "back\n"
    assert os.stat(os.path.dirname(door)).st_mode & 0o777 == 0o700


def test_a_blocked_writer_does_not_come_back_while_frozen(running):
    running.run("frozen")
    subprocess.check_call(["systemctl", "start", "upload.service"])
    subprocess.check_call(["systemctl", "start", "lsyncd.service"])
    assert not running.active("upload.service")
    assert not running.active("lsyncd.service")


def test_staging_twice_changes_nothing_the_second_time(host):
    host.live_sync()
    host.unit("upload.service")
    first, second = host.run("staged"), host.run("staged")
    assert (first["changed"], second["changed"]) == (True, False)
    assert second["predicted_window_s"] > 0
    assert host.calls().count("daemon-reload") == 1
    assert host.writable()


def test_what_staging_has_compared_is_not_looked_at_again_in_the_window(running):
    running.put("a/two", "two\n")
    running.put("a/two", "two\n", where=running.target)
    os.utime(os.path.join(running.tree, "a/two"), (1000, 1000))
    os.utime(os.path.join(running.target, "a/two"), (1000, 1000))
    running.touched("a/one", "a/two")
    running.run("staged")
    running.put("a/two", "changed\n")
    running.touched("a/two")
    lists = running.run("frozen")["lists"]["data"]
    assert (lists["touched"], lists["doubtful"]) == (1, 1)
    assert running.text_on_target("a/one") == "one\n"
    assert running.text_on_target("a/two") == "changed\n"


def test_marks_mean_nothing_once_the_guard_has_sorted_its_list(running):
    running.touched("a", "a/one")
    running.run("staged")
    os.rename(os.path.join(running.guard, "touched"), os.path.join(running.guard, "old"))
    running.touched("a", "a/one", "x")
    assert running.run("frozen")["lists"]["data"]["touched"] >= 1
    assert running.run("thawed")["state"] == "thawed"


def test_a_commit_keeps_the_side_closed_and_takes_the_dead_man_away(running):
    unit = running.run("frozen")["deadman_unit"]
    assert subprocess.call(["systemctl", "is-active", unit + ".timer"]) == 0
    result = running.run("committed")
    assert result["state"] == "committed"
    assert subprocess.call(["systemctl", "is-active", unit + ".timer"]) != 0
    assert not running.writable()
    assert running.run("committed")["changed"] is False
    assert running.run("frozen")["state"] == "committed"


def test_a_commit_of_another_run_is_refused(running):
    running.run("frozen")
    with pytest.raises(FreezeError, match="not drained by this run"):
        running.run("committed", run_id="run-2")


def test_a_commit_that_comes_after_the_budget_undoes_the_freeze(running):
    running.run("frozen")
    time.sleep(1.1)
    with pytest.raises(FreezeError, match="the budget is 1 s"):
        running.run("committed", budget=1)
    assert running.open_again() == OPEN_AGAIN


def test_thawing_before_the_commit_puts_everything_back(running):
    running.run("frozen")
    assert running.run("thawed")["state"] == "thawed"
    assert running.open_again() == OPEN_AGAIN
    assert running.run("thawed")["changed"] is False
    assert running.run("frozen", run_id="run-2")["state"] == "drained"


@pytest.fixture
def watched(host):
    """The host with a live sync that says in its log, half a second after its start, that it watches the tree."""
    log = os.path.join(host.folder, "lsyncd.log")
    host.writer()
    host.live_sync(log, 0.5)
    tree = host.params("read")["trees"][0]
    tree["live_sync"]["log_file"] = log
    assert wait_until(lambda: os.path.exists(log))
    host.log = log
    host.staged_tree = tree
    host.run("staged", tree=tree)
    return host


def test_the_writers_come_back_only_when_live_sync_watches_the_tree_again(watched, monkeypatch):
    monkeypatch.setattr(freeze_watch, "PATIENCE_S", 60)  # a slow machine starts it late
    watched.run("frozen", tree=watched.staged_tree)
    os.unlink(watched.log)
    result = watched.run("thawed")
    with open(watched.log) as stream:
        assert "writer up: False" in stream.read()
    assert watched.open_again() == OPEN_AGAIN
    assert result["unwatched_since"] == 0


def test_a_live_sync_that_is_not_seen_to_watch_holds_nobody_up_but_is_remembered(watched, monkeypatch):
    monkeypatch.setattr(freeze_watch, "PATIENCE_S", 0.1)
    watched.run("frozen", tree=watched.staged_tree)
    watched.unit("lsyncd.service", ["sleep", "3600"], active=False)
    since = watched.run("thawed")["unwatched_since"]
    assert watched.open_again() == OPEN_AGAIN
    assert since > time.time() - 60
    assert watched.run("read")["unwatched_since"] == since


@pytest.mark.parametrize(("run", "mended"), [
    ({"mode": "full", "deletes": True, "rc": 0, "started": 101.0}, True),
    ({"mode": "full", "deletes": True, "rc": 24, "started": 101.0}, True),
    ({"mode": "full", "deletes": True, "rc": 0, "started": 99.0}, False),
    ({"mode": "full", "deletes": False, "rc": 0, "started": 101.0}, False),
    ({"mode": "full", "deletes": True, "rc": 23, "started": 101.0}, False),
    ({"mode": "list", "deletes": True, "rc": 0, "started": 101.0}, False),
])
def test_what_was_deleted_unseen_is_mended_by_a_whole_pass_that_deletes(tmp_path, run, mended):
    (tmp_path / "runs.jsonl").write_text("cut off\n" + json.dumps(run) + "\n")
    assert freeze_lists.swept_since(str(tmp_path), 100.0) is mended
    assert freeze_lists.swept_since("", 100.0) is False


def test_thawing_after_the_commit_needs_evidence_that_the_other_side_is_closed(running):
    running.run("frozen")
    running.run("committed")
    with pytest.raises(FreezeError, match="Freeze the other side"):
        running.run("thawed")
    assert not running.writable()
    running.run("thawed", other_side_frozen=True, other_side_run="rollback-1")
    assert running.open_again() == {"writable": True, "writer": True, "sync": False}
    assert running.state()["other_side_run"] == "rollback-1"


def test_a_process_that_keeps_a_file_open_is_named_and_the_freeze_undone(running):
    holder = running.spawn([sys.executable, "-S", "-c", "import sys, time; s = open(sys.argv[1], 'a'); time.sleep(60)",
                            os.path.join(running.tree, "held")])
    assert wait_until(lambda: os.path.exists(os.path.join(running.tree, "held")))
    with pytest.raises(FreezeError) as caught:
        running.run("frozen")
    assert "pid %d" % holder.pid in str(caught.value) and "held" in str(caught.value)
    assert running.open_again() == OPEN_AGAIN


def test_holders_are_ended_when_that_is_asked_for(running):
    holder = running.spawn([sys.executable, "-S", "-c", "import sys, time; s = open(sys.argv[1], 'a'); time.sleep(60)",
                            os.path.join(running.tree, "held")])
    assert wait_until(lambda: os.path.exists(os.path.join(running.tree, "held")))
    assert running.run("frozen", kill_holders=True)["state"] == "drained"
    assert holder.wait(5) == -signal.SIGTERM
    assert running.text_on_target("held") == ""


def test_a_shared_mapping_is_a_way_to_write(running):
    running.put("mapped", "x" * 4096)
    code = ("import mmap, os, sys, time; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 4096); f.close(); "
            "open(sys.argv[2], 'w').close(); time.sleep(60)")
    ready = os.path.join(running.folder, "ready")
    running.spawn([sys.executable, "-S", "-c", code, os.path.join(running.tree, "mapped"), ready])
    assert wait_until(lambda: os.path.exists(ready))
    found = running.run("read")["open_files"]
    assert ("mapped", "mapped") in [(entry["how"], entry["path"]) for entry in found]
    with pytest.raises(FreezeError, match="maps data:/mapped"):
        running.run("frozen")
    assert running.open_again() == OPEN_AGAIN


def test_the_kernel_refuses_a_read_only_mount_with_ebusy_and_the_holder_is_told(running, monkeypatch):
    from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze

    monkeypatch.setattr(freeze.Freeze, "_clear_holders", lambda self: None)
    with open(os.path.join(running.tree, "mine"), "w"), pytest.raises(FreezeError) as caught:
        running.run("frozen")
    assert os.strerror(errno.EBUSY) in str(caught.value)
    assert running.open_again() == OPEN_AGAIN


def test_a_shell_that_stood_in_the_tree_before_staging_is_found(host):
    host.live_sync()
    host.unit("upload.service")
    shell = host.spawn(["sleep", "60"], cwd=host.tree)
    assert any("can write around" in warning for warning in host.run("staged")["warnings"])
    with pytest.raises(FreezeError, match=r"sleep \(pid %d\) stands in" % shell.pid):
        host.run("frozen")
    assert host.open_again() == OPEN_AGAIN


def test_a_shell_that_came_after_staging_is_no_way_around(running):
    running.spawn(["sleep", "60"], cwd=running.tree)
    assert running.run("frozen")["state"] == "drained"


def test_a_tree_that_is_a_mount_point_is_not_bound_on_itself(host):
    subprocess.check_call(["mount", "-t", "tmpfs", "tmpfs", host.tree])
    host.put(".seamless-sentinel")
    host.live_sync()
    host.unit("upload.service")
    host.run("staged")
    points = [os.fsdecode(entry.point) for entry in freeze_mounts.mounts_of()]
    assert points.count(host.tree) == 1
    assert host.run("staged")["changed"] is False
    host.run("frozen")
    assert not host.writable()
    host.run("thawed")
    assert host.writable()


def test_mounts_within_the_tree_are_closed_too(host):
    inner = os.path.join(host.tree, "inner")
    os.makedirs(inner)
    subprocess.check_call(["mount", "-t", "tmpfs", "tmpfs", inner])
    host.live_sync()
    host.unit("upload.service")
    host.run("frozen")
    with pytest.raises(OSError) as caught:
        host.put("inner/file")
    assert caught.value.errno == errno.EROFS
    host.run("thawed")
    host.put("inner/file")


def test_a_second_path_to_the_tree_is_closed_too(host):
    other = os.path.join(host.folder, "export")
    os.makedirs(other)
    subprocess.check_call(["mount", "--bind", host.disk, other])
    host.live_sync()
    host.unit("upload.service")
    host.run("frozen")
    with pytest.raises(OSError) as caught:
        host.put("srv/files/around", where=other)
    assert caught.value.errno == errno.EROFS
    host.put("elsewhere", where=other)
    host.run("thawed")
    host.put("srv/files/around", where=other)


def test_another_mount_namespace_is_closed_too(running):
    inside = running.spawn(["unshare", "-m", "--propagation", "private", "sleep", "60"])
    assert wait_until(lambda: os.readlink("/proc/%d/ns/mnt" % inside.pid) != os.readlink("/proc/self/ns/mnt"))
    running.run("frozen")
    probe = ["nsenter", "-t", str(inside.pid), "-m", "touch", os.path.join(running.tree, "around")]
    assert subprocess.run(probe, stderr=subprocess.PIPE, check=False).returncode == 1
    running.run("thawed")
    assert subprocess.call(probe) == 0


def test_a_namespace_made_before_staging_gets_the_mounts_of_the_tree(host):
    inside = host.spawn(["unshare", "-m", "--propagation", "private", "sleep", "60"])
    assert wait_until(lambda: os.readlink("/proc/%d/ns/mnt" % inside.pid) != os.readlink("/proc/self/ns/mnt"))
    host.live_sync()
    host.unit("upload.service")
    host.run("frozen")
    probe = ["nsenter", "-t", str(inside.pid), "-m", "touch", os.path.join(host.tree, "around")]
    assert subprocess.run(probe, stderr=subprocess.PIPE, check=False).returncode == 1
    probe[-1] = os.path.join(host.private, "data", "reverse")
    assert subprocess.call(probe) == 0
    assert os.path.exists(os.path.join(host.tree, "reverse"))


HELD_INSIDE = """
set -e
mount --bind "$1" "$2"
mount -t tmpfs none "$1"
exec python3 -S -c 'if True:
    import mmap, sys, time
    stream = open(sys.argv[1], "w+b")
    stream.write(b"x" * 4096)
    stream.flush()
    held = mmap.mmap(stream.fileno(), 4096)
    print("held", flush=True)
    if sys.argv[2] == "mapped":
        stream.close()
    time.sleep(60)' "$3" "$4"
"""


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_in_another_namespace_the_file_system_tells_the_tree_and_not_the_name(running, how):
    elsewhere = os.path.join(running.folder, "elsewhere")
    os.makedirs(elsewhere)

    def held(folder):
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", HELD_INSIDE, "sh"]
        process = running.spawn([*command, running.tree, elsewhere, os.path.join(folder, "held"), how])
        assert wait_until(lambda: os.path.exists("/proc/%d/root%s/held" % (process.pid, folder)))
        return process

    stranger, ours = held(running.tree), held(elsewhere)
    tree = freeze_mounts.Tree(running.tree, running.private)

    def found():
        return {(entry.pid, entry.how, entry.relative) for entry in freeze_holders.holders([("data", tree)])}

    assert wait_until(lambda: (ours.pid, how, b"held") in found())
    assert stranger.pid not in {pid for pid, _how, _relative in found()}


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


def thaw_program(host, action, *words):
    program = os.path.join(host.root, "usr/local/lib/seamless-migration/storage-thaw")
    return subprocess.check_output([sys.executable, program, "--root", host.root, action, "files2026"] + list(words))


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


def test_the_approach_is_left_out_where_the_writers_have_stopped_before(running):
    assert "approach" in [step["name"] for step in running.run("frozen")["steps"]]
    running.run("thawed")
    assert "approach" not in [step["name"] for step in running.run("frozen", approach=False)["steps"]]


def test_closing_a_held_side_needs_a_door_for_the_copy(host):
    with pytest.raises(OptionError, match="hold_read_only"):
        host.run("held", hold_read_only=True, read_only="remount")


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
