# SPDX-License-Identifier: GPL-3.0-or-later
"""The list-based delta, with the real rsync and a real daemon on the loopback."""

import os
import shutil
import stat
import subprocess
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.rsync import binary, delta, exit_codes, output
from hypothesis import given
from hypothesis import strategies as st
from loopback_daemon import Daemon

HOSTILE = [b"new\nline", b'quo"te', b"back\\slash", b"\\#101octal", b"inv\xff\xfealid", "ümlaut €".encode(), b"-dash",
           b" lead", b"trail ", b"tab\there", b"*star?[x]", b"#hash", b";semi", b"%percent%i", b"$(reboot)`x`'"]


def make_list(tmp_path, *paths):
    name = tmp_path / "list"
    name.write_bytes(b"".join(path + b"\0" for path in paths))
    return str(name)


@pytest.fixture
def trees(tmp_path):
    src, dest = tmp_path / "src", tmp_path / "dest"
    for name in ("a/b/c", "gone/h/i", "x"):
        (src / name).mkdir(parents=True)
    for name in ("a/b/c/f", "gone/g", "x/y", "top", "keep"):
        (src / name).write_text(name)
    (src / ".seamless-sentinel").write_text("m data\n")
    for name in HOSTILE:
        with open(os.path.join(os.fsencode(src), b"a", name), "w") as stream:
            stream.write("content")
    dest.mkdir()
    subprocess.run(["rsync", "-aHAX", "-@-1", "--exclude=/.seamless-*", "%s/" % src, "%s/" % dest], check=True)
    return src, dest


def manifest(root):
    seen = {}
    top = os.fsencode(root)
    for folder, folders, names in os.walk(top):
        for name in folders + names + [b""]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if b".seamless-" not in path:
                content = None
                if stat.S_ISREG(status.st_mode):
                    with open(path, "rb") as stream:
                        content = stream.read()
                elif stat.S_ISLNK(status.st_mode):
                    content = os.readlink(path)
                seen[path[len(top):]] = (status.st_mode, status.st_mtime_ns, status.st_uid, content, status.st_nlink)
    return seen


def test_everything_in_the_list_is_copied_or_deleted_and_then_the_trees_are_equal(trees, tmp_path):
    src, dest = trees
    shutil.rmtree(str(src / "gone"))
    shutil.rmtree(str(src / "x"))
    (src / "x").symlink_to("a")
    (src / "top").unlink()
    (src / "a/b/c/f").write_text("changed")
    (src / "newd").mkdir()
    (src / "newd/in").write_text("in")
    names = [b"a/b/c/f", b"gone/h/i", b"gone/g", b"gone", b"top", b"x/y", b"newd", b"newd/in", b"/a//b/./c/f/"]
    result = delta.run_delta(str(src), str(dest), make_list(tmp_path, *names))
    assert manifest(src) == manifest(dest)
    assert (result.rc, result.failed, result.files) == (0, [], 2)
    assert result.deleted == 6
    assert not delta.verify_list(str(src), str(dest), make_list(tmp_path, *names))


def test_paths_that_are_not_in_the_list_stay_as_they_are(trees, tmp_path):
    src, dest = trees
    (src / "a/b/c/f").write_text("changed")
    (src / "keep").write_text("not listed")
    (src / "top").unlink()
    delta.run_delta(str(src), str(dest), make_list(tmp_path, b"a/b/c/f"))
    assert (dest / "keep").read_text() == "keep"
    assert (dest / "top").exists()


def test_hostile_names_are_copied_deleted_and_told_byte_for_byte(trees, tmp_path):
    src, dest = trees
    names = [b"a/" + name for name in HOSTILE]
    for name in names[::2]:
        os.unlink(os.path.join(os.fsencode(src), name))
    for name in names[1::2]:
        with open(os.path.join(os.fsencode(src), name), "a") as stream:
            stream.write("more")
    listed = make_list(tmp_path, *names)
    found = {os.fsencode(entry.path): entry.kind for entry in delta.verify_list(str(src), str(dest), listed)}
    assert found == {name: "extra" if number % 2 == 0 else "content" for number, name in enumerate(names)}
    delta.run_delta(str(src), str(dest), listed)
    assert manifest(src) == manifest(dest)
    assert not delta.verify_list(str(src), str(dest), listed)


