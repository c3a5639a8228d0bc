# SPDX-License-Identifier: GPL-3.0-or-later
"""The window up to the commit (steps 6 to 11): nobody writes. Whatever fails here is put back by the caller."""

import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import fence, gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_clients as clients
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_prepare as prepare
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_steps import deaf

PAUSE = 0.01
ROUNDS = 5


class Window:
    """Steps 6 to 11 of a Run."""

    def __init__(self, run):
        self.run = run
        self.source = run.source
        self.target = run.target
        self.options = run.options

    def pass_through(self):
        """All of them, in their order. Raises what went wrong; nothing is committed then."""
        step = self.run.steps.run
        step(6, "fence", self.fence)
        step(7, "read_back", self.read_back)
        step(8, "final_gtid", self.final_gtid)
        step(9, "drain", self.drain)
        step(10, "proof", self.proof)
        step(11, "commit", self.commit)

    def fence(self):
        """6: the source takes no writes any more."""
        blocking = self.run.blocking()
        self.run.record.open_window()
        self.run.opened_at = time.monotonic()
        self.run.budget.begin()
        found = self.source.fence(self.options["lock_wait"], self.run.budget.left(), blocking, self.run.second)
        blocked = [one["id"] for one in found["blockers"]]
        return {"ms": found["ms"], "blocked_by": blocked, "ended": blocking.ended}

    def read_back(self):
        """7: another connection sees the fence; everybody else is disconnected, and nothing is left to commit."""
        second = self.run.second
        state = self.source.reading(second)
        forgotten = self.source.forgot_fence(second)
        if not state["fenced"] or forgotten:
            raise MySQLMigrationError(
                "The fence of %s does not read back (%s, persisted %s). Look for another tool that opens it"
                % (self.source.where, state, not forgotten)
            )
        ids = [one["id"] for one in fence.clients(second, self.source.own)]
        self.source.reserve()  # for the look right before the target is opened
        refused = clients.end(second, ids, self.run.budget.left)
        self._wait_for_their_end(second)
        prepare.no_prepared(second, self.source)
        return {"ended": len(ids) - len(refused), "not_ended": refused}

    def _wait_for_their_end(self, second):
        while True:
            left = clients.transactions(second, self.source.own) + clients.branches(second, self.source.own)
            if not left:
                return
            try:
                self.run.budget.left()
            except MySQLMigrationError as error:
                raise MySQLMigrationError(
                    "Transactions on %s do not end: %s. End them, then run again"
                    % (self.source.where, fence.describe(left))
                ) from error
            time.sleep(PAUSE)

    def final_gtid(self):
        """8: what the source has executed, read twice over two connections."""
        for _round in range(ROUNDS):
            first, again = self.source.executed(), self.source.executed(self.run.second)
            if first == again:
                self.run.gtid = first
                return {"gtid": first}
            time.sleep(PAUSE)
        raise MySQLMigrationError(
            "%s goes on executing transactions behind its fence (FLUSH statements do that, and XA COMMIT). Find and "
            "stop what runs them, then run again" % self.source.where
        )

    def drain(self):
        """9: the target executes it all, within the budget."""
        begin = time.monotonic()
        if not self.target.wait(self.run.gtid, self.run.budget.left(), self.run.check_channels):
            raise MySQLMigrationError(
                "%s did not execute everything of the source within the budget of %d ms. Run again when there is less "
                "load, or raise budget_ms" % (self.target.where, self.options["budget_ms"])
            )
        return {"drain_ms": round((time.monotonic() - begin) * 1000, 1)}

    def proof(self):
        """10: nothing is missing, nothing is too much, and all is as safe as before."""
        rounds = self._until_nothing_is_new()
        extra = self.source.lacks(self.target.executed())
        if extra:
            raise MySQLMigrationError(
                "%s has transactions that the source never had: %s. Find what wrote to it, mend or seed it, then run "
                "again" % (self.target.where, extra)
            )
        self.run.check_forward()
        before = self.run.record.before.get("fast_apply")
        if before:
            prepare.restore(self.target, before)
            self.run.durable = True
        state = self.source.reading(self.run.second)
        if not state["fenced"]:
            raise MySQLMigrationError("%s was opened by somebody meanwhile. Find out who" % self.source.where)
        prepare.no_prepared(self.run.second, self.source)
        self.run.locks.check()
        self.run.budget.left()
        return {"rounds": rounds}

    def _until_nothing_is_new(self):
        """What slipped through the fence has to arrive too. Returns how many rounds that took."""
        for number in range(1, ROUNDS + 1):
            newest = self.source.executed(self.run.second)
            if newest == self.run.gtid or not gtid.subtract(self.run.second, newest, self.run.gtid):
                return number
            self.run.gtid = newest
            self.drain()
        raise MySQLMigrationError(
            "%s goes on executing transactions behind its fence. Find and stop what runs them, then run again"
            % self.source.where
        )

    def commit(self):
        """11: from here on only forward."""
        deaf()
        self.run.record.commit(
            gtid=self.run.gtid, source_uuid=self.source.uuid, target_uuid=self.target.uuid,
            strategy=self.options["strategy"],
        )  # fmt: skip
        return {"gtid": self.run.gtid}
