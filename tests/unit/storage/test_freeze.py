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
from ansible_collections.seamless.migration.plugins.module_utils.host import walking
from ansible_collections.seamless.migration.plugins.module_utils.storage import (
    freeze_holders,
    freeze_lists,
    freeze_mounts,
    freeze_side,
    freeze_watch,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError
from freeze_host import OPEN_AGAIN, STEPS, wait_until


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
    assert (lists["touched"], lists["doubtful"]) == (1, 2)  # a/one, and the log that grows
    assert running.text_on_target("a/one") == "one\n"
    assert running.text_on_target("a/two") == "changed\n"


def written_without_a_trace(running, text):
    """As through a handle of NFS from before a restart, or through a name that was gone before anybody looked."""
    running.put("a/silent", text)


@pytest.fixture
def silent(running):
    """A file that is the same on both sides, and of which the guard has noted nothing."""
    for where in (running.tree, running.target):
        os.utime(running.put("a/silent", "same\n", where=where), (1000, 1000))
    running.touched(kind=".lock")
    return running


def test_what_was_changed_without_a_trace_before_staging_is_found_by_it(silent):
    written_without_a_trace(silent, "else\n")
    silent.run("staged")
    silent.run("frozen")
    assert silent.text_on_target("a/silent") == "else\n"


def test_what_was_changed_without_a_trace_after_staging_is_found_in_the_window(silent):
    silent.run("staged")
    written_without_a_trace(silent, "else\n")
    lists = silent.run("frozen")["lists"]["data"]
    assert lists["changed"] >= 1
    assert silent.text_on_target("a/silent") == "else\n"


def test_a_tree_that_takes_long_to_look_through_is_not_looked_through_in_the_window(silent, monkeypatch):
    monkeypatch.setattr(freeze_side, "LOOK_MS", -1)
    silent.run("staged")
    assert "changed" not in silent.run("frozen")["lists"]["data"]


def test_a_look_at_the_files_that_takes_longer_than_the_budget_undoes_the_freeze(silent, monkeypatch):
    silent.run("staged")
    for number in range(12):
        silent.put("many/%d" % number)
    looked, look = [], freeze_lists._changed

    def slowly(entry):
        looked.append(entry.name)
        time.sleep(1)
        return look(entry)

    monkeypatch.setattr(freeze_lists, "_changed", slowly)
    monkeypatch.setattr(walking, "OFTEN", 1)
    with pytest.raises(FreezeError, match="budget of 4 s is used up. Everything was put back"):
        silent.run("frozen", budget=4)
    assert 0 < len(looked) < 8
    assert silent.open_again() == OPEN_AGAIN


@pytest.mark.parametrize("walk", [
    lambda root, clock: freeze_lists.changed_since(root, 0, clock),
    lambda root, clock: freeze_lists.names_that_stay(root, [b"gone"], [b"1"], clock),
    lambda root, clock: freeze_lists.names_that_stay(root, [b"0/file"] * 5000, [b"1"], clock),
    lambda root, clock: freeze_lists.PathList(root, clock).add("touched", [b"0/***"]),
    lambda root, clock: freeze_lists.PathList(root, clock).add("touched", [b"0/file"] * 5000),
])
def test_no_walk_goes_on_when_the_time_is_over(tmp_path, monkeypatch, walk):
    monkeypatch.setattr(walking, "OFTEN", 2)
    for number in range(3):
        (tmp_path / "0" / str(number)).mkdir(parents=True)
    (tmp_path / "0" / "file").write_text("x")
    calls = []

    def clock():
        calls.append(1)
        if len(calls) == 2:
            raise FreezeError("the time is over")

    with pytest.raises(FreezeError, match="the time is over"):
        list(walk(str(tmp_path), clock) or [])


def test_only_files_that_were_changed_since_a_moment_are_found(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "older").write_text("x")
    moment = (tmp_path / "folder" / "older").stat().st_ctime + 0.02
    time.sleep(0.05)
    (tmp_path / "folder" / "newer").write_text("x")
    os.symlink("nowhere", str(tmp_path / "link"))
    assert sorted(freeze_lists.changed_since(str(tmp_path), moment)) == [b"folder/newer", b"link"]


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
