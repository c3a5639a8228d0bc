# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill the target by CLONE: the plugin on both sides, an account on the source for the time of it, the restart."""

import contextlib
import secrets
import threading
import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.seed_facts import CLONE_ACCOUNT, refuse
from ansible_collections.seamless.migration.plugins.module_utils.mysql.seed_target import without_binary_log
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server

# 3707: the server is not started again by itself; the others: it goes away to be, or went (1053: shutdown in progress).
_RESTARTING = (1053, 2003, 2006, 2013, 3707)
_WRONG_LOGIN = (1045, 1044, 3118, 3955)
_REFUSED = (1044, 1045, 1227, 1290, 1410)
_PROGRESS = """
SELECT COALESCE(SUM(DATA), 0) AS bytes, COALESCE(SUM(ESTIMATE), 0) AS total,
 GROUP_CONCAT(IF(STATE = 'In Progress', STAGE, NULL)) AS stage FROM performance_schema.clone_progress"""
_BACKTICKS = """
SELECT DISTINCT TABLE_SCHEMA AS name FROM information_schema.TABLES
WHERE CONCAT(TABLE_SCHEMA, TABLE_NAME) LIKE '%`%' AND TABLE_SCHEMA NOT IN ('mysql', 'sys')"""
_STATUS = """
SELECT STATE AS state, ERROR_NO AS code, ERROR_MESSAGE AS text, SOURCE AS source
FROM performance_schema.clone_status"""


def has_plugin(session):
    return session.value("SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'") == "ACTIVE"


