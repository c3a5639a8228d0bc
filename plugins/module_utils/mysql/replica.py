# SPDX-License-Identifier: GPL-3.0-or-later
"""A replication channel: read, compared with what is wanted, and changed only where it differs.

ChannelPlan is the decision, made of plain values; statements are run by MySQLChannel, procedures by RdsChannel.
"""

import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError, told
from ansible_collections.seamless.migration.plugins.module_utils.mysql.receivers import followed, is_ours
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Quoted

POLL = 0.25
# polls without an error after which a channel that runs counts as running: what is purged shows right after the start
STEADY = 4
# polls in which an applier may stop by itself where it was to stop
ENDING = 8
# a receiver that meets one of these tries again by itself
RETRIED = (1040, 2002, 2003, 2005, 2006, 2013, 3032)
REFUSED_PROCEDURE = 1644
LONGEST_PASSWORD = 32

# setting -> (key of the channel as it is read, threads that must stand still to change it)
SETTINGS = {
    "source_host": ("source_host", "both"),
    "source_port": ("source_port", "both"),
    "source_user": ("source_user", "receiver"),
    "source_ssl": ("source_ssl_allowed", "receiver"),
    "source_ssl_ca": ("source_ssl_ca_file", "receiver"),
    "source_ssl_cert": ("source_ssl_cert", "receiver"),
    "source_ssl_key": ("source_ssl_key", "receiver"),
    "source_ssl_verify": ("source_ssl_verify_server_cert", "receiver"),
    "get_source_public_key": ("get_source_public_key", "receiver"),
    "source_delay": ("sql_delay", "applier"),
    "source_retry_count": ("source_retry_count", "receiver"),
    "source_connect_retry": ("connect_retry", "receiver"),
    "source_heartbeat_period": ("heartbeat_period", "receiver"),
    "auto_position": ("auto_position", "both"),
}
_YES_NO = ("source_ssl", "source_ssl_verify")
# what the procedures of RDS take; the rest is refused there
RDS_SETTINGS = ("source_host", "source_port", "source_user", "source_ssl", "source_delay", "auto_position")


def read_value(setting, channel):
    """The value of a setting as options have it, from a normalised channel."""
    value = channel.get(SETTINGS[setting][0])
    return value in ("Yes", "Ignored") if setting in _YES_NO else value


def wanted_settings(params, exists):
    """The settings that the options name: {setting: value}.

    With a host, the port is 3306 and the position is found by GTID when nothing else is said; a new channel uses TLS.
    """
    found = {name: params[name] for name in SETTINGS if params.get(name) is not None}
    if params.get("source_host"):
        found = dict({"source_port": 3306, "auto_position": True}, **found)
        if not exists:
            found.setdefault("source_ssl", True)
    return found


def is_foreign(channel, params, own_uuid):
    """Whether a channel follows another server than the partner that the options name. False without a partner."""
    if not channel or not params.get("partner"):
        return False
    host = params.get("source_host")
    at = (host, params.get("source_port") or 3306) if host else None
    return not is_ours(channel, (params["partner"].lower(), own_uuid), at, [params.get("source_user")])


