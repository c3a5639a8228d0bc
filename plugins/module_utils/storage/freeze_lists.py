# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of the final delta: every path that anybody has a reason to doubt, and nothing else."""

import json
import os

from ansible_collections.seamless.migration.plugins.module_utils.host.files import read
from ansible_collections.seamless.migration.plugins.module_utils.host.walking import no_hurry, watched
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError

_BLOCK = 1 << 20
OURS = b".seamless-"
WELL = (0, 24)  # exit statuses of rsync after which the rest of the tree is known to be there


def entries(path, offset=0):
    """Entries of a NUL-separated file from a byte offset on, as bytes; nothing when there is no such file.

    An offset beyond the end means that the file was begun anew: all of it is given.
    """
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed by the with below
    except FileNotFoundError:
        return
    except OSError as error:
        raise FreezeError("%s cannot be read: %s" % (path, error.strerror)) from error
    with stream:
        if offset and os.fstat(stream.fileno()).st_size >= offset:
            stream.seek(offset)
        rest = b""
        while True:
            block = stream.read(_BLOCK)
            if not block:
                break
            words = (rest + block).split(b"\0")
            rest = words.pop()
            yield from words
    yield rest


def mark(folder):
    """How far the guard's lists go now: dict name -> [inode, size], to be given to guard_lists() later."""
    marks = {}
    for name in ("touched", "hardlinks"):
        try:
            status = os.stat(os.path.join(folder, name))
        except OSError:
            continue
        marks[name] = [status.st_ino, status.st_size]
    return marks


def guard_lists(folder, touched_since, marks):
    """The guard's lists that count for the final delta: (kind, path, byte offset).

    touched_since: offset into `touched` at the last clean compare. It means nothing once the guard has sorted its list.
    marks: what was proven equal, of mark(). They mean nothing for a list that was replaced since.
    """
    found = [("dirty", os.path.join(folder, "dirty"), 0)]
    now = mark(folder)
    for name in ("touched", "hardlinks"):
        inode, offset = marks.get(name, [0, 0])
        if now.get(name, [0, 0])[0] != inode:
            offset = 0
        if name == "touched" and not os.path.exists(os.path.join(folder, "touched.compacted")):
            offset = max(offset, touched_since)
        found.append((name, os.path.join(folder, name), offset))
    return found


def check_guard(folder):
    """Refuse when the guard's lists cannot tell what is missing on the other side. Raises FreezeError."""
    if not folder:
        return
    if os.path.exists(os.path.join(folder, "halted")):
        raise FreezeError("the guard in %s has halted at its limit of deletions. Settle that first" % folder)
    if os.path.exists(os.path.join(folder, "touched.overflow")):
        raise FreezeError(
            "the guard's list in %s is not complete. After a clean compare remove touched and touched.overflow" % folder
        )
    if any(word in (b"./", b".") for word in entries(os.path.join(folder, "dirty"))):
        raise FreezeError(
            "the guard in %s knows of a failure but not of its paths. Wait for a full run of live sync, or compare"
            % folder
        )


def swept_since(folder, moment):
    """Whether a whole pass that deletes on the other side has begun after a moment and ended well. folder: the guard's.

    moment: seconds since 1970. Whatever was deleted here before the pass began is gone there too.
    """
    for name in ("runs.jsonl", "runs.jsonl.1") if folder else ():
        for line in (read(os.path.join(folder, name)) or b"").splitlines():
            run = _run_of(line)
            if run.get("mode") == "full" and run.get("deletes") and run.get("rc") in WELL and run["started"] > moment:
                return True
    return False


def _run_of(line):
    """One line of the guard's log as dict; empty for one that was cut off."""
    try:
        run = json.loads(line.decode("utf-8"))
    except ValueError:
        return {}
    return run if isinstance(run, dict) else {}


def _expand(root, path):
    """All paths below a directory, relative to root. bytes."""
    for folder, names, files in os.walk(os.path.join(root, path)):
        inside = os.path.relpath(folder, root)
        for name in names + files:
            yield os.path.normpath(os.path.join(inside, name))


def _files(root, still_time):
    """Everything below root (bytes) that is no directory, as entries of os.scandir. Raises FreezeError."""
    folders = [root]
    while folders:
        try:
            listing = os.scandir(folders.pop())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FreezeError("%s cannot be read: %s" % (error.filename, error.strerror)) from error
        with listing:
            for entry in watched(listing, still_time):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    yield entry


def names_that_stay(root, names, inodes, still_time=no_hurry):
    """Paths within root of the files that had several names, where one of these names is gone by now.

    What was written through a name that is gone is in the file still, under names that nobody wrote to. names: the
    paths (bytes) that had another one beside them. inodes: numbers (bytes) of the files. Reads the directories of the
    whole tree, but only when a name is gone. still_time: called often; it raises when the time is over.
    """
    root = os.fsencode(root)
    seen = watched((name for name in names if name), still_time)
    if all(os.path.lexists(os.path.join(root, name.lstrip(b"/"))) for name in seen):
        return
    wanted = {int(number) for number in inodes if number.isdigit()}
    yield from (os.path.relpath(entry.path, root) for entry in _files(root, still_time) if entry.inode() in wanted)


def followed_since(folder):
    """When the guard of a folder ran for the first time, in seconds since 1970; None when it never did."""
    try:
        return os.stat(os.path.join(folder, ".lock")).st_mtime
    except OSError:
        return None


def changed_since(root, moment, still_time=no_hurry):
    """Paths within root of files that were changed at a moment (seconds since 1970) or later, whoever did it and how.

    For what leaves no trace where live sync looks: a write through a name of a hard-linked file that is gone before
    anybody looks, or through a handle that a client of an NFS server has from before a restart of the server. Looks at
    every file of the tree. still_time: called often; it raises when the time is over.
    """
    root = os.fsencode(root)
    yield from (os.path.relpath(entry.path, root) for entry in _files(root, still_time) if _changed(entry) >= moment)


def _changed(entry):
    try:
        return entry.stat(follow_symlinks=False).st_ctime
    except FileNotFoundError:
        return 0


class PathList:
    """Paths of one tree, each once, in the order in which rsync likes them.

    still_time: called often while directories are walked; it raises when the time is over.
    """

    def __init__(self, root, still_time=no_hurry):
        self.root = os.fsencode(root)
        self.still_time = still_time
        self.paths = set()
        self.counts = {}

    def add(self, kind, words):
        """Take in paths (bytes, relative to the tree, with or without slashes around; `dir/***` is a whole directory).

        Our own files are left out, and so is the tree's own directory: the canaries change it to the last moment.
        kind: where they come from, for the report.
        """
        before = len(self.paths)
        for word in watched(words, self.still_time):
            whole = word.endswith(b"/***")
            path = os.path.normpath(b"/" + (word[:-4] if whole else word)).lstrip(b"/")
            if path.startswith(OURS) or not word:
                continue
            if path:
                self.paths.add(path)
            if whole and path and os.path.isdir(os.path.join(self.root, path)):
                self.paths.update(watched(_expand(self.root, path), self.still_time))
        self.counts[kind] = self.counts.get(kind, 0) + len(self.paths) - before

    def write(self, path):
        """Write the list, NUL-separated. Returns the number of paths. Raises FreezeError."""
        try:
            with open(path, "wb") as stream:
                for word in sorted(self.paths):
                    stream.write(word + b"\0")
        except OSError as error:
            raise FreezeError("%s cannot be written: %s" % (path, error.strerror)) from error
        return len(self.paths)
