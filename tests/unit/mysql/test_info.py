# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import info
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.modules import mysql_replication_info
from fakes import OTHER, UUID, FakeServer, error

DENIED = error(1227, "Access denied")


def worker(number=1, **changes):
    base = {
        "id": number,
        "state": "ON",
        "error": 0,
        "message": "",
        "last": OTHER + ":5",
        "applying": "",
        "last_commit": "2026-01-01 00:00:00.000000",
        "applying_commit": "0000-00-00 00:00:00.000000",
    }
    return dict(base, **changes)


def machine(preset="9.7", **variables):
    one = FakeServer(
        preset, **dict({"log_replica_updates": 1, "log_slave_updates": 1, "server_uuid": UUID}, **variables)
    )
    one.workers, one.logs, one.age, one.retention = [worker()], [("binlog.000001", "")], 2500000, 24
    one.on(r"SELECT VARIABLE_NAME", [])
    one.on(r"SELECT WORKER_ID AS id", lambda _found: [dict(row) for row in one.workers])
    one.on(r"SELECT PROCESSLIST_ID AS id", [{"id": 9, "user": "repl", "host": "10.0.0.2:4711"}])
    new = [{"Server_Id": 2, "Host": "r1", "Port": 3306, "Source_Id": 1, "Replica_UUID": OTHER}]
    one.on(r"SHOW REPLICAS", new)
    one.on(r"SHOW SLAVE HOSTS", [{"Server_id": 2, "Host": "", "Port": 3306, "Slave_UUID": OTHER}])
    one.on(r"SHOW BINARY LOGS", lambda _found: [{"Log_name": name, "File_size": 1000} for name, _set in one.logs])
    one.on(
        r"SHOW BINLOG EVENTS IN '(.*)' LIMIT 3",
        lambda found: [
            {"Event_type": "Format_desc", "Info": "Server ver"},
            {"Event_type": "Previous_gtids", "Info": dict(one.logs)[found.group(1)]},
        ],
    )
    one.on(r"SELECT CAST\(UTC_TIMESTAMP\(6\) AS CHAR\)", [{"now": "2026-01-01 00:00:02.500000"}])
    one.on(r"SELECT TIMESTAMPDIFF", lambda _found: [{"d": one.age}])
    one.on(
        r"CALL `mysql`.`rds_show_configuration`",
        lambda _found: [
            {"name": "source delay", "value": "0"},
            {"name": "binlog retention hours", "value": one.retention},
        ],
    )
    return one


def source(**variables):
    return machine(**dict({"server_uuid": OTHER, "server_id": 2, "gtid_executed": OTHER + ":1-100"}, **variables))


def look(one, peer=None, **changes):
    params = dict({"heartbeat_table": None, "samples": 1}, **changes)
    found = mysql_replication_info.look(one.server(), peer.server("peer") if peer else None, params)
    assert not found["changed"]
    return found["info"]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(info.time, "sleep", lambda _seconds: None)


@pytest.mark.parametrize("preset", ["5.7", "8.0.21", "8.0.35", "8.4", "9.7", "rds-8.0", "rds-8.4"])
def test_the_picture_has_the_same_keys_on_every_version(preset):
    def keys(value):
        if isinstance(value, dict):
            return {name: keys(item) for name, item in value.items()}
        return [keys(item) for item in value[:1]] if isinstance(value, list) else None

    one, other = machine("9.7"), machine(preset)
    for each in (one, other):
        each.channel()
        each.workers = []
    assert keys(look(other, source())) == keys(look(one, source()))
    found = look(other)
    assert found["identity"]["server_uuid"] == UUID
    assert found["replicas"]["connections"] == [{"id": 9, "user": "repl", "host": "10.0.0.2"}]
    assert found["replicas"]["registered"][0]["server_uuid"] == OTHER
    assert found["errant"] is None and found["purge"] is None
    assert found["channels"][0]["running"]


def test_what_the_account_may_not_see_is_left_out():
    one = machine().on("SHOW REPLICAS", DENIED)
    assert look(one)["replicas"]["registered"] == []
    assert look(machine(), source().on("SHOW BINARY LOGS", DENIED))["purge"]["binary_logs"] == 0
    for statement in ("SHOW REPLICAS", "SHOW BINARY LOGS"):
        broken = source().on(statement, error(1053, "Server shutdown in progress"))
        with pytest.raises(MySQLMigrationError, match="1053"):
            look(broken, broken)


def test_errors_of_workers_are_told_instead_of_the_coordinators():
    one = machine()
    one.channel(Last_SQL_Errno=1062, Last_SQL_Error="Coordinator stopped", Last_IO_Errno=1045, Last_IO_Error="denied")
    one.workers = [worker(error=1062, message="Duplicate entry '1'")]
    told = look(one)["channels"][0]["errors"]
    assert [text.split(" (")[0] for text in told] == ["denied", "Duplicate entry '1'"]
    one.workers = []
    assert look(one)["channels"][0]["errors"][1].startswith("Coordinator stopped")


# -- lag


def test_nothing_missing_is_no_lag_however_long_nothing_was_written():
    one = machine(gtid_executed=OTHER + ":1-100")
    one.channel()
    found = look(one, source())["lag"]
    assert (found["ms"], found["basis"], found["missing_transactions"]) == (0.0, "gtid", 0)
    assert found["applier_ms"] == 2500.0


