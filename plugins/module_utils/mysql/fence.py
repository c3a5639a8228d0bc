# SPDX-License-Identifier: GPL-3.0-or-later
"""The fence: a server made read-only for everybody, over a restart too.

What was measured on 9.7: `SET ... super_read_only` waits for whoever writes at the moment, for at most the session's
lock_wait_timeout (then 1205, nothing changed); writers that come later queue behind it. When the client stops waiting
the server goes on, and fences later: so its connection is ended and both variables are read again. A server can say
super_read_only = 1 and take writes: only both variables at 1 are a fence. Prepared XA branches may still be committed
behind it.
"""

import threading
import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

TIMED_OUT, GONE, LOCK_WAIT, ENDED = 2013, 2006, 1205, 1317
CLIENT_THREAD = "thread/sql/one_connection"
LOOK = 0.1
# What keeps a server closed that cannot persist: lines for [mysqld] of its my.cnf, as messages name them.
LINES = "'read_only = ON' and 'super_read_only = ON'"
_FILES = ("GLOBAL", "SERVER", "EXPLICIT", "EXTRA", "USER", "LOGIN", "COMMAND_LINE")


def state(session):
    """What the two variables say now: {"read_only": bool, "super_read_only": bool, "fenced": bool}.

    fenced needs both; on RDS, where nobody can set super_read_only, read_only is all there is.
    """
    row = session.row("SELECT @@GLOBAL.read_only AS read_only, @@GLOBAL.super_read_only AS super_read_only")
    found = {name: bool(int(value)) for name, value in row.items()}
    found["fenced"] = found["read_only"] and (found["super_read_only"] or session.server.platform == "rds")
    return found


def persistence(session):
    """What decides about the fence at the next start. Returns a dictionary.

    persisted: {variable: "ON"|"OFF"} of mysqld-auto.cnf; configured: {variable: file or "command line"} where the value
    that runs came from there (the server forgets that once the variable is set).
    """
    server = session.server
    if server.version < (8, 0, 0) or server.platform == "rds":
        return {"persisted": {}, "configured": {}}
    names = "VARIABLE_NAME IN ('read_only', 'super_read_only')"
    persisted = session.rows(
        "SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value"
        " FROM performance_schema.persisted_variables WHERE " + names
    )
    sources = session.rows(
        "SELECT VARIABLE_NAME AS name, VARIABLE_SOURCE AS source, VARIABLE_PATH AS path"
        " FROM performance_schema.variables_info WHERE " + names
    )
    return {
        "persisted": {row["name"]: "ON" if row["value"] in ("ON", "1") else "OFF" for row in persisted},
        "configured": {
            row["name"]: row["path"] or "the command line" for row in sources if row["source"] in _FILES
        },
    }


def blockers(session, waiting=0):
    """The sessions that a fence would wait for, the longest first.

    session: another one than that which waits; waiting: the number of that one. Returns a list of dictionaries: id,
    user, host, db, command, seconds, state, statement, client (False for the server's own threads, as an applier).
    """
    found = session.rows(Dialect.for_server(session.server).statement("blockers"), (waiting,))
    return [dict(row, client=row.pop("thread") == CLIENT_THREAD) for row in found]


def prepared_xa(session):
    """The prepared XA branches, which can be committed behind a fence. Returns a list of their names as text."""
    return ["%s (format %s)" % (row["data"], row["formatID"]) for row in session.rows("XA RECOVER CONVERT XID")]


def active_xa(session):
    """The connections with an XA transaction that is not prepared yet: behind a fence it still can be, and committed.

    Returns what blockers() returns. 5.7 does not record them by default.
    """
    found = session.rows(
        "SELECT PROCESSLIST_ID AS id, PROCESSLIST_USER AS user, PROCESSLIST_HOST AS host, PROCESSLIST_DB AS db,"
        " PROCESSLIST_COMMAND AS command, PROCESSLIST_TIME AS seconds, PROCESSLIST_STATE AS state,"
        " CONCAT('XA ', E.XA_STATE) AS statement, T.NAME AS thread"
        " FROM performance_schema.events_transactions_current E JOIN performance_schema.threads T USING (THREAD_ID)"
        " WHERE E.STATE = 'ACTIVE' AND E.XA_STATE IN ('ACTIVE', 'IDLE') AND PROCESSLIST_ID <> CONNECTION_ID()"
    )
    return [dict(row, client=row.pop("thread") == CLIENT_THREAD) for row in found]


