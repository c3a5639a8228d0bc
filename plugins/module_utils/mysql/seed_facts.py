# SPDX-License-Identifier: GPL-3.0-or-later
"""What the servers are before a seed, and whether it may begin."""

import os
import socket

from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_catalog import user_schemas
from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

# A schema on the target that says: what is here is not complete. Goes when the seed is.
MARKER = "seamless_migration_seed"
# Accounts for CLONE, on the source while it runs. It takes them along to the target.
CLONE_ACCOUNT = "seamless_clone_"
_SPARE = 1.1
_CLONE_ANY_POINT = (8, 0, 37)

_OBJECTS = """
SELECT s.SCHEMA_NAME AS name,
 (SELECT COUNT(*) FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = s.SCHEMA_NAME)
 + (SELECT COUNT(*) FROM information_schema.ROUTINES r WHERE r.ROUTINE_SCHEMA = s.SCHEMA_NAME)
 + (SELECT COUNT(*) FROM information_schema.EVENTS e WHERE e.EVENT_SCHEMA = s.SCHEMA_NAME) AS objects,
 (SELECT COALESCE(SUM(t.DATA_LENGTH + t.INDEX_LENGTH), 0) FROM information_schema.TABLES t
   WHERE t.TABLE_SCHEMA = s.SCHEMA_NAME) AS bytes
FROM information_schema.SCHEMATA s"""
_REPLICAS = """
SELECT PROCESSLIST_HOST AS host, PROCESSLIST_USER AS user FROM performance_schema.threads
WHERE PROCESSLIST_COMMAND LIKE 'Binlog Dump%%'"""
_ENGINES = """
SELECT TABLE_SCHEMA AS name, TABLE_NAME AS table_name, ENGINE AS engine FROM information_schema.TABLES
WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE <> 'InnoDB' AND TABLE_SCHEMA IN %s ORDER BY 1, 2"""
_FLOATS = """
SELECT DISTINCT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) AS name FROM information_schema.COLUMNS
WHERE DATA_TYPE = 'float' AND TABLE_SCHEMA IN %s ORDER BY 1"""
_DEFINERS = """
SELECT DISTINCT definer FROM (
 SELECT DEFINER AS definer FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA IN %s
 UNION ALL SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA IN %s
 UNION ALL SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA IN %s
 UNION ALL SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA IN %s) AS d
ORDER BY 1"""
_ACCOUNTS = "SELECT CONCAT(User, '@', Host) AS name FROM mysql.user"
_SYSTEM_USERS = "SELECT CONCAT(USER, '@', HOST) AS name FROM mysql.global_grants WHERE PRIV = 'SYSTEM_USER'"


def number(value):
    return int(value or 0)


class Side(object):
    """What one server is. Reads it at once."""

    def __init__(self, server, session):
        server.identify(session)
        self.server = server
        self.dialect = Dialect.for_server(server)
        self.is_rds = server.platform == "rds"
        self.gtid_mode = session.value("SELECT @@GLOBAL.gtid_mode")
        self.executed = gtid.executed(session)
        self.purged = gtid.purged(session)
        own = user_schemas(session)
        rows = [row for row in session.rows(_OBJECTS) if row["name"] in own and row["name"] != MARKER]
        self.schemas = dict((row["name"], number(row["objects"])) for row in rows)
        self.bytes = dict((row["name"], number(row["bytes"])) for row in rows)
        self.unfinished = MARKER in own
        self.channels = self.dialect.channels(session)
        self.free_bytes = free_bytes(session)
        names = ("gtid_mode", "event_scheduler", "read_only", "super_read_only")
        self.settings = dict((name, session.value("SELECT @@GLOBAL." + name)) for name in names[1:])

    @property
    def running(self):
        """Names of the channels that run, wholly or in part."""
        return [channel["channel_name"] or "" for channel in self.channels
                if "No" not in (channel["replica_io_running"], channel["replica_sql_running"])
                or "Yes" in (channel["replica_io_running"], channel["replica_sql_running"])]

    @property
    def filled(self):
        """Names of the schemas that hold anything."""
        return sorted(name for name, objects in self.schemas.items() if objects)


def free_bytes(session):
    """Free bytes where the server keeps its data, if it runs on this host; else None."""
    row = session.row("SELECT @@hostname AS host, @@datadir AS folder")
    if row["host"] != socket.gethostname():
        return None
    try:
        status = os.statvfs(row["folder"])
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def replicas_of(session):
    """Who reads this server's binary log."""
    return sorted("%s@%s" % (row["user"], row["host"]) for row in session.rows(_REPLICAS))


def other_engines(session, schemas):
    """Tables that are not in InnoDB, as "schema.table (engine)"."""
    if not schemas:
        return []
    return ["%s.%s (%s)" % (row["name"], row["table_name"], row["engine"])
            for row in session.rows(_ENGINES, (schemas,))]


