# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NFSv3 locks are held, through mounts of this host and through its exports, by /proc/locks (proc(5)).

What the lock service keeps are locks of version 2 and 3 only; those of version 4 belong to the NFS server itself.
"""

import os

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files
from ansible_collections.seamless.migration.plugins.module_utils.nfs import export_plan, mounts

# Where statd notes which clients hold locks here: nfs-utils, and the older place of Red Hat.
MONITORED = ("/var/lib/nfs/sm", "/var/lib/nfs/statd/sm")


class Lock:
    """One held lock. side: client (a process here holds it on a mount) or server (lockd holds it for clients).

    holder: for people. file: path, or "inode N of DEVICE" where the path is not known.
    """

    def __init__(self, side, pid, holder, file):
        self.side = side
        self.pid = pid
        self.holder = holder
        self.file = file

    def as_dict(self):
        return {"side": self.side, "pid": self.pid, "holder": self.holder, "file": self.file}

    def __str__(self):
        return "%s holds a lock on %s" % (self.holder, self.file)


class _Entry:
    """A line of /proc/locks. device: "major:minor" as mountinfo writes it."""

    def __init__(self, words):
        self.pid = int(words[-4])
        major, minor, inode = words[-3].split(":")
        self.device = "%d:%d" % (int(major, 16), int(minor, 16))
        self.inode = int(inode)


def entries(content):
    """Text of /proc/locks -> list of held locks; those that wait (->) hold nothing."""
    found = []
    for line in content.splitlines():
        words = line.split()
        if len(words) >= 8 and words[1] != "->" and words[1] in ("POSIX", "FLOCK"):
            found.append(_Entry(words))
    return found


def _text(path):
    try:
        with open(path, "rb") as stream:
            return files.text(stream.read())
    except OSError:
        return ""


def is_version_3(mount):
    """Whether a mount keeps its locks with the lock service of the server."""
    if not mount.is_nfs or mount.version.startswith("4") or mount.kind == "nfs4":
        return False
    return mount.option("nolock") is None and mount.option("local_lock") != "all"


def _held_by_process(proc, entry, point):
    """Lock of a process of this host, its file found by the descriptor that holds it, without asking the server."""
    folder = "%s/%d" % (proc, entry.pid)
    name = _text(folder + "/comm").strip() or "?"
    where = "inode %d below %s" % (entry.inode, point)
    mark = ":%d " % entry.inode
    try:
        numbers = os.listdir(folder + "/fd")
    except OSError:
        numbers = []
    for number in numbers:
        noted = _text("%s/fdinfo/%s" % (folder, number))
        if any(line.startswith("lock:") and mark in line for line in noted.splitlines()):
            where = files.printable(os.readlink("%s/fd/%s" % (folder, number)))
    return Lock("client", entry.pid, "%s (pid %d)" % (name, entry.pid), where)


def _path_of(inode, device, seen, exported, timeout):
    """Path of an inode within what is exported from a device. Returns str."""
    points = [mount.point for mount in seen if mount.device == device]
    for path in exported:
        if not any(path == point or path.startswith(point.rstrip("/") + "/") for point in points):
            continue
        try:
            found = command.run(
                ["find", path, "-xdev", "-inum", str(inode), "-print", "-quit"], timeout=timeout, ok=None
            ).stdout.strip()
        except command.CommandError:
            found = ""
        if found:
            return files.printable(found)
    return "inode %d of %s" % (inode, points[0] if points else "device " + device)


def _clients(root):
    names = []
    for folder in MONITORED:
        names += os.listdir(root + folder) if os.path.isdir(root + folder) else []
    return ", ".join(sorted(names)) or "unknown"


def held(root="", timeout=10):
    """All locks that the lock service of this host has to do with. timeout: seconds to look for a file by its inode.

    Returns list of Lock.
    """
    proc = root + "/proc"
    seen = mounts.read(proc + "/self/mountinfo")
    remote = {mount.device: mount.point for mount in seen if is_version_3(mount)}
    every_nfs = {mount.device for mount in seen if mount.is_nfs}
    exported = sorted({path for path, _client in export_plan.Table(root + export_plan.ETAB).entries})
    found = []
    for entry in entries(_text(proc + "/locks")):
        if entry.device in remote:
            found.append(_held_by_process(proc, entry, remote[entry.device]))
        elif entry.device in every_nfs:
            continue
        elif _text("%s/%d/comm" % (proc, entry.pid)).strip() == "lockd" or (
            # Old kernels note the number that the process has on the client.
            exported and not os.path.isdir("%s/%d" % (proc, entry.pid))
        ):
            path = _path_of(entry.inode, entry.device, seen, exported, timeout)
            found.append(Lock("server", entry.pid, "an NFSv3 client (one of: %s)" % _clients(root), path))
    return found


def told(found, limit=5):
    """Locks for a message. Returns str."""
    words = [str(lock) for lock in found[:limit]]
    return "; ".join(words) + (" and %d more" % (len(found) - limit) if len(found) > limit else "")
