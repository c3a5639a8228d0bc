# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a switch that act on the machine, tried on this one: /proc, forked children, canaries."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.nfs import holders, mount_check, mount_plan, mounts
from ansible_collections.seamless.migration.plugins.module_utils.nfs.bounded import ChildError, HangError, bounded
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.mount_switch import Host

USER = """
import fcntl, os, sys, time
os.chdir(sys.argv[1] + "/cwd")
held = open(sys.argv[1] + "/held", "w")
locked = open(sys.argv[1] + "/locked", "w")
fcntl.lockf(locked, fcntl.LOCK_EX)
gone = open(sys.argv[1] + "/gone", "w")
os.unlink(sys.argv[1] + "/gone")
print("ready", flush=True)
time.sleep(600)
"""


# A number that no machine has: processes in other mount namespaces are found by it.
DEVICE = "4095:1048575"


def mount_of(path):
    place = str(path).replace(" ", "\\040")
    return mounts.Mount("1 0 %s / %s rw - nfs4 old:/x rw,vers=4.2,addr=10.0.0.1" % (DEVICE, place))


@pytest.fixture
def user(tmp_path):
    (tmp_path / "cwd").mkdir()
    process = subprocess.Popen([sys.executable, "-c", USER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_open_files_locks_working_directories_and_deleted_files_are_found_by_process(tmp_path, user):
    found = {(holder.how, holder.path) for holder in holders.find(mount_of(tmp_path)) if holder.pid == user.pid}
    top = str(tmp_path)
    assert found == {("cwd", top + "/cwd"), ("open", top + "/held"), ("lock", top + "/locked"), ("open", top + "/gone")}


def test_a_user_is_told_with_command_and_pid(tmp_path, user):
    text = holders.told(holders.find(mount_of(tmp_path)), limit=1)
    assert "(pid %d" % user.pid in text
    assert text.endswith("and 3 more")


def test_processes_elsewhere_and_ignored_ones_are_no_users(tmp_path, user):
    (tmp_path / "cwd2").mkdir()
    assert holders.find(mount_of(tmp_path / "cwd2")) == []
    assert holders.find(mount_of(tmp_path), ignore=[user.pid]) == []


def test_units_are_read_from_the_control_group(tmp_path):
    proc = tmp_path / "proc"
    process = proc / "7"
    (process / "fd").mkdir(parents=True)
    (process / "cgroup").write_text("1:name=systemd:/system.slice/app.service/part\n")
    (process / "comm").write_text("worker\n")
    (process / "maps").write_text("7f00-7f01 r-xp 00000000 00:99 12  /m/lib.so\n7f02-7f03 rw-p 0 0:0 0 [heap]\n")
    os.symlink("/m/x (deleted)", str(process / "cwd"))
    os.symlink("mnt:[1]", str(process / "ns"))
    (proc / "self").mkdir()
    (proc / "self/mountinfo").write_text("")
    found = holders.find(mount_of("/m"), proc=str(proc))
    assert [str(holder) for holder in found] == [
        "worker (pid 7 of app.service) has its working directory at /m/x",
        "worker (pid 7 of app.service) has mapped /m/lib.so",
    ]


def test_a_process_of_another_namespace_is_found_by_the_file_system(tmp_path):
    proc = tmp_path / "proc"
    for name, link in (("self", "mnt:[1]"), ("8", "mnt:[2]")):
        (proc / name / "ns").mkdir(parents=True)
        os.symlink(link, str(proc / name / "ns/mnt"))
    (proc / "self/mountinfo").write_text("1 0 %s / /m rw - nfs4 old:/x rw\n" % DEVICE)
    (proc / "8/mountinfo").write_text("5 0 %s / /inside rw - nfs4 old:/x rw\n" % DEVICE)
    (proc / "8/fd").mkdir()
    os.symlink("/inside/file", str(proc / "8/fd/3"))
    assert [holder.path for holder in holders.find(mount_of("/m"), proc=str(proc))] == ["/inside/file"]


# -- children with a bound


def test_what_a_child_returns_comes_back():
    assert bounded(lambda: {"a": [1, "ä"]}, 20, "it") == {"a": [1, "ä"]}


def test_a_child_that_hangs_is_given_up_and_ended():
    begun = []

    def hang():
        signal.pause()

    with pytest.raises(HangError, match=r"the question had no answer within 0\.2 s"):
        bounded(hang, 0.2, "the question")
    assert begun == []
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_failures_of_a_child_keep_their_number_and_words():
    def missing():
        return os.listdir("/no/such")

    def odd():
        return 1 // 0

    def known():
        raise NfsError("a sentence")

    with pytest.raises(ChildError, match="it failed: No such file") as caught:
        bounded(missing, 20, "it")
    assert caught.value.number == errno.ENOENT
    with pytest.raises(ChildError, match="ZeroDivisionError"):
        bounded(odd, 20, "it")
    with pytest.raises(ChildError, match="a sentence"):
        bounded(known, 20, "it")
    with pytest.raises(ChildError, match="was ended from outside"):
        bounded(lambda: os.kill(os.getpid(), signal.SIGKILL), 20, "it")


# -- the canary


def test_the_canary_is_written_locked_read_and_removed(tmp_path):
    assert mount_check.canary(str(tmp_path), None, 20) == ["write", "lock", "read", "remove"]
    assert os.listdir(str(tmp_path)) == []
    assert mount_check.answers(str(tmp_path), 20)["bytes_total"] > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_the_canary_is_written_as_the_user_that_is_given(tmp_path):
    tmp_path.chmod(0o755)
    with pytest.raises(NfsError, match="give canary_user, and canary_folder"):
        mount_check.canary(str(tmp_path), "nobody", 20)


def test_a_lock_without_an_answer_is_told_as_the_grace_period_and_the_canary_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(mount_check, "_lock_and_read", lambda name: time.sleep(600))
    with pytest.raises(NfsError, match="may be in its grace period"):
        mount_check.canary(str(tmp_path), None, 5)  # enough for the write itself on a busy machine
    assert os.listdir(str(tmp_path)) == []


def test_a_write_without_an_answer_is_told_as_the_grace_period_too(tmp_path, monkeypatch):
    monkeypatch.setattr(mount_check, "_write", lambda name, content: time.sleep(600))
    with pytest.raises(NfsError, match="a canary written to .* may be in its grace period"):
        mount_check.canary(str(tmp_path), None, 1)


def test_a_canary_that_reads_back_otherwise_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(mount_check, "_lock_and_read", lambda name: b"else")
    with pytest.raises(NfsError, match="does not read back"):
        mount_check.canary(str(tmp_path), None, 20)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("number", "taken", "advice"),
    [
        (errno.EROFS, True, "export it for writing"),
        (errno.ESTALE, True, "Look at the export"),
        (errno.EACCES, False, "Root may be squashed"),
        (errno.ENOLCK, False, "start it with nfs_lock"),
    ],
)
def test_only_a_read_only_or_missing_export_proves_that_no_writes_are_taken(
    tmp_path, monkeypatch, number, taken, advice
):
    def refuse(name, content):
        raise OSError(number, os.strerror(number), name)

    monkeypatch.setattr(mount_check, "_write", refuse)
    assert mount_check.takes_no_writes(str(tmp_path), 20) is taken
    with pytest.raises(NfsError, match=advice):
        mount_check.canary(str(tmp_path), None, 20)


def test_writes_that_arrive_or_have_no_answer_prove_nothing(tmp_path, monkeypatch):
    assert mount_check.takes_no_writes(str(tmp_path), 20) is False
    assert os.listdir(str(tmp_path)) == []
    monkeypatch.setattr(mount_check, "_write", lambda name, content: time.sleep(600))
    assert mount_check.takes_no_writes(str(tmp_path), 0.2) is False


# -- the machine


def test_the_machine_is_reached_over_a_real_socket_and_shows_its_mounts():
    host = Host()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host.connect("127.0.0.1", listener.getsockname()[1], 20)
    assert mounts.at("/", host.mounts()) is not None
    assert mount_plan.resolve("127.0.0.1", 20) == ["127.0.0.1"]
    assert host.own_address("127.0.0.1") == "127.0.0.1"
    assert host.own_address("no address") == ""
    with pytest.raises(NfsError, match="Correct its name"):
        mount_plan.resolve("no-such-host.invalid", 20)


def test_the_machine_finds_and_ends_users(tmp_path, user):
    host = Host()
    found = host.holders(mount_of(tmp_path), 20)
    assert {holder.pid for holder in found} == {user.pid}
    host.end([user.pid], signal.SIGTERM)
    assert user.wait(timeout=60) == -signal.SIGTERM
    host.end([user.pid], signal.SIGTERM)


def test_detaching_what_is_no_mount_point_is_an_error(tmp_path):
    with pytest.raises(ChildError, match="umount of"):
        Host().detach(str(tmp_path), 2, 20)


def test_sources_and_addresses_are_compared_by_what_they_mean():
    assert mounts.split_source("[2001:db8::1]:/srv/a:b") == ("2001:db8::1", "/srv/a:b")
    assert mounts.join_source("2001:db8::1", "/x") == "[2001:db8::1]:/x"
    assert mounts.split_source("/dev/sda1") == ("/dev/sda1", "")
    assert mounts.same_address("::ffff:10.0.0.1", "10.0.0.1")
    assert mounts.same_address("2001:DB8::1", "2001:db8:0::1")
    assert not mounts.same_address("old", "new")
    assert mounts.same_export("/", "//")


def test_a_link_to_a_mount_is_followed_without_touching_what_is_mounted(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    real = str(tmp_path / "real")
    assert mount_plan.place_of(str(tmp_path / "link"), []) == real
    assert mount_plan.place_of(str(tmp_path / "link"), [mount_of(tmp_path / "link")]) == str(tmp_path / "link")


def test_locks_of_flock_are_seen_too(tmp_path):
    with open(str(tmp_path / "f"), "w", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        code = "import sys; sys.path[:0] = %r; from %s import find; " % (sys.path, holders.__name__)
        code += "from %s import Mount; " % mounts.__name__
        code += "print([h.how for h in find(Mount(%r)) if h.pid == %d])" % (
            "1 0 0:99 / %s rw - nfs4 old:/x rw" % tmp_path,
            os.getpid(),
        )
        assert subprocess.check_output([sys.executable, "-c", code]).decode().strip() == "['lock']"
