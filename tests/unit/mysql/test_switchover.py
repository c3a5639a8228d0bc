# SPDX-License-Identifier: GPL-3.0-or-later
"""The switchover on two servers that are none: its order, its undo, and what the next run makes of a dead one."""

import contextlib
import json
import os
import pathlib
import re
import sys
import tempfile
import time
import types

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import fakes
from ansible_collections.seamless.migration.plugins.module_utils.journal import Journal
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_open, switchover_steps
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover import Switchover
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_run import RECONNECT
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_steps import Doubt
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_undo import Undo
from switchover_pair import NEW, OLD, Pair, PowerLoss


@pytest.fixture
def pair(tmp_path, monkeypatch):
    made = Pair(tmp_path, monkeypatch)
    yield made
    assert made.violations == []


def journal(pair):
    return Journal(str(pair.journal))


def names(result):
    return [step["name"] for step in result["steps"]]


def is_as_before(pair):
    assert pair.old.open
    assert not pair.new.open
    assert pair.old.variables["event_scheduler"] == "ON"
    assert (pair.new.variables["innodb_flush_log_at_trx_commit"], pair.new.variables["sync_binlog"]) == (1, 1)
    return True


def is_switched(pair, result):
    assert (result["state"], result["committed"], result["complete"]) == ("target_open", True, True)
    assert pair.new.open
    assert not pair.old.open
    assert pair.old.persisted["super_read_only"]
    assert (pair.new.variables["innodb_flush_log_at_trx_commit"], pair.new.variables["sync_binlog"]) == (1, 1)
    assert "" not in pair.new.channels
    return True


# --- the plain way -------------------------------------------------------------------------------------------------


def test_the_steps_come_in_the_order_of_the_table(pair):
    result = pair.run()
    assert is_switched(pair, result)
    assert names(result) == [
        "guardrails", "reverse_channel", "canary_table", "low_lag", "quiet", "pause", "fence", "read_back",
        "final_gtid", "drain", "proof", "commit", "open_target", "canary", "switch", "canary_back", "events",
        "forward_channel",
    ]  # fmt: skip
    assert result["window_ms"] > 0
    assert result["gtid"] == OLD + ":1-10"
    assert [step["n"] for step in result["steps"]] == sorted(step["n"] for step in result["steps"])


def test_a_server_that_cannot_persist_its_fence_is_left_with_the_lines_that_keep_it_closed(tmp_path, monkeypatch):
    pair = Pair(tmp_path, monkeypatch, old="5.7")
    result = pair.run()
    assert (result["state"], result["complete"]) == ("target_open", True)
    assert not pair.old.open and pair.new.open and pair.violations == []
    told = [one for one in result["warnings"] if "'read_only = ON' and 'super_read_only = ON' under [mysqld]" in one]
    assert len(told) == 1 and "5.7.44" in told[0]


def test_a_server_that_persists_its_fence_needs_no_lines(pair):
    assert [one for one in pair.run()["warnings"] if "my.cnf" in one] == []


def test_the_journal_knows_of_each_irreversible_step_before_it_is_done(pair):
    seen = {}

    def look(name):
        return lambda found: seen.setdefault(name, pair.events()) and None or NotImplemented

    pair.old.on(r"SET PERSIST super_read_only = 1", look("fence"))
    pair.new.on(r"SET PERSIST super_read_only = 0", look("open"))
    pair.run()
    assert seen["fence"][-1] == "window_opened"
    assert seen["open"][-1] == "committed"
    assert pair.events()[-2:] == ["done", "measured"]


def test_a_second_run_finds_nothing_to_do(pair):
    pair.run()
    before = len(pair.said)
    result = pair.run()
    assert (result["changed"], result["state"], result["steps"]) == (False, "target_open", [])
    assert not [statement for _name, statement in pair.said[before:] if statement.startswith(("SET PERSIST", "KILL"))]


def test_the_way_back_is_the_same_with_the_roles_exchanged(pair):
    pair.run()
    pair.follow()
    result = pair.run(back=True)
    assert result["state"] == "target_open"
    assert pair.old.open
    assert not pair.new.open
    assert journal(pair).state()["side"] == "source"


def test_the_way_back_refuses_when_its_channel_is_broken(pair):
    pair.run()
    pair.follow()
    pair.old.channels["way_back"].update(Replica_SQL_Running="No", Last_SQL_Errno=1062, Last_SQL_Error="Duplicate")
    with pytest.raises(MySQLMigrationError, match=r"forward_channel.*1062.*Nothing was changed"):
        pair.run(back=True, force=["forward_channel"])
    assert pair.new.open
    assert not pair.old.open


