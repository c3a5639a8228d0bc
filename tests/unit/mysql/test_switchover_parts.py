# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the switchover by themselves: who is in the way, gates, pauses for tests, signals, channels on RDS."""

import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import fakes
from ansible_collections.seamless.migration.plugins.module_utils.journal import Journal
from ansible_collections.seamless.migration.plugins.module_utils.mysql import (
    receivers,
    switchover_clients,
    switchover_guardrails,
    switchover_journal,
    switchover_steps,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_hooks import Hooks
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_side import Side
from switchover_pair import NEW, OLD, OPTIONS, Pair

OF_THE_MIGRATION = switchover_guardrails.of_the_migration


@pytest.fixture
def pair(tmp_path, monkeypatch):
    made = Pair(tmp_path, monkeypatch)
    yield made
    assert made.violations == []


@pytest.fixture
def side(pair):
    return Side(pair.old.server("source"), "source", Hooks({}, 1)).connect()


def client(number, client=True, seconds=5):
    return {
        "id": number, "user": "app", "host": "h", "db": "shop", "command": "Query", "seconds": seconds, "state": "",
        "statement": "UPDATE t", "client": client, "thread": "thread/sql/one_connection" if client else "worker",
    }  # fmt: skip


# --- who is in the way ---------------------------------------------------------------------------------------------


def test_what_holds_the_fence_up_is_ended_once_and_neither_ours_nor_the_servers_own(pair, side):
    blocking = switchover_clients.Blocking({5}, True, 0)
    found = [client(9), client(5), client(6, client=False)]
    blocking(side.main, found)
    blocking(side.main, found)
    assert pair.old.killed == [9]
    assert blocking.ended == [9]


def test_what_holds_the_fence_up_has_a_time_of_grace(pair, side):
    blocking = switchover_clients.Blocking(set(), True, 3600)
    blocking(side.main, [client(9)])
    blocking(side.main, [client(9)])
    assert pair.old.killed == []


def test_nothing_is_ended_that_was_not_asked_for(pair, side):
    switchover_clients.Blocking(set(), False, 0)(side.main, [client(9)])
    assert pair.old.killed == []


def test_long_statements_transactions_and_any_branch_are_in_the_way(pair, side):
    row = {"user": "app", "host": "h", "command": "Sleep", "seconds": 9, "statement": None}
    pair.old.blocking = [client(1), client(2, seconds=0)]
    pair.old.transactions = [dict(row, id=3, age=9), dict(row, id=4, age=0.1), dict(row, id=5, age=None)]
    pair.old.branches = [dict(row, id=6, age=0)]
    found = switchover_clients.in_the_way(side.main, {5}, 1)
    assert [one["id"] for one in found] == [1, 3, 6]


def test_a_connection_that_may_not_be_ended_is_told(pair, side):
    pair.old.on(r"KILL CONNECTION 8", fakes.error(1095, "You are not owner of thread 8"))
    assert switchover_clients.end(side.main, [7, 8]) == [8]


def test_no_more_connections_are_ended_when_the_time_is_over(pair, side):
    budget = switchover_steps.Budget(1000)
    budget.begin()
    pair.old.on(r"KILL CONNECTION (\d+)", lambda found: _spent(budget, pair, int(found.group(1))))
    with pytest.raises(MySQLMigrationError, match="budget of 1000 ms"):
        switchover_clients.end(side.main, [7, 8, 9], budget.left)
    assert pair.old.killed == [7, 8]


def _spent(budget, pair, number):
    pair.old.killed.append(number)
    if number == 8:
        budget.end -= 1


# --- gates ---------------------------------------------------------------------------------------------------------


def gate(name, ok=False):
    return {"name": name, "ok": ok, "evidence": {"problems": ["bad"]}, "advice": "Mend it"}


def test_a_gate_can_be_forced_by_its_name_and_that_is_recorded():
    judged = switchover_guardrails.judge([gate("primary_keys"), gate("engines"), gate("sql_mode", True)], ["engines"])
    assert [one["state"] for one in judged] == ["failed", "forced", "ok"]
    assert switchover_guardrails.failure(judged) == "1 gate(s) failed: primary_keys (bad). Mend it"


@pytest.mark.parametrize("name", switchover_guardrails.NEVER_FORCED)
def test_what_keeps_data_safe_cannot_be_forced(name):
    assert switchover_guardrails.judge([gate(name)], [name])[0]["state"] == "failed"


@pytest.mark.parametrize(("direction", "seen"), [("forward", True), ("back", False)])
def test_versions_count_on_the_way_forward_only(pair, monkeypatch, direction, seen):
    asked = []
    monkeypatch.setattr(switchover_guardrails, "of_the_migration", OF_THE_MIGRATION)
    monkeypatch.setattr(switchover_guardrails, "facts", lambda _server, _session, _schemas: {})
    monkeypatch.setattr(
        switchover_guardrails.guardrails,
        "findings",
        lambda _source, _target, details: asked.append(details) or [gate("versions", True), gate("errant")],
    )
    sides = [
        Side(machine.server(role), role, Hooks({}, 1)).connect()
        for machine, role in ((pair.old, "source"), (pair.new, "target"))
    ]
    judged = switchover_guardrails.check(sides[0], sides[1], dict(OPTIONS, direction=direction))
    assert ("versions" in [one["name"] for one in judged]) is seen
    assert asked[0]["own_users"] == ["admin", "admin"]
    assert asked[0]["ssl"] is True


# --- pauses and signals --------------------------------------------------------------------------------------------


def test_a_run_waits_at_a_point_only_when_a_test_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SEAMLESS_TEST_PAUSE_AT", "%s:here,there" % tmp_path)
    switchover_steps.pause("elsewhere")
    waiting = threading.Thread(target=switchover_steps.pause, args=("there",))
    waiting.start()
    end = time.monotonic() + 60
    while not (tmp_path / "there").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert waiting.is_alive()
    (tmp_path / "there").unlink()
    waiting.join(60)
    assert not waiting.is_alive()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_told_to_end_in_the_window_puts_it_back(pair, number):
    def term(_found):
        os.kill(os.getpid(), number)
        return NotImplemented

    pair.old.on(r"SET PERSIST super_read_only = 1", term)
    with pytest.raises(MySQLMigrationError, match=r"told to end \(signal %d\).*put back" % number):
        pair.run()
    assert pair.old.open


def test_being_told_to_end_after_the_commit_is_not_heard(pair):
    def term(_found):
        os.kill(os.getpid(), signal.SIGTERM)
        return NotImplemented

    pair.new.on(r"SET PERSIST super_read_only = 0", term)
    assert pair.run()["complete"] is True


# --- journal -------------------------------------------------------------------------------------------------------


def test_only_the_last_run_counts_and_what_others_write_does_not(tmp_path):
    journal = Journal(str(tmp_path / "shop.jsonl"))
    assert switchover_journal.last(journal).phase == "none"
    first = switchover_journal.Record(journal, "forward", "one")
    first.begin(strategy="switchover")
    first.doing("events", {"scheduler": "ON", "enabled": []})
    first.undo("because")
    journal.append("committed", {"side": "target"}, stage="storage_cutover")
    second = switchover_journal.Record(journal, "back", "two")
    second.begin(strategy="switchover", source_uuid=NEW, target_uuid=OLD)
    second.open_window()
    journal.append("started", {"run": "x"}, stage="mysql_verify", step="compare")
    found = switchover_journal.last(journal)
    assert (found.run, found.direction, found.phase, found.before) == ("two", "back", "window", {})
    assert found.data["source_uuid"] == NEW


# --- connections ---------------------------------------------------------------------------------------------------


def test_the_look_before_the_opening_uses_a_connection_that_was_opened_in_the_window(tmp_path, monkeypatch):
    pair = Pair(tmp_path, monkeypatch, reserves=True)
    assert pair.run()["complete"] is True
    said = [statement for name, statement in pair.said if name == "old"]
    fence = next(number for number, one in enumerate(said) if one.startswith("SET PERSIST super_read_only"))
    commit = said.index("journal committed")
    assert "connect" in said[fence:commit]
    assert said[commit + 1] == "SELECT @@GLOBAL.server_uuid"
    assert pair.violations == []


# --- channels that connect again ---------------------------------------------------------------------------------


@pytest.fixture
def connecting(monkeypatch):
    """A target whose channel is connecting again; after a second it does not any more. Returns (side, row, naps)."""
    machine = fakes.FakeServer("9.7")
    row = machine.channel("", Replica_IO_Running="Connecting", Last_IO_Errno=2003)
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if sum(naps) > 1:
            row["Replica_IO_Running"] = "Yes"

    monkeypatch.setattr(receivers, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: sum(naps)))
    return Side(machine.server("target"), "target", Hooks({}, 1)).connect(), row, naps


