# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a server keeps its binary log, by whichever setting decides there."""

from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect

RDS = "binlog retention hours"
SECONDS, DAYS = "binlog_expire_logs_seconds", "expire_logs_days"
_UNITS = {SECONDS: 1, DAYS: 86400}


def variable(session):
    """The variable that decides, and what it says: (name, seconds), 0 seconds for ever. Not on RDS.

    8.0 has both. There the days, which may stand in a my.cnf from before an upgrade, count when the seconds are 0, as
    they are set then, and the server refuses to set the seconds beside them (the manual on both variables).
    """
    rows = session.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN (%s, %s)", (SECONDS, DAYS))
    values = {row["Variable_name"].lower(): int(row["Value"]) for row in rows}
    by_days = SECONDS not in values or (values.get(DAYS) and not values[SECONDS])
    name = DAYS if by_days else SECONDS
    return name, values.get(name, 0) * _UNITS[name]


def in_units(name, hours):
    """Hours (int) as the variable of that name takes them, rounded up."""
    return -(-hours * 3600 // _UNITS[name])


def of_rds(server, session):
    """What the configuration of an RDS instance says, as its procedure tells it: hours or None."""
    words = Dialect.for_server(server)
    if not words.has_procedure("show_configuration"):
        return None
    for row in session.call(words.procedure("show_configuration")):
        if row["name"] == RDS:
            return row["value"]
    return None


def hours(server, session):
    """For how many hours the binary log is kept: float, 0 for ever, None where RDS drops it as soon as it can.

    server, session: of it, identified.
    """
    if server.platform == "rds":
        value = of_rds(server, session)
        return None if value in (None, "NULL", "") else float(value)
    return variable(session)[1] / 3600.0
