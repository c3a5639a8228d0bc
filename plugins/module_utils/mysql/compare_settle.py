# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what differs at a first look differs truly, while both servers are written to.

The source is read, then its GTID set, then the target once it has executed that set, then the source again. What the
source had all that time and the target has not, twice in a row, is a difference. A row that is written without pause is
settled too: the target must show one of the versions that the source showed since.
"""

import threading
import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

LOST, EXTRA, DIFFERENT, UNSETTLED = "lost", "extra", "different", "unsettled"
_AT_ONCE = 500
_CONFIRMED = 2
_SAMPLED_KEYS = 100
_APPLIERS = """
SELECT SERVICE_STATE AS state FROM performance_schema.replication_applier_status"""


class NotReached(Exception):
    """The target did not get to where the source was."""


def uses_gtid(*sessions):
    """Whether all the servers have GTIDs on, so that positions can be compared."""
    return all(session.value("SELECT @@GLOBAL.gtid_mode") == "ON" for session in sessions)


def check_applier(session):
    """Raise NotReached where nothing is being applied."""
    states = [row["state"] for row in session.rows(_APPLIERS)]
    if "ON" not in states:
        raise NotReached("the target lacks transactions of the source, and no replication applies them there")


class Position(object):
    """Brings the target to where the source is. timeout: seconds for one wait. by_gtid: else there is no waiting."""

    def __init__(self, by_gtid, timeout=60):
        self.by_gtid = by_gtid
        self._timeout = timeout

    def wanted(self, source):
        """Where the source is now."""
        return gtid.executed(source) if self.by_gtid else ""

    def wait(self, target, wanted):
        """Wait until the target has got there. Raises NotReached."""
        if wanted and not gtid.wait(target, wanted, self._timeout, lambda: check_applier(target)):
            raise NotReached("the target did not apply within %d s what the source had" % self._timeout)

    def reach(self, source, target):
        """Wait until the target has what the source has now. Raises NotReached."""
        self.wait(target, self.wanted(source))


def hashes(session, table, keys):
    """dict of key -> hash of the rows with these keys."""
    found = {}
    for begin in range(0, len(keys), _AT_ONCE):
        for row in session.rows(*table.hashes_of(keys[begin:begin + _AT_ONCE])):
            found[table.key.of_row(row)] = row["h"]
    return found


def hashes_within(session, table, after, upto):
    """dict of key -> hash of the rows of a chunk."""
    return dict((table.key.of_row(row), row["h"]) for row in session.rows(*table.hashes(after, upto)))


def apart(one, other):
    """Keys of which two dicts of hashes say different things, sorted as they come."""
    keys = [key for key, value in one.items() if other.get(key) != value]
    return keys + [key for key in other if key not in one]


def kind_of(source, target):
    """The difference between two hashes, of which one may be None."""
    if target is None:
        return LOST
    return EXTRA if source is None else DIFFERENT


class _Sampler(object):
    """Reads rows of the source over and over while the target is on its way: the versions of rows that are written
    without pause."""

    def __init__(self, session, table, keys, seen):
        self._arguments = (session, table, keys)
        self._seen = seen
        self._end = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._end.set()
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self):
        try:
            while not self._end.is_set():
                look(self._seen, hashes(*self._arguments), self._arguments[2])
        except MySQLMigrationError as error:
            self._error = error


def look(seen, found, keys):
    """Add to the sets in `seen` (by key) the hashes that were found, None for a row that is not there."""
    for key in keys:
        seen[key].add(found.get(key))


class Case(object):
    """One key that differed. judge() is told of each attempt until it returns what the key is."""

    def __init__(self):
        self._last = None
        self._times = 0

    def judge(self, seen, target):
        """seen: hashes of the source during the attempt. target: its hash. Returns "equal", a kind, or None: again."""
        if target in seen:
            return "equal"
        if len(seen) > 1:
            self._last, self._times = None, 0
            return None
        pair = (next(iter(seen)), target)
        self._times = self._times + 1 if pair == self._last else 1
        self._last = pair
        return kind_of(*pair) if self._times >= _CONFIRMED else None


def settle_keys(pair, table, keys, position, *, attempts=12, pause=0.2, sleep=time.sleep):
    """What is true of keys that differed. pair: has the sessions source and target.

    Returns (differences, reason, vanished): a dict of key -> kind of those that are not equal, why some are unsettled,
    and the keys that neither server has now.
    """
    cases = dict((key, Case()) for key in keys)
    differences, reason, vanished = {}, "", []
    for attempt in range(attempts):
        if attempt:
            sleep(min(2.0, pause * attempt))
        try:
            seen, there = _attempt(pair, table, list(cases), position)
        except NotReached as error:
            reason = str(error)
            break
        for key, case in list(cases.items()):
            verdict = case.judge(seen[key], there.get(key))
            if verdict is None:
                continue
            del cases[key]
            if verdict != "equal":
                differences[key] = verdict
            elif there.get(key) is None:
                vanished.append(key)
        if not cases:
            break
        reason = "rows were written too often to be told apart"
    differences.update((key, UNSETTLED) for key in cases)
    return differences, reason if cases else "", vanished


def _attempt(pair, table, keys, position):
    """One look: (dict of key -> set of hashes of the source, dict of key -> hash of the target)."""
    source, target = pair.source, pair.target
    seen = dict((key, set()) for key in keys)
    look(seen, hashes(source, table, keys), keys)
    if len(keys) > _SAMPLED_KEYS:
        position.reach(source, target)
        there = hashes(target, table, keys)
    else:
        wanted = position.wanted(source)
        with _Sampler(source, table, keys, seen):
            position.wait(target, wanted)
            there = hashes(target, table, keys)
    look(seen, hashes(source, table, keys), keys)
    return seen, there


def settle_chunk(pair, chunk, position, *, looks=3):
    """What differs in a chunk (with table, after and upto): as `settle_keys`."""
    for _look in range(looks):
        differences, reason, vanished = _settle_once(pair, chunk, position)
        if not vanished:
            return differences, reason
    # The rows of a chunk are there, but not when they are asked for by their keys: what they are is not known.
    differences.update((key, UNSETTLED) for key in vanished)
    return differences, "rows were not found by their key"


def _settle_once(pair, chunk, position):
    """(differences, reason, keys that were in the chunk and then found nowhere)."""
    table, within = chunk.table, (chunk.table, chunk.after, chunk.upto)
    here = hashes_within(pair.source, *within)
    try:
        position.reach(pair.source, pair.target)
    except NotReached as error:
        there = hashes_within(pair.target, *within)
        return dict.fromkeys(apart(here, there), UNSETTLED), str(error), ()
    keys = apart(here, hashes_within(pair.target, *within))
    if not keys:
        return {}, "", ()
    return settle_keys(pair, table, keys, position)


def settle_whole(pair, digest, position, *, attempts=5, pause=1.0, sleep=time.sleep):
    """What is true of a table without a key. digest: function of a session that returns what is compared.

    Returns (state, reason): "equal", DIFFERENT or UNSETTLED.
    """
    case = Case()
    for attempt in range(attempts):
        if attempt:
            sleep(pause)
        seen = {digest(pair.source)}
        try:
            position.reach(pair.source, pair.target)
        except NotReached as error:
            return UNSETTLED, str(error)
        there = digest(pair.target)
        seen.add(digest(pair.source))
        verdict = case.judge(seen, there)
        if verdict:
            return ("equal", "") if verdict == "equal" else (DIFFERENT, "")
    return UNSETTLED, "the table has no key, and was written to during every look"
