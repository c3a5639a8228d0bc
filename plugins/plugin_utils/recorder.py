# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report needs beyond what the playbooks record themselves: how long each play took, what the modules measured,
which task failed and why.

Knows nothing of Ansible, so that it can be tested without it. The callback plugin of this name feeds it.
"""

from __future__ import annotations

import time

from ansible_collections.seamless.migration.plugins.module_utils import journal, journal_schema

OURS = "seamless.migration."
_CAUSE = 2000
# A task that takes less is of no use in the window's picture.
_LEAST_MS = 1.0


def iso(moment):
    """Seconds since 1970 as the journal writes times."""
    seconds, thousandths = divmod(round(moment * 1000), 1000)
    return "%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)), thousandths)


def cause_of(result):
    """Why a task failed, from its result, as text of at most 2000 characters."""
    if "censored" in result:
        return "not told, the task has no_log"
    texts = [str(item.get("msg")) for item in result.get("results") or [] if item.get("failed") and item.get("msg")]
    if not texts:
        texts = [str(result.get("msg") or "no message")]
        stderr = str(result.get("stderr") or "").strip()
        if stderr and stderr not in texts[0]:
            texts.append(stderr)
    text = "; ".join(texts)
    return text if len(text) <= _CAUSE else text[: _CAUSE - 3] + "..."


class Recorder:
    """Follows one run of ansible-playbook and writes to the journal of the migration that it works on.

    clock: callable that returns seconds since 1970. Until a stage of a migration has begun nothing is written; while
    nobody can write, nothing is either, so that it costs the window no time: what was seen then follows afterwards.
    """

    def __init__(self, clock=time.time):
        self.clock = clock
        self.record = None
        self.stage = None
        self.play = None
        self.window = None
        self.waiting = []
        self.tasks = []
        self.faults = []
        self.failed = set()
        self.secrets = ()

    # --- what the playbook does ---

    def play_begins(self, name):
        """A play begins, and with that the one before has ended."""
        self._end_play()
        self.play = {"name": name, "at": self.clock()}

    def journal_wrote(self, path, event):
        """The action migration_journal wrote an event (dict) to the journal at path."""
        kind, stage = event.get("event"), event.get("stage")
        whole = event.get("step") is None and event.get("host") is None
        if kind == "started" and whole and stage:
            self.record = journal.Journal(path, event.get("migration"))
            self.stage = stage
            self.faults, self.failed = [], set()
        elif kind == "window_opened":
            self.window = event.get("at")
        elif kind in ("window_closed", "undone"):
            self._window_ends()
        elif whole and kind in journal.ENDS and kind != "committed" and stage == self.stage:
            self._end_play()
            self._window_ends()
            self.stage = None

    def task_ended(self, name, host, began):
        """A task ended on a host. began: seconds since 1970."""
        ms = round((self.clock() - began) * 1000, 1)
        if self.stage and self.window and ms >= _LEAST_MS:
            self.tasks.append({"name": name, "host": host, "at": iso(began), "ms": ms})

    def measured(self, action, host, result, args):
        """Record what a module of ours measured, if it is one that measures."""
        if not self.stage or not action.startswith(OURS) or "censored" in result:
            return
        found = journal_schema.measurement(action[len(OURS) :], result, args)
        if found:
            self._append("measured", found[1], step=found[0], host=host)

    def task_failed(self, name, host, action, result):
        """A task failed on a host, or the host could not be reached."""
        if not self.stage:
            return
        fault = {"task": name, "cause": cause_of(result)}
        self.failed.add(host)
        self.faults.append(dict(fault, host=host))
        # The gate has recorded itself, with its evidence.
        if action != OURS + "migration_gate":
            self._append("fault", fault, host=host)

    def run_ends(self, failed):
        """The run ends. failed: names of the hosts that failed or could not be reached at its end."""
        self._end_play()
        self._window_ends()
        if not self.stage:
            return
        if failed or self.faults:
            last = self.faults[-1] if self.faults else {}
            self._append("failed", {key: last[key] for key in ("host", "task", "cause") if key in last})
        self.stage = None

    # --- writing ---

    def _end_play(self):
        play, self.play = self.play, None
        if play and self.stage:
            seconds = round(self.clock() - play["at"], 3)
            self._append("done", {"play": True, "began": iso(play["at"]), "seconds": seconds}, step=play["name"])

    def _window_ends(self):
        if not self.window:
            return
        began, self.window = self.window, None
        tasks, self.tasks = self.tasks, []
        waiting, self.waiting = self.waiting, []
        for event, data, where in waiting:
            self._append(event, data, **where)
        if tasks:
            self._append("measured", {"opened": began, "tasks": tasks}, step="window")

    def _append(self, event, data, **where):
        if self.window:
            self.waiting.append((event, data, where))
            return
        try:
            self.record.append(event, data=data, secrets=self.secrets, stage=self.stage, **where)
        except journal.JournalError:
            # What the playbooks themselves record stops them when it cannot be written; this here never does.
            self.stage = None
