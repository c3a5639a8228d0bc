# SPDX-License-Identifier: GPL-3.0-or-later
"""A switchover under way: what all of its parts share, and the steps before the window (1 to 5)."""

from ansible_collections.seamless.migration.plugins.module_utils.mysql import receivers
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_clients as clients
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_events as events
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_guardrails as guardrails
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_prepare as prepare
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_steps import Budget

RECONNECT = 30


class Run:
    """What the parts of a switchover share.

    options: dict of the module's options. source, target: Side. record: Record in the journal. shared: has steps, hooks
    and locks. After a step: gates (list), gtid (the final set), window_ms, warnings (list of str).
    """

    def __init__(self, options, source, target, record, shared):
        self.options = options
        self.source = source
        self.target = target
        self.record = record
        self.steps = shared.steps
        self.hooks = shared.hooks
        self.locks = shared.locks
        self.budget = Budget(options["budget_ms"])
        self.second = None
        self.gates = []
        self.gtid = None
        self.opened_at = None
        self.window_ms = None
        self.durable = False
        self.warnings = []

    # --- what both channels say -------------------------------------------------------------------------------------

    def check_forward(self):
        """Raise MySQLMigrationError unless the target follows the source."""
        self.target.must_apply(self.options["forward_channel"], self.source.uuid)

    def check_reverse(self):
        """Raise MySQLMigrationError unless the source follows the target; one may do without it by force."""
        if "reverse_channel" not in self.options["force"]:
            self.source.must_apply(self.options["reverse_channel"], self.target.uuid)

    def check_channels(self):
        """Both at once: what is looked at between two slices of a wait."""
        self.check_forward()
        self.check_reverse()

    # --- steps 1 to 5 -----------------------------------------------------------------------------------------------

    def guardrails(self):
        """1: all gates. A server that was restarted just now is given the time in which its channels connect again."""
        receivers.await_connected(self.target.channels, self.source.uuid)
        receivers.await_connected(self.source.channels, self.target.uuid)
        try:
            self.gates = guardrails.check(self.source, self.target, self.options)
        except MySQLMigrationError as error:
            self.gates = getattr(error, "gates", [])
            raise
        return {"gates": [gate["name"] for gate in self.gates]}

    def reverse_channel(self, reconnect=True):
        """2: the way back runs; a reconnect proves route, grants and TLS at this moment."""
        name = self.options["reverse_channel"]
        if self.source.channel(name) is None and "reverse_channel" in self.options["force"]:
            self.warnings.append("There is no reverse channel: a rollback would lose what is written from now on")
            return {"forced": True}
        self.check_reverse()
        if not reconnect or self.source.server.platform == "rds":
            return {"reconnected": False}
        self.record.doing("reverse_channel")
        self.source.reconnect(name, self.target.uuid, RECONNECT)
        return {"reconnected": True}

    def low_lag(self, change=True):
        """3: the target follows closely, helped by relaxed flushing."""
        if change and self.options["fast_apply"] and self.target.server.platform != "rds" and not self.bridge:
            self.record.doing("fast_apply", prepare.durability(self.target))
            prepare.relax(self.target)
        return prepare.wait_for_low_lag(self.source, self.target, self.options, self.alive)

    def quiet(self, change=True):
        """4: nothing runs that the fence would wait for; events off on the source."""
        policy = self.options["long_transactions"]
        if not change:
            found = clients.in_the_way(self.source.main, self.source.own, self.options["long_transaction_s"])
            prepare.no_prepared(self.source.main, self.source)
            return {"in_the_way": [one["id"] for one in found]}
        before = {"scheduler": events.scheduler(self.source), "enabled": events.enabled(self.source)}
        self.record.doing("events", before)
        if before["scheduler"] == "ON":
            events.set_scheduler(self.source, "OFF")
        found = prepare.wait_for_quiet(
            self.source,
            policy,
            self.options["long_transaction_s"],
            self.options["long_transactions_timeout"],
            self.alive,
        )
        return dict(found, events=before)

    def pause(self):
        """5: the operator's hook, and one more look at the lag right before the window."""
        if self.hooks.has("pause"):
            self.record.doing("pause")
            self.hooks.run("pause")
        one = dict(self.options, lag_samples=1)
        return prepare.wait_for_low_lag(self.source, self.target, one, self.alive)

    def blocking(self):
        """What is done to whatever holds a fence up."""
        kill = self.options["long_transactions"] == "kill"
        return clients.Blocking(self.source.own, kill, self.options["blocker_grace_ms"] / 1000.0)

    @property
    def bridge(self):
        """Whether both servers may take writes for a while."""
        return self.options["strategy"] == "bridge"

    def alive(self):
        """Raise MySQLMigrationError unless locks are held and both channels run."""
        self.locks.check()
        self.check_channels()

    def approach(self):
        """Steps 1 to 5, and the connections for the window."""
        run = self.steps.run
        run(1, "guardrails", self.guardrails)
        self.record.begin(
            strategy=self.options["strategy"],
            source_uuid=self.source.uuid,
            target_uuid=self.target.uuid,
            forced=[gate["name"] for gate in self.gates if gate["state"] == "forced"],
        )
        run(2, "reverse_channel", self.reverse_channel)
        run(3, "canary_table", prepare.make_table, self.source)
        run(3, "low_lag", self.low_lag)
        run(4, "quiet", self.quiet)
        if not self.bridge:
            run(5, "pause", self.pause)
        self.second = self.source.open()

    def close(self):
        """End the connections that this run has opened for the window."""
        if self.second is not None:
            self.second.close()
            self.second = None