def test_events_of_the_source_go_on_at_the_target_only(pair):
    event = {
        "event_schema": "shop", "event_name": "nightly", "definer": "app@%", "sql_mode": "", "time_zone": "SYSTEM",
        "character_set_client": "utf8mb4", "collation_connection": "utf8mb4_0900_ai_ci",
    }  # fmt: skip
    pair.old.events = [dict(event, status="ENABLED")]
    pair.new.events = [dict(event, status="REPLICA_SIDE_DISABLED")]
    pair.new.variables["event_scheduler"] = "OFF"
    pair.run()
    assert pair.new.said_like(r"ALTER DEFINER = `app`@`%` EVENT `shop`.`nightly` ENABLE")
    assert (pair.old.variables["event_scheduler"], pair.new.variables["event_scheduler"]) == ("OFF", "ON")


def test_clients_of_the_source_are_ended_and_our_own_are_not(pair):
    client = {"id": 7, "user": "app", "host": "h", "db": None, "command": "Sleep", "seconds": 3, "statement": None}
    pair.old.clients = [client]
    pair.run()
    assert pair.old.killed == [7]


# --- hooks ---------------------------------------------------------------------------------------------------------


def test_hooks_run_in_their_order_and_resume_follows_the_switch(pair, tmp_path):
    seen = tmp_path / "seen"
    hooks = {name: [["sh", "-c", "echo $SEAMLESS_HOOK >> %s" % seen]] for name in ("pause", "switch", "resume")}
    pair.run(hooks=hooks)
    assert seen.read_text().split() == ["pause", "switch", "resume"]


def test_a_pause_that_fails_is_resumed_and_nothing_is_fenced(pair, tmp_path):
    seen = tmp_path / "seen"
    with pytest.raises(MySQLMigrationError, match="put back"):
        pair.run(hooks={"pause": [["false"]], "resume": [["touch", str(seen)]]})
    assert seen.exists()
    assert is_as_before(pair)
    assert "window_opened" not in pair.events()


def test_a_hook_that_hangs_is_killed_with_what_it_started(pair, tmp_path):
    pid = tmp_path / "pid"
    with pytest.raises(MySQLMigrationError, match="did not end within 3 s"):  # a busy machine needs one to start it
        pair.run(hooks={"pause": [["sh", "-c", "sleep 1000 & echo $! > %s; wait" % pid]]}, hook_timeout=3)
    assert not os.path.exists("/proc/%s/exe" % pid.read_text().strip())


def test_a_switch_that_fails_never_reopens_the_source_and_is_tried_by_the_next_run(pair, tmp_path):
    gate = tmp_path / "gate"
    hooks = {"switch": [["test", "-e", str(gate)]]}
    result = pair.run(hooks=hooks)
    assert (result["state"], result["complete"]) == ("target_open", False)
    assert result["warnings"]
    assert not pair.old.open
    gate.write_text("")
    again = pair.run(hooks=hooks)
    assert (again["complete"], again["recovered"]) == (True, "forward")


def test_hooks_that_ran_to_their_end_do_not_run_again(pair, tmp_path):
    seen = tmp_path / "seen"
    hooks = {"switch": [["sh", "-c", "echo switched >> %s" % seen]]}
    pair.new.on(r"REPLACE", lambda found: (pair.old.channels["way_back"].update(Replica_IO_Running="No"), [])[1])
    result = pair.run(hooks=hooks)
    assert result["complete"] is False
    assert "canary has not arrived" in result["warnings"][0]
    pair.new.on(r"REPLACE INTO seamless_migration.canary .*VALUES \('(\w+)', '([^']+)'", pair.new._write_canary)
    pair.follow()
    assert pair.run(hooks=hooks)["complete"] is True
    assert seen.read_text().split() == ["switched"]


# --- gates and preparations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Replica_IO_Running", "Replica_SQL_Running"])
def test_a_forward_channel_that_does_not_run_stops_it_before_anything(pair, name):
    pair.new.channels[""][name] = "No"
    with pytest.raises(MySQLMigrationError, match=r"forward_channel.*Nothing was changed"):
        pair.run()
    assert is_as_before(pair)
    assert not pair.journal.exists()


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("Source_UUID", "33333333-3333-3333-3333-333333333333", "follows server_uuid 3+"),
        ("Auto_Position", 0, "does not use GTID auto-position"),
    ],
)
def test_a_forward_channel_that_runs_and_is_another_stops_it_before_anything(pair, column, value, says):
    pair.new.channels[""][column] = value
    with pytest.raises(MySQLMigrationError, match="forward_channel.*%s.*Nothing was changed" % says):
        pair.run(force=["forward_channel"])
    assert is_as_before(pair)


def test_flushing_that_does_not_come_back_stops_it_before_the_commit_and_is_told(pair):
    ignored = [True]

    def ignore(found):
        return [] if found.group(1) == "1" and ignored[0] else NotImplemented

    pair.new.on(r"SET GLOBAL innodb_flush_log_at_trx_commit = (\d)", ignore)
    with pytest.raises(MySQLMigrationError, match=r"trx_commit is 2 on target .* should be 1.*could not be put back"):
        pair.run()
    assert "committed" not in pair.events()
    assert pair.old.open
    ignored[0] = False
    assert is_switched(pair, pair.run())


