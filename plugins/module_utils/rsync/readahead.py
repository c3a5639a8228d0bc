# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the files of the next lists into memory with many threads, because one rsync reads one file at a time.

Measured on 120,000 files of 20 KB, cold: 16 readers take 10.9 s where 4 take 18.8 s.
"""

import collections
import os
import threading

from ansible_collections.seamless.migration.plugins.module_utils.rsync.delta import read_list

_MOST = 8 << 20         # of one file; a longer one is read in one go by the kernel's own read-ahead
_BATCH = 64


class ReadAhead:
    """Threads that read lists ahead. src: path of the tree; threads: int, 0 for none; most_bytes: read and not yet
    copied, at most (one list may exceed it)."""

    def __init__(self, src, threads, most_bytes):
        self.root = os.open(src, os.O_RDONLY | os.O_DIRECTORY)
        self.most_bytes = most_bytes
        self.ahead = {}             # number -> bytes of lists read ahead and not yet released
        self.ready = set()
        self._queue = collections.deque()
        self._current = None
        self._released = set()
        self._changed = threading.Condition()
        self._end = False
        self.threads = [threading.Thread(target=self._work, daemon=True) for _number in range(threads)]
        for thread in self.threads:
            thread.start()

    def add(self, partition, path):
        """Ask for a list. It is `ready` once all its files were asked for from the disk."""
        with self._changed:
            self._queue.append((partition, path))
            self._changed.notify_all()

    def release(self, number):
        """A list was copied: its memory may be used for the next one."""
        with self._changed:
            self.ahead.pop(number, None)
            self.ready.discard(number)
            self._released.add(number)
            self._changed.notify_all()

    def close(self):
        with self._changed:
            self._end = True
            self._changed.notify_all()
        for thread in self.threads:
            thread.join()
        os.close(self.root)

    def _batch(self):
        """The next paths and the state of their list, or None at the end."""
        with self._changed:
            while not self._end:
                room = not self.ahead or sum(self.ahead.values()) < self.most_bytes
                if self._current is None and self._queue and room:
                    partition, path = self._queue.popleft()
                    if partition.number in self._released:
                        continue
                    self.ahead[partition.number] = partition.bytes
                    self._current = [read_list(path), partition.number, 0, False]
                if self._current is not None:
                    current = self._current
                    batch = self._next(current)
                    if batch:
                        current[2] += 1
                        return batch, current
                    current[3] = True
                    self._current = None
                    self._settle(current)
                    continue
                self._changed.wait(1)
            return None

    @staticmethod
    def _next(current):
        batch = []
        try:
            for path in current[0]:
                batch.append(path)
                if len(batch) >= _BATCH:
                    break
        except OSError:
            return []               # the list is gone: it was copied already
        return batch

    def _settle(self, current):
        if current[3] and not current[2]:
            self.ready.add(current[1])

    def _work(self):
        work = self._batch()
        while work is not None:
            for path in work[0]:
                self._read(path)
            with self._changed:
                work[1][2] -= 1
                self._settle(work[1])
            work = self._batch()

    def _read(self, path):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME, dir_fd=self.root)
        except OSError:
            return
        try:
            os.posix_fadvise(handle, 0, _MOST, os.POSIX_FADV_WILLNEED)
        except OSError:
            pass
        finally:
            os.close(handle)
