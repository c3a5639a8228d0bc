# SPDX-License-Identifier: GPL-3.0-or-later
"""What mysql_read_only does: look, decide, fence or open."""

import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import fence as fencing
from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

POLL = 1.0


class ReadOnly(object):
    """The fence of one server, as the options want it.

    params: state, wait, blockers, timeout, parameter_group, await_parameter. Call look() first.
    """

    def __init__(self, server, session, params):
        self.server = server.identify(session)
        self.session = session
        self.params = params
        self.words = Dialect.for_server(server)
        self.on = params["state"] == "fenced"
        self.extra = {"ms": 0.0, "attempts": 0, "blockers": []}
        self.before = {}

    def look(self):
        """Read what is. Returns whether something must change."""
        self.before = self._now()
        right = self.before["fenced"] if self.on else not (self.before["read_only"] or self.before["super_read_only"])
        return not (right and (not self.words.persists or self.before["persisted"] == self._lasting()))

    def apply(self):
        """Fence or open the server."""
        if self._by_parameter():
            self._await_parameter()
        elif self.on:
            self._fence()
        else:
            fencing.unfence(self.server, self.session)

    def result(self, changed, done):
        """What the module returns. done: whether apply() ran."""
        after = self._now() if done else dict(self.before, **(self._wanted() if changed else {}))
        remedy = fencing.parameter_remedy(self.on, self.params["parameter_group"])
        return dict(
            after,
            changed=changed,
            diff={"before": self._shown(self.before), "after": self._shown(after)},
            prepared_xa=self._xa(),
            remedy=remedy if changed and self._by_parameter() else "",
            **self.extra,
        )

    def _now(self):
        return dict(fencing.state(self.session), **fencing.persistence(self.session))

    def _wanted(self):
        both = {"read_only": self.on, "super_read_only": self.on and self.server.platform != "rds", "fenced": self.on}
        return dict(both, persisted=self._lasting())

    def _lasting(self):
        """What has to be persisted, so that the next start changes nothing."""
        if not self.words.persists:
            return {}
        return dict.fromkeys(("read_only", "super_read_only"), "ON" if self.on else "OFF")

    @staticmethod
    def _shown(values):
        return {name: values[name] for name in ("read_only", "super_read_only", "persisted")}

    def _by_parameter(self):
        return self.server.platform == "rds" and not self.words.has_procedure("read_only")

    def _xa(self):
        """Prepared XA branches; the account may not be allowed to see them (1401)."""
        try:
            return fencing.prepared_xa(self.session)
        except MySQLMigrationError as error:
            if error.code in (1401, 1227):
                return []
            raise

    def _await_parameter(self):
        """Wait until somebody's change of the parameter group has arrived, when that is wanted."""
        name = "fence" if self.on else "open"
        remedy = fencing.parameter_remedy(self.on, self.params["parameter_group"])
        if not self.params["await_parameter"]:
            raise MySQLMigrationError(
                "Failed to %s %s: on RDS read_only is a parameter of its DB parameter group. %s"
                % (name, self.server.where, remedy)
            )
        end = time.monotonic() + self.params["timeout"]
        while fencing.state(self.session)["fenced"] is not self.on:
            if time.monotonic() >= end:
                raise MySQLMigrationError(
                    "Failed to %s %s: read_only did not change in %s s. %s"
                    % (name, self.server.where, self.params["timeout"], remedy)
                )
            time.sleep(POLL)

    def _fence(self):
        self._no_xa(self.params["timeout"] if self.params["blockers"] == "wait" else 0)
        done = fencing.fence(
            self.server, self.session, self.params["wait"], self.params["timeout"], _POLICIES[self.params["blockers"]]
        )
        self.extra = {name: done[name] for name in ("ms", "attempts", "blockers")}
        left = self._xa()
        if left:
            raise MySQLMigrationError(
                "Failed to fence %s for good: it is fenced, but %d XA transactions were prepared meanwhile, and can be "
                "committed behind the fence (%s). XA ROLLBACK or XA COMMIT them."
                % (self.server.where, len(left), "; ".join(left))
            )

    def _no_xa(self, seconds):
        """Wait until no XA transaction is left that could be committed behind the fence, or end those that can be."""
        end = time.monotonic() + seconds
        while True:
            prepared, active = self._xa(), fencing.active_xa(self.session)
            if active and self.params["blockers"] == "kill":
                fencing.end_blockers(self.session, active)
                active = []
            if not prepared and not active:
                return
            if time.monotonic() >= end:
                raise MySQLMigrationError(
                    "Failed to fence %s: %d XA transactions are prepared and %d begun, and could be committed behind "
                    "the fence (%s). Let their applications end them, or XA ROLLBACK them, then run again."
                    % (
                        self.server.where,
                        len(prepared),
                        len(active),
                        "; ".join(prepared + ([fencing.describe(active)] if active else [])),
                    )
                )
            time.sleep(POLL)


def _end(session, found):
    fencing.end_blockers(session, found)


def _refuse(session, found):
    raise MySQLMigrationError(
        "Failed to fence %s: %s. Wait for the end, or give blockers: kill."
        % (session.server.where, fencing.describe(found))
    )


_POLICIES = {"wait": lambda session, found: None, "kill": _end, "fail": _refuse}
