# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows that prove that one server follows another, and what stands in the way of two servers that both take writes."""

import time
import uuid

from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError, told

SCHEMA = "seamless_migration"
TABLE = "seamless_migration.arrivals"
PAUSE = 0.1
# A row that is there already, or is not: somebody wrote on the other side too.
CONFLICTS = (1062, 1032)
INCREMENTS = ("auto_increment_increment", "auto_increment_offset")


def exists(session):
    """Whether the migration's own schema is there."""
    found = session.value("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (SCHEMA,))
    return bool(int(found))


def send(session):
    """Write a row. Returns its name."""
    name = uuid.uuid4().hex
    session.run("CREATE SCHEMA IF NOT EXISTS " + SCHEMA)
    session.run(
        "CREATE TABLE IF NOT EXISTS %s (name CHAR(32) NOT NULL PRIMARY KEY, at DATETIME(6) NOT NULL)"
        " ENGINE=InnoDB CHARACTER SET ascii" % TABLE
    )
    session.run("INSERT INTO %s (name, at) VALUES (%%s, UTC_TIMESTAMP(6))" % TABLE, (name,))
    return name


def await_row(session, name, timeout):
    """Wait until the row is there. Returns milliseconds. Raises MySQLMigrationError after timeout (seconds)."""
    begin = time.monotonic()
    while True:
        try:
            if int(session.value("SELECT COUNT(*) FROM %s WHERE name = %%s" % TABLE, (name,))):
                return round((time.monotonic() - begin) * 1000, 1)
        except MySQLMigrationError as error:
            if error.code not in (1146, 1049):  # the table has not arrived
                raise
        if time.monotonic() - begin >= timeout:
            raise MySQLMigrationError(
                "Failed to see a row of the other server on %s within %d s: %s. Mend its channel, then run again."
                % (
                    session.server.where,
                    timeout,
                    "; ".join(problems_of_channels(session)) or "its channel says it runs",
                )
            )
        time.sleep(PAUSE)


def follows(session, source_uuid):
    """Whether this server has a channel from the server with that uuid."""
    dialect = Dialect.for_server(session.server)
    return any((channel["source_uuid"] or "").lower() == source_uuid for channel in dialect.channels(session))


def arrived(session, other, timeout):
    """Whether the other server, if it follows, has executed within timeout (seconds) what this one has by now."""
    return not follows(other, session.server.uuid) or gtid.wait(other, gtid.executed(session), timeout)


# --- the bridge --------------------------------------------------------------------------------------------------


def problems_of_channels(session):
    """Why channels of this server do not run, as list of str."""
    dialect = Dialect.for_server(session.server)
    problems = []
    for channel in dialect.channels(session):
        name = channel["channel_name"] or ""
        for key, what in (("io", "receiver"), ("sql", "applier")):
            if channel["replica_%s_running" % key] == "Yes":
                continue
            code, text = channel["last_%s_errno" % key], channel["last_%s_error" % key]
            why = told(code, text) if code else "it was stopped"
            problems.append("the %s of channel '%s' does not run: %s" % (what, name, why))
    return problems


def conflicts(session):
    """Errors of appliers that two writers cause, as list of str."""
    found = []
    for row in session.rows(
        "SELECT CHANNEL_NAME AS channel, LAST_ERROR_NUMBER AS code, LAST_ERROR_MESSAGE AS text"
        " FROM performance_schema.replication_applier_status_by_worker WHERE LAST_ERROR_NUMBER <> 0"
    ):
        if int(row["code"]) in CONFLICTS:
            found.append("channel '%s': %s" % (row["channel"], told(int(row["code"]), row["text"])))
    return found


def stale_sessions(session):
    """Sessions that count by other values than the global ones, for a change reaches new sessions only.

    Returns list of dict id, user, host.
    """
    rows = session.rows(
        "SELECT DISTINCT t.PROCESSLIST_ID AS id, t.PROCESSLIST_USER AS user, t.PROCESSLIST_HOST AS host"
        " FROM performance_schema.variables_by_thread v"
        " JOIN performance_schema.threads t ON t.THREAD_ID = v.THREAD_ID"
        " JOIN performance_schema.global_variables g ON g.VARIABLE_NAME = v.VARIABLE_NAME"
        " WHERE v.VARIABLE_NAME IN (%s, %s) AND v.VARIABLE_VALUE <> g.VARIABLE_VALUE"
        " AND t.NAME = 'thread/sql/one_connection' AND t.PROCESSLIST_COMMAND NOT LIKE 'Binlog Dump%%'"
        " AND t.PROCESSLIST_ID <> CONNECTION_ID() ORDER BY id",
        INCREMENTS,
    )
    return [dict(row) for row in rows]


def collisions(session, schemas):
    """Unique keys whose values both servers could choose alike: those without an AUTO_INCREMENT column.

    schemas: list of names. Returns list of "schema.table.key".
    """
    places = ", ".join(["%s"] * len(schemas)) or "NULL"
    keys = session.rows(
        "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, INDEX_NAME AS k, COLUMN_NAME AS c"
        " FROM information_schema.STATISTICS"
        " WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA IN (" + places + ") ORDER BY 1, 2, 3, SEQ_IN_INDEX",
        tuple(schemas),
    )
    counted = {
        (row["s"], row["t"], row["c"])
        for row in session.rows(
            "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, COLUMN_NAME AS c FROM information_schema.COLUMNS"
            " WHERE EXTRA LIKE '%%auto_increment%%' AND TABLE_SCHEMA IN (" + places + ")",
            tuple(schemas),
        )
    }
    columns: dict = {}
    for row in keys:
        columns.setdefault((row["s"], row["t"], row["k"]), []).append(row["c"])
    return [
        "%s.%s.%s" % key
        for key, names in columns.items()
        if not any((key[0], key[1], name) in counted for name in names)
    ]
