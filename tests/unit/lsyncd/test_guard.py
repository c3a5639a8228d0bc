# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard, called as lsyncd calls it, with the real rsync."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from guard_case import LIST, PROGRAM, GuardCase

SPEC = importlib.util.spec_from_file_location("rsync_guard", PROGRAM)
GUARD = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(GUARD)

HOSTILE = [
    b"a]", b"a[", b"b\\b[1]", b"c\\d", b"\\", b"q*?", b"***", b"new\nline", b"bad\xff", b"- m", b"+ x", b"#h", b";h",
    b"!", b" blank ", b"it's \"quoted\"", b"$(reboot)", b"]]", b"a\\]", b"\\#134", b"-rf", b"end\\", b"tab\there",
]


@pytest.fixture
def case(tmp_path):
    return GuardCase(tmp_path)


def lsyncd_escape(path):
    """What default-rsync.lua does to a name."""
    for char in (b"?", b"*", b"[", b"]"):
        path = path.replace(char, b"\\" + char)
    return path


def create(folder, name, content=b"x"):
    path = os.path.join(os.fsencode(str(folder)), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(content)


def test_a_full_run_copies_and_records_what_it_copied(case):
    create(case.source, b"d/file")
    assert case.call("-r") == 0
    assert (case.target / "d" / "file").read_bytes() == b"x"
    assert {b"d", b"d/file"} <= case.paths("touched")
    assert case.runs()[-1]["mode"] == "full"
    assert case.runs()[-1]["deletes"] is False


def test_a_run_that_deletes_is_recorded_as_one(case):
    assert case.call("-r", "--delete") == 0
    assert case.runs()[-1]["deletes"] is True


def test_a_missing_sentinel_leaves_the_target_intact_and_says_again(case):
    create(case.target, b"precious")
    case.sentinel.unlink()
    assert case.call("-r", "--delete", "--ignore-errors") == 5
    assert (case.target / "precious").exists()
    assert b"Is the source mounted?" in case.last.stderr
    assert case.runs()[-1]["mapped"] == 5


def test_an_unmounted_source_does_not_wipe_the_target_with_a_list_either(case):
    create(case.target, b"precious")
    case.sentinel.unlink()
    assert case.call_list(b"/precious", b"/") == 5
    assert (case.target / "precious").exists()


@pytest.mark.parametrize("break_it", ["content", "directory", "link"])
def test_a_sentinel_that_is_not_ours_says_again(case, break_it):
    case.sentinel.unlink()
    if break_it == "content":
        case.sentinel.write_text("other data\n")
    elif break_it == "directory":
        case.sentinel.mkdir()
    else:
        (case.folder / "elsewhere").write_text("files data\n")
        case.sentinel.symlink_to(case.folder / "elsewhere")
    assert case.call("-r", "--delete") == 5


def test_a_source_that_disappears_during_the_run_is_not_ok(case):
    case.fake_rsync("rm %s\nexit 0\n" % case.sentinel)
    assert case.call("-r") == 5
    assert case.paths("dirty") == {b"./"}


def test_settings_that_cannot_be_read_say_again(case):
    (case.folder / "guard.json").write_text("{broken")
    assert case.call("-r") == 5
    (case.folder / "guard.json").unlink()
    assert case.call("-r") == 5


def test_another_source_than_the_configured_one_is_a_reason_to_die(case):
    case.configure(source="/somewhere/else")
    assert case.call("-r") == 1


def test_every_hostile_name_of_a_list_arrives(case):
    for name in HOSTILE:
        create(case.source, name)
        create(case.source, b"dir[1]\\/" + name)
    entries = [b"/" + lsyncd_escape(name) for name in HOSTILE] + [b"/", b"/" + lsyncd_escape(b"dir[1]\\/")]
    entries += [b"/" + lsyncd_escape(b"dir[1]\\/" + name) for name in HOSTILE]
    assert case.call_list(*entries) == 0
    arrived = set(os.listdir(os.fsencode(str(case.target))))
    assert arrived == set(HOSTILE) | {b"dir[1]\\"}
    assert set(os.listdir(os.fsencode(str(case.target)) + b"/dir[1]\\")) == set(HOSTILE)
    assert case.paths("touched") == set(HOSTILE) | {b"dir[1]\\"} | {b"dir[1]\\/" + name for name in HOSTILE}


def test_every_hostile_name_of_a_full_run_is_recorded(case):
    for name in HOSTILE:
        create(case.source, name)
    assert case.call("-r", "--exclude=/.seamless-sentinel") == 0
    assert case.paths("touched") == set(HOSTILE)


def test_deletions_are_carried_and_recorded(case):
    for name in (b"gone", b"dir/inner/file", b"stays"):
        create(case.target, name)
    create(case.source, b"stays")
    assert case.call_list(b"/gone", b"/", b"/dir/***", b"/dir/") == 0
    assert sorted(os.listdir(str(case.target))) == ["stays"]
    assert case.paths("touched") == {b"gone", b"dir"}


def test_deletions_of_a_full_run_are_recorded(case):
    create(case.target, b"gone\nfile")
    assert case.call("-r", "--delete") == 0
    assert b"gone\nfile" in case.paths("touched")


def test_more_deletions_than_allowed_stop_everything_until_a_human_looked(case):
    case.configure(max_delete=2)
    for number in range(5):
        create(case.target, b"file%d" % number)
    assert case.call("-r", "--delete") == 25
    assert len(os.listdir(str(case.target))) == 3 + 1
    assert case.call("-r", "--delete") == 25
    assert len(os.listdir(str(case.target))) == 3 + 1
    assert b"limit of deletions" in case.last.stderr
    case.configure(max_delete=100)
    (case.state / "halted").unlink()
    assert case.call("-r", "--delete") == 0


def test_a_source_that_cannot_be_read_does_not_look_like_deleted_files(case):
    """lsyncd adds --ignore-errors, which deletes on the target what could not be read on the source."""
    script = case.fake_rsync('printf "%%s\\n" "$@" > %s/argv\n' % case.folder)
    assert case.call("-r", "--delete", "--ignore-errors") == 0
    assert "--ignore-errors" not in (case.folder / "argv").read_text().split()
    assert script.exists()


def test_the_bandwidth_limit_is_read_at_each_start(case):
    limit = case.folder / "bwlimit"
    case.configure(bwlimit_file=str(limit))
    case.fake_rsync('printf "%%s\\n" "$@" > %s/argv\n' % case.folder)

    def argv():
        assert case.call("-r") == 0
        return (case.folder / "argv").read_text().split()

    assert not [word for word in argv() if word.startswith("--bwlimit")]
    limit.write_text("750\n")
    assert "--bwlimit=750" in argv()
    limit.write_text("0\n")
    assert not [word for word in argv() if word.startswith("--bwlimit")]
    limit.write_text("fast\n")
    assert not [word for word in argv() if word.startswith("--bwlimit")]
    assert b"is no number" in case.last.stderr


def test_the_password_file_is_given_once_and_no_secret_is(case):
    case.configure(password_file="/etc/secret")
    case.fake_rsync('printf "%%s\\n" "$@" > %s/argv\n' % case.folder)
    case.call("-r")
    assert (case.folder / "argv").read_text().split().count("--password-file=/etc/secret") == 1
    case.call("-r", "--password-file=/etc/secret")
    assert (case.folder / "argv").read_text().split().count("--password-file=/etc/secret") == 1


@pytest.mark.parametrize(
    ("rc", "mapped"),
    [(0, 0), (24, 0), (1, 1), (2, 2), (3, 5), (4, 5), (5, 5), (10, 5), (11, 5), (12, 5), (13, 5), (14, 5), (19, 5),
     (20, 5), (22, 5), (25, 25), (30, 5), (35, 5), (127, 5), (255, 5)],
)
def test_each_status_of_rsync_becomes_one_that_lsyncd_understands(case, rc, mapped):
    case.fake_rsync("exit %d\n" % rc)
    assert case.call("-r") == mapped


def test_links_that_vanish_in_a_run_are_no_reason_to_die(case):
    case.fake_rsync("echo 'Invalid packet at end of run (1) [sender]' >&2\nexit 2\n")
    assert case.call_list(b"/file") == 5
    case.fake_rsync("echo 'protocol version mismatch' >&2\nexit 2\n")
    assert case.call_list(b"/file") == 2


def test_an_rsync_that_is_killed_is_run_again(case):
    case.fake_rsync("kill -9 $$\n")
    assert case.call("-r") == 5


def test_an_rsync_that_is_not_installed_is_run_again(case):
    case.configure(rsync="/nonexistent/rsync")
    assert case.call("-r") == 5


def fail_for(case, name, arrow=""):
    message = 'rsync: [sender] send_files failed to open "%s/%s"%s: Permission denied (13)' % (case.source, name, arrow)
    case.fake_rsync("cat > %s/stdin\necho '%s' >&2\nexit 23\n" % (case.folder, message))


def test_a_partial_run_names_the_failed_path_as_dirty_and_is_run_again_three_times(case):
    create(case.source, b"good")
    create(case.source, b"bad")
    fail_for(case, "bad")
    assert [case.call_list(b"/good", b"/bad", b"/") for _unused in range(5)] == [5, 5, 5, 0, 0]
    assert case.paths("dirty") == {b"bad"}
    case.configure(rsync=None)
    assert case.call_list(b"/bad", b"/") == 0
    assert case.paths("dirty") == set()
    assert (case.target / "bad").exists()


def test_a_partial_run_that_does_not_say_what_failed_makes_the_whole_list_dirty(case):
    case.fake_rsync("echo 'rsync: something odd' >&2\nexit 23\n")
    assert case.call_list(b"/one", b"/two", b"/") == 5
    assert case.paths("dirty") == {b"one", b"two"}
    assert case.call("-r") == 5
    assert b"./" in case.paths("dirty")


def test_a_clean_full_run_empties_the_dirty_list(case):
    case.fake_rsync("echo 'rsync: something odd' >&2\nexit 23\n")
    case.call("-r")
    case.configure(rsync=None)
    assert case.call("-r") == 0
    assert case.paths("dirty") == set()


def test_what_failed_gets_another_try_with_the_next_list(case):
    case.configure(retry_interval=0, partial_retries=0)
    create(case.source, b"dir/was bad[1]\\")
    fail_for(case, "dir/was bad[1]\\")
    assert case.call_list(b"/dir/was bad\\[1\\]\\", b"/dir/", b"/") == 0
    assert case.paths("dirty") == {b"dir/was bad[1]\\"}
    case.configure(rsync=None)
    create(case.source, b"other")
    assert case.call_list(b"/other", b"/") == 0
    assert (case.target / "dir" / "was bad[1]\\").exists()
    assert case.paths("dirty") == set()
    assert case.runs()[-2]["mode"] == "retry"


def test_a_failure_on_the_real_target_is_found_in_the_words_of_rsync(case):
    """A directory of the target in the place of a file, not empty, whose content the list excludes."""
    create(case.source, b"name\nhere")
    create(case.target, b"name\nhere/inner")
    assert case.call("-r", *LIST, stdin=b"/name\nhere\0/") == 5
    assert case.paths("dirty") == {b"name\nhere"}


def test_files_with_several_names_are_recorded(case):
    create(case.source, b"one")
    os.link(str(case.source / "one"), str(case.source / "two"))
    create(case.source, b"single")
    assert case.call_list(b"/one", b"/single", b"/") == 0
    assert case.paths("hardlinks") == {b"one"}
    assert case.paths("inodes") == {b"%d" % os.stat(str(case.source / "one")).st_ino}
    assert case.call("-r") == 0
    assert case.paths("hardlinks") == {b"one", b"two"}


@pytest.mark.parametrize("listed", [True, False])
def test_a_folder_that_is_a_link_or_a_file_now_makes_way_where_deletion_is_off(case, listed):
    for name in (b"file/deep/one", b"link/deep/one", b"gone/one"):
        create(case.target, name)
    create(case.source, b"file", b"new")
    (case.source / "link").symlink_to("elsewhere")
    if listed:  # the list itself excludes what is in the folders, the next try of what failed does not
        case.configure(retry_interval=0, partial_retries=0)
        assert case.call("-r", *LIST, stdin=b"/file\0/link\0/") == 0
        assert case.paths("dirty") == {b"file", b"link"}
        assert case.call("-r", *LIST, stdin=b"/other\0/") == 0
    else:
        assert case.call("-r") == 0
    assert case.paths("dirty") == set()
    assert (case.target / "file").read_bytes() == b"new"
    assert os.readlink(str(case.target / "link")) == "elsewhere"
    assert (case.target / "gone" / "one").exists()


def test_the_path_list_is_on_disk_before_rsync_starts(case):
    case.fake_rsync("grep -qz '^precious$' %s/touched || exit 1\n" % case.state)
    assert case.call_list(b"/precious", b"/") == 0


def test_a_long_list_of_touched_paths_is_sorted_uniquely(case):
    case.configure(touched_limit_bytes=200)
    for _unused in range(20):
        assert case.call_list(b"/some/path/that/is/long", b"/some/path/that/is/", b"/") == 0
    assert case.paths("touched") == {b"some/path/that/is/long", b"some/path/that/is"}
    assert (case.state / "touched").stat().st_size < 300


def test_a_full_run_over_the_limit_says_that_its_list_is_not_complete(case):
    case.configure(touched_limit_bytes=200)
    for number in range(50):
        create(case.source, b"file-%d" % number)
    assert case.call("-r") == 0
    assert (case.state / "touched.overflow").exists()


def test_several_guards_at_once_lose_no_path(case):
    case.fake_rsync("sleep 0.1\n")
    argv = [str(case.link), "-a", "--from0", "--include-from=-", "%s/" % case.source, "%s/" % case.target]
    running = []
    for number in range(8):
        process = subprocess.Popen(argv, stdin=subprocess.PIPE)
        process.stdin.write(b"/file%d\0/" % number)
        process.stdin.close()
        running.append(process)
    assert [process.wait() for process in running] == [0] * 8
    assert case.paths("touched") == {b"file%d" % number for number in range(8)}
    assert len(case.runs()) == 8


def test_the_list_of_lsyncd_2_2_1_is_taken_by_its_own_rules(case):
    create(case.source, b"d/b\\b[1]")
    assert case.call("--from0", "--files-from=-", "--force", stdin=b"/d\0/d/b\\b[1]") == 0
    assert (case.target / "d" / "b\\b[1]").exists()
    assert case.paths("touched") == {b"d", b"d/b\\b[1]"}


def test_being_told_to_end_ends_rsync_too(case):
    case.fake_rsync("echo $$ > %s/pid\nexec sleep 60\n" % case.folder)
    argv = [str(case.link), "-r", "%s/" % case.source, "%s/" % case.target]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    deadline = time.time() + 10
    while not (case.folder / "pid").exists() or not (case.folder / "pid").read_text().strip():
        assert time.time() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=10) == 5
    assert not os.path.exists("/proc/%s" % (case.folder / "pid").read_text().strip())


