# SPDX-License-Identifier: GPL-3.0-or-later
"""Put back a switchover that did not commit, from its record, whoever made it and wherever it was killed."""

from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_events as events
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_prepare as prepare
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_locks import Busy
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_open import (
    UNREACHABLE,
    open_for_writes,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_steps import Doubt

# Fences of a run that was killed while it waited for one: the server may go on waiting for it.
ORPHANS = """SELECT PROCESSLIST_ID AS id FROM performance_schema.threads WHERE NAME = 'thread/sql/one_connection'
 AND PROCESSLIST_ID <> CONNECTION_ID()
 AND (PROCESSLIST_INFO LIKE 'SET PERSIST super_read_only%' OR PROCESSLIST_INFO LIKE 'SET GLOBAL super_read_only%')"""


class Undo:
    """The way back of a Run before its commit. opened: whether the source was fenced, so that it had to be opened."""

    def __init__(self, run):
        self.run = run
        self.source = run.source
        self.target = run.target
        self.record = run.record
        self.patience = run.options["reach_timeout"]

    def put_back(self, reason):
        """Everything, the source first. Returns list of what could not be put back.

        Raises Doubt or another MySQLMigrationError when the source stays fenced; the next run tries again.
        """
        if self.record.phase == "committed" and not self.record.closed_target:
            raise Doubt("Run %s is committed, it only goes forward. Run the switchover again" % self.record.run)
        if self.record.phase in ("window", "committed"):
            self.run.steps.run(6, "undo_fence", self._open_source)
        problems = [
            problem
            for problem in (
                self._attempt(5, "resume", "pause", self._resume),
                self._attempt(4, "undo_events", "events", self._events),
                self._attempt(3, "undo_fast_apply", "fast_apply", self._durability),
                self._attempt(2, "undo_reverse_channel", "reverse_channel", self._reverse_channel),
            )
            if problem
        ]
        if not problems:
            self.record.undo(reason)
        return problems

    def _attempt(self, number, name, what, work):
        if what not in self.record.before:
            return None
        return self.run.steps.attempt(number, name, work)

    def _open_source(self):
        self._lock(self.source)
        try:
            self._lock(self.target)
        except Busy:
            raise
        except MySQLMigrationError:
            if UNREACHABLE not in self.run.options["force"]:
                raise
        for row in self.source.main.rows(ORPHANS):
            self.source.server.end_connection(self.source.main, row["id"])
        open_for_writes(self.source, self.target, self.patience, self.run.options["force"])
        self.record.close_window(undone=True)

    def _lock(self, side):
        """Reach the server, and hold its lock: another run may have it by now."""
        side.revive(self.patience)
        self.run.locks.regain(side)

    def _resume(self):
        return self.run.hooks.insist("resume")

    def _events(self):
        before = self.record.before["events"]
        if before["scheduler"] == "ON":
            self.source.revive(self.patience)
            events.set_scheduler(self.source, "ON")
        return before

    def _durability(self):
        if self.target.excused:
            return {"lost": self.target.where}  # and with it the setting, which no restart keeps
        self.target.revive(self.patience)
        return prepare.restore(self.target, self.record.before["fast_apply"])

    def _reverse_channel(self):
        """Its receiver may have been stopped and not started again."""
        self.source.revive(self.patience)
        self.source.start_channel(self.run.options["reverse_channel"])


def sentence(problems, side):
    """What the operator is told after put_back(). side: Side of the source."""
    if not problems:
        return "Everything was put back as it was: %s takes the writes" % side.where
    return "%s takes the writes again, but this could not be put back: %s. Run again to try once more" % (
        side.where,
        "; ".join(problem.rstrip(".") for problem in problems),
    )
