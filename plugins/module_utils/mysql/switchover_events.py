# SPDX-License-Identifier: GPL-3.0-or-later
"""The event scheduler and the events: off on the server that is left, on at the one that is moved to, never on both."""

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.events import COLUMNS, alter, full_name

EVENTS = "SELECT %s FROM information_schema.EVENTS" % COLUMNS


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


def enable(side, wanted):
    """Enable the events `wanted` (list of [schema, name]) where they are not; definer and modes stay as they are.

    Returns the names of those that were enabled. Raises MySQLMigrationError naming the first that could not be.
    """
    done = []
    with side.open() as session:
        for row in session.rows(EVENTS):
            if [row["event_schema"], row["event_name"]] not in wanted or row["status"] == "ENABLED":
                continue
            try:
                alter(session, row, "ENABLE")
            except MySQLMigrationError as error:
                raise MySQLMigrationError(
                    "Event %s is still off on %s: %s" % (full_name(row), side.where, str(error)), code=error.code
                ) from error
            done.append("%s.%s" % (row["event_schema"], row["event_name"]))
    return done
