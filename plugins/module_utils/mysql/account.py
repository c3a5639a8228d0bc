# SPDX-License-Identifier: GPL-3.0-or-later
"""The account by which one server replicates from the other, and those that have to come along."""

import re

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.guardrails import (
    LOCAL_HOSTS,
    LOCAL_USERS,
    SYSTEM_USERS,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Quoted, Server

GRANT = "GRANT REPLICATION SLAVE ON *.* TO %s@%s"
GLOBAL_GRANT = re.compile(r"GRANT (.+?) ON \*\.\* TO (.+)\Z", re.DOTALL)
# What tells that the login failed because of user, password or host; 3118 is a locked account.
REFUSED = (1044, 1045, 1698, 3118)


class Account(object):
    """One account. server, session: of the server, identified. params: user, host, password, require_ssl."""

    def __init__(self, server, session, params):
        self.server = server
        self.session = session
        self.name = (params["user"], params["host"])
        self.password = params["password"]
        self.require_ssl = params["require_ssl"]

    def read(self):
        """What is there: dict exists, require_ssl, grants (bool: it may replicate), locked."""
        row = self.session.row(
            "SELECT ssl_type AS ssl_type, Repl_slave_priv AS repl, account_locked AS locked FROM mysql.user"
            " WHERE User = %s AND Host = %s",
            self.name,
        )
        if row is None:
            return {"exists": False, "require_ssl": False, "grants": False, "locked": False}
        kind = row["ssl_type"]
        kind = kind.decode("ascii") if isinstance(kind, bytes) else kind
        return {
            "exists": True,
            "require_ssl": bool(kind),
            "grants": row["repl"] == "Y",
            "locked": row["locked"] == "Y",
        }

    def password_fits(self):
        """Whether the password is right, found out by logging in: True, or False; None when that cannot be told."""
        options = dict(
            self.server.options,
            login_user=self.name[0],
            login_password=self.password,
            config_file=None,
            client_cert=None,
            client_key=None,
        )
        try:
            Server(options, self.server.name).session(read_timeout=10).close()
        except MySQLMigrationError as error:
            if error.code not in REFUSED:
                return None
            return False if self.name[1] == "%" else None
        return True

    def wanted(self):
        """What read() returns when the account is as it should be."""
        return {"exists": True, "require_ssl": self.require_ssl, "grants": True, "locked": False}

    def make(self, now, new_password):
        """Bring the account from `now` (see read) to wanted(). new_password: bool, whether to set the password."""
        required = "SSL" if self.require_ssl else "NONE"
        values = self.name + (self.password,)
        if not now["exists"]:
            self.session.run("CREATE USER %s@%s IDENTIFIED BY %s REQUIRE " + required, values, secret=(2,))
        elif new_password:
            self.session.run(
                "ALTER USER %s@%s IDENTIFIED BY %s REQUIRE " + required + " ACCOUNT UNLOCK", values, secret=(2,)
            )
        elif (now["require_ssl"], now["locked"]) != (self.require_ssl, False):
            self.session.run("ALTER USER %s@%s REQUIRE " + required + " ACCOUNT UNLOCK", self.name)
        if not now["grants"]:
            self.session.run(GRANT, self.name)

    def remove(self):
        """Drop it."""
        self.session.run("DROP USER %s@%s", self.name)


# --- accounts that only the source has ---------------------------------------------------------------------------


class Missing(object):
    """Accounts of the source that the target lacks.

    They are made by saying on the source once more what it has: CREATE USER IF NOT EXISTS and GRANT change nothing
    there, are written to its binary log all the same, and so reach the target without a transaction of its own, also
    while it is fenced (measured on 9.7).
    """

    def __init__(self, source, target, exclude=()):
        self.source = source
        self.target = target
        self.exclude = set(exclude)
        self.left_out = []

    def names(self):
        """The accounts as list of (user, host): those first that are granted to others as roles."""
        there = {(row["user"], row["host"]) for row in self._accounts(self.target)}
        plugins = {
            row["name"]
            for row in self.target.rows(
                "SELECT PLUGIN_NAME AS name FROM information_schema.PLUGINS"
                " WHERE PLUGIN_TYPE = 'AUTHENTICATION' AND PLUGIN_STATUS = 'ACTIVE'"
            )
        }
        found = []
        for row in self._accounts(self.source):
            name = (row["user"], row["host"])
            if name in there or not self._moves(*name):
                continue
            if row["plugin"] in plugins:
                found.append(name)
            else:
                self.left_out.append("%s@%s: the target has no plugin %s" % (name[0], name[1], row["plugin"]))
        roles = self._roles()
        return sorted(found, key=lambda name: (name not in roles, name))

    def _moves(self, user, host):
        if user in SYSTEM_USERS or user in self.exclude:
            return False
        return not (user in LOCAL_USERS and host in LOCAL_HOSTS)

    @staticmethod
    def _accounts(session):
        return session.rows("SELECT User AS user, Host AS host, plugin FROM mysql.user ORDER BY User, Host")

    def _roles(self):
        if self.source.server.version < (8, 0, 0):
            return set()
        rows = self.source.rows("SELECT DISTINCT FROM_USER AS user, FROM_HOST AS host FROM mysql.role_edges")
        return {(row["user"], row["host"]) for row in rows}

    def announce(self, names):
        """Say on the source what it has of these accounts. What the target would not understand goes to left_out."""
        if self.source.server.version >= (8, 0, 17):
            self.source.run("SET SESSION print_identified_with_as_hex = 1")
        known = {row["Privilege"].upper() for row in self.target.rows("SHOW PRIVILEGES")}
        for name in names:
            made = self.source.value("SHOW CREATE USER %s@%s", name)
            rest = re.sub(r"\ACREATE USER ", "", made)
            self.source.run("CREATE USER IF NOT EXISTS %s", (Quoted(rest),), secret=(0,))
        for name in names:
            for row in self.source.rows("SHOW GRANTS FOR %s@%s", name):
                self._grant(name, next(iter(row.values())), known)

    def _grant(self, name, statement, known):
        found = GLOBAL_GRANT.match(statement)
        if found:
            privileges = [one.strip() for one in found.group(1).split(",")]
            strange = [one for one in privileges if one.upper() not in known | {"ALL PRIVILEGES", "USAGE"}]
            if strange:
                self.left_out.append("%s@%s: the target has no privilege %s" % (name + (", ".join(strange),)))
                privileges = [one for one in privileges if one not in strange]
            if not privileges:
                return
            statement = "GRANT %s ON *.* TO %s" % (", ".join(privileges), found.group(2))
        try:
            self.source.run("%s", (Quoted(re.sub(r" IDENTIFIED BY PASSWORD \S+", "", statement)),))
        except MySQLMigrationError as error:
            self.left_out.append("%s@%s: %s: %s" % (name + (statement.split(" TO ")[0], error.server_text)))