def test_the_run_log_is_bounded(case):
    case.fake_rsync("exit 0\n")
    case.call("-r")
    with open(case.state / "runs.jsonl", "ab") as stream:
        stream.write(b"x" * (1 << 20))
    case.call("-r")
    case.call("-r")
    assert (case.state / "runs.jsonl").stat().st_size < 10000
    assert (case.state / "runs.jsonl.1").exists()


def test_a_run_through_a_link_uses_the_settings_beside_the_link(case):
    program = case.folder / "program"
    shutil.move(str(case.link), str(program))
    case.link.symlink_to(program)
    create(case.source, b"file")
    assert case.call("-r") == 0
    assert (case.target / "file").exists()


names = st.binary(min_size=1, max_size=20).map(lambda b: b.replace(b"\0", b"").replace(b"/", b"")).filter(
    lambda b: b not in (b"", b".", b"..")
)


@given(st.lists(names, min_size=1, max_size=3))
def test_what_lsyncd_escapes_is_read_back_exactly(parts):
    path = b"/".join(parts)
    assert GUARD.Entry(b"/" + lsyncd_escape(path), True).path == path
    deleted = GUARD.Entry(b"/" + lsyncd_escape(path) + b"/***", True)
    assert (deleted.path, deleted.deleted) == (path, True)


