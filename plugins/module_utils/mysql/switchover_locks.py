# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock that keeps a second switchover out: a user lock on each of the two servers, held by a connection each."""

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

NAME = "seamless_migration.switchover"
IDLE = 3600
WAIT = 2  # the server may need a moment to see that the process of a killed run is gone


class Busy(MySQLMigrationError):
    """Another switchover works on one of the servers."""


class Locks:
    """User locks on both servers. sides: list of Side."""

    def __init__(self, sides):
        self.sides = sides
        self.sessions = {}

    def acquire(self):
        """Take both. Raises Busy naming the holder; then none is kept."""
        try:
            for side in self._sides():
                self._take(side)
        except MySQLMigrationError:
            self.release()
            raise
        return self

    def _sides(self):
        return [side for side in self.sides if not side.excused]

    def _take(self, side):
        session = side.open()
        self.sessions[side.role] = session
        session.run("SET SESSION wait_timeout = %s", [IDLE])
        if int(session.value("SELECT GET_LOCK(%s, %s)", [NAME, WAIT]) or 0) != 1:
            raise Busy(self._refusal(side, session))

    @staticmethod
    def _refusal(side, session):
        holder = session.value("SELECT IS_USED_LOCK(%s)", [NAME])
        row = session.row(
            "SELECT PROCESSLIST_USER AS user, PROCESSLIST_HOST AS host, PROCESSLIST_TIME AS seconds"
            " FROM performance_schema.threads WHERE PROCESSLIST_ID = %s",
            [holder],
        ) or {"user": "unknown", "host": "unknown", "seconds": "?"}
        return (
            "Another switchover holds the lock '%s' on %s: connection %s of %s from %s. Wait until it has ended. If "
            "its process is dead and its connection hangs, end that connection, then run again"
            % (NAME, side.where, holder, row["user"], row["host"])
        )

    def check(self):
        """Raise MySQLMigrationError unless both are still held."""
        for side in self._sides():
            session = self.sessions.get(side.role)
            try:
                held = session and session.value("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", [NAME])
            except MySQLMigrationError as error:
                raise MySQLMigrationError(
                    "The connection that holds the lock on %s is lost (%s). Nothing is committed without it"
                    % (side.where, str(error).rstrip("."))
                ) from error
            if not held:
                raise MySQLMigrationError(
                    "The lock on %s is not held any more. Nothing is committed without it" % side.where
                )

    def regain(self, side):
        """Hold the lock on a server again after its connection was lost. Raises Busy when another run has it by now."""
        session = self.sessions.get(side.role)
        try:
            if session and session.value("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", [NAME]):
                return
        except MySQLMigrationError:
            pass
        if session:
            session.close()
        self._take(side)

    def release(self):
        """Give them back."""
        for session in self.sessions.values():
            session.close()
        self.sessions = {}
