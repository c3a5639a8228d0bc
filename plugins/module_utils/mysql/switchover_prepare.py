# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes the window short and safe before it opens: low lag, fast apply, quiet, a table for canaries."""

import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import fence
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_clients as clients
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import identifier

PAUSE = 0.05
# What the target may do without while it catches up. Not persisted: a restart ends it too.
RELAXED = (("innodb_flush_log_at_trx_commit", "2"), ("sync_binlog", "0"))
SCHEMA = "seamless_migration"
TABLE = "seamless_migration.canary"


# --- lag -----------------------------------------------------------------------------------------------------------


def lag_ms(source, target, limit, check):
    """Milliseconds that the target needs for what the source has executed by now, or None when more than `limit` s.

    Nothing that replication says about itself is used: the set is read on the source and awaited on the target.
    """
    begin = time.monotonic()
    wanted = source.executed()
    done = target.wait(wanted, limit, check)
    return round((time.monotonic() - begin) * 1000, 1) if done else None


def wait_for_low_lag(source, target, options, check):
    """Wait until lag_samples samples in a row are below lag_limit_ms. check: raises when replication does not run.

    Returns dict of evidence. Raises MySQLMigrationError at the timeout (seconds).
    """
    limit_ms, samples, timeout = options["lag_limit_ms"], options["lag_samples"], options["lag_timeout"]
    end = time.monotonic() + timeout
    seen, row = [], 0
    while row < samples:
        check()
        left = end - time.monotonic()
        if left <= 0:
            worst = [one for one in seen if one is not None]
            raise MySQLMigrationError(
                "The lag did not stay below %d ms for %d samples in a row within %d s (last: %s). Run again when the "
                "source has less load, let the target apply with more workers, or raise lag_limit_ms"
                % (limit_ms, samples, timeout, "%d ms" % worst[-1] if worst else "the target caught up at no time")
            )
        found = lag_ms(source, target, min(left, max(1.0, limit_ms / 1000.0)), check)
        seen.append(found)
        row = row + 1 if found is not None and found <= limit_ms else 0
        if row < samples:
            time.sleep(PAUSE)
    return {"lag_ms": seen[-samples:], "samples": len(seen)}


# --- fast apply ----------------------------------------------------------------------------------------------------


def durability(side):
    """The settings that fast apply changes, as they are: dict name -> str."""
    return {name: side.variable(name) for name, _value in RELAXED}


def relax(side):
    """Let the server flush less while it applies."""
    side.main.run("SET " + ", ".join("GLOBAL %s = %s" % pair for pair in RELAXED))
    return dict(RELAXED)


def restore(side, before, session=None):
    """Put the settings back and prove it. before: what durability() said. Raises MySQLMigrationError."""
    session = session or side.main
    names = [name for name, _value in RELAXED if before.get(name) is not None]
    session.run(
        "SET " + ", ".join("GLOBAL %s = %%s" % name for name in names), [int(before[name]) for name in names]
    )
    found = session.row("SELECT " + ", ".join("@@GLOBAL.%s AS %s" % (name, name) for name in names))
    for name in names:
        if str(found[name]) != before[name]:
            raise MySQLMigrationError(
                "%s is %s on %s and should be %s again. Set it by hand" % (name, found[name], side.where, before[name])
            )
    return before


# --- quiet ---------------------------------------------------------------------------------------------------------


def no_prepared(session, side):
    """Raise MySQLMigrationError when a prepared branch of a distributed transaction is left: the fence leaks there."""
    left = fence.prepared_xa(session)
    if left:
        raise MySQLMigrationError(
            "%s has %d prepared XA transaction(s), which could be committed through the fence: %s. Let the transaction "
            "manager end them, or XA COMMIT / XA ROLLBACK them, then run again"
            % (side.where, len(left), ", ".join(left[:5]))
        )


def wait_for_quiet(side, policy, older, timeout, check=lambda: None):
    """Wait until nothing long runs: long transactions, statements, DDL, XA.

    policy: `wait`, `kill` or `fail`. older: seconds from which something counts as long. timeout: seconds.
    Returns dict of evidence. Raises MySQLMigrationError.
    """
    end = time.monotonic() + timeout
    ended = []
    while True:
        check()
        found = clients.in_the_way(side.main, side.own, older)
        if not found:
            try:
                no_prepared(side.main, side)
                return {"ended": ended}
            except MySQLMigrationError:
                if policy == "fail" or time.monotonic() >= end:
                    raise
        elif policy == "fail" or time.monotonic() >= end:
            raise MySQLMigrationError(
                "%s has long transactions or statements: %s. Let them end, or set long_transactions to kill, then run "
                "again" % (side.where, fence.describe(found))
            )
        elif policy == "kill":
            ended += [one["id"] for one in found if one["id"] not in ended]
            clients.end(side.main, [one["id"] for one in found])
        time.sleep(PAUSE)


# --- canaries ------------------------------------------------------------------------------------------------------


def make_table(side):
    """A small table of our own for canaries, on the side that takes writes; it reaches the other by replication."""
    there = side.main.value(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = 'canary'", [SCHEMA]
    )
    if int(there):
        return {"made": False}
    side.main.run("CREATE SCHEMA IF NOT EXISTS %s" % identifier(SCHEMA))
    side.main.run(
        "CREATE TABLE IF NOT EXISTS %s (direction VARCHAR(16) NOT NULL PRIMARY KEY, run VARCHAR(64) NOT NULL,"
        " server_uuid CHAR(36) NOT NULL, at DATETIME(6) NOT NULL) ENGINE=InnoDB" % TABLE
    )
    return {"made": True}


def write_canary(side, direction, run):
    """Write the row of this run. Returns dict of evidence."""
    side.main.run(
        "REPLACE INTO %s (direction, run, server_uuid, at) VALUES (%%s, %%s, @@GLOBAL.server_uuid, UTC_TIMESTAMP(6))"
        % TABLE,
        [direction, run],
    )
    return {"table": TABLE, "run": run}


def has_canary(side, direction, run):
    """Whether the row of this run is there."""
    found = side.main.value("SELECT run FROM %s WHERE direction = %%s" % TABLE, [direction])
    return found == run


def wait_for_canary(side, direction, run, timeout, why=lambda: None):
    """Wait until the row has arrived. why: says what is wrong with the channel, or None. Raises MySQLMigrationError."""
    begin = time.monotonic()
    while not has_canary(side, direction, run):
        if time.monotonic() - begin >= timeout:
            raise MySQLMigrationError(
                "The canary has not arrived on %s within %d s (%s). The way back is not safe: mend the channel, then "
                "run again" % (side.where, timeout, why() or "the channel says that it runs")
            )
        time.sleep(PAUSE)
    return {"ms": round((time.monotonic() - begin) * 1000, 1)}
