# SPDX-License-Identifier: GPL-3.0-or-later
"""How an event is changed without changing what it says."""

from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import identifier

# The columns that alter() wants.
COLUMNS = """EVENT_SCHEMA AS event_schema, EVENT_NAME AS event_name, DEFINER AS definer, STATUS AS status,
 SQL_MODE AS sql_mode, TIME_ZONE AS time_zone, CHARACTER_SET_CLIENT AS character_set_client,
 COLLATION_CONNECTION AS collation_connection"""
_OWN = "SELECT @@sql_mode AS sql_mode, @@time_zone AS time_zone, @@character_set_client AS character_set_client,\
 @@collation_connection AS collation_connection"
_SET = "SET SESSION sql_mode = %s, time_zone = %s, character_set_client = %s, collation_connection = %s"


def full_name(row):
    """Schema and name of an event as identifiers."""
    return "%s.%s" % (identifier(row["event_schema"]), identifier(row["event_name"]))


def alter(session, row, clause):
    """ALTER an event. row: a dict with COLUMNS. clause: what follows its name, as ENABLE. Raises MySQLMigrationError.

    ALTER EVENT stores character set and collation of its session with the event, and leaves its body in the bytes that
    it has (9.7): letters that are not ASCII would be others from then on. So the session takes those of the event, and
    speaks to the server in that character set for the time of it.
    """
    user, _at, host = row["definer"].rpartition("@")
    own = session.row(_OWN)
    _take(session, row)
    try:
        session.run(
            "ALTER DEFINER = %s@%s EVENT %s %s" % (identifier(user), identifier(host), full_name(row), clause),
            charset=row["character_set_client"],
        )
    finally:
        _take(session, own)


def _take(session, values):
    names = ("sql_mode", "time_zone", "character_set_client", "collation_connection")
    session.run(_SET, [values[name] for name in names])
