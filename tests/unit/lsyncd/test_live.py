# SPDX-License-Identifier: GPL-3.0-or-later
"""The real lsyncd with the guard, judged by the convergence test: when it says yes, and every reason to say no."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ansible_collections.seamless.migration.plugins.module_utils.lsyncd import config, convergence, guard
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.errors import LsyncdError
from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze_watch
from guard_case import GuardCase

pytestmark = pytest.mark.skipif(not shutil.which("lsyncd"), reason="no lsyncd on this machine")
VERSION = config.installed_version() if shutil.which("lsyncd") else (2, 2, 3)


class Live:
    """A running lsyncd between the source and the target of a GuardCase."""

    def __init__(self, folder, delete="running", **changes):
        self.case = GuardCase(folder, retry_interval=0)
        self.folder = folder
        self.target_url = changes.pop("target", str(self.case.target))
        sync = {"name": "data", "source": str(self.case.source), "target": self.target_url}
        sync.update(delay=1, delete=delete)
        sync.update(changes)
        settings = {"log_file": str(folder / "log"), "status_file": str(folder / "status"), "status_interval": 1,
                    "pid_file": str(folder / "pid"), "insist": True, "nodaemon": True}
        self.config = folder / "conf.lua"
        self.config.write_bytes(config.render(settings, [sync], VERSION, {"data": str(self.case.link)}))
        self.password_file = sync.get("password_file")
        self.process = None

    def start(self):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(["lsyncd", str(self.config)], **quiet)
        deadline = time.time() + 15
        while time.time() < deadline:
            with contextlib.suppress(OSError):
                text = (self.folder / "log").read_text(errors="replace")
                if "finished." in text or "Retrying" in text:
                    return self
            time.sleep(0.1)
        raise AssertionError("lsyncd did not start")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(timeout=10)

    def daemon(self, **options):
        return convergence.Daemon(str(self.folder / "status"), str(self.folder / "log"),
                                  config=str(self.config), **options)

    def sync(self):
        if self.target_url.startswith("rsync:"):
            target = convergence.RsyncTarget(self.target_url, self.password_file)
        else:
            target = convergence.LocalTarget(self.target_url)
        return convergence.Sync("data", str(self.case.source), target, str(self.case.state))

    def verdict(self, timeout=20, **options):
        return convergence.converged(self.daemon(**options), [self.sync()], timeout)


@pytest.fixture
def live(tmp_path):
    running = Live(tmp_path)
    running.start()
    yield running
    running.stop()


def canaries(folder):
    return [name for name in os.listdir(str(folder)) if name.startswith(convergence.PREFIX)]


def test_a_change_arrives_and_the_trees_have_converged(live):
    (live.case.source / "file").write_text("content")
    verdict = live.verdict()
    assert verdict.reasons == []
    assert (live.case.target / "file").read_text() == "content"
    assert verdict.latency["data"] < 10
    assert canaries(live.case.source) == []


def test_the_verdict_comes_twice_in_a_row_from_an_idle_daemon(live):
    assert live.verdict().converged
    time.sleep(3)
    assert live.verdict().converged


def test_canaries_leave_the_target_even_where_nothing_is_deleted(tmp_path):
    running = Live(tmp_path, delete="false").start()
    try:
        (running.case.target / "kept").write_text("x")
        assert running.verdict().converged
        assert canaries(running.case.target) == []
        assert (running.case.target / "kept").exists()
    finally:
        running.stop()


def test_hostile_names_and_moved_directories_arrive_and_are_touched(live):
    names = [b"a]", b"b\\b[1]", b"new\nline", b"bad\xff", b"q*?", b"- m", b"#h", b"***"]
    root = os.fsencode(str(live.case.source))
    os.mkdir(root + b"/dir")
    for name in names:
        for folder in (root, root + b"/dir"):
            with open(folder + b"/" + name, "wb") as stream:
                stream.write(b"x")
    assert live.verdict().reasons == []
    target = os.fsencode(str(live.case.target))
    assert set(names) < set(os.listdir(target))
    assert set(names) == set(os.listdir(target + b"/dir"))
    os.rename(root + b"/dir", root + b"/mo[v]ed]")
    os.unlink(root + b"/b\\b[1]")
    assert live.verdict().reasons == []
    assert set(names) == set(os.listdir(target + b"/mo[v]ed]"))
    assert b"dir" not in os.listdir(target)
    assert b"b\\b[1]" not in os.listdir(target)
    touched = set(guard.paths(str(live.case.state), "touched"))
    assert {b"mo[v]ed]/" + name for name in names} | {b"dir", b"b\\b[1]"} <= touched


def test_an_unmounted_source_leaves_the_target_and_is_the_reason(live):
    (live.case.source / "file").write_text("content")
    assert live.verdict().converged
    live.case.sentinel.unlink()
    (live.case.source / "file").unlink()
    time.sleep(2.5)
    verdict = live.verdict(timeout=4)
    assert not verdict.converged
    assert any("the guard refuses: sentinel" in reason for reason in verdict.reasons)
    assert (live.case.target / "file").exists()


def test_a_killed_lsyncd_is_the_reason_at_once(live):
    live.process.kill()
    live.process.wait()
    verdict = live.verdict(timeout=30)
    assert not verdict.converged
    assert "lsyncd does not run" in verdict.reasons
    assert verdict.seconds < 10


def test_a_canary_that_does_not_arrive_is_the_reason(live):
    live.process.send_signal(signal.SIGSTOP)
    verdict = live.verdict(timeout=3)
    assert verdict.reasons == ["sync data: the canary has not arrived"]


def test_a_failed_path_is_the_reason_until_it_arrives(live):
    """A directory that is immutable by a file in its place on the target cannot be made."""
    blocked = live.case.source / "blocked"
    live.case.fake_rsync(
        'grep -qz blocked %s/touched && [ ! -e %s/healed ] && { echo \'rsync: [sender] send_files failed to open "%s": '
        "Permission denied (13)' >&2; rsync \"$@\"; exit 23; }\nexec rsync \"$@\"\n"
        % (live.case.state, live.folder, blocked)
    )
    blocked.write_text("x")
    verdict = live.verdict(timeout=8)
    assert not verdict.converged
    assert any("paths failed: blocked" in reason or "tried again" in reason for reason in verdict.reasons)
    (live.folder / "healed").write_text("")
    assert live.verdict(timeout=20).reasons == []


def test_a_directory_that_is_not_watched_is_the_reason(live, monkeypatch):
    true = convergence.limits.directories
    monkeypatch.setattr(convergence.limits, "directories", lambda *arguments: true(*arguments) + 1)
    verdict = live.verdict(timeout=5)
    assert verdict.reasons == ["1 directories are watched, but 2 exist"]


def test_a_tree_that_is_written_to_without_pause_converges_with_allowed_delays(live):
    script = "i=0; while :; do i=$((i+1)); echo $i > %s/f$((i %% 50)); sleep 0.02; done" % live.case.source
    writer = subprocess.Popen(["sh", "-c", script])
    try:
        assert live.verdict(timeout=20, allowed_delays=1000).reasons == []
    finally:
        writer.kill()
        writer.wait()


def test_too_many_deletions_end_lsyncd_and_the_guard_says_why(live):
    live.case.configure(max_delete=2)
    for number in range(6):
        (live.case.source / ("file%d" % number)).write_text("x")
    assert live.verdict().converged
    for number in range(6):
        (live.case.source / ("file%d" % number)).unlink()
    live.process.wait(timeout=15)
    verdict = live.verdict(timeout=30)
    assert any("the limit of deletions was reached" in reason for reason in verdict.reasons)
    assert verdict.seconds < 10
    assert len([name for name in os.listdir(str(live.case.target)) if name.startswith("file")]) == 4


@pytest.fixture
def rsyncd(tmp_path):
    """An rsync daemon with a password on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "daemon"
    folder.mkdir()
    (folder / "secrets").write_text("migration:geheim\n")
    (folder / "secrets").chmod(0o600)
    (folder / "password").write_text("geheim\n")
    (folder / "password").chmod(0o600)
    (tmp_path / "target").mkdir()
    (folder / "conf").write_text(
        "port = %d\naddress = 127.0.0.1\npid file = %s/pid\nlog file = %s/log\n[data]\npath = %s\nread only = no\n"
        "uid = root\ngid = root\nuse chroot = no\nmunge symlinks = no\nauth users = migration\n"
        "secrets file = %s/secrets\n"
        % (port, folder, folder, tmp_path / "target", folder)
    )

    def start():
        process = subprocess.Popen(["rsync", "--daemon", "--no-detach", "--config=%s/conf" % folder])
        deadline = time.time() + 10
        while time.time() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return process
            time.sleep(0.05)
        raise AssertionError("no rsync daemon")

    state = {"process": start(), "start": start, "url": "rsync://migration@127.0.0.1:%d/data/" % port,
             "password_file": str(folder / "password")}
    (tmp_path / "target").rmdir()  # GuardCase makes it
    yield state
    state["process"].terminate()
    state["process"].wait()