def float_tables(session, schemas):
    """Tables with columns of type FLOAT, which a dump writes with six digits."""
    return [row["name"] for row in session.rows(_FLOATS, (schemas,))] if schemas else []


def missing_definers(session, schemas):
    """Definers of loaded objects that this server has no account for."""
    accounts = set(row["name"] for row in session.rows(_ACCOUNTS))
    return [name for name in definers(session, schemas) if name not in accounts]


def definers(session, schemas):
    """Definers of routines, views, triggers and events, as "user@host"."""
    return [row["definer"] for row in session.rows(_DEFINERS, (schemas,) * 4)] if schemas else []


def beyond_us(source, target, schemas):
    """Definers of the source that the login of the target may not give to objects: they have SYSTEM_USER there."""
    if target.server.version < (8, 0, 16):
        return []
    holders = set(row["name"] for row in target.rows(_SYSTEM_USERS))
    if target.value("SELECT CURRENT_USER()") in holders:
        return []
    return [name for name in definers(source, schemas) if name in holders]


# --- whether it may begin ---


def refuse(doing, because, remedy):
    raise MySQLMigrationError("Failed to %s: %s. %s." % (doing, because, remedy))


def check_pair(source, target):
    """What must be so for every method."""
    doing = "seed %s" % target.server.where
    if source.server.uuid == target.server.uuid:
        refuse(doing, "source and target have the same server_uuid %s" % source.server.uuid,
               "Correct the options, or if the data directory was copied, remove auto.cnf there and restart the server")
    for side in (source, target):
        if side.gtid_mode != "ON":
            refuse(doing, "gtid_mode is %s on the %s" % (side.gtid_mode, side.server.where),
                   "Turn it on with mysql_gtid first: only what was read with GTIDs on can be followed from")


def check_empty(target, overwrite, doing):
    """Refuse a target with data that nobody said may be lost."""
    in_way = [name for name in target.filled if name not in overwrite]
    if in_way:
        more = ", left there by a seed that did not end" if target.unfinished else ""
        refuse(doing, "it holds the schemas %s%s" % (", ".join(in_way), more),
               "Name them in the option overwrite if they may be lost, or give an empty server")


def check_quiet(target, doing):
    """Refuse a target that replicates: CLONE under a running replica ends in a deadlock after it dropped the data."""
    if target.running:
        refuse(doing, "replication runs there (channel %s)" % ", ".join(repr(str(name)) for name in target.running),
               "Stop it first with mysql_replica, state stopped or absent")


def check_room(target, needed, doing):
    if target.free_bytes is not None and target.free_bytes < needed * _SPARE:
        refuse(doing, "%d bytes are free there, and %d are needed" % (target.free_bytes, int(needed * _SPARE)),
               "Make room")


def check_versions(source, target, method):
    """Whether the target may take what the source has."""
    doing = "seed %s by %s" % (target.server.where, method)
    one, other = source.server.version, target.server.version
    told = "the source is %s and the target %s" % (source.server.version_text, target.server.version_text)
    if method != "clone":
        if other[:2] < one[:2]:
            refuse(doing, told, "An older server cannot be relied on to take it; use a target at least as new")
        return
    if source.is_rds or target.is_rds:
        refuse(doing, "RDS has no clone plugin", "Use method dump, or method none with a restored snapshot")
    if min(one, other) < (8, 0, 17):
        refuse(doing, told, "The clone plugin came with 8.0.17; use method dump")
    points = one[:2] == (8, 0) and min(one, other) < _CLONE_ANY_POINT
    if one[:2] != other[:2] or (points and one != other):
        refuse(doing, told, "Clone needs the same series, and before 8.0.37 the same release; use method dump")


def already(source, target, source_session, schemas):
    """Whether the target is a replica's worth of the source: it has the schemas, nothing of its own, and nothing that
    it lacks was purged. Returns reasons why not, empty when it is."""
    reasons = []
    if target.unfinished:
        reasons.append("a seed of it did not end")
    missing = [name for name in schemas if source.schemas.get(name) and not target.schemas.get(name)]
    if missing:
        reasons.append("it lacks the schemas %s" % ", ".join(missing))
    if not target.executed:
        reasons.append("its gtid_executed is empty")
        return reasons
    errant = gtid.subtract(source_session, target.executed, gtid.executed(source_session))
    if errant:
        reasons.append("it has %d transactions that the source does not have: %s" % (gtid.count(errant), errant))
    lost = gtid.subtract(source_session, gtid.purged(source_session), target.executed)
    if lost:
        reasons.append("the source has purged %d transactions that it lacks: %s" % (gtid.count(lost), lost))
    return reasons
