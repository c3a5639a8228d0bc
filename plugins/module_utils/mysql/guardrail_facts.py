# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guardrails of a MySQL migration have to know of a server. Reads, and changes nothing."""

from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid, retention
from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.guardrails import FENCE_PRIVILEGES

SYSTEM_SCHEMAS = ("mysql", "sys", "information_schema", "performance_schema", "ndbinfo", "innodb", "tmp")
FILTER_KEYS = (
    "replicate_do_db",
    "replicate_ignore_db",
    "replicate_do_table",
    "replicate_ignore_table",
    "replicate_wild_do_table",
    "replicate_wild_ignore_table",
    "replicate_rewrite_db",
    "replicate_ignore_server_ids",
)
# RDS ignores tables of its own in every channel.
RDS_OWN = ("mysql.rds_", "innodb_memcache.")
_DEFINERS = (
    ("ROUTINES", "ROUTINE_SCHEMA", "ROUTINE_NAME"),
    ("TRIGGERS", "TRIGGER_SCHEMA", "TRIGGER_NAME"),
    ("EVENTS", "EVENT_SCHEMA", "EVENT_NAME"),
    ("VIEWS", "TABLE_SCHEMA", "TABLE_NAME"),
)


def facts(server, session, schemas=()):
    """Everything that guardrails.findings wants of one server.

    server, session: of the server, identified. schemas: names of those that move, all of the user's when empty.
    Returns a dict: platform, version, version_text, uuid, variables, retention_hours, filters, channels, schemas,
    tables, accounts, definers, fence_grants, prepared_xa, events, tls, utc_offset_s, replicas, bytes.
    """
    dialect = Dialect.for_server(server)
    variables = {row["name"].lower(): row["value"] for row in _variables(session)}
    channels = dialect.channels(session)
    moving = list(schemas) or user_schemas(session)
    tables = _tables(session, moving)
    return {
        "platform": server.platform,
        "version": server.version,
        "version_text": server.version_text,
        "uuid": server.uuid,
        "variables": variables,
        "retention_hours": retention.hours(server, session),
        "filters": _filters(dialect, session, channels),
        "channels": [_channel(channel) for channel in channels],
        "schemas": moving,
        "tables": tables,
        "bytes": sum(table["bytes"] for table in tables),
        "accounts": session.rows("SELECT User AS user, Host AS host, plugin FROM mysql.user ORDER BY User, Host"),
        "definers": _definers(session, moving),
        "fence_grants": _fence_grants(server, session),
        "prepared_xa": len(session.rows("XA RECOVER")),
        "events": _events(session, moving),
        "tls": _tls(server, session, variables),
        "utc_offset_s": _utc_offset(session),
        "replicas": _replicas(dialect, session),
    }


def _variables(session):
    return [{"name": row["Variable_name"], "value": row["Value"]} for row in session.rows("SHOW GLOBAL VARIABLES")]


def user_schemas(session):
    """Names of all schemas that are not the server's own, as list of str."""
    rows = session.rows("SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME")
    return [row["name"] for row in rows if row["name"].lower() not in SYSTEM_SCHEMAS]


def _channel(channel):
    return {
        "name": channel["channel_name"] or "",
        "delay": channel["sql_delay"] or 0,
        "running": (channel["replica_io_running"], channel["replica_sql_running"]) == ("Yes", "Yes"),
        "source_host": channel["source_host"],
        "source_port": channel["source_port"],
        "source_user": channel["source_user"],
        "source_uuid": (channel["source_uuid"] or "").lower(),
    }


def _own_of_rds(rule):
    parts = [part.strip().replace("`", "") for part in rule.split(",")]
    return [part for part in parts if part and not part.startswith(RDS_OWN)]


def _filters(dialect, session, channels):
    """Filters that could leave something out, as list of str."""
    found = set()
    for channel in channels:
        for key in FILTER_KEYS:
            for rule in _own_of_rds(channel[key] or ""):
                found.add("%s=%s in channel '%s'" % (key, rule, channel["channel_name"] or ""))
    if dialect.version >= (8, 0, 1):
        for row in session.rows(
            "SELECT FILTER_NAME AS name, FILTER_RULE AS rule FROM performance_schema.replication_applier_global_filters"
        ):
            for rule in _own_of_rds(row["rule"] or ""):
                found.add("%s=%s for all channels" % (row["name"].lower(), rule))
    log = session.row(dialect.statement("binary_log_status")) or {}
    for key in ("Binlog_Do_DB", "Binlog_Ignore_DB"):
        if log.get(key):
            found.add("%s=%s" % (key.lower(), log[key]))
    return sorted(found)


def _in(names):
    """(text, args) of an IN list that is never empty."""
    values = tuple(names) or ("",)
    return "(%s)" % ", ".join(["%s"] * len(values)), values


