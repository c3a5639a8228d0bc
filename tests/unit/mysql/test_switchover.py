# SPDX-License-Identifier: GPL-3.0-or-later
"""The switchover on two servers that are none: its order, its undo, and what the next run makes of a dead one."""

import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import fakes
from ansible_collections.seamless.migration.plugins.module_utils.journal import Journal
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_open
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_steps import Doubt
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
        "guardrails", "reverse_channel", "canary_table", "low_lag", "quiet", "pause", "fence", "read_back", "final_gtid",
        "drain", "proof", "commit", "open_target", "canary", "switch", "canary_back", "events", "forward_channel",
    ]  # fmt: skip
    assert result["window_ms"] > 0
    assert result["gtid"] == OLD + ":1-10"
    assert [step["n"] for step in result["steps"]] == sorted(step["n"] for step in result["steps"])


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
    with pytest.raises(MySQLMigrationError, match="did not end within 1 s"):
        pair.run(hooks={"pause": [["sh", "-c", "sleep 1000 & echo $! > %s; wait" % pid]]}, hook_timeout=1)
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


# --- gates and preparations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Replica_IO_Running", "Replica_SQL_Running"])
def test_a_forward_channel_that_does_not_run_stops_it_before_anything(pair, name):
    pair.new.channels[""][name] = "No"
    with pytest.raises(MySQLMigrationError, match=r"forward_channel.*Nothing was changed"):
        pair.run()
    assert is_as_before(pair)
    assert not pair.journal.exists()


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


def test_errant_transactions_stop_it_and_cannot_be_forced(pair):
    pair.new.variables["gtid_executed"] += "," + NEW + ":1"
    with pytest.raises(MySQLMigrationError, match="errant.*%s:1" % NEW):
        pair.run(force=["errant"])


def test_a_reverse_channel_may_be_given_up_by_force_and_that_is_told(pair):
    del pair.old.channels["way_back"]
    with pytest.raises(MySQLMigrationError, match="has no channel 'way_back'"):
        pair.run()
    assert is_as_before(pair)
    result = pair.run(force=["reverse_channel"])
    assert result["state"] == "target_open"
    assert "rollback would lose" in result["warnings"][0]


def test_lag_that_never_gets_low_is_told_and_put_back(pair):
    pair.new.on(r"SELECT WAIT_FOR_EXECUTED_GTID_SET", [{"x": 1}])
    with pytest.raises(MySQLMigrationError, match=r"lag did not stay below 1000 ms.*put back"):
        pair.run()
    assert is_as_before(pair)


def test_prepared_branches_stop_it_under_every_policy(pair):
    pair.old.prepared = [{"formatID": 1, "gtrid_length": 1, "bqual_length": 0, "data": "0x41"}]
    for policy in ("wait", "kill", "fail"):
        with pytest.raises(MySQLMigrationError, match=r"prepared XA transaction.*0x41"):
            pair.run(long_transactions=policy)
        assert is_as_before(pair)
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
        if pair.old.variables["gtid_executed"].endswith("1-10"):
            for machine in (pair.old, pair.new):
                machine.variables["gtid_executed"] = OLD + ":1-11"
        return NotImplemented

    pair.new.on(r"SELECT WAIT_FOR_EXECUTED_GTID_SET", late)
    result = pair.run()
    assert result["gtid"] == OLD + ":1-11"


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


def length_of_a_run(tmp_path_factory, **more):
    with pytest.MonkeyPatch.context() as patch:
        pair = Pair(tmp_path_factory.mktemp("length"), patch)
        pair.run(**more)
        return len(pair.said)


LENGTH = 190  # more statements than a run has; what comes after its end hits nothing


def each(when):
    return [pytest.param(number, when, id="%s-%d" % (when, number)) for number in range(1, LENGTH)]


def test_the_length_of_a_run_is_within_what_is_tried(tmp_path_factory):
    assert 80 < length_of_a_run(tmp_path_factory) < LENGTH


@pytest.mark.parametrize(("number", "when"), each("before") + each("after"))
def test_a_controller_that_dies_anywhere_is_run_again_and_gets_to_the_end(pair, number, when):
    pair.at(number, when, pair.power_loss)
    try:
        pair.run()
    except PowerLoss:
        pair.revive()
    assert is_switched(pair, pair.run())
    assert not journal(pair).state()["open"]


@pytest.mark.parametrize(("number", "when"), each("before") + each("after"))
def test_a_controller_that_dies_anywhere_can_be_rolled_back(pair, number, when):
    pair.at(number, when, pair.power_loss)
    try:
        pair.run()
    except PowerLoss:
        pair.revive()
    if pair.new.open:
        pair.follow()  # the playbook makes the channel again that a finished switchover has removed
    pair.run(back=True)
    assert is_as_before(pair) or pair.old.open
    assert journal(pair).state()["side"] == "source"


@pytest.mark.parametrize(("number", "when"), each("before") + each("after"))
def test_a_connection_that_breaks_anywhere_leads_to_the_old_or_the_new_state(pair, number, when):
    pair.at(number, when, pair.lost)
    try:
        pair.run()
    except MySQLMigrationError as error:
        assert is_as_before(pair) or "Doubt" in type(error).__name__
    assert pair.old.open != pair.new.open
    assert is_switched(pair, pair.run())


@pytest.mark.parametrize("name", ["old", "new"])
@pytest.mark.parametrize(("number", "when"), each("before"))
def test_a_server_that_dies_anywhere_and_comes_back_later_loses_nothing(pair, number, when, name):
    machine = getattr(pair, name)
    pair.at(number, when, lambda _machine: setattr(machine, "down", True))
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
