# SPDX-License-Identifier: GPL-3.0-or-later
"""What a freeze has done so far: on the frozen host, fsynced before each step, so that whoever comes next can undo it.

States: `none`, `staged`, `freezing` (steps under way), `drained` (everything is on the other side, waiting for the
commit), `committed` (this side is left for good), `held` (writers blocked, tree open to the copy), `thawing`, `thawed`.
"""

import contextlib
import errno
import fcntl
import json
import os
import time

from ansible_collections.seamless.migration.plugins.module_utils.host.files import (
    FileError,
    data,
    native,
    read,
    text,
    write,
)

FORMAT = 1
LIVE = ("freezing", "drained", "thawing")
CLOSED = LIVE + ("committed", "held")


class FreezeError(Exception):
    """A freeze, its commit or its undo is not possible; the message says why and what to do."""


class Busy(FreezeError):
    """Another process works on the same freeze."""


class Paths:
    """Where a freeze of one migration keeps its things. root: prefix for tests, else '/'."""

    def __init__(self, migration, root="/"):
        self.migration = migration
        self.root = root
        self.base = os.path.join(root, "var/lib/seamless-migration")
        self.folder = os.path.join(self.base, "freeze")
        self.state = os.path.join(self.folder, migration + ".json")
        self.lock = os.path.join(self.folder, migration + ".lock")
        self.lists = os.path.join(self.folder, migration + ".lists")
        self.condition = os.path.join(self.base, "frozen." + migration)
        self.units = os.path.join(root, "etc/systemd/system")
        self.program = os.path.join(root, "usr/local/lib/seamless-migration/storage-thaw")
        self.boot_unit = "seamless-migration-freeze-%s.service" % migration

    def prepare(self):
        """Create the folders, closed to everybody but root."""
        for folder in (self.base, self.folder, self.lists):
            if not os.path.isdir(folder):
                os.makedirs(folder, mode=0o700)


def process_started(pid):
    """Start time of a process in clock ticks since boot (proc(5), stat field 22), or None when it is gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as stream:
            return int(stream.read().rsplit(b")", 1)[1].split()[19])
    except (OSError, IndexError, ValueError):
        return None


class Lock:
    """One process at a time works on a freeze. The file names the holder, so that a refused run can name it."""

    def __init__(self, paths, run_id):
        self.paths = paths
        self.path = paths.lock
        self.run_id = run_id
        self.stream = None

    def holder(self):
        """What the holder wrote: dict with pid, started, run_id; empty when unreadable."""
        try:
            return json.loads(text(read(self.path, b"{}")) or "{}")
        except (ValueError, FileError):
            return {}

    def acquire(self, wait=0.0):
        """Take the lock, trying for `wait` seconds. Raises Busy naming the holder."""
        self.paths.prepare()
        self.stream = open(self.path, "a+b")  # noqa: SIM115 - held until release()
        os.chmod(self.path, 0o600)
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise FreezeError("%s cannot be locked: %s" % (self.path, error.strerror)) from error
                if time.monotonic() >= end:
                    self.stream.close()
                    self.stream = None
                    holder = self.holder()
                    raise Busy(
                        "run %s (process %s) is working on it. Wait for it to end"
                        % (holder.get("run_id", "unknown"), holder.get("pid", "unknown"))
                    ) from error
                time.sleep(0.02)
        self.stream.truncate(0)
        note = {"pid": os.getpid(), "started": process_started(os.getpid()), "run_id": self.run_id}
        self.stream.write(data(json.dumps(note)))
        self.stream.flush()
        return self

    def release(self):
        """Give the lock back."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None

    def __enter__(self):
        return self.acquire() if self.stream is None else self

    def __exit__(self, *_unused):
        self.release()


def empty(migration):
    """The state of a freeze that nobody has begun. Returns dict."""
    return {"format": FORMAT, "migration": migration, "state": "none", "run_id": "", "trees": [], "writers": []}


def load(paths):
    """The recorded state as dict; `none` when there is no record. Raises FreezeError when it cannot be read."""
    try:
        content = read(paths.state)
    except FileError as error:
        raise FreezeError(str(error)) from error
    if content is None:
        return empty(paths.migration)
    try:
        state = native(json.loads(text(content)))
    except ValueError as error:
        raise FreezeError(
            "%s is damaged (%s). Look at the mounts and writers of this host by hand" % (paths.state, error)
        ) from error
    if state.get("format") != FORMAT:
        raise FreezeError("%s was written by another version (format %s)" % (paths.state, state.get("format")))
    return state


def save(paths, state):
    """Make state durable: temporary file, fsync, rename, fsync of the folder. Raises FreezeError."""
    state["saved_at"] = time.time()
    try:
        write(paths.state, data(json.dumps(state, indent=1, sort_keys=True)), mode=0o600)
    except FileError as error:
        raise FreezeError(str(error)) from error


def remove_quietly(path):
    """Remove a file that may be gone already. Returns whether it was there."""
    with contextlib.suppress(OSError):
        os.unlink(path)
        return True
    return False
