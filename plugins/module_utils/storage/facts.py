# SPDX-License-Identifier: GPL-3.0-or-later
"""What a storage host is and what lies in its trees, read without changing anything."""

import grp
import os
import platform
import pwd
import re
import stat
import time

from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError, run, which
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_holders import holders
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_mounts import Tree
from ansible_collections.seamless.migration.plugins.module_utils.storage.sides import PRIVATE

LIMITS = {
    "max_user_watches": "/proc/sys/fs/inotify/max_user_watches",
    "max_user_instances": "/proc/sys/fs/inotify/max_user_instances",
    "max_queued_events": "/proc/sys/fs/inotify/max_queued_events",
}
OURS = b".seamless-"


def mounts(mountinfo="/proc/self/mountinfo"):
    """Mounted file systems, later ones last. Returns a list of {"path", "fstype", "options", "source"}.

    Source of the format: proc_pid_mountinfo(5); blanks, tabs, newlines and backslashes come as octal escapes.
    """
    found = []
    with open(mountinfo, errors="surrogateescape") as stream:
        for line in stream:
            before, _separator, after = line.rstrip("\n").partition(" - ")
            fields, tail = before.split(" "), after.split(" ")
            options = sorted(set(fields[5].split(",")) | set(tail[2].split(",")))
            if "ro" in fields[5].split(","):  # the mount's own flag wins over the file system's
                options = [option for option in options if option != "rw"]
            found.append(
                {"path": _unescape(fields[4]), "fstype": tail[0], "source": _unescape(tail[1]), "options": options}
            )
    return found


def _unescape(text):
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def mount_of(path, table):
    """The mount that holds path: the last one in the table whose path is the longest prefix."""
    best = None
    real = os.path.realpath(path)
    for mount in table:
        inside = real == mount["path"] or real.startswith(mount["path"].rstrip("/") + "/")
        if inside and (best is None or len(mount["path"]) >= len(best["path"])):
            best = mount
    return best


def walk_counts(path, seconds):
    """Count what is below path for at most `seconds` seconds.

    Returns {"files", "directories", "bytes", "hard_linked", "complete"}; bytes are apparent sizes of regular files,
    hard_linked is the number of regular files with more than one name. Unreadable directories make it incomplete.
    """
    counts = {"files": 0, "directories": 0, "bytes": 0, "hard_linked": 0, "complete": True}
    deadline = time.monotonic() + seconds
    todo = [os.fsencode(path)]
    while todo:
        if time.monotonic() > deadline:
            counts["complete"] = False
            break
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    _count(entry, counts, todo)
        except OSError:
            counts["complete"] = False
    return counts


def _count(entry, counts, todo):
    if entry.name.startswith(OURS):
        return
    if entry.is_dir(follow_symlinks=False):
        counts["directories"] += 1
        todo.append(entry.path)
        return
    status = entry.stat(follow_symlinks=False)
    counts["files"] += 1
    if stat.S_ISREG(status.st_mode):
        counts["bytes"] += status.st_size
        counts["hard_linked"] += status.st_nlink > 1


def tree_facts(path, walk_seconds, table=None):
    """Facts of one tree. path: absolute. walk_seconds: bound of the counting walk, 0 for none. Returns dict.

    Of a tree that is not there yet the file system is told on which it would be made.
    """
    facts = {"path": path, "exists": os.path.isdir(path), "is_link": os.path.islink(path)}
    facts.update(_file_system(nearest(path), mounts() if table is None else table))
    if facts["exists"]:
        facts.update(
            empty=not any(not name.startswith(OURS.decode()) for name in os.listdir(path)),
            mountpoint=os.path.ismount(path),
        )
        if walk_seconds:
            facts["counts"] = walk_counts(path, walk_seconds)
    return facts


def nearest(path):
    """The directory itself, or the nearest one above it that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _file_system(path, table):
    mount = mount_of(path, table)
    status = os.statvfs(path)
    return dict(
        mount=mount["path"],
        device=os.stat(path).st_dev,
        fstype=mount["fstype"],
        options=mount["options"],
        read_only="ro" in mount["options"] and not _has_door(mount, table),
        free_bytes=status.f_bavail * status.f_frsize,
        used_bytes=(status.f_blocks - status.f_bfree) * status.f_frsize,
        free_inodes=status.f_favail,
        used_inodes=status.f_files - status.f_ffree,
        inodes_limited=status.f_files > 0,
        name_max=status.f_namemax,
    )


def _has_door(mount, table):
    """Whether the migration itself can write to what it keeps read-only for everybody else."""
    doors = [entry for entry in table if entry["path"].startswith(PRIVATE + "/") and "ro" not in entry["options"]]
    return any(entry["source"] == mount["source"] for entry in doors)


def open_for_writing(path):
    """Processes that have files below path open, or mapped, for writing. Returns a list of {"pid", "name", "path"}."""
    found = holders([("tree", Tree(path, PRIVATE))])
    return [
        {"pid": one.pid, "name": one.name, "path": os.fsdecode(one.relative)} for one in found if one.how != "bypass"
    ]


def version_of(argv):
    """First version number that the program prints, None where the program is not installed."""
    program = which(argv[0])
    if program is None:
        return None
    try:
        result = run([program] + argv[1:], timeout=10, ok=None)
    except CommandError:
        return None
    found = re.search(r"\d+\.\d+(\.\d+)?", result.stdout + result.stderr)
    return found.group(0) if found else None


def rsync_features():
    """What the installed rsync was built with: {"acls": bool, "xattrs": bool}; both False where there is no rsync."""
    program = which("rsync")
    if program is None:
        return {"acls": False, "xattrs": False}
    text = run([program, "--version"], timeout=10).stdout
    return {
        "acls": bool(re.search(r"(?<!no )\bACLs\b", text)),
        "xattrs": bool(re.search(r"(?<!no )\bxattrs\b", text)),
    }


def unit_facts(names):
    """State of systemd units. Returns {name: {"exists": bool, "active": str}}; empty where there is no systemd."""
    program = which("systemctl")
    if program is None or not names:
        return {}
    units = {}
    for name in names:
        text = run([program, "show", "-p", "LoadState,ActiveState", "--", name], timeout=20, ok=None).stdout
        shown = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        units[name] = {"exists": shown.get("LoadState") == "loaded", "active": shown.get("ActiveState", "unknown")}
    return units


def inotify_limits():
    """The kernel's inotify limits, None for one that cannot be read."""
    limits = {}
    for name, path in LIMITS.items():
        try:
            with open(path) as stream:
                limits[name] = int(stream.read())
        except (OSError, ValueError):
            limits[name] = None
    return limits


def host_facts(units=()):
    """Facts of the host: versions, clock (seconds since 1970), accounts, limits, state of the named units."""
    return {
        "clock": time.time(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "rsync": version_of(["rsync", "--version"]),
        "rsync_features": rsync_features(),
        "lsyncd": version_of(["lsyncd", "--version"]),
        "inotify": inotify_limits(),
        "users": {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()},
        "groups": {entry.gr_name: entry.gr_gid for entry in grp.getgrall()},
        "units": unit_facts(units),
    }
