# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions share that begin long work on a host and look at it until it ends: lines that tell how far it is."""

from __future__ import annotations

import os
import time

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.display import Display
from ansible_collections.seamless.migration.plugins.plugin_utils.journal_action import ProgressJournal

display = Display()

LOST_FOR = 900          # seconds without a connection after which a look at work that goes on is given up


def duration(seconds):
    """4000 -> '1:06:40'."""
    hours, rest = divmod(int(seconds), 3600)
    return "%d:%02d:%02d" % (hours, rest // 60, rest % 60)


def pace(done, total, seconds):
    """How fast work is, and how long it takes: (units in a second, seconds that are left or None).

    done, total: units, total None or 0 where nobody knows it. seconds: since it began.
    """
    rate = done / seconds if seconds >= 1 else 0
    return rate, (total - done) / rate if rate and total and total > done else None


def on_terminal():
    """Whether one line can be written over and over: ansible-playbook writes to a terminal, and with -vvv nobody else
    writes between. A worker's own output may be cut off from it (ansible-core 2.19 and later), so its parent is asked.
    """
    if display.verbosity > 2:
        return False
    for process in (os.getpid(), os.getppid()):
        try:
            if os.readlink("/proc/%d/fd/1" % process).startswith(("/dev/pts/", "/dev/tty")):
                return True
        except OSError:
            continue
    return False


class Teller:
    """Shows progress: one line written over and over on a terminal, else a new line every `interval` seconds."""

    def __init__(self, terminal, interval):
        self.terminal = terminal
        self.interval = interval
        self.width = 0
        self.at = time.monotonic()

    def tell(self, text):
        if self.terminal:
            text = text[: display.columns]  # what wraps cannot be written over
            display.display("\r" + text.ljust(self.width), newline=False, screen_only=True)
            self.width = len(text)
        elif time.monotonic() - self.at >= self.interval:
            self.at = time.monotonic()
            display.display(text)

    def end(self):
        if self.terminal and self.width:
            display.display("\r" + " " * self.width + "\r", newline=False, screen_only=True)


class Watch:
    """Looks at the work of a task.

    name: of the action; its variables NAME_quiet and NAME_progress_interval say how much is told. task_vars: of the
    task. template: callable that turns a value with templates into one without. lost_for: seconds without a connection
    after which it stops looking.
    """

    def __init__(self, name, task_vars, template, lost_for=LOST_FOR):
        self.host = task_vars.get("inventory_hostname", "")
        self._lost_for = lost_for
        alone = len(task_vars.get("ansible_play_hosts_all") or [self.host]) == 1
        quiet = boolean(template(task_vars.get(name + "_quiet", False)))
        interval = float("inf") if quiet else float(template(task_vars.get(name + "_progress_interval", 30)))
        self._teller = Teller(alone and not quiet and on_terminal(), interval)
        self._record = ProgressJournal(task_vars, template)

    def until(self, ended, answer, *, look, line, measured):
        """Look until the state of the answer is one of `ended`. Returns the last answer: that, failed or unreachable.

        look: function that asks again. line: function of an answer and of the seconds since the beginning that returns
        what to show. measured: function of the same that returns step and data of a measurement of the journal.
        """
        begin = seen = time.monotonic()
        pause = 0.2
        try:
            while answer.get("state") not in ended:
                took = time.monotonic() - begin
                self._teller.tell(line(answer, took))
                self._record.write(*measured(answer, took), self.host)
                time.sleep(pause)
                pause = min(2.0, max(0.2, (time.monotonic() - begin) / 10))
                asks = time.monotonic()
                now = _reached(look)
                if now.get("unreachable") and time.monotonic() - seen <= self._lost_for:
                    continue
                if now.get("unreachable") or now.get("failed"):
                    return now
                answer, seen = now, asks
            return answer
        finally:
            self._teller.end()


def _reached(look):
    try:
        return look()
    except AnsibleConnectionFailure as error:
        return {"unreachable": True, "msg": str(error)}
