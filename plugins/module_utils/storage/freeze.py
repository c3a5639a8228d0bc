# SPDX-License-Identifier: GPL-3.0-or-later
"""Freeze the side that is left, drain it to the other one, commit or undo: the critical section of a storage cutover.

Everything between the stop of the writers and the proof that both sides are equal happens in one process
(freeze_window). What has to be undone is on disk before it is done (freeze_state); a dead-man opens the host again when
nobody commits.
"""

import contextlib
import os
import time

from ansible_collections.seamless.migration.plugins.module_utils.storage import (
    freeze_deadman,
    freeze_mounts,
    freeze_services,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import (
    CLOSED,
    LIVE,
    FreezeError,
    Lock,
    empty,
    save,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_steps import FAILURES, signals
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_undo import undo
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_window import Window

__all__ = ["FAILURES", "Freeze", "FreezeError"]

AFTER = {"frozen": "drained", "absent": "none", "staged": "staged", "committed": "committed", "thawed": "thawed",
         "held": "held"}


class Freeze(Window):
    """The states `committed`, `thawed`, `held`, `absent` and `read`, and check mode."""

    def committed(self):
        """drained -> committed, for good. Returns result. Raises FreezeError when this run has not drained it."""
        with Lock(self.paths, self.p["run_id"]).acquire(wait=5), signals():
            now = self._load()
            if now == "committed":
                return self._finish()
            if now == "thawed" and self.state.get("thawed_by"):
                raise FreezeError(
                    "this side was opened again by %s and may have new files. "
                    "Do not open the other side; run the cutover anew"
                    % self.state["thawed_by"]
                )
            if now != "drained" or self.state["run_id"] != self.p["run_id"]:
                raise FreezeError(
                    "it is not drained by this run (state %s, run %s). Freeze it first" % (now, self.state["run_id"])
                )
            self.result["changed"] = True
            late = time.time() - self.state["budget_from"]
            if late > self.p["budget"]:
                self._give_up(
                    FreezeError("the commit came after %.1f s, the budget is %s s" % (late, self.p["budget"]))
                )
            self.state.update(state="committed", committed_at=time.time(), unwatched_since=0)
            save(self.paths, self.state)
            self.steps.run("disarm", freeze_deadman.disarm, self.state.get("deadman") or {})
            self.steps.run("open_private", self._open_private)
            self.state["deadman"] = {"number": (self.state.get("deadman") or {}).get("number", 0)}
            save(self.paths, self.state)
        return self._finish()

    def _open_private(self):
        """After a whole file system was closed: writable again, but only through the private door."""
        for record in self.state["trees"]:
            if record.get("file_system"):
                tree = freeze_mounts.Tree(record["path"], record["private"])
                freeze_mounts.set_file_system_read_only(tree, False)
                record["file_system"] = False

    def _need_evidence(self, why):
        if not (self.p["other_side_frozen"] and self.p["other_side_run"]):
            raise FreezeError(
                "%s: opening it is only safe while the other side is closed. "
                "Freeze the other side, then pass other_side_frozen and other_side_run" % why
            )
        self.state["other_side_run"] = self.p["other_side_run"]

    def thawed(self):
        """Open this side again. Returns result. Raises FreezeError where the other side may be open for all we know."""
        with Lock(self.paths, self.p["run_id"]).acquire(wait=5), signals():
            now = self._load()
            if now not in CLOSED:
                return self._finish()
            writers = self._units_to_start(now)
            self.result["changed"] = True
            sync = self.p["start_live_sync"]
            sync = now in LIVE if sync is None else sync
            self.state["thawed_by"] = "run %s" % self.p["run_id"]
            self.steps.run("thaw", self._thaw, writers, sync)
            freeze_deadman.disarm(self.state.get("deadman") or {})
        return self._finish()

    def _units_to_start(self, now):
        """Writers that a thaw starts. Raises FreezeError where that could make two sides write."""
        if now == "committed":
            self._need_evidence("this side was left by run %s" % self.state["run_id"])
        if not self.p["start_writers"]:
            return []
        if now == "held":
            self._need_evidence("this side is held for run %s" % self.state["run_id"])
            return self.writers or self.state["writers"]
        return self.state.get("active_before", [])

    def _thaw(self, writers, sync):
        problems = undo(self.paths, self.state, writers, sync)
        if problems:
            raise FreezeError("; ".join(problems))

    def held(self):
        """Block and stop the writers while the tree stays writable for the copy. Returns result.

        A side that was left, as a target is after the way back, stays committed. That is more than held: closed over a
        boot, opened by nobody without evidence, and the copy has its door all the same. What is new since is added.
        """
        with Lock(self.paths, self.p["run_id"]):
            now = self._load()
            self._refuse_to_hold(now)
            if self._is_held(now) or self._was_opened(now):
                return self._finish()
            self.result["changed"] = True
            self.steps.run("prepare", self._stage_files)
            if (self.p["hold_read_only"] and self._unstaged()) or (now == "committed" and self._new_trees()):
                self._stage()
            if now == "committed":
                self.state["active_before"] = self.writers  # what a thaw starts, as after `held`
            else:
                self.state.update(state="held", run_id=self.p["run_id"], writers=self.writers, thawed_by="")
            save(self.paths, self.state)
            self.steps.run("stop_writers", self._stop_writers_held)
            if self.p["hold_read_only"]:
                self.steps.run("read_only", self._close_trees)
                save(self.paths, self.state)
        return self._finish()

    def _refuse_to_hold(self, now):
        if now in LIVE:
            raise FreezeError("it is %s by run %s" % (now, self.state["run_id"]))

    def _is_held(self, now):
        running = freeze_services.states(self.writers)
        up = [unit for unit in self.writers if freeze_services.running(running[unit])]
        todo = freeze_services.missing(freeze_services.drop_ins(self.paths, self.writers))
        if self.p["hold_read_only"] and not self._is_closed():
            return False
        if now == "committed" and (self._new_trees() or set(self.state.get("active_before", [])) != set(self.writers)):
            return False
        closed = now in ("held", "committed")
        return closed and not up and not todo and os.path.exists(self.paths.condition)

    def _new_trees(self):
        """Trees that this side did not have when it was left: they have no door yet. Returns list of names."""
        return sorted({tree["name"] for tree in self.p["trees"]} - {record["name"] for record in self.state["trees"]})

    def _is_closed(self):
        """Whether the trees are read-only for everybody but the migration."""
        return not self._unstaged() and all(not freeze_mounts.writable_ways(tree) for _name, tree in self._refresh())

    def _was_opened(self, now):
        """A side that took over is not held again: a preparation that is run once more must not stop it."""
        if now == "thawed" and self.state.get("other_side_run"):
            self.result["warnings"].append(
                "This side was opened by run %s and is in use: it is not held" % self.state["other_side_run"]
            )
            return True
        return False

    def _refuse_to_clean(self, now):
        if now in CLOSED:
            raise FreezeError(
                "it is %s by run %s: what keeps it so must stay. Thaw it first" % (now, self.state["run_id"])
            )

    def _stop_writers_held(self):
        freeze_services.block(self.paths)
        freeze_services.stop(self.writers, self.p["stop_timeout"])

    def absent(self):
        """Take away everything that staging laid. Returns result. Raises FreezeError while this side is closed."""
        with Lock(self.paths, self.p["run_id"]):
            now = self._load()
            self._refuse_to_clean(now)
            files = self.state.get("files", [])
            gone = freeze_services.uninstall(files)
            for record in self.state["trees"]:
                with contextlib.suppress(FreezeError):
                    tree = freeze_mounts.Tree(record["path"], record["private"])
                    freeze_mounts.unstage(tree)
                    for place in record.get("covered", []):
                        freeze_mounts.uncover(tree, place)
                    os.rmdir(record["private"])
            if gone:
                freeze_services.systemctl(["daemon-reload"], 60)
            gone += freeze_services.uninstall(
                [self.paths.state] + [os.path.join(self.paths.lists, name) for name in _names(self.paths.lists)]
            )
            if not [name for name in _names(self.paths.folder) if name.endswith(".json")]:
                gone += freeze_services.uninstall([self.paths.program])
            self.result["changed"] = bool(gone)
            self.state = empty(self.p["migration"])
        return self._finish()

    def read(self):
        """What is so now; changes nothing. Returns result."""
        self._load()
        if self.p["trees"]:
            self.steps.run("open_files", self._scan)
        return self._finish()

    def would(self):
        """What a run would do, for check mode. Returns result; changes nothing."""
        now = self._load()
        wanted = self.p["state"]
        plans = {"staged": self._plan_stage, "frozen": self._plan_freeze, "committed": self._plan_commit,
                 "thawed": self._plan_thaw, "held": self._plan_hold, "absent": self._plan_absent}
        plan = plans[wanted](now) if wanted in plans else []
        self.result["changed"] = bool(plan)
        self.result["plan"] = plan
        result = self._finish()
        stays = not plan or (wanted == "held" and now == "committed")
        result["before"], result["after"] = now, now if stays else AFTER.get(wanted, now)
        return result

    def _plan_stage(self, now):
        if now in LIVE or now == "committed":
            return []
        try:
            plan = self._unstaged()
            self.steps.run("open_files", self._scan)
        except FreezeError as error:
            # On a host that is not prepared yet this is no failure of a rehearsal, but has to be said.
            self.result["warnings"].append("As this host is now, a run would refuse: %s" % error)
            return []
        return plan

    def _plan_freeze(self, now):
        self._refuse_others(now)
        if now == "committed":
            return []
        plan = self._plan_stage(now)
        plan.append("stop and block %s" % (", ".join(self.writers) or "no writer"))
        plan += ["make %s read-only" % tree["path"] for tree in self.p["trees"] if self.p["read_only"] != "none"]
        plan += ["drain and stop %s" % unit for unit in self._sync_units()]
        plan += ["bring the last changes to %s" % tree["dest_url"] for tree in self.p["trees"] if tree["dest_url"]]
        return plan

    def _plan_commit(self, now):
        return [] if now == "committed" else ["commit what run %s has drained" % self.p["run_id"]]

    def _plan_thaw(self, now):
        if now not in CLOSED:
            return []
        units = self._units_to_start(now)
        plan = ["open %s" % record["path"] for record in self.state["trees"] if record.get("closed")]
        return plan + ["start %s" % (", ".join(units) or "no writer")]

    def _plan_hold(self, now):
        self._refuse_to_hold(now)
        if self._is_held(now) or self._was_opened(now):
            return []
        plan = ["stop and block %s" % (", ".join(self.writers) or "no writer")]
        return plan + ["make %s read-only" % tree["path"] for tree in self.p["trees"] if self.p["hold_read_only"]]

    def _plan_absent(self, now):
        self._refuse_to_clean(now)
        return ["remove " + path for path in self.state.get("files", [])]


def _names(folder):
    return os.listdir(folder) if os.path.isdir(folder) else []
