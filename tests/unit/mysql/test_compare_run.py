# SPDX-License-Identifier: GPL-3.0-or-later
"""A comparison from its first chunk to its result, on stand-ins for two servers."""

import json
import os
import stat
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import compare_settle, compare_work
from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_pace import LEAST_ROWS, LagGate, Pace
from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_run import Comparison, ReadingServer
from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_state import (
    Differences,
    Resume,
    TableResult,
    fingerprint,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from sqlite_server import SQLiteServer, column, lost_connection, table

SETTINGS = {"chunk_ms": 250, "chunk_rows": 7, "workers": 3, "query_timeout": 60, "max_differences": 1000}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def _pair(rows=100, keyed=True):
    servers = SQLiteServer("source"), SQLiteServer("target")
    for server in servers:
        server.run("CREATE TABLE t (k INTEGER, v TEXT)")
        for number in range(rows):
            server.run("INSERT INTO t VALUES (?, ?)", (number, "v%d" % number))
    return servers, table([column("k", "bigint"), column("v", "varchar", nullable=True)], 1 if keyed else 0)


def _compare(servers, tables, tmp_path=None, gate=None, **settings):
    resume = Resume(str(tmp_path / "resume") if tmp_path else None, fingerprint(["a", "b"], tables))
    differences = Differences(str(tmp_path / "differences") if tmp_path else None, resume.length)
    comparison = Comparison(
        servers, tables, position=compare_settle.Position(True, 1), gate=gate or compare_work.OpenGate(), resume=resume,
        differences=differences, settings=dict(SETTINGS, **settings))
    try:
        return comparison.run(), differences
    finally:
        differences.close()


def test_equal_tables_are_equal_and_every_row_was_looked_at():
    servers, subject = _pair()
    (result,), differences = _compare(servers, [subject])
    assert (result.state, result.counts["rows"], result.counts["rows_target"]) == ("equal", 100, 100)
    assert result.counts["chunks"] > 10 and differences.first == []


@pytest.mark.parametrize("change, kind, key", [
    ("UPDATE t SET v = 'V42' WHERE k = 42", "different", 42), ("UPDATE t SET v = 'v42 ' WHERE k = 42", "different", 42),
    ("UPDATE t SET v = NULL WHERE k = 42", "different", 42), ("DELETE FROM t WHERE k = 0", "lost", 0),
    ("DELETE FROM t WHERE k = 99", "lost", 99), ("INSERT INTO t VALUES (-5, 'x')", "extra", -5),
    ("INSERT INTO t VALUES (100000, 'x')", "extra", 100000),
])
def test_one_change_is_found_and_nothing_else(change, kind, key):
    servers, subject = _pair()
    servers[1].run(change)
    (result,), differences = _compare(servers, [subject])
    assert result.state == "different"
    assert [(one["kind"], one["key"]) for one in differences.first] == [(kind, {"k": key})]


@pytest.mark.parametrize("side", [0, 1])
def test_an_empty_side_is_found(side):
    servers, subject = _pair(30)
    servers[side].run("DELETE FROM t")
    (result,), _differences = _compare(servers, [subject])
    assert result.counts["extra" if side == 0 else "lost"] == 30


def test_a_row_that_is_only_late_is_no_difference():
    servers, subject = _pair()
    servers[0].run("UPDATE t SET v = 'new' WHERE k = 3")

    def arrive(statement):
        if "HEX(BIT_XOR" not in statement and "SHA2" in statement:
            servers[1].run("UPDATE t SET v = 'new' WHERE k = 3")

    servers[0].interfere = arrive
    (result,), _differences = _compare(servers, [subject], workers=1)
    assert result.state == "equal" and result.counts["settled_chunks"] == 1


def test_a_target_that_does_not_get_there_leaves_rows_unsettled():
    servers, subject = _pair()
    servers[1].run("UPDATE t SET v = 'x' WHERE k = 3")
    servers[1].reached = False
    (result,), differences = _compare(servers, [subject])
    assert result.state == "unsettled" and "no replication" in result.reason
    assert differences.first[0]["kind"] == "unsettled"


def test_a_lost_connection_is_made_again():
    servers, subject = _pair()
    servers[0].failures = [lost_connection() for _number in range(2)]
    (result,), _differences = _compare(servers, [subject])
    assert result.state == "equal"


def test_another_error_ends_the_comparison():
    servers, subject = _pair()
    servers[1].failures = [MySQLMigrationError("Failed to run: denied.", 1142, "denied")]
    with pytest.raises(MySQLMigrationError, match="denied"):
        _compare(servers, [subject])


def test_the_rest_of_a_table_is_not_looked_at_after_too_many_differences():
    servers, subject = _pair(500)
    servers[1].run("UPDATE t SET v = 'x'")
    (result,), _differences = _compare(servers, [subject], max_differences=20)
    assert result.state == "different" and 20 <= result.counts["different"] < 200
    assert "not looked at" in result.reason


def test_tables_without_a_key_are_compared_as_multisets():
    servers, subject = _pair(10, keyed=False)
    (result,), _differences = _compare(servers, [subject])
    assert result.state == "equal"
    for server, times in zip(servers, (2, 1)):
        for _number in range(times):
            server.run("INSERT INTO t VALUES (77, 'twice')")
    (result,), differences = _compare(servers, [subject])
    assert result.state == "different"
    assert [(one["rows"], one["rows_target"], one["kind"]) for one in differences.first] == [(2, 1, "different")]


def test_what_was_interrupted_goes_on_where_it_was(tmp_path):
    servers, subject = _pair(200)
    servers[1].run("UPDATE t SET v = 'x' WHERE k IN (3, 190)")
    seen = []

    class Ends(compare_work.OpenGate):
        def passing(self):
            seen.append(1)
            if len(seen) == 15:
                raise MySQLMigrationError("Failed: interrupted.")

    with pytest.raises(MySQLMigrationError):
        _compare(servers, [subject], tmp_path, Ends(), workers=1)
    saved = json.loads((tmp_path / "resume").read_text())
    assert saved["after"]["main.t"][0] > 50 and saved["begun"]["main.t"]["different"] == 1
    assert stat.S_IMODE(os.stat(str(tmp_path / "resume")).st_mode) == 0o600
    servers[1].run("UPDATE t SET v = 'y' WHERE k = 4")      # behind the place from which it goes on
    (result,), differences = _compare(servers, [subject], tmp_path)
    assert [one["key"]["k"] for one in differences.first] == [3, 190]
    assert result.counts["rows"] == 200


def test_a_resume_file_of_another_comparison_is_not_used(tmp_path):
    servers, subject = _pair(20)
    (tmp_path / "resume").write_text(json.dumps({"fingerprint": "other", "done": {"main.t": {}}}))
    (result,), _differences = _compare(servers, [subject], tmp_path)
    assert result.counts["rows"] == 20


@pytest.mark.parametrize(("hours", "goes_on"), [(5, True), (7, False)])
def test_an_interruption_of_many_hours_begins_anew(tmp_path, hours, goes_on):
    path = tmp_path / "resume"
    path.write_text(json.dumps({"fingerprint": "x", "done": {}, "begun": {}, "after": {"main.t": [7]}, "length": 3}))
    os.utime(str(path), (time.time() - 3600 * hours,) * 2)
    assert Resume(str(path), "x").resumed is goes_on


def test_a_resume_file_that_is_none_is_named(tmp_path):
    (tmp_path / "resume").write_text("{")
    with pytest.raises(MySQLMigrationError, match="Remove it"):
        Resume(str(tmp_path / "resume"), "x")


def test_the_file_of_differences_is_for_root_only_and_holds_all(tmp_path):
    path = tmp_path / "differences"
    path.write_text("old\n")
    differences = Differences(str(path))
    for number in range(150):
        differences.add({"key": {"k": number}})
    differences.close()
    assert len(path.read_text().splitlines()) == 150 and len(differences.first) == 100
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_of_differences_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(MySQLMigrationError, match="differences_file"):
        Differences(str(tmp_path / "no" / "file"))


# --- settling ---


def _judge(*attempts):
    case = compare_settle.Case()
    return [case.judge(set(seen), target) for seen, target in attempts]


def test_a_difference_counts_when_it_was_seen_twice():
    assert _judge((["a"], "b"), (["a"], "b")) == [None, "different"]


def test_a_row_that_the_target_lacks_is_lost_and_one_that_only_it_has_is_extra():
    assert _judge((["a"], None), (["a"], None))[-1] == "lost"
    assert _judge(([None], "a"), ([None], "a"))[-1] == "extra"


def test_a_row_that_changes_between_the_looks_is_not_yet_a_difference():
    assert _judge((["a"], "b"), (["c"], "d"), (["c"], "d")) == [None, None, "different"]


def test_a_row_that_is_written_without_pause_is_equal_when_the_target_has_one_of_its_versions():
    assert _judge((["a", "b", "c"], "z"), (["c", "d"], "d")) == [None, "equal"]


def test_a_row_that_is_written_without_pause_and_never_matches_stays_open():
    assert _judge(*[(["a", "b"], "z")] * 5) == [None] * 5


def test_rows_that_never_settle_are_said_to_be_unsettled():
    servers, subject = _pair(5)
    count = iter(range(10 ** 6))
    servers[0].interfere = lambda statement: servers[0].run("UPDATE t SET v = ? WHERE k = 1", (str(next(count)),))
    (result,), _differences = _compare(servers, [subject])
    assert result.state == "unsettled" and "too often" in result.reason


def test_rows_that_are_not_found_by_their_key_are_unsettled(monkeypatch):
    servers, subject = _pair(5)
    servers[1].run("UPDATE t SET v = 'x' WHERE k = 1")
    monkeypatch.setattr(compare_settle, "hashes", lambda session, table, keys: {})
    (result,), _differences = _compare(servers, [subject])
    assert result.state == "unsettled" and "by their key" in result.reason


# --- pace ---


def test_chunks_grow_and_shrink_with_the_time_that_they_take():
    pace = Pace(250)
    first = pace.rows
    pace.took(first, 10)
    assert pace.rows == first * 4
    pace.took(pace.rows, 2000)
    assert pace.rows == first // 2
    for _number in range(20):
        pace.took(pace.rows, 60000)
    assert pace.rows == LEAST_ROWS


def test_a_fixed_number_of_rows_stays():
    pace = Pace(250, 10)
    pace.took(10, 10000)
    assert pace.rows == 10


def test_work_waits_while_the_target_lags_and_fails_when_that_lasts():
    servers, _subject = _pair(1)
    servers[1].reached = False
    with LagGate(servers[0], servers[1], 10, 0.3, interval=0.01) as gate:
        with pytest.raises(MySQLMigrationError, match="lagged"):
            end = time.monotonic() + 60
            while time.monotonic() < end:
                gate.passing()
    servers[1].reached = True
    with LagGate(servers[0], servers[1], 10, 5, interval=0.01) as gate:
        gate.passing()


# --- the result ---


def test_totals_are_those_of_the_tables():
    one, other = TableResult("a", "b"), TableResult("a", "c")
    one.counts["rows"], other.counts["rows"] = 3, 4
    other.found("lost")
    other.found("unsettled", "why")
    counts = compare_work.count([one.as_dict(), other.as_dict()], [{}])
    assert (counts["rows"], counts["lost"], counts["tables_equal"], counts["tables_different"]) == (7, 1, 1, 1)
    assert TableResult.load(other.as_dict()).as_dict() == other.as_dict()


def test_only_the_first_statements_are_kept():
    server = ReadingServer({})
    for number in range(1000):
        server.record("SELECT %d" % number)
    assert len(server.queries) == 200
