# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can be done ahead of the window, and a prediction of how long the window will be."""

import contextlib
import os
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.host.files import read
from ansible_collections.seamless.migration.plugins.module_utils.storage import (
    freeze_lists,
    freeze_mounts,
    freeze_program,
    freeze_services,
    freeze_transfer,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_side import Side
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import (
    LIVE,
    FreezeError,
    Lock,
    save,
)

WRITER_STOP_S = 0.3  # assumed for the writers, since it cannot be tried
SYNC_STOP_S = 0.2
CLOCK_S = 2.0  # times of files are a little behind the clock
STAGE_LIMIT_S = 3600  # nobody waits for staging


class Staging(Side):
    """The state `staged`."""

    def _files(self):
        """What staging installs: dict path -> content."""
        blocked = self.writers + [unit for unit in self._sync_units() if unit not in self.writers]
        contents = freeze_services.drop_ins(self.paths, blocked)
        if self.p["trees"]:
            before = blocked + [
                "rsync.service",
                "rsyncd.service",
                "rsync.socket",
                "rsyncd.socket",
                "nfs-server.service",
            ]
            contents.update(
                freeze_services.boot_files(self.paths, [tree["path"] for tree in self.p["trees"]], before, self.python)
            )
        return contents

    def _unstaged(self):
        """What staging would still have to do. Returns list of sentences."""
        todo = ["write " + path for path in freeze_services.missing(self._files())]
        if read(self.paths.program) != freeze_program.pack(self.python):
            todo.append("install " + self.paths.program)
        if self.p["trees"] and not os.path.islink(freeze_services.wants_link(self.paths)):
            todo.append("enable " + self.paths.boot_unit)
        if self.p["read_only"] != "none":
            mounts = freeze_mounts.mounts_of()
            for name, tree in self._refresh():
                todo += [
                    "bind %s on itself" % os.fsdecode(place) for place, mounted in tree.places(mounts) if not mounted
                ]
                if not tree.private_mounts(mounts):
                    todo.append("mount %s at %s" % (name, tree.private))
        return todo

    def _stage_files(self):
        self.paths.prepare()
        written = freeze_services.install(self._files())
        written += freeze_services.install({self.paths.program: freeze_program.pack(self.python)}, mode=0o755)
        link = freeze_services.wants_link(self.paths)
        if self.p["trees"] and not os.path.islink(link):
            if not os.path.isdir(os.path.dirname(link)):
                os.makedirs(os.path.dirname(link))
            os.symlink(os.path.join("..", self.paths.boot_unit), link)
            written.append(link)
        if any(path.startswith(self.paths.units) for path in written):
            freeze_services.systemctl(["daemon-reload"], 60)
        self.state["files"] = sorted(set(self.state.get("files", [])) | set(self._files()) | {link})
        return "%d files" % len(written)

    def _stage_mounts(self):
        records = []
        for name, tree in self._refresh():
            option = next(entry for entry in self.p["trees"] if entry["name"] == name)
            old = next((entry for entry in self.state["trees"] if entry["name"] == name), {})
            covered = [os.fsdecode(place) for place, mounted in tree.places(freeze_mounts.mounts_of()) if not mounted]
            if self.p["read_only"] == "none":
                covered = []
            record = dict(old)
            record.update(
                name=name,
                path=tree.path,
                private=tree.private,
                dest_url=option["dest_url"],
                covered=sorted(set(old.get("covered", [])) | set(covered)),
                doored=self.p["read_only"] != "none",
            )
            record.setdefault("closed", False)
            records.append(record)
        names = {record["name"] for record in records}
        # What is closed has to be known for as long as it is.
        records += [old for old in self.state["trees"] if old.get("closed") and old["name"] not in names]
        self.state["trees"] = records
        save(self.paths, self.state)
        if self.p["read_only"] == "none":
            return "none asked for"
        for _unused, tree in self._refresh():
            freeze_mounts.stage(tree)
        self._refresh()
        self._refresh_exports()
        return ", ".join(record["private"] for record in records)

    def _refresh_exports(self):
        """The kernel's NFS server goes by the mounts that it knew when it first looked: let it look again.

        An export of a folder above a tree reaches the tree around its mount, unless it crosses mounts.
        """
        exported = freeze_mounts.exported_paths()
        for tree in self.p["trees"]:
            path = os.fsencode(self._tree(tree).path)
            for export in exported:
                if export != path and freeze_mounts.beneath(path, export):
                    self.result["warnings"].append(
                        "%s is exported by NFS as a part of %s: clients of that export can write around the freeze. "
                        "Export the tree by itself, or name the clients' users as writers"
                        % (tree["path"], os.fsdecode(export))
                    )
        exportfs = command.which("exportfs")
        if exported and exportfs:
            command.run([exportfs, "-f"], timeout=30)

    def _stage(self):
        self.result["changed"] = bool(self._unstaged()) or self.result["changed"]
        self.steps.run("prepare", self._stage_files)
        self.steps.run("mounts", self._stage_mounts)
        self.state["systemctl_units"] = self.writers
        save(self.paths, self.state)

    def _probe_read_only(self):
        """Try the flag on a scratch mount of each tree: the same call on the same file system, seen by nobody."""
        if self.p["read_only"] == "none":
            return "none asked for"
        for tree in self.p["trees"]:
            probe = os.path.join(os.path.dirname(tree["private_path"]), ".probe-" + tree["name"])
            if not os.path.isdir(probe):
                os.makedirs(probe, mode=0o700)
            freeze_mounts.mount(tree["path"], probe, freeze_mounts.MS_BIND)
            try:
                flags = freeze_mounts.MS_BIND | freeze_mounts.MS_REMOUNT | freeze_mounts.MS_RDONLY
                freeze_mounts.mount("none", probe, flags)
                self._must_refuse(probe)
            finally:
                freeze_mounts.unmount(probe)
                os.rmdir(probe)
        return "refused as it should be"

    def _rehearse_drain(self):
        followed = [tree for tree in self.p["trees"] if tree["live_sync"]["method"] == "lsyncd"]
        if not followed:
            return "no lsyncd"
        rounds = self._drain_rounds(followed)
        self._sweep([tree for tree in followed if tree["dest_url"]], self.p["drain_timeout"])
        return rounds

    def _prove(self):
        """Compare what was touched so far, and leave it out of the window but for what is doubtful.

        A path that changes after it was compared is noted by the guard again, beyond the mark. Hard links are made
        first: live sync carries the names of a file one by one, and the window should not have to look for the others.
        """
        said = []
        for tree in self._listed():
            folder = tree["live_sync"].get("guard_state_dir")
            if not folder:
                continue
            marks = freeze_lists.mark(folder)
            began = time.time() - CLOCK_S
            count = self._write_lists([], window=False)[tree["name"]]
            self._make_links(tree, folder)
            doubtful = freeze_transfer.doubtful(tree, self._list_path(tree), STAGE_LIMIT_S)
            if doubtful is None:
                said.append("%s: not proven, all %d paths stay on the list" % (tree["name"], count))
                continue
            paths = freeze_lists.PathList(tree["path"])
            paths.add("doubtful", doubtful)
            left = paths.write(self._doubt_path(tree))
            self.state.setdefault("proven", {})[tree["name"]] = {
                "dest_url": tree["dest_url"],
                "marks": marks,
                "at": began,
            }
            save(self.paths, self.state)
            said.append("%s: %d paths compared, %d doubtful" % (tree["name"], count, left))
        return "; ".join(said) or "no lists"

    def _make_links(self, tree, folder):
        """Bring all names of the files that have more than one. What fails now is doubtful below, and fails there."""
        paths = freeze_lists.PathList(tree["path"])
        marks = self._proven(tree)["marks"]
        offsets = {kind: offset for kind, _unused, offset in freeze_lists.guard_lists(folder, 0, marks)}
        paths.add("hardlinks", freeze_lists.entries(os.path.join(folder, "hardlinks"), offsets["hardlinks"]))
        path = self._list_path(tree) + ".links"
        if paths.write(path):
            with contextlib.suppress(FreezeError):
                freeze_transfer.bring(tree, path, STAGE_LIMIT_S, live=True)

    def _rehearse_delta(self):
        counts = self._write_lists([])
        freeze_transfer.for_each(
            self._listed(),
            lambda tree: freeze_transfer.bring(tree, self._list_path(tree), STAGE_LIMIT_S, dry_run=True),
        )
        return ", ".join("%s: %d paths" % item for item in sorted(counts.items())) or "no lists"

    def _rehearse(self):
        """Measure every part that can be measured without anybody noticing. Sets predicted_window_s."""
        self.steps.run("read_only_probe", self._probe_read_only)
        self.steps.run("other_side", self._check_other_side)
        self.steps.run("open_files", self._scan)
        self.steps.run("live_sync", self._check_live_sync)
        self.steps.run("drain", self._rehearse_drain)
        self.steps.run("prove", self._prove)
        self.steps.run("delta", self._rehearse_delta)
        measured = self.steps.ms("read_only_probe", "open_files", "drain") + 2 * self.steps.ms("delta")
        assumed = (WRITER_STOP_S if self.writers else 0) + SYNC_STOP_S * len(self._sync_units())
        self.state["predicted_window_s"] = round(measured / 1000 + assumed, 2)
        if self.state["predicted_window_s"] > self.p["budget"]:
            self.result["warnings"].append(
                "The predicted window of %.1f s exceeds the budget of %s s"
                % (self.state["predicted_window_s"], self.p["budget"])
            )

    def staged(self):
        """Do everything slow before the window, and predict it. Returns result."""
        with Lock(self.paths, self.p["run_id"]):
            now = self._load()
            if now in LIVE or now == "committed":
                return self._finish()
            self._check_units()
            self._stage()
            self._set_log_marks()
            self._rehearse()
            if now in ("none", "thawed", "staged"):
                self.state["state"] = "staged"
            save(self.paths, self.state)
        return self._finish()
