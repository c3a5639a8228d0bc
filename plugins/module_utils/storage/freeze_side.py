# SPDX-License-Identifier: GPL-3.0-or-later
"""A side of a migration that is to be frozen: its trees, writers and live sync, and what is known of them."""

import contextlib
import errno
import os
import re
import sys
import time

from ansible_collections.seamless.migration.plugins.module_utils.lsyncd import status
from ansible_collections.seamless.migration.plugins.module_utils.storage import (
    freeze_drain,
    freeze_holders,
    freeze_lists,
    freeze_mounts,
    freeze_services,
    freeze_transfer,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import (
    LIVE,
    FreezeError,
    Paths,
    empty,
    load,
    save,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_steps import FAILURES, Steps

# A look at every file of a tree belongs into the window when it takes no longer than this.
LOOK_MS = 1000
LOST = ("overflow", "startup", "ended")  # kinds of lines in lsyncd's log after which its lists are not complete


class Side:
    """One migration's freeze on this host. params: the options of the module storage_freeze, complete (freeze_options).

    root: prefix of all paths of our own, for tests. python: interpreter for the programs that are left on the host.
    """

    def __init__(self, params, root="/", python=None):
        self.p = params
        self.paths = Paths(params["migration"], root)
        self.python = python or sys.executable
        self.steps = Steps()
        self.state = empty(params["migration"])
        self.writers = [freeze_services.unit_name(name) for name in params["writers"]]
        self.before = ""
        self.trees = {}
        self.deadline = time.monotonic() + params["budget"]
        self.result = {"changed": False, "undone": False, "warnings": [], "open_files": [], "lists": {}}

    def _load(self):
        self.state = load(self.paths)
        self.before = self.before or self.state["state"]
        return self.state["state"]

    def _tree(self, tree):
        if tree["name"] not in self.trees:
            if tree.get("require_mountpoint") and not os.path.ismount(tree["path"]):
                raise FreezeError("%s is not a mount point. Mount its file system" % tree["path"])
            sentinel = tree.get("sentinel")
            if sentinel and not os.path.isfile(os.path.join(tree["path"], sentinel)):
                raise FreezeError(
                    "%s has no %s: it may not be the tree that is meant (not mounted?)" % (tree["path"], sentinel)
                )
            self.trees[tree["name"]] = freeze_mounts.Tree(tree["path"], tree["private_path"])
        return self.trees[tree["name"]]

    def _refresh(self):
        """Look at the mounts of the trees anew."""
        self.trees = {}
        return [(tree["name"], self._tree(tree)) for tree in self.p["trees"]]

    def _record(self, name):
        return next(record for record in self.state["trees"] if record["name"] == name)

    def _left(self, most=None):
        """Seconds that a step may take. Raises FreezeError when the budget is used up."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise FreezeError("the budget of %s s is used up" % self.p["budget"])
        return left if most is None else min(left, most)

    def _still_time(self):
        """What walks call often: within the window it raises FreezeError when the budget is used up."""
        if self.state["state"] == "freezing":
            self._left()

    def _syncs(self):
        """Live syncs of the trees, each once: list of dict."""
        found = []
        for tree in self.p["trees"]:
            sync = tree["live_sync"]
            if sync["method"] != "none" and sync not in found:
                found.append(sync)
        return found

    def _sync_units(self):
        units = [freeze_services.unit_name(name) for sync in self._syncs() for name in sync["service"]]
        return sorted(set(units))

    def _watchers(self):
        """Where each lsyncd tells that it watches, and where its guard tells what it carried: list of dict."""
        return [
            {"log": tree["live_sync"]["log_file"] or "", "guard": tree["live_sync"]["guard_state_dir"] or ""}
            for tree in self.p["trees"]
            if tree["live_sync"]["method"] == "lsyncd"
        ]

    def _unwatched_since(self):
        """When this side was last open without live sync watching it; 0 once whole passes have carried deletions."""
        since = self.state.get("unwatched_since", 0)
        folders = [entry["guard"] for entry in self.state.get("watchers", [])]
        return 0 if all(freeze_lists.swept_since(folder, since) for folder in folders) else since

    def _sync_pids(self):
        """Main processes of the live syncs by lsyncd. Returns list of pids; those that are down are missing."""
        pids = set()
        units = []
        for sync in self._syncs():
            path = sync.get("pidfile")
            pid = (freeze_drain.read_pid(path) or freeze_drain.pid_naming(path)) if path else 0
            if pid:
                pids.add(pid)
            else:
                units += [freeze_services.unit_name(name) for name in sync["service"]]
        for unit_state in freeze_services.states(sorted(set(units))).values():
            if int(unit_state.get("MainPID", "0") or 0):
                pids.add(int(unit_state["MainPID"]))
        return sorted(pids)

    def _sync_processes(self):
        """The live syncs and all that they have started: set of pids."""
        pids = self._sync_pids()
        return set(pids).union(*[freeze_drain.descendants(pid) for pid in pids])

    def _holders(self):
        """Who could write, live sync left out: it only reads."""
        ignore = self._sync_processes()
        trees = [(tree["name"], self._tree(tree)) for tree in self.p["trees"]]
        return freeze_holders.holders(trees, ignore)

    def _scan(self):
        found = self._holders()
        self.result["open_files"] = [entry.as_dict() for entry in found]
        around = [entry for entry in found if entry.how == "bypass"]
        if around:
            self.result["warnings"].append(
                "These stand in a tree since before it was staged and can write around the freeze; "
                "restart or end them before the cutover: " + freeze_holders.named(around)
            )
        return freeze_holders.named(found) or "nobody"

    def _check_other_side(self):
        seconds = [
            freeze_transfer.reachable(tree, self.p["drain_timeout"]) for tree in self.p["trees"] if tree["dest_url"]
        ]
        return "%.0f ms" % (1000 * max(seconds)) if seconds else "no other side given"

    def _check_live_sync(self):
        """Live sync runs and its log has no bad line since the mark. Raises FreezeError."""
        followed = [tree for tree in self.p["trees"] if tree["live_sync"]["method"] == "lsyncd"]
        if not followed:
            return "no lsyncd"
        if not self._sync_pids():
            raise FreezeError("live sync does not run. Start it, wait until lsyncd_info says converged, then run again")
        for tree in followed:
            sync = tree["live_sync"]
            bad = lost_events(sync.get("log_file"), self._log_mark(sync))
            freeze_lists.check_guard(sync.get("guard_state_dir"))
            if bad:
                raise FreezeError(
                    "%s says %r. Wait until lsyncd_info says converged, stage again, then run again"
                    % (sync["log_file"], bad[-1])
                )
        return "running"

    def _check_units(self):
        """A unit that does not exist is a mistake to be told of before anything is stopped. Raises FreezeError."""
        found = freeze_services.states(self.writers + self._sync_units())
        unknown = [unit for unit, known in sorted(found.items()) if known.get("LoadState") == "not-found"]
        if unknown:
            raise FreezeError("%s is no unit of this host. Correct writers or live_sync.service" % ", ".join(unknown))

    def _log_mark(self, sync):
        if sync.get("log_mark") is not None:
            return sync["log_mark"]
        return self.state.get("log_marks", {}).get(sync.get("log_file") or "", None)

    def _set_log_marks(self):
        marks = {}
        for sync in self._syncs():
            path = sync.get("log_file")
            if path and os.path.exists(path):
                marks[path] = os.path.getsize(path)
        self.state["log_marks"] = marks

    @staticmethod
    def _must_refuse(folder):
        """A file must not be creatable in folder: EROFS, and nothing else, is the right answer."""
        probe = os.path.join(folder, ".seamless-probe-%d" % os.getpid())
        try:
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            if error.errno == errno.EROFS:
                return
            raise
        os.unlink(probe)
        raise FreezeError("%s is still writable although it was made read-only" % folder)

    def _doors(self):
        """Folders through which the migration itself may write: the private door, or the tree when none is closed."""
        bound = self.p["read_only"] in ("auto", "bind")
        return {tree["name"]: tree["private_path"] if bound else tree["path"] for tree in self.p["trees"]}

    def _note_canaries(self, pairs):
        for name, canary in pairs:
            self._record(name).setdefault("canaries", []).append(canary)
        save(self.paths, self.state)

    def _drain_rounds(self, followed):
        """Drain the trees that are followed. Returns how many rounds it took, in words."""
        pids = self._sync_pids()

        def alive():
            if not self._sync_pids():
                raise FreezeError("live sync has ended while the tree was being drained. Look at its log")

        doors = self._doors()
        window = self.state["state"] == "freezing"
        if not window:
            doors = {tree["name"]: tree["path"] for tree in followed}
        limit = self._left(self.p["drain_timeout"]) if window else self.p["drain_timeout"]
        rounds = freeze_drain.drain(followed, doors, pids, limit, alive=alive, note=self._note_canaries)
        return "1 round" if rounds == 1 else "%d rounds" % rounds

    def _list_path(self, tree):
        return os.path.join(self.paths.lists, tree["name"] + ".list")

    def _doubt_path(self, tree):
        return os.path.join(self.paths.lists, tree["name"] + ".doubtful")

    def _proven(self, tree):
        """What staging has proven equal, but for the doubtful paths: dict with marks (in the guard's lists) and at."""
        proven = self.state.get("proven", {}).get(tree["name"], {})
        same = proven.get("dest_url") == tree["dest_url"] and os.path.exists(self._doubt_path(tree))
        return proven if same else {"marks": {}, "at": None}

    def _look_for_changes(self, tree, paths, window):
        """Add what was changed since both sides were proven equal, by the files themselves.

        window: only where staging has shown that it takes no time worth speaking of.
        """
        proven = self._proven(tree).get("at")
        since = proven or freeze_lists.followed_since(tree["live_sync"]["guard_state_dir"])
        took = self.state.get("look_ms", {}).get(tree["name"], LOOK_MS + 1)
        if since is None or (window and (proven is None or took > LOOK_MS)):
            return
        begin = time.monotonic()
        paths.add("changed", freeze_lists.changed_since(tree["path"], since, self._still_time))
        took = (time.monotonic() - begin) * 1000
        self.state.setdefault("look_ms", {})[tree["name"]] = round(took, 1)

    def _listed(self):
        """Trees whose last changes come from lists; the others need a whole pass."""
        return [tree for tree in self.p["trees"] if tree["dest_url"] and tree["live_sync"]["method"] == "lsyncd"]

    def _write_lists(self, open_files, window=True):
        """Write the list of each tree. window: for the window, or to predict it. Returns how long the lists are."""
        counts = {}
        for tree in self._listed():
            sync = tree["live_sync"]
            paths = freeze_lists.PathList(tree["path"], self._still_time)
            folder = sync.get("guard_state_dir")
            if folder:
                proven = self._proven(tree)["marks"]
                for kind, path, offset in freeze_lists.guard_lists(folder, sync.get("touched_since") or 0, proven):
                    paths.add(kind, freeze_lists.entries(path, offset))
                    if kind == "hardlinks":
                        inodes = freeze_lists.entries(os.path.join(folder, "inodes"))
                        names = freeze_lists.entries(path, offset)
                        stay = freeze_lists.names_that_stay(tree["path"], names, inodes, self._still_time)
                        paths.add("links_that_stay", stay)
                paths.add("doubtful", freeze_lists.entries(self._doubt_path(tree)))
                self._look_for_changes(tree, paths, window)
            paths.add("open", [os.fsencode(entry["path"]) for entry in open_files if entry["tree"] == tree["name"]])
            paths.add("pending", pending(sync.get("status_file"), self._tree(tree).path))
            for extra in self.p["extra_paths_files"].get(tree["name"], []):
                paths.add("extra", freeze_lists.entries(extra))
            counts[tree["name"]] = paths.write(self._list_path(tree))
            self.result["lists"][tree["name"]] = dict(paths.counts, total=counts[tree["name"]])
        return counts

    def _sweep(self, trees, seconds):
        """Take the canaries away from the other side, and settle its top directory."""
        freeze_transfer.for_each(trees, lambda tree: freeze_transfer.settle_top(tree, seconds))
        for tree in trees:
            self._record(tree["name"])["canaries"] = []

    def failed(self):
        """What a caller should know of a run that raised: the result as it is on disk. Never raises."""
        with contextlib.suppress(*FAILURES):
            self._load()
        result = self._finish()
        result["changed"] = result["changed"] and not result["undone"]
        return result

    def _finish(self):
        state = self.state
        end = state.get("drained_at") if state["state"] in ("drained", "committed") else None
        window = 0.0
        if state.get("frozen_at") and state["state"] in LIVE + ("committed",):
            window = round(((end or time.time()) - state["frozen_at"]) * 1000, 1)
        self.result.update(
            before=self.before,
            after=state["state"],
            state=state["state"],
            run_id=state["run_id"],
            steps=self.steps.done,
            window_ms=window,
            frozen_at=state.get("frozen_at", 0),
            paths_in_delta=state.get("paths_in_delta", 0),
            predicted_window_s=state.get("predicted_window_s", 0.0),
            deadman_unit=(state.get("deadman") or {}).get("unit", ""),
            deadman_at=(state.get("deadman") or {}).get("deadline", 0),
            private_paths={record["name"]: record["private"] for record in state["trees"]},
            active_before=state.get("active_before", []),
            thawed_by=state.get("thawed_by", ""),
            unwatched_since=self._unwatched_since(),
        )
        return self.result


def lost_events(path, mark):
    """Lines of lsyncd's log since the byte mark that say that it lost events or began anew. Returns list of str.

    A single transfer that failed is no such line: its paths are in the guard's lists, and so in the last copy. Without
    a mark nothing is judged; a log shorter than the mark was rotated and is read whole.
    """
    if not path or mark is None or not os.path.exists(path):
        return []
    with open(path, "rb") as stream:
        if os.fstat(stream.fileno()).st_size >= mark:
            stream.seek(mark)
        found = status.bad_lines(stream.read())
    return [found[kind] for kind in LOST if kind in found]


def pending(path, root):
    """Paths that the last status file of lsyncd names as delays of the sync of root. Returns list of bytes.

    An incomplete or old file only makes the list of the final delta longer or shorter by what the canary proves anyway.
    """
    if not path or not os.path.exists(path):
        return []
    with open(path, "rb") as stream:
        lines = stream.read(16 << 20).splitlines()
    found = []
    for line in lines:
        match = re.match(rb"^(?:active|wait|block)\s+\w+\s+(.+)$", line)
        if match:
            found += [part.strip() for part in match.group(1).split(b" -> ")]
    prefix = os.fsencode(root.rstrip("/")) + b"/"
    return [part[len(prefix) :] if part.startswith(prefix) else part for part in found]
