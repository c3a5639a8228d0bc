# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what a migration of a database lost: replays the writers' logs and compares the outcome with a server's rows.

A row is named by (table, writer, ...). A commit whose outcome nobody knows may be there or not; either is right.
"""

import json

from checker import windows


class Replay:
    """The rows that one writer's acknowledged commits make.

    ``entries`` maps a row's name to what is expected in it, ``either`` to a list of what is accepted (None: no row).
    ``events`` has (began, ended, server, done) of each try. One whose connection broke counts as not done: it says
    nothing of the server, and the writer goes to another one without having been refused.
    """

    def __init__(self, name):
        self.name = name
        self.entries = {}
        self.either = {}
        self.events = []
        self.acknowledged = []  # (time, server) of each
        self.retried = 0
        self.missed = []
        self._open = {}

    def feed(self, lines):
        """Take the lines of a log, in order, to their end."""
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # the last line of a writer that was killed while it wrote it
            take = getattr(self, "_take_" + record["event"], None)
            if take:
                take(record)
        for changes in self._open.values():
            self._accept_either(changes)
        return self

    def _take_sent(self, record):
        self._open[record["seq"]] = record["changes"]

    def _take_ok(self, record):
        changes = self._open.pop(record["seq"])
        self.apply(changes, record.get("id"))
        for table, key, _row in changes:
            self.either.pop((table, self.name, *key), None)
        self.acknowledged.append((record["at"], record["server"]))
        self.events.append((record["began"], record["at"], record["server"], True))
        self.retried += record.get("tries", 1) > 1
        if record.get("missed"):
            self.missed.append([changes[0][0], self.name, *changes[0][1]])

    def _take_refused(self, record):
        self.events.append((record["began"], record["at"], record["server"], False))

    def _take_unknown(self, record):
        self._accept_either(self._open.pop(record["seq"]))
        self.events.append((record["began"], record["at"], record["server"], False))

    def apply(self, changes, new_id=None):
        """Make the expected rows what the changes say: [table, key without the writer, row or None]."""
        for table, key, row in changes:
            name = (table, self.name, *key)
            if row is None:
                self.entries.pop(name, None)
                continue
            told = {"id": new_id or self.entries.get(name, {}).get("id")} if table == "orders" else {}
            self.entries[name] = dict(row, **told)

    def _accept_either(self, changes):
        names = [(table, self.name, *key) for table, key, _row in changes]
        before = [self.either.get(name) or [self.entries.get(name)] for name in names]
        self.apply(changes)
        for name, earlier in zip(names, before):
            self.either[name] = [*earlier, self.entries.pop(name, None)]


def differing(expected, actual):
    """Names of the columns that are not as expected; an id that nobody was told is not compared."""
    return [
        column for column, value in expected.items() if actual.get(column) != value and (column != "id" or value)
    ]


def compare(expected, either, rows):
    """Compare what should be there with what is.

    :param expected: row's name -> columns
    :param either: row's name -> what is accepted, for rows whose state is not known
    :param rows: (name, columns) of each row of a server
    :return: lost, duplicated, extra (lists of names), different (list of names with the columns)
    """
    found = {}
    for name, row in rows:
        found.setdefault(name, []).append(row)
    result = {"lost": [], "different": [], "duplicated": [], "extra": []}
    result["lost"] = [list(name) for name in expected if name not in found]
    for name, there in found.items():
        if len(there) > 1:
            result["duplicated"].append(list(name))
        if name in expected:
            columns = differing(expected[name], there[0])
            if columns:
                result["different"].append([*name, columns])
        elif name not in either:
            result["extra"].append(list(name))
    for name, accepted in either.items():
        there = found.get(name, [None])[0]
        if not any(_accepts(row, there) for row in accepted):
            result["different"].append([*name, ["neither before nor after a commit of unknown outcome"]])
    return result


def _accepts(row, there):
    if row is None or there is None:
        return row is None and there is None
    return not differing(row, there)


class Run:
    """A time in which a server did all that was asked of it.

    ``start`` is when it had done the first, ``end`` when it was asked for the last: between them it took writes for
    sure. Of a run of one both are the wrong way round, and all that is known is that it took one write between them.
    """

    def __init__(self, server, began, ended):
        self.server = server
        self.start, self.end = ended, began
        self.asked, self.done = began, ended

    def grow(self, began, ended):
        self.start, self.end = min(self.start, ended), max(self.end, began)
        self.asked, self.done = min(self.asked, began), max(self.done, ended)


def runs(events):
    """The runs of every server; a refusal ends one, and so does a connection that broke.

    A try that was under way at a refusal may have been done before it, though its answer came later: it is a run of
    one, and says nothing of the time after.

    :param events: (began, ended, server, done) of each try, in any order
    """
    open_runs, refused, found = {}, {}, []
    for began, ended, server, done in sorted(events, key=lambda event: event[1]):
        if not done:
            open_runs.pop(server, None)
            refused[server] = ended
        elif began < refused.get(server, began):
            found.append(Run(server, began, ended))
        elif server in open_runs:
            open_runs[server].grow(began, ended)
        else:
            open_runs[server] = Run(server, began, ended)
            found.append(open_runs[server])
    return found


def both_writable(events):
    """The times in which two servers took writes at once, as far as these events prove them.

    :param events: see runs()
    :return: list of dictionaries: servers, from, to (epoch seconds)
    """
    found = []
    known = runs(events)
    for number, one in enumerate(known):
        for other in known[number + 1 :]:
            overlap = _overlap(one, other) if one.server != other.server else None
            if overlap:
                servers = sorted([one.server, other.server])
                found.append({"servers": servers, "from": overlap[0], "to": overlap[1]})
    return found


def _overlap(one, other):
    """(from, to) in which both runs were on for sure, or None."""
    start, end = max(one.start, other.start), min(one.end, other.end)
    if start < end and one.start < one.end and other.start < other.end:
        return start, end
    for single, long in ((one, other), (other, one)):
        if long.start < single.asked and single.done < long.end:
            return single.asked, single.done
    return None


def switches(replays):
    """Each time the writers went from one server to another; see checker.windows(). Milliseconds."""
    found = []
    for switch in windows([replay.acknowledged for replay in replays]):
        overall, longest = switch.pop("overall_s"), switch.pop("longest_s")
        found.append(dict(switch, window_ms=round(max(0.0, overall) * 1000, 1), longest_ms=round(longest * 1000, 1)))
    return found


def verdict(logs, rows, seeded=None, watched=()):
    """Judge the rows of a server.

    :param logs: writer's name -> lines of its log
    :param rows: (name, columns) of each row of the writers' tables
    :param seeded: (expected, actual) of the table that the writers leave alone, where there is one
    :param watched: events of the watcher, which are judged beside the writers' own; see runs()
    :return: dictionary: ok, rows, acknowledged, retried, unknown, lost, duplicated, different, extra, missed (counts),
        details (the same with names), two_servers_at_once, both_writable (when), windows (each switch), window_ms (from
        the last commit on the old server to the first on the new one at the last switch; None without a switch)
    """
    replays = [Replay(name).feed(lines) for name, lines in sorted(logs.items())]
    expected, either = {}, {}
    for replay in replays:
        expected.update(replay.entries)
        either.update(replay.either)
    rows = list(rows)
    found = compare(expected, either, rows)
    if seeded and seeded[0] != seeded[1]:
        found["different"].append(["products", "count and checksum %s instead of %s" % (seeded[1], seeded[0])])
    found["missed"] = [name for replay in replays for name in replay.missed]
    both = both_writable([event for replay in replays for event in replay.events]) + both_writable(watched)
    changes = switches(replays)
    counts = {kind: len(names) for kind, names in found.items()}
    return {
        "ok": not (any(counts.values()) or both),
        "rows": len(rows) + (seeded[1][0] if seeded else 0),
        "acknowledged": sum(len(replay.acknowledged) for replay in replays),
        "retried": sum(replay.retried for replay in replays),
        "unknown": len(either),
        **counts,
        "two_servers_at_once": bool(both),
        "both_writable": both,
        "windows": changes,
        "window_ms": changes[-1]["window_ms"] if changes else None,
        "details": found,
    }
