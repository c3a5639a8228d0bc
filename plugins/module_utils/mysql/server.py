# SPDX-License-Identifier: GPL-3.0-or-later
"""A server of MySQL: connections to it, and what it is.

Values go into statements through arguments only (`session.rows("SELECT %s", (value,))`), names of schemas, tables and
columns through `identifier`, which may be an argument too. Every statement is kept in `Server.queries`, with secrets
masked; statements that only read are kept once, however often they are repeated.
"""

import os
import re
import threading
import traceback

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError, server_error

try:
    import pymysql
    import pymysql.charset
    import pymysql.cursors

    LIBRARY_ERROR = None
except ImportError:
    LIBRARY_ERROR = traceback.format_exc()

MASK = "********"
OLDEST = (5, 7, 6)
_PLACE = re.compile(r"%s|%\((\w+)\)s|%%")
_READS = re.compile(r"\s*(SELECT|SHOW|XA RECOVER)\b", re.IGNORECASE)


class Quoted(str):
    """Text that is part of the statement as it stands: a quoted identifier."""


def identifier(name):
    """A name of a schema, table, column or variable, quoted. Returns a str that may be pasted or given as argument."""
    return Quoted("`%s`" % name.replace("`", "``"))


def version_of(text):
    """The numbers of VERSION(): "8.0.35-rds.20231113" is (8, 0, 35). Returns a tuple of three ints."""
    found = re.match(r"(\d+)\.(\d+)\.?(\d*)", text)
    if not found:
        raise MySQLMigrationError("Failed to read the version %r. Report this." % text)
    return tuple(int(number or 0) for number in found.groups())


def library_arguments(options):
    """What PyMySQL wants for the connection options. Returns a dictionary of keyword arguments for its connect."""
    password = options.get("login_password")
    arguments = {
        "host": options.get("login_host"),
        "port": options.get("login_port") or 0,
        "user": options.get("login_user"),
        # PyMySQL writes a str as latin1; the server keeps passwords as utf8
        "password": password.encode("utf-8") if password else "",
        "unix_socket": options.get("login_unix_socket"),
        "connect_timeout": options.get("connect_timeout") or 10,
        "charset": "utf8mb4",
        "autocommit": True,
        "init_command": "SET SESSION time_zone = '+00:00'",
    }
    if options.get("config_file"):
        arguments["read_default_file"] = options["config_file"]
    names = (("ca", "ca_cert"), ("cert", "client_cert"), ("key", "client_key"))
    ssl = {theirs: options[ours] for theirs, ours in names if options.get(ours)}
    if ssl:
        if options.get("check_hostname") is not None:
            ssl["check_hostname"] = options["check_hostname"]
        arguments["ssl"] = ssl
    return arguments


def _connect(**arguments):
    return pymysql.connect(cursorclass=pymysql.cursors.DictCursor, **arguments)


