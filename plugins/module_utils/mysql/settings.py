# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of a server that a migration changes for a while, and how long it keeps its binary log.

What was there before is returned in a form that restore() takes, so that exactly that comes back.
"""

import re

from ansible_collections.seamless.migration.plugins.module_utils.mysql import retention
from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Quoted, identifier

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
RETENTION = retention.RDS


class Settings(object):
    """The settings of one server. server, session: of it, identified."""

    def __init__(self, server, session):
        self.server = server
        self.session = session
        self.dialect = Dialect.for_server(server)
        self.rds = server.platform == "rds"

    # --- reading ---------------------------------------------------------------------------------------------------

    def value(self, name):
        """The global value of a variable, as the server writes it. Raises MySQLMigrationError when there is none."""
        if not NAME.match(name):
            raise MySQLMigrationError(
                "Failed to read the variable %r: that is no name of one. Give it in small letters." % name
            )
        row = self.session.row("SHOW GLOBAL VARIABLES WHERE Variable_name = %s", (name,))
        if row is None:
            raise MySQLMigrationError(
                "Failed to read the variable %s: %s (%s) has none of that name. Check its version."
                % (name, self.server.where, self.server.version_text)
            )
        return row["Value"]

    def _persisted(self, name):
        """What SET PERSIST has kept for a variable, or None."""
        if not self.dialect.persists:
            return None
        row = self.session.row(
            "SELECT VARIABLE_VALUE AS value FROM performance_schema.persisted_variables WHERE VARIABLE_NAME = %s",
            (name,),
        )
        return row["value"] if row else None

    def retention_hours(self):
        """For how many hours the binary log is kept, see retention.hours()."""
        return retention.hours(self.server, self.session)

    # --- deciding --------------------------------------------------------------------------------------------------

    def plan(self, wanted, retention_hours):
        """What has to change: list of changes, each {"name", "before": {"value", "persisted"}, "after"}.

        wanted: dict name -> value. retention_hours: int, at least so long; or None. Raises MySQLMigrationError.
        """
        changes = []
        for name, value in sorted(wanted.items()):
            changes += self._change(name, _text(value))
        return changes + (self._retention_change(retention_hours) if retention_hours else [])

    def _change(self, name, after):
        value = self.value(name)
        if _text(value).upper() == after.upper():
            return []
        if self.rds:
            raise MySQLMigrationError(
                "Failed to set %s on %s: on RDS it is a parameter. Set %s = %s in the parameter group of the instance, "
                "wait until it is in sync, and run again." % (name, self.server.where, name, after)
            )
        return [{"name": name, "before": {"value": value, "persisted": self._persisted(name)}, "after": after}]

    def _retention_change(self, hours):
        kept = self.retention_hours()
        if kept is not None and (kept == 0 and not self.rds or kept >= hours):
            return []
        if self.rds:
            now = retention.of_rds(self.server, self.session)
            return [{"name": RETENTION, "before": {"value": now, "persisted": None}, "after": hours}]
        name = retention.variable(self.session)[0]
        return [
            {
                "name": name,
                "before": {"value": self.value(name), "persisted": self._persisted(name)},
                "after": _text(retention.in_units(name, hours)),
            }
        ]

    def plan_back(self, before):
        """The changes that bring back what plan() told as `before`: dict name -> {"value", "persisted"}."""
        changes = []
        for name, was in sorted(before.items()):
            now = retention.of_rds(self.server, self.session) if name == RETENTION else self.value(name)
            persisted = None if name == RETENTION else self._persisted(name)
            if (now, persisted) != (was["value"], was["persisted"]):
                changes.append(
                    {
                        "name": name,
                        "before": {"value": now, "persisted": persisted},
                        "after": was["value"],
                        "persisted": was["persisted"],
                    }
                )
        return changes

    # --- writing ---------------------------------------------------------------------------------------------------

    def apply(self, change):
        """Make one change of plan() or plan_back()."""
        name, after = change["name"], change["after"]
        if name == RETENTION:
            hours = None if after is None else int(after)
            self.session.call(self.dialect.procedure("set_configuration"), (RETENTION, hours))
        elif "persisted" in change and change["persisted"] is None:
            self.session.run("SET GLOBAL %s = %s", (identifier(name), _number(after)))
            if self.dialect.persists:
                self.session.run("RESET PERSIST IF EXISTS %s", (identifier(name),))
        else:
            self.session.run(self.dialect.statement("set_variable").format("%s"), (identifier(name), _number(after)))


def _text(value):
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    return "" if value is None else str(value)


def _number(value):
    """Numbers go to the server as such: it refuses '2' for a variable that is one."""
    text = _text(value)
    return Quoted(text) if re.match(r"-?\d+\Z", text) else text