class ChannelPlan(object):
    """What has to be done to a channel.

    channel: normalised row, or None when there is none. params: options of the module. password_known: what the server
    keeps as the password, None when it cannot be read. reached: whether the set of start_until is executed. foreign:
    whether it follows a server that is none of the migration's; then it is left alone.
    Afterwards: before, after (settings), change ({setting: value}), password (whether it is set), stop and start
    ("", "receiver", "applier", "both"), remove (bool).
    """

    def __init__(self, channel, params, password_known=None, reached=False, foreign=False):
        self.channel = channel
        self.foreign = foreign
        self.params = params
        self.state = params["state"]
        self.exists = channel is not None
        self.reached = reached
        self.wanted = wanted_settings(params, self.exists) if params.get("source_host") or self.exists else {}
        self.before = {name: read_value(name, channel) for name in SETTINGS} if channel else {}
        self.change = {} if self.state == "absent" else self._differing()
        self.password = self.state != "absent" and self._password_differs(password_known)
        self.remove = self.state == "absent" and self.exists and not foreign
        self.receiver = self.exists and channel["replica_io_running"] != "No"
        self.applier = self.exists and channel["replica_sql_running"] != "No"
        # it waits, a minute by default, to try again what may be mended by now
        self.stuck = self.receiver and channel["replica_io_running"] != "Yes" and bool(channel["last_io_errno"])
        self.stop = self._stopped()
        self.start = self._started()

    @property
    def after(self):
        """The settings as they will be."""
        return {} if self.remove else dict(self.before, **self.change)

    @property
    def changes_settings(self):
        return bool(self.change or self.password)

    @property
    def differs(self):
        return bool(self.changes_settings or self.remove or self.stop or self.start)

    def _differing(self):
        return {name: value for name, value in self.wanted.items() if self.before.get(name) != value}

    def _password_differs(self, known):
        policy, password = self.params["update_password"], self.params.get("source_password")
        if password is None or not (self.exists or self.wanted):
            return False
        if not self.exists or policy == "always":
            return True
        if policy == "on_create":
            return False
        if known is not None:
            return known != password
        denied = self.channel["last_io_errno"] == 1045
        return bool(denied or {"source_host", "source_port", "source_user"} & set(self.change))

    def _stopped(self):
        """Which threads have to be stopped: only those that run and are in the way."""
        if self.foreign:
            return ""
        if self.state in ("absent", "stopped"):
            needed = {"receiver", "applier"}
        else:
            needed = {SETTINGS[name][1] for name in self.change} | ({"receiver"} if self.password else set())
            needed |= {"receiver"} if self.state == "started" and self.stuck else set()
            needed = {"receiver", "applier"} if "both" in needed else needed
        running = {"receiver"} if self.receiver else set()
        running |= {"applier"} if self.applier else set()
        threads = needed & running
        return "both" if len(threads) == 2 else "".join(threads)

    def _started(self):
        """Which threads are started: those wanted, or those that were stopped for a change."""
        if self.state == "present":
            return self.stop
        if self.state != "started" or (self.reached and not self.stop):
            return ""
        return "both" if self.stop or not (self.receiver and self.applier) or self.params.get("start_until") else ""

    def steps(self):
        """What is done, in words, in its order."""
        both = {"both": "receiver and applier"}
        names = sorted(self.change) + (["source_password"] if self.password else [])
        found = []
        if self.stop:
            found.append("stop %s" % both.get(self.stop, self.stop))
        if names:
            found.append("%s channel: %s" % ("change" if self.exists else "make", ", ".join(names)))
        if self.remove:
            found.append("remove channel")
        if self.start:
            found.append("start %s" % both.get(self.start, self.start))
        return found


