# SPDX-License-Identifier: GPL-3.0-or-later
"""The event scheduler and the events: off on the server that is left, on at the one that is moved to, never on both."""

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import identifier

EVENTS = """SELECT EVENT_SCHEMA AS event_schema, EVENT_NAME AS event_name, DEFINER AS definer, STATUS AS status,
 SQL_MODE AS sql_mode, TIME_ZONE AS time_zone, CHARACTER_SET_CLIENT AS character_set_client,
 COLLATION_CONNECTION AS collation_connection FROM information_schema.EVENTS"""


def scheduler(side):
    """`ON`, `OFF` or `DISABLED`."""
    return side.variable("event_scheduler")


def enabled(side):
    """The events that run there, as sorted list of [schema, name]."""
    rows = side.main.rows(EVENTS)
    return sorted([row["event_schema"], row["event_name"]] for row in rows if row["status"] == "ENABLED")


def set_scheduler(side, wanted, session=None):
    """Turn the scheduler on or off, over a restart too. Returns whether that was possible: on RDS it is not."""
    if side.server.platform == "rds" or wanted not in ("ON", "OFF"):
        return False
    statement = side.dialect.statement("set_variable").format("event_scheduler")
    (session or side.main).run(statement, [wanted])
    return True


def _quoted(definer):
    user, _at, host = definer.rpartition("@")
    return "%s@%s" % (identifier(user), identifier(host))


def enable(side, wanted):
    """Enable the events `wanted` (list of [schema, name]) where they are not; definer and modes stay as they are.

    Returns the names of those that were enabled. Raises MySQLMigrationError naming the first that could not be.
    """
    done = []
    with side.open() as session:
        for row in session.rows(EVENTS):
            if [row["event_schema"], row["event_name"]] not in wanted or row["status"] == "ENABLED":
                continue
            name = "%s.%s" % (identifier(row["event_schema"]), identifier(row["event_name"]))
            try:
                # ALTER EVENT stores these of its session.
                session.run(
                    "SET SESSION sql_mode = %s, time_zone = %s, character_set_client = %s, collation_connection = %s",
                    [row["sql_mode"], row["time_zone"], row["character_set_client"], row["collation_connection"]],
                )
                session.run("ALTER DEFINER = %s EVENT %s ENABLE" % (_quoted(row["definer"]), name))
            except MySQLMigrationError as error:
                raise MySQLMigrationError(
                    "Event %s is still off on %s: %s" % (name, side.where, str(error)), code=error.code
                ) from error
            done.append("%s.%s" % (row["event_schema"], row["event_name"]))
    return done