def test_an_open_target_stops_it(pair):
    pair.two_writers_wanted = True
    pair.new.variables.update(read_only=0, super_read_only=0)
    with pytest.raises(Doubt, match="Both servers take writes"):
        pair.run()


def test_a_target_that_only_says_super_read_only_counts_as_open(pair):
    pair.two_writers_wanted = True
    pair.new.variables.update(read_only=0, super_read_only=1)
    with pytest.raises(Doubt, match="Both servers take writes"):
        pair.run()


def test_a_target_whose_fence_would_not_outlast_a_restart_stops_it(pair):
    pair.new.persisted.clear()
    with pytest.raises(MySQLMigrationError, match=r"target_fenced.*would not outlast a restart.*Nothing was changed"):
        pair.run()


def test_a_target_that_was_opened_after_the_first_look_stops_it(pair, monkeypatch):
    monkeypatch.setattr(Switchover, "state", lambda _self: "source_open")
    pair.two_writers_wanted = True
    pair.new.variables.update(read_only=0, super_read_only=0)
    with pytest.raises(MySQLMigrationError, match=r"target_fenced \(the target is not fenced\)"):
        pair.run(force=["target_fenced"])
    assert not pair.journal.exists()


def test_a_source_that_is_read_only_already_stops_it_and_stays_so(pair):
    pair.old.variables["read_only"] = 1
    with pytest.raises(MySQLMigrationError, match=r"source_open \(the source is read-only\)"):
        pair.run(force=["source_open"])
    assert (pair.old.variables["read_only"], pair.old.variables["super_read_only"]) == (1, 0)


def test_what_is_committed_is_never_put_back():
    record = types.SimpleNamespace(phase="committed", closed_target=False, run="r")
    run = types.SimpleNamespace(record=record, source=None, target=None, options={"reach_timeout": 0})
    with pytest.raises(Doubt, match="only goes forward"):
        Undo(run).put_back("a test")


def test_errant_transactions_stop_it_and_cannot_be_forced(pair):
    pair.new.variables["gtid_executed"] += "," + NEW + ":1"
    with pytest.raises(MySQLMigrationError, match="errant.*%s:1" % NEW):
        pair.run(force=["errant"])


def test_transactions_that_the_source_has_purged_stop_it_and_cannot_be_forced(pair):
    pair.old.variables.update(gtid_executed=OLD + ":1-12", gtid_purged=OLD + ":1-11")
    with pytest.raises(MySQLMigrationError, match="purge_distance.*%s:11" % OLD):
        pair.run(force=["purge_distance"])
    assert is_as_before(pair)


def test_a_reverse_channel_may_be_given_up_by_force_and_that_is_told(pair):
    del pair.old.channels["way_back"]
    with pytest.raises(MySQLMigrationError, match="has no channel 'way_back'"):
        pair.run()
    assert is_as_before(pair)
    result = pair.run(force=["reverse_channel"])
    assert result["state"] == "target_open"
    assert "rollback would lose" in result["warnings"][0]


def test_a_way_back_that_is_refused_is_not_waited_for(pair):
    def refuse(_found):
        pair.old.channels["way_back"].update(
            Replica_IO_Running="Connecting", Last_IO_Errno=1045, Last_IO_Error="Access denied for user"
        )
        return []

    pair.old.on(r"START REPLICA", refuse)
    begin = time.monotonic()
    with pytest.raises(MySQLMigrationError, match=r"Access denied for user \(1045\).*put back"):
        pair.run()
    assert time.monotonic() - begin < RECONNECT / 2
    assert is_as_before(pair)


def test_lag_that_never_gets_low_is_told_and_put_back(pair):
    pair.new.on(r"SELECT WAIT_FOR_EXECUTED_GTID_SET", [{"x": 1}])
    with pytest.raises(MySQLMigrationError, match=r"lag did not stay below 1000 ms.*put back"):
        pair.run(lag_timeout=0.1)
    assert is_as_before(pair)


def test_prepared_branches_stop_it_under_every_policy(pair):
    pair.old.prepared = [{"formatID": 1, "gtrid_length": 1, "bqual_length": 0, "data": "0x41"}]
    for policy in ("wait", "kill", "fail"):
        with pytest.raises(MySQLMigrationError, match=r"prepared XA transaction.*0x41"):
            pair.run(long_transactions=policy)
        assert is_as_before(pair)
        assert "window_opened" not in pair.events()
    assert pair.old.killed == []


LONG = {"id": 9, "user": "app", "host": "h", "command": "Sleep", "seconds": 60, "statement": None, "age": 60}


@pytest.mark.parametrize("policy", ["wait", "fail"])
def test_a_long_transaction_stops_it_and_is_named(pair, policy):
    pair.old.transactions = [LONG]
    with pytest.raises(MySQLMigrationError, match="connection 9 of app@h"):
        pair.run(long_transactions=policy)
    assert is_as_before(pair)
    assert pair.old.killed == []


