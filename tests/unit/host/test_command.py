# SPDX-License-Identifier: GPL-3.0-or-later
import os
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError, Result, run, which


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as stream:
            return "Z" not in stream.read().rpartition(")")[2]
    except OSError:
        return False


def test_output_and_status_come_back():
    result = run(["sh", "-c", "cat; echo no >&2; exit 3"], stdin=b"yes\xff", ok=(3,))
    assert (result.rc, result.stdout, result.stderr) == (3, "yes\udcff", "no\n")


def test_a_failure_names_the_command_and_its_cause():
    with pytest.raises(CommandError, match="sh -c echo first.*: last words") as caught:
        run(["sh", "-c", "echo first >&2; echo last words >&2; exit 1"])
    assert caught.value.result.rc == 1


def test_a_failure_without_words_tells_the_status():
    with pytest.raises(CommandError, match="exit status 7"):
        run(["sh", "-c", "exit 7"])


def test_any_status_can_be_taken():
    assert run(["sh", "-c", "exit 9"], ok=None).rc == 9


def test_the_cause_is_the_line_with_the_words_where_carets_follow():
    text = "/dev/stdin:1:5-5: Error: syntax error\ntable {\n    ^\n"
    assert Result([], 1, "", text).cause() == "/dev/stdin:1:5-5: Error: syntax error"


def test_a_program_that_is_not_there_is_told():
    with pytest.raises(CommandError, match="/no/such cannot be started: No such file"):
        run(["/no/such"])


def test_no_shell_sees_the_words():
    assert run(["printf", "%s", "$(id); a b"]).stdout == "$(id); a b"


def test_the_language_is_fixed_and_the_environment_added_to():
    os.environ["LC_ALL"] = "de_DE.UTF-8"
    try:
        assert run(["sh", "-c", "echo $LC_ALL $A"], env={"A": "b"}).stdout == "C b\n"
    finally:
        del os.environ["LC_ALL"]


@pytest.mark.parametrize("leaves_daemon", [False, True])
def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path, leaves_daemon):
    start = time.monotonic()
    with pytest.raises(CommandError, match="did not end within 0.5 s"):
        script = "sleep 60 & echo $! > %s; wait" % (tmp_path / "pid")
        run(["sh", "-c", script], timeout=0.5, leaves_daemon=leaves_daemon)
    assert time.monotonic() - start < 10
    pid = int((tmp_path / "pid").read_text())
    for _unused in range(50):
        if not alive(pid):
            return
        time.sleep(0.1)
    pytest.fail("the child still runs")


def test_a_process_that_escapes_and_keeps_the_output_open_does_not_hold_us_for_ever():
    start = time.monotonic()
    with pytest.raises(CommandError, match="did not end"):
        run(["sh", "-c", "setsid sleep 20 & sleep 30"], timeout=0.5)
    assert time.monotonic() - start < 12


def test_a_start_script_that_leaves_a_daemon_is_not_waited_for():
    start = time.monotonic()
    result = run(["sh", "-c", "cat; setsid sleep 20 & echo started"], stdin=b"in ", leaves_daemon=True)
    assert result.stdout == "in started\n"
    assert time.monotonic() - start < 10


def test_programs_of_administrators_are_found_without_their_path(monkeypatch):
    monkeypatch.setenv("PATH", "/bin")
    assert which("sh") == "/bin/sh"
    assert which("no-such-program") is None


def test_a_message_with_a_name_that_is_no_utf8_can_be_sent_as_json():
    with pytest.raises(CommandError, match=r"no such \\xff"):
        run(["sh", "-c", "printf 'no such \\377\\n' >&2; exit 1"])