def test_a_daemon_target_converges_and_outlives_a_restart_of_the_daemon(tmp_path, rsyncd):
    running = Live(tmp_path, target=rsyncd["url"], password_file=rsyncd["password_file"]).start()
    try:
        (running.case.source / "file").write_text("one")
        assert running.verdict().reasons == []
        assert (running.case.target / "file").read_text() == "one"
        rsyncd["process"].terminate()
        rsyncd["process"].wait()
        (running.case.source / "file").write_text("two")
        time.sleep(2)
        assert any("cannot be reached" in reason for reason in running.verdict(timeout=3).reasons)
        rsyncd["process"] = rsyncd["start"]()
        assert running.verdict(timeout=30).reasons == []
        assert (running.case.target / "file").read_text() == "two"
        assert canaries(running.case.target) == []
    finally:
        running.stop()


@pytest.fixture
def on_small_disk(tmp_path, rsyncd):
    """Live sync to a daemon whose tree is a file system of its own, of 8 MiB. remount(options) changes it."""
    running = Live(tmp_path, target=rsyncd["url"], password_file=rsyncd["password_file"])
    where = str(running.case.target)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", where], check=False).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    running.remount = lambda options: subprocess.run(["mount", "-o", "remount," + options, where], check=True)
    try:
        yield running.start()
    finally:
        running.stop()
        subprocess.run(["umount", "-l", where], check=True)