def test_a_long_transaction_is_ended_when_asked(pair):
    pair.old.transactions = [LONG]
    pair.old.on(r"KILL CONNECTION 9", lambda _found: pair.old.killed.append(9) or pair.old.transactions.clear())
    assert is_switched(pair, pair.run(long_transactions="kill"))
    assert pair.old.killed == [9]


# --- the window ----------------------------------------------------------------------------------------------------


def test_a_fence_that_gets_no_lock_is_put_back(pair):
    pair.old.on(r"SET PERSIST super_read_only = 1", fakes.error(1205, "Lock wait timeout exceeded"))
    with pytest.raises(MySQLMigrationError, match=r"Failed to fence source.*put back"):
        pair.run(lock_wait=0)
    assert is_as_before(pair)
    assert pair.events()[-1] == "undone"


def test_a_fence_that_somebody_opens_at_once_is_noticed(pair):
    pair.old.on(r"SET PERSIST super_read_only = 1", lambda _found: [])
    with pytest.raises(MySQLMigrationError, match="both must be 1"):
        pair.run()
    assert is_as_before(pair)


def test_a_fence_that_would_not_outlast_a_restart_is_no_fence(pair):
    def only_for_now(_found):
        pair.old.variables.update(super_read_only=1, read_only=1)
        return []

    pair.old.on(r"SET PERSIST super_read_only = 1", only_for_now)
    with pytest.raises(MySQLMigrationError, match="does not read back.*persisted False"):
        pair.run()
    assert is_as_before(pair)


def opened_by_somebody(pair):
    pair.old.variables.update(read_only=0, super_read_only=0)


def prepared(pair):
    pair.old.prepared = [{"formatID": 1, "data": "0x43"}]


def written_on_the_target(pair):
    pair.new.variables["gtid_executed"] += ",%s:1" % NEW


def stopped(pair):
    pair.new.channels[""]["Replica_SQL_Running"] = "No"


def lost_lock(role):
    def lose(pair):
        getattr(pair, role).locked_by = None

    return lose


def slow_to_end(pair):
    pair.old.transactions = [LONG]


@pytest.mark.parametrize(
    ("after", "happens", "seen"),
    [
        ("fence", opened_by_somebody, ("read_back", "does not read back")),
        ("fence", prepared, ("read_back", "prepared XA")),
        ("fence", slow_to_end, ("read_back", "Transactions on source .* do not end: connection 9 of app")),
        ("drain", opened_by_somebody, ("proof", "was opened by somebody meanwhile")),
        ("drain", prepared, ("proof", "prepared XA")),
        ("drain", written_on_the_target, ("proof", "the source never had: %s:1" % NEW)),
        ("drain", stopped, ("proof", "replica_sql_running is No")),
        ("drain", lost_lock("old"), ("proof", "lock on source .*not held")),
        ("drain", lost_lock("new"), ("proof", "lock on target .*not held")),
    ],
)
def test_each_look_of_the_window_has_an_eye_of_its_own(pair, monkeypatch, after, happens, seen):
    """What happens right after a step is seen by the next one that looks, and nothing is committed."""
    monkeypatch.setattr(switchover_steps, "pause", lambda name: happens(pair) if name == after + ".done" else None)
    step, says = seen
    switchover = pair.switchover(budget_ms=1000)
    with pytest.raises(MySQLMigrationError, match="(?s)%s.*put back" % says):
        switchover.switched()
    assert [one["name"] for one in switchover.steps.done if not one["ok"]] == [step]
    assert "committed" not in pair.events()
    assert pair.old.open
    assert not pair.new.open


def test_a_window_whose_budget_is_used_up_by_ending_clients_is_put_back_at_once(pair):
    pair.old.clients = [{"id": number, "user": "app"} for number in range(7, 12)]
    switchover = pair.switchover()

    def slow(found):
        pair.old.killed.append(int(found.group(1)))
        switchover.run.budget.end -= 3

    pair.old.on(r"KILL CONNECTION (\d+)", slow)
    with pytest.raises(MySQLMigrationError, match=r"budget of 5000 ms.*put back"):
        switchover.switched()
    assert pair.old.killed == [7, 8]
    assert is_as_before(pair)


def test_a_window_that_has_used_up_its_budget_after_the_drain_is_put_back(pair, monkeypatch):
    switchover = pair.switchover()

    def spend(name):
        if name == "drain.done":
            switchover.run.budget.end = time.monotonic() - 1

    monkeypatch.setattr(switchover_steps, "pause", spend)
    with pytest.raises(MySQLMigrationError, match=r"budget of 5000 ms.*put back"):
        switchover.switched()
    assert [one["name"] for one in switchover.steps.done if not one["ok"]] == ["proof"]
    assert is_as_before(pair)


@pytest.mark.parametrize("machine", ["old", "new"])
def test_nothing_is_put_back_while_another_run_has_the_lock_of_either_server(pair, monkeypatch, machine):
    def taken(name):
        if name == "drain.done":
            getattr(pair, machine).locked_by = fakes.FakeConnection(getattr(pair, machine), 77)

    monkeypatch.setattr(switchover_steps, "pause", taken)
    with pytest.raises(Doubt, match=r"Another switchover holds the lock.*Both servers stay fenced"):
        pair.run()
    assert not pair.old.open
    assert not pair.new.open


