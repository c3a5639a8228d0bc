# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in the way of a fence, or would be cut off by it, and how they are ended.

Connections are told by their thread's name and never by their user: threads of replication show the account that
started the replica. An idle transaction does not hold the fence up, but what it has changed is lost with it.
"""

import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import fence
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

_WHO = """t.PROCESSLIST_ID AS id, t.PROCESSLIST_USER AS user, t.PROCESSLIST_HOST AS host,
 t.PROCESSLIST_COMMAND AS command, t.PROCESSLIST_TIME AS seconds, LEFT(t.PROCESSLIST_INFO, 80) AS statement,
 e.TIMER_WAIT / 1000000000000 AS age"""
_CLIENT = " AND t.NAME = 'thread/sql/one_connection' AND t.PROCESSLIST_ID <> CONNECTION_ID()"
# The age is that of the server's own timer, which knows no time zone.
TRANSACTIONS = (
    "SELECT "
    + _WHO
    + """ FROM information_schema.innodb_trx x
 JOIN performance_schema.threads t ON t.PROCESSLIST_ID = x.trx_mysql_thread_id
 LEFT JOIN performance_schema.events_transactions_current e ON e.THREAD_ID = t.THREAD_ID AND e.STATE = 'ACTIVE'
 WHERE (x.trx_rows_modified > 0 OR x.trx_lock_structs > 0)"""
    + _CLIENT
)
# The same by the locks that transactions hold, among which is one for each table that they have changed.
LOCKERS = (
    "SELECT "
    + _WHO
    + """ FROM (SELECT DISTINCT THREAD_ID FROM performance_schema.data_locks) x
 JOIN performance_schema.threads t ON t.THREAD_ID = x.THREAD_ID
 LEFT JOIN performance_schema.events_transactions_current e ON e.THREAD_ID = t.THREAD_ID AND e.STATE = 'ACTIVE'
 WHERE TRUE"""
    + _CLIENT
)
# innodb_trx cannot be read at all while any statement runs that has a character beyond utf8mb3 (seen in 9.7.4).
UNREADABLE = 3854
BRANCHES = (
    "SELECT "
    + _WHO
    + """ FROM performance_schema.events_transactions_current e
 JOIN performance_schema.threads t ON t.THREAD_ID = e.THREAD_ID
 WHERE e.STATE = 'ACTIVE' AND e.XA_STATE IN ('ACTIVE', 'IDLE', 'PREPARED')"""
    + _CLIENT
)


def transactions(session, own):
    """Connections with a transaction that has changed or locked something, as list of dict; `age` in seconds.

    own: ids of connections that belong to this run.
    """
    try:
        rows = session.rows(TRANSACTIONS)
    except MySQLMigrationError as error:
        if error.code != UNREADABLE:
            raise
        rows = session.rows(LOCKERS)
    return [row for row in rows if row["id"] not in own]


def branches(session, own):
    """Connections within a distributed transaction (XA), as list of dict."""
    return [row for row in session.rows(BRANCHES) if row["id"] not in own]


def in_the_way(session, own, older):
    """Connections that a fence would wait for or cut off, as list of dict. older: seconds; for XA any age counts."""
    found = {one["id"]: one for one in fence.blockers(session) if one["client"] and (one["seconds"] or 0) >= older}
    for one in transactions(session, own):
        if one["age"] is None or float(one["age"]) >= older:
            found[one["id"]] = one
    for one in branches(session, own):
        found[one["id"]] = one
    return [one for number, one in sorted(found.items()) if number not in own]


def end(session, ids, check=lambda: None):
    """End connections, one after the other.

    check: called before each; what it raises ends this, as when the time for it is over.
    Returns list of ids of those that could not be.
    """
    refused = []
    for number in ids:
        check()
        try:
            session.server.end_connection(session, number)
        except MySQLMigrationError:
            refused.append(number)
    return refused


class Blocking:
    """What fence.fence() tells while something holds it up: ends that when asked to, each after its time of grace.

    own: ids of this run. kill: whether to end. grace: seconds.
    """

    def __init__(self, own, kill, grace):
        self.own = own
        self.kill = kill
        self.grace = grace
        self.ended = []
        self._since = {}

    def __call__(self, session, found):
        now = time.monotonic()
        here = [one for one in found if one["client"] and one["id"] not in self.own]
        self._since = {one["id"]: self._since.get(one["id"], now) for one in here}
        if self.kill:
            due = [one for one in here if now - self._since[one["id"]] >= self.grace and one["id"] not in self.ended]
            self.ended += fence.end_blockers(session, due)
