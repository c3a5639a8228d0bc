# SPDX-License-Identifier: GPL-3.0-or-later
"""Two servers that are none, one following the other, for tests of the switchover.

Each statement is counted, so that a test can break something at any of them. What must never happen is noted in
`violations`: two servers that take writes, a fence that is not kept, a server opened or fenced that the journal knows
nothing of.
"""

import re

import fakes
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_guardrails
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover import Switchover
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_side import Side

OLD, NEW = fakes.UUID, fakes.OTHER
OPTIONS = {
    "migration": "shop",
    "state": "switched",
    "direction": "forward",
    "strategy": "switchover",
    "accept_conflicts": False,
    "forward_channel": "",
    "reverse_channel": "way_back",
    "force": [],
    "budget_ms": 5000,
    "lag_limit_ms": 1000,
    "lag_samples": 1,
    "lag_timeout": 10,
    "lock_wait": 2,
    "long_transactions": "wait",
    "long_transaction_s": 1,
    "long_transactions_timeout": 0.05,
    "blocker_grace_ms": 0,
    "fast_apply": True,
    "hooks": {},
    "hook_timeout": 5,
    "reach_timeout": 0,
    "canary_timeout": 0.1,
    "retention_hours": 1,
    "fence_exempt": [],
    "schemas": [],
}


class PowerLoss(BaseException):
    """The controller is dead: nothing that it does afterwards has any effect."""


