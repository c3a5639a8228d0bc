# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to the target around a seed: writable for us alone, fenced at the end, events asleep, marked while it is
not complete."""

import contextlib
import json

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.events import COLUMNS, alter
from ansible_collections.seamless.migration.plugins.module_utils.mysql.seed_facts import MARKER
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import identifier

_PRIVILEGES = """
SELECT PRIVILEGE_TYPE AS name FROM information_schema.USER_PRIVILEGES
WHERE GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')"""
_EVENTS = """
SELECT %s FROM information_schema.EVENTS
WHERE STATUS = 'ENABLED' AND EVENT_SCHEMA NOT IN ('mysql', 'sys') ORDER BY 1, 2""" % COLUMNS


def without_binary_log(session):
    """From here on what the session does goes nowhere else. Returns False where it may not do that (RDS)."""
    try:
        session.run("SET SESSION sql_log_bin = 0")
    except MySQLMigrationError as error:
        if error.code != 1227:
            raise
        return False
    return True


class Target(object):
    """The target while it is seeded. side: its Side."""

    def __init__(self, side):
        self.side = side
        self.server = side.server

    def forget_channels(self, session):
        """Remove the channels, which are stopped."""
        for channel in self.side.channels:
            if self.side.is_rds:
                session.call(self.side.dialect.procedure("reset", channel["channel_name"]),
                             [channel["channel_name"]] if channel["channel_name"] else [])
            else:
                session.run(self.side.dialect.statement("reset_replica_all"), (channel["channel_name"] or "",))

    def fence_next_start(self, session):
        """A restart, foreseen or not, comes up fenced."""
        if self.side.dialect.persists:
            # in this order: of the two, the one that was persisted last decides at the start
            session.run("SET PERSIST_ONLY read_only = 1")
            session.run("SET PERSIST_ONLY super_read_only = 1")

    @contextlib.contextmanager
    def for_us_alone(self, session, offline):
        """Writable for administrators, and for nobody else. Not on RDS, where only the parameter group does that.

        offline: nobody else may even be connected; for what needs read_only off.
        """
        if self.side.is_rds:
            yield
            return
        session.run("SET SESSION lock_wait_timeout = 60")
        if offline:
            session.run("SET GLOBAL offline_mode = 1")
            session.run("SET GLOBAL super_read_only = 0")
            session.run("SET GLOBAL read_only = 0")
        else:
            session.run("SET GLOBAL read_only = 1")
            session.run("SET GLOBAL super_read_only = 0")
        try:
            yield
        finally:
            with contextlib.suppress(MySQLMigrationError):
                session.run("SET GLOBAL super_read_only = 1")
                session.run("SET GLOBAL offline_mode = 0")

    @contextlib.contextmanager
    def trusting_creators(self, session):
        """Functions and triggers may be loaded without SUPER (else 1419). On RDS its parameter group says so."""
        if int(session.value("SELECT @@GLOBAL.log_bin_trust_function_creators")):
            yield
            return
        try:
            session.run("SET GLOBAL log_bin_trust_function_creators = 1")
        except MySQLMigrationError as error:
            if error.code != 1227:
                raise
            yield
            return
        try:
            yield
        finally:
            with contextlib.suppress(MySQLMigrationError):
                session.run("SET GLOBAL log_bin_trust_function_creators = 0")

    def fence(self, session):
        """Leave it fenced, over a restart too. Returns whether it is."""
        if self.side.is_rds:
            return bool(int(session.value("SELECT @@GLOBAL.read_only")))
        session.run("SET SESSION lock_wait_timeout = 60")
        session.run(self.side.dialect.statement("fence"))
        row = session.row("SELECT @@GLOBAL.read_only AS one, @@GLOBAL.super_read_only AS other")
        return bool(int(row["one"])) and bool(int(row["other"]))

    # --- events ---

    def scheduler(self, session):
        """What event_scheduler is: ON, OFF or DISABLED."""
        return session.value("SELECT @@GLOBAL.event_scheduler")

    def stop_scheduler(self, session, has_events):
        """No event may fire on the data before the cutover."""
        if self.scheduler(session) != "ON":
            return
        try:
            session.run("SET GLOBAL event_scheduler = OFF")
        except MySQLMigrationError as error:
            if error.code != 1227 or not has_events:
                if error.code == 1227:
                    return
                raise
            raise MySQLMigrationError(
                "Failed to seed %s: event_scheduler is ON, this account may not turn it off, and the source may have "
                "events, which would fire as soon as they are loaded. Set event_scheduler to OFF in its parameter "
                "group."
                % self.server.where, error.code, error.server_text) from error

    def put_events_to_sleep(self, session, schemas):
        """Events as a replica has them: there, but not fired by this server.

        Returns (their names, names of those that this account may not touch, because their definer has SYSTEM_USER).
        """
        done, awake = [], []
        for row in session.rows(_EVENTS):
            if row["event_schema"] not in schemas:
                continue
            word = "REPLICA" if self.server.version >= (8, 2, 0) else "SLAVE"
            name = "%s.%s" % (row["event_schema"], row["event_name"])
            try:
                alter(session, row, "DISABLE ON %s" % word)
                done.append(name)
            except MySQLMigrationError as error:
                if error.code != 1227:
                    raise
                awake.append(name)
        return done, awake

    def restore_scheduler(self, session, before, awake):
        """Turn the scheduler on again if it was on, unless that would fire events. Where it would, it stays off over a
        restart too."""
        if awake and not self.side.is_rds:
            session.run(self.side.dialect.statement("set_variable").format("event_scheduler"), ("OFF",))
        elif before == "ON" and self.scheduler(session) == "OFF":
            with contextlib.suppress(MySQLMigrationError):
                session.run("SET GLOBAL event_scheduler = ON")

    # --- what is not complete ---

    def mark(self, session, source_uuid, schemas):
        """From here on the target is not complete."""
        session.run("CREATE DATABASE IF NOT EXISTS %s", (identifier(MARKER),))
        session.run("CREATE TABLE IF NOT EXISTS %s.unfinished (source_uuid CHAR(36) NOT NULL PRIMARY KEY, "
                    "since TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, names LONGTEXT NOT NULL)",
                    (identifier(MARKER),))
        session.run("REPLACE INTO %s.unfinished (source_uuid, names) VALUES (%s, %s)",
                    (identifier(MARKER), source_uuid, json.dumps(sorted(schemas))))

    def unmark(self, session):
        """It is complete."""
        session.run("DROP DATABASE IF EXISTS %s", (identifier(MARKER),))

    def left_behind(self, session):
        """Schemas that a seed began to load and did not end: they may be lost. Returns a list."""
        if not self.side.unfinished:
            return []
        try:
            rows = session.rows("SELECT names FROM %s.unfinished", (identifier(MARKER),))
            return sorted(set(name for row in rows for name in json.loads(row["names"])))
        except (MySQLMigrationError, ValueError):
            return []

    def drop(self, session, schemas):
        """Remove schemas. Returns their names."""
        for name in schemas:
            session.run("DROP DATABASE IF EXISTS %s", (identifier(name),))
        return list(schemas)


def privileges(session):
    """Global privileges of the account, by name. Not those that come by a role."""
    return set(row["name"] for row in session.rows(_PRIVILEGES))