@given(names)
def test_the_name_that_rsync_displays_is_read_back_exactly(name):
    def shown(byte):
        return bytes([byte]) if 32 <= byte < 127 else b"\\#%03o" % byte

    displayed = b"".join(map(shown, name))
    if b"\\#" not in name:  # rsync shows the backslash of such a name as \#134
        assert GUARD.unescape(displayed) == name


@given(st.binary(max_size=300))
def test_no_message_of_rsync_makes_the_parser_fail(stderr):
    paths, understood = GUARD.failed_paths(stderr, b"/source", b"/target")
    assert isinstance(understood, bool)
    assert all(path and not path.startswith(b"/") for path in paths)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b'rsync: [sender] send_files failed to open "/source/a b": Permission denied (13)', b"a b"),
        (b'rsync: [receiver] mkstemp "/d/.f.x.AbC123" (in data) failed: No space left on device (28)', b"d/f.x"),
        (b'rsync: [generator] recv_generator: failed to stat "/d/e" (in data): Input/output error (5)', b"d/e"),
        (b'rsync: [sender] readlink_stat("/source/quo"te") failed: Permission denied (13)', b'quo"te'),
        (b'rsync: [receiver] mkstemp "/target/.f\\#012g.Qwe123" failed: No space left on device (28)', b"f\ng"),
    ],
)
def test_the_path_in_an_error_message_is_found(line, path):
    assert GUARD.failed_paths(line + b"\n", b"/source", b"/target") == ({path}, True)


