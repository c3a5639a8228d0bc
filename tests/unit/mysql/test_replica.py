# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import replica
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.modules import mysql_replica
from fakes import OTHER, UUID, FakeServer, error

HOSTILE = ["it's", 'say "x"', "back\\slash", "50%", "%s%(x)s", "ü密", "a\\'; DROP TABLE t; -- "]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(replica.time, "sleep", lambda _seconds: None)


def machine(preset="9.7", **variables):
    one = FakeServer(preset, **variables)
    one.kept = {}
    one.on(r"SELECT HEARTBEAT_INTERVAL", [{"p": 30.0}])
    one.on(
        r"SELECT User_password FROM mysql.slave_master_info WHERE Channel_name = '(.*)'",
        lambda found: [{"User_password": one.kept[found.group(1)]}] if found.group(1) in one.kept else [],
    )
    one.on(r"SELECT LAST_ERROR_NUMBER AS code", [])
    return one


def params(**changes):
    names = {name: None for name in mysql_replica.argument_spec()}
    base = {
        "state": "started",
        "channel": "",
        "update_password": "on_change",
        "timeout": 5,
        "source_host": "old.example.com",
        "source_user": "repl",
        "source_password": "p4ss",
    }
    return dict(names, **dict(base, **changes))


def manage(one, check=False, **changes):
    server = one.server("target")
    result = mysql_replica.manage(server, params(**changes), check)
    return dict(result, queries=server.queries)


@pytest.mark.parametrize("preset", ["5.7", "8.0.21", "8.0.35", "8.4", "9.7", "rds-8.0", "rds-8.4"])
@pytest.mark.parametrize("channel", ["", "bridge"])
def test_a_channel_is_made_and_started_once_on_every_version(preset, channel):
    one = machine(preset)
    promised = manage(one, check=True, channel=channel)
    assert promised["changed"] and promised["channel"] is None and not one.channels
    done = manage(one, channel=channel)
    assert done["changed"] and promised["diff"] == done["diff"] and promised["steps"] == done["steps"]
    assert done["steps"][-1] == "start receiver and applier"
    assert done["channel"]["replica_io_running"] == "Yes" and done["channel"]["auto_position"]
    one.kept[channel] = "p4ss"
    again = manage(one, channel=channel)
    assert not again["changed"] and again["steps"] == []
    assert not [said for said in one.said if "p4ss" in "".join(done["queries"])]


def test_only_what_differs_is_changed_and_only_the_thread_in_the_way_is_stopped():
    one = machine()
    one.channel()
    one.kept[""] = "p4ss"
    done = manage(one, source_delay=30)
    assert done["steps"] == ["stop applier", "change channel: source_delay", "start receiver and applier"]
    assert one.said_like("STOP") == ["STOP REPLICA SQL_THREAD FOR CHANNEL ''"]
    assert one.said_like("CHANGE") == ["CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 30 FOR CHANNEL ''"]


@pytest.mark.parametrize(
    ("change", "stopped"),
    [
        ({"source_user": "other"}, "IO_THREAD "),
        ({"source_port": 3307}, ""),
        ({"auto_position": False}, ""),
        ({"source_retry_count": 3}, "IO_THREAD "),
    ],
)
def test_each_setting_stops_what_it_must(change, stopped):
    one = machine()
    one.channel()
    one.kept[""] = "p4ss"
    assert manage(one, state="present", **change)["changed"]
    assert one.said_like("STOP") == ["STOP REPLICA %sFOR CHANNEL ''" % stopped]
    assert one.said_like("START") == ["START REPLICA %sFOR CHANNEL ''" % stopped]


def test_a_new_host_keeps_the_position_by_gtid():
    one = machine()
    one.channel()
    manage(one, source_host="new.example.com")
    assert "SOURCE_AUTO_POSITION = 1" in one.said_like("CHANGE")[0]


def test_state_present_leaves_a_stopped_channel_stopped():
    one = machine()
    one.channel(Replica_IO_Running="No", Replica_SQL_Running="No")
    one.kept[""] = "p4ss"
    done = manage(one, state="present", source_retry_count=3)
    assert done["steps"] == ["change channel: source_retry_count"]
    assert not one.said_like("START|STOP")


def test_a_channel_is_stopped_and_removed_once():
    one = machine()
    one.channel()
    done = manage(one, state="stopped", source_host=None, source_user=None)
    assert done["steps"] == ["stop receiver and applier"]
    assert not manage(one, state="stopped", source_host=None)["changed"]
    assert manage(one, state="absent")["steps"] == ["remove channel"]
    assert not manage(one, state="absent")["changed"]
    assert not manage(one, state="stopped", source_host=None)["changed"]


def test_a_running_channel_is_stopped_before_it_is_removed():
    one = machine("rds-8.4")
    one.channel("bridge")
    assert manage(one, state="absent", channel="bridge")["steps"] == ["stop receiver and applier", "remove channel"]
    assert not one.channels


