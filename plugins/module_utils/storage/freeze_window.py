# SPDX-License-Identifier: GPL-3.0-or-later
"""The critical section: from the stop of the writers to the proof that both sides are equal, or to the undo."""

import errno
import os
import signal
import time
from concurrent import futures

from ansible_collections.seamless.migration.plugins.module_utils.host import command, nfsd
from ansible_collections.seamless.migration.plugins.module_utils.host.files import read, text, write
from ansible_collections.seamless.migration.plugins.module_utils.storage import (
    freeze_deadman,
    freeze_drain,
    freeze_holders,
    freeze_lists,
    freeze_mounts,
    freeze_services,
    freeze_transfer,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_staging import Staging
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import (
    LIVE,
    FreezeError,
    Lock,
    save,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_steps import FAILURES, signals
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_undo import undo

NFS_PATIENCE_S = 3.0  # the kernel's own sweep of files that version 3 left open comes every two seconds


class Window(Staging):
    """The state `frozen`."""

    def _refuse_others(self, now):
        """A freeze of another run is not ours to go on with."""
        if now in LIVE and self.state["run_id"] != self.p["run_id"] and not self.p["take_over"]:
            deadline = self.state.get("deadman", {}).get("deadline")
            opens = " (opens by itself at %s)" % time.strftime("%H:%M:%S", time.localtime(deadline)) if deadline else ""
            raise FreezeError(
                "run %s has frozen it%s, state %s. Go on with that run, thaw it with state=thawed, or take_over"
                % (self.state["run_id"], opens, now)
            )
        if now == "held":
            raise FreezeError(
                "it is held by run %s: no writer was ever let in here. Thaw it first" % self.state["run_id"]
            )

    def frozen(self):
        """Freeze, drain, bring the rest, prove it. Returns result with state `drained`, or raises after undoing."""
        with Lock(self.paths, self.p["run_id"]), signals():
            now = self._load()
            self._refuse_others(now)
            if now == "committed":
                return self._finish()
            if now == "thawing":
                problems = undo(self.paths, self.state)
                raise FreezeError(
                    "an earlier undo was not finished; it is now: %s" % ("; ".join(problems) or "complete")
                )
            fresh = now not in LIVE
            if fresh:
                self._prepare_window()
            self.result["changed"] = True
            try:
                self._window(fresh, now == "drained")
            except FAILURES as error:
                self._give_up(error)
        return self._finish()

    def _prepare_window(self):
        """All that can fail without anybody noticing."""
        self._check_units()
        if self._unstaged():
            self._stage()
        self._set_missing_marks()
        self.steps.run("other_side", self._check_other_side)
        self.steps.run("live_sync", self._check_live_sync)
        if self.p["approach"]:
            self.steps.run("approach", self._rehearse_drain)

    def _set_missing_marks(self):
        if not self.state.get("log_marks"):
            self._set_log_marks()

    def _begin(self, fresh):
        self.state.update(
            state="freezing",
            run_id=self.p["run_id"],
            on_undo=self.p["commands"]["on_undo"],
            hook_timeout=self.p["hook_timeout"],
            thawed_by="",
            budget_from=time.time(),
        )
        self.deadline = time.monotonic() + self.p["budget"]
        if fresh:
            running = freeze_services.states(self.writers + self._sync_units())
            up = [unit for unit in running if freeze_services.running(running[unit])]
            self.state.update(
                frozen_at=0,
                drained_live=False,
                throttles={},
                live_sync_stopped=[],
                active_before=[unit for unit in self.writers if unit in up],
                live_sync_active=[unit for unit in self._sync_units() if unit in up and not self._has_timer(unit)],
                watchers=self._watchers(),
                open_files=[],
            )
            for record in self.state["trees"]:
                record["canaries"] = []
                record["swept"] = []
        save(self.paths, self.state)

    def _has_timer(self, unit):
        """Whether a unit is the job of a timer of live sync, which an undo starts in its place."""
        return unit.rsplit(".", 1)[0] + ".timer" in self._sync_units() and unit.endswith(".service")

    def _open_window(self):
        """From here on nobody can write: the clock of the window and of the budget starts, once."""
        now = time.time()
        self.deadline = time.monotonic() + self.p["budget"]
        self.state["budget_from"] = now
        if not self.state["frozen_at"]:
            self.state["frozen_at"] = now
        save(self.paths, self.state)

    def _arm(self):
        old = self.state.get("deadman") or {}
        number = int(old.get("number", 0)) + 1
        self.state["deadman"] = dict(old, next=number)
        save(self.paths, self.state)
        armed = freeze_deadman.arm(self.paths, self.p["run_id"], self.p["deadman"], self.python, number)
        self.state["deadman"] = armed
        save(self.paths, self.state)
        freeze_deadman.disarm(old)
        return "%s in %s s" % (armed["unit"] or "process %d" % armed["pid"], self.p["deadman"])

    def _hook(self, name):
        for argv in self.p["commands"][name]:
            self.steps.run("hook_" + name, self._run_hook, argv)

    def _run_hook(self, argv):
        command.run(argv, timeout=self._left(self.p["hook_timeout"]))
        return " ".join(argv)

    def _note_open(self):
        found = self._holders()
        self.result["open_files"] = [entry.as_dict() for entry in found]
        known = {(entry["tree"], entry["path"]) for entry in self.state["open_files"]}
        known |= {(entry.tree, os.fsdecode(entry.relative)) for entry in found if entry.how != "bypass"}
        self.state["open_files"] = [{"tree": name, "path": path} for name, path in sorted(known)]
        save(self.paths, self.state)
        return "%d files" % len(self.state["open_files"])

    def _stop_writers(self):
        self._open_window()
        freeze_services.block(self.paths)
        freeze_services.stop(self.writers, self._left(self.p["stop_timeout"]))
        return ", ".join(self.writers)

    def _clear_holders(self):
        """Nobody may hold a way to write any more. Those that let go within a moment are no problem."""
        found = self._holders()
        if found and self.p["kill_holders"]:
            freeze_holders.end(sorted({entry.pid for entry in found}))
        end = time.monotonic() + self._left(1.0)
        while found and time.monotonic() < end:
            time.sleep(0.05)
            found = self._holders()
        if found:
            raise FreezeError(
                "%s. Stop these processes (name their units in `writers`, or set kill_holders), then run again"
                % freeze_holders.named(found)
            )

    def _lift_throttle(self):
        limits = self.state["throttles"]
        for sync in self._syncs():
            path = sync.get("bwlimit_file")
            if path and path not in limits:
                old = read(path)
                limits[path] = None if old is None else text(old)
        save(self.paths, self.state)
        for path in limits:
            write(path, b"0\n")
        return ", ".join(sorted(limits))

    def _close_trees(self):
        """Read-only for everybody. The first failure is explained by who holds what."""
        if self.p["read_only"] == "none":
            return "none asked for"
        for name, tree in self._refresh():
            record = self._record(name)
            if not record["closed"]:
                record["read_only_before"] = freeze_mounts.read_only_before(tree)
                record["closed"] = True
                save(self.paths, self.state)
            try:
                self._close_patiently(tree, record)
            except OSError as error:
                who = (
                    freeze_holders.named(self._holders())
                    or nfsd.told()
                    or "no process of this host, so perhaps a client of its NFS server"
                )
                raise FreezeError(
                    "%s cannot be made read-only: %s. Held by: %s" % (tree.path, error.strerror, who)
                ) from error
        for name, tree in self._refresh():
            self._must_refuse(tree.path)
            ways = freeze_mounts.writable_ways(tree)
            if ways:
                raise FreezeError(
                    "%s can still be written to through %s (process %s)" % (name, ways[0][1], ways[0][0] or "any")
                )
        return self.p["read_only"]

    def _close_patiently(self, tree, record):
        """Where this host serves NFS, the kernel keeps files open for a while after the last write to them."""
        end = time.monotonic() + (self._left(NFS_PATIENCE_S) if nfsd.running() else 0)
        while True:
            nfsd.flush()
            try:
                return self._close(tree, record)
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() >= end:
                    raise
            time.sleep(0.05)

    def _expire_stragglers(self):
        """Take from clients that nobody could stop what they hold open here. They may be dead, and would hold it on."""
        return ", ".join(nfsd.expire(self.p["nfs_stragglers"])) or "they held nothing"

    def _close(self, tree, record):
        mode = self.p["read_only"]
        if mode in ("auto", "bind"):
            freeze_mounts.set_read_only(tree, True)
            return
        record["file_system"] = True
        save(self.paths, self.state)
        freeze_mounts.set_file_system_read_only(tree, True)
        freeze_mounts.set_read_only(tree, True)

    def _drain(self):
        followed = [tree for tree in self.p["trees"] if tree["live_sync"]["method"] == "lsyncd"]
        if self.state["drained_live"] or not followed:
            return "nothing to drain"
        rounds = self._drain_rounds(followed)
        self._check_live_sync()
        self.state["drained_live"] = True
        save(self.paths, self.state)
        return rounds

    def _stop_live_sync(self):
        """End live sync and everything that it started: nothing of it may write to the other side any more."""
        units = self._sync_units()
        self.state["live_sync_stopped"] = self.state["live_sync_active"]
        save(self.paths, self.state)
        pids = self._sync_processes()
        if units:
            freeze_services.systemctl(["stop", "--no-block", "--"] + units, self._left(10))
        pids |= self._sync_processes()  # what a timer has begun just before it was stopped
        for pid in self._sync_pids():
            if not units:
                os.kill(pid, signal.SIGTERM)
        left = freeze_drain.wait_gone(sorted(pids), self._left(self.p["sync_stop_timeout"]))
        killed = freeze_holders.end(left, 0.0 if not left else 1.0)
        if killed:
            raise FreezeError("live sync does not end: pids %s" % ", ".join(str(pid) for pid in killed))
        return "killed %s" % left if left else ", ".join(units)

    def _delta(self):
        for tree in self._listed():
            freeze_lists.check_guard(tree["live_sync"].get("guard_state_dir"))
        counts = self._write_lists(self.state["open_files"])
        total = sum(counts.values())
        if self.p["max_delta"] and total > self.p["max_delta"]:
            raise FreezeError("%d paths are to be brought over, more than max_delta %d" % (total, self.p["max_delta"]))
        self.state["paths_in_delta"] = total
        limit = self.p["max_delete"]
        work = freeze_transfer.for_each(
            self._listed(),
            lambda tree: freeze_transfer.bring(tree, self._list_path(tree), self._left(), max_delete=limit),
        )
        self._whole_passes()
        return "%d paths, %d files, %d bytes" % (
            total,
            sum(done.files for done in work),
            sum(done.bytes for done in work),
        )

    def _whole_passes(self):
        """Where no lists are kept, everything is looked at."""
        limit = self.p["max_delete"]
        freeze_transfer.for_each(
            self._unlisted(), lambda tree: freeze_transfer.whole(tree, self._left(), max_delete=limit)
        )

    def _unlisted(self):
        listed = self._listed()
        return [tree for tree in self.p["trees"] if tree["dest_url"] and tree not in listed]

    def _verify(self):
        """Prove the lists, while the canaries go: they are on no list."""
        with futures.ThreadPoolExecutor(max_workers=1) as pool:
            sweep = pool.submit(self._sweep, self._listed(), self._left())
            said = self._compare() if self.p["verify"] else "not asked for"
            sweep.result()
        return said

    def _compare(self):
        found = freeze_transfer.for_each(
            self._listed(), lambda tree: freeze_transfer.differences(tree, self._list_path(tree), self._left())
        )
        found += freeze_transfer.for_each(
            self._unlisted(), lambda tree: freeze_transfer.whole(tree, self._left(), dry_run=True)
        )
        trees = self._listed() + self._unlisted()
        bad = [(tree["name"], entry) for tree, entries in zip(trees, found) for entry in entries]
        if bad:
            raise FreezeError(
                "%d paths differ after the last copy, first %s: %s (%s)"
                % (len(bad), bad[0][0], bad[0][1].path, bad[0][1].kind)
            )
        return "equal"

    def _close_side(self):
        """Writers off, tree closed. On a rerun every part finds its work done."""
        self._hook("before_stop")
        self.steps.run("lift_throttle", self._lift_throttle)
        self.steps.run("open_files", self._note_open)
        self.steps.run("stop_writers", self._stop_writers)
        self._hook("after_stop")
        self.steps.run("holders", self._clear_holders)
        if self.p["nfs_stragglers"]:
            self.steps.run("nfs_stragglers", self._expire_stragglers)
        if self.p["read_only"] == "remount" and not self.state["drained_live"]:
            self.steps.run("drain_before", self._drain_while_open)
        self.steps.run("read_only", self._close_trees)
        self._hook("after_read_only")

    def _drain_while_open(self):
        """A file system that is read-only as a whole takes no canary: drain it, writers stopped, before closing it."""
        return self._drain()

    def _window(self, fresh, again):
        self._begin(fresh)
        self.steps.run("deadman", self._arm)
        self._close_side()
        self.steps.run("drain", self._drain)
        self.steps.run("stop_live_sync", self._stop_live_sync)
        self._hook("after_drain")
        self.steps.run("delta", self._delta)
        self.steps.run("verify", self._verify)
        self._left()
        self.state.update(state="drained", drained_at=time.time())
        save(self.paths, self.state)

    def _give_up(self, error):
        """Undo, and raise what went wrong."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        begin, at = time.monotonic(), round(time.time(), 3)
        problems = undo(self.paths, self.state)
        self.steps.done.append(
            {
                "name": "undo",
                "at": at,
                "ms": round((time.monotonic() - begin) * 1000, 1),
                "ok": not problems,
                "detail": "; ".join(problems),
            }
        )
        if not problems:
            freeze_deadman.disarm(self.state.get("deadman") or {})
        self.result["undone"] = not problems
        cause = str(error).rstrip(".")
        if problems:
            raise FreezeError("%s. Undoing it failed too: %s. The dead-man tries again" % (cause, "; ".join(problems)))
        raise FreezeError("%s. Everything was put back as it was" % cause)