def test_an_rsync_that_stands_still_is_ended_and_run_again(case):
    case.configure(stall_seconds=1)
    case.fake_rsync("exec sleep 50\n")
    assert case.call_list(b"/file") == 5
    assert b"stood still for 1 s" in case.last.stderr


def test_a_full_run_may_be_idle_for_longer(case):
    case.configure(stall_seconds=1)
    case.fake_rsync("exec sleep 4\n")
    assert case.call("-r") == 0


def test_an_rsync_that_moves_bytes_is_not_ended_however_long_it_takes(case):
    case.configure(stall_seconds=1)
    moving = "import time\nfor _ in range(8):\n  open('/dev/null', 'wb').write(bytes(5000))\n  time.sleep(0.4)\n"
    (case.folder / "moving.py").write_text(moving)
    case.fake_rsync("exec %s -S %s\n" % (sys.executable, case.folder / "moving.py"))
    assert case.call_list(b"/file") == 0


def test_an_rsync_that_looks_through_a_folder_is_not_ended_however_long_it_takes(case):
    case.configure(stall_seconds=1)
    looking = "import os, time\nend = time.time() + 4\nwhile time.time() < end:\n  os.lstat('/')\n"
    (case.folder / "looking.py").write_text(looking)
    case.fake_rsync("exec %s -S %s\n" % (sys.executable, case.folder / "looking.py"))
    assert case.call_list(b"/file") == 0