def test_a_branch_prepared_between_the_look_and_the_fence_is_put_back(pair):
    def prepare(_found):
        pair.old.prepared = [{"formatID": 1, "data": "0x42"}]
        return NotImplemented

    pair.old.on(r"SET PERSIST super_read_only = 1", prepare)
    with pytest.raises(MySQLMigrationError, match=r"0x42.*put back"):
        pair.run()
    assert is_as_before(pair)


def test_transactions_behind_the_fence_are_carried_over_or_put_back(pair):
    def flush(_found):
        if not pair.old.open:
            count = int(pair.old.variables["gtid_executed"].rpartition("-")[2])
            pair.old.variables["gtid_executed"] = "%s:1-%d" % (OLD, count + 1)
        return NotImplemented

    pair.old.on(r"SELECT @@GLOBAL.gtid_executed", flush)
    with pytest.raises(MySQLMigrationError, match="behind its fence"):
        pair.run()
    assert is_as_before(pair)


def test_one_late_transaction_is_waited_for(pair):
    def late(_found):
        if not pair.old.open and pair.old.variables["gtid_executed"].endswith("1-10"):
            for machine in (pair.old, pair.new):
                machine.variables["gtid_executed"] = OLD + ":1-11"
        return NotImplemented

    pair.new.on(r"SELECT WAIT_FOR_EXECUTED_GTID_SET", late)
    result = pair.run()
    assert result["gtid"] == OLD + ":1-11"
    assert next(step for step in result["steps"] if step["name"] == "proof")["evidence"] == {"rounds": 2}


def test_one_late_transaction_that_does_not_arrive_is_put_back(pair):
    def late(_found):
        if not pair.old.open:
            pair.old.variables["gtid_executed"] = OLD + ":1-11"
        return NotImplemented

    pair.new.on(r"SELECT WAIT_FOR_EXECUTED_GTID_SET", late)
    with pytest.raises(MySQLMigrationError, match="within the budget of 300 ms.*put back"):
        pair.run(budget_ms=300)
    assert is_as_before(pair)


def test_an_applier_that_stops_in_the_window_ends_the_wait_at_once(pair):
    def stop(_found):
        if not pair.old.open:
            pair.new.channels[""].update(Replica_SQL_Running="No", Last_SQL_Errno=1032, Last_SQL_Error="no row")
            return [{"x": 1}]
        return NotImplemented

    pair.new.on(r"SELECT WAIT_FOR_EXECUTED_GTID_SET", stop)
    with pytest.raises(MySQLMigrationError, match=r"1032.*put back"):
        pair.run()
    assert is_as_before(pair)


def test_a_write_on_the_target_in_the_window_is_found(pair):
    def write(_found):
        pair.new.variables["gtid_executed"] = OLD + ":1-10," + NEW + ":1"
        return NotImplemented

    pair.old.on(r"SET PERSIST super_read_only = 1", write)
    with pytest.raises(MySQLMigrationError, match=r"the source never had: %s:1.*put back" % NEW):
        pair.run()
    assert is_as_before(pair)


def test_a_source_that_somebody_opens_in_the_window_is_never_left(pair):
    def open_it(_found):
        if not pair.old.open:
            pair.old.variables.update(read_only=0, super_read_only=0)
        return NotImplemented

    pair.new.on(r"SELECT WAIT_FOR_EXECUTED_GTID_SET", open_it)
    with pytest.raises(MySQLMigrationError, match="was opened by somebody"):
        pair.run()
    assert is_as_before(pair)


def test_a_source_that_is_opened_after_the_commit_keeps_the_target_closed(pair, monkeypatch):
    monkeypatch.setattr(
        switchover_open, "pause", lambda _point: pair.violations.append("it was opened without a look")
    )
    pair.old.on(r"SELECT @@GLOBAL.read_only", lambda _found: (
        pair.old.variables.update(read_only=0, super_read_only=0)
        if "committed" in pair.events() else None
    ) or NotImplemented)
    with pytest.raises(Doubt, match="is not fenced"):
        pair.run()
    assert not pair.new.open


def test_a_source_whose_address_leads_elsewhere_keeps_the_target_closed(pair):
    pair.old.on(r"SELECT @@GLOBAL.server_uuid", lambda _found: (
        [{"u": "33333333-3333-3333-3333-333333333333"}] if "committed" in pair.events() else NotImplemented
    ))
    with pytest.raises(Doubt, match="leads to another server"):
        pair.run()
    assert not pair.new.open


def test_a_source_whose_fence_is_not_kept_keeps_the_target_closed(pair):
    pair.old.on(r"SELECT VARIABLE_VALUE FROM performance_schema.persisted", lambda _found: (
        [] if "committed" in pair.events() else NotImplemented
    ))
    with pytest.raises(Doubt, match="would not outlast a restart"):
        pair.run()
    assert not pair.new.open