def clients(session, exclude=()):
    """The connections of clients but this one, those in exclude, and the dump threads of replicas.

    Replication threads of the server itself are none, although they show the user who started them. Returns a list of
    dictionaries: id, user, host, db, command, seconds, statement.
    """
    found = session.rows(
        "SELECT PROCESSLIST_ID AS id, PROCESSLIST_USER AS user, PROCESSLIST_HOST AS host, PROCESSLIST_DB AS db,"
        " PROCESSLIST_COMMAND AS command, PROCESSLIST_TIME AS seconds, PROCESSLIST_INFO AS statement"
        " FROM performance_schema.threads WHERE NAME = %s AND PROCESSLIST_COMMAND NOT LIKE 'Binlog Dump%%'"
        " AND PROCESSLIST_ID <> CONNECTION_ID()",
        (CLIENT_THREAD,),
    )
    return [row for row in found if row["id"] not in exclude]


def end_blockers(session, found):
    """End the clients among what blockers() found. Returns the ids that were ended."""
    ids = [one["id"] for one in found if one["client"]]
    return [number for number in ids if session.server.end_connection(session, number)]


def describe(found):
    """Blockers as text for a message."""
    return "; ".join(
        "connection %s of %s@%s, %s s: %s"
        % (one["id"], one["user"], one["host"], one["seconds"], (one["statement"] or one["command"] or "")[:80])
        for one in found
    )


class _Watch(threading.Thread):
    """Looks at who holds up a fence while it waits, and tells on_block; what that raises ends the wait."""

    def __init__(self, session, waiting, on_block):
        threading.Thread.__init__(self)
        self.daemon = True
        self.session = session
        self.waiting = waiting
        self.on_block = on_block
        self.seen = {}
        self.error = None
        self._over = threading.Event()

    def run(self):
        try:
            while not self._over.wait(LOOK):
                found = blockers(self.session, self.waiting)
                self.seen.update((one["id"], one) for one in found)
                if found:
                    self.on_block(self.session, found)
        except MySQLMigrationError as error:
            self.error = error
            self._interrupt()

    def _interrupt(self):
        if not self._over.is_set():
            try:
                self.session.run("KILL QUERY %s", (self.waiting,))
            except MySQLMigrationError:
                pass  # the SET is over, or ends by itself at its lock_wait_timeout

    def stop(self):
        self._over.set()
        if self.is_alive():
            self.join()


def fence(server, session, lock_wait=2, deadline=30, on_block=None, *, other=None):
    """Make the server read-only for everybody, persisted where it can be. Raises MySQLMigrationError.

    session: runs the SET; it must hold no transaction and no lock, and its read_timeout must be longer than lock_wait
    (its lock_wait_timeout stays short afterwards). lock_wait: seconds that writers queue behind one attempt. deadline:
    seconds for all attempts. on_block(other_session, found): called every 0.1 s while something holds the fence up,
    with blockers(); it may end them (end_blockers), or raise to give up. other: a second session, which looks at what
    holds the fence up and reads the state afterwards; one is made when it is not given.

    Returns {"ms", "attempts", "blockers", "state"}. The state is read over the other connection. When it raises, the
    message says whether the server is fenced.
    """
    if other is None:
        with server.session(read_timeout=10) as made:
            return fence(server, session, lock_wait, deadline, on_block, other=made)
    if session.read_timeout and session.read_timeout <= lock_wait:
        raise MySQLMigrationError(
            "Failed to fence %s: its session waits %s s for an answer, and the lock may take %s s. Give the session a "
            "longer read_timeout." % (server.where, session.read_timeout, lock_wait)
        )
    run = _setter(server, session, True)
    session.run("SET SESSION lock_wait_timeout = %s", (max(1, int(lock_wait)),))
    watch = _Watch(other, session.id, on_block)
    start = time.monotonic()
    if on_block:
        watch.start()
    try:
        attempts = _attempt(server, session, run, watch, start + deadline)
    finally:
        watch.stop()
    spent = (time.monotonic() - start) * 1000.0
    now = state(other)
    if not now["fenced"]:
        raise MySQLMigrationError(
            "Failed to fence %s: read_only is %d and super_read_only is %d, and both must be 1. It takes writes. Look "
            "for somebody who opens it, then run again." % (server.where, now["read_only"], now["super_read_only"])
        )
    return {"ms": round(spent, 1), "attempts": attempts, "blockers": list(watch.seen.values()), "state": now}


