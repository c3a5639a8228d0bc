# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine of bulk_copy, with real rsyncs, a real daemon on the loopback and real faults."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.rsync import (
    binary,
    bulk,
    delta,
    fpart,
    job,
    partitions,
    patterns,
)
from ansible_collections.seamless.migration.plugins.module_utils.rsync.bulk_task import Task
from loopback_daemon import Daemon

HOSTILE = [b"new\nline", b'quo"te', b"back\\slash", b"\\#101octal", b"inv\xff\xfealid", "ümlaut €".encode(), b"-dash",
           b" lead", b"trail ", b"tab\there", b"*star?[x]", b"#hash", b";semi", b"%percent", b"$(reboot)`x`'"]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def src(tmp_path):
    """A tree with everything that a file system can hold, over several partitions."""
    root = tmp_path / "src"
    for number in range(300):
        write(root / ("d%d" % (number % 7)) / ("e%d" % (number % 3)) / ("f%d" % number), b"%d" % number * 50)
    for name in HOSTILE:
        with open(os.path.join(os.fsencode(root), b"d1", name), "wb") as stream:
            stream.write(name)
    os.link(str(root / "d0/e0/f0"), str(root / "d1/linked"))
    os.link(str(root / "d0/e0/f0"), str(root / "d6/linked too"))
    (root / "empty/in/empty").mkdir(parents=True)
    os.symlink("../d0", str(root / "d1/symlink"))
    os.mkfifo(str(root / "d1/fifo"))
    os.mknod(str(root / "d1/null"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with open(str(root / "d2/sparse"), "wb") as stream:
        stream.truncate(8 << 20)
        stream.write(b"begin")
    os.setxattr(str(root / "d1/e1/f1"), "user.colour", b"blue")
    subprocess.run(["setfacl", "-m", "u:4711:r", str(root / "d3/e0/f3")], check=True)
    os.chown(str(root / "d4/e1/f4"), 4711, 4712)
    os.chmod(str(root / "d5"), 0o2711)
    for name in ("d5", "d6", "empty/in"):
        os.utime(str(root / name), ns=(5, 1234567890123456789))
    (root / ".seamless-sentinel").write_text("m data\n")
    return root


def manifest(root):
    """Everything that has to be equal. Groups of hard links by the first of their names."""
    seen, groups = {}, {}
    top = os.fsencode(str(root))
    for folder, folders, names in sorted(os.walk(top)):
        for name in sorted(folders + names) + ([b""] if folder == top else []):
            path = os.path.join(folder, name)
            status, key = os.lstat(path), path[len(top):]
            if key.startswith(b"/.seamless-"):
                continue
            content = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as stream:
                    content = stream.read()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            attributes = {name: os.getxattr(path, name, follow_symlinks=False)
                          for name in os.listxattr(path, follow_symlinks=False)}
            group = groups.setdefault(status.st_ino, key) if not stat.S_ISDIR(status.st_mode) else None
            seen[key] = (status.st_mode, status.st_mtime_ns, status.st_uid, status.st_gid, status.st_rdev, content,
                         attributes, group)
    return seen


class Copy:
    """Runs bulk_copy as the module does, in this process or detached."""

    def __init__(self, home, src, dest, **options):
        self.params = {
            "src": str(src), "dest": str(dest), "job": "test", "state": "done", "mode": "full", "files_from": None,
            "bwlimit_kib_per_s": None, "hard_links": "auto", "timeout": 60, "state_dir": str(home / "bulk"),
        }
        for name in ("read_ahead", "exclude", "xattrs", "acls", "sparse", "delete", "max_delete", "sentinel", "frozen",
                     "password_file", "rsh", "nice", "ionice_class", "ionice_level", "io_timeout", "retry_for",
                     "rescan", "dest_free_bytes", "dest_free_inodes", "partitioner", "deal", "lease"):
            self.params[name] = bulk.DEFAULTS[name]
        self.params.update(workers=4, partition_files=40, sentinel=".seamless-sentinel")
        self.params.update(options)
        self.job = job.Job(self.params["job"], self.params["state_dir"])

    def run(self, state="done", check_mode=False, **options):
        return Task(dict(self.params, state=state, **options), check_mode).perform()

    def status(self):
        return self.run("status")

    def wait(self, until, timeout=30):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            answer = self.status()
            if until(answer):
                return answer
            time.sleep(0.05)
        raise AssertionError("not within %d s: %r" % (timeout, answer))

    def engine(self):
        return self.status()["progress"]["pid"]

    def kill(self):
        """End the engine as a power cut would, and its rsyncs with it."""
        pid = self.engine()
        children = subprocess.run(["pgrep", "-P", str(pid)], stdout=subprocess.PIPE, check=False).stdout.split()
        for victim in [pid] + [int(child) for child in children]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        end = time.monotonic() + 10
        while self.job.running() and time.monotonic() < end:
            time.sleep(0.02)


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "dest"


@pytest.fixture
def copy(tmp_path, src, dest):
    made = Copy(tmp_path, src, dest)
    yield made
    if made.job.exists() and made.job.running():
        made.run("stopped")


def test_a_local_copy_keeps_everything(copy, src, dest):
    answer = copy.run()
    assert manifest(src) == manifest(dest)
    assert answer["state"] == "done" and answer["changed"] and not answer["failures"]
    assert answer["files"] == 300 + len(HOSTILE) + 1
    assert os.stat(str(dest / "d2/sparse")).st_blocks * 512 < 1 << 20
    assert not (dest / ".seamless-sentinel").exists()


def test_a_second_run_changes_nothing(copy):
    copy.run()
    answer = copy.run()
    assert not answer["changed"]
    assert (answer["files"], answer["progress"]["kind"]) == (0, "rescan")
    assert answer["files_skipped"] >= 300


def test_a_second_run_finds_what_changed_on_either_side(copy, src, dest):
    copy.run()
    # As if the first copy had been long after the tree was made, so that nothing looks changed by its ctime.
    copy.job.write("complete", dict(copy.job.read("complete"), begin=time.time() + 1.9))
    (src / "d0/e0/f21").write_text("new content")
    (src / "d1/more").mkdir()
    (src / "d1/more/file").write_text("x")
    (dest / "d6/e0/f6").unlink()
    (dest / "d1/e1/f1").unlink()        # has an extended attribute
    (dest / "d3/e0/f3").unlink()        # has an ACL
    (dest / "d5/e2/f5").write_text("changed on the target")
    os.setxattr(str(src / "d6/e1/f13"), "user.later", b"1")
    os.link(str(src / "d2/e0/f9"), str(src / "d4/later link"))
    os.chmod(str(src / "d3"), 0o700)
    answer = copy.run()
    assert answer["changed"] and answer["progress"]["kind"] == "rescan"
    assert manifest(src) == manifest(dest)


def test_a_full_rescan_finds_attributes_that_changed_on_the_target(copy, src, dest):
    copy.run()
    os.setxattr(str(dest / "d6/e1/f13"), "user.wrong", b"1")
    assert copy.run(rescan="full")["changed"]
    assert manifest(src) == manifest(dest)


def test_a_target_with_files_already_is_completed(copy, src, dest):
    subprocess.run(["rsync", "-aHAX", "--exclude=/.seamless-*", "%s/d1" % src, "%s/d2" % src, "%s/" % dest], check=True)
    (dest / "d1/e1/f1").write_text("old")
    answer = copy.run()
    assert manifest(src) == manifest(dest)
    assert answer["progress"]["fresh"] is False


def test_a_daemon_gets_everything(tmp_path, src, dest):
    dest.mkdir()
    with Daemon(tmp_path, dest) as daemon:
        copy = Copy(tmp_path, src, daemon.url, password_file=daemon.password_file)
        assert copy.run()["files"] == 300 + len(HOSTILE) + 1
        assert manifest(src) == manifest(dest)
        assert not copy.run()["changed"]


def test_a_daemon_that_is_too_old_for_exact_times_gets_the_copy(tmp_path, src, dest):
    dest.mkdir()
    with Daemon(tmp_path, dest, extra="refuse options = modify-window") as daemon:
        copy = Copy(tmp_path, src, daemon.url, password_file=daemon.password_file)
        assert copy.run()["files"] == 300 + len(HOSTILE) + 1
        assert manifest(src) == manifest(dest)
        assert not copy.run(check_mode=True)["changed"]


def test_check_mode_tells_what_would_be_copied_and_writes_nothing(copy, src, dest):
    answer = copy.run(check_mode=True)
    assert answer["files"] == 300 + len(HOSTILE) + 1 and answer["changed"]
    assert ">f+++++++++ d0/e0/f105" in answer["diff"]["after"]
    assert not dest.exists() and not copy.job.exists()
    copy.run()
    assert not copy.run(check_mode=True)["changed"]


def test_check_mode_counts_the_source_where_the_target_is_not_prepared_yet(tmp_path, src):
    (src / ".seamless-sentinel").unlink()
    copy = Copy(tmp_path, src, "rsync://migration@127.0.0.1:1/data/", password_file="/nonexistent")
    answer = copy.run(check_mode=True)
    assert answer["changed"] and answer["files"] >= 300
    assert "sentinel" in answer["warnings"][0] and "cannot be looked at yet" in answer["warnings"][1]
    with pytest.raises(binary.RsyncError):
        copy.run(check_mode=True, src=str(src) + "-missing")


def test_excluded_names_are_left_out(copy, src, dest):
    answer = copy.run(exclude=["/d1/", "f2*", "d3/e0"])
    assert answer["state"] == "done"
    assert not (dest / "d1").exists() and not (dest / "d3/e0").exists() and not (dest / "d2/e2/f2").exists()
    assert (dest / "d3/e1").exists()
    assert not copy.run(exclude=["/d1/", "f2*", "d3/e0"])["changed"]


def test_the_cores_of_the_host_decide_how_many_rsyncs_run_when_nobody_says(copy, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    copy.run(workers=None)
    assert copy.job.read("spec")["workers"] == 9
    assert [bulk.workers_for(cores) for cores in (1, 2, 64)] == [2, 3, 16]


# --- fpart ---


@pytest.mark.parametrize("excluded", [[], ["/d3", "f1*", "/d1/e1/"]])
def test_fpart_and_the_walk_of_our_own_lead_to_the_same_lists(tmp_path, src, excluded):
    lists = {}
    for choice in ("fpart", "walk"):
        folder = tmp_path / choice
        folder.mkdir()
        store = partitions.Store(str(folder), 40, 1 << 30, lambda _partition: None)
        walk = fpart.crawler(choice)(str(src), store, patterns.Patterns(excluded))
        walk.start()
        walk.join()
        assert walk.finished, walk.error
        assert walk.unreadable == []
        lists[choice] = sorted((partition.kind, path) for partition in partitions.read_index(str(folder))
                               for path in delta.read_list(store.path(partition.number)))
        lists[choice].append((walk.files, walk.directories, walk.bytes, walk.blocks_bytes))
    assert lists["fpart"] == lists["walk"]
    assert len(lists["fpart"]) > 100


@pytest.mark.parametrize("choice", ["fpart", "walk"])
def test_what_lies_anywhere_below_a_default_acl_is_copied_with_acls(tmp_path, src, choice):
    # On the target it would get the ACL of d5 where d5 is made first. Here d5 got it after d5/e0 was made.
    subprocess.run(["setfacl", "-d", "-m", "u:4711:rx", str(src / "d5")], check=True)
    store = partitions.Store(str(tmp_path), 40, 1 << 30, lambda _partition: None)
    walk = fpart.crawler(choice)(str(src), store, patterns.Patterns([]))
    walk.start()
    walk.join()
    assert walk.finished, walk.error
    kinds = {path: partition.kind for partition in partitions.read_index(str(tmp_path))
             for path in delta.read_list(store.path(partition.number))}
    below = {kinds[path] for path in kinds if path.startswith(b"d5/e") and b"/f" in path}
    assert below == {partitions.ATTRIBUTES}
    assert kinds[b"d1/e2/f8"] == partitions.PLAIN


@pytest.mark.parametrize("choice", ["fpart", "walk"])
def test_a_copy_keeps_everything_whoever_cuts_the_tree(tmp_path, src, dest, choice):
    Copy(tmp_path, src, dest, partitioner=choice).run()
    assert manifest(src) == manifest(dest)


def test_what_fpart_cannot_read_fails_the_copy(copy, src, monkeypatch, tmp_path):
    liar = tmp_path / "fpart"
    liar.write_text("#!/bin/sh\necho './d1: Input/output error' >&2\nexec %s \"$@\"\n" % shutil.which("fpart"))
    liar.chmod(0o755)
    monkeypatch.setattr(fpart, "program", lambda: str(liar))
    with pytest.raises(binary.RsyncError, match="Input/output error"):
        copy.run()


def test_an_fpart_that_dies_fails_the_copy_and_the_walk_of_our_own_goes_on(copy, src, dest, monkeypatch, tmp_path):
    dead = tmp_path / "fpart"
    dead.write_text("#!/bin/sh\nkill -9 $$\n")
    dead.chmod(0o755)
    monkeypatch.setattr(fpart, "program", lambda: str(dead))
    with pytest.raises(binary.RsyncError, match="Use the partitioner walk"):
        copy.run()
    copy.run(partitioner="walk")
    assert manifest(src) == manifest(dest)


def test_an_fpart_that_is_not_there_or_cannot_do_it_is_told_or_passed_over(copy, src, dest, monkeypatch, tmp_path):
    for text in (None, "#!/bin/sh\necho an old one\n"):
        if text:
            (tmp_path / "fpart").write_text(text)
            (tmp_path / "fpart").chmod(0o755)
        monkeypatch.setattr(fpart.command, "which", lambda _name, old=text: str(tmp_path / "fpart") if old else None)
        assert fpart.crawler("auto") is partitions.Walk
        with pytest.raises(binary.RsyncError, match="option partitioner"):
            fpart.crawler("fpart")


# --- the remote shell ---


@pytest.fixture
def rsh(tmp_path):
    """A remote shell to the host `new`, which is this one; other hosts are not reached."""
    path = tmp_path / "rsh"
    path.write_text("#!/bin/sh\n[ \"$1\" = new ] || { echo 'no route to host' >&2; exit 255; }\nshift\n"
                    "echo \"$@\" >> %s.log\nexec sh -c \"$*\"\n" % path)
    path.chmod(0o755)
    return str(path)


def test_a_copy_over_a_remote_shell_keeps_everything(tmp_path, src, dest, rsh):
    dest.mkdir()
    copy = Copy(tmp_path, src, "new:%s" % dest, rsh=rsh)
    copy.run()
    assert manifest(src) == manifest(dest)
    with open(rsh + ".log") as stream:
        assert all(line.startswith("rsync --server") for line in stream)


def test_a_delta_over_a_remote_shell_copies_and_deletes_what_is_listed(tmp_path, src, dest, rsh):
    Copy(tmp_path, src, dest).run()
    (src / "d1/e1/f1").write_text("changed")
    (src / "d2/e2/f2").unlink()
    (tmp_path / "list").write_bytes(b"d1/e1/f1\0d2/e2/f2\0d2/e2\0")
    answer = Copy(tmp_path, src, "new:%s" % dest, rsh=rsh, mode="delta", files_from=str(tmp_path / "list")).run()
    assert (answer["state"], answer["files"], answer["deleted"]) == ("done", 1, 1)
    assert manifest(src) == manifest(dest)


def test_a_host_that_is_not_reached_by_the_remote_shell_is_told(tmp_path, src, rsh):
    with pytest.raises(binary.RsyncError, match="Look whether ssh reaches the other side without a question"):
        Copy(tmp_path, src, "old:/srv/files", rsh=rsh).run()


# --- control ---


@pytest.fixture
def big(src):
    for number in range(30):
        write(src / "big" / ("b%d" % number), os.urandom(1 << 20))
    return src


def test_the_limit_is_told_before_the_copy_has_said_a_word(copy, monkeypatch):
    monkeypatch.setattr(bulk, "detach", job.Job.unlock)
    progress = copy.run("started", bwlimit_kib_per_s=160)["progress"]
    assert progress["limit_kib_per_s"] == 160


def test_the_limit_changes_while_it_runs(copy, big, dest):
    copy.run("started", bwlimit_kib_per_s=200, partition_files=3)
    copy.wait(lambda answer: answer["progress"].get("limit_kib_per_s") == 200)
    answer = copy.run("running", bwlimit_kib_per_s=0)
    assert answer["changed"]
    assert not copy.run("running", bwlimit_kib_per_s=0)["changed"]
    copy.wait(lambda answer: answer["state"] == "done", 20)
    assert manifest(big) == manifest(dest)


def test_a_paused_copy_sends_nothing_and_goes_on(copy, big, dest):
    copy.run("started", bwlimit_kib_per_s=4096, partition_files=3)
    copy.wait(lambda answer: answer["progress"].get("sent_bytes", 0) > 1 << 20)
    assert copy.run("paused")["state"] == "paused"
    assert not copy.run("paused")["changed"]
    time.sleep(2)
    before = copy.status()["progress"]["sent_bytes"]
    time.sleep(1.5)
    assert copy.status()["progress"]["sent_bytes"] == before
    assert copy.run("running", bwlimit_kib_per_s=0)["changed"]
    copy.wait(lambda answer: answer["state"] == "done")
    assert manifest(big) == manifest(dest)


def test_a_long_pause_gives_up_its_connections_and_loses_nothing(copy, big, dest, monkeypatch):
    monkeypatch.setattr(bulk, "_STOPPED_AT_MOST", 0.5)
    copy.run("started", bwlimit_kib_per_s=4096, partition_files=3)
    copy.wait(lambda answer: answer["progress"].get("sent_bytes", 0) > 1 << 20)
    copy.run("paused")
    copy.wait(lambda answer: answer["progress"]["workers"] == 0)
    copy.run("running", bwlimit_kib_per_s=0)
    copy.wait(lambda answer: answer["state"] == "done")
    assert manifest(big) == manifest(dest)


def test_a_stopped_copy_goes_on_without_copying_again(copy, big, dest):
    copy.run("started", bwlimit_kib_per_s=10240, partition_files=3)
    copy.wait(lambda answer: answer["progress"].get("bytes_done", 0) > 4 << 20)
    assert copy.run("stopped")["state"] == "stopped"
    assert not copy.run("stopped")["changed"]
    answer = copy.run("done", bwlimit_kib_per_s=0)
    assert manifest(big) == manifest(dest)
    assert answer["bytes"] < 34 << 20
    assert answer["progress"]["files_done"] >= answer["files"]


def test_a_killed_engine_is_noticed_and_goes_on(copy, big, dest):
    copy.run("started", bwlimit_kib_per_s=10240, partition_files=3)
    copy.wait(lambda answer: answer["progress"].get("bytes_done", 0) > 4 << 20)
    copy.kill()
    assert copy.status()["state"] == "stopped"
    assert copy.run("running", bwlimit_kib_per_s=0)["changed"]
    answer = copy.wait(lambda answer: answer["state"] == "done")
    assert manifest(big) == manifest(dest)
    assert answer["bytes"] < 34 << 20


def test_a_copy_killed_while_it_still_counts_goes_on(copy, big, dest, monkeypatch):
    monkeypatch.setattr(partitions.Walk, "_visit", lambda self, folder: time.sleep(30))
    copy.run("started", partitioner="walk")
    copy.wait(lambda answer: answer["progress"].get("phase") == "copying")
    copy.kill()
    monkeypatch.undo()
    copy.run()
    assert manifest(big) == manifest(dest)


def test_a_job_never_runs_twice(copy, big):
    copy.run("started", bwlimit_kib_per_s=1024)
    copy.wait(lambda answer: answer["progress"].get("sent_bytes", 0) > 0)
    engine = copy.engine()
    assert not copy.run("started", bwlimit_kib_per_s=1024)["changed"]
    time.sleep(1)
    assert copy.engine() == engine
    with pytest.raises(binary.RsyncError, match="copies .* now"):
        copy.run("started", dest="/somewhere/else")


def test_the_engine_outlives_whoever_began_it(copy, big, dest, tmp_path):
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setsid()
            copy.run("started", bwlimit_kib_per_s=20480)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    copy.wait(lambda answer: answer["state"] == "done")
    assert manifest(big) == manifest(dest)


# --- faults ---


@pytest.mark.parametrize(("break_it", "words"), [
    (lambda src: src.rename(src.parent / "away"), "No such file"),
    (lambda src: (src.rename(src.parent / "away"), src.mkdir()), "is empty"),
    (lambda src: (src / ".seamless-sentinel").unlink(), "sentinel"),
])
def test_a_doubtful_source_is_refused_and_nothing_is_deleted(copy, src, dest, break_it, words):
    copy.run()
    before = manifest(dest)
    break_it(src)
    with pytest.raises(binary.RsyncError, match=words):
        copy.run(delete=True, max_delete=-1)
    assert manifest(dest) == before


def test_extra_files_are_deleted_only_when_asked_and_within_the_limit(copy, src, dest):
    copy.run()
    (dest / "extra").write_text("x")
    (dest / "more/deep").mkdir(parents=True)
    (dest / ".seamless-own").write_text("the target's")
    copy.run()
    assert (dest / "extra").exists()
    with pytest.raises(binary.RsyncError, match="max_delete is 1"):
        copy.run(delete=True, max_delete=1)
    assert (dest / "extra").exists() and (dest / "more/deep").exists()
    answer = copy.run(delete=True, max_delete=10)
    assert answer["deleted"] == 3 and answer["changed"]
    assert (dest / ".seamless-own").exists()
    assert manifest(src) == manifest(dest)
    assert not copy.run(delete=True)["changed"]


def test_too_little_room_is_told_before_anything_is_copied(copy, src, dest):
    write(src / "large", os.urandom(1 << 20))
    with pytest.raises(binary.RsyncError, match="needs at least .* bytes, free are 500000"):
        copy.run(dest_free_bytes=500000)
    assert not (dest / "large").exists()
    with pytest.raises(binary.RsyncError, match="inodes, free are 10"):
        copy.run(dest_free_inodes=10)


def test_too_little_room_on_a_daemon_s_side_is_told_too(tmp_path, big, dest):
    dest.mkdir()
    with Daemon(tmp_path, dest) as daemon:
        copy = Copy(tmp_path, big, daemon.url, password_file=daemon.password_file)
        with pytest.raises(binary.RsyncError, match="needs at least .* bytes"):
            copy.run(dest_free_bytes=16 << 20, partition_files=8)


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_target_that_fills_up_stops_the_copy_which_goes_on_when_there_is_room(tmp_path, big, small_disk):
    target = small_disk / "data"
    target.mkdir()
    with Daemon(tmp_path, target) as daemon:
        copy = Copy(tmp_path, big, daemon.url, password_file=daemon.password_file, retry_for=20, partition_files=3)
        with pytest.raises(binary.RsyncError, match="full.*Make room"):
            copy.run()
        subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
        assert copy.run()["state"] == "done"
        wanted, there = manifest(big), manifest(target)
        assert {name: entry[5] for name, entry in wanted.items()} == {name: entry[5] for name, entry in there.items()}


def test_a_read_only_target_is_told(tmp_path, src, small_disk):
    target = small_disk / "data"
    target.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(binary.RsyncError, match="read-only"):
        Copy(tmp_path, src, target).run()


def test_a_daemon_on_a_read_only_file_system_is_told_and_the_copy_goes_on_when_it_can_write(tmp_path, src, small_disk):
    target = small_disk / "data"
    target.mkdir()
    with Daemon(tmp_path, target) as daemon:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        copy = Copy(tmp_path, src, daemon.url, password_file=daemon.password_file)
        with pytest.raises(binary.RsyncError, match="read-only"):
            copy.run()
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        assert copy.run()["state"] == "done"
        assert manifest(src) == manifest(target)


def test_a_wrong_secret_is_told_and_nothing_is_begun(tmp_path, src, dest):
    dest.mkdir()
    with Daemon(tmp_path, dest) as daemon:
        (tmp_path / "password").write_text("wrong\n")
        copy = Copy(tmp_path, src, daemon.url, password_file=daemon.password_file)
        with pytest.raises(binary.RsyncError, match="refuses user or secret") as caught:
            copy.run()
        assert "wrong" not in str(caught.value)
        assert not copy.job.exists()


def test_no_daemon_and_no_module_are_told_apart(tmp_path, src, dest):
    dest.mkdir()
    with Daemon(tmp_path, dest) as daemon:
        with pytest.raises(binary.RsyncError, match="no module of this name"):
            Copy(tmp_path, src, daemon.url.replace("/data/", "/nodata/"), password_file=daemon.password_file).run()
    with pytest.raises(binary.RsyncError, match="Connection refused"):
        Copy(tmp_path, src, daemon.url, password_file=daemon.password_file).run()


def test_a_daemon_that_is_restarted_costs_a_retry_and_nothing_else(tmp_path, big, dest):
    dest.mkdir()
    daemon = Daemon(tmp_path, dest)
    with daemon:
        copy = Copy(tmp_path, big, daemon.url, password_file=daemon.password_file, bwlimit_kib_per_s=10240,
                    partition_files=3)
        copy.run("started")
        copy.wait(lambda answer: answer["progress"].get("bytes_done", 0) > 4 << 20)
        daemon.stop()
        copy.wait(lambda answer: answer["progress"]["retries"] > 0)
        time.sleep(2)
        daemon.start()
        answer = copy.wait(lambda answer: answer["state"] in job.ENDED, 60)
        assert answer["state"] == "done", answer
        assert manifest(big) == manifest(dest)


class Wire:
    """A relay between rsync and its daemon that can be cut: nothing passes, and nobody is told."""

    def __init__(self, port):
        self.target = port
        self.cut = False
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                here = self.server.accept()[0]
                there = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            for ends in ((here, there), (there, here)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source, sink):
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                while self.cut:
                    time.sleep(0.05)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)


def test_a_link_that_is_cut_for_a_while_is_survived(tmp_path, big, dest):
    dest.mkdir()
    with Daemon(tmp_path, dest) as daemon:
        wire = Wire(daemon.port)
        url = daemon.url.replace(str(daemon.port), str(wire.port))
        copy = Copy(tmp_path, big, url, password_file=daemon.password_file, bwlimit_kib_per_s=10240, io_timeout=2,
                    partition_files=3)
        copy.run("started")
        copy.wait(lambda answer: answer["progress"].get("bytes_done", 0) > 4 << 20)
        wire.cut = True
        copy.wait(lambda answer: answer["progress"]["retries"] > 0, 60)
        wire.cut = False
        answer = copy.wait(lambda answer: answer["state"] in job.ENDED, 60)
        wire.server.close()
        assert answer["state"] == "done", answer
        assert manifest(big) == manifest(dest)


def test_a_file_that_cannot_be_written_is_named_and_the_rest_is_copied(copy, src, dest):
    copy.run()
    (src / "d1/e1/f1").write_text("changed")
    (src / "d2/e2/f2").write_text("changed too")
    subprocess.run(["chattr", "+i", str(dest / "d1/e1")], check=True)
    try:
        with pytest.raises(binary.RsyncError, match="Failed to copy") as caught:
            copy.run(rescan="full")
    finally:
        subprocess.run(["chattr", "-i", str(dest / "d1/e1")], check=True)
    assert any("f1" in entry["reason"] for entry in caught.value.answer["failures"])
    assert (dest / "d2/e2/f2").read_text() == "changed too"
    copy.run()
    assert manifest(src) == manifest(dest)


def test_files_that_vanish_meanwhile_do_no_harm(copy, src, dest, monkeypatch):
    victims = [src / ("d0/e%d/f%d" % (number % 3, number)) for number in range(0, 294, 7)]
    finish = partitions.Store.finish

    def vanish(store):
        finish(store)
        for victim in victims[1:]:
            victim.unlink()

    monkeypatch.setattr(partitions.Store, "finish", vanish)
    monkeypatch.setattr(bulk, "_HEAD_START", 60)
    assert copy.run()["state"] == "done"


def by_a_file(folder):
    """A file in the place of a folder and of all that is in it."""
    shutil.rmtree(str(folder))
    folder.write_text("a file now")


@pytest.mark.parametrize("frozen", [False, True])
def test_a_folder_that_becomes_a_file_meanwhile_is_a_failure_only_when_frozen(copy, src, dest, monkeypatch, frozen):
    finish = partitions.Store.finish

    def replace(store):
        finish(store)
        if (src / "d0/e1").is_dir():
            by_a_file(src / "d0/e1")

    monkeypatch.setattr(partitions.Store, "finish", replace)
    monkeypatch.setattr(bulk, "_HEAD_START", 60)
    if frozen:
        with pytest.raises(binary.RsyncError, match="Not a directory"):
            copy.run(frozen=True)
        return
    answer = copy.run()
    assert answer["state"] == "done" and answer["vanished"] > 0 and not answer["failures"]
    copy.run()
    assert manifest(src) == manifest(dest)


# --- options ---


@pytest.mark.parametrize(("options", "words"), [
    ({"dest": "/tmp/x\ny"}, "option dest.*newline"),
    ({"src": "relative"}, "option src"),
    ({"workers": 65}, "option workers"),
    ({"workers": 0}, "option workers"),
    ({"exclude": ["+ x"]}, "option exclude"),
    ({"exclude": ["a\nb"]}, "option exclude"),
    ({"job": "../x"}, "option job"),
    ({"dest": "--rsh=sh -c reboot"}, "option dest"),
    ({"dest": "rsync://host/"}, "names no module"),
    ({"delete": True, "sentinel": None}, "option delete"),
    ({"sentinel": "a/b"}, "option sentinel"),
    ({"bwlimit_kib_per_s": -1}, "option bwlimit"),
    ({"password_file": "/nonexistent"}, "option password_file"),
])
def test_bad_options_are_refused_before_anything_is_touched(copy, dest, options, words):
    with pytest.raises(binary.RsyncError, match=words):
        Copy(dest.parent, **dict({"src": copy.params["src"], "dest": str(dest)}, **options)).run()
    assert not dest.exists()


def test_a_target_within_the_source_is_refused(copy, src):
    with pytest.raises(binary.RsyncError, match="lie in each other"):
        copy.run(dest=str(src / "d1/copy"))


def test_a_secret_that_others_can_read_is_refused(copy, tmp_path):
    (tmp_path / "secret").write_text("x")
    with pytest.raises(binary.RsyncError, match="0600"):
        copy.run(password_file=str(tmp_path / "secret"))


def test_control_of_a_copy_that_was_never_begun_is_an_error(copy):
    for state in ("paused", "running", "stopped"):
        with pytest.raises(binary.RsyncError, match="never begun"):
            copy.run(state)
    assert copy.status()["state"] == "absent"


@pytest.mark.parametrize("pattern", ["f2", "/d1", "e1/", "d2/e1", "f?1", "f[1-3]*", "*1", "d**f20", "/d3/***", "**/e2/",
                                     "e2/f*", "d[!0-4]", "/d*/e1/f1*", "\\f2", "d1/**"])
def test_patterns_leave_out_what_rsync_leaves_out(src, tmp_path, pattern):
    shown = subprocess.run(["rsync", "-r", "-l", "-n", "--out-format=%n", "--exclude=%s" % pattern, "%s/" % src,
                            str(tmp_path / "no")], stdout=subprocess.PIPE, check=True).stdout.decode("utf-8", "replace")
    wanted = {line.rstrip("/") for line in shown.splitlines() if line.startswith(("d", "empty"))}
    ours, found = patterns.Patterns([pattern]), set()
    top = str(src)
    for folder, folders, names in os.walk(top):
        for name in folders + names:
            path = os.path.relpath(os.path.join(folder, name), top)
            if path.startswith(("d", "empty")) and not ours.excludes(os.fsencode(path), name in folders):
                found.add(path)
    plain = {path for path in wanted if "\\" not in path and path.isascii() and path.isprintable()}
    special = {"d1/null", "d1/fifo"}
    assert {path for path in found if path.isprintable() and path.isascii() and "\\" not in path} - special == plain
