# SPDX-License-Identifier: GPL-3.0-or-later
"""GTID sets. What compares them is done by the server, which knows all their forms."""

import re
import time

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
_INTERVAL = re.compile(r"(\d+)(?:-(\d+))?$")
SLICE = 0.5


def _clean(text):
    return (text or "").replace("\n", "").strip()


def subtract(session, one, other):
    """What is in `one` and not in `other`. Returns a GTID set as text, empty when there is nothing."""
    return _clean(session.value("SELECT GTID_SUBTRACT(%s, %s)", (one, other)))


def is_subset(session, one, other):
    """Whether all of `one` is in `other`."""
    return bool(int(session.value("SELECT GTID_SUBSET(%s, %s)", (one, other))))


def union(session, *sets):
    """All that is in any of the sets, as the server writes it."""
    return subtract(session, ",".join(one for one in map(_clean, sets) if one), "")


def intersect(session, one, other):
    """What is in both."""
    return subtract(session, one, subtract(session, one, other))


def executed(session):
    """@@GLOBAL.gtid_executed"""
    return _clean(session.value("SELECT @@GLOBAL.gtid_executed"))


def purged(session):
    """@@GLOBAL.gtid_purged"""
    return _clean(session.value("SELECT @@GLOBAL.gtid_purged"))


def count(gtid_set):
    """How many transactions a GTID set has. Understands tags (uuid:tag:1-5). Returns int."""
    total = 0
    for part in re.split(r"[,:\s]+", gtid_set or ""):
        found = _INTERVAL.match(part)
        if found:
            first = int(found.group(1))
            total += int(found.group(2) or first) - first + 1
    return total


def uuids(gtid_set):
    """The uuids in a GTID set, in their order, in small letters."""
    parts = (part.strip().split(":")[0] for part in (gtid_set or "").split(","))
    return list(dict.fromkeys(part.lower() for part in parts if _UUID.match(part)))


def wait(session, gtid_set, seconds, check=lambda: None, clock=time.monotonic):
    """Wait until the server has executed the set, in short slices.

    A stopped or failed applier makes the server wait in silence, so check() is called between the slices; it raises
    what should end the wait. Returns True, or False when the seconds are over. The session's read_timeout must be
    longer than a slice.
    """
    end = clock() + seconds
    # 5.7 counts whole seconds, and 0 is for ever
    least, most = (0.001, SLICE) if session.server.version >= (8, 0, 0) else (1, 1)
    while True:
        left = max(least, min(most, end - clock()))
        if not int(session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)", (gtid_set, left))):
            return True
        if clock() >= end:
            return False
        check()
