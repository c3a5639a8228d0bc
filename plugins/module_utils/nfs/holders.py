# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a mount, found in /proc without touching the mount.

The links in /proc/PID say where a file is without asking the server, so this works while the server is dead.
"""

import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.nfs import mounts

_DELETED = " (deleted)"
_UNIT = re.compile(r"([^/]+\.(?:service|scope))(?:/|\Z)")
HOW = {
    "cwd": "has its working directory at",
    "root": "has its root directory at",
    "exe": "runs the program",
    "open": "has open",
    "lock": "holds a lock on",
    "mapped": "has mapped",
}


class Holder:
    """One grip of a process on a mount. how: a key of HOW. unit: the systemd unit it belongs to, or ""."""

    def __init__(self, pid, command, unit, how, path):
        self.pid = pid
        self.command = command
        self.unit = unit
        self.how = how
        self.path = path

    def as_dict(self):
        return {"pid": self.pid, "command": self.command, "unit": self.unit, "how": self.how, "path": self.path}

    def __str__(self):
        where = " of %s" % self.unit if self.unit else ""
        return "%s (pid %d%s) %s %s" % (self.command, self.pid, where, HOW[self.how], self.path)


def told(found, limit=5):
    """Holders, or other mounts, for a message. Returns str."""
    words = [str(holder) for holder in found[:limit]]
    return "; ".join(words) + (" and %d more" % (len(found) - limit) if len(found) > limit else "")


def _text(path):
    try:
        with open(path, "rb") as stream:
            return files.text(stream.read())
    except OSError:
        return ""


def _link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _names(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def own_namespace(proc="/proc"):
    """The mount namespace of this process."""
    return _link(proc + "/self/ns/mnt")


class Process:
    """A process by its folder in /proc."""

    def __init__(self, folder):
        self.folder = folder
        self.pid = int(os.path.basename(folder))

    @property
    def command(self):
        words = [word for word in _text(self.folder + "/cmdline").split("\0") if word]
        return files.printable(" ".join(words)[:120] or _text(self.folder + "/comm").strip() or "?")

    @property
    def unit(self):
        for line in _text(self.folder + "/cgroup").splitlines():
            found = _UNIT.findall(line.rpartition(":")[2])
            if found:
                return found[-1]
        return ""

    @property
    def namespace(self):
        """Its mount namespace, "" when it is gone or cannot be seen."""
        return _link(self.folder + "/ns/mnt")

    def grips(self):
        """Yields (how, path) for all files and places of the process."""
        for how in ("cwd", "root", "exe"):
            yield how, _link("%s/%s" % (self.folder, how))
        for number in _names(self.folder + "/fd"):
            path = _link("%s/fd/%s" % (self.folder, number))
            if path.startswith("/"):
                locked = "\nlock:" in "\n" + _text("%s/fdinfo/%s" % (self.folder, number))
                yield "lock" if locked else "open", path
        for line in _text(self.folder + "/maps").splitlines():
            words = line.split(None, 5)
            if len(words) == 6 and words[5].startswith("/"):
                yield "mapped", words[5]


class _Views:
    """Where the mount is seen, for each mount namespace."""

    def __init__(self, mount, proc):
        self.mount = mount
        self.proc = proc
        self.own = own_namespace(proc)
        ours = mounts.read(proc + "/self/mountinfo")
        self.others = {other.point for other in ours if other.device == mount.device and other.point != mount.point}
        self.known = {self.own: [mount.point]}

    def of(self, process):
        """Mount points of the same file system, as the process names them."""
        namespace = process.namespace
        if namespace not in self.known:
            seen = mounts.read(process.folder + "/mountinfo")
            self.known[namespace] = [
                other.point for other in seen if other.device == self.mount.device and other.point not in self.others
            ]
        return self.known[namespace]


def processes(proc="/proc"):
    """All processes but this one, by their number. Returns list of Process."""
    found = (Process("%s/%s" % (proc, name)) for name in sorted(filter(str.isdigit, _names(proc)), key=int))
    return [process for process in found if process.pid != os.getpid()]


def find(mount, proc="/proc", ignore=()):
    """Who uses a mount.

    mount: mounts.Mount. ignore: pids that do not count. Returns list of Holder, one for each process, kind and path.
    """
    views = _Views(mount, proc)
    found = []
    for process in processes(proc):
        if process.pid in ignore:
            continue
        points = views.of(process)
        seen = set()
        for how, link in process.grips() if points else ():
            path = link[: -len(_DELETED)] if link.endswith(_DELETED) else link
            inside = any(path == point or path.startswith(point.rstrip("/") + "/") for point in points)
            if inside and (how, path) not in seen and not (how == "mapped" and ("exe", path) in seen):
                seen.add((how, path))
                found.append(Holder(process.pid, process.command, process.unit, how, files.printable(path)))
    return found


def from_dicts(entries):
    return [Holder(**entry) for entry in entries]
