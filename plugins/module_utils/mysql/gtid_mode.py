# SPDX-License-Identifier: GPL-3.0-or-later
"""gtid_mode, brought to ON or OFF while a server and its replicas run, one rung after the other.

The order is that of the manual ("Enabling GTID transactions online"): enforce_gtid_consistency WARN, watch, ON; then
gtid_mode OFF_PERMISSIVE everywhere, ON_PERMISSIVE everywhere, no anonymous transaction left anywhere, ON. Measured on
9.7: a replica that is ON before it applied the last anonymous transaction stops with 1782, whatever
Ongoing_anonymous_transaction_count says there; and gtid_mode=ON that is persisted without enforce_gtid_consistency
keeps the server from starting, so that one is persisted first.
"""

import re
import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError, told

MODES = ("OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON")
ENFORCE = ("OFF", "WARN", "ON")
POLL = 0.5
# (variable, value) in the order of the way up; the way down is the same ladder from its other end.
UP = (
    ("enforce_gtid_consistency", "WARN"),
    ("enforce_gtid_consistency", "ON"),
    ("gtid_mode", "OFF_PERMISSIVE"),
    ("gtid_mode", "ON_PERMISSIVE"),
    ("gtid_mode", "ON"),
)
DOWN = (
    ("gtid_mode", "ON_PERMISSIVE"),
    ("gtid_mode", "OFF_PERMISSIVE"),
    ("gtid_mode", "OFF"),
    ("enforce_gtid_consistency", "OFF"),
)
LADDERS = {"on": UP, "off": DOWN}
_SCALES = {"enforce_gtid_consistency": ENFORCE, "gtid_mode": MODES}
_STARTUP = ("COMPILED", "GLOBAL", "SERVER", "EXPLICIT", "EXTRA", "USER", "LOGIN", "COMMAND_LINE", "PERSISTED")


class Member(object):
    """One server of the group that climbs together.

    server: identified by this. behind: whether it is a replica of the first member.
    """

    def __init__(self, server, session, behind=False):
        self.server = server.identify(session)
        self.session = session
        self.behind = behind
        self.words = Dialect.for_server(server)

    def now(self):
        """{"gtid_mode", "enforce_gtid_consistency"} as they run."""
        row = self.session.row(
            "SELECT @@GLOBAL.gtid_mode AS gtid_mode, @@GLOBAL.enforce_gtid_consistency AS enforce_gtid_consistency"
        )
        numbers = {"0": "OFF", "1": "ON", "2": "WARN"}
        enforce = str(row["enforce_gtid_consistency"])
        return {"gtid_mode": row["gtid_mode"], "enforce_gtid_consistency": numbers.get(enforce, enforce)}

    def lasting(self):
        """{variable: value at the next start}, None where it cannot be known: it was set while the server ran, and not
        persisted, so that a file or the default decides."""
        if not self.words.persists:
            return {name: None for name in _SCALES}
        names = " WHERE VARIABLE_NAME IN ('gtid_mode', 'enforce_gtid_consistency')"
        persisted = self.session.rows(
            "SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value FROM performance_schema.persisted_variables" + names
        )
        sources = self.session.rows(
            "SELECT VARIABLE_NAME AS name, VARIABLE_SOURCE AS source FROM performance_schema.variables_info" + names
        )
        now = self.now()
        found = {row["name"]: now[row["name"]] if row["source"] in _STARTUP else None for row in sources}
        found.update((row["name"], row["value"]) for row in persisted)
        return {name: found.get(name) for name in _SCALES}

    def channels(self):
        """The channels of this server that have a source, normalised."""
        return [channel for channel in self.words.channels(self.session) if channel["source_host"]]

    def set(self, variable, value, persist):
        """Put the variable to the value, over a restart too when that is wanted and possible."""
        template = self.words.statement("set_variable") if persist else "SET GLOBAL {0} = %s"
        self.session.run(template.format(variable), (value,))

    def position(self):
        """Where the server's binary log ends: (number of the file, position)."""
        row = self.session.row(self.words.statement("binary_log_status"))
        return _file_number(row["File"]), int(row["Position"])


def _file_number(name):
    found = re.search(r"\.(\d+)$", name or "")
    return int(found.group(1)) if found else 0