def test_a_target_that_takes_no_writes_is_the_reason_until_it_does(on_small_disk):
    case = on_small_disk.case
    (case.source / "early").write_text("x")
    assert on_small_disk.verdict().reasons == []
    on_small_disk.remount("ro")
    (case.source / "late").write_text("content")
    (case.source / "early").unlink()
    reasons = on_small_disk.verdict(timeout=8).reasons
    assert any("paths failed" in reason and "late" in reason for reason in reasons), reasons
    on_small_disk.remount("rw")
    assert on_small_disk.verdict(timeout=40).reasons == []
    assert (case.target / "late").read_text() == "content"
    assert not (case.target / "early").exists()


def test_a_target_that_is_full_is_the_reason_until_there_is_room(on_small_disk):
    case = on_small_disk.case
    (case.source / "large").write_bytes(os.urandom(12 << 20))
    assert on_small_disk.verdict(timeout=8).reasons != []
    assert any(run["rc"] in (11, 12) for run in case.runs()), case.runs()
    assert not (case.target / "large").exists()
    on_small_disk.remount("size=64m")
    assert on_small_disk.verdict(timeout=40).reasons == []
    assert (case.target / "large").read_bytes() == (case.source / "large").read_bytes()


def test_a_daemon_target_is_asked_with_the_right_password_only(tmp_path, rsyncd):
    (tmp_path / "target").mkdir()
    (tmp_path / "wrong").write_text("falsch\n")
    (tmp_path / "wrong").chmod(0o600)
    target = convergence.RsyncTarget(rsyncd["url"], rsyncd["password_file"])
    assert target.content("nothing") is None
    (tmp_path / "target" / ".seamless-canary-1").write_bytes(b"abc")
    assert target.content(".seamless-canary-1") == b"abc"
    (tmp_path / "target" / "stays").write_bytes(b"abc")
    target.remove(".seamless-canary-1")
    assert os.listdir(str(tmp_path / "target")) == ["stays"]
    with pytest.raises(LsyncdError, match="cannot be reached"):
        convergence.RsyncTarget(rsyncd["url"], str(tmp_path / "wrong")).content("stays")