def test_a_channel_that_is_not_there_cannot_be_started_without_a_host():
    with pytest.raises(MySQLMigrationError, match="Give source_host"):
        manage(machine(), source_host=None)


def test_a_channel_that_the_server_does_not_know_is_none():
    one = machine().on("SHOW REPLICA STATUS FOR CHANNEL", error(3074, "Replica channel 'x' does not exist."))
    assert not manage(one, channel="x", state="absent")["changed"]
    one.on("SHOW REPLICA STATUS FOR CHANNEL", error(1227, "Access denied"))
    with pytest.raises(MySQLMigrationError, match="1227"):
        manage(one, channel="x", state="absent")


# -- channels of somebody else

STRANGER = "33333333-3333-3333-3333-333333333333"
UP = {"Source_Host": "up.example.com", "Source_UUID": STRANGER}


@pytest.mark.parametrize("preset", ["5.7", "9.7", "rds-8.4"])
@pytest.mark.parametrize("state", ["present", "started", "stopped"])
def test_a_channel_that_follows_somebody_else_is_refused_before_anything_is_changed(preset, state):
    one = machine(preset)
    one.channel(**UP)
    for check in (True, False):
        with pytest.raises(MySQLMigrationError, match=r"follows up.example.com:3306 \(server_uuid 3333.*another name"):
            manage(one, check=check, state=state, partner=OTHER)
    assert one.channels[""]["Source_Host"] == "up.example.com"
    assert not one.said_like("STOP|CHANGE|START|RESET|CALL")


@pytest.mark.parametrize("preset", ["5.7", "9.7", "rds-8.4"])
def test_a_channel_that_follows_somebody_else_is_left_when_the_migration_is_taken_down(preset):
    one = machine(preset)
    one.channel(**UP)
    done = manage(one, state="absent", partner=OTHER)
    assert not done["changed"] and done["steps"] == [] and done["channel"]["source_host"] == "up.example.com"
    assert not one.said_like("STOP|RESET|CALL")
    assert manage(one, state="absent")["changed"]


@pytest.mark.parametrize(
    "channel",
    [
        {"Source_Host": "10.0.0.9", "Source_UUID": OTHER.upper()},
        {"Source_Host": "db2.example.com", "Source_UUID": UUID},
        {"Source_Host": "OLD.example.com", "Source_UUID": STRANGER},
        {"Source_Host": "typo.example.com", "Source_UUID": ""},
    ],
)
def test_a_channel_of_the_migration_is_pointed_to_where_the_partner_is_now(channel):
    one = machine()
    one.channel(**channel)
    assert manage(one, partner=OTHER)["channel"]["source_host"].lower() == "old.example.com"


def test_a_channel_of_another_name_is_made_beside_one_of_somebody_else():
    one = machine()
    one.channel(**UP)
    assert manage(one, partner=OTHER, channel="way_back")["changed"]
    assert one.channels[""]["Source_Host"] == "up.example.com"


# -- passwords


@pytest.mark.parametrize(
    ("policy", "kept", "changed"),
    [
        ("on_change", "p4ss", False),
        ("on_change", b"p4ss", False),
        ("on_change", "old", True),
        ("on_change", None, False),
        ("always", "p4ss", True),
        ("on_create", "old", False),
    ],
)
def test_the_password_is_set_as_the_policy_says(policy, kept, changed):
    one = machine()
    one.channel()
    if kept:
        one.kept[""] = kept
    done = manage(one, update_password=policy)
    assert done["changed"] is done["password_changed"] is changed
    assert ("SOURCE_PASSWORD = '********'" in "".join(done["queries"])) is changed


@pytest.mark.parametrize("trouble", [{"Last_IO_Errno": 1045, "Last_IO_Error": "Access denied"}, {"Source_User": "x"}])
def test_a_password_that_cannot_be_read_back_is_set_when_access_was_denied_or_the_account_changes(trouble):
    one = machine().on("SELECT User_password", error(1142, "SELECT command denied"))
    one.channel(Replica_IO_Running="Connecting", **trouble)
    one.on("START REPLICA FOR", lambda _found: one.channels[""].update(Replica_IO_Running="Yes", Last_IO_Errno=0))
    assert manage(one)["password_changed"]


def test_a_password_that_is_too_long_is_refused_before_anything_is_stopped():
    one = machine()
    one.channel()
    with pytest.raises(MySQLMigrationError, match="33 characters.*at most 32"):
        manage(one, source_password="x" * 33, update_password="always")
    assert not one.said_like("STOP|CHANGE")