def steps_for(member, state, persist):
    """The rungs that this member still has to take. Returns a list of {"server", "variable", "value", "persist"}."""
    now = member.now()
    found = []
    for variable, value in LADDERS[state]:
        scale = _SCALES[variable]
        rank, wanted = scale.index(now[variable]), scale.index(value)
        if rank < wanted if state == "on" else rank > wanted:
            found.append((variable, value))
    if persist and member.words.persists:
        # what runs already but would not be there after a restart
        goal, lasting, climbed = state.upper(), member.lasting(), [variable for variable, _value in found]
        found += [(name, goal) for name in _SCALES if name not in climbed and lasting[name] != goal]
    return [_step(member, variable, value, persist) for variable, value in found]


def _step(member, variable, value, persist):
    persist = persist and member.words.persists
    scope = "PERSIST" if persist else "GLOBAL"
    return {
        "server": member.server.name,
        "variable": variable,
        "value": value,
        "persist": persist,
        "statement": "SET %s %s = %s" % (scope, variable, value),
    }


def plan(members, state, persist=True):
    """All steps of all members in the order in which they are taken: each rung is taken by the replicas first.

    members: the server, then its replicas. Returns a list of steps (steps_for).
    """
    each = [steps_for(member, state, persist) for member in reversed(members)]
    return [
        step
        for rung in LADDERS[state]
        for steps in each
        for step in steps
        if (step["variable"], step["value"]) == rung
    ]


def configuration(members, state):
    """Lines for the configuration files of servers that cannot persist (5.7, RDS). Returns {server: [lines]}."""
    lines = ["enforce_gtid_consistency = %s" % state.upper(), "gtid_mode = %s" % state.upper()]
    return {member.server.name: lines for member in members if not member.words.persists}


class Climb(object):
    """Takes the steps of a plan.

    members: the server first, then its replicas. timeout: seconds for each wait. watch: seconds for which violations of
    GTID consistency are looked for in the error log before they become errors.
    """

    def __init__(self, members, state, persist=True, timeout=300, watch=10):
        self.members = members
        self.state = state
        self.persist = persist
        self.timeout = timeout
        self.watch = watch
        self.taken = []
        self.waited = {}

    def check(self):
        """Refuse what would fail half-way, before anything is changed. Raises MySQLMigrationError."""
        steps = plan(self.members, self.state, self.persist)
        for member in self.members:
            if member.server.platform == "rds" and [one for one in steps if one["server"] == member.server.name]:
                raise MySQLMigrationError(_rds_remedy(member, steps))
        for member in self.members if self.state == "off" else ():
            used = [row for row in member.channels() if row["auto_position"]]
            if used:
                raise MySQLMigrationError(
                    "Failed to turn GTIDs off on %s: its channel %r finds its position by GTID. Set auto_position: "
                    "false for it first." % (member.server.where, used[0]["channel_name"])
                )
        return steps

    def run(self):
        """Take all steps. Safe to run again from wherever it was ended."""
        steps = self.check()
        for step in steps:
            self._before(step)
            member = next(one for one in self.members if one.server.name == step["server"])
            since = member.session.value("SELECT NOW(6)") if step["value"] == "WARN" else None
            member.set(step["variable"], step["value"], step["persist"])
            self.taken.append(step)
            if since:
                self._watch(member, since)

    def _before(self, step):
        ends = {"ON": self._no_anonymous_left, "OFF": self._no_gtid_left}
        goal = step["value"]
        if step["variable"] != "gtid_mode" or goal not in ends or goal in self.waited:
            return
        start = time.monotonic()
        if any(member.now()["gtid_mode"] != goal for member in self.members):
            ends[goal]()
        self.waited[goal] = round(time.monotonic() - start, 3)

    def _watch(self, member, since):
        """Look for statements that cannot be replicated by GTID; raises when there are some."""
        if not self.watch:
            return
        time.sleep(self.watch)
        if member.server.version < (8, 0, 22):
            return
        found = member.session.rows(
            "SELECT DATA AS text FROM performance_schema.error_log WHERE LOGGED >= %s AND PRIO <> 'System'"
            " AND DATA LIKE '%%GTID consistency%%' LIMIT 5",
            (since,),
        )
        if found:
            raise MySQLMigrationError(
                "Failed to enforce GTID consistency on %s: statements violate it (%s). Change what runs them, then run "
                "again. enforce_gtid_consistency stays WARN, which forbids nothing."
                % (member.server.where, "; ".join(row["text"] for row in found))
            )

    def _no_anonymous_left(self):
        """Wait until nobody runs or still has to apply a transaction without GTID."""
        for member in self.members:
            self._refuse_foreign_source(member)
            if _rank(member) < MODES.index("ON"):
                self._wait(member, "transactions without GTID to end", lambda one=member: _ongoing(one) == 0)
        self._replicas_reach_the_end()

    def _replicas_reach_the_end(self):
        first = self.members[0]
        position = first.position()
        for member in self.members[1:]:
            self._wait(
                member,
                "its applier to reach position %d in binary log %d of %s"
                % (position[1], position[0], first.server.where),
                lambda one=member: _applied(one, first.server) >= position,
            )

    def _refuse_foreign_source(self, member):
        """A source outside the group may still send transactions without GTID, on which the applier would stop."""
        if _rank(member) == MODES.index("ON"):
            return
        known = {one.server.uuid for one in self.members}
        for row in member.channels():
            uuid = (row["source_uuid"] or "").lower()
            if uuid in known:
                continue
            if _applies_anonymous(member, row["channel_name"]):
                raise MySQLMigrationError(
                    "Failed to turn GTIDs on on %s: its source %s port %s still sends transactions without GTID. "
                    "Run this for that source, and name this server among its replicas."
                    % (member.server.where, row["source_host"], row["source_port"])
                )

    def _no_gtid_left(self):
        for member in self.members:
            self._wait(
                member,
                "transactions with GTID to end",
                lambda one=member: not one.session.value("SELECT @@GLOBAL.gtid_owned"),
            )
        self._replicas_reach_the_end()

    def _wait(self, member, what, done):
        end = time.monotonic() + self.timeout
        while not done():
            if time.monotonic() >= end:
                raise MySQLMigrationError(
                    "Failed to bring %s to gtid_mode %s: waited %s s for %s. Run again when they ended; it goes on "
                    "from where it is." % (member.server.where, self.state.upper(), self.timeout, what)
                )
            time.sleep(POLL)