def watches_of(pid):
    """Number of inotify watches of a process."""
    count = 0
    for name in os.listdir("/proc/%d/fdinfo" % pid):
        with contextlib.suppress(OSError), open("/proc/%d/fdinfo/%s" % (pid, name)) as stream:
            count += sum(line.startswith("inotify ") for line in stream)
    return count


@pytest.mark.parametrize(("delete", "excludes"), [("true", []), ("running", ["left out"]), ("true", ["left out"])])
def test_every_directory_is_watched_when_the_log_tells_of_the_first_pass(tmp_path, delete, excludes):
    running = Live(tmp_path, delete=delete, exclude=excludes)
    for number in range(300):
        (running.case.source / ("d%d" % number) / "below").mkdir(parents=True)
    try:
        running.process = subprocess.Popen(["lsyncd", str(running.config)], stdout=subprocess.DEVNULL)
        watchers = [{"log": str(tmp_path / "log")}]
        deadline = time.time() + 30
        while not freeze_watch.wait(watchers, {str(tmp_path / "log"): 0}) and time.time() < deadline:
            time.sleep(0.05)
        assert watches_of(running.process.pid) >= 601
    finally:
        running.stop()


class Cut:
    """A target behind a link that swallows everything: each look takes as long as it may."""

    def __init__(self):
        self.allowed = []

    def content(self, name, seconds=None):
        self.allowed.append(seconds)
        time.sleep(0.01 if seconds is None else max(0.01, min(seconds, 0.5)))
        raise LsyncdError("cut")


def test_no_look_at_a_cut_off_target_may_outlast_the_wait(tmp_path):
    cut = Cut()
    sync = convergence.Sync("data", str(GuardCase(tmp_path).source), cut)
    assert not convergence.converged(convergence.Periodic(), [sync, sync], 2).converged
    waiting, cleaning = cut.allowed[:-1], cut.allowed[-1]
    assert waiting
    assert all(seconds is not None and seconds <= 2 for seconds in waiting)
    assert cleaning == convergence._CLEANING


