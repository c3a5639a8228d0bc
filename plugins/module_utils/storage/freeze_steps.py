# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of a freeze: what each was called, how long it took, what came of it; and the signals that may come between."""

import contextlib
import signal
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError

FAILURES = (FreezeError, OSError, FileError, command.CommandError)


class Steps:
    """Names, times and outcome of what was done."""

    def __init__(self):
        self.done = []

    def run(self, name, work, *arguments):
        """Run one step. work returns its detail (str) or None. Whatever it raises is recorded and goes on."""
        begin = time.monotonic()
        entry = {"name": name, "at": round(time.time(), 3), "ms": 0.0, "ok": False, "detail": ""}
        self.done.append(entry)
        try:
            entry["detail"] = work(*arguments) or ""
            entry["ok"] = True
        except FAILURES as error:
            entry["detail"] = str(error)
            raise
        finally:
            entry["ms"] = round((time.monotonic() - begin) * 1000, 1)

    def ms(self, *names):
        """Milliseconds of the named steps together."""
        return sum(entry["ms"] for entry in self.done if entry["name"] in names)


class Stopped(FreezeError):
    """The process was told to end."""


def _on_term(number, frame):
    raise Stopped("the process was told to end (signal %d)" % number)


@contextlib.contextmanager
def signals():
    """A lost connection does not stop a freeze half way; TERM undoes it."""
    try:
        before = {
            signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
            signal.SIGTERM: signal.signal(signal.SIGTERM, _on_term),
        }
    except ValueError:  # not the main thread: nothing to arrange
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