def _attempt(server, session, run, watch, end):
    """Try until the server is fenced or the time is over. Returns the number of attempts."""
    attempts = 0
    while True:
        attempts += 1
        try:
            run()
            return attempts
        except MySQLMigrationError as error:
            if error.code in (TIMED_OUT, GONE):
                if settle(server, session.id)["fenced"]:
                    return attempts
                raise MySQLMigrationError(
                    "Failed to fence %s: it did not answer in time; the statement was ended, and the server is not "
                    "fenced. Run again." % server.where,
                    error.code,
                    error.server_text,
                ) from None
            if watch.error:
                raise MySQLMigrationError("%s The server is not fenced." % watch.error) from None
            if error.code != LOCK_WAIT:
                raise
            if time.monotonic() >= end:
                found = list(watch.seen.values()) or blockers(watch.session, session.id)
                raise MySQLMigrationError(
                    "Failed to fence %s: something held it up until the time was over%s. The server is not fenced. "
                    "Wait for it, or let it be ended, and run again."
                    % (server.where, " (%s)" % describe(found) if found else ""),
                    error.code,
                    error.server_text,
                ) from None


def _setter(server, session, on):
    """The function that fences or opens the server: a statement, or on RDS the procedure."""
    words = Dialect.for_server(server)
    if server.platform != "rds":
        return lambda: session.run(words.statement("fence" if on else "unfence"))
    if words.has_procedure("read_only"):
        return lambda: session.call(words.procedure("read_only"), (int(on),))
    raise MySQLMigrationError(
        "Failed to %s %s: on RDS read_only is a parameter of its DB parameter group, and the endpoint has no procedure "
        "for it. %s" % ("fence" if on else "open", server.where, parameter_remedy(on))
    )


def parameter_remedy(on, group=None):
    """The command that sets read_only in the parameter group of an RDS instance. Returns a sentence."""
    return (
        "Run: aws rds modify-db-parameter-group --db-parameter-group-name %s --parameters "
        "ParameterName=read_only,ParameterValue=%d,ApplyMethod=immediate" % (group or "<the instance's group>", int(on))
    )


def settle(server, number):
    """End a statement whose client stopped waiting, and read what came of it.

    number: the connection that ran it. Returns state(), read after that connection is gone. Raises
    MySQLMigrationError that tells what to do when the server cannot be reached.
    """
    try:
        with server.session(read_timeout=10) as other:
            server.end_connection(other, number)
            for _again in range(100):
                if not other.value(
                    "SELECT COUNT(*) FROM performance_schema.threads WHERE PROCESSLIST_ID = %s", (number,)
                ):
                    return state(other)
                time.sleep(LOOK)
    except MySQLMigrationError as error:
        raise MySQLMigrationError(
            "Failed to learn whether %s is fenced: it did not answer, and may still fence itself later. Once it "
            "answers, run KILL %d there if that connection exists, and look at @@read_only and @@super_read_only. (%s)"
            % (server.where, number, error),
            error.code,
            error.server_text,
        ) from None
    raise MySQLMigrationError(
        "Failed to end connection %d on %s, which waits to fence the server. End it, then look at @@read_only and "
        "@@super_read_only." % (number, server.where)
    )


def unfence(server, session):
    """Open the server for writes, over a restart too. Raises MySQLMigrationError.

    OFF stays persisted: a configuration file that says ON, as that of a server which was built as a replica, would
    close it at its next start, and the server forgets what the file said once a variable is set. What is persisted
    wins.
    Returns state(), read over a new connection.
    """
    _setter(server, session, False)()
    with server.session() as other:
        now = state(other)
    if now["read_only"] or now["super_read_only"]:
        raise MySQLMigrationError(
            "Failed to open %s: read_only is %d and super_read_only is %d. Look for somebody who fences it."
            % (server.where, now["read_only"], now["super_read_only"])
        )
    return now