def test_a_look_at_a_daemon_that_says_nothing_ends_when_it_has_to(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = convergence.RsyncTarget("rsync://migration@127.0.0.1:%d/data/" % server.getsockname()[1], timeout=600)
        with pytest.raises(LsyncdError, match="cannot be reached"):
            target.content("canary", 1)


def test_a_timer_converges_only_by_a_whole_run_after_the_canary(tmp_path):
    case = GuardCase(tmp_path)
    started = []

    def start(_sync):
        started.append(case.call("-r"))

    sync = convergence.Sync("data", str(case.source), convergence.LocalTarget(str(case.target)), str(case.state))
    assert convergence.converged(convergence.Periodic(start), [sync], 10).reasons == []
    assert started == [0]
    verdict = convergence.converged(convergence.Periodic(), [sync], 1)
    assert verdict.reasons[0] == "sync data: the canary has not arrived"


def test_what_the_configuration_says_is_read_back(live):
    found = config.read_rendered(live.config.read_bytes())
    assert found["settings"]["logfile"] == str(live.folder / "log")
    assert found["syncs"][0]["name"] == "data"
    assert found["syncs"][0]["source"] == str(live.case.source)
    assert found["syncs"][0]["binary"] == str(live.case.link)
    assert found["syncs"][0]["exclude"] == ["/.seamless-sentinel", "/.seamless-manifest*"]


def test_the_module_finds_everything_from_the_configuration(live):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "modules"))
    from lsyncd_runner import run_module

    options = {"config": str(live.config), "guard_folder": str(live.folder)}
    assert live.verdict().converged
    time.sleep(3)  # the removal of the canaries is carried, and the status written
    looked = run_module("lsyncd_info", live.folder, dict(options, count_directories=True))
    assert looked["converged"] is None, looked
    assert looked["alive"] is True
    assert looked["directories"] == 1
    waited = run_module("lsyncd_info", live.folder, dict(options, wait=True, timeout=20))
    assert waited["converged"] is True, waited
    assert waited["syncs"][0]["guard"]["dirty"] == 0
    assert waited["changed"] is False
    live.case.sentinel.unlink()
    failed = run_module("lsyncd_info", live.folder, dict(options, wait=True, timeout=3))
    assert failed["failed"] is True
    assert "Failed to see live sync converge within 3 s" in failed["msg"]
    told = run_module("lsyncd_info", live.folder, dict(options, wait=True, timeout=3, must_converge=False))
    assert (told["converged"], bool(told["reasons"])) == (False, True)
    json.dumps(told)


def test_a_configuration_without_syncs_of_ours_is_told(tmp_path):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "modules"))
    from lsyncd_runner import run_module

    result = run_module("lsyncd_info", tmp_path, {"config": str(tmp_path / "none")})
    assert "has no syncs of ours" in result["msg"]


def test_a_burst_that_overflows_the_queue_is_the_reason_and_everything_arrives_later(tmp_path):
    """The queue's limit is that of the moment at which lsyncd starts."""
    limit = "/proc/sys/fs/inotify/max_queued_events"
    try:
        with open(limit, "rb") as stream:
            usual = stream.read()
        with open(limit, "wb") as stream:
            stream.write(b"2048\n")
    except OSError:
        pytest.skip("the kernel's limits cannot be written here")
    running = Live(tmp_path)
    try:
        running.start()
    finally:
        with open(limit, "wb") as stream:
            stream.write(usual)
    try:
        assert running.verdict().converged
        daemon = running.daemon()
        daemon.mark()
        running.process.send_signal(signal.SIGSTOP)
        for number in range(1500):
            (running.case.source / ("file%d" % number)).write_text("x")
        running.process.send_signal(signal.SIGCONT)
        deadline = time.time() + 20
        while not daemon.log_reasons() and time.time() < deadline:
            time.sleep(0.1)
        assert any("queue overflowed" in reason for reason in daemon.log_reasons())
        assert running.verdict(timeout=40).reasons == []
        assert len(os.listdir(str(running.case.target))) == 1500
    finally:
        running.stop()


def test_too_few_watches_are_the_reason(tmp_path):
    """A name space of its own has a limit of its own, so that nobody else meets it."""
    running = Live(tmp_path)
    for number in range(20):
        (running.case.source / ("folder%d" % number)).mkdir()
    script = "echo 5 > /proc/sys/user/max_inotify_watches && exec lsyncd %s" % running.config
    argv = ["unshare", "-Ur", "sh", "-c", script]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    _unused, stderr = process.communicate(timeout=20)
    if b"unshare" in stderr or b"max_inotify_watches" in stderr:
        pytest.skip("no user name space here")
    log = (tmp_path / "log").read_bytes()
    assert "ended" in convergence.status.bad_lines(log), log
    assert "lsyncd does not run" in running.verdict(timeout=3).reasons