@pytest.mark.parametrize("preset", ["9.7", "rds-8.4"])
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_arrive_as_they_are_and_the_password_is_never_told(preset, value):
    one = machine(preset)
    done = manage(one, source_host="h" + value, source_user=value, source_password=value)
    if preset == "9.7":
        assert done["channel"]["source_user"] == value
        assert done["channel"]["source_host"] == "h" + value
    told = [said for said in done["queries"] if "PASSWORD" in said.upper() and "********" in said]
    assert told and not [said for said in told if value in said.split("PASSWORD", 1)[-1].split(" FOR ")[0]]


# -- starting


def stuck(code, text, **more):
    one = machine()
    one.channel(Replica_IO_Running="No", Replica_SQL_Running="No")
    one.kept[""] = "p4ss"

    def start(_found):
        states = {"Replica_IO_Running": "Connecting", "Replica_SQL_Running": "Yes"}
        one.channels[""].update(dict(states, Last_IO_Errno=code, Last_IO_Error=text, **more))
        return []

    return one.on("START REPLICA", start)


@pytest.mark.parametrize(
    ("code", "text", "advice"),
    [
        (1045, "Access denied for user", "Check the account"),
        (2061, "Authentication requires secure connection.", "get_source_public_key"),
        (13114, "the source purged required binary logs", "Seed the replica again"),
        (13117, "equal MySQL server UUIDs", "auto.cnf"),
        (13120, "Access denied", "REPLICATION SLAVE"),
        (2003, "Can't connect (111)", "bind-address"),
    ],
)
def test_a_start_that_fails_says_the_servers_error_and_what_to_do(code, text, advice):
    with pytest.raises(MySQLMigrationError, match="Failed to start replication on .* the receiver says:") as caught:
        manage(stuck(code, text))
    assert advice in str(caught.value) and caught.value.code == code and caught.value.server_text == text


