# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast tables are compared: the size of chunks by the time that they take, and pauses while the target lags."""

import threading
import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

LEAST_ROWS = 100
MOST_ROWS = 200000
_FIRST_ROWS = 2000
_GROWTH = 4


class Pace(object):
    """Rows of the next chunk of a table. chunk_ms: what a chunk should take. rows: fixed number, or None."""

    def __init__(self, chunk_ms, rows=None):
        self._chunk_ms = chunk_ms
        self._fixed = rows
        self.rows = rows or _FIRST_ROWS

    def took(self, rows, milliseconds):
        """A chunk of so many rows took so long on the slower server."""
        if self._fixed or not rows:
            return
        wanted = rows * self._chunk_ms / max(milliseconds, 0.1)
        wanted = min(wanted, self.rows * _GROWTH)
        self.rows = int(max(LEAST_ROWS, min(MOST_ROWS, wanted)))


class LagGate(object):
    """Holds the work while the target lags behind the source by more than a limit.

    Its thread takes the source's GTID set and sees how long the target takes to have it: that is the lag, whatever the
    server says of itself.
    """

    def __init__(self, source, target, limit_ms, timeout, interval=0.5):
        self._servers = source, target
        self._limit = limit_ms / 1000.0
        self._timeout = timeout
        self._interval = interval
        self._open = threading.Event()
        self._open.set()
        self._end = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.most_ms = 0
        self.paused_s = 0.0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._end.set()
        self._open.set()
        self._thread.join()

    def passing(self):
        """Wait until work may go on. Raises MySQLMigrationError when that took too long."""
        begin = time.monotonic()
        if not self._open.wait(self._timeout):
            raise MySQLMigrationError(
                "Failed to compare the data: the target lagged behind the source by more than %d ms for %d s. Run it "
                "again when there is less load, with fewer workers, or with a higher max_lag_ms."
                % (self._limit * 1000, self._timeout))
        if self._error:
            raise self._error
        self.paused_s += time.monotonic() - begin

    def _run(self):
        try:
            with self._servers[0].session() as source, self._servers[1].session() as target:
                while not self._end.wait(self._interval):
                    self._measure(source, target)
        except MySQLMigrationError as error:
            self._error = error
        finally:
            self._open.set()

    def _measure(self, source, target):
        wanted = gtid.executed(source)
        begin = time.monotonic()
        while not gtid.wait(target, wanted, self._limit):
            self._open.clear()
            if self._end.is_set():
                break
        self.most_ms = max(self.most_ms, int((time.monotonic() - begin) * 1000))
        self._open.set()
