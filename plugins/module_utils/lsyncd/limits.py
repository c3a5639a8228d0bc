# SPDX-License-Identifier: GPL-3.0-or-later
"""Inotify limits: what a tree needs and what the kernel has."""

import os

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.errors import LsyncdError

NAMES = ("max_user_watches", "max_queued_events", "max_user_instances")
QUEUED_EVENTS = 1048576  # reference: the default of 16384 overflows while the watches are being set
INSTANCES = 128
KERNEL = "/proc/sys/fs/inotify"


def directories(root, excludes=(), timeout=3600):
    """Number of directories in root, itself included, that lsyncd watches. excludes: compiled patterns.

    find counts them where nothing is excluded: it reads no file's inode. Raises LsyncdError.
    """
    if not os.path.isdir(root):
        raise LsyncdError("%s is no directory" % root)
    if excludes:
        return sum(1 for _path in _walk(files.data(root).rstrip(b"/"), excludes))
    try:
        result = command.run(["find", root, "-type", "d", "-printf", "."], timeout=timeout, ok=(0, 1))
    except command.CommandError as error:
        raise LsyncdError("the directories of %s cannot be counted: %s" % (root, error)) from error
    if not result.stdout:
        return sum(1 for _path in _walk(files.data(root).rstrip(b"/"), ()))
    return len(result.stdout)


def _walk(root, excludes):
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        yield folder
        try:
            with os.scandir(folder) as entries:
                found = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # vanished, or not to be read: lsyncd cannot watch it either
        waiting += [path for path in found if not excluded(path[len(root):] + b"/", excludes)]


def excluded(path, excludes):
    """Whether a path from the root of the tree (bytes, leading slash) is excluded as lsyncd sees it."""
    return any(pattern.search(path) for pattern in excludes)


def kernel(folder=KERNEL):
    """The kernel's limits as a dict of int; a limit that cannot be read is None."""
    found = {}
    for name in NAMES:
        content = files.read(os.path.join(folder, name), missing=b"").strip()
        found[name] = int(content) if content.isdigit() else None
    return found


def needed(counted):
    """What a number of directories needs: half as many watches again, and a queue that survives the start."""
    return {
        "max_user_watches": max(8192, (counted * 3 + 1) // 2),
        "max_queued_events": QUEUED_EVENTS,
        "max_user_instances": INSTANCES,
    }


def report(counted, folder=KERNEL):
    """Needed against present. Returns dict with `directories`, needed_* and max_* values, `sufficient`, `short`."""
    have, want = kernel(folder), needed(counted)
    short = [name for name in NAMES if have[name] is not None and have[name] < want[name]]
    result = {"directories": counted, "needed_watches": want["max_user_watches"], "short": short}
    result.update(have)
    result.update(("needed_" + name[4:], want[name]) for name in NAMES)
    result["sufficient"] = not short
    return result
