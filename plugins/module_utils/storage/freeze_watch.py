# SPDX-License-Identifier: GPL-3.0-or-later
"""See that live sync watches a tree again before anybody changes it.

lsyncd sets the watches of all its syncs before it starts the first whole pass of any of them, and says in its log when
it does: what changes after that line is seen. What changes before it is only met by the pass, which carries no deletion
unless lsyncd deletes at its start.
"""

import os
import re
import time

FIRST_PASS = re.compile(rb"recursive (?:startup|full) rsync")
PATIENCE_S = 3.0  # nobody can write meanwhile
POLL_S = 0.02


def marks(watchers):
    """Size in bytes of each log now. watchers: list of dict with `log`, the path or an empty text. Returns dict."""
    return {entry["log"]: _size(entry["log"]) for entry in watchers if entry["log"]}


def _size(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _says_so(path, mark):
    try:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size >= mark:
                stream.seek(mark)
            return bool(FIRST_PASS.search(stream.read()))
    except OSError:
        return False


def wait(watchers, log_marks):
    """Wait until every log says, beyond its mark, that the watches are set. Returns whether all do in time.

    A live sync whose log is not known cannot be waited for.
    """
    if not all(entry["log"] for entry in watchers):
        return False
    end = time.monotonic() + PATIENCE_S
    waiting = dict(log_marks)
    while True:
        waiting = {path: mark for path, mark in waiting.items() if not _says_so(path, mark)}
        if not waiting or time.monotonic() >= end:
            return not waiting
        time.sleep(POLL_S)