def test_what_is_missing_is_counted_and_timed_by_the_applier():
    one = machine(gtid_executed=OTHER + ":1-90")
    one.channel(Seconds_Behind_Source=0)
    found = look(one, source())["lag"]
    assert (found["ms"], found["basis"], found["missing_transactions"]) == (2500.0, "applier", 10)


def test_a_heartbeat_is_trusted_before_all_else():
    one = machine(gtid_executed=OTHER + ":1-100")
    one.channel()
    one.on(r"SELECT TIMESTAMPDIFF\(MICROSECOND, MAX\(ts\), '.*'\) FROM `ops`.`beat``s`", [{"d": 9150000}])
    found = look(one, source(), heartbeat_table="ops.beat`s", samples=3)["lag"]
    assert (found["ms"], found["basis"], found["samples"]) == (9150.0, "heartbeat", [9150.0] * 3)


def test_lag_that_nobody_can_know_is_none():
    one = machine("5.7")
    one.channel()
    assert look(one)["lag"]["basis"] == "unknown" and look(one)["lag"]["ms"] is None
    one = machine()
    one.channel()
    one.workers = [worker(last_commit=None)]
    assert look(one)["lag"]["ms"] is None


def test_what_is_being_applied_counts_before_what_was_applied():
    one = machine()
    one.channel()
    one.workers = [worker(), worker(2, applying_commit="2025-12-31 23:00:00.000000")]
    look(one)
    assert one.said_like("SELECT TIMESTAMPDIFF.*'2025-12-31 23:00:00.000000'")


# -- errant and purge


def test_errant_and_missing_transactions_are_told():
    one = machine(gtid_executed="%s:1-90,%s:1-3" % (OTHER, UUID))
    found = look(one, source())
    assert found["errant"] == {"gtid_set": UUID + ":1-3", "transactions": 3}
    assert found["missing"] == {"gtid_set": OTHER + ":91-100", "transactions": 10}


LOGS = [("binlog.%06d" % number, OTHER + ":1-%d" % (number * 20) if number else "") for number in range(5)]


def behind(executed, **variables):
    one = machine(gtid_executed=OTHER + ":1-%d" % executed)
    one.workers = []
    peer = source(**variables)
    peer.logs = list(LOGS)
    return look(one, peer)["purge"]


def test_transactions_that_are_gone_are_told_by_their_set():
    found = behind(10, gtid_purged=OTHER + ":1-20")
    assert found["danger"] and found["missing"] == OTHER + ":11-20"
    assert (found["hours_left"], found["estimate"]) == (0.0, "gone")


def test_how_near_a_purge_is_follows_from_what_is_kept_and_for_how_long():
    far, near, first = behind(85), behind(45), behind(5)
    assert (far["hours_left"], far["transactions_left"]) == (720.0, 80)
    assert (near["hours_left"], near["transactions_left"]) == (432.0, 40)
    assert (first["hours_left"], first["transactions_left"]) == (144.0, 0)
    assert near["estimate"] == "rate" and not near["danger"]
    assert near["binary_logs"] == 5 and near["bytes_kept"] == 5000


def test_a_purge_within_a_day_is_danger():
    assert behind(5, binlog_expire_logs_seconds=3600 * 48)["danger"]
    assert not behind(85, binlog_expire_logs_seconds=3600 * 48)["danger"]


def test_logs_that_are_never_purged_are_no_danger():
    found = behind(5, binlog_expire_logs_seconds=0)
    assert not found["danger"] and found["hours_left"] is None and found["estimate"] == "kept"


def test_the_age_of_what_was_applied_wins_over_the_rate():
    one = machine(gtid_executed=OTHER + ":1-45")
    one.channel()
    one.age = 100 * 3600 * 1000000
    peer = source()
    peer.logs = list(LOGS)
    found = look(one, peer)["purge"]
    assert (found["hours_left"], found["estimate"]) == (620.0, "age")


@pytest.mark.parametrize(
    ("retention", "danger", "hours"), [(None, True, 0.0), ("NULL", True, 0.0), ("168", False, 168.0)]
)
def test_on_rds_no_retention_is_danger(retention, danger, hours):
    one = machine(gtid_executed=OTHER + ":1-100")
    peer = machine("rds-8.0", server_uuid=OTHER, gtid_executed=OTHER + ":1-100")
    peer.retention = retention
    found = look(one, peer)["purge"]
    assert (found["danger"], found["hours_left"]) == (danger, hours)
    peer.procedures = ()
    assert info.retention(peer_session(peer)) is None


def peer_session(peer):
    server = peer.server(platform="rds")
    session = server.session()
    server.identify(session)
    return session


def test_retention_of_5_7_is_in_days():
    one = machine("5.7", expire_logs_days=7)
    assert look(one)["binary_log"]["retention_hours"] == 168.0
    upgraded = machine("8.0.35", expire_logs_days=2, binlog_expire_logs_seconds=0)
    assert look(upgraded)["binary_log"] == dict(look(one)["binary_log"], retention_hours=48.0)
    assert look(machine(binlog_expire_logs_seconds=0))["binary_log"]["kept_until_purged_by_hand"]
    rds = machine("rds-8.4")
    rds.retention = None
    assert look(rds)["binary_log"]["retention_hours"] == 0.0
