# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares tables of two servers in chunks, several at a time, each on both servers at once."""

import collections
import functools
import queue
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.seamless.migration.plugins.module_utils.mysql import compare_settle as settle
from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_pace import Pace
from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_state import TableResult
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server

_LOST_CONNECTION = (1053, 2003, 2006, 2013, 4031)
_TRIES = 5
_KEPT_STATEMENTS = 200
_MOST_ALIKE = 200000
# Nothing but reading; dates that a strict server would refuse are compared like others.
_SESSION = ("SET SESSION sql_mode = ''", "SET SESSION TRANSACTION READ ONLY",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")


class ReadingServer(Server):
    """A Server that keeps only the first of its many statements."""

    def record(self, statement):
        if len(self.queries) < _KEPT_STATEMENTS:
            super(ReadingServer, self).record(statement)


def reading(server, timeout):
    """A session that only reads. timeout: seconds that one statement may take."""
    session = server.session(read_timeout=timeout)
    for statement in _SESSION:
        session.run(statement)
    return session


class Chunk(object):
    """Rows of a table after one key up to another; None is no bound. last: whether it ends the table."""

    def __init__(self, table, pace, after=None, upto=None, last=True):
        self.table = table
        self.pace = pace
        self.after = after
        self.upto = upto
        self.last = last


class Outcome(object):
    """What is known of a chunk. differences: dict of key (or text) -> kind."""

    def __init__(self, rows, rows_target, milliseconds):
        self.rows = rows
        self.rows_target = rows_target
        self.milliseconds = milliseconds
        self.settled = False
        self.differences = {}
        self.reason = ""
        self.alike = []


class Pair(object):
    """A session on each server, asked at the same time."""

    def __init__(self, servers, timeout):
        self._servers = servers
        self._timeout = timeout
        self._helper = ThreadPoolExecutor(1)
        self.source = self.target = None

    def connect(self):
        self.disconnect()
        self.source, self.target = (reading(server, self._timeout) for server in self._servers)

    def disconnect(self):
        for session in (self.source, self.target):
            if session:
                session.close()
        self.source = self.target = None

    def close(self):
        self.disconnect()
        self._helper.shutdown()

    def rows(self, statement, arguments):
        """The rows of both: (rows of the source, rows of the target, seconds of the slower)."""
        begin = time.monotonic()
        there = self._helper.submit(self.target.rows, statement, arguments)
        try:
            here = self.source.rows(statement, arguments)
        finally:
            there.exception()
        return here, there.result(), time.monotonic() - begin


def persistently(pair, work, sleep=time.sleep):
    """Do work() with the pair connected; a lost connection is made again and the work repeated."""
    for attempt in range(_TRIES):
        try:
            if pair.source is None:
                pair.connect()
            return work()
        except MySQLMigrationError as error:
            pair.disconnect()
            if error.code not in _LOST_CONNECTION or attempt == _TRIES - 1:
                raise
            sleep(2 ** attempt)
    return None


def next_bound(pair, table, after, rows):
    """The key that ends the next chunk of about `rows` rows, or None when what is left is less than that."""
    statement, arguments = table.boundary(after, rows)
    for session in (pair.source, pair.target):
        found = session.row(statement, arguments)
        if found:
            return table.key.of_row(found)
    return None


class Bounds(object):
    """Where the chunks of a table end. Along whole numbers without large gaps no server is asked."""

    def __init__(self, table):
        self._table = table
        self._most = None
        self._dense = False
        self.counts = len(table.key.columns) == 1 and table.key.columns[0].counts

    def dense(self, rows, width):
        """A chunk over `width` numbers had so many rows."""
        self._dense = rows * 2 > width

    def next(self, pair, after, rows):
        """The key that ends the next chunk, or None: it is the last."""
        if self.counts and self._dense and after is not None:
            if self._most is None:
                self._most = self._greatest(pair.source)
            if after[0] + rows < self._most:
                return (after[0] + rows,)
        return next_bound(pair, self._table, after, rows)

    def _greatest(self, session):
        found = session.row(*self._table.greatest())
        return found["k0"] if found else 0


class Comparison(object):
    """Compares tables.

    servers: (source, target), Servers. tables: list of Table. position: settle.Position. gate: with passing(), which
    holds the work while the servers have too much of it. resume, differences: of compare_state.
    settings: chunk_ms, chunk_rows, workers, query_timeout, max_differences. tell: function of a dict, for progress.
    """

    def __init__(self, servers, tables, *, position, gate, resume, differences, settings, tell=lambda progress: None):
        self._servers = servers
        self._tables = tables
        self._position = position
        self._gate = gate
        self._resume = resume
        self._differences = differences
        self._settings = settings
        self._tell = tell
        self._results = {}
        self._bounds = {}
        self._pairs = queue.Queue()
        self._rows = 0
        self._begin = time.monotonic()

    def run(self):
        """Compare everything. Returns the list of TableResults."""
        workers = self._settings["workers"]
        pairs = [Pair(self._servers, self._settings["query_timeout"]) for _number in range(workers + 1)]
        for pair in pairs[1:]:
            self._pairs.put(pair)
        waiting = collections.deque()
        pool = ThreadPoolExecutor(workers)
        try:
            for chunk in self._chunks(pairs[0]):
                self._gate.passing()
                waiting.append((chunk, pool.submit(self._compared, chunk)))
                while len(waiting) > workers:
                    self._take(*waiting.popleft())
            while waiting:
                self._take(*waiting.popleft())
        finally:
            for _chunk, future in waiting:
                future.cancel()
            pool.shutdown()
            self._resume.save(self._differences, now=True)
            for pair in pairs:
                pair.close()
        return [self._resume.done[table.shown] for table in self._tables]

    # --- chunks, in order ---

    def _chunks(self, pair):
        for table in self._tables:
            name = table.shown
            if name in self._resume.done:
                continue
            key = [column.name for column in table.key.columns] if table.key else ()
            self._results[name] = self._resume.begun.get(name) or TableResult(table.schema, table.name, key=key)
            pace = Pace(self._settings["chunk_ms"], self._settings["chunk_rows"])
            if table.key is None:
                yield Chunk(table, pace)
            else:
                yield from self._chunks_of(pair, table, pace, self._resume.after.get(name))

    def _chunks_of(self, pair, table, pace, after):
        result = self._results[table.shown]
        bounds = self._bounds[table.shown] = Bounds(table)
        while True:
            upto = persistently(pair, functools.partial(bounds.next, pair, after, pace.rows))
            if self._is_full(result):
                upto = None
            yield Chunk(table, pace, after, upto, upto is None)
            if upto is None:
                return
            after = upto

    def _is_full(self, result):
        return sum(result.counts[kind] for kind in ("lost", "extra", "different", "unsettled")) >= (
            self._settings["max_differences"])

    # --- one chunk, in a worker ---

    def _compared(self, chunk):
        pair = self._pairs.get()
        try:
            return persistently(pair, lambda: self._look(pair, chunk))
        finally:
            self._pairs.put(pair)

    def _look(self, pair, chunk):
        if chunk.last and self._is_full(self._results[chunk.table.shown]):
            return Outcome(0, 0, 0)
        here, there, seconds = pair.rows(*chunk.table.digest(chunk.after, chunk.upto))
        outcome = Outcome(here[0]["n"], there[0]["n"], seconds * 1000)
        if here != there:
            outcome.settled = True
            if chunk.table.key is None:
                self._settle_whole(pair, chunk.table, outcome)
            else:
                outcome.differences, outcome.reason = settle.settle_chunk(pair, chunk, self._position)
        return outcome

    def _settle_whole(self, pair, table, outcome):
        statement = table.digest(None, None)

        def digest(session):
            row = session.row(*statement)
            return row["n"], row["digest"]

        state, outcome.reason = settle.settle_whole(pair, digest, self._position)
        if state == settle.DIFFERENT:
            outcome.alike = self._alike(pair, table, outcome)
        if state != "equal" and not outcome.alike:
            outcome.differences = {None: state}

    @staticmethod
    def _alike(pair, table, outcome):
        """Hashes of rows that are there in different numbers: list of (hash, number, number on the target)."""
        if max(outcome.rows, outcome.rows_target) > _MOST_ALIKE:
            return []
        here, there, _seconds = pair.rows(*table.multiset())
        one, other = (dict((row["h"], row["n"]) for row in rows) for rows in (here, there))
        return [(row, one.get(row, 0), other.get(row, 0)) for row in settle.apart(one, other)]

    # --- what came out, in order ---

    def _take(self, chunk, future):
        outcome = future.result()
        name = chunk.table.shown
        result = self._results[name]
        chunk.pace.took(outcome.rows, outcome.milliseconds)
        if chunk.after and chunk.upto and self._bounds[name].counts:
            self._bounds[name].dense(outcome.rows, chunk.upto[0] - chunk.after[0])
        result.counts["chunks"] += 1
        result.counts["rows"] += outcome.rows
        result.counts["rows_target"] += outcome.rows_target
        result.counts["settled_chunks"] += outcome.settled
        self._note(chunk.table, result, outcome)
        self._rows += outcome.rows
        if chunk.last:
            if self._is_full(result):
                result.reason = "%d rows or more differ, the rest was not looked at" % (
                    self._settings["max_differences"])
            self._resume.finish(name, result)
        else:
            self._resume.chunk(name, result, chunk.upto)
        self._resume.save(self._differences)
        self._tell({"table": name, "rows": self._rows, "rows_total": sum(table.rows for table in self._tables),
                    "seconds": time.monotonic() - self._begin, "tables": len(self._resume.done),
                    "tables_total": len(self._tables)})

    def _note(self, table, result, outcome):
        for key, kind in outcome.differences.items():
            result.found(kind, outcome.reason)
            told = {"schema": table.schema, "table": table.name, "kind": kind}
            if key is not None:
                told["key"] = table.key.shown(key)
            self._differences.add(told)
        for row, here, there in outcome.alike:
            kind = "lost" if not there else "extra" if not here else "different"
            result.found(kind)
            self._differences.add({"schema": table.schema, "table": table.name, "kind": kind, "row_hash": row,
                                   "rows": here, "rows_target": there})