class Channel(object):
    """A channel of one server, by statements."""

    def __init__(self, server, session, name="", timeout=60):
        self.server = server.identify(session)
        self.session = session
        self.name = name
        self.timeout = timeout
        self.words = Dialect.for_server(server)

    @property
    def what(self):
        """As messages name it."""
        what = "channel %r" % self.name if self.name else "replication"
        return "%s on %s" % (what, self.server.where)

    # -- reading

    def read(self):
        """The channel, normalised, with heartbeat_period; None when there is none."""
        try:
            row = self.session.row(self.words.statement("show_channel_status"), (self.name,))
        except MySQLMigrationError as error:
            if error.code == 3074:  # ER_REPLICA_CHANNEL_DOES_NOT_EXIST
                return None
            raise
        channel = self.words.normalise_channel(row) if row else None
        if not channel or not channel["source_host"]:
            return None
        period = self.session.value(
            "SELECT HEARTBEAT_INTERVAL FROM performance_schema.replication_connection_configuration"
            " WHERE CHANNEL_NAME = %s",
            (self.name,),
        )
        channel["heartbeat_period"] = None if period is None else float(period)
        return channel

    def password(self):
        """The password that the server keeps for the channel, or None where it cannot be read.

        It travels only to here: a comparison on the server would show the wanted one in the list of processes.
        """
        try:
            kept = self.session.value(
                "SELECT User_password FROM mysql.slave_master_info WHERE Channel_name = %s", (self.name,)
            )
        except MySQLMigrationError:
            return None
        return kept.decode("utf-8", "replace") if isinstance(kept, bytes) else kept

    def errors(self, channel):
        """What went wrong: [{"thread", "code", "text", "meaning_and_advice"}], those of the applier's workers too."""
        found = []
        if channel["last_io_errno"]:
            found.append(("receiver", channel["last_io_errno"], channel["last_io_error"]))
        if channel["last_sql_errno"]:
            found.append(("applier", channel["last_sql_errno"], channel["last_sql_error"]))
            rows = self.session.rows(
                "SELECT LAST_ERROR_NUMBER AS code, LAST_ERROR_MESSAGE AS text"
                " FROM performance_schema.replication_applier_status_by_worker"
                " WHERE CHANNEL_NAME = %s AND LAST_ERROR_NUMBER <> 0",
                (self.name,),
            )
            found[-1:] = [("applier", int(row["code"]), row["text"]) for row in rows] or found[-1:]
        return [{"thread": one, "code": code, "text": text, "told": told(code, text)} for one, code, text in found]

    # -- changing

    def check(self, plan):
        """Refuse what would fail half-way, before anything is touched. Raises MySQLMigrationError."""
        if plan.foreign and plan.state != "absent":
            raise MySQLMigrationError(
                "Failed to set up %s: channel '%s' there follows %s, which is not the other server of the migration, "
                "and would be taken from it. Use a channel of another name (channel; with the role mysql_replication "
                "its variables mysql_replication_forward_channel and mysql_replication_reverse_channel), or remove "
                "that one when nobody needs it any more (mysql_replica with state: absent). Nothing was changed."
                % (self.what, self.name, followed(plan.channel))
            )
        password = plan.params.get("source_password")
        if plan.changes_settings and password and len(password) > LONGEST_PASSWORD:
            raise MySQLMigrationError(
                "Failed to set up %s: source_password has %d characters, and replication takes at most %d. Give the "
                "account a shorter one." % (self.what, len(password), LONGEST_PASSWORD)
            )
        if plan.state != "absent" and not plan.exists and not plan.wanted.get("source_host"):
            if plan.state == "stopped":
                return
            raise MySQLMigrationError("Failed to find %s: there is none. Give source_host to make it." % self.what)
        lacking = [name for name in plan.change if self.words.setting(name) is None]
        if lacking:
            raise MySQLMigrationError(
                "Failed to set up %s: version %s has no %s. Use TLS (source_ssl) instead, or leave it out."
                % (self.what, self.server.version_text, ", ".join(lacking))
            )

    def apply(self, plan):
        """Do what the plan says."""
        if plan.stop:
            self.stop(plan.stop)
        if plan.changes_settings:
            self._change_or_go_on(plan)
        if plan.remove:
            self.remove()
        until = plan.params.get("start_until")
        if plan.start and until:
            self.reach(until, plan)
        elif plan.start:
            self.start(plan.start)
            self.await_running(plan.start, plan.after.get("source_connect_retry") or 60)

    def _change_or_go_on(self, plan):
        """Change the settings; what was stopped for a change that the server refuses runs again."""
        try:
            self.change(plan)
        except MySQLMigrationError:
            if plan.stop and plan.state != "stopped":
                self.start(plan.stop)
            raise

    def reach(self, until, plan):
        """Run the applier up to a set. One that runs already does not look at the end that it is given."""
        if plan.applier and plan.stop not in ("both", "applier"):
            self.stop("applier")
        self.start_until(until)
        self.await_set(until)
        self._end_applier()

    def _end_applier(self):
        """See that the applier stands at the end that it was given. One of several threads sees that it is there only
        when the next event comes; it is stopped when it does not stop by itself."""
        if not self._stands():
            self.stop("applier")

    def _stands(self):
        """Whether the applier stops within some seconds."""
        for _again in range(ENDING):
            channel = self.read()
            if not channel or channel["replica_sql_running"] == "No":
                return True
            time.sleep(POLL)
        return False

    def change(self, plan):
        """CHANGE ... TO what differs."""
        values = dict(plan.change)
        if {"source_host", "source_port"} & set(values):
            # a new source resets what is known of the position in the old one
            values.setdefault("auto_position", plan.after.get("auto_position", True))
        names = [name for name in SETTINGS if name in values]
        places = ["%s = %%s" % self.words.setting(name) for name in names]
        arguments = [_literal(values[name]) for name in names]
        secret = ()
        if plan.password:
            places.append("%s = %%s" % self.words.setting("source_password"))
            secret = (len(arguments),)
            arguments.append(plan.params["source_password"])
        statement = self.words.statement("change_source").format(", ".join(places))
        self.session.run(statement, tuple(arguments) + (self.name,), secret=secret)

    def stop(self, threads="both"):
        """Stop what runs and wait until it stands."""
        name = {"both": "stop_replica", "receiver": "stop_receiver", "applier": "stop_applier"}[threads]
        self.session.run(self.words.statement(name), (self.name,))

    def start(self, threads="both"):
        name = {"both": "start_replica", "receiver": "start_receiver", "applier": "start_applier"}[threads]
        self.session.run(self.words.statement(name), (self.name,))

    def remove(self):
        self.session.run(self.words.statement("reset_replica_all"), (self.name,))

    def start_until(self, wanted):
        """Start the applier until it has executed the set."""
        self.session.run(self.words.statement("start_replica_until"), (wanted, self.name))

    # -- waiting

    def await_running(self, threads="both", connect_retry=60):
        """Wait until the threads run and go on running. Raises MySQLMigrationError with what the server says."""
        end = time.monotonic() + self.timeout
        steady = 0
        while steady < STEADY:
            channel = self.read()
            if channel is None:
                raise MySQLMigrationError("Failed to start %s: the channel is gone. Look who removes it." % self.what)
            errors = self.errors(channel)
            self._give_up(errors, end, connect_retry)
            steady = steady + 1 if _runs(channel, threads) and not errors else 0
            if time.monotonic() >= end:
                raise MySQLMigrationError(
                    "Failed to start %s: it did not run after %s s (receiver %s, applier %s). %s"
                    % (
                        self.what,
                        self.timeout,
                        channel["replica_io_running"],
                        channel["replica_sql_running"],
                        errors[0]["told"] if errors else "Look into the server's error log.",
                    )
                )
            time.sleep(POLL)

    def _give_up(self, errors, end, connect_retry):
        """Raise at once what does not go away by itself before the time is over."""
        for error in errors:
            again = error["thread"] == "receiver" and error["code"] in RETRIED
            if again and time.monotonic() + connect_retry < end:
                continue
            raise MySQLMigrationError(
                "Failed to start %s: the %s says: %s" % (self.what, error["thread"], error["told"]),
                error["code"],
                error["text"],
            )

    def await_set(self, wanted):
        """Wait until the set is executed. Raises MySQLMigrationError with what the server says."""

        def check():
            channel = self.read()
            for error in self.errors(channel) if channel else ():
                raise MySQLMigrationError(
                    "Failed to replicate up to %s on %s: the %s says: %s"
                    % (wanted, self.what, error["thread"], error["told"]),
                    error["code"],
                    error["text"],
                )
            if not channel or channel["replica_sql_running"] == "No":
                if gtid.is_subset(self.session, wanted, gtid.executed(self.session)):
                    return
                raise MySQLMigrationError(
                    "Failed to replicate up to %s: the applier of %s stopped before. Look into the server's error log."
                    % (wanted, self.what)
                )

        if not gtid.wait(self.session, wanted, self.timeout, check):
            raise MySQLMigrationError(
                "Failed to replicate up to %s on %s: it was not there after %s s. Give more timeout, or look whether "
                "the source has it." % (wanted, self.what, self.timeout)
            )


