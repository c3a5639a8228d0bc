# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module mysql_seed does with its options."""

import contextlib
import os
import shutil
import tempfile
import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import (
    gtid,
    seed_clone,
    seed_dump,
    seed_facts,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.seed_facts import Side, refuse
from ansible_collections.seamless.migration.plugins.module_utils.mysql.seed_target import Target, without_binary_log
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server

METHODS = ("clone", "dump", "none")
_QUIET_TRIES = 5
# As long as servers take it, in seconds: some end a connection that is silent for ten minutes.
_IDLE = 31536000


def check(params):
    """Refuse what cannot be right. Raises MySQLMigrationError."""
    seed_dump.check_options(params["dump_options"])
    for name, least, most in (("timeout", 1, 864000), ("bwlimit_kib_per_s", 0, 10 ** 9), ("lock_wait", 1, 3600)):
        if not least <= params[name] <= most:
            raise MySQLMigrationError("Failed to use the option %s: %d is not within %d to %d. Give one that is."
                                      % (name, params[name], least, most))


class Work(object):
    """One run. params: the options of the module. tell: function of a dict, for progress."""

    def __init__(self, params, tell=lambda progress: None, connect=None):
        check(params)
        self._params = params
        self._tell = tell
        more = {"connect": connect} if connect else {}
        self.source, self.target = (Server(params[side], side, **more) for side in ("source", "target"))
        self._notes = []
        self._finish_only = self._donor_left = False

    def queries(self):
        return self.source.queries + self.target.queries

    # --- before anything is changed ---

    def look(self):
        """Read both servers and refuse what must not begin. Returns a dict, that of check mode."""
        facts = self._look()
        before = self._sides[1].schemas
        after = set(before) - set(facts["dropped"]) | (set() if facts["already"] else set(facts["schemas"]))
        diff = {"before": {"schemas": sorted(before)}, "after": {"schemas": sorted(after)}}
        if self._donor_left or self._finish_only:
            diff["before"]["left_by_a_clone"] = True
        return dict(facts, diff=diff)

    def _look(self):
        with self.source.session() as source, self.target.session() as target:
            one, other = Side(self.source, source), Side(self.target, target)
            self._sides = one, other
            method = self._params["method"]
            doing = "seed %s by %s" % (self.target.where, method)
            seed_facts.check_pair(one, other)
            schemas = self._schemas(one, doing)
            reasons = seed_facts.already(one, other, source, schemas)
            facts = {"method": method, "schemas": schemas, "bytes": sum(one.bytes.get(name, 0) for name in schemas),
                     "dropped": [], "changed": False, "already": not reasons, "notes": self._notes}
            # a clone that was killed: what it needed on the source, and on the target when its data are there
            self._donor_left = not one.is_rds and bool(seed_clone.own_accounts(source, other.server.uuid))
            facts["changed"] = self._donor_left
            if method == "none":
                if reasons:
                    refuse("go on from %s as it is" % self.target.where, "; ".join(reasons),
                           "Restore a newer snapshot of this source, or seed it by clone or dump")
                return facts
            if not other.is_rds and not reasons and seed_clone.own_accounts(target):
                self._finish_only = True
                facts.update(changed=True, already=False)
                return facts
            if not reasons and not self._params["overwrite"]:
                return facts
            facts["already"] = False
            facts["changed"] = True
            self._check_begin(one, other, source, target, facts)
        return facts

    def clear(self, check_mode):
        """Take away what a clone that was killed left on the servers, where they take writes. Returns a result."""
        sides = []
        with self.source.session() as source, self.target.session() as target:
            self.source.identify(source)
            self.target.identify(target)
            for server, session, uuid in ((self.source, source, self.target.uuid), (self.target, target, None)):
                if server.platform == "rds" or not seed_clone.own_accounts(session, uuid):
                    continue
                if int(session.value("SELECT @@GLOBAL.super_read_only")):
                    self._notes.append("%s is fenced, so that the account of a clone that was killed stays there: "
                                       "DROP USER, and UNINSTALL PLUGIN clone, when it is opened" % server.where)
                    continue
                sides.append(server.name)
                if not check_mode:
                    without_binary_log(session)
                    seed_clone.take_down(session, uuid)
        diff = {"before": {"left_by_a_clone": sides}, "after": {"left_by_a_clone": []}}
        return {"changed": bool(sides), "cleared": sides, "notes": self._notes, "diff": diff}

    def _schemas(self, one, doing):
        schemas = sorted(self._params["schemas"] or one.schemas)
        missing = [name for name in schemas if name not in one.schemas]
        if missing:
            refuse(doing, "the source has no schema %s" % ", ".join(missing), "Correct the option schemas")
        return schemas

    def _check_begin(self, one, other, source, target, facts):
        method, schemas = facts["method"], facts["schemas"]
        doing = "seed %s by %s" % (self.target.where, method)
        overwrite = set(self._params["overwrite"]) | set(Target(other).left_behind(target))
        seed_facts.check_quiet(other, doing)
        seed_facts.check_versions(one, other, method)
        seed_clone.check_under_way(target, doing)
        seed_facts.check_empty(other, overwrite, doing)
        readers = seed_facts.replicas_of(target)
        if readers:
            refuse(doing, "replicas read its binary log: %s" % ", ".join(readers), "Detach them first")
        kept = sum(other.bytes.get(name, 0) for name in overwrite)
        seed_facts.check_room(other, max(0, facts["bytes"] - kept), doing)
        foreign = seed_facts.other_engines(source, schemas)
        if foreign:
            self._notes.append("Tables that are not in InnoDB are %s: %s" % (
                "not copied by clone" if method == "clone" else "not dumped at one moment", ", ".join(foreign)))
        if method == "clone":
            self._look_at_clone(other, facts, schemas, one)
        else:
            facts["dropped"] = [name for name in sorted(other.schemas) if name in overwrite or name in schemas]
            self._look_at_dump(one, source, target, schemas)

    def _look_at_clone(self, other, facts, schemas, one):
        if set(schemas) != set(one.schemas):
            refuse("seed %s by clone" % self.target.where, "clone copies all schemas, not some",
                   "Leave the option schemas out, or use method dump")
        if int(one.settings["super_read_only"]):
            refuse("seed %s by clone" % self.target.where, "the source is fenced, and a clone needs a plugin "
                   "and an account there for its time",
                   "Take as source the server that takes the writes, or use method dump")
        facts["dropped"] = sorted(other.schemas)
        self._notes.append("The accounts of the target are replaced by those of the source.")
        if not seed_clone.check_donor_login(self.source, self.target):
            self._notes.append("The login of the target is no account of the source with the same password: after "
                               "the clone it is gone, and that of the source is the one to use.")

    def _look_at_dump(self, one, source, target, schemas):
        beyond = seed_facts.beyond_us(source, target, schemas)
        if beyond:
            refuse("seed %s by dump" % self.target.where, "objects are defined by accounts that have SYSTEM_USER "
                   "there, and the login has not: %s" % ", ".join(beyond),
                   "Grant SYSTEM_USER to it, or change the definers")
        seed_dump.check_clients(self._params["mysqldump_path"], self._params["mysql_path"], one.server.version)
        floats = seed_facts.float_tables(source, schemas)
        if floats:
            self._notes.append("mysqldump writes FLOAT with six digits, so that values of these tables will not be "
                               "exactly those of the source: %s. Clone copies them as they are." % ", ".join(floats))

    # --- do it ---

    def run(self):
        """Returns the result of the module."""
        begin = time.monotonic()
        facts = self.look()
        if self._donor_left:
            with self.source.session() as source:
                without_binary_log(source)
                seed_clone.take_down(source, self.target.uuid)
        if facts["already"]:
            return self._finished(facts, begin, {})
        by_clone = facts["method"] == "clone" or self._finish_only
        done = self._clone(facts) if by_clone else self._dump(facts)
        return self._finished(facts, begin, done)

    def _finished(self, facts, begin, done):
        if "gtid_executed" not in done:
            with self.target.session() as target:
                done["gtid_executed"] = gtid.executed(target)
        result = dict(facts, seconds=round(time.monotonic() - begin, 3), events_disabled=[], missing_definers=[])
        result.update(done)
        return result

    def _clone(self, facts):
        params = self._params
        _one, other = self._sides
        target = Target(other)
        if self._finish_only:
            clone = seed_clone.Clone(self.source, target, None, tell=self._tell, timeout=params["timeout"])
            with self.target.session() as session:
                return self._cloned(clone, target, session, facts)
        with self.target.session() as session:
            target.forget_channels(session)
        host = params["donor_host"] or params["source"]["login_host"]
        port = params["donor_port"] or params["source"]["login_port"] or 3306
        clone = seed_clone.Clone(self.source, target, (host, port), tell=self._tell, timeout=params["timeout"])
        copied, installed = clone.run()
        session, uuid = clone.await_restart()
        with session:
            if uuid == self.source.uuid:
                refuse("seed %s by clone" % self.target.where, "it has the server_uuid of the source now",
                       "Remove auto.cnf there and restart it")
            return self._cloned(clone, target, session, dict(facts, bytes=copied), installed)

    def _cloned(self, clone, target, session, facts, installed=False):
        """The result of a clone, after what it needed was taken down."""
        events, awake = clone.finish(session, facts["schemas"], target.side.settings["event_scheduler"], installed)
        self._tell_awake(awake)
        return {"gtid_executed": gtid.executed(session), "bytes": facts["bytes"], "events_disabled": events,
                "fenced": target.fence(session), "accounts": "replaced by those of the source", "login": clone.login}

    def _tell_awake(self, awake):
        if awake:
            self._notes.append("The event scheduler of the target is off and stays so, because these events could "
                               "not be put to sleep; SYSTEM_USER is needed for those of its holders: %s"
                               % ", ".join(awake))

    # --- dump ---

    def _dump(self, facts):
        one, other = self._sides
        target = Target(other)
        doing = "seed %s by dump" % self.target.where
        with self.target.session(read_timeout=600) as session:
            scheduler = target.scheduler(session)
            session.run("SET SESSION wait_timeout = %d" % _IDLE)  # it says nothing while the load runs
            target.forget_channels(session)
            target.stop_scheduler(session, has_events=True)
            target.fence_next_start(session)
            with target.for_us_alone(session, offline=False):
                silent = without_binary_log(session)
                target.mark(session, one.server.uuid, facts["schemas"])
                target.drop(session, facts["dropped"])
                if silent:
                    # what it had before would say that it needs nothing, if the load broke off
                    session.run(other.dialect.statement("reset_binary_logs"))
                with target.trusting_creators(session):
                    stream, copied = self._load(facts["schemas"], silent, doing)
                self._tell({"phase": "finish", "bytes": copied})
                self._set_position(session, other, stream.gtid, silent, doing)
                events, awake = target.put_events_to_sleep(session, facts["schemas"])
                target.restore_scheduler(session, scheduler, awake)
                self._tell_awake(awake)
                target.unmark(session)
            fenced = target.fence(session)
            return {"gtid_executed": gtid.executed(session), "bytes": copied, "events_disabled": events,
                    "missing_definers": seed_facts.missing_definers(session, facts["schemas"]), "fenced": fenced,
                    "accounts": "not copied", "login": "target"}

    def _load(self, schemas, silent, doing):
        """Dump and load. Returns (Stream, bytes)."""
        if not schemas:
            refuse(doing, "the source has no schema of its own", "There is nothing to seed; begin replication")
        folder = tempfile.mkdtemp(prefix="seamless-seed-", dir=work_dir())
        try:
            stream, dump, load, copied = self._pipe(folder, schemas, silent, gtid_purged=True)
            if seed_dump.cannot_flush(dump):
                stream, dump, load, copied = self._between_commits(folder, schemas, silent, doing)
            seed_dump.judge(dump, load, stream, doing)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if not stream.gtid:
            refuse(doing, "the dump has no GTID set", "Give an account that may read it, on a source with GTIDs")
        return stream, copied

    def _pipe(self, folder, schemas, silent, gtid_purged, watch=None):
        params = self._params
        stream = seed_dump.Stream(without_log_bin=not silent)
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(seed_dump.written(folder, "source", self._dump_options(params["source"])))
            sink = stack.enter_context(seed_dump.written(folder, "target", seed_dump.option_file(params["target"])))
            pipe = seed_dump.Pipe(
                seed_dump.dump_command(params["mysqldump_path"], source, schemas, params["dump_options"],
                                       gtid_purged=gtid_purged),
                seed_dump.load_command(params["mysql_path"], sink), watch or stream, tell=self._tell,
                limit=params["bwlimit_kib_per_s"] * 1024)
            dump, load = pipe.run()
        return stream, dump, load, pipe.bytes

    def _dump_options(self, endpoint):
        """The moment in which mysqldump holds the tables still waits for long queries, and others wait behind it: it
        gives up after lock_wait, where this mysqldump can be told so."""
        extra = []
        if "--init-command=" in seed_dump.ask([self._params["mysqldump_path"], "--no-defaults", "--help"]):
            extra.append(("init-command", "SET SESSION lock_wait_timeout = %d" % self._params["lock_wait"]))
        text = seed_dump.option_file(endpoint)
        if extra:
            text += "[mysqldump]\n" + "".join('%s="%s"\n' % one for one in extra)
        return text

    def _between_commits(self, folder, schemas, silent, doing):
        """Without the right to hold the tables still, a dump has a known GTID set only when nothing was committed
        while it began: try that a few times."""
        for _attempt in range(_QUIET_TRIES):
            with self.source.session() as source:
                watch = _Unmoved(source, seed_dump.Stream(without_log_bin=not silent))
                _stream, dump, load, copied = self._pipe(folder, schemas, silent, gtid_purged=False, watch=watch)
            if watch.moved:
                continue
            watch.stream.gtid = watch.before
            return watch.stream, dump, load, copied
        refuse(doing, "the account may not run FLUSH TABLES WITH READ LOCK on the source, and the source committed "
               "something at the begin of each of %d dumps, so that none has a known GTID set" % _QUIET_TRIES,
               "Dump from a replica of it whose replication is stopped, stop the writers for a moment, or restore a "
               "snapshot and use method none")
        return None

    def _set_position(self, session, other, position, silent, doing):
        """Tell the target what it has now. Raises MySQLMigrationError when it has more, though it was not logged."""
        if not silent:
            # the load went into the binary log, under transactions that the source would take over the way back
            with contextlib.suppress(MySQLMigrationError):
                session.run(other.dialect.statement("reset_binary_logs"))
        if other.is_rds:
            for interval in seed_dump.intervals(gtid.subtract(session, position, gtid.executed(session))):
                session.call(other.dialect.procedure("gtid_purged"), interval)
        else:
            session.run("SET GLOBAL gtid_purged = %s", (position,))
        errant = gtid.subtract(session, gtid.executed(session), position)
        if not errant:
            return
        if silent:
            refuse(doing, "the target has transactions of its own now (%s), which the source would be given on the way "
                   "back" % errant, "See in its binary log who wrote there during the load, and run it again")
        self._notes.append("The load left transactions of the target's own, which the source would be given on "
                           "the way back: %s. Keep the channel from target to source away from them." % errant)


class _Unmoved(object):
    """A Stream that sees whether the source committed anything before the first data of the dump came."""

    def __init__(self, session, stream):
        self._session = session
        self.stream = stream
        self.before = gtid.executed(session)
        self.moved = False
        self._checked = False

    @property
    def complete(self):
        return self.stream.complete

    def feed(self, data):
        out = self.stream.feed(data)
        if out and not self._checked:
            self._check()
        return out

    def end(self):
        if not self._checked:
            self._check()
        return self.stream.end()

    def _check(self):
        self._checked = True
        if gtid.executed(self._session) != self.before:
            self.moved = True
            raise BrokenPipeError()


def work_dir():
    """Where credentials of the clients lie for the time of a dump: in memory, where there is such a place."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None
