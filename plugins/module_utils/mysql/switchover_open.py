# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that opens a server for writes.

A server is never opened without a reading over a new connection, of the server with the right server_uuid, that the
other one is fenced, and will be after a restart where it can see to that (5.7 cannot, see the gate fence_lasts). What
cannot be read counts as not fenced.
"""

import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_steps import Doubt, pause

# Name of the force with which an operator takes the word of a server that cannot be asked onto himself.
UNREACHABLE = "peer_unreachable"
# What only a bridge says, for which an operator has accepted conflicts.
TWO_WRITERS = "two_writers"
PAUSE = 0.2
BY_HOOK = 120


def must_be_fenced(side):
    """Read that a server is fenced for good. Raises Doubt when it is not, MySQLMigrationError when nobody can tell."""
    with side.fresh() as session:
        state = side.reading(session)
        if not state["fenced"]:
            raise Doubt(
                "%s is not fenced (read_only %d, super_read_only %d), so the other server may not be opened. Find out "
                "who opened it, fence it with mysql_read_only, then run again"
                % (side.where, state["read_only"], state["super_read_only"])
            )
        if side.forgot_fence(session):
            raise Doubt(
                "The fence of %s would not outlast a restart of mysqld, so the other server may not be opened. Fence "
                "it with mysql_read_only, then run again" % side.where
            )


def is_open(state):
    """Whether a reading says that a server takes writes of everybody."""
    return not state["read_only"] and not state["super_read_only"]


def _attempt(side, other, session, forced):
    """One try: look at the other, open, read back. Returns whether it is open."""
    if TWO_WRITERS not in forced:
        _look_at(other, forced)
    pause("unfence_%s" % side.role)
    side.unfence(session, BY_HOOK)
    return is_open(side.reading(session))


def _look_at(other, forced):
    try:
        must_be_fenced(other)
    except Doubt:
        raise
    except MySQLMigrationError:
        if UNREACHABLE not in forced:
            raise


def open_for_writes(side, other, patience, forced=(), clock=time.monotonic):
    """Open `side` when `other` is fenced, and prove that it is open.

    The first try uses the connection that is open already, each further one a new one. patience: seconds for servers
    that do not answer. forced: list of str; with `peer_unreachable` a server that cannot be reached counts as fenced,
    with `two_writers` nobody looks at the other one.
    Raises Doubt when it stays unknown or is not allowed: then nothing was opened as far as anybody knows.
    """
    end = clock() + patience
    first = True
    while True:
        try:
            if first:
                first = False
                if _attempt(side, other, side.main, forced):
                    return
            else:
                with side.fresh() as session:
                    if is_open(side.reading(session)) or _attempt(side, other, session, forced):
                        return
            cause = "%s still reads as fenced" % side.where
        except Doubt:
            raise
        except MySQLMigrationError as error:
            cause = str(error).rstrip(".")
        if clock() >= end:
            raise Doubt("%s cannot be opened, or nobody can tell whether it is: %s" % (side.where, cause))
        time.sleep(PAUSE)