def _rank(member):
    return MODES.index(member.now()["gtid_mode"])


def _ongoing(member):
    row = member.session.row("SHOW GLOBAL STATUS LIKE 'Ongoing_anonymous_transaction_count'")
    return int(row["Value"]) if row else 0


def _applied(member, source):
    """How far a replica applied the binary log of its source. Raises MySQLMigrationError when it does not apply."""
    for row in member.channels():
        if (row["source_uuid"] or "").lower() != source.uuid:
            continue
        if row["replica_sql_running"] != "Yes" or row["replica_io_running"] != "Yes":
            code = row["last_sql_errno"] or row["last_io_errno"] or 0
            text = row["last_sql_error"] or row["last_io_error"] or "its channel does not run"
            raise MySQLMigrationError(
                "Failed to wait for %s, a replica of %s: %s Start its channel, then run again."
                % (member.server.where, source.where, told(code, text)),
                code,
                text,
            )
        return _file_number(row["relay_source_log_file"]), row["exec_source_log_pos"] or 0
    raise MySQLMigrationError(
        "Failed to wait for %s: it is named as a replica of %s and has no channel from there. Take it off the list, or "
        "set the channel up." % (member.server.where, source.where)
    )


def _applies_anonymous(member, channel):
    if member.server.version < (8, 0, 0):
        return True
    rows = member.session.rows(
        "SELECT LAST_APPLIED_TRANSACTION AS last, APPLYING_TRANSACTION AS applying"
        " FROM performance_schema.replication_applier_status_by_worker WHERE CHANNEL_NAME = %s",
        (channel,),
    )
    return any("ANONYMOUS" in (row["last"], row["applying"]) for row in rows)


def _rds_remedy(member, steps):
    mine = ["%s=%s" % (one["variable"], one["value"]) for one in steps if one["server"] == member.server.name]
    return (
        "Failed to change gtid_mode on %s: on RDS it is a parameter of the DB parameter group. Set there, one after "
        "the other: %s. Reboot the instance where the console says pending-reboot, then run again."
        % (member.server.where, ", ".join(mine))
    )