class Machine(fakes.FakeServer):
    """A server of the pair."""

    def __init__(self, pair, name, preset="9.7", **variables):
        self.pair = pair
        self.name = name
        self.peer = None
        self.down = False
        self.canary = None
        self.table = False
        self.locked_by = None
        self.clients, self.transactions, self.blocking, self.branches, self.prepared = [], [], [], [], []
        self.events = []
        super().__init__(preset, innodb_flush_log_at_trx_commit=1, sync_binlog=1, **variables)
        for pattern, answer in self._rules():
            self.on(pattern, answer)

    def connect(self, **arguments):
        self.pair.tick("connect", self)
        if self.down:
            raise fakes.error(2003, "Can't connect to MySQL server")
        return super().connect(**arguments)

    def answer(self, statement, connection):
        after = self.pair.tick(statement, self)
        if self.down:
            raise fakes.error(2013, "Lost connection to MySQL server during query")
        result = super().answer(statement, connection)
        self.pair.look(self)
        if after is not None:
            raise after
        return result

    @property
    def open(self):
        return not (self.variables["read_only"] and self.variables["super_read_only"])

    def restart(self):
        """What mysqld is after a restart: as persisted; a fence that was not is gone."""
        self.variables.update(innodb_flush_log_at_trx_commit=1, sync_binlog=1)
        fenced = int(self.persisted.get("super_read_only", 0))
        self.variables.update(read_only=fenced, super_read_only=fenced)
        self.locked_by = None
        self.down = False
        self.pair.look(self)

    def _rules(self):
        def same(rows):
            return lambda _found: list(getattr(self, rows))

        return [
            (r"SELECT DISTINCT PROCESSLIST_ID AS id", same("blocking")),
            (r"SELECT PROCESSLIST_ID AS id.*NOT LIKE 'Waiting for global", same("blocking")),
            (r"SELECT t.PROCESSLIST_ID AS id.*innodb_trx", same("transactions")),
            (r"SELECT t.PROCESSLIST_ID AS id.*XA_STATE IN", same("branches")),
            (r"SELECT PROCESSLIST_ID AS id.*NOT LIKE 'Binlog Dump", same("clients")),
            (r"SELECT PROCESSLIST_ID AS id FROM performance_schema.threads WHERE NAME", []),
            (r"SELECT COUNT\(\*\) FROM performance_schema.threads", [{"n": 0}]),
            (r"XA RECOVER", same("prepared")),
            (r"SHOW GLOBAL VARIABLES LIKE '(\w+)'$", self._like),
            (r"SELECT VARIABLE_VALUE FROM performance_schema.persisted_variables", self._persisted),
            (r"SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value FROM performance_schema.persisted", []),
            (r"SELECT VARIABLE_NAME AS name, VARIABLE_SOURCE AS source", []),
            (r"SELECT EVENT_SCHEMA", same("events")),
            (r"SELECT 1$", [{"1": 1}]),
            (r"SELECT GET_LOCK", self._lock),
            (r"SELECT IS_USED_LOCK", lambda _found: [{"id": self.locked_by.number}]),
            (r"SELECT IS_USED_LOCK\('[^']*'\) = CONNECTION_ID", self._is_mine),
            (r"SELECT PROCESSLIST_USER AS user", []),
            (r"SELECT COUNT\(\*\) FROM information_schema.TABLES", lambda _found: [{"n": int(self.table)}]),
            (r"CREATE (SCHEMA|TABLE)", self._create),
            (r"REPLACE INTO seamless_migration.canary .*VALUES \('(\w+)', '([^']+)'", self._write_canary),
            (r"SELECT run FROM seamless_migration.canary", self._read_canary),
            (r"SELECT GTID_SUBTRACT\('(.*)', @@GLOBAL.gtid_executed\)$", lambda found: [
                {"x": fakes.subtract(found.group(1).replace("\\n", ""), self.variables["gtid_executed"])}
            ]),
            (r"KILL QUERY", []),
            (r"ALTER DEFINER", self._enable_event),
            (r"SET SESSION sql_mode", []),
            (r"SELECT @@sql_mode", [{"sql_mode": "", "time_zone": "+00:00", "character_set_client": "utf8mb4",
                                     "collation_connection": "utf8mb4_0900_ai_ci"}]),
            (r"SET PERSIST super_read_only = (\d)", self._fence),
            (r"SET GLOBAL innodb_flush_log_at_trx_commit = (\d), GLOBAL sync_binlog = (\d)$", self._flush),
        ]

    def _like(self, found):
        name = found.group(1)
        return [{"Variable_name": name, "Value": str(self.variables[name])}] if name in self.variables else []

    def _persisted(self, _found):
        value = self.persisted.get("super_read_only")
        return [] if value is None else [{"v": "ON" if value else "OFF"}]

    def _lock(self, _found):
        if self.locked_by is None or self.locked_by.closed:
            self.locked_by = self.current
        return [{"ok": int(self.locked_by is self.current)}]

    def _is_mine(self, _found):
        return [{"mine": int(self.locked_by is self.current)}]

    def _create(self, _found):
        if not self.open:
            return fakes.error(1290, "The MySQL server is running with the --super-read-only option")
        self.table = True
        self.peer.table = True
        return []

    def _write_canary(self, found):
        if not self.open:
            return fakes.error(1290, "The MySQL server is running with the --super-read-only option")
        self.canary = found.groups()
        if "Yes" in self.peer.channels.get("way_back" if self.name == "new" else "", {}).values():
            self.peer.canary = self.canary
        return []

    def _read_canary(self, _found):
        return [{"run": self.canary[1]}] if self.canary else []

    def _enable_event(self, found):
        for event in self.events:
            if event["event_name"] in found.string:
                event["status"] = "ENABLED"
        return []

    def _flush(self, found):
        self.variables.update(innodb_flush_log_at_trx_commit=int(found.group(1)), sync_binlog=int(found.group(2)))
        return []

    def _fence(self, found):
        value = int(found.group(1))
        self.pair.about_to(self, value)
        self.variables.update(super_read_only=value, read_only=value)
        self.persisted.update(super_read_only=value, read_only=value)
        return []


