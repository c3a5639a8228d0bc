# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of MySQL that are none: they understand what the modules say, by version, and answer from a few dictionaries.

    machine = FakeServer("8.0.35")                  # or 5.7, 8.0.21, 8.4, 9.7, rds-8.0, rds-8.4, mariadb, percona
    machine.on(r"SELECT COUNT.* FROM t", [{"n": 3}])  # rows, a function of the match, or an exception
    server = machine.server("source")               # a Server whose sessions talk to it
    machine.said                                    # every statement, as it arrived
"""

import re

import pymysql
from ansible_collections.seamless.migration.plugins.module_utils.mysql import server as server_module
from pymysql.converters import escape_item

UUID = "11111111-1111-1111-1111-111111111111"
OTHER = "22222222-2222-2222-2222-222222222222"

_OLD_RDS = (
    "rds_set_external_master_with_auto_position",
    "rds_set_external_master_with_auto_position_for_channel",
    "rds_reset_external_master",
    "rds_reset_external_master_for_channel",
)
_NEW_RDS = tuple(name.replace("master", "source") for name in _OLD_RDS)
_RDS = (
    "rds_start_replication",
    "rds_stop_replication",
    "rds_start_replication_for_channel",
    "rds_stop_replication_for_channel",
    "rds_start_replication_until_gtid",
    "rds_set_configuration",
    "rds_show_configuration",
    "rds_kill",
)
COMMUNITY = "MySQL Community Server - GPL"
PRESETS = {
    "5.7": {"version": "5.7.44-log", "comment": COMMUNITY},
    "8.0.21": {"version": "8.0.21", "comment": COMMUNITY},
    "8.0.35": {"version": "8.0.35", "comment": COMMUNITY},
    "8.4": {"version": "8.4.3", "comment": COMMUNITY},
    "9.7": {"version": "9.7.4-2", "comment": "(Debian)"},
    "percona": {"version": "8.0.36-28", "comment": "Percona Server (GPL), Release 28"},
    "rds-8.0": {"version": "8.0.35", "comment": "Source distribution", "procedures": _OLD_RDS + _RDS},
    "rds-8.4": {"version": "8.4.3", "comment": "Source distribution", "procedures": _NEW_RDS + _RDS},
    "mariadb": {"version": "10.11.6-MariaDB-0+deb12u1", "comment": "Debian 12"},
}


def error(code, text, kind=pymysql.err.OperationalError):
    """An error as PyMySQL raises it."""
    return kind(code, text)


def _intervals(gtid_set):
    """A GTID set as {uuid: set of numbers}. Small numbers only."""
    found = {}
    for part in re.sub(r"\s", "", gtid_set).split(","):
        if not part:
            continue
        pieces = part.split(":")
        if not re.match(r"[0-9a-f-]{36}$", pieces[0], re.IGNORECASE) or len(pieces) < 2:
            raise error(1772, "Malformed GTID set specification '%s'." % gtid_set)
        for piece in pieces[1:]:
            first, dash, last = piece.partition("-")
            found.setdefault(pieces[0].lower(), set()).update(range(int(first), int(last if dash else first) + 1))
    return found


def _written(sets):
    parts = []
    for uuid in sorted(sets):
        numbers = sorted(sets[uuid])
        runs = []
        for number in numbers:
            if runs and runs[-1][1] == number - 1:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        if runs:
            parts.append(":".join([uuid] + ["%d-%d" % (a, b) if a != b else str(a) for a, b in runs]))
    return ",\n".join(parts)


def _unquoted(literal):
    """What a literal of a statement stands for, as text."""
    return re.sub(r"\\(.)", r"\1", literal[1:-1]) if literal.startswith("'") else literal


def subtract(one, other):
    first, second = _intervals(one), _intervals(other)
    return _written({uuid: numbers - second.get(uuid, set()) for uuid, numbers in first.items()})


class FakeServer:
    """Variables, channels and GTID sets of a server, and the statements that read and change them."""

    def __init__(self, preset="9.7", **variables):
        facts = PRESETS[preset]
        self.version_text = facts["version"]
        self.version = server_module.version_of(self.version_text)
        self.comment = facts["comment"]
        self.procedures = tuple(facts.get("procedures", ()))
        self.mariadb = preset == "mariadb"
        self.rds = preset.startswith("rds")
        self.variables = {
            "server_uuid": UUID,
            "server_id": 1,
            "basedir": "/rdsdbbin/mysql/" if self.rds else "/usr/",
            "read_only": 0,
            "super_read_only": 0,
            "gtid_mode": "ON",
            "enforce_gtid_consistency": "ON",
            "gtid_executed": "",
            "gtid_purged": "",
            "log_bin": 1,
            "log_error": "stderr",
            "binlog_format": "ROW",
            "binlog_row_image": "FULL",
            "binlog_expire_logs_seconds": 2592000,
            "expire_logs_days": 0,
            "event_scheduler": "ON",
            "hostname": "db1",
            "port": 3306,
            "lock_wait_timeout": 31536000,
            "offline_mode": 0,
        }
        self.variables.update(variables)
        if self.mariadb:
            del self.variables["server_uuid"]
        self.persisted = {}
        self.channels = {}
        self.start_state = ("Yes", "Yes")
        self.threads = 100
        self.said = []
        self.sent_as_bytes = []
        self.killed = []
        self.rules = []
        for pattern, answer in self._own_rules():
            self.on(pattern, answer)

    # -- what tests use

    def on(self, pattern, answer):
        """Answer statements that match the pattern (from their start, case and blanks ignored). The last rule wins.

        answer: rows (list of dictionaries), an exception, a function of the match that returns either, or a list of
        lists of rows for several result sets.
        """
        self.rules.insert(0, (re.compile(pattern, re.IGNORECASE | re.DOTALL), answer))
        return self

    def server(self, name="source", **options):
        """A Server whose sessions talk to this machine."""
        options = dict({"login_host": "db.example.com", "login_user": "admin", "login_password": "s3cret"}, **options)
        return server_module.Server(options, name, connect=self.connect)

    def connect(self, **arguments):
        """Stands for pymysql.connect."""
        self.arguments = arguments
        self.threads += 1
        return FakeConnection(self, self.threads)

    def said_like(self, pattern):
        """The statements that match."""
        return [one for one in self.said if re.match(pattern, one, re.IGNORECASE | re.DOTALL)]

    def channel(self, name="", **columns):
        """Make a channel that runs, with columns of SHOW REPLICA STATUS by their new names."""
        row = {
            "Replica_IO_State": "Waiting for source to send event",
            "Source_Host": "old.example.com",
            "Source_User": "repl",
            "Source_Port": 3306,
            "Connect_Retry": 60,
            "Replica_IO_Running": "Yes",
            "Replica_SQL_Running": "Yes",
            "Source_SSL_Allowed": "Yes",
            "Source_SSL_CA_File": "",
            "Source_SSL_Cert": "",
            "Source_SSL_Key": "",
            "Source_SSL_Verify_Server_Cert": "No",
            "Seconds_Behind_Source": 0,
            "Last_IO_Errno": 0,
            "Last_IO_Error": "",
            "Last_SQL_Errno": 0,
            "Last_SQL_Error": "",
            "Source_UUID": OTHER,
            "Source_Server_Id": 2,
            "SQL_Delay": 0,
            "Source_Retry_Count": 10,
            "Retrieved_Gtid_Set": "",
            "Executed_Gtid_Set": "",
            "Auto_Position": 1,
            "Replicate_Ignore_Server_Ids": "",
            "Channel_Name": name,
            "Until_Condition": "None",
            "Get_Source_public_key": 0,
        }
        row.update(columns)
        self.channels[name] = row
        return row

    # -- what it understands

    def answer(self, statement, connection):
        if isinstance(statement, bytes):
            self.sent_as_bytes.append(statement)
            statement = statement.decode("latin1")
        self.said.append(statement)
        text = " ".join(statement.split())
        self.current = connection
        for pattern, answer in self.rules:
            found = pattern.match(text)
            if not found:
                continue
            result = answer(found) if callable(answer) else answer
            if result is NotImplemented:
                continue
            if isinstance(result, Exception):
                raise result
            return result or []
        raise error(
            1064,
            "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for "
            "the right syntax to use near '%s' at line 1" % text[:80],
            pymysql.err.ProgrammingError,
        )

    def _own_rules(self):
        new = self.version >= (8, 0, 22)
        renamed = self.version >= (8, 0, 23)
        gone = self.version >= (8, 4)
        rules = [
            (r"SELECT @@.*", self._select_variables),
            (r"SELECT VERSION\(\) AS version, @@version_comment AS comment$", lambda _found: [
                {"version": self.version_text, "comment": self.comment}
            ]),
            (r"SELECT ROUTINE_NAME AS name FROM information_schema.ROUTINES", lambda _found: [
                {"name": name} for name in self.procedures
            ]),
            (r"SELECT GTID_SUBTRACT\('(.*)', '(.*)'\)$", lambda found: [
                {"x": subtract(self._plain(found.group(1)), self._plain(found.group(2)))}
            ]),
            (r"SELECT GTID_SUBSET\('(.*)', '(.*)'\)$", lambda found: [
                {"x": int(not subtract(self._plain(found.group(1)), self._plain(found.group(2))))}
            ]),
            (r"SELECT WAIT_FOR_EXECUTED_GTID_SET\('(.*)', ([0-9.e-]+)\)$", lambda found: [
                {"x": int(bool(subtract(self._plain(found.group(1)), self.variables["gtid_executed"])))}
            ]),
            (r"SET (?:GLOBAL|PERSIST|SESSION|PERSIST_ONLY) \w+ ?= ?.*$", self._set),
            (r"SET @\w+ = (.*)$", []),
            (r"SHOW GLOBAL VARIABLES WHERE Variable_name IN \((.*)\)$", lambda found: [
                {"Variable_name": name, "Value": str(self.variables[name])}
                for name in re.findall(r"'(\w+)'", found.group(1)) if self._has(name)
            ]),
            (r"RESET PERSIST (?:IF EXISTS )?(\w+)", lambda found: self.persisted.pop(found.group(1), None) and None),
            (r"KILL CONNECTION (\d+)$", lambda found: self.killed.append(int(found.group(1)))),
            (r"CALL `mysql`\.`(\w+)`\((.*)\)$", self._call),
        ]
        verbs = (["SLAVE"] if not gone else []) + (["REPLICA"] if new else [])
        for verb in verbs:
            rules += [
                (r"SHOW %s STATUS(?: FOR CHANNEL '(.*)')?$" % verb, lambda found, v=verb: self._status(found, v)),
                (r"(START|STOP) %s(?: (SQL|IO)_THREAD)?(?: UNTIL .*?)?(?: FOR CHANNEL '(.*)')?$" % verb, self._run),
                (r"RESET %s ALL(?: FOR CHANNEL '(.*)')?$" % verb, lambda found: self._reset(found.group(1) or "")),
            ]
        if not gone:
            rules.append((r"CHANGE MASTER TO (.*) FOR CHANNEL '(.*)'$", self._change))
            rules.append((r"SHOW MASTER STATUS$", self._position))
        if renamed:
            rules.append((r"CHANGE REPLICATION SOURCE TO (.*) FOR CHANNEL '(.*)'$", self._change))
        if self.version >= (8, 2):
            rules.append((r"SHOW BINARY LOG STATUS$", self._position))
        return rules

    def _has(self, name):
        """Whether the version has a variable, of those that came or went."""
        since = {"binlog_expire_logs_seconds": (8, 0, 1)}.get(name, (0,))
        until = {"expire_logs_days": (8, 4, 0)}.get(name, (99,))
        return name in self.variables and since <= self.version < until

    @staticmethod
    def _plain(literal):
        return literal.replace("\\n", "").replace("\\'", "'")

    def _select_variables(self, found):
        row = {}
        for item in found.group(0)[len("SELECT ") :].split(","):
            variable = re.match(r"\s*@@(?:(?:GLOBAL|SESSION)\.)?(\w+)(?: AS (\w+))?\s*$", item, re.IGNORECASE)
            if not variable:
                return NotImplemented
            name = variable.group(1).lower()
            if name not in self.variables:
                return error(1193, "Unknown system variable '%s'" % name)
            row[variable.group(2) or "@@" + name] = self.variables[name]
        return [row]

    def _set(self, found):
        if re.search(r"\bPERSIST", found.group(0)) and self.version < (8, 0):
            return NotImplemented
        one = r"(GLOBAL|PERSIST_ONLY|PERSIST|SESSION) (\w+) ?= ?('(?:[^'\\]|\\.)*'|[^,]*)"
        for scope, name, value in re.findall(one, found.group(0), re.IGNORECASE):
            refused = self._set_one(scope.upper(), name.lower(), value.strip("' "))
            if refused:
                return refused
        return []

    def _set_one(self, scope, name, value):
        value = int(value) if re.match(r"-?\d+$", value) else value
        if scope == "SESSION":
            return None
        if self.rds and name not in ("read_only",):
            return error(1227, "Access denied; you need (at least one of) the SYSTEM_VARIABLES_ADMIN privilege(s)")
        if scope.startswith("PERSIST"):
            self.persisted[name] = value
        self.variables[name] = value
        if name == "super_read_only" and value:
            self.variables["read_only"] = 1
        if name == "read_only" and not value:
            self.variables["super_read_only"] = 0
        return None

    def _status(self, found, verb):
        rows = [row for name, row in self.channels.items() if found.group(1) in (None, name)]
        return [{self._column(key, verb): value for key, value in row.items()} for row in rows]

    def _column(self, name, verb):
        if verb == "SLAVE":
            name = name.replace("Replica_", "Slave_").replace("Source", "Master").replace("source", "master")
        return name

    def _position(self, _found):
        return [{"File": "binlog.000001", "Position": 4, "Executed_Gtid_Set": self.variables["gtid_executed"]}]

    def _run(self, found):
        row = self.channels.get(found.group(3) or "")
        if row is None or not row["Source_Host"]:
            return error(1200, "The server is not configured as replica; fix in config file or with CHANGE")
        states = self.start_state if found.group(1).upper() == "START" else ("No", "No")
        if found.group(2) != "SQL":
            row["Replica_IO_Running"] = states[0]
        if found.group(2) != "IO":
            row["Replica_SQL_Running"] = states[1]
        return []

    def _reset(self, name):
        if "Yes" in (self.channels.get(name, {}).get("Replica_IO_Running"),):
            return error(3081, "This operation cannot be performed with running replication threads")
        self.channels.pop(name, None)
        return []

    _columns = {
        "HOST": "Source_Host",
        "PORT": "Source_Port",
        "USER": "Source_User",
        "SSL": "Source_SSL_Allowed",
        "SSL_CA": "Source_SSL_CA_File",
        "SSL_CERT": "Source_SSL_Cert",
        "SSL_KEY": "Source_SSL_Key",
        "SSL_VERIFY_SERVER_CERT": "Source_SSL_Verify_Server_Cert",
        "DELAY": "SQL_Delay",
        "RETRY_COUNT": "Source_Retry_Count",
        "CONNECT_RETRY": "Connect_Retry",
        "AUTO_POSITION": "Auto_Position",
    }

    def _change(self, found):
        name = found.group(2)
        only_delay = re.match(r"\w+_DELAY = \d+$", found.group(1))
        thread = "Replica_SQL_Running" if only_delay else "Replica_IO_Running"
        if self.channels.get(name, {}).get(thread) == "Yes":
            return error(3021, "This operation cannot be performed with a running replica thread")
        stopped = {"Replica_IO_Running": "No", "Replica_SQL_Running": "No"}
        row = self.channels.get(name) or self.channel(name, **dict(stopped, Auto_Position=0, Source_Host=""))
        for setting, value in re.findall(r"(\w+) = ('(?:[^'\\]|\\.|'')*'|[\d.]+)", found.group(1)):
            self._change_one(row, setting, value)
        return []

    def _change_one(self, row, setting, value):
        short = re.sub(r"^(MASTER|SOURCE)_", "", setting)
        if "PUBLIC_KEY" in setting:
            row["Get_Source_public_key"] = int(value)
        elif short in self._columns:
            if value.startswith("'"):
                value = _unquoted(value)
            elif short in ("SSL", "SSL_VERIFY_SERVER_CERT"):
                value = "Yes" if int(value) else "No"
            else:
                value = int(float(value))
            row[self._columns[short]] = value

    def _call(self, found):
        name, arguments = found.groups()
        if name not in self.procedures:
            return error(1305, "PROCEDURE mysql.%s does not exist" % name)
        channel = ""
        values = [_unquoted(one) for one in re.findall(r"'(?:[^'\\]|\\.)*'|[^', ]+", arguments)]
        if name.endswith("_for_channel"):
            channel = values.pop()
        for start, does in (
            ("rds_set_external", self._rds_set),
            ("rds_start", self._rds_start),
            ("rds_stop", self._rds_stop),
            ("rds_reset", self._rds_reset),
            ("rds_kill", lambda _channel, number: self.killed.append(int(number))),
        ):
            if name.startswith(start):
                return does(channel, *values)
        return []

    def _rds_set(self, channel, *values):
        host, port, user, _password, ssl, delay = values
        if self.channels.get(channel, {}).get("Replica_IO_Running") == "Yes":
            return error(1644, "Replica is running. First call mysql.rds_stop_replication")
        self.channel(
            channel,
            Source_Host=host,
            Source_Port=int(port),
            Source_User=user,
            Source_SSL_Allowed="Yes" if int(ssl) else "No",
            SQL_Delay=int(delay),
            Replica_IO_Running="No",
            Replica_SQL_Running="No",
        )
        return []

    def _rds_start(self, channel, *_until):
        row = self.channels[channel]
        row["Replica_IO_Running"], row["Replica_SQL_Running"] = self.start_state
        if self.start_state != ("Yes", "Yes"):
            return error(1644, "Replica has encountered an error. Run SHOW REPLICA STATUS\\G; to see the error.")
        return [{"Message": "Replication started. Slave is now running normally."}]

    def _rds_stop(self, channel):
        row = self.channels[channel]
        if row["Replica_IO_Running"] == "No" == row["Replica_SQL_Running"]:
            return error(1644, "Slave is already stopped or may not be configured. Run SHOW SLAVE STATUS\\G;")
        row["Replica_IO_Running"], row["Replica_SQL_Running"] = "No", "No"
        return [{"Message": "Slave is now down or disabled"}]

    def _rds_reset(self, channel):
        self.channels.pop(channel, None)
        return [{"message": "Slave has been reset"}]


def _literal(value):
    """A value as PyMySQL writes it into a statement."""
    if isinstance(value, (list, tuple)):
        return "(%s)" % ",".join(_literal(item) for item in value)
    return escape_item(value, "utf8mb4")


class FakeConnection:
    """As much of a connection of PyMySQL as a session uses."""

    def __init__(self, machine, number):
        self.machine = machine
        self.number = number
        self.closed = False

    def thread_id(self):
        return self.number

    def cursor(self):
        return FakeCursor(self)

    def close(self):
        self.closed = True


class FakeCursor:
    """A cursor: the first result set, then the others."""

    def __init__(self, connection):
        self.connection = connection
        self.sets = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        return None

    @staticmethod
    def mogrify(text, args):
        return text % tuple(_literal(value) for value in args)

    def execute(self, statement):
        if self.connection.closed:
            raise pymysql.err.InterfaceError(0, "")
        result = self.connection.machine.answer(statement, self.connection)
        several = bool(result) and isinstance(result[0], list)
        self.sets = [list(one) for one in result] if several else [list(result)]
        return len(self.sets[0])

    def fetchall(self):
        return self.sets[0]

    def nextset(self):
        self.sets.pop(0)
        return True if self.sets else None