class Server(object):
    """A server and how it is reached. Does not connect by itself.

    options: dictionary of the connection options, and `platform`. name: what messages call it ("source", "target").
    After identify(): version (tuple), version_text, flavour ("mysql", "percona", "rds"), uuid, server_id, platform
    ("mysql", "rds"), procedures (names of the mysql.rds_* procedures that this account may call).
    """

    def __init__(self, options, name="server", connect=_connect):
        self.options = dict(options)
        self.name = name
        self.queries = []
        self.version = None
        self.version_text = None
        self.flavour = None
        self.uuid = None
        self.server_id = None
        self.platform = None
        self.procedures = frozenset()
        self._connect = connect
        self._lock = threading.Lock()
        self._read = set()

    identifier = staticmethod(identifier)

    @property
    def where(self):
        """The server as messages name it: "source db1.example.com port 3306"."""
        if self.options.get("login_unix_socket"):
            return "%s %s" % (self.name, self.options["login_unix_socket"])
        host = self.options.get("login_host") or "localhost"
        return "%s %s port %d" % (self.name, host, self.options.get("login_port") or 3306)

    def session(self, read_timeout=30, database=None):
        """A new connection with autocommit and time_zone '+00:00'. Raises MySQLMigrationError.

        read_timeout: seconds that an answer may take; after that the statement may still run on the server, see
        Session.kill. database: default schema.
        """
        return Session(self, self.connection(read_timeout, database), read_timeout)

    def connection(self, read_timeout=30, database=None):
        """The connection of PyMySQL for a session. Raises MySQLMigrationError."""
        if LIBRARY_ERROR:
            raise MySQLMigrationError("Failed to connect to %s: PyMySQL is missing. Install it." % self.where)
        config_file = self.options.get("config_file")
        if config_file and not os.path.isfile(os.path.expanduser(config_file)):
            raise MySQLMigrationError(
                "Failed to connect to %s: there is no file %s. Give the right config_file." % (self.where, config_file)
            )
        doing = "connect to %s as %s" % (self.where, self.options.get("login_user") or "the default user")
        arguments = dict(library_arguments(self.options), read_timeout=read_timeout, database=database)
        try:
            return self._connect(**arguments)
        except pymysql.err.MySQLError as error:
            raise server_error(doing, *_told_by(error)) from None
        except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
            raise server_error(doing, 0, error) from None

    def identify(self, session):
        """Read who the server is, once. Refuses MariaDB and servers before 5.7.6 by name. Returns self."""
        if self.version is not None:
            return self
        row = session.row("SELECT VERSION() AS version, @@version_comment AS comment")
        _refuse_others(self.where, row["version"], row["comment"] or "")
        who = session.row("SELECT @@server_uuid AS uuid, @@server_id AS id, @@basedir AS basedir")
        self.procedures = frozenset(
            line["name"]
            for line in session.rows(
                "SELECT ROUTINE_NAME AS name FROM information_schema.ROUTINES"
                " WHERE ROUTINE_SCHEMA = 'mysql' AND ROUTINE_NAME LIKE 'rds%'"
            )
        )
        self.version_text = row["version"]
        self.uuid = who["uuid"].lower()
        self.server_id = int(who["id"])
        self.platform = self.options.get("platform") or "auto"
        if self.platform == "auto":
            is_rds = "rds_start_replication" in self.procedures or "/rdsdbbin/" in (who["basedir"] or "")
            self.platform = "rds" if is_rds else "mysql"
        percona = "percona" in (row["comment"] or "").lower()
        self.flavour = "rds" if self.platform == "rds" else "percona" if percona else "mysql"
        self.version = version_of(row["version"])
        return self

    def record(self, statement):
        """Keep a statement (secrets already masked) in `queries`."""
        with self._lock:
            if _READS.match(statement):
                if statement in self._read:
                    return
                self._read.add(statement)
            self.queries.append(statement)

    def end_connection(self, session, number):
        """KILL the connection `number` with this session; on RDS by its procedure, which may end those of others.

        Returns False when it was gone already.
        """
        try:
            if self.platform == "rds" and "rds_kill" in self.procedures:
                session.call("mysql.rds_kill", (int(number),))
            else:
                session.run("KILL CONNECTION %s", (int(number),))
        except MySQLMigrationError as error:
            if error.code == 1094 or "1094" in error.server_text:
                return False
            raise
        return True


