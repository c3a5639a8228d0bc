# SPDX-License-Identifier: GPL-3.0-or-later
"""The switchover of writes from one server to another, its dry run, and what the next run makes of one that was killed.

Never two writers: see switchover_open. What was done stands in the journal before it is done: see switchover_journal.
"""

import contextlib
import time

from ansible_collections.seamless.migration.plugins.module_utils.journal import Journal
from ansible_collections.seamless.migration.plugins.module_utils.mysql import fence, switchover_journal
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_forward import Forward
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_hooks import Hooks
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_locks import Locks
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_open import UNREACHABLE
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_run import Run
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_side import Side
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_steps import (
    FAILURES,
    Doubt,
    Steps,
    deaf,
    signals,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_undo import Undo, sentence
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_window import Window

UNKNOWN = "unknown"
# (source takes writes, target takes writes) -> state
STATES = {
    (True, False): "source_open",
    (False, True): "target_open",
    (False, False): "both_fenced",
    (True, True): "both_open",
}
PAUSE = 0.5


def mirrored(options):
    """The options of a run with the roles exchanged."""
    other = "back" if options["direction"] == "forward" else "forward"
    return dict(
        options,
        direction=other,
        forward_channel=options["reverse_channel"],
        reverse_channel=options["forward_channel"],
    )


def _only_forward(error, run):
    """What is told when something failed after the commit."""
    return Doubt(
        "%s. This switchover is committed and only goes forward: %s stays fenced. Bring both servers back, then run "
        "again"
        % (str(error).rstrip("."), run.source.where),
        code=getattr(error, "code", 0),
    )


class Switchover:
    """A switchover of one migration.

    options: dict of the module's options. servers: pair of Server for tests, made from the options if missing.
    """

    def __init__(self, options, servers=None):
        self.options = options
        answer = max(5, options["lock_wait"] + 3, min(30, options["budget_ms"] // 1000))
        source, target = servers or (Server(options["source"], "source"), Server(options["target"], "target"))
        self.hooks = Hooks(options["hooks"], options["hook_timeout"])
        self.source = Side(source, "source", self.hooks, answer)
        self.target = Side(target, "target", self.hooks, answer)
        self.journal = Journal(options["journal_path"], options["migration"])
        self.locks = Locks([self.source, self.target])
        self.steps = Steps()
        self.run = None
        self.changed = False
        self.recovered = None
        self.plan = []

    # --- what the module asks for -----------------------------------------------------------------------------------

    def switched(self):
        """Switch the writes to the target, or go on with what an earlier run has begun."""
        with self._work() as record:
            state = self.state()
            waiting = record.closed_target and record.direction == self.options["direction"]
            bridge = self.options["strategy"] == "bridge" and state == "both_open"
            if bridge or (state == "source_open" and not self.target.excused):
                self._switch()
            elif state == "both_fenced" and waiting:
                self.run = self._a_run(record)
                self.run.warnings.append("Both servers are fenced. Use state: opened to open the target")
            elif state != "target_open" and not self.recovered:
                raise self._unexplained(state)
        return self.result()

    def opened(self):
        """Open the target of a read-only window."""
        with self._work() as record:
            if record.closed_target and record.direction == self.options["direction"]:
                self.changed = True
                self.run = self._a_run(record)
                self._refuse_other_servers(record, self.source, self.target)
                self._go_forward(self.run, first=True)
            elif self.state() != "target_open":
                raise MySQLMigrationError(
                    "There is no read-only window to open: the journal's last run is %s. Use state: switched with "
                    "strategy: read_only_window first" % record.phase
                )
        return self.result()

    def read(self):
        """Look, and change nothing."""
        try:
            self._connect(switchover_journal.last(self.journal))
            return self.result()
        finally:
            self._close()

    def would(self):
        """The dry run: everything up to step 5 without a change, and the fence of the target rehearsed."""
        record = switchover_journal.last(self.journal)
        try:
            self._connect(record)
            self.locks.acquire()
            if self.options["state"] == "switched" and self.state() == "source_open" and not record.uncommitted:
                self._rehearse()
            self.plan = self._plan(record)
            self.changed = bool(self.plan)
            return self.result()
        finally:
            self._close()

    # --- parts ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _work(self):
        """Connections, locks and signals around the work; what an earlier run has left is settled first."""
        with signals():
            try:
                self._connect(switchover_journal.last(self.journal))
                self.locks.acquire()
                yield self.settle()
            except MySQLMigrationError as error:
                if self.changed or "Nothing was changed" in str(error):
                    raise
                raise type(error)("%s. Nothing was changed" % str(error).rstrip("."), code=error.code) from error
            finally:
                self._close()

    def _connect(self, record):
        """Reach both. A server that an earlier run has left in the middle may need a while to come back."""
        patience = self.options["reach_timeout"] if record.uncommitted or record.phase == "committed" else 0
        end = time.monotonic() + patience
        for side in (self.source, self.target):
            while True:
                try:
                    side.connect()
                    break
                except MySQLMigrationError as error:
                    if time.monotonic() < end:
                        time.sleep(PAUSE)
                    elif not self._excused(side, record):
                        raise self._unreachable(error, record) from error
                    else:
                        break
        if self.source.uuid == self.target.uuid:
            raise MySQLMigrationError(
                "source and target lead to the same server (server_uuid %s). Give two different servers"
                % self.source.uuid
            )

    def _excused(self, side, record):
        """Whether an operator has said that a server will not come back; its uuid is known from the journal then."""
        if UNREACHABLE not in self.options["force"] or record.phase == "none":
            return False
        same = record.direction == self.options["direction"]
        role = side.role if same else {"source": "target", "target": "source"}[side.role]
        side.uuid = record.data.get(role + "_uuid")
        side.excused = side.uuid is not None
        return side.excused

    @staticmethod
    def _unreachable(error, record):
        if record.phase == "none" or not (record.uncommitted or record.phase == "committed"):
            return error
        return MySQLMigrationError(
            "%s. Run %s is %s: bring the server back and run again. When it will never come back, power it off for "
            "good and run again with force: [%s]" % (str(error).rstrip("."), record.run, record.phase, UNREACHABLE),
            code=getattr(error, "code", 0),
        )

    def _a_run(self, record, swapped=False):
        source, target = (self.target, self.source) if swapped else (self.source, self.target)
        options = mirrored(self.options) if swapped else self.options
        return Run(options, source, target, record, self)

    def state(self):
        """Who takes writes, read over new connections: str, see STATES; `unknown` when a server cannot be asked."""
        open_now = []
        for side in (self.source, self.target):
            if side.excused:
                open_now.append(False)
                continue
            try:
                open_now.append(not side.reading()["fenced"])
            except MySQLMigrationError:
                return UNKNOWN
        return STATES[tuple(open_now)]

    @staticmethod
    def _unexplained(state):
        told = {
            "both_fenced": "Both servers are fenced, and the journal has no run that explains it. Find out which one "
            "has the newest writes, and open it with mysql_read_only",
            "both_open": "Both servers take writes. Fence one of them with mysql_read_only, and find out what was "
            "written where",
            UNKNOWN: "A server cannot be asked whether it takes writes. Bring it back, then run again",
        }
        return Doubt(told[state])

    # --- what an earlier run has left -------------------------------------------------------------------------------

    def _refuse_other_servers(self, record, source, target):
        for side, key in ((source, "source_uuid"), (target, "target_uuid")):
            if record.data.get(key, side.uuid) != side.uuid:
                raise Doubt(
                    "Run %s in the journal %s was about another server: %s has server_uuid %s, the journal says %s. "
                    "Use the journal of this migration"
                    % (record.run, self.options["journal_path"], side.where, side.uuid, record.data[key])
                )

    def settle(self):
        """Finish or put back the last run, when it was killed. Returns its Record."""
        record = switchover_journal.last(self.journal)
        swapped = record.phase != "none" and record.direction != self.options["direction"]
        if not record.uncommitted and record.phase != "committed":
            return record
        run = self.run = self._a_run(record, swapped)
        self._refuse_other_servers(record, run.source, run.target)
        if record.uncommitted or (record.closed_target and swapped):
            self._put_back(run, "an earlier run did not get to its end")
        elif not record.closed_target:
            self._finish(run, swapped)
        return record

    def _put_back(self, run, reason):
        self.changed, self.recovered = True, "put_back"
        problems = Undo(run).put_back(reason)
        if problems:
            raise MySQLMigrationError(sentence(problems, run.source))

    def _finish(self, run, swapped):
        source_fenced = run.source.excused or run.source.reading()["fenced"]
        target_fenced = run.target.reading()["fenced"]
        if not source_fenced and target_fenced:
            run.record.undo("%s was found open and %s fenced" % (run.source.where, run.target.where))
            return
        if not source_fenced and run.record.data.get("strategy") != "bridge":
            raise self._unexplained("both_open")
        self.changed, self.recovered = True, "forward"
        self._go_forward(run, leave=swapped)

    def _go_forward(self, run, first=False, leave=False):
        """12 to 14 of a run that is committed. first: of a read-only window. leave: only what the way back needs."""
        deaf()
        run.gtid = run.record.data.get("gtid")
        run.window_ms = run.record.data.get("window_ms")
        if not run.source.excused and run.target.reading()["fenced"]:
            self.steps.run(9, "drain", self._drain_again, run)
        if first:
            run.record.doing("open_target")
        if leave:
            run.record.finish("switch")
        self._go_on(run, keep_forward_channel=leave)

    @staticmethod
    def _go_on(run, **how):
        try:
            Forward(run).go(**how)
        except FAILURES as error:
            raise _only_forward(error, run) from error

    @staticmethod
    def _drain_again(run):
        """What came to the source since the commit, by whatever way, has to be on the target before it is opened."""
        wanted = run.source.executed()
        if not run.target.wait(wanted, run.options["reach_timeout"], run.check_forward):
            raise MySQLMigrationError(
                "%s lacks transactions of %s, which is committed to be left. Look at the channel '%s', then run again"
                % (run.target.where, run.source.where, run.options["forward_channel"])
            )
        return {"gtid": wanted}

    # --- a new switchover -------------------------------------------------------------------------------------------

    def _switch(self):
        record = switchover_journal.Record(self.journal, self.options["direction"])
        run = self.run = self._a_run(record)
        try:
            run.approach()
            self.changed = True
            if run.bridge:
                self.steps.run(10, "proof", run.alive)
                self.steps.run(11, "commit", Window(run).commit)
            else:
                Window(run).pass_through()
        except BaseException as error:
            self._give_up(run, error)
        finally:
            run.close()
        if self.options["strategy"] == "read_only_window":
            return
        self._go_on(run)
        record.measure(steps=self.steps.durations(), window_ms=run.window_ms)

    def _give_up(self, run, error):
        """Undo, and raise what went wrong with what became of it."""
        deaf()
        cause = str(error).rstrip(".") or type(error).__name__
        code = getattr(error, "code", 0)
        if run.record.phase == "none":
            raise MySQLMigrationError("%s. Nothing was changed" % cause, code=code) from error
        if run.record.phase == "committed":
            raise _only_forward(error, run) from error
        self.changed = True
        try:
            problems = Undo(run).put_back(cause)
        except FAILURES as worse:
            raise Doubt(
                "%s. Putting it back failed too: %s. Both servers stay fenced, nobody can write: bring both back, then "
                "run again; if one of them is lost for good, power it off and run again with force: [%s]"
                % (cause, str(worse).rstrip("."), UNREACHABLE),
                code=code,
            ) from error
        raise MySQLMigrationError("%s. %s" % (cause, sentence(problems, run.source)), code=code) from error

    def _rehearse(self):
        record = switchover_journal.Record(self.journal, self.options["direction"])
        run = self.run = self._a_run(record)
        step = self.steps.run
        step(1, "guardrails", run.guardrails)
        step(2, "reverse_channel", run.reverse_channel, False)
        step(3, "low_lag", run.low_lag, False)
        step(4, "quiet", run.quiet, False)
        step(6, "fence_of_target", self._rehearse_fence)

    def _rehearse_fence(self):
        """The fence's statement on the target, which is fenced and stays so: privileges, and how long it takes."""
        side = self.target
        begin = time.monotonic()
        if side.by_hook:
            return {"fenced": side.reading()["fenced"], "by_hook": True}
        fence.fence(side.server, side.main, self.options["lock_wait"], self.options["budget_ms"] / 1000.0)
        fenced = time.monotonic()
        reading = side.reading()
        return {
            "fence_ms": round((fenced - begin) * 1000, 1),
            "new_connection_ms": round((time.monotonic() - fenced) * 1000, 1),
            "fenced": reading["fenced"],
        }

    # --- what is told -----------------------------------------------------------------------------------------------

    def _plan(self, record):
        if record.uncommitted:
            return ["put back run %s, which did not get to its end" % record.run, "then switch as asked"]
        if record.phase == "committed" and not record.closed_target:
            return ["go on with run %s, which is committed: open the target, switch, clean up" % record.run]
        state = self.state()
        if self.options["state"] == "opened":
            return ["open %s for writes" % self.target.where] if record.closed_target else []
        if state == "target_open" or (state == "both_fenced" and record.closed_target):
            return []
        bridge = self.options["strategy"] == "bridge"
        if state != "source_open" and not (bridge and state == "both_open"):
            raise self._unexplained(state)
        return self._words(bridge)

    def _words(self, bridge):
        commit = "commit in %s" % self.options["journal_path"]
        fenced = "fence %s" % self.source.where
        opened = ["open %s" % self.target.where, "run %d hooks" % len(self.options["hooks"].get("switch", []))]
        if bridge:
            return [commit] + opened + [fenced]
        words = [fenced, "wait until %s has executed everything" % self.target.where, commit]
        return words + (["leave both fenced"] if self.options["strategy"] == "read_only_window" else opened)

    def result(self):
        """What the module returns: dict."""
        run = self.run
        record = run.record if run else switchover_journal.last(self.journal)
        state = self.state()
        return {
            "changed": self.changed,
            "state": state,
            "committed": record.phase in ("committed", "done"),
            "complete": record.phase in ("none", "done", "undone") or record.closed_target,
            "run": record.run,
            "phase": record.phase,
            "recovered": self.recovered or "",
            "steps": self.steps.done,
            "gates": run.gates if run else [],
            "gtid": (run.gtid if run else record.data.get("gtid")) or "",
            "window_ms": run.window_ms if run else record.data.get("window_ms"),
            "plan": self.plan,
            "warnings": run.warnings if run else [],
            "queries": self.source.server.queries + self.target.server.queries,
        }

    def failed(self):
        """What the module returns with a failure: dict, also when a server does not answer any more."""
        try:
            return self.result()
        except FAILURES as error:
            return {"state": UNKNOWN, "steps": self.steps.done, "warnings": [str(error)]}

    def _close(self):
        self.locks.release()
        for side in (self.source, self.target):
            side.close()