def test_what_fails_right_after_the_commit_is_never_put_back(pair, monkeypatch):
    def fail(point):
        if point == "commit.done":
            raise OSError("the disk is gone")

    monkeypatch.setattr(switchover_steps, "pause", fail)
    with pytest.raises(Doubt, match="the disk is gone.*only goes forward"):
        pair.run()
    assert not pair.old.open
    monkeypatch.setattr(switchover_steps, "pause", lambda _point: None)
    assert is_switched(pair, pair.run())


def test_a_lost_lock_stops_it_before_the_commit(pair):
    def forget(_found):
        if not pair.old.open:
            pair.old.locked_by = None
        return NotImplemented

    pair.new.on(r"SELECT WAIT_FOR_EXECUTED_GTID_SET", forget)
    with pytest.raises(MySQLMigrationError, match=r"lock on source.*not held any more.*put back"):
        pair.run()
    assert is_as_before(pair)
    assert "committed" not in pair.events()


def test_a_second_switchover_is_refused_and_told_who_holds_the_lock(pair):
    pair.new.locked_by = fakes.FakeConnection(pair.new, 77)
    with pytest.raises(MySQLMigrationError, match="Another switchover holds the lock .* connection 77"):
        pair.run()
    assert is_as_before(pair)


def test_a_journal_that_cannot_be_written_stops_it_before_the_commit(pair, monkeypatch):
    from ansible_collections.seamless.migration.plugins.module_utils import journal as module

    append = module.Journal.append

    def full(this, event, *arguments, **more):
        if event == "committed":
            raise module.JournalError("Failed to write the journal: No space left on device")
        return append(this, event, *arguments, **more)

    monkeypatch.setattr(module.Journal, "append", full)
    with pytest.raises(MySQLMigrationError, match=r"No space left on device.*put back"):
        pair.run()
    assert is_as_before(pair)


def test_a_window_over_its_budget_is_put_back(pair):
    with pytest.raises(MySQLMigrationError, match=r"budget of 0 ms.*put back"):
        pair.run(budget_ms=0)
    assert is_as_before(pair)


# --- dead servers and dead controllers, at every statement ----------------------------------------------------------