def test_a_channel_that_connects_again_is_waited_for(connecting):
    side, row, _naps = connecting
    receivers.await_connected(side.channels, fakes.OTHER)
    assert row["Replica_IO_Running"] == "Yes"


def test_a_channel_that_connects_again_is_waited_for_no_longer_than_was_said(connecting):
    side, row, naps = connecting
    receivers.await_connected(side.channels, fakes.OTHER, 0.5)
    assert row["Replica_IO_Running"] == "Connecting"
    assert 0.5 <= sum(naps) < 1


@pytest.mark.parametrize("columns", [{"Last_IO_Errno": 1045}, {"Source_UUID": OLD}, {"Replica_IO_Running": "No"}])
def test_a_channel_that_no_time_would_mend_is_not_waited_for(connecting, columns):
    side, row, naps = connecting
    row.update(columns)
    receivers.await_connected(side.channels, fakes.OTHER)
    assert naps == []


# --- channels on RDS -----------------------------------------------------------------------------------------------


def test_on_rds_a_channel_is_removed_by_procedures(tmp_path):
    machine = fakes.FakeServer("rds-8.0")
    machine.channel("")
    side = Side(machine.server("target", platform="rds"), "target", Hooks({}, 1)).connect()
    assert side.remove_channel("") is True
    assert machine.channels == {}
    assert machine.said_like("CALL `mysql`.`rds_stop_replication`")
    assert side.remove_channel("") is False


def test_on_rds_a_channel_that_stays_is_told(tmp_path):
    machine = fakes.FakeServer("rds-8.0")
    machine.channel("")
    machine.on(r"CALL `mysql`.`rds_reset", fakes.error(1644, "no"))
    side = Side(machine.server("target", platform="rds"), "target", Hooks({}, 1)).connect()
    with pytest.raises(MySQLMigrationError, match="Remove it by hand"):
        side.remove_channel("")


@pytest.mark.parametrize("preset, kept, lasts_and_forgot", [
    ("9.7", 1, (True, False)), ("9.7", 0, (False, True)), ("5.7", 0, (False, False)), ("rds-8.4", 0, (True, False)),
])  # fmt: skip
def test_a_fence_lasts_where_the_server_keeps_it(tmp_path, monkeypatch, preset, kept, lasts_and_forgot):
    pair = Pair(tmp_path, monkeypatch, old=preset)
    pair.old.persisted["super_read_only"] = kept
    side = pair.switchover().source.connect()
    assert (side.persists_fence(side.main), side.forgot_fence(side.main)) == lasts_and_forgot
    side.close()