class RdsChannel(Channel):
    """A channel of an RDS instance, by its procedures, which answer with errors of their own and may be wrong."""

    def check(self, plan):
        Channel.check(self, plan)
        refused = sorted(set(plan.wanted) - set(RDS_SETTINGS))
        if refused:
            raise MySQLMigrationError(
                "Failed to set up %s: the procedures of RDS take no %s. Leave it out." % (self.what, ", ".join(refused))
            )
        if plan.wanted.get("auto_position") is False:
            raise MySQLMigrationError(
                "Failed to set up %s: without auto_position RDS needs the name of a binary log and a position, which "
                "this module does not handle. Turn GTIDs on at the source first." % self.what
            )
        if plan.changes_settings:
            given = {"source_user": plan.after.get("source_user"), "source_password": plan.params["source_password"]}
            missing = sorted(name for name, value in given.items() if not value)
            if missing:
                raise MySQLMigrationError(
                    "Failed to set up %s: the procedures of RDS take all settings at once, and %s is not given. Give "
                    "it." % (self.what, " and ".join(missing))
                )
            self.words.procedure("set_source", self.name)

    def stop(self, threads="both"):
        try:
            self._call("stop")
        except MySQLMigrationError as error:
            # "already stopped", or it looked before the threads stood: what counts is what is read
            if error.code != REFUSED_PROCEDURE:
                raise
        end = time.monotonic() + self.timeout
        while True:
            channel = self.read()
            if channel is None or channel["replica_io_running"] == channel["replica_sql_running"] == "No":
                return
            if time.monotonic() >= end:
                raise MySQLMigrationError(
                    "Failed to stop %s: it still runs after %s s. Look at SHOW REPLICA STATUS."
                    % (self.what, self.timeout)
                )
            time.sleep(POLL)

    def change(self, plan):
        """Everything at once, as the procedure wants it. The password goes through a variable of the session, so that
        the list of processes does not show it while the procedure runs."""
        after = plan.after
        self.session.run("SET @seamless_password = %s", (plan.params["source_password"],), secret=(0,))
        arguments = [after["source_host"], after["source_port"], after["source_user"], Quoted("@seamless_password")]
        arguments += [int(after.get("source_ssl", True)), after.get("source_delay") or 0]
        try:
            self._call("set_source", arguments)
        finally:
            self.session.run("SET @seamless_password = NULL")

    def start(self, threads="both"):
        """Its refusal is no news: threads that connect slowly count as broken there. await_running decides."""
        try:
            self._call("start")
        except MySQLMigrationError as error:
            if error.code != REFUSED_PROCEDURE:
                raise

    def remove(self):
        self._call("reset")

    def start_until(self, wanted):
        self._call("start_until", [wanted])

    def _end_applier(self):
        """It has one thread there, which stops by itself; the procedure that stops would stop the receiver too."""
        self._stands()

    def _call(self, name, arguments=()):
        last = [self.name] if self.name else []
        self.session.call(self.words.procedure(name, self.name), list(arguments) + last)


def channel_of(server, session, name="", timeout=60):
    """The Channel for the server's platform."""
    server.identify(session)
    return (RdsChannel if server.platform == "rds" else Channel)(server, session, name, timeout)


def _literal(value):
    return int(value) if isinstance(value, bool) else value


def _runs(channel, threads):
    keys = {"receiver": ["replica_io_running"], "applier": ["replica_sql_running"]}
    return all(channel[key] == "Yes" for key in keys.get(threads, ["replica_io_running", "replica_sql_running"]))
