# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown of long work while the controller looks at it."""

import pytest
from ansible_collections.seamless.migration.plugins.plugin_utils import watching


class Screen:
    columns = 79
    verbosity = 0

    def __init__(self):
        self.shown = []

    def display(self, text, **how):
        self.shown.append((text, how.get("newline", True)))


@pytest.fixture
def screen(monkeypatch):
    made = Screen()
    monkeypatch.setattr(watching, "display", made)
    return made


def test_a_terminal_gets_one_line_written_over_and_over(screen):
    teller = watching.Teller(True, 30)
    teller.tell("a long line")
    teller.tell("short")
    teller.end()
    assert screen.shown == [("\ra long line", False), ("\rshort      ", False), ("\r     \r", False)]


def test_a_line_on_a_terminal_is_never_longer_than_it_is_wide(screen):
    teller = watching.Teller(True, 30)
    teller.tell("x" * 200)
    teller.end()
    assert screen.shown == [("\r" + "x" * 79, False), ("\r" + " " * 79 + "\r", False)]


def test_nothing_is_written_over_where_vvv_writes_between(screen, monkeypatch):
    monkeypatch.setattr(watching.os, "readlink", lambda path: "/dev/pts/3")
    assert watching.on_terminal()
    screen.verbosity = 3
    assert not watching.on_terminal()
    screen.verbosity = 0
    monkeypatch.setattr(watching.os, "readlink", lambda path: "pipe:[77]")
    assert not watching.on_terminal()


def test_a_log_gets_a_line_now_and_then(screen):
    teller = watching.Teller(False, 30)
    teller.tell("one")
    teller.at -= 31
    teller.tell("two")
    teller.tell("three")
    teller.end()
    assert screen.shown == [("two", True)]
