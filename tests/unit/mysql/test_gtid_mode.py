# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid_mode
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.modules import mysql_gtid
from fakes import OTHER, UUID, FakeServer

ALL = [
    ("enforce_gtid_consistency", "WARN"),
    ("enforce_gtid_consistency", "ON"),
    ("gtid_mode", "OFF_PERMISSIVE"),
    ("gtid_mode", "ON_PERMISSIVE"),
    ("gtid_mode", "ON"),
]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    ticks = iter(range(100000))
    monkeypatch.setattr(gtid_mode.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(gtid_mode.time, "monotonic", lambda: next(ticks))


def machine(preset="9.7", mode="OFF", enforce="OFF", sources=None, **variables):
    """A server that refuses steps as the real one does."""
    one = FakeServer(preset, gtid_mode=mode, enforce_gtid_consistency=enforce, gtid_owned="", **variables)
    one.sources = sources or {}
    one.ongoing = [0]
    one.violations = []
    one.on(
        r"SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value",
        lambda _found: [{"name": name, "value": value} for name, value in one.persisted.items()],
    )
    one.on(
        r"SELECT VARIABLE_NAME AS name, VARIABLE_SOURCE AS source",
        lambda _found: [
            {"name": name, "source": one.sources.get(name, "DYNAMIC")}
            for name in ("gtid_mode", "enforce_gtid_consistency")
        ],
    )
    one.on(r"SELECT NOW\(6\)", [{"now": "2026-01-01"}])
    one.on(r"SELECT DATA AS text FROM performance_schema.error_log", lambda _found: list(one.violations))
    one.on(
        r"SHOW GLOBAL STATUS LIKE 'Ongoing",
        lambda _found: [{"Value": one.ongoing.pop(0) if len(one.ongoing) > 1 else one.ongoing[0]}],
    )
    one.on(r"SELECT LAST_APPLIED_TRANSACTION AS last", [])
    return one


def manage(*machines, check=False, **changes):
    params = dict({"state": "on", "persist": True, "timeout": 20, "watch": 10}, **changes)
    servers = [one.server("server" if not number else "replica %d" % number) for number, one in enumerate(machines)]
    return mysql_gtid.bring(params, servers, check)


def rungs(result):
    return [(step["variable"], step["value"]) for step in result["steps"]]


@pytest.mark.parametrize(
    ("mode", "enforce", "left"),
    [
        ("OFF", "OFF", ALL),
        ("OFF", "WARN", ALL[1:]),
        ("OFF", "ON", ALL[1:]),
        ("OFF_PERMISSIVE", "ON", [ALL[1], *ALL[3:]]),
        ("ON_PERMISSIVE", "ON", [ALL[1], *ALL[4:]]),
        ("ON", "ON", [ALL[1], ALL[4]]),
    ],
)
def test_every_state_is_brought_to_on_and_lasts_with_what_is_enforced_first(mode, enforce, left):
    one = machine(mode=mode, enforce=enforce)
    promised = manage(one, check=True)
    done = manage(one)
    assert rungs(promised) == rungs(done) == left
    assert promised["diff"] == done["diff"]
    assert one.variables["gtid_mode"] == "ON"
    assert one.persisted == {"enforce_gtid_consistency": "ON", "gtid_mode": "ON"}
    order = [said.split()[2] for said in one.said_like("SET PERSIST")]
    assert order.index("enforce_gtid_consistency") < order.index("gtid_mode")
    assert not manage(one)["changed"]


def test_a_server_that_has_it_from_its_file_or_by_default_needs_nothing():
    one = machine(mode="ON", enforce="ON", sources={"gtid_mode": "GLOBAL", "enforce_gtid_consistency": "COMPILED"})
    assert not manage(one)["changed"]


def test_without_persist_the_variables_are_only_set():
    one = machine()
    result = manage(one, persist=False)
    assert rungs(result) == ALL and not one.persisted and result["configuration"] == {}
    assert not manage(one, persist=False)["changed"]


def test_5_7_cannot_persist_and_gets_the_lines_for_its_file():
    one = machine("5.7")
    result = manage(one)
    assert result["configuration"] == {"server": ["enforce_gtid_consistency = ON", "gtid_mode = ON"]}
    assert one.said_like("SET") == ["SET GLOBAL %s = '%s'" % rung for rung in ALL]
    assert not one.said_like("SELECT DATA")


def test_a_statement_that_cannot_have_a_gtid_ends_the_run_before_it_is_forbidden():
    one = machine()
    one.violations = [{"text": "Statement violates GTID consistency: CREATE TABLE ... SELECT."}]
    with pytest.raises(MySQLMigrationError, match="CREATE TABLE ... SELECT.*stays WARN"):
        manage(one)
    assert one.variables["enforce_gtid_consistency"] == "WARN" and one.variables["gtid_mode"] == "OFF"
    manage(one, watch=0)
    assert one.variables["gtid_mode"] == "ON"


def test_transactions_without_gtid_are_waited_for_before_the_last_step():
    one = machine()
    one.ongoing = [2, 1, 0]
    assert manage(one)["waited"] > 0
    said = one.said.index("SET PERSIST gtid_mode = 'ON'")
    assert len([text for text in one.said[:said] if "Ongoing" in text]) == 3


def test_transactions_that_do_not_end_leave_the_server_where_a_run_goes_on():
    one = machine()
    one.ongoing = [1]
    with pytest.raises(MySQLMigrationError, match="waited 20 s for transactions without GTID to end. Run again"):
        manage(one)
    assert one.variables["gtid_mode"] == "ON_PERMISSIVE"
    one.ongoing = [0]
    assert rungs(manage(one)) == [ALL[4]]


# -- with replicas


def pair(**columns):
    source = machine()
    replica = machine(server_uuid=OTHER, server_id=2)
    behind = dict({"Source_UUID": UUID, "Relay_Source_Log_File": "binlog.000001", "Exec_Source_Log_Pos": 4}, **columns)
    replica.channel(**dict({"Auto_Position": 0}, **behind))
    return source, replica


def test_each_rung_is_taken_by_the_replicas_first():
    source, replica = pair()
    done = manage(source, replica)
    assert [step["server"] for step in done["steps"]] == ["replica 1", "server"] * 5
    assert rungs(done)[::2] == ALL
    assert done["gtid_mode"] == {"server": "ON", "replica 1": "ON"}
    assert not manage(source, replica)["changed"]


def test_the_last_step_waits_until_the_replica_applied_all_that_the_server_wrote():
    source, replica = pair(Exec_Source_Log_Pos=3)
    with pytest.raises(MySQLMigrationError, match="its applier to reach position 4 in binary log 1"):
        manage(source, replica)
    assert source.variables["gtid_mode"] == replica.variables["gtid_mode"] == "ON_PERMISSIVE"
    replica.channels[""].update(Relay_Source_Log_File="binlog.000002", Exec_Source_Log_Pos=1)
    assert rungs(manage(source, replica)) == [ALL[4]] * 2


def test_a_replica_that_does_not_apply_is_told_with_its_error():
    source, replica = pair(Replica_SQL_Running="No", Last_SQL_Errno=1782, Last_SQL_Error="cannot be set to ANONYMOUS")
    with pytest.raises(MySQLMigrationError, match="a replica of server .*ANONYMOUS.*Start its channel"):
        manage(source, replica)


def test_a_server_that_is_no_replica_is_refused():
    source, replica = pair(Source_UUID="33333333-3333-3333-3333-333333333333")
    with pytest.raises(MySQLMigrationError, match="has no channel from there"):
        manage(source, replica)


def test_a_source_outside_that_still_sends_transactions_without_gtid_is_named():
    one = machine()
    one.channel(Source_Host="top.example.com")
    one.on(r"SELECT LAST_APPLIED_TRANSACTION AS last", [{"last": "ANONYMOUS", "applying": ""}])
    with pytest.raises(MySQLMigrationError, match="its source top.example.com port 3306 still sends"):
        manage(one)
    old = machine("5.7")
    old.channel()
    with pytest.raises(MySQLMigrationError, match="still sends"):
        manage(old)
    one.on(r"SELECT LAST_APPLIED_TRANSACTION AS last", [{"last": UUID + ":1", "applying": ""}])
    assert manage(one)["gtid_mode"] == {"server": "ON"}


# -- the way back, and RDS


def test_the_way_back_takes_the_ladder_down():
    one = machine(mode="ON", enforce="ON")
    promised = manage(one, check=True, state="off")
    done = manage(one, state="off")
    assert rungs(promised) == rungs(done) == [
        ("gtid_mode", "ON_PERMISSIVE"),
        ("gtid_mode", "OFF_PERMISSIVE"),
        ("gtid_mode", "OFF"),
        ("enforce_gtid_consistency", "OFF"),
    ]
    assert not manage(one, state="off")["changed"]


def test_the_way_back_waits_for_transactions_with_gtid():
    one = machine(mode="ON", enforce="ON")
    one.variables["gtid_owned"] = UUID + ":5#12"
    with pytest.raises(MySQLMigrationError, match="for transactions with GTID to end"):
        manage(one, state="off")
    assert one.variables["gtid_mode"] == "OFF_PERMISSIVE"


def test_the_way_back_is_refused_while_a_channel_needs_gtids():
    one = machine(mode="ON", enforce="ON")
    one.channel("bridge")
    with pytest.raises(MySQLMigrationError, match="its channel 'bridge' finds its position by GTID"):
        manage(one, state="off")
    assert not one.said_like("SET")


def test_on_rds_the_parameters_are_named_in_their_order():
    one = machine("rds-8.0")
    with pytest.raises(MySQLMigrationError, match="parameter group.*consistency=WARN, .*gtid_mode=ON[.] Reboot"):
        manage(one)
    assert not manage(machine("rds-8.0", "ON", "ON"))["changed"]


def test_names_of_binary_logs_have_numbers():
    assert gtid_mode._file_number("mysql-bin.000123") == 123
    assert gtid_mode._file_number("") == 0
