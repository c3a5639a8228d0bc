# SPDX-License-Identifier: GPL-3.0-or-later
"""See that live sync has carried everything over, then stop it, so that nothing of it writes to the other side later.

The canary is made after the tree was closed, so every event of the tree stands before it in the queue of inotify. Its
arrival proves that lsyncd has read them all; a transfer that began before the canary may still be busy, and what waits
behind that transfer is only proven by another canary. A status file of an idle lsyncd is not rewritten and proves
nothing.
"""

import os
import signal
import time

from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze_transfer
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import (
    FreezeError,
    process_started,
    remove_quietly,
)

POLL = 0.03
ROUNDS = 5
STALL_S = 5.0  # after which a transfer that moves nothing is ended
STALL_LOOK_S = 0.5


def descendants(pid):
    """pids of all children, and theirs, of a process. Returns list."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as stream:
                    words = stream.read().rsplit(b")", 1)[1].split()
            except (OSError, IndexError):
                continue
            if words[0] != b"Z":
                children.setdefault(int(words[1]), []).append(int(name))
    found, queue = [], [pid]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def read_pid(path):
    """pid of a pidfile, when that process lives; else 0."""
    try:
        with open(path) as stream:
            pid = int(stream.read().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return pid if process_started(pid) is not None else 0


def pid_naming(path):
    """pid of a process that was started with path (str) as one of its arguments; else 0.

    A daemon that was restarted can have lost its pidfile to the one before it, which took it away when it ended.
    """
    wanted = os.fsencode(path)
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open("/proc/%s/cmdline" % entry, "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue
        if os.path.basename(words[0]) == b"lsyncd" and wanted in words:
            return int(entry)
    return 0


def boot_ticks():
    """Now, in clock ticks since boot: comparable with process_started()."""
    with open("/proc/uptime") as stream:
        return int(float(stream.read().split()[0]) * os.sysconf("SC_CLK_TCK"))


class Canary:
    """A canary on its way. tree: dict; door: folder by which it was written; born: ticks since boot."""

    def __init__(self, tree, door):
        self.tree = tree
        self.door = door
        self.born = 0
        self.name = freeze_transfer.canary_name()
        self.here = False
        self.reason = ""

    def put(self):
        """Write it."""
        self.born = boot_ticks()
        freeze_transfer.put_canary(self.door, self.name)

    def look(self):
        """Ask the other side once."""
        self.here, self.reason = freeze_transfer.arrived(self.tree, self.name)
        return self.here

    def remove(self):
        """Take it away on this side."""
        remove_quietly(os.path.join(self.door, self.name))


def _older_transfers(pids, born):
    """Transfers of the live syncs that were under way when the canary was born."""
    older = []
    for pid in pids:
        for child in descendants(pid):
            started = process_started(child)
            if started is not None and started <= born + 1:
                older.append(child)
    return older


def _moved(pid):
    """Bytes that a process has read and written (proc(5)), or None when it is no rsync or has ended."""
    try:
        with open("/proc/%d/comm" % pid) as stream:
            if stream.read().strip() != "rsync":
                return None
        with open("/proc/%d/io" % pid) as stream:
            words = dict(line.split(": ") for line in stream.read().splitlines())
        return int(words["rchar"]) + int(words["wchar"])
    except (OSError, ValueError, KeyError):
        return None


class Stalls:
    """Ends a transfer of live sync that stands still, so that live sync tries it again.

    The processes of rsync 3.5.0 have been seen to wait for each other for ever on a tree that changes, with hard links.
    The guard ends them too, but after minutes, which nobody waits here. What is ended stays noted in the guard's lists.
    pids: of the live syncs.
    """

    def __init__(self, pids):
        self._pids = pids
        self._seen = {}
        self._looked = 0.0
        self._patience = STALL_S
        self.ended = []

    def look(self):
        now = time.monotonic()
        if now - self._looked < STALL_LOOK_S:
            return
        self._looked = now
        seen = {}
        for pid in {child for parent in self._pids for child in descendants(parent)}:
            moved = _moved(pid)
            if moved is None:
                continue
            before, since = self._seen.get(pid, (None, now))
            # They keep each other company by a few bytes now and then.
            seen[pid] = (before, since) if before is not None and moved - before <= 1024 else (moved, now)
            if now - seen[pid][1] > self._patience:
                self._end(pid)
        self._seen = seen

    def _end(self, pid):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        self.ended.append(pid)
        self._patience *= 2  # who is only slow gets further each time


def wait_for(canaries, timeout, alive):
    """Wait until all canaries are on the other side. alive: callable that raises when live sync has died.

    Raises FreezeError naming the trees that wait and what rsync says.
    """
    end = time.monotonic() + timeout
    while True:
        waiting = [canary for canary in canaries if not canary.here]
        freeze_transfer.for_each(waiting, lambda canary: canary.look())
        waiting = [canary for canary in waiting if not canary.here]
        if not waiting:
            return
        alive()
        if time.monotonic() >= end:
            reasons = sorted({canary.reason for canary in waiting if canary.reason})
            raise FreezeError(
                "the canary did not arrive within %.1f s for %s%s. Look at lsyncd's log and at its delays"
                % (
                    timeout,
                    ", ".join(canary.tree["name"] for canary in waiting),
                    " (%s)" % "; ".join(reasons) if reasons else "",
                )
            )
        time.sleep(POLL)


def drain(trees, doors, pids, timeout, *, alive, note):
    """Prove that live sync has carried everything.

    trees: list of dict. doors: folder for each, by which canaries are written. pids: of the live syncs. timeout:
    seconds.
    alive: see wait_for(). note: callable(list of (tree name, canary name)) that records canaries before they are
    written.
    Returns number of rounds. Raises FreezeError.
    """
    end = time.monotonic() + timeout
    stalls = Stalls(pids)

    def look():
        alive()
        stalls.look()

    for number in range(1, ROUNDS + 1):
        canaries = [Canary(tree, doors[tree["name"]]) for tree in trees]
        note([(canary.tree["name"], canary.name) for canary in canaries])
        try:
            for canary in canaries:
                canary.put()
            wait_for(canaries, max(0.1, end - time.monotonic()), look)
        finally:
            for canary in canaries:
                canary.remove()
        busy = _older_transfers(pids, min(canary.born for canary in canaries))
        if not busy:
            return number
        while _still(busy):
            if time.monotonic() >= end:
                raise FreezeError(
                    "transfers that began before the freeze (pids %s) are still at work after %.1f s"
                    % (", ".join(str(pid) for pid in _still(busy)), timeout)
                )
            stalls.look()
            time.sleep(POLL)
    return ROUNDS


def _still(pids):
    return [pid for pid in pids if process_started(pid) is not None]


def wait_gone(pids, timeout):
    """Wait until processes are gone. Returns those that are not after timeout seconds."""
    end = time.monotonic() + timeout
    while _running(pids) and time.monotonic() < end:
        time.sleep(0.01)
    return _running(pids)


def _running(pids):
    found = []
    for pid in pids:
        try:
            with open("/proc/%d/stat" % pid, "rb") as stream:
                if b") Z " not in stream.read():
                    found.append(pid)
        except OSError:
            continue
    return found
