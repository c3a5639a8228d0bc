# SPDX-License-Identifier: GPL-3.0-or-later
"""Who could still write into a tree: files open for writing, shared writable mappings, and ways around its mounts."""

import os
import re
import signal
import time

from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_mounts import (
    below,
    beneath,
    join,
    mount_at,
    mounts_of,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import process_started

DELETED = b" (deleted)"
# A line of maps for a shared mapping of a file that may be written; there are hundreds of others in each process.
SHARED = re.compile(rb"^[0-9a-f-]+ .w.s \S+ \S+ \S+ +(/.*)$", re.MULTILINE)


class Holder:
    """One process with one grip on a tree. how: `open` for writing, `mapped` shared and writable, `bypass` (a directory
    held through an older mount, by which files can be opened around the read-only one).
    relative: path within the tree, bytes.
    """

    def __init__(self, pid, name, how, relative, tree):
        self.pid = pid
        self.name = name
        self.how = how
        self.relative = relative
        self.tree = tree

    def as_dict(self):
        return {
            "pid": self.pid,
            "name": self.name,
            "how": self.how,
            "tree": self.tree,
            "path": os.fsdecode(self.relative),
        }


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _link(path):
    try:
        return os.fsencode(os.readlink(path))
    except OSError:
        return b""


class _Views:
    """How processes see the mounts: read once for each mount namespace."""

    def __init__(self):
        self.known = {}

    def of(self, pid):
        link = _link("/proc/%d/ns/mnt" % pid)
        if link not in self.known:
            self.known[link] = {entry.number: entry for entry in mounts_of(pid)}
        return self.known[link]


def _fields(pid, number):
    """flags (int) and mnt_id (int or None) of a file descriptor, from fdinfo (proc(5))."""
    words = {}
    for line in _read("/proc/%d/fdinfo/%s" % (pid, number)).splitlines():
        key, _unused, value = line.partition(b":")
        words[key] = value.strip()
    flags = int(words.get(b"flags", b"0"), 8)
    return flags, (int(words[b"mnt_id"]) if b"mnt_id" in words else None)


class _Search:
    def __init__(self, tree, name, mounts):
        self.tree = tree
        self.name = name
        self.places = [place for place, _unused in tree.places(mounts)]
        self.private = os.fsencode(tree.private)
        self.safe = {entry.number for entry in tree.own_mounts(mounts)}
        self.safe |= {entry.number for entry in tree.private_mounts(mounts)}

    def relative(self, path):
        """path within the tree for a path that a process of our own namespace shows, else None."""
        for place in self.places + [self.private]:
            if beneath(path, place):
                return below(path, place).lstrip(b"/")
        return None

    def foreign(self, path, entry):
        """The same for another namespace, by what the mount `entry` shows of the file system."""
        if entry is None or entry.device != self.tree.device or not beneath(path, entry.point):
            return None
        inside = join(entry.root, below(path, entry.point))
        if beneath(inside, self.tree.root):
            return below(inside, self.tree.root).lstrip(b"/")
        return None


def _strip(path):
    return path[: -len(DELETED)] if path.endswith(DELETED) else path


def _locate(search, path, entry, views):
    """path within the tree. In another namespace the mount `entry` decides where it is known: the same text may name
    another file there, as in a container.
    """
    if views is None or entry is None:
        return search.relative(path)
    return search.foreign(path, entry)


def _descriptors(pid, searches, views):
    """Yields (search, how, relative) for the open files and directories of a process."""
    folder = "/proc/%d/fd" % pid
    try:
        numbers = os.listdir(folder)
    except OSError:
        return
    for number in numbers:
        path = _link("%s/%s" % (folder, number))
        if not path.startswith(b"/"):
            continue
        ours = any(search.relative(_strip(path)) is not None for search in searches)
        if not ours and views is None:
            continue
        flags, mount_id = _fields(pid, number)
        writing = flags & (os.O_WRONLY | os.O_RDWR)
        entry = views.of(pid).get(mount_id) if views is not None else None
        for search in searches:
            if not writing and (views is not None or mount_id is None or mount_id in search.safe):
                continue
            relative = _locate(search, _strip(path), entry, views)
            if relative is None:
                continue
            if writing:
                yield search, "open", relative
            elif os.path.isdir("%s/%s" % (folder, number)):
                yield search, "bypass", relative


def _mappings(pid, searches, views):
    """Yields (search, "mapped", relative) for the shared writable mappings of a process (proc(5): maps)."""
    for found in SHARED.finditer(_read("/proc/%d/maps" % pid)):
        path = _strip(found.group(1))
        entry = mount_at(path, views.of(pid).values()) if views is not None else None
        for search in searches:
            relative = _locate(search, path, entry, views)
            if relative is not None:
                yield search, "mapped", relative


def _places_of(pid, searches):
    """Working directory and root of a process, where they lie in a tree but not on its own mounts.

    fdinfo gives no mount number for these; a directory opened anew through the link tells it.
    """
    for link in ("cwd", "root"):
        path = _link("/proc/%d/%s" % (pid, link))
        for search in searches:
            relative = search.relative(path) if path else None
            if relative is None:
                continue
            try:
                handle = os.open("/proc/%d/%s" % (pid, link), os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue
            try:
                mount_id = _fields(os.getpid(), str(handle))[1]
            finally:
                os.close(handle)
            if mount_id is not None and mount_id not in search.safe:
                yield search, "bypass", relative


def holders(trees, ignore=()):
    """Who holds what in the trees.

    trees: list of (name, Tree). ignore: pids that only read (live sync). Returns list of Holder. Processes of
    other mount namespaces are recognised by device and path within the file system.
    """
    mounts = mounts_of()
    searches = [_Search(tree, name, mounts) for name, tree in trees]
    own = _link("/proc/self/ns/mnt")
    views = _Views()
    found = []
    skip = set(ignore) | {os.getpid()}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in skip:
            continue
        pid = int(entry)
        namespace = _link("/proc/%d/ns/mnt" % pid)
        if not _link("/proc/%d/exe" % pid):
            continue  # a kernel thread, or gone
        seen_by = None if namespace == own else views
        grips = list(_descriptors(pid, searches, seen_by)) + list(_mappings(pid, searches, seen_by))
        if namespace == own:
            grips += list(_places_of(pid, searches))
        if grips:
            name = os.fsdecode(_read("/proc/%d/comm" % pid).strip())
            known = set()
            for search, how, relative in grips:
                if (search.name, how, relative) not in known:
                    known.add((search.name, how, relative))
                    found.append(Holder(pid, name, how, relative, search.name))
    return found


def named(found, limit=5):
    """Holders as they stand in a message. Returns str."""
    words = [
        "%s (pid %d) %s %s:/%s"
        % (
            entry.name,
            entry.pid,
            {"open": "writes", "mapped": "maps", "bypass": "stands in"}[entry.how],
            entry.tree,
            os.fsdecode(entry.relative).encode("utf-8", "backslashreplace").decode(),
        )
        for entry in found[:limit]
    ]
    more = len(found) - limit
    return ", ".join(words) + (" and %d more" % more if more > 0 else "")


def end(pids, patience=1.0):
    """TERM, then KILL processes by pid. Returns the pids that are still there after that."""
    started = {pid: process_started(pid) for pid in pids}
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, begin in started.items():
            if begin is not None and process_started(pid) == begin:
                try:
                    os.kill(pid, number)
                except OSError:
                    pass
        limit = time.monotonic() + patience
        while time.monotonic() < limit and _left(started):
            time.sleep(0.01)
    return _left(started)


def _left(started):
    """Those of dict pid -> start time that still run; a zombie has let go of its files already."""
    return [
        pid
        for pid, begin in started.items()
        if begin is not None and process_started(pid) == begin and b") Z " not in _read("/proc/%d/stat" % pid)
    ]