def test_a_full_run_goes_without_hard_links_and_a_list_keeps_them(case):
    case.fake_rsync('printf "%%s\\n" "$@" > %s/argv\n' % case.folder)
    case.call("-r", "-gXlsWtApoHD", "--hard-links")
    given = (case.folder / "argv").read_text().split("\n")
    assert "-gXlsWtApoD" in given and "--hard-links" not in given
    case.call("-r", "-gXlsWtApoHD", *LIST, stdin=b"/a")
    assert "-gXlsWtApoHD" in (case.folder / "argv").read_text().split("\n")


def test_two_changes_of_one_size_within_a_second_are_both_carried(case):
    second = 1_700_000_000_000_000_000
    for number, content in enumerate((b"one", b"two")):
        create(case.source, b"file", content)
        os.utime(case.source / "file", ns=(second, second + number))
        assert case.call_list(b"/file") == 0
    assert (case.target / "file").read_bytes() == b"two"
    assert (case.state / "times").read_text() == "exact\n"


def older_rsync(case, refusal):
    """An rsync whose other side ends so when it is asked to compare times to the nanosecond."""
    script = 'echo "$*" >> %s/calls\ncase "$*" in *--modify-window=-1*) exit %d;; esac\n' % (case.folder, refusal)
    case.fake_rsync(script, version="3.2.7")

    def calls():
        return ["--modify-window=-1" in line for line in (case.folder / "calls").read_text().splitlines()]

    return calls


@pytest.mark.parametrize("refusal", GUARD.NOT_UNDERSTOOD)
def test_the_other_side_is_asked_once_whether_it_knows_exact_times(case, refusal):
    calls = older_rsync(case, refusal)
    assert case.call_list(b"/a") == 0
    assert case.call_list(b"/b") == 0
    assert calls() == [True, False, False]
    assert (case.state / "times").read_text() == "seconds\n"


def test_a_side_that_knew_exact_times_is_not_taken_for_an_older_one_when_the_link_breaks(case):
    create(case.source, b"file")
    assert case.call_list(b"/file") == 0
    calls = older_rsync(case, 12)
    assert case.call_list(b"/file") == 5
    assert calls() == [True]


def test_an_own_rsync_that_does_not_know_exact_times_is_not_given_them(case):
    case.fake_rsync('echo "$*" >> %s/calls\n' % case.folder, version="3.1.2")
    assert case.call_list(b"/file") == 0
    assert "--modify-window" not in (case.folder / "calls").read_text()
    assert (case.state / "times").read_text() == "seconds\n"


def test_a_full_run_compares_by_the_second_as_the_target_may_keep_no_more(case):
    case.fake_rsync('printf "%%s\\n" "$@" > %s/argv\n' % case.folder)
    case.call("-r")
    assert "--modify-window=-1" not in (case.folder / "argv").read_text().split()