class Pair:
    """Both servers and the controller. at(): what happens at a statement."""

    def __init__(self, folder, monkeypatch, reserves=False, old="9.7"):
        self.folder = folder
        self.journal = folder / "shop.jsonl"
        self.said = []
        self.violations = []
        self.plan = {}
        self.dead = False
        self.two_writers_wanted = False
        self.old = Machine(self, "old", old, server_uuid=OLD, server_id=1, gtid_executed=OLD + ":1-10")
        self.new = Machine(
            self, "new", server_uuid=NEW, server_id=2, gtid_executed=OLD + ":1-10", read_only=1, super_read_only=1
        )
        self.old.peer, self.new.peer = self.new, self.old
        self.new.persisted["super_read_only"] = 1
        self.follow()
        monkeypatch.setattr(switchover_guardrails, "of_the_migration", lambda *_unused: [])
        monkeypatch.setattr("time.sleep", lambda _seconds: None)
        if not reserves:  # the order of statements is the same in each run then
            monkeypatch.setattr(Side, "reserve", lambda _side: None)
        self._guard_journal(monkeypatch)

    def follow(self):
        """Both channels run."""
        self.new.channel("", Source_UUID=OLD)
        self.old.channel("way_back", Source_UUID=NEW)

    def _guard_journal(self, monkeypatch):
        from ansible_collections.seamless.migration.plugins.module_utils import journal

        append = journal.Journal.append

        def write(this, event, *arguments, **more):
            self.tick("journal %s" % event, self.old)
            return append(this, event, *arguments, **more)

        monkeypatch.setattr(journal.Journal, "append", write)

    # --- faults -----------------------------------------------------------------------------------------------------

    def tick(self, statement, machine):
        """One statement arrives, or one event is about to be written.

        Raises what was planned before it; returns what is planned for after it.
        """
        if self.dead:
            raise PowerLoss()
        self.said.append((machine.name, " ".join(statement.split())))
        when, fault = self.plan.get(len(self.said), (None, None))
        if when is None:
            return None
        raised = fault(machine)
        if when == "before" and raised is not None:
            raise raised
        return raised

    def at(self, number, when, fault):
        """Plan a fault `before` or `after` statement `number`. fault: function of the machine, returns an exception."""
        self.plan[len(self.said) + number] = (when, fault)

    def power_loss(self, _machine):
        """The controller dies."""
        self.dead = True
        return PowerLoss()

    @staticmethod
    def lost(_machine):
        """The connection breaks."""
        return fakes.error(2013, "Lost connection to MySQL server during query")

    def revive(self):
        """Power comes back: the connections of the dead controller are gone, and so are its locks."""
        self.dead = False
        self.plan = {}
        for machine in (self.old, self.new):
            machine.locked_by = None

    # --- what must hold ---------------------------------------------------------------------------------------------

    def events(self):
        """Names of the events in the journal."""
        return re.findall(r'"event": "(\w+)"', self.journal.read_text()) if self.journal.exists() else []

    def about_to(self, machine, value):
        """A fence or an opening is about to happen."""
        kept = machine.peer.persisted.get("super_read_only") or machine.peer.version < (8, 0)
        if not value and not kept and not self.two_writers_wanted:
            self.violations.append("%s is opened while the fence of the other one is not kept" % machine.name)
        if "window_opened" not in self.events() and not self.two_writers_wanted and machine.open and value:
            self.violations.append("%s is fenced without a word in the journal" % machine.name)

    def look(self, _machine):
        """After each statement: never two that take writes."""
        if self.old.open and self.new.open and not self.two_writers_wanted:
            self.violations.append("both take writes after %s" % (self.said[-1:],))

    # --- the module -------------------------------------------------------------------------------------------------

    def switchover(self, back=False, platform="auto", **more):
        """A Switchover with the pair's servers."""
        options = dict(OPTIONS, journal_path=str(self.journal))
        pair = [self.new, self.old] if back else [self.old, self.new]
        servers = [
            machine.server(role, platform=platform, login_host=machine.name)
            for machine, role in zip(pair, ("source", "target"))
        ]
        if back:
            options.update(direction="back", forward_channel="way_back", reverse_channel="")
        options.update(source={}, target={}, **more)
        return Switchover(options, servers)

    def run(self, back=False, state="switched", **more):
        """Run it. Returns its result."""
        return getattr(self.switchover(back, state=state, **more), state)()
