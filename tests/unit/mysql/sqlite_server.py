# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for a server of MySQL on SQLite, for the statements with which tables are compared."""

import hashlib
import re
import sqlite3
import threading

from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_table import Column, Key, Table
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

_SPELLINGS = (
    (re.compile(r"_binary'#'"), "'#'"),
    (re.compile(r"CAST\((t\.`(?:[^`]|``)*`) AS BINARY\)"), r"BYTES(\1)"),
    (re.compile(r" FORCE INDEX \(`(?:[^`]|``)*`\)"), ""),
    (re.compile(r"CAST\(CONV\(LEFT\((.*),15\),16,10\) AS UNSIGNED\)"), r"NUMBER(\1)"),
    (re.compile(r"CAST\(CONV\(LEFT\((.*),16\),16,10\) AS UNSIGNED\)"), r"NUMBER(\1)"),
    (re.compile(r"\bHEX\(BIT_XOR\("), "(BIT_XOR("),
    (re.compile(r"`(\w+)`\.`(\w+)` AS t"), r"`\2` AS t"),
)


def _bytes(value):
    return value if isinstance(value, (bytes, type(None))) else str(value).encode("utf-8")


def _concat_ws(separator, *values):
    return _bytes(separator).join(_bytes(value) for value in values if value is not None)


def _length(value):
    return None if value is None else len(_bytes(value))


class _Xor:
    def __init__(self):
        self.value = 0

    def step(self, value):
        self.value ^= value if isinstance(value, int) else int.from_bytes(value, "big")

    def finalize(self):
        return "%064X" % self.value


class SQLiteServer:
    """One database. interfere: function that is called with each statement before it runs."""

    version = (9, 7, 4)

    def __init__(self, name, interfere=lambda statement: None):
        self.name = self.where = self.uuid = name
        self.queries = []
        self.interfere = interfere
        self.gtid = "u:1-5"
        self.reached = True
        self.failures = []
        self.lock = threading.Lock()
        self.data = sqlite3.connect(":memory:", check_same_thread=False)
        for function, count, work in (
            ("SHA2", 2, lambda value, _bits: None if value is None else hashlib.sha256(_bytes(value)).hexdigest()),
            ("UNHEX", 1, bytes.fromhex),
            ("BYTES", 1, _bytes),
            ("LENGTH", 1, _length),
            ("CONCAT_WS", -1, _concat_ws),
            ("NUMBER", 1, lambda value: int(value[:12], 16)),
        ):
            self.data.create_function(function, count, work)
        self.data.create_aggregate("BIT_XOR", 1, _Xor)

    def run(self, statement, *arguments):
        self.data.execute(statement, *arguments)

    def session(self, read_timeout=30):
        return SQLiteSession(self)


class SQLiteSession:
    def __init__(self, server):
        self.server = server

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pass

    def close(self):
        pass

    def run(self, statement, args=None):
        return 0

    def row(self, statement, args=None):
        rows = self.rows(statement, args)
        return rows[0] if rows else None

    def value(self, statement, args=None):
        if "WAIT_FOR_EXECUTED_GTID_SET" in statement:
            return 0 if self.server.reached else 1
        if "gtid_executed" in statement:
            return self.server.gtid
        if "gtid_mode" in statement:
            return "ON"
        return next(iter(self.row(statement, args).values()))

    def rows(self, statement, args=None):
        if self.server.failures:
            raise self.server.failures.pop()
        self.server.interfere(statement)
        if "replication_applier_status" in statement:
            return [{"state": "ON"}] if self.server.reached else []
        for pattern, spelling in _SPELLINGS:
            statement = pattern.sub(spelling, statement)
        statement = statement.replace("%s", "?").replace("%%", "%")
        with self.server.lock:
            cursor = self.server.data.execute(statement, list(args or ()))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]


def column(name, data_type="int", nullable=False, **more):
    row = {"COLUMN_NAME": name, "DATA_TYPE": data_type, "COLUMN_TYPE": data_type, "EXTRA": "",
           "IS_NULLABLE": "YES" if nullable else "NO", "CHARACTER_SET_NAME": None, "COLLATION_NAME": None}
    return Column(dict(row, **more))


def table(columns, key, name="t", schema="main"):
    """A Table whose key has the first `key` of these columns; 0 is none."""
    return Table(schema, name, columns, Key("PRIMARY", columns[:key]) if key else None)


def lost_connection():
    return MySQLMigrationError("Failed to run: gone.", 2013, "gone")