def test_a_receiver_that_tries_again_soon_is_waited_for_until_the_time_is_over(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(replica.time, "monotonic", lambda: next(ticks))
    one = stuck(2003, "Can't connect (110)")
    with pytest.raises(MySQLMigrationError, match="firewall"):
        manage(one, source_connect_retry=1, timeout=20)
    assert len(one.said_like("SHOW REPLICA STATUS")) > 5


def test_the_error_of_a_worker_is_told_instead_of_the_coordinators():
    one = machine()
    one.channel(Replica_SQL_Running="No", Last_SQL_Errno=1062, Last_SQL_Error="Coordinator stopped because")
    one.on("START REPLICA", [])
    one.on("SELECT LAST_ERROR_NUMBER AS code", [{"code": 1062, "text": "Duplicate entry '1' for key 't.PRIMARY'"}])
    one.kept[""] = "p4ss"
    with pytest.raises(MySQLMigrationError, match="the applier says: .*Duplicate entry '1'.*diverged"):
        manage(one)


def test_a_channel_that_never_comes_up_and_says_nothing_is_told(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(replica.time, "monotonic", lambda: next(ticks))
    one = machine()
    one.start_state = ("Connecting", "Yes")
    with pytest.raises(MySQLMigrationError, match="did not run after 5 s .receiver Connecting, applier Yes."):
        manage(one)


def test_a_channel_that_somebody_removes_meanwhile_is_told():
    one = machine()
    one.on("START REPLICA", lambda _found: one.channels.clear())
    with pytest.raises(MySQLMigrationError, match="the channel is gone"):
        manage(one)


def test_a_change_that_the_server_refuses_leaves_the_channel_running():
    one = machine()
    one.channel()
    one.on("CHANGE", error(3139, "cannot be performed"))
    with pytest.raises(MySQLMigrationError, match="3139"):
        manage(one, source_port=3307)
    assert one.channels[""]["Replica_IO_Running"] == "Yes"


def test_a_setting_that_the_version_lacks_is_refused_by_name():
    with pytest.raises(MySQLMigrationError, match="5.7.44-log has no get_source_public_key.*source_ssl"):
        manage(machine("5.7"), get_source_public_key=True)


# -- up to a set


def test_the_channel_runs_up_to_a_set_and_not_again():
    one = machine(gtid_executed=UUID + ":1-5")
    one.channel()
    one.kept[""] = "p4ss"

    def run(_found):
        one.variables["gtid_executed"] = UUID + ":1-9"
        return []

    one.on("START REPLICA UNTIL", run)
    done = manage(one, start_until=UUID + ":1-9")
    assert done["changed"]
    assert one.said_like("STOP") == ["STOP REPLICA SQL_THREAD FOR CHANNEL ''"]
    assert one.said_like("START") == ["START REPLICA UNTIL SQL_AFTER_GTIDS = '%s:1-9' FOR CHANNEL ''" % UUID]
    assert not manage(one, start_until=UUID + ":1-9")["changed"]


def test_an_applier_that_waits_for_its_next_event_at_its_end_is_stopped():
    one = machine(gtid_executed=UUID + ":1-5")
    one.channel(Replica_SQL_Running="No")
    one.kept[""] = "p4ss"

    def run(_found):
        one.variables["gtid_executed"] = UUID + ":1-9"
        one.channels[""]["Replica_SQL_Running"] = "Yes"
        return []

    one.on("START REPLICA UNTIL", run)
    assert manage(one, start_until=UUID + ":1-9")["channel"]["replica_sql_running"] == "No"
    assert one.said_like("STOP") == ["STOP REPLICA SQL_THREAD FOR CHANNEL ''"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"Replica_SQL_Running": "No"}, "the applier of replication on .* stopped before"),
        ({"Last_IO_Errno": 13114, "Last_IO_Error": "source purged required"}, "the receiver says: .*Seed"),
        ({}, "was not there after 5 s"),
    ],
)
def test_a_set_that_is_not_reached_is_told_with_the_reason(columns, message, monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(replica.gtid.time, "monotonic", lambda: next(ticks))
    one = machine(gtid_executed=UUID + ":1-5")
    one.channel()
    one.kept[""] = "p4ss"
    after = dict({"Replica_SQL_Running": "Yes"}, **columns)
    one.on("START REPLICA UNTIL", lambda _found: one.channels[""].update(after))
    with pytest.raises(MySQLMigrationError, match=message):
        manage(one, start_until=UUID + ":1-9")


def test_on_rds_the_procedure_runs_up_to_the_set():
    one = machine("rds-8.4", gtid_executed=UUID + ":1-5")
    one.channel(Replica_IO_Running="No", Replica_SQL_Running="No")

    def run(_found):
        one.variables["gtid_executed"] = UUID + ":1-9"
        return []

    one.on(r"CALL `mysql`.`rds_start_replication_until_gtid`", run)
    assert manage(one, start_until=UUID + ":1-9")["changed"]


# -- RDS


def test_on_rds_the_password_does_not_stand_in_the_call():
    one = machine("rds-8.0")
    manage(one)
    call = one.said_like("CALL `mysql`.`rds_set_external")[0]
    assert call == (
        "CALL `mysql`.`rds_set_external_master_with_auto_position`"
        "('old.example.com', 3306, 'repl', @seamless_password, 1, 0)"
    )
    assert "SET @seamless_password = NULL" in one.said


def test_on_rds_a_start_that_reports_failure_while_the_threads_run_is_a_start():
    one = machine("rds-8.4")

    def start(_found):
        one.channels[""].update(Replica_IO_Running="Yes", Replica_SQL_Running="Yes")
        return error(1644, "Replica has encountered an error.")

    one.on(r"CALL `mysql`.`rds_start_replication`", start)
    assert manage(one)["channel"]["replica_io_running"] == "Yes"


def test_on_rds_a_stop_that_reports_it_was_stopped_is_a_stop():
    one = machine("rds-8.4")
    one.channel(Replica_SQL_Running="No")

    def stop(_found):
        one.channels[""].update(Replica_IO_Running="No")
        return error(1644, "Slave is already stopped or may not be configured.")

    one.on(r"CALL `mysql`.`rds_stop_replication`", stop)
    assert manage(one, state="stopped", source_host=None)["changed"]


@pytest.mark.parametrize("procedure", ["start", "stop"])
def test_on_rds_other_errors_are_told(procedure):
    one = machine("rds-8.4")
    one.channel(**({} if procedure == "stop" else {"Replica_IO_Running": "No"}))
    one.on(r"CALL `mysql`.`rds_%s_replication`" % procedure, error(1370, "execute command denied"))
    with pytest.raises(MySQLMigrationError, match="1370"):
        manage(one, state="stopped" if procedure == "stop" else "started", source_host=None)


def test_on_rds_threads_that_do_not_stop_are_told(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(replica.time, "monotonic", lambda: next(ticks))
    one = machine("rds-8.4")
    one.channel()
    one.on(r"CALL `mysql`.`rds_stop_replication`", [])
    with pytest.raises(MySQLMigrationError, match="still runs after 5 s"):
        manage(one, state="stopped", source_host=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_ssl_ca": "/ca.pem", "source_retry_count": 3}, "take no source_retry_count, source_ssl_ca"),
        ({"get_source_public_key": True}, "take no get_source_public_key"),
        ({"auto_position": False}, "Turn GTIDs on"),
        ({"source_password": None}, "source_password is not given"),
        ({"channel": "no_such"}, "rds_set_external_source_with_auto_position_for_channel"),
    ],
)
def test_on_rds_what_the_procedures_cannot_do_is_refused_before_anything_is_touched(change, message):
    one = machine("rds-8.4")
    if "channel" in change:
        one.procedures = tuple(name for name in one.procedures if "for_channel" not in name)
    with pytest.raises(MySQLMigrationError, match=message):
        manage(one, **change)
    assert not one.said_like("CALL")
