# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree that was copied before is not cut into lists again: several rsyncs compare subtrees side by side, and one look
at the source finds what they cannot see, files with several names and changes of attributes."""

import collections
import os
import subprocess

from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.rsync import partitions
from ansible_collections.seamless.migration.plugins.module_utils.rsync.delta import is_ours
from ansible_collections.seamless.migration.plugins.module_utils.rsync.workers import SHALLOW, TREES

_DEEPEST = 4
_STATUS = collections.namedtuple("_STATUS", "st_ino st_dev st_nlink st_size")


def subtrees(src, patterns, wanted):
    """Directories to be looked at alone, and subtrees below them: at least `wanted` of those where the tree has them.

    Returns (list of bytes, list of bytes), relative to src.
    """
    root = os.fsencode(src)
    alone, below = [], [b""]
    for _depth in range(_DEEPEST):
        if len(below) >= wanted or not below:
            break
        deeper = []
        for folder in below:
            alone.append(folder)
            with os.scandir(os.path.join(root, folder) if folder else root) as entries:
                for entry in entries:
                    path = folder + b"/" + entry.name if folder else entry.name
                    if entry.is_dir(follow_symlinks=False) and not is_ours(path) and not patterns.match(path, True):
                        deeper.append(path)
        below = sorted(deeper)
    return alone, below


def write_units(store, alone, below, workers):
    """Write the lists of the rsyncs that compare. Calls store.found for each."""
    with store.lock:
        for path in alone:
            store.add(SHALLOW, (path or b".") + b"/", 0)
        store.close(SHALLOW)
        size = max(1, -(-len(below) // (workers * 2)))
        for start in range(0, len(below), size):
            for path in below[start:start + size]:
                store.add(TREES, path, 0)
            store.close(TREES)


def can_look():
    """Whether this host has a find that prints inodes (GNU findutils)."""
    program = command.which("find")
    if program is None:
        return False
    return "GNU findutils" in command.run([program, "--version"], timeout=20, ok=None).stdout


class Look:
    """Runs find over the source: names of files with several hard links, and what changed its attributes since a time.

    src: path; since: seconds since 1970, or None; store, patterns as for partitions.Walk.
    """

    def __init__(self, src, store, patterns, since):
        self.store = store
        self.patterns = patterns
        tests = ["!", "-type", "d", "-links", "+1"] + (["-o", "-newerct", "@%.3f" % since] if since else [])
        argv = [command.which("find"), src.rstrip("/") + "/", "-mindepth", "1", "("] + tests + [")"]
        argv += ["-printf", "%n %i %D %s %y %P\\0"]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, start_new_session=True,
                                        env=dict(os.environ, LC_ALL="C"))

    def take(self):
        """Read it to the end and put what it finds into lists."""
        rest = b""
        for block in iter(lambda: self.process.stdout.read(1 << 16), b""):
            words = (rest + block).split(b"\0")
            rest = words.pop()
            with self.store.lock:
                for word in words:
                    self._take(word)
        self.process.wait()
        with self.store.lock:
            self.store.finish()

    def _take(self, word):
        links, inode, device, size, kind, path = word.split(b" ", 5)
        if is_ours(path) or self.patterns.excludes(path, kind == b"d"):
            return
        if kind != b"d" and int(links) > 1:
            self.store.add_link(_STATUS(int(inode), int(device), int(links), int(size)), path)
        else:
            self.store.add(partitions.ATTRIBUTES if kind == b"f" else partitions.OTHER, path,
                           int(size) if kind == b"f" else 0)
