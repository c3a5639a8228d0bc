# SPDX-License-Identifier: GPL-3.0-or-later
"""After the commit (steps 12 to 14): only forward, however often it takes. Each part can be done again."""

import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import fence
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_clients as clients
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_events as events
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_prepare as prepare
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_open import (
    TWO_WRITERS,
    open_for_writes,
)


class Forward:
    """Steps 12 to 14 of a Run. complete: whether nothing is left to do."""

    def __init__(self, run):
        self.run = run
        self.source = run.source
        self.target = run.target
        self.options = run.options
        self.record = run.record
        self.problems = []

    @property
    def bridge(self):
        """Whether this run has accepted two writers for a while."""
        return self.record.data.get("strategy") == "bridge"

    @property
    def complete(self):
        """Whether nothing failed."""
        return not self.problems

    def go(self, keep_forward_channel=False):
        """Everything that is left after the commit. Raises only when the target is not open, or takes no write."""
        step = self.run.steps.run
        step(12, "open_target", self.open_target)
        step(13, "canary", self.canary)
        unswitched = self.run.steps.attempt(13, "switch", self.switch)
        self._note(unswitched)
        if self.bridge and not unswitched:
            self._note(self.run.steps.attempt(13, "leave_bridge", self.leave_bridge))
        self._note(self.run.steps.attempt(14, "canary_back", self.canary_back))
        self._note(self.run.steps.attempt(14, "events", self.events_on))
        if not keep_forward_channel:
            self._note(self.run.steps.attempt(14, "forward_channel", self.remove_forward_channel))
        self.run.warnings += self.problems + self._reminders()
        if self.complete:
            self.record.end(window_ms=self.run.window_ms)
        return self.complete

    def _reminders(self):
        """What is left for an operator: list of str."""
        if self.source.excused or self.source.server.platform == "rds" or self.source.dialect.persists:
            return []
        return [
            "%s (%s) takes writes again after a restart, unless its my.cnf says %s under [mysqld]. See that these "
            "lines are there" % (self.source.where, self.source.server.version_text, fence.LINES)
        ]

    def _note(self, problem):
        if problem:
            self.problems.append(problem)

    def open_target(self):
        """12: the one irreversible statement."""
        if "fast_apply" in self.record.before and not self.run.durable:
            self.target.revive(self.options["reach_timeout"])
            prepare.restore(self.target, self.record.before["fast_apply"])
        forced = self.options["force"] + ([TWO_WRITERS] if self.bridge else [])
        open_for_writes(self.target, self.source, self.options["reach_timeout"], forced)

    def canary(self):
        """13: the first write. It is as durable as any write, so all that was applied before it is too."""
        try:
            found = prepare.write_canary(self.target, self.record.direction, self.record.run)
        except MySQLMigrationError:
            self.target.revive(self.options["reach_timeout"])
            found = prepare.write_canary(self.target, self.record.direction, self.record.run)
        if "window" not in self.record.finished:
            if self.run.opened_at is not None:
                self.run.window_ms = round((time.monotonic() - self.run.opened_at) * 1000, 1)
            self.record.close_window(ms=self.run.window_ms)
        return dict(found, window_ms=self.run.window_ms)

    def switch(self):
        """13: the operator's hooks; those that ran to their end in an earlier run do not run again."""
        if "switch" in self.record.finished:
            return {"done_before": True}
        found = self.run.hooks.insist("switch")
        if "pause" in self.record.before:
            self.run.hooks.insist("resume")
        self.record.finish("switch")
        return found

    def leave_bridge(self):
        """13: traffic has moved: the source takes no writes any more, and what it took last arrives."""
        with self.source.fresh() as session:
            wait, reach = self.options["lock_wait"], self.options["reach_timeout"]
            found = self.source.fence(wait, reach, self.run.blocking(), session)
            refused = clients.end(session, [one["id"] for one in fence.clients(session, self.source.own)])
        last = self.source.executed()
        if not self.target.wait(last, self.options["reach_timeout"], self.run.check_channels):
            self.run.check_channels()
            raise MySQLMigrationError(
                "%s has not executed what %s took last. Look at the channel, then run again"
                % (self.target.where, self.source.where)
            )
        return {"ms": found["ms"], "not_ended": refused, "gtid": last}

    def canary_back(self):
        """14: what is written on the target reaches the source."""
        name = self.options["reverse_channel"]
        self.source.revive(self.options["reach_timeout"])
        if self.source.channel(name) is None and "reverse_channel" in self.options["force"]:
            return {"forced": True}
        return prepare.wait_for_canary(
            self.source,
            self.record.direction,
            self.record.run,
            self.options["canary_timeout"],
            lambda: self.source.channel_problem(name, self.target.uuid),
        )

    def events_on(self):
        """14: events that ran on the source run on the target."""
        self.target.revive(self.options["reach_timeout"])
        before = self.record.before.get("events") or {"scheduler": "OFF", "enabled": []}
        enabled = events.enable(self.target, before["enabled"])
        wanted = before["scheduler"] == "ON" and events.scheduler(self.target) == "OFF"
        if wanted and not events.set_scheduler(self.target, "ON"):
            self.run.warnings.append(
                "Turn event_scheduler on in the parameter group of %s: events ran on the source" % self.target.where
            )
        return {"enabled": enabled}

    def remove_forward_channel(self):
        """14, last: nothing comes from the source any more; what its fence let through has arrived."""
        name = self.options["forward_channel"]
        for side in (self.target, self.source):
            if not side.excused:
                side.revive(self.options["reach_timeout"])
        if self.target.channel(name) is None:
            return {"removed": False}
        if not self.source.excused and not self.source.reading()["fenced"]:
            raise MySQLMigrationError("%s still takes writes, so channel '%s' stays" % (self.source.where, name))
        late = self.source.executed()
        if not self.target.wait(late, self.options["canary_timeout"]):
            raise MySQLMigrationError(
                "%s has executed transactions that %s lacks, so channel '%s' stays. Look at the channel, then run again"
                % (self.source.where, self.target.where, name)
            )
        return {"removed": self.target.remove_channel(name)}
