# SPDX-License-Identifier: GPL-3.0-or-later
"""Where else a mount that leaves its server is mounted: bind mounts, second mounts, and what containers have of it.

Each of them would stay on the old server without a word. What goes by itself does not count: where mounts are shared
between namespaces, as between systemd and the sandboxes of its services, an unmount goes along (mount_namespaces(7)).
"""

import fnmatch
import os

from ansible_collections.seamless.migration.plugins.module_utils.nfs import holders, mounts


class Other:
    """A mount that would stay.

    path: as its namespace names it. pid, command, unit: of a process that has it there; 0 and empty for one of this
    namespace.
    """

    def __init__(self, path, pid=0, command="", unit=""):
        self.path = path
        self.pid = pid
        self.command = command
        self.unit = unit

    def as_dict(self):
        return {"path": self.path, "pid": self.pid, "command": self.command, "unit": self.unit}

    def __str__(self):
        if not self.pid:
            return self.path
        where = ", of %s" % self.unit if self.unit else ""
        return "%s as %s (pid %d%s) has it" % (self.path, self.command, self.pid, where)

    def is_known(self, known):
        """Whether somebody looks after it. known: paths, with what is below them, and patterns of units."""
        return any(
            (self.path + "/").startswith(word.rstrip("/") + "/") or (self.unit and fnmatch.fnmatchcase(self.unit, word))
            for word in known
        )


def _same(mount, other):
    """Whether another mount has the same files: the same file system, or the same export, or a part of it."""
    if other.device == mount.device:
        return True
    if not (other.is_nfs and other.address and mounts.same_address(other.address, mount.address)):
        return False
    export, part = (mounts.split_source(entry.source)[1].rstrip("/") for entry in (mount, other))
    return part == export or part.startswith(export + "/")


def _place(mount, seen):
    """Where a mount is mounted: (groups of its parent, the directory below the top of the parent's file system)."""
    parents = [entry for entry in seen if entry.number == mount.parent]
    if not parents:
        return set(), ""
    below = os.path.relpath(mount.point, parents[0].point)
    return parents[0].groups, os.path.normpath(os.path.join(parents[0].root, below))


def staying(leaving, ours, theirs):
    """Of the mounts of a namespace those with the same files that do not go along.

    leaving: the mounts that are unmounted. ours: all mounts here. theirs: all of the other namespace, or ours itself.
    """
    places = [_place(mount, ours) for mount in leaving]
    found = []
    for other in theirs:
        if theirs is ours and other.number in {mount.number for mount in leaving}:
            continue
        if any(_same(mount, other) for mount in leaving):
            groups, below = _place(other, theirs)
            if not any(below == place and groups & peers for peers, place in places):
                found.append(other)
    return found


def find(leaving, ours, units=(), proc="/proc"):
    """All mounts that would stay. units: those that are stopped for it; with them go their namespaces.

    Returns list of Other, one for each place and namespace.
    """
    found = [Other(mount.point) for mount in staying(leaving, ours, ours)]
    looked = {"", holders.own_namespace(proc)}
    for process in holders.processes(proc):
        space = process.namespace
        if space not in looked and process.unit not in units:
            looked.add(space)
            there = staying(leaving, ours, mounts.read(process.folder + "/mountinfo"))
            found += [Other(mount.point, process.pid, process.command, process.unit) for mount in there]
    return found


def from_dicts(entries):
    return [Other(**entry) for entry in entries]
