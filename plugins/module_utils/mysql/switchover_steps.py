# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of a switchover: names, times, outcome; the budget of the window; and the signals that may come between.

SEAMLESS_TEST_PAUSE_AT=<folder>:<point>[,<point>...] makes a run wait at points, so that tests can break something
exactly there, once at each: it makes the file <folder>/<point> and goes on when that file is gone. Points: `<step>` is
before a step, `<step>.done` after it. Nothing reads the variable but this module.
"""

import contextlib
import os
import signal
import time

from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError
from ansible_collections.seamless.migration.plugins.module_utils.journal import JournalError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

FAILURES = (MySQLMigrationError, JournalError, CommandError, OSError)
PAUSE_LIMIT = 120
_passed = set()  # type: set


class Stopped(MySQLMigrationError):
    """The process was told to end."""


class Doubt(MySQLMigrationError):
    """Nobody can tell what a server does now, or the other one forbids to open it: both stay fenced."""


def pause(point):
    """Wait at a point when a test asks for it, see above. point: str."""
    folder, _colon, points = os.environ.get("SEAMLESS_TEST_PAUSE_AT", "").partition(":")
    if point not in points.split(",") or point in _passed:
        return
    _passed.add(point)
    path = os.path.join(folder, point)
    with open(path, "w"):
        pass
    end = time.monotonic() + PAUSE_LIMIT
    while os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.005)


class Steps:
    """Number, name, beginning (seconds since 1970), milliseconds, outcome and evidence of what was done."""

    def __init__(self):
        self.done = []

    def run(self, number, name, work, *arguments):
        """Run one step. work returns its evidence (dict) or None. Whatever it raises is recorded and goes on.

        Returns the evidence.
        """
        begin = time.monotonic()
        entry = {"n": number, "name": name, "at": round(time.time(), 3), "ms": 0.0, "ok": False, "evidence": {}}
        self.done.append(entry)
        try:
            pause(name)
            entry["evidence"] = work(*arguments) or {}
            entry["ok"] = True
            pause(name + ".done")
        except BaseException as error:
            entry["ok"] = False
            entry["evidence"] = dict(entry["evidence"], failure=str(error))
            raise
        finally:
            entry["ms"] = round((time.monotonic() - begin) * 1000, 1)
        return entry["evidence"]

    def attempt(self, number, name, work, *arguments):
        """Like run(), but a failure is returned (str) and does not go on. Returns None when all is well."""
        try:
            self.run(number, name, work, *arguments)
        except FAILURES as error:
            return str(error)
        return None

    def durations(self):
        """Name -> milliseconds, as dict."""
        return {entry["name"]: entry["ms"] for entry in self.done}


class Budget:
    """How long the window may take until its commit. ms: int."""

    def __init__(self, ms):
        self.ms = ms
        self.end = None

    def begin(self):
        """The window opens now."""
        self.end = time.monotonic() + self.ms / 1000.0

    def left(self, most=None):
        """Seconds that are left, at most `most`. Raises MySQLMigrationError when none are."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise MySQLMigrationError(
                "The window has used up its budget of %d ms. Run again when there is less load, or raise budget_ms"
                % self.ms
            )
        return left if most is None else min(left, most)


def _on_term(number, frame):
    raise Stopped("The process was told to end (signal %d)" % number)


@contextlib.contextmanager
def signals():
    """A lost connection to the caller does not stop a switchover half way; TERM and INT undo it before the commit."""
    try:
        before = {
            signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
            signal.SIGTERM: signal.signal(signal.SIGTERM, _on_term),
            signal.SIGINT: signal.signal(signal.SIGINT, _on_term),
        }
    except ValueError:  # not the main thread: nothing to arrange
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def deaf():
    """From here on nobody stops this process by TERM or INT: what it does now has to be finished."""
    with contextlib.suppress(ValueError):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
