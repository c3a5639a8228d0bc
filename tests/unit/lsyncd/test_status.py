# SPDX-License-Identifier: GPL-3.0-or-later
"""Status file and log of lsyncd, as they were seen, cut short, and forged by file names."""

import os

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd import status
from hypothesis import given
from hypothesis import strategies as st

IDLE = b"""Lsyncd status report at Sun Nov 22 04:38:20 2026

Sync1 source=/srv/files/
There are 0 delays
Filtering:
  nothing.


Inotify watching 3 directories
  1: /srv/files/
  2: /srv/files/d1/
  3: /srv/files/d1/d2/
"""
BUSY = b"""Lsyncd status report at Sun Nov 22 04:38:20 2026

Sync1 source=/srv/files/
There are 3 delays
active Init %s
block  Modify /d1/file
wait   Move /a -> /b
Filtering:
From excludes:
- /.seamless-sentinel


Sync2 source=/srv/other/
There are 1 delays
wait   Create /x
Filtering:
  nothing.


Inotify watching 2 directories
  1: /srv/files/
  7: /srv/other/
""" % b""


def test_an_idle_daemon_is_read():
    report = status.parse(IDLE)
    assert (report.complete, report.watching, report.date) == (True, 3, "Sun Nov 22 04:38:20 2026")
    assert report.sync("/srv/files")["delays"] == 0
    assert report.sync("/srv/files")["initializing"] is False
    assert report.sync("/srv/nothing") is None


def test_all_states_of_delays_are_read():
    report = status.parse(BUSY)
    assert report.complete
    found = report.sync("/srv/files/")
    assert (found["delays"], found["active"], found["blocked"], found["waiting"]) == (3, 1, 1, 1)
    assert found["initializing"] is True
    assert report.sync("/srv/other")["delays"] == 1
    assert report.sync("/srv/other")["initializing"] is False


@pytest.mark.parametrize("content", [IDLE, BUSY])
def test_no_part_of_a_status_file_counts_as_a_whole_one(content):
    for length in range(len(content)):
        assert not status.parse(content[:length]).complete


def test_a_name_with_a_newline_still_gives_a_report():
    content = IDLE.replace(b"3: /srv/files/d1/d2/", b"3: /srv/files/d1/new\nline/")
    assert status.parse(content).complete
    busy = BUSY.replace(b"/d1/file", b"/d1/fi\nle")
    assert status.parse(busy).sync("/srv/files")["delays"] == 3


@pytest.mark.parametrize(
    "name",
    [
        b"x\nFiltering:\n",
        b"x\nThere are 0 delays",
        b"x\nSync1 source=/srv/files/\nThere are 0 delays\nFiltering:",
        b"x\nInotify watching 0 directories",
        b"x\nInotify watching 2 directories\n  1: a\n  2: b",
    ],
)
def test_a_forged_name_never_hides_a_delay(name):
    report = status.parse(BUSY.replace(b"/d1/file", name))
    found = report.sync("/srv/files")
    assert not report.complete or found is None or found["delays"] == 3


@given(st.binary(max_size=400))
def test_no_content_makes_the_parser_fail(content):
    assert isinstance(status.parse(content).complete, bool)
    assert isinstance(status.bad_lines(content), dict)


NAMES = st.binary(min_size=1, max_size=30).filter(lambda name: b"/" not in name and b"\0" not in name)


@given(st.lists(NAMES, max_size=5))
def test_a_report_is_complete_only_with_the_true_number_of_delays(names):
    entries = b"".join(b"wait   Modify /%s\n" % name for name in names)
    content = IDLE.replace(b"There are 0 delays\n", b"There are %d delays\n%s" % (len(names), entries))
    report = status.parse(content)
    found = report.sync("/srv/files")
    assert not report.complete or found is None or found["delays"] == len(names)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Normal: --- OVERFLOW in event queue ---", "overflow"),
        ("Normal: --- Startup ---", "startup"),
        ("Normal: recursive startup rsync: /a/ -> /b/", "startup"),
        ("Normal: recursive full rsync: /a/ -> /b/", "startup"),
        ("Normal: --- HUP signal, resetting ---", "startup"),
        ("Normal: Retrying startup of /a/ -> /b/: 5", "retrying"),
        ("Normal: Retrying a list after exitcode = 5", "retrying"),
        ("Error: Failure with a list with exitcode = 25", "failed"),
        ("Normal: Finished a list after exitcode: 23", "failed"),
        ("Error: Terminating since out of inotify watches.", "ended"),
        ("Normal: --- TERM signal, fading ---", "ended"),
        ("Error: something new", "failed"),
    ],
)
def test_each_bad_line_of_the_log_is_known(line, kind):
    content = ("Sun Nov 22 04:38:06 2026 %s\n" % line).encode()
    assert kind in status.bad_lines(content)


def test_good_lines_of_the_log_say_nothing():
    content = b"""Sun Nov 22 04:38:09 2026 Normal: Calling rsync with filter-list of new/modified files/dirs
/Retrying
/Error: x
Sun Nov 22 04:38:09 2026 Normal: Finished a list after exitcode: 0
Sun Nov  2 04:38:06 2026 Normal: Startup of /tmp/lx/s/ -> /tmp/lx/t/ finished.
"""
    assert status.bad_lines(content) == {}


def test_the_log_is_read_from_the_mark_on_and_a_rotation_is_told(tmp_path):
    path = tmp_path / "log"
    path.write_text("Sun Nov 22 04:38:06 2026 Normal: --- Startup ---\n")
    log = status.Log(str(path))
    assert log.since() == {}
    with open(path, "a", encoding="utf-8") as stream:
        stream.write("Sun Nov 22 04:38:06 2026 Normal: --- OVERFLOW in event queue ---\n")
    assert list(log.since()) == ["overflow"]
    path.write_text("")
    assert list(log.since()) == ["rotated"]
    path.unlink()
    assert list(log.since()) == ["missing"]


def test_a_process_counts_only_if_it_is_lsyncd(tmp_path):
    for pid, name in ((7, "lsyncd"), (8, "bash")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(name + "\n")
        (tmp_path / str(pid) / "cmdline").write_bytes(b"lsyncd\0/etc/x.lua\0")
    pid_file = tmp_path / "pid"
    assert status.daemon_pid(str(pid_file), proc=str(tmp_path)) is None
    for content, expected in (("7\n", 7), ("8\n", None), ("9", None), ("", None), ("../7", None)):
        pid_file.write_text(content)
        assert status.daemon_pid(str(pid_file), proc=str(tmp_path)) == expected
    assert status.daemon_pid(None, "/etc/x.lua", str(tmp_path)) == 7
    assert status.daemon_pid(None, "/etc/y.lua", str(tmp_path)) is None


def test_a_directory_that_went_before_lsyncd_looked_into_it_speaks_against_nothing(tmp_path):
    line = b"Sun Nov 22 05:50:33 2026 Error: cannot open dir [%s]."
    gone = os.fsencode(str(tmp_path / "gone")) + b"/"
    assert status.bad_lines(line % gone) == {}
    assert status.bad_lines(b"Sun Nov 22 05:50:33 2026 Error: cannot open dir [/srv/new") == {}
    assert "failed" in status.bad_lines(line % os.fsencode(str(tmp_path)))
