# SPDX-License-Identifier: GPL-3.0-or-later
"""One of the two servers, as the switchover sees it: its open connection, fresh readings, GTID sets and channels."""

import contextlib
import threading
import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import fence, gtid, receivers
from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_steps import Doubt

PERSISTED = "SELECT VARIABLE_VALUE FROM performance_schema.persisted_variables WHERE VARIABLE_NAME = 'super_read_only'"


class Side:
    """A server with its role.

    server: Server. role: `source` (is left) or `target`. hooks: Hooks. answer: seconds for one answer.

    excused: an operator has said that it will not come back.
    """

    def __init__(self, server, role, hooks, answer=30):
        self.server = server
        self.role = role
        self.hooks = hooks
        self.answer = answer
        self.dialect = None
        self.excused = False
        self._main = None
        self._reserved = None
        self.uuid = None
        self.own = set()

    @property
    def where(self):
        """The server as messages name it."""
        return self.server.where

    def connect(self):
        """Open the connection that most of the work is done on, and learn who the server is."""
        self._main = self.open()
        self.server.identify(self._main)
        self.uuid = self.server.uuid
        self.dialect = Dialect.for_server(self.server)
        return self

    @property
    def main(self):
        """The connection that most of the work is done on; opened anew when the last one was closed."""
        if self._main is None:
            with self.fresh():
                self._main = self.open()
        return self._main

    def open(self):
        """Another connection, which the caller closes."""
        session = self.server.session(read_timeout=self.answer)
        self.own.add(session.id)
        return session

    def close(self):
        """End the main connection, and one that is reserved."""
        unused = self._take_reserved()
        if unused is not None:
            unused.close()
        if self._main is not None:
            self._main.close()
            self._main = None

    def reserve(self):
        """Open the connection for the next fresh() in the background: it is new by then, and costs no time."""
        box = []

        def work():
            with contextlib.suppress(MySQLMigrationError):
                box.append(self.open())

        self._reserved = (threading.Thread(target=work, daemon=True), box)
        self._reserved[0].start()

    def _take_reserved(self):
        if self._reserved is None:
            return None
        thread, box = self._reserved
        self._reserved = None
        thread.join()
        return box[0] if box else None

    @contextlib.contextmanager
    def fresh(self):
        """A new connection that has just proved to lead to the server that this side is about. Raises Doubt if not."""
        session = self._take_reserved() or self.open()
        try:
            found = str(session.value("SELECT @@GLOBAL.server_uuid")).lower()
            if found != self.uuid:
                raise Doubt(
                    "%s answers with server_uuid %s, it was %s when this run began: the address leads to another "
                    "server now. Find out why before anything is opened" % (self.where, found, self.uuid)
                )
            yield session
        finally:
            session.close()

    def revive(self, patience, clock=time.monotonic):
        """Open the main connection anew if it is broken, trying for `patience` seconds. Raises MySQLMigrationError."""
        end = clock() + patience
        while True:
            try:
                self.main.value("SELECT 1")
                return
            except Doubt:
                raise
            except MySQLMigrationError:
                self.close()
                if clock() >= end:
                    raise
                time.sleep(0.2)

    # --- fence ------------------------------------------------------------------------------------------------------

    @property
    def by_hook(self):
        """Whether read_only can only be set by what the operator runs, as the parameter group of an RDS instance."""
        if self.server.platform != "rds" or self.dialect.has_procedure("read_only"):
            return False
        return self.hooks.has("read_only")

    def _set_by_hook(self, on, seconds):
        host = str(self.server.options["login_host"])
        self.hooks.run("read_only", SEAMLESS_READ_ONLY=str(int(on)), SEAMLESS_HOST=host)
        end = time.monotonic() + seconds
        while self.reading()["fenced"] != on:
            if time.monotonic() >= end:
                raise MySQLMigrationError(
                    "%s still reads read_only = %d, %d s after the hook read_only has ended. Look whether the "
                    "parameter group was changed, and is the one of this instance" % (self.where, not on, seconds)
                )
            time.sleep(0.1)

    def fence(self, lock_wait, left, on_block, other):
        """Close it for writes. left: seconds for a hook's change to arrive. other: another connection to it.

        Returns dict, see fence.fence().
        """
        if not self.by_hook:
            return fence.fence(self.server, self.main, lock_wait, lock_wait, on_block, other=other)
        begin = time.monotonic()
        self._set_by_hook(True, left)
        return {"ms": round((time.monotonic() - begin) * 1000, 1), "blockers": []}

    def unfence(self, session, seconds):
        """Open it for writes. To be called by switchover_open only."""
        if self.by_hook:
            self._set_by_hook(False, seconds)
        else:
            fence.unfence(self.server, session)

    # --- what it is doing -------------------------------------------------------------------------------------------

    def reading(self, session=None):
        """Whether it is fenced, see fence.state(): read over a new connection unless one is given."""
        if session is not None:
            return fence.state(session)
        with self.fresh() as new:
            return fence.state(new)

    def persists_fence(self, session):
        """Whether the fence would outlast a restart, as far as the server knows: 5.7 keeps it in its configuration file
        only, which SQL cannot look into. RDS keeps it in its parameter group, where SQL cannot look either.
        """
        if self.server.platform == "rds":
            return True
        if not self.dialect.persists:
            return False
        return str(session.value(PERSISTED)).upper() in ("ON", "1")

    def forgot_fence(self, session):
        """Whether the fence would not outlast a restart although the server could see to it."""
        return self.dialect.persists and not self.persists_fence(session)

    def executed(self, session=None):
        """@@GLOBAL.gtid_executed"""
        return gtid.executed(session or self.main)

    def lacks(self, wanted):
        """The part of the GTID set `wanted` that it has not executed. Returns str."""
        left = self.main.value("SELECT GTID_SUBTRACT(%s, @@GLOBAL.gtid_executed)", [wanted])
        return (left or "").replace("\n", "")

    def wait(self, wanted, seconds, check=lambda: None):
        """Whether it has executed the GTID set within the time, see gtid.wait()."""
        return gtid.wait(self.main, wanted, seconds, check=check)

    def variable(self, name):
        """A global variable as str, or None where the version has none."""
        row = self.main.row("SHOW GLOBAL VARIABLES LIKE %s", [name])
        return None if row is None else str(row["Value"])

    # --- replication ------------------------------------------------------------------------------------------------

    def channels(self, session=None):
        """Its channels, normalised, as list of dict."""
        return self.dialect.channels(session or self.main)

    def channel(self, name, session=None):
        """One channel, or None."""
        return next((one for one in self.channels(session) if (one["channel_name"] or "") == name), None)

    def channel_problem(self, name, from_uuid, session=None):
        """Why a channel does not carry everything from the other server: str, or None when it does."""
        found = self.channel(name, session)
        if found is None:
            return "%s has no channel '%s'" % (self.where, name)
        problems = [
            found[error] and "%s (%s)" % (found[error], found[number])
            for error, number in (("last_io_error", "last_io_errno"), ("last_sql_error", "last_sql_errno"))
        ]
        for thread in ("replica_io_running", "replica_sql_running"):
            if found[thread] != "Yes":
                problems.append("%s is %s" % (thread, found[thread]))
        if found["source_uuid"] and found["source_uuid"].lower() != from_uuid:
            problems.append("it follows server_uuid %s and not %s" % (found["source_uuid"], from_uuid))
        if not found["auto_position"]:
            problems.append("it does not use GTID auto-position")
        told = [problem for problem in problems if problem]
        return "channel '%s' of %s: %s" % (name, self.where, "; ".join(told)) if told else None

    def must_apply(self, name, from_uuid):
        """Raise MySQLMigrationError unless the channel carries everything."""
        problem = self.channel_problem(name, from_uuid)
        if problem:
            raise MySQLMigrationError(problem + ". Mend the channel, then run again")

    def remove_channel(self, name, session=None):
        """Stop and forget a channel; one that is gone already is fine. Returns whether there was one."""
        session = session or self.main
        if self.channel(name, session) is None:
            return False
        if self.server.platform == "rds":
            arguments = [name] if name else []
            for procedure in ("stop", "reset"):
                with contextlib.suppress(MySQLMigrationError):  # "stop" refuses when it is stopped; see the look below
                    session.call(self.dialect.procedure(procedure, name), arguments)
            if self.channel(name, session) is not None:
                raise MySQLMigrationError(
                    "Channel '%s' of %s is still there after mysql.rds_reset_external_source. Remove it by hand"
                    % (name, self.where)
                )
            return True
        session.run(self.dialect.statement("stop_replica"), [name])
        session.run(self.dialect.statement("reset_replica_all"), [name])
        return True

    def start_channel(self, name):
        """Start a channel; one that runs is left alone by the server."""
        self.main.run(self.dialect.statement("start_replica"), [name])

    def reconnect(self, name, from_uuid, timeout):
        """Let a channel's receiver connect anew, and wait until it runs. Raises MySQLMigrationError.

        A cut link shows as running for long; a new connection proves route, grants and TLS at this moment.
        """
        self.main.run(self.dialect.statement("stop_receiver"), [name])
        self.start_channel(name)
        end = time.monotonic() + timeout
        while self.channel_problem(name, from_uuid):
            if time.monotonic() >= end or self._is_refused(name):
                self.must_apply(name, from_uuid)
            time.sleep(0.05)

    def _is_refused(self, name):
        found = self.channel(name)
        return found is not None and receivers.is_refused(found)