def test_content_that_differs_under_equal_size_and_time_is_found(trees, tmp_path):
    src, dest = trees
    (dest / "keep").write_text("KEEP")
    status = os.stat(str(src / "keep"))
    os.utime(str(dest / "keep"), ns=(status.st_mtime_ns, status.st_mtime_ns))
    listed = make_list(tmp_path, b"keep")
    assert [entry.kind for entry in delta.verify_list(str(src), str(dest), listed)] == ["content"]
    assert not delta.verify_list(str(src), str(dest), listed, checksum=False)


def test_two_writes_within_one_second_are_told_apart(trees, tmp_path):
    src, dest = trees
    (src / "keep").write_text("keeq")
    status = os.stat(str(dest / "keep"))
    os.utime(str(src / "keep"), ns=(status.st_mtime_ns, status.st_mtime_ns // 10**9 * 10**9 + 7))
    delta.run_delta(str(src), str(dest), make_list(tmp_path, b"keep"))
    assert (dest / "keep").read_text() == "keeq"


def test_other_names_of_a_listed_hard_link_come_along(trees, tmp_path):
    src, dest = trees
    os.link(str(src / "keep"), str(src / "a/b/keep2"))
    delta.run_delta(str(src), str(dest), make_list(tmp_path, b"a/b/keep2"))
    assert (dest / "keep").stat().st_ino == (dest / "a/b/keep2").stat().st_ino
    with open(str(src / "a/b/keep2"), "a") as stream:
        stream.write("written through one name")
    result = delta.run_delta(str(src), str(dest), make_list(tmp_path, b"a/b/keep2"))
    assert result.links_added == 2
    assert (dest / "keep").read_text().endswith("one name")


def test_the_look_for_other_names_ends_with_the_time_of_the_delta(trees, tmp_path, monkeypatch):
    src, dest = trees
    os.link(str(src / "keep"), str(src / "a/b/keep2"))
    read, folders = os.scandir, []

    def slowly(path):
        if isinstance(path, bytes):  # the walk's, not that of a folder for lists
            folders.append(path)
            time.sleep(0.3)
        return read(path)

    monkeypatch.setattr(os, "scandir", slowly)
    with pytest.raises(binary.RsyncError, match="not done after 0.5 s"):
        delta.run_delta(str(src), str(dest), make_list(tmp_path, b"a/b/keep2"), timeout=0.5)
    assert len(folders) <= 2 and not (dest / "a/b/keep2").exists()


def test_what_the_walks_took_is_not_given_to_rsync_again(trees, tmp_path, monkeypatch):
    src, dest = trees
    given, run = [], delta.command.run
    lstat = delta._Tree.lstat
    monkeypatch.setattr(delta.command, "run", lambda argv, timeout, **more: given.append(timeout) or
                        run(argv, timeout=timeout, **more))
    monkeypatch.setattr(delta._Tree, "lstat", lambda tree, path: time.sleep(0.2) or lstat(tree, path))
    delta.run_delta(str(src), str(dest), make_list(tmp_path, b"keep"), timeout=60)
    assert 0 < given[-1] < 59.9


def test_nothing_is_deleted_when_the_source_lost_its_sentinel(trees, tmp_path):
    src, dest = trees
    before = manifest(dest)
    shutil.rmtree(str(src))
    src.mkdir()
    listed = make_list(tmp_path, b"keep", b"a")
    with pytest.raises(binary.RsyncError, match="is empty"):
        delta.run_delta(str(src), str(dest), listed)
    (src / "other").write_text("other")
    with pytest.raises(binary.RsyncError, match="sentinel"):
        delta.run_delta(str(src), str(dest), listed)
    assert manifest(dest) == before


def test_our_own_files_are_neither_copied_nor_deleted(trees, tmp_path):
    src, dest = trees
    (dest / ".seamless-other").write_text("target's own")
    delta.run_delta(str(src), str(dest), make_list(tmp_path, b".seamless-sentinel", b".seamless-other", b"keep"))
    assert (dest / ".seamless-other").exists()
    assert not (dest / ".seamless-sentinel").exists()


def test_the_limit_of_deletions_is_a_failure(trees, tmp_path):
    src, dest = trees
    shutil.rmtree(str(src / "gone"))
    with pytest.raises(binary.RsyncError, match="max_delete") as caught:
        delta.run_delta(str(src), str(dest), make_list(tmp_path, b"gone"), max_delete=1)
    assert caught.value.result.deleted == 1


def test_a_path_that_leads_out_of_the_tree_is_refused(trees, tmp_path):
    src, dest = trees
    with pytest.raises(binary.RsyncError, match="leads out"):
        delta.run_delta(str(src), str(dest), make_list(tmp_path, b"a/../../etc/passwd"))


def test_a_dry_run_tells_and_changes_nothing(trees, tmp_path):
    src, dest = trees
    before = manifest(dest)
    (src / "keep").write_text("changed")
    (src / "top").unlink()
    result = delta.run_delta(str(src), str(dest), make_list(tmp_path, b"keep", b"top"), dry_run=True)
    assert {(change.kind, change.path) for change in result.changes} >= {("content", "keep"), ("extra", "top")}
    assert manifest(dest) == before


def test_a_list_with_nothing_changed_changes_nothing(trees, tmp_path):
    src, dest = trees
    result = delta.run_delta(str(src), str(dest), make_list(tmp_path, b"keep", b"a/b", b"."), itemize=True)
    assert not result.changed


def test_a_destination_that_cannot_be_written_is_a_failure_that_names_the_path(trees, tmp_path):
    src, dest = trees
    (src / "newfile").write_text("x" * 100)
    subprocess.run(["chattr", "+i", str(dest)], check=True)
    try:
        with pytest.raises(binary.RsyncError) as caught:
            delta.run_delta(str(src), str(dest), make_list(tmp_path, b"newfile"))
    finally:
        subprocess.run(["chattr", "-i", str(dest)], check=True)
    assert caught.value.result.rc == 23
    assert "newfile" in caught.value.result.failed[0]["reason"]


def test_a_daemon_gets_the_list_and_is_proved_equal(trees, tmp_path):
    src, dest = trees
    shutil.rmtree(str(src / "gone"))
    (src / "keep").write_text("changed")
    names = [b"gone", b"keep"] + [b"a/" + name for name in HOSTILE]
    for name in names[2:]:
        os.unlink(os.path.join(os.fsencode(src), name))
    with Daemon(tmp_path, dest) as daemon:
        options = binary.Options(password_file=daemon.password_file)
        listed = make_list(tmp_path, *names)
        assert len(delta.verify_list(str(src), daemon.url, listed, options=options)) == len(names) + 3
        result = delta.run_delta(str(src), daemon.url, listed, options, frozen=True)
        assert result.deleted == len(HOSTILE) + 4
        assert manifest(src) == manifest(dest)
        assert not delta.verify_list(str(src), daemon.url, listed, options=options)


def test_a_daemon_that_is_too_old_for_exact_times_gets_what_was_written_twice_in_a_second(trees, tmp_path):
    src, dest = trees
    for root, text, nanoseconds in ((src, "newer", 700), (dest, "older", 300)):
        (root / "keep").write_text(text)
        os.utime(str(root / "keep"), ns=(10**18 + nanoseconds, 10**18 + nanoseconds))
    # It closes the connection on the option, as rsync 3.1.2 does.
    with Daemon(tmp_path, dest, extra="refuse options = modify-window") as daemon:
        options = binary.Options(password_file=daemon.password_file)
        listed = make_list(tmp_path, b"keep")
        assert [found.path for found in delta.verify_list(str(src), daemon.url, listed, options=options)] == ["keep"]
        delta.run_delta(str(src), daemon.url, listed, options, frozen=True)
        assert (dest / "keep").read_text() == "newer"
        assert not delta.verify_list(str(src), daemon.url, listed, options=options)


def test_a_wrong_secret_is_told_as_such(trees, tmp_path):
    src, dest = trees
    with Daemon(tmp_path, dest) as daemon:
        (tmp_path / "password").write_text("wrong\n")
        options = binary.Options(password_file=daemon.password_file)
        with pytest.raises(binary.RsyncError, match="refuses user or secret"):
            delta.run_delta(str(src), daemon.url, make_list(tmp_path, b"keep"), options)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_vanished_file_is_a_failure_only_when_frozen(frozen):
    verdict = exit_codes.judge(24, "file has vanished", frozen)
    assert verdict.fine is not frozen


@pytest.mark.parametrize("frozen", [False, True])
def test_a_folder_that_becomes_a_file_after_the_list_was_made_is_a_failure_only_when_frozen(
    trees, tmp_path, monkeypatch, frozen
):
    src, dest = trees
    (src / "top").write_text("changed")
    shutil.rmtree(str(src / "gone"))
    prepare = delta.prepare

    def and_then(*given, **named):
        made = prepare(*given, **named)
        shutil.rmtree(str(src / "a/b"))
        (src / "a/b").write_text("a file now")
        return made

    monkeypatch.setattr(delta, "prepare", and_then)
    listed = make_list(tmp_path, b"a/b/c/f", b"gone", b"top")
    if frozen:
        with pytest.raises(binary.RsyncError, match="vanished although the source is frozen"):
            delta.run_delta(str(src), str(dest), listed, frozen=True)
        return
    result = delta.run_delta(str(src), str(dest), listed)
    assert [entry["path"] for entry in result.vanished] == ["a/b/c/f"] and not result.failed
    assert (dest / "top").read_text() == "changed" and not (dest / "gone").exists()


@pytest.mark.parametrize(("line", "vanished"), [
    ('rsync: [sender] link_stat "/src/a/f" failed: Not a directory (20)', True),
    ('rsync: link_stat "/src/a/f" failed: Not a directory (20)', True),
    ('rsync: [sender] link_stat "a/f" (in data) failed: Not a directory (20)', True),
    ('rsync: [sender] readlink_stat("/src/a/f") failed: Not a directory (20)', True),
    ('rsync: [sender] send_files failed to open "/src/a/f": Not a directory (20)', True),
    ('file has vanished: "/src/a/f"', True),
    ('rsync: [receiver] mkstemp "/dest/a/.f.Xy1" failed: Not a directory (20)', False),
    ('rsync: [generator] recv_generator: mkdir "/dest/a/f" failed: Not a directory (20)', False),
    ('rsync: [sender] link_stat "/src/a/f" failed: Permission denied (13)', False),
    ('rsync: [sender] link_stat "/src/Not a directory (20)" failed: Input/output error (5)', False),
])
def test_only_what_went_from_the_source_is_no_failure(line, vanished):
    end = "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394)"
    complaints = output.parse_complaints("%s\n%s [sender=3.5.0]\n" % (line, end), "/src")
    assert [complaint.vanished for complaint in complaints] == [vanished]
    assert output.status_of(23, complaints) == (24 if vanished else 23)
    assert output.status_of(23, [*complaints, output.Complaint(None, "something else", False)]) == 23
    assert output.status_of(23, []) == 23 and output.status_of(11, complaints) == 11


def test_partial_transfer_is_never_fine():
    assert not exit_codes.judge(23).fine
    assert not exit_codes.judge(23, frozen=True).fine


@pytest.mark.parametrize(("rc", "words", "action"), [
    (11, 'write failed on "/x": No space left on device (28)', exit_codes.STOP),
    (12, "connection unexpectedly closed", exit_codes.RETRY),
    (23, "mkstemp failed: Read-only file system (30)", exit_codes.STOP),
    (5, "@ERROR: auth failed on module data", exit_codes.STOP),
    (5, "@ERROR: max connections (4) reached -- try again later", exit_codes.RETRY),
    (10, "failed to connect: Connection refused (111)", exit_codes.RETRY),
    (2, "file has vanished: x\nInvalid packet at end of run (1) [sender]", exit_codes.RETRY),
    (2, "protocol version mismatch -- is your shell clean?", exit_codes.STOP),
    (-9, "", exit_codes.RETRY_ONCE),
    (99, "", exit_codes.STOP),
])
def test_every_way_to_fail_has_its_own_answer(rc, words, action):
    assert exit_codes.judge(rc, words).action == action


@given(st.binary(max_size=40).filter(lambda name: b"\0" not in name))
def test_a_name_escaped_as_rsync_does_comes_back_whole(name):
    escaped = b""
    for index, byte in enumerate(name):
        follows = name[index + 1:index + 5]
        octal = byte == 0x5C and len(follows) == 4 and follows[:1] == b"#" and follows[1:].isdigit()
        escaped += b"\\#%03o" % byte if octal or byte < 32 or byte > 126 else bytes([byte])
    assert os.fsencode(output.unescape(escaped.decode("ascii"))) == name


@given(st.lists(st.binary(min_size=1, max_size=9).filter(lambda name: b"\0" not in name), max_size=20))
def test_a_list_is_read_back_as_it_was_written(names):
    import tempfile

    with tempfile.NamedTemporaryFile() as stream:
        stream.write(b"\0".join(names))
        stream.flush()
        assert list(delta.read_list(stream.name)) == names