def said_in_a_run():
    """What a run says, in its order."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        pair = Pair(pathlib.Path(folder), patch)
        pair.run()
        return [statement for _name, statement in pair.said]


SAID = said_in_a_run()
ANYWHERE = range(1, len(SAID) + 1)
STATEMENTS = [number for number in ANYWHERE if not SAID[number - 1].startswith("journal ")]
CHANGES = re.compile(
    r"(SET (GLOBAL|PERSIST)|RESET|START|STOP|REPLACE|CREATE|KILL|SELECT GET_LOCK)"
)
AFTER_A_CHANGE = [number for number in ANYWHERE if CHANGES.match(SAID[number - 1])]


def test_a_run_says_enough_to_be_broken_anywhere():
    assert len(SAID) > 100
    assert len(AFTER_A_CHANGE) > 13


@pytest.mark.parametrize("number", ANYWHERE)
def test_a_controller_that_dies_anywhere_is_run_again_and_gets_to_the_end(pair, number):
    pair.at(number, "before", pair.power_loss)
    with contextlib.suppress(PowerLoss, MySQLMigrationError):
        pair.run()
    pair.revive()
    assert is_switched(pair, pair.run())
    assert not journal(pair).state()["open"]


@pytest.mark.parametrize("number", ANYWHERE)
def test_a_controller_that_dies_anywhere_can_be_rolled_back(pair, number):
    pair.at(number, "before", pair.power_loss)
    with contextlib.suppress(PowerLoss, MySQLMigrationError):
        pair.run()
    pair.revive()
    if pair.new.open:
        pair.follow()  # the playbook makes the channel again that a finished switchover has removed
    pair.run(back=True)
    assert is_as_before(pair) or pair.old.open
    assert journal(pair).state()["side"] == "source"


@pytest.mark.parametrize(
    ("number", "when"),
    [(number, "before") for number in STATEMENTS] + [(number, "after") for number in AFTER_A_CHANGE],
)
def test_a_connection_that_breaks_anywhere_leads_to_the_old_or_the_new_state(pair, number, when):
    pair.at(number, when, pair.lost)
    try:
        pair.run(reach_timeout=5)
    except MySQLMigrationError as error:
        assert "committed" in pair.events() or is_as_before(pair), error
    pair.plan = {}
    assert pair.old.open != pair.new.open
    assert is_switched(pair, pair.run())


@pytest.mark.parametrize("number", ANYWHERE)
def test_a_server_that_dies_anywhere_and_comes_back_later_loses_nothing(pair, number):
    machine = (pair.old, pair.new)[number % 2]
    pair.at(number - number // 2 % 2, "before", lambda _machine: setattr(machine, "down", True))
    try:
        pair.run()
    except MySQLMigrationError as error:
        words = str(error)
        assert "put back" in words or "Nothing was changed" in words or "stay" in words or "Can't connect" in words
    machine.restart()
    pair.plan = {}
    assert is_switched(pair, pair.run())


def test_the_journal_is_json_without_secrets(pair):
    pair.run()
    text = pair.journal.read_text()
    assert "s3cret" not in text
    assert all(json.loads(line)["migration"] == "shop" for line in text.splitlines())


# --- other strategies and states -----------------------------------------------------------------------------------


def test_a_read_only_window_leaves_both_fenced_until_it_is_opened(pair):
    result = pair.run(strategy="read_only_window")
    assert (result["state"], result["committed"]) == ("both_fenced", True)
    again = pair.run(strategy="read_only_window")
    assert (again["changed"], again["state"]) == (False, "both_fenced")
    assert "state: opened" in again["warnings"][0]
    assert is_switched(pair, pair.run(state="opened"))
    assert pair.run(state="opened")["changed"] is False


def test_a_read_only_window_is_taken_back_while_the_target_was_never_opened(pair):
    pair.run(strategy="read_only_window")
    result = pair.run(back=True)
    assert (result["recovered"], result["state"]) == ("put_back", "target_open")
    assert is_as_before(pair)
    assert journal(pair).state()["side"] == "source"
    with pytest.raises(MySQLMigrationError, match="no read-only window"):
        pair.run(state="opened")


def test_writes_that_came_to_the_source_during_a_read_only_window_are_waited_for(pair):
    pair.run(strategy="read_only_window")
    pair.old.variables["gtid_executed"] = OLD + ":1-12"
    with pytest.raises(MySQLMigrationError, match="lacks transactions"):
        pair.run(state="opened")
    assert not pair.new.open
    pair.new.variables["gtid_executed"] = OLD + ":1-12"
    assert is_switched(pair, pair.run(state="opened"))


def test_nothing_is_opened_that_was_not_fenced_by_a_window(pair):
    with pytest.raises(MySQLMigrationError, match="There is no read-only window to open.*Nothing was changed"):
        pair.run(state="opened")


def test_two_fenced_servers_without_a_word_in_the_journal_stay_so(pair):
    pair.old.variables.update(read_only=1, super_read_only=1)
    with pytest.raises(Doubt, match="journal has no run that explains it"):
        pair.run()


def test_the_journal_of_other_servers_is_refused(pair):
    pair.at(SAID.index("journal committed") + 2, "before", pair.power_loss)
    with contextlib.suppress(PowerLoss):
        pair.run()
    pair.revive()
    pair.old.variables["server_uuid"] = "33333333-3333-3333-3333-333333333333"
    with pytest.raises(Doubt, match="was about another server"):
        pair.run()
    assert not pair.new.open


def test_one_server_behind_both_addresses_is_refused(pair):
    pair.new.variables["server_uuid"] = OLD
    with pytest.raises(MySQLMigrationError, match="lead to the same server"):
        pair.run()


def test_a_look_changes_nothing(pair):
    result = pair.run(state="read")
    assert (result["state"], result["phase"], result["changed"]) == ("source_open", "none", False)
    assert not pair.journal.exists()


def test_a_server_that_does_not_answer_makes_the_state_unknown(pair):
    switchover = pair.switchover()
    pair.new.down = True
    with pytest.raises(MySQLMigrationError, match="Can't connect"):
        switchover.switched()
    assert switchover.failed()["state"] == "unknown"


def test_a_lost_server_can_be_given_up_by_force(pair):
    pair.at(SAID.index("journal committed") + 2, "before", lambda _machine: setattr(pair.old, "down", True))
    with pytest.raises(Doubt, match="only goes forward"):
        pair.run()
    assert not pair.new.open
    with pytest.raises(MySQLMigrationError, match=r"force: \[peer_unreachable\]"):
        pair.run()
    result = pair.run(force=["peer_unreachable"])
    assert pair.new.open
    assert result["complete"] is False


def test_a_target_that_is_lost_in_the_window_can_be_given_up_by_force(pair):
    fence = next(number for number, said in enumerate(SAID) if said.startswith("SET PERSIST super_read_only = 1"))
    pair.at(fence + 3, "before", lambda _machine: setattr(pair.new, "down", True))
    with pytest.raises(Doubt, match="stay fenced"):
        pair.run()
    assert not pair.old.open
    pair.plan = {}
    result = pair.run(force=["peer_unreachable"])
    assert (result["recovered"], result["state"]) == ("put_back", "source_open")
    assert pair.old.open


def test_the_dry_run_proves_everything_and_changes_nothing(pair):
    before = dict(pair.old.variables), dict(pair.new.variables)
    switchover = pair.switchover()
    result = switchover.would()
    assert (dict(pair.old.variables), dict(pair.new.variables)) == before
    assert names(result) == ["guardrails", "reverse_channel", "low_lag", "quiet", "fence_of_target"]
    assert result["plan"][0].startswith("fence source")
    assert not pair.journal.exists()
    assert not [one for one in pair.old.said if re.match(r"SET (GLOBAL|PERSIST)|STOP|START|CREATE|REPLACE|KILL", one)]


def test_the_dry_run_fails_at_a_gate(pair):
    pair.new.channels[""]["Replica_SQL_Running"] = "No"
    with pytest.raises(MySQLMigrationError, match="forward_channel"):
        pair.switchover().would()


@pytest.mark.parametrize(
    ("point", "plan"), [("journal window_opened", "put back run"), ("journal committed", "go on with run")]
)
def test_the_dry_run_tells_what_the_next_run_makes_of_a_dead_one(pair, point, plan):
    pair.at(SAID.index(point) + 2, "before", pair.power_loss)
    with contextlib.suppress(PowerLoss):
        pair.run()
    pair.revive()
    open_before = pair.old.open, pair.new.open
    assert plan in pair.switchover().would()["plan"][0]
    assert (pair.old.open, pair.new.open) == open_before


def test_the_dry_run_of_what_is_done_has_no_plan(pair):
    pair.run()
    assert pair.switchover().would()["plan"] == []


BRIDGE = {"strategy": "bridge", "accept_conflicts": True}


@pytest.fixture
def bridge(pair):
    pair.two_writers_wanted = True
    for machine, offset in ((pair.old, 1), (pair.new, 2)):
        machine.variables.update(auto_increment_increment=2, auto_increment_offset=offset)
    return pair


def test_a_bridge_opens_the_target_first_and_fences_the_source_once_traffic_has_moved(bridge, tmp_path):
    seen = tmp_path / "seen"
    bridge.old.on(r"SET PERSIST super_read_only = 1", lambda _found: (seen.write_text("fenced"), NotImplemented)[1])
    hooks = {"switch": [["sh", "-c", "test ! -e %s" % seen]]}
    result = bridge.run(hooks=hooks, **BRIDGE)
    assert is_switched(bridge, result)
    assert seen.exists()
    assert names(result).index("open_target") < names(result).index("leave_bridge")


def test_the_dry_run_of_a_bridge_changes_nothing(bridge):
    result = bridge.switchover(**BRIDGE).would()
    assert result["plan"][-1].startswith("fence source")
    assert (bridge.old.open, bridge.new.open) == (True, False)


def test_a_bridge_that_stands_already_is_left_the_same_way(bridge):
    bridge.new.variables.update(read_only=0, super_read_only=0)
    assert is_switched(bridge, bridge.run(**BRIDGE))


def test_a_bridge_whose_sides_choose_the_same_numbers_is_refused(bridge):
    bridge.new.variables["auto_increment_offset"] = 1
    with pytest.raises(MySQLMigrationError, match="auto_increment_offset is 1 on both"):
        bridge.run(**BRIDGE)


def test_a_bridge_whose_traffic_did_not_move_keeps_both_open_until_it_has(bridge, tmp_path):
    gate = tmp_path / "gate"
    hooks = {"switch": [["test", "-e", str(gate)]]}
    result = bridge.run(hooks=hooks, **BRIDGE)
    assert (result["state"], result["complete"]) == ("both_open", False)
    assert "" in bridge.new.channels
    gate.write_text("")
    assert is_switched(bridge, bridge.run(hooks=hooks, **BRIDGE))


def test_a_conflict_on_the_bridge_is_told_and_nothing_is_removed(bridge):
    def conflict(_found):
        bridge.new.channels[""].update(Replica_SQL_Running="No", Last_SQL_Errno=1062, Last_SQL_Error="Duplicate entry")
        bridge.old.variables["gtid_executed"] = OLD + ":1-11"
        return NotImplemented

    bridge.old.on(r"SET PERSIST super_read_only = 1", conflict)
    result = bridge.run(**BRIDGE)
    assert (result["state"], result["complete"]) == ("target_open", False)
    assert any("1062" in warning for warning in result["warnings"])
    assert "" in bridge.new.channels


def test_where_no_statement_fences_a_hook_does_and_is_waited_for(pair, tmp_path):
    (tmp_path / "new").write_text("1")
    (tmp_path / "old").write_text("0")
    for machine in (pair.old, pair.new):
        machine.variables.update(super_read_only=0, read_only=0)
        machine.on(r"SELECT @@GLOBAL.read_only AS", lambda _found, one=machine: [
            {"read_only": int((tmp_path / one.name).read_text()), "super_read_only": 0}
        ])
    pair.two_writers_wanted = True  # the pair looks at variables, which no hook sets
    hooks = {"read_only": [["sh", "-c", "printf $SEAMLESS_READ_ONLY > %s/$SEAMLESS_HOST" % tmp_path]]}
    pair.new.on(r"CREATE|REPLACE", NotImplemented)
    result = pair.run(platform="rds", hooks=hooks, force=["reverse_channel"])
    assert result["state"] == "target_open"
    assert ((tmp_path / "old").read_text(), (tmp_path / "new").read_text()) == ("1", "0")