def _tables(session, schemas):
    places, values = _in(schemas)
    constraints = session.rows(
        "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, CONSTRAINT_TYPE AS kind FROM information_schema.TABLE_CONSTRAINTS"
        " WHERE CONSTRAINT_TYPE IN ('PRIMARY KEY', 'UNIQUE') AND TABLE_SCHEMA IN " + places,
        values,
    )
    keys = {(row["s"], row["t"], row["kind"]) for row in constraints}
    rows = session.rows(
        "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, ENGINE AS engine, COALESCE(DATA_LENGTH, 0) +"
        " COALESCE(INDEX_LENGTH, 0) AS bytes FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND"
        " TABLE_SCHEMA IN " + places + " ORDER BY TABLE_SCHEMA, TABLE_NAME",
        values,
    )
    return [
        {
            "name": "%s.%s" % (row["s"], row["t"]),
            "engine": row["engine"],
            "bytes": int(row["bytes"] or 0),
            "primary_key": (row["s"], row["t"], "PRIMARY KEY") in keys,
            "unique": (row["s"], row["t"], "UNIQUE") in keys,
        }
        for row in rows
    ]


def _definers(session, schemas):
    places, values = _in(schemas)
    found = []
    for view, schema, name in _DEFINERS:
        found += session.rows(
            "SELECT CONCAT(%s, '.', %s) AS name, DEFINER AS definer FROM information_schema.%s WHERE %s IN "
            % (schema, name, view, schema)
            + places,
            values,
        )
    return [item for item in found if item["definer"]]


def _fence_grants(server, session):
    """Accounts that hold a privilege by which a fence can be got around, also those that have it by a role."""
    grants = [
        {"user": row["user"], "host": row["host"], "privilege": "SUPER"}
        for row in session.rows("SELECT User AS user, Host AS host FROM mysql.user WHERE Super_priv = 'Y'")
    ]
    if server.version < (8, 0, 0):
        return grants
    places, values = _in(FENCE_PRIVILEGES)
    grants += session.rows(
        "SELECT USER AS user, HOST AS host, PRIV AS privilege FROM mysql.global_grants WHERE PRIV IN " + places, values
    )
    edges = session.rows(
        "SELECT FROM_USER AS role, FROM_HOST AS role_host, TO_USER AS user, TO_HOST AS host FROM mysql.role_edges"
    )
    held = {}
    for grant in grants:
        held.setdefault((grant["user"], grant["host"]), []).append(grant["privilege"])
    for edge in edges:
        for privilege in held.get((edge["role"], edge["role_host"]), []):
            grants.append(
                {
                    "user": edge["user"],
                    "host": edge["host"],
                    "privilege": "%s by the role %s" % (privilege, edge["role"]),
                }
            )
    locked = {
        (row["user"], row["host"])
        for row in session.rows("SELECT User AS user, Host AS host FROM mysql.user WHERE account_locked = 'Y'")
    }
    return [grant for grant in grants if (grant["user"], grant["host"]) not in locked]


def _events(session, schemas):
    places, values = _in(schemas)
    rows = session.rows(
        "SELECT CONCAT(EVENT_SCHEMA, '.', EVENT_NAME) AS name FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'"
        " AND EVENT_SCHEMA IN " + places,
        values,
    )
    return [row["name"] for row in rows]


def _tls(server, session, variables):
    if server.version >= (8, 0, 21):
        return (
            session.value(
                "SELECT VALUE FROM performance_schema.tls_channel_status"
                " WHERE CHANNEL = 'mysql_main' AND PROPERTY = 'Enabled'"
            )
            == "Yes"
        )
    return str(variables.get("have_ssl")) == "YES"


def _utc_offset(session):
    """Seconds from UTC to the server's own time zone."""
    session.run("SET SESSION time_zone = 'SYSTEM'")
    try:
        apart = session.value("SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())")
    finally:
        session.run("SET SESSION time_zone = '+00:00'")
    return int(round(int(apart) / 60.0)) * 60


def _replicas(dialect, session):
    """Replicas that registered, as {"uuid", "text"}."""
    found = []
    for row in session.rows(dialect.statement("show_replicas")):
        values = {key.lower(): value for key, value in row.items()}
        uuid = str(values.get("replica_uuid") or values.get("slave_uuid") or "").lower()
        where = "%s:%s" % (values["host"], values["port"]) if values.get("host") else "unnamed"
        found.append({"uuid": uuid, "text": "%s (server_id %s, %s)" % (where, values.get("server_id"), uuid)})
    return found


# --- replicas that the migration knows ---------------------------------------------------------------------------


def look_at_replica(server, session, sides):
    """One replica that the user named, as {"name", "uuid", "side", "problems"}.

    server, session: of the replica, identified. sides: {"source": (uuid, session), "target": ...}.
    """
    dialect = Dialect.for_server(server)
    executed = gtid.executed(session)  # before the sets of its source, which only grow
    channels = [_channel(channel) for channel in dialect.channels(session)]
    for side, (uuid, other) in sides.items():
        for channel in channels:
            if channel["source_uuid"] == uuid:
                problems = _replica_problems(session, other, channel, executed)
                return {"name": server.name, "uuid": server.uuid, "side": side, "problems": problems}
    return {
        "name": server.name,
        "uuid": server.uuid,
        "side": None,
        "problems": ["it replicates from neither source nor target"],
    }


def _replica_problems(session, source, channel, executed):
    problems = []
    if not channel["running"]:
        problems.append("its channel '%s' does not run" % channel["name"])
    if channel["delay"]:
        problems.append("it is delayed by %d s" % channel["delay"])
    if not int(session.value("SELECT @@GLOBAL.read_only")):
        problems.append("it takes writes: set super_read_only")
    extra = gtid.subtract(source, executed, gtid.executed(source))
    if extra:
        problems.append("it has transactions that its source never had: %s" % extra)
    return problems
