# SPDX-License-Identifier: GPL-3.0-or-later
"""One bandwidth limit for many processes, changeable while they run.

Every process says in /proc/<pid>/io how many bytes it has written. A token bucket over the sum stops (SIGSTOP) all of
them when they are ahead and lets them go on (SIGCONT) when they are not: it works for local copies, ssh and daemons
alike, and puts nothing into the path of the data. What a slice takes too much is paid back by the next one, so the mean
is exact. How much that can be is a matter of how late a look comes on a busy host: the looks go before other work, and
`workers.pace` bounds what all can send between two of them.
"""

import contextlib
import os
import signal
import threading
import time

_SLICE = 0.01           # seconds between two looks while a limit holds
_BURST = 0.2            # seconds of the limit that may be saved up
_LONGEST = 0.5          # seconds between two looks at most
_FIRST = -10            # niceness of the looks, where we may choose it


def written(pid):
    """Bytes that a process has written so far (files, pipes and sockets), or None when it cannot be told."""
    try:
        with open("/proc/%d/io" % pid, "rb") as stream:
            for line in stream:
                if line.startswith(b"wchar:"):
                    return int(line[6:])
    except (OSError, ValueError):
        pass
    return None


class Bucket:
    """Decides who waits. now: seconds of any clock that does not go back."""

    def __init__(self, now):
        self._tokens = 0.0
        self._at = now

    def spend(self, count):
        """These bytes were sent."""
        self._tokens -= count

    def look(self, now, rate):
        """Whether all have to wait, and the seconds until the next look. rate: bytes per second, 0 for no limit."""
        self._tokens = min(self._tokens + rate * (now - self._at), rate * _BURST) if rate else 0.0
        self._at = now
        if not rate:
            return False, _LONGEST
        if self._tokens > 0:
            return False, _SLICE
        return True, min(_LONGEST, max(_SLICE, -self._tokens / rate))


class Throttle:
    """Holds a set of processes to a rate. kib_per_s: the limit, 0 for none. total: bytes written by all so far."""

    def __init__(self, kib_per_s=0):
        self.kib_per_s = kib_per_s
        self.paused = False
        self.total = 0
        self._seen = {}             # pid -> bytes seen
        self._stopped = False
        self._bucket = Bucket(time.monotonic())
        self._stopped_for = 0.0
        self._changed = time.monotonic()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._end = False
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def start(self):
        self._thread.start()

    def stop(self):
        self._end = True
        self._wake.set()
        self._thread.join()

    def set(self, kib_per_s, paused):
        """Change limit and pause at once. Processes stay stopped, or go on, within a slice."""
        with self._lock:
            self.kib_per_s = kib_per_s
            self.paused = paused
        self._wake.set()

    def add(self, pid):
        with self._lock:
            self._seen[pid] = 0
            if self._stopped:
                _signal(pid, signal.SIGSTOP)
        self._wake.set()

    def remove(self, pid, final=None):
        """Forget a process that has ended. final: bytes that it sent in all, where known."""
        with self._lock:
            seen = self._seen.pop(pid, 0)
            if final is not None and final > seen:
                self._spent(final - seen)

    def sent(self):
        """Bytes written by all until now."""
        with self._lock:
            self._count()
            return self.total

    def let_run(self, now):
        """Seconds of time.monotonic() in which the processes were not stopped; now: its value now."""
        with self._lock:
            return now - self._stopped_for - (now - self._changed if self._stopped else 0.0)

    def bytes_of(self, pid):
        return self._seen.get(pid, 0)

    def _count(self):
        for pid, seen in list(self._seen.items()):
            now = written(pid)
            if now is not None and now > seen:
                self._seen[pid] = now
                self._spent(now - seen)

    def _spent(self, count):
        self.total += count
        self._bucket.spend(count)

    def _step(self):
        """Look at all once. Returns seconds until the next look."""
        with self._lock:
            self._count()
            now = time.monotonic()
            wait, seconds = self._bucket.look(now, self.kib_per_s * 1024)
            self._hold(wait or self.paused, now)
            return _LONGEST if self.paused else seconds

    def _hold(self, wanted, now):
        if wanted != self._stopped:
            self._stopped_for += now - self._changed if self._stopped else 0.0
            self._stopped, self._changed = wanted, now
            for pid in self._seen:
                _signal(pid, signal.SIGSTOP if wanted else signal.SIGCONT)

    def _loop(self):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _FIRST)  # on Linux of this thread alone
        while not self._end:
            wait = self._step()
            self._wake.wait(wait)
            self._wake.clear()
        with self._lock:
            for pid in self._seen:
                _signal(pid, signal.SIGCONT)


def _signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