def ensure_plugin(session):
    """Install it. Returns whether it was not there."""
    if has_plugin(session):
        return False
    session.run("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
    return True


def status(session):
    """The row of the last clone to this server, or None."""
    return session.row(_STATUS) if has_plugin(session) else None


def own_accounts(session, target_uuid=None):
    """Accounts that clones of ours made: all of them, or those for the clone to one target. list of dict user, host."""
    # No LIKE: what escapes the _ in it depends on sql_mode (NO_BACKSLASH_ESCAPES).
    made = session.rows("SELECT User AS user, Host AS host FROM mysql.user WHERE LEFT(User, %s) = %s",
                        (len(CLONE_ACCOUNT), CLONE_ACCOUNT))
    after = len(CLONE_ACCOUNT) + 1
    return [row for row in made if not target_uuid or row["user"][after:].startswith(target_uuid[:8])]


def _installs(accounts):
    """Whether the plugin was installed on the source for one of these clones: their names tell it, so that it is known
    when the seed that did so is gone, on the target too, which gets the plugins of the source with its data."""
    return any(row["user"].startswith(CLONE_ACCOUNT + "i") for row in accounts)


def _drop(session, accounts):
    for row in accounts:
        session.run("DROP USER IF EXISTS %s@%s", (row["user"], row["host"]))


def take_down(session, target_uuid=None, installed=False):
    """Remove what clones needed on a server: the plugin, if it was installed for them, then their accounts.

    target_uuid: only what was for the clone to that target. installed: bool, whether the plugin goes in any case.
    """
    accounts = own_accounts(session, target_uuid)
    if (installed or _installs(accounts)) and has_plugin(session):
        session.run("UNINSTALL PLUGIN clone")
    _drop(session, accounts)


class Donor(object):
    """The account with which the target reads the source, made for this and removed by close()."""

    def __init__(self, source, session, target_uuid):
        self._target_uuid = target_uuid
        earlier = own_accounts(session, target_uuid)
        self.installs = not has_plugin(session) or _installs(earlier)
        self.user = CLONE_ACCOUNT + "ki"[self.installs] + target_uuid[:8] + secrets.token_hex(4)
        self.password = secrets.token_urlsafe(18) + "aA1."
        without_binary_log(session)
        try:
            session.run("CREATE USER %s@'%%' IDENTIFIED BY %s", (self.user, self.password), secret=(1,))
            session.run("GRANT BACKUP_ADMIN ON *.* TO %s@'%%'", (self.user,))
        except MySQLMigrationError as error:
            if error.code not in _REFUSED:
                raise
            with contextlib.suppress(MySQLMigrationError):
                _drop(session, [{"user": self.user, "host": "%"}])
            self.user, self.password = source.options["login_user"], source.options["login_password"]
        else:
            _drop(session, earlier)

    def close(self, session):
        """Remove the account, and the plugin if it was installed for this."""
        without_binary_log(session)
        take_down(session, self._target_uuid, self.installs)


class _Statement(threading.Thread):
    """CLONE INSTANCE, in a connection of its own, for as long as it takes."""

    def __init__(self, target, donor, host, port):
        super(_Statement, self).__init__(daemon=True)
        self._arguments = (donor.user, host, port, donor.password)
        self._session = target.session(read_timeout=None)
        self.error = None

    def run(self):
        try:
            self._session.run("CLONE INSTANCE FROM %s@%s:%s IDENTIFIED BY %s", self._arguments, secret=(3,))
        except MySQLMigrationError as error:
            self.error = error
        finally:
            self._session.close()


class Clone(object):
    """One clone. target: seed_target.Target; source: Server; donor_at: (host, port) as the target reaches the source.

    tell: function of a dict. timeout: seconds for the restart.
    """

    def __init__(self, source, target, donor_at, *, tell, timeout, sleep=time.sleep):
        self._source = source
        self._target = target
        self._donor_at = donor_at
        self._tell = tell
        self._timeout = timeout
        self._sleep = sleep
        self._ended = time.monotonic()
        self.login = "target"

    def run(self):
        """Fill the target. Returns (bytes, installed): what was copied, whether the target got the plugin for it."""
        with self._source.session() as source:
            donor = Donor(self._source, source, self._target.server.uuid)
        try:
            with self._source.session() as source:
                ensure_plugin(source)
            with self._target.server.session() as session:
                installed, copied = self._copy(session, donor)
        finally:
            # a new session: the others have been silent for as long as the clone took
            with self._source.session() as source:
                donor.close(source)
        return copied, installed

    def _copy(self, session, donor):
        target = self._target
        target.fence_next_start(session)
        without_binary_log(session)
        with contextlib.ExitStack() as stack:
            stack.enter_context(target.for_us_alone(session, offline=True))
            installed = ensure_plugin(session)
            # CLONE (9.7.4) fails with a syntax error on names with a backtick when it drops what is there
            target.drop(session, [row["name"] for row in session.rows(_BACKTICKS)])
            session.run("SET GLOBAL clone_valid_donor_list = %s", ("%s:%d" % self._donor_at,))
            statement = _Statement(target.server, donor, *self._donor_at)
            statement.start()
            copied = self._watch(session, statement)
            if statement.error and statement.error.code not in _RESTARTING:
                if installed:
                    with contextlib.suppress(MySQLMigrationError):
                        session.run("UNINSTALL PLUGIN clone")
                raise statement.error
            stack.pop_all()     # the server is gone, and comes back fenced
        return installed, copied

    def _watch(self, session, statement):
        copied = 0
        while statement.is_alive():
            with contextlib.suppress(MySQLMigrationError):
                row = session.row(_PROGRESS)
                copied = max(copied, int(row["bytes"]))
                self._tell({"phase": row["stage"] or "clone", "bytes": copied, "bytes_total": int(row["total"])})
            statement.join(0.5)
        self._ended = time.monotonic()
        self._tell({"phase": "restart", "bytes": copied})
        return copied

    def _await_start(self, session):
        """Raise _NotYet while it is still the server that was to restart."""
        uptime = int(session.row("SHOW GLOBAL STATUS LIKE 'Uptime'")["Value"])
        if uptime > time.monotonic() - self._ended + 1:
            session.close()
            raise _NotYet()

    def await_restart(self):
        """Wait until the server is back with the data of the source. Returns (session, its server_uuid).

        The accounts are those of the source now: if the login of the target is none of them, that of the source is
        used from here on.
        """
        end, last = time.monotonic() + self._timeout, "it is still going down"
        while True:
            try:
                session = self._session()
                self._await_start(session)
                self._check(session)
                return session, session.value("SELECT @@server_uuid").lower()
            except _NotYet as error:
                last = str(error) or last
            except MySQLMigrationError as error:
                if error.code not in _RESTARTING:
                    raise
                last = error
            if time.monotonic() >= end:
                refuse("seed %s by clone" % self._target.server.where, "the server did not come back within %d s of "
                       "the end of the clone (%s)" % (self._timeout, last),
                       "Start it, and run this again when it is up")
            self._sleep(0.3)

    def _session(self):
        """A session on the target, with whichever login it takes. Raises _NotYet."""
        for name, server in (("target", self._target.server), ("source", another(self._target.server, self._source))):
            try:
                session = server.session()
            except MySQLMigrationError as error:
                if error.code in _WRONG_LOGIN:
                    last = error
                    continue
                raise _NotYet(str(error)) from error
            self.login = name
            return session
        raise _NotYet(str(last))

    @staticmethod
    def _check(session):
        """Raise _NotYet while the clone is under way, MySQLMigrationError when it failed."""
        row = session.row(_STATUS)
        if row["state"] == "Completed":
            return
        code, text = int(row["code"] or 0), row["text"] or ""
        session.close()
        if row["state"] == "Failed":
            raise MySQLMigrationError("Failed to clone: %s (%d). Run it again: the data that was there is gone."
                                      % (text.rstrip("."), code), code, text)
        raise _NotYet()

    def finish(self, session, schemas, scheduler, installed):
        """Take down on the target what only the clone needed; its account last, by which one knows that it is not done.

        Returns as Target.put_events_to_sleep.
        """
        target = self._target
        session.run("SET GLOBAL event_scheduler = OFF")
        without_binary_log(session)
        with target.for_us_alone(session, offline=True):
            events, awake = target.put_events_to_sleep(session, schemas)
            target.restore_scheduler(session, scheduler, awake)
            take_down(session, installed=installed)
        return events, awake


class _NotYet(Exception):
    """The clone is not at its end."""


def another(server, login):
    """A Server that is reached like `server`, with the account of the Server `login`."""
    account = dict((name, login.options.get(name)) for name in ("login_user", "login_password"))
    return Server(dict(server.options, **account), server.name, connect=server._connect)


def check_donor_login(source, target):
    """Whether the target's login is an account of the source too, so that it is valid after a clone."""
    try:
        another(source, target).session().close()
    except MySQLMigrationError as error:
        if error.code == 1045:
            return False
        raise
    return True


def check_under_way(session, doing):
    """Refuse a second clone beside one that runs."""
    row = status(session)
    if row and row["state"] == "In Progress":
        refuse(doing, "a clone from %s is under way there" % row["source"], "Wait until it ends, then run this again")