def _told_by(error):
    """Number and text of an error of PyMySQL."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = error.args[1] if len(error.args) > 1 else (error.args[0] if error.args else error)
    return code, str(text)


def _refuse_others(where, version, comment):
    if "mariadb" in version.lower() or "mariadb" in comment.lower():
        raise MySQLMigrationError(
            "Failed to use %s: it is MariaDB (%s), whose GTIDs (domain-server-number) are others than those of MySQL, "
            "so that neither can follow the other by GTID. Use MySQL, Percona Server or RDS for MySQL on both sides."
            % (where, version)
        )
    if version_of(version) < OLDEST:
        raise MySQLMigrationError(
            "Failed to use %s: it is MySQL %s, which cannot turn GTIDs on while it runs. Upgrade it to 5.7 or later "
            "first." % (where, version)
        )


class Session(object):
    """One connection. A context manager; leaving it ends the connection.

    id: the connection's number on the server. read_timeout: seconds that an answer may take.
    """

    def __init__(self, server, connection, read_timeout=None):
        self.server = server
        self.id = connection.thread_id()
        self.read_timeout = read_timeout
        self._connection = connection

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def rows(self, sql, args=None, secret=()):
        """The rows of the first result set, as a list of dictionaries."""
        return self._run(sql, args, secret)[0]

    def row(self, sql, args=None):
        """The first row, or None."""
        rows = self.rows(sql, args)
        return rows[0] if rows else None

    def value(self, sql, args=None):
        """The first column of the first row, or None."""
        row = self.row(sql, args)
        return next(iter(row.values())) if row else None

    def run(self, sql, args=None, secret=(), charset=None):
        """Run a statement and read whatever it returns. Returns the number of affected rows.

        secret: positions (or names) of the args that must not be seen in `queries` and errors. charset: the server's
        name of the character set in which the statement is sent, where the session's character_set_client was changed.
        """
        return self._run(sql, args, secret, charset=charset)[1]

    def call(self, procedure, args=(), secret=()):
        """CALL a procedure ("mysql.rds_start_replication"). Returns the rows of all its result sets."""
        name = ".".join(identifier(part) for part in procedure.split("."))
        return self._run("CALL %%s(%s)" % ", ".join(["%s"] * len(args)), (Quoted(name),) + tuple(args), secret, 1)[0]

    def close(self):
        """End the connection. Never raises."""
        try:
            self._connection.close()
        except Exception:  # PyMySQL raises on one that is broken or closed; either way it is gone
            pass

    def kill(self):
        """End this connection from another one, and what it runs: after a timeout the server still works on it.

        Returns False when it was gone already.
        """
        with self.server.session(read_timeout=10) as other:
            ended = self.server.end_connection(other, self.id)
        self.close()
        return ended

    def _run(self, sql, args, secret, skip=0, charset=None):
        """Returns (rows, affected). skip: how many args stand before those that `secret` counts."""
        positions = {one + skip if isinstance(one, int) else one for one in secret}
        shown = self._text(sql, args, positions)
        self.server.record(shown)
        try:
            with self._connection.cursor() as cursor:
                affected = cursor.execute(_sent(self._text(sql, args), charset))
                rows = list(cursor.fetchall())
                while cursor.nextset():
                    more = list(cursor.fetchall())
                    rows += more if skip else []
        except (pymysql.err.MySQLError, OSError, ValueError) as error:
            code, text = _told_by(error)
            if positions:
                text = _without(text, [value for place, value in _places(args) if place in positions])
            raise server_error("run %s on %s" % (_short(shown), self.server.where), code, text) from None
        return rows, affected

    def _text(self, sql, args, masked=()):
        """The statement with its args; those whose position or name is in masked are not shown."""
        if args is None:
            return sql
        values = dict(_places(args))
        count = iter(range(len(values)))

        def put(found):
            if found.group(0) == "%%":
                return "%"
            place = found.group(1) or next(count)
            value = values[place]
            if place in masked:
                return "'%s'" % MASK
            return value if isinstance(value, Quoted) else self._connection.cursor().mogrify("%s", (value,))

        text = _PLACE.sub(put, sql)
        if not isinstance(args, dict) and next(count, None) is not None:
            raise TypeError("more arguments than places in %s" % sql)
        return text


def _sent(statement, charset):
    """The statement as it is given to the library: text, or its bytes in a character set other than the usual one."""
    if charset in (None, "utf8mb4") or not re.search("[^\x00-\x7f]", statement):
        return statement
    known = pymysql.charset.charset_by_name(charset)
    if known is None:
        raise ValueError("its character set %s is not known here" % charset)
    return statement.encode(known.encoding)


def _places(args):
    return list(args.items() if isinstance(args, dict) else enumerate(args or ()))


def _short(statement):
    line = " ".join(statement.split())
    return line if len(line) <= 160 else line[:157] + "..."


def _without(text, secrets):
    """The server's text without secrets; a syntax error quotes the statement, so that part goes altogether."""
    text = re.sub(r" near '.*", "", text, flags=re.DOTALL)
    for secret in secrets:
        text = text.replace(str(secret), MASK) if secret not in (None, "") else text
    return text
