# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module mysql_compare does with its options."""

import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import (
    compare_catalog,
    compare_settle,
    compare_state,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_pace import LagGate
from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_run import Comparison, ReadingServer
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

_RANGES = (("workers", 1, 64), ("chunk_ms", 10, 60000), ("chunk_rows", 1, 1000000), ("max_lag_ms", 0, 3600000),
           ("settle_timeout", 1, 86400), ("query_timeout", 1, 864000), ("lag_timeout", 1, 864000),
           ("max_differences", 1, 10000000))
# States that a table can have, and whether the data are proven equal with it.
STATES = {"equal": True, "different": False, "unsettled": False, "lost": False, "extra": False, "not_comparable": False}
_LEAST_PACKET = 1048576


class OpenGate(object):
    """Holds nothing: there is no lag to look at."""

    most_ms = 0
    paused_s = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pass

    def passing(self):
        pass


def check(params):
    """Refuse what cannot be right. Raises MySQLMigrationError."""
    for name, least, most in _RANGES:
        if params[name] is not None and not least <= params[name] <= most:
            raise MySQLMigrationError("Failed to use the option %s: %d is not within %d to %d. Give one that is."
                                      % (name, params[name], least, most))
    for name in ("tables", "exclude"):
        for value in params[name]:
            if "." not in value.strip("."):
                raise MySQLMigrationError("Failed to use the option %s: %r is no table. Write schema.table, or schema.*"
                                          " for all tables of a schema." % (name, value))


class Work(object):
    """One run. params: the options of the module."""

    def __init__(self, params, connect=None):
        check(params)
        self._params = params
        more = {"connect": connect} if connect else {}
        self.servers = [ReadingServer(params[side], side, **more) for side in ("source", "target")]

    def queries(self):
        """The first statements of both servers."""
        return [statement for server in self.servers for statement in server.queries]

    def _plan(self, source, target):
        """Returns (tables, judged, differences of definitions, by_gtid)."""
        for server, session in zip(self.servers, (source, target)):
            server.identify(session)
            if int(session.value("SELECT @@max_allowed_packet")) < _LEAST_PACKET:
                raise MySQLMigrationError("Failed to compare the data: max_allowed_packet on the %s is below 1 MiB, so "
                                          "that rows could not be hashed. Raise it." % server.where)
        if self.servers[0].uuid == self.servers[1].uuid:
            raise MySQLMigrationError("Failed to compare the data: source and target are the same server (%s). Correct "
                                      "the options source and target." % self.servers[0].uuid)
        selection = compare_catalog.Selection(*(self._params[name] for name in ("schemas", "tables", "exclude")))
        catalogs = [compare_catalog.Catalog(session, selection.of(session)) for session in (source, target)]
        compare_catalog.check_selection(selection, *catalogs)
        tables, judged = compare_catalog.plan(catalogs[0], catalogs[1], selection)
        for table in tables:
            table.exact_floats = self._params["floats"] == "exact"
            table.folds_bytes = all(server.version >= (8, 0, 0) for server in self.servers)
        definitions = []
        if self._params["definitions"]:
            places = [(table.schema, table.name) for table in tables]
            definitions = compare_catalog.definition_differences(
                *(catalog.definitions(places) for catalog in catalogs))
        return tables, judged, definitions, compare_settle.uses_gtid(source, target)

    def plan(self):
        """What would be compared, in check mode."""
        with self.servers[0].session() as source, self.servers[1].session() as target:
            tables, judged, definitions, by_gtid = self._plan(source, target)
        planned = [{"schema": table.schema, "table": table.name, "rows": table.rows, "bytes": table.size,
                    "key": [column.name for column in table.key.columns] if table.key else [], "state": "planned",
                    "reason": "" if table.key else "it has no key, so that it is compared as a whole"}
                   for table in tables]
        return {"equal": None, "tables": planned + judged, "definitions": definitions, "by_gtid": by_gtid}

    def run(self, tell=lambda progress: None):
        """Compare. Returns the result of the module."""
        begin, params = time.monotonic(), self._params
        with self.servers[0].session() as source, self.servers[1].session() as target:
            tables, judged, definitions, by_gtid = self._plan(source, target)
            follows = by_gtid and _follows(target)
        resume = compare_state.Resume(params["resume_file"], compare_state.fingerprint(
            [server.uuid for server in self.servers], tables))
        differences = compare_state.Differences(params["differences_file"], resume.length)
        gate = OpenGate()
        if follows and params["max_lag_ms"]:
            gate = LagGate(self.servers[0], self.servers[1], params["max_lag_ms"], params["lag_timeout"])
        try:
            with gate:
                results = Comparison(
                    self.servers, tables, position=compare_settle.Position(by_gtid, params["settle_timeout"]),
                    gate=gate, resume=resume, differences=differences, settings=params, tell=tell).run()
            for one in judged + definitions:
                differences.add(_without_texts(one))
        finally:
            differences.close()
        resume.remove()
        lines = [result.as_dict() for result in results] + judged
        counts = count(lines, definitions)
        return {
            "equal": all(STATES[line["state"]] for line in lines) and not definitions, "tables": lines,
            "data_equal": all(STATES[line["state"]] for line in lines), "definitions": definitions, "counts": counts,
            "differences": differences.first, "by_gtid": by_gtid, "resumed": resume.resumed,
            "seconds": round(time.monotonic() - begin, 3), "lag_ms_max": gate.most_ms,
            "paused_seconds": round(gate.paused_s, 3)}


def _follows(session):
    """Whether something is being applied on this server."""
    try:
        compare_settle.check_applier(session)
    except compare_settle.NotReached:
        return False
    return True


def _without_texts(difference):
    """A difference for the file: definitions are in the result, and may be long."""
    return dict((name, value) for name, value in difference.items() if name not in ("source", "target"))


def count(lines, definitions):
    """Totals of the results of tables."""
    counts = {"tables": len(lines), "definitions": len(definitions)}
    for name in ("rows", "rows_target", "chunks", "settled_chunks") + compare_state.COUNTED:
        counts[name] = sum(line.get(name, 0) for line in lines)
    for state in STATES:
        counts["tables_" + state] = sum(line["state"] == state for line in lines)
    return counts
