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


class Freeze(Window):
    """The states `committed`, `thawed`, `held`, `absent` and `info`, and check mode."""

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
            self.state.update(state="committed", committed_at=time.time())
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
            writers = None if self.p["start_writers"] else []
            if now == "committed":
                self._need_evidence("this side was left by run %s" % self.state["run_id"])
            if now == "held" and self.p["start_writers"]:
                self._need_evidence("this side is held for run %s" % self.state["run_id"])
                writers = self.writers or self.state["writers"]
            self.result["changed"] = True
            sync = self.p["start_live_sync"]
            sync = now in LIVE if sync is None else sync
            self.state["thawed_by"] = "run %s" % self.p["run_id"]
            self.steps.run("thaw", self._thaw, writers, sync)
            freeze_deadman.disarm(self.state.get("deadman") or {})
        return self._finish()

    def _thaw(self, writers, sync):
        problems = undo(self.paths, self.state, writers, sync)
        if problems:
            raise FreezeError("; ".join(problems))

    def held(self):
        """Block and stop the writers while the tree stays writable for the copy. Returns result."""
        with Lock(self.paths, self.p["run_id"]):
            now = self._load()
            if now in LIVE or now == "committed":
                raise FreezeError("it is %s by run %s" % (now, self.state["run_id"]))
            running = freeze_services.states(self.writers)
            up = [unit for unit in self.writers if freeze_services.running(running[unit])]
            todo = freeze_services.missing(freeze_services.drop_ins(self.paths, self.writers))
            if now == "held" and not up and not todo and os.path.exists(self.paths.condition):
                return self._finish()
            self.result["changed"] = True
            self.steps.run("prepare", self._stage_files)
            self.state.update(state="held", run_id=self.p["run_id"], writers=self.writers, thawed_by="")
            save(self.paths, self.state)
            self.steps.run("stop_writers", self._stop_writers_held)
        return self._finish()

    def _stop_writers_held(self):
        freeze_services.block(self.paths)
        freeze_services.stop(self.writers, self.p["stop_timeout"])

    def absent(self):
        """Take away everything that staging laid. Returns result. Raises FreezeError while this side is closed."""
        with Lock(self.paths, self.p["run_id"]):
            now = self._load()
            if now in CLOSED:
                raise FreezeError(
                    "it is %s by run %s: what keeps it so must stay. Thaw it first" % (now, self.state["run_id"])
                )
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

    def info(self):
        """What is so now; changes nothing. Returns result."""
        self._load()
        if self.p["trees"]:
            self.steps.run("open_files", self._scan)
        return self._finish()

    def would(self):
        """What a run would do, for check mode. Returns result; changes nothing."""
        now = self._load()
        wanted = self.p["state"]
        plan = []
        if wanted in ("staged", "frozen") and now not in LIVE and now != "committed":
            plan = self._unstaged()
            self.steps.run("open_files", self._scan)
        if wanted == "frozen":
            self._refuse_others(now)
            if now != "committed":
                plan += self._plan_freeze()
        if wanted == "committed" and now != "committed":
            plan = ["commit what run %s has drained" % self.p["run_id"]]
        if wanted == "thawed" and now in CLOSED:
            plan = ["open %s" % record["path"] for record in self.state["trees"] if record.get("closed")]
            plan.append("start %s" % ", ".join(self.state.get("active_before") or self.writers or ["no writer"]))
        if wanted == "held" and now != "held":
            plan = ["stop and block %s" % ", ".join(self.writers)]
        if wanted == "absent" and now != "none":
            plan = ["remove " + path for path in self.state.get("files", [])]
        self.result["changed"] = bool(plan)
        self.result["plan"] = plan
        result = self._finish()
        result["before"], result["after"] = now, wanted if plan else now
        return result

    def _plan_freeze(self):
        plan = ["stop and block %s" % (", ".join(self.writers) or "no writer")]
        plan += ["make %s read-only" % tree["path"] for tree in self.p["trees"] if self.p["read_only"] != "none"]
        plan += ["drain and stop %s" % unit for unit in self._sync_units()]
        plan += ["bring the last changes to %s" % tree["dest_url"] for tree in self.p["trees"] if tree["dest_url"]]
        return plan


def _names(folder):
    return os.listdir(folder) if os.path.isdir(folder) else []
