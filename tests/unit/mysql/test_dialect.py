# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import (
    CHANNEL_KEYS,
    SETTINGS,
    STATEMENTS,
    Dialect,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from fakes import PRESETS, FakeServer

MYSQL = ["5.7", "8.0.21", "8.0.35", "8.4", "9.7", "percona", "rds-8.0", "rds-8.4"]


def dialect(preset):
    machine = FakeServer(preset)
    one = machine.server()
    with one.session() as session:
        return Dialect.for_server(one.identify(session))


@pytest.mark.parametrize("preset", MYSQL)
@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_every_statement_exists_for_every_server(preset, name):
    assert dialect(preset).statement(name)


@pytest.mark.parametrize(
    ("preset", "status", "change", "position", "reset"),
    [
        ("5.7", "SLAVE", "CHANGE MASTER", "SHOW MASTER STATUS", "RESET MASTER"),
        ("8.0.21", "SLAVE", "CHANGE MASTER", "SHOW MASTER STATUS", "RESET MASTER"),
        ("8.0.35", "REPLICA", "CHANGE REPLICATION SOURCE", "SHOW MASTER STATUS", "RESET MASTER"),
        ("8.4", "REPLICA", "CHANGE REPLICATION SOURCE", "SHOW BINARY LOG STATUS", "RESET BINARY LOGS AND GTIDS"),
        ("9.7", "REPLICA", "CHANGE REPLICATION SOURCE", "SHOW BINARY LOG STATUS", "RESET BINARY LOGS AND GTIDS"),
    ],
)
def test_statements_are_those_of_the_version(preset, status, change, position, reset):
    words = dialect(preset)
    assert status in words.statement("show_replica_status")
    assert words.statement("change_source").startswith(change)
    assert words.statement("binary_log_status") == position
    assert words.statement("reset_binary_logs") == reset


def test_from_8_0_22_on_the_words_are_new_but_change_master_stays_until_8_0_23():
    words = Dialect((8, 0, 22))
    assert words.statement("start_replica").startswith("START REPLICA")
    assert words.statement("change_source").startswith("CHANGE MASTER")
    assert words.setting("source_host") == "MASTER_HOST"
    assert words.setting("get_source_public_key") == "GET_MASTER_PUBLIC_KEY"


def test_a_setting_that_a_version_lacks_is_none():
    assert dialect("5.7").setting("get_source_public_key") is None
    assert all(dialect("9.7").setting(name) for name in SETTINGS)


@pytest.mark.parametrize(
    ("preset", "fence", "persists"),
    [
        ("5.7", "SET GLOBAL super_read_only = 1, GLOBAL read_only = 1", False),
        ("9.7", "SET PERSIST super_read_only = 1, PERSIST read_only = 1", True),
        ("rds-8.0", None, False),
    ],
)
def test_the_fence_is_persisted_where_that_is_possible(preset, fence, persists):
    assert fence in (None, dialect(preset).statement("fence"))
    assert dialect(preset).persists is persists


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("rds-8.0", "mysql.rds_set_external_master_with_auto_position"),
        ("rds-8.4", "mysql.rds_set_external_source_with_auto_position"),
    ],
)
def test_procedures_are_those_that_the_server_has(preset, name):
    words = dialect(preset)
    assert words.procedure("set_source") == name
    assert words.procedure("set_source", "bridge") == name + "_for_channel"
    assert words.procedure("start", "bridge") == "mysql.rds_start_replication_for_channel"
    assert words.has_procedure("stop")
    assert not words.has_procedure("read_only")


def test_a_procedure_that_is_missing_is_named_with_advice():
    with pytest.raises(MySQLMigrationError, match="mysql.rds_set_read_only on source db.example.com .*Grant EXECUTE"):
        dialect("rds-8.4").procedure("read_only")


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset != "mariadb"])
def test_a_channel_has_the_same_keys_and_values_on_every_version(preset):
    machine = FakeServer(preset)
    machine.channel("bridge", Retrieved_Gtid_Set="a:1-3,\nb:5", Get_Source_public_key=1, Source_Port="3307")
    words = dialect(preset)
    with machine.server().session() as session:
        row = words.normalise_channel(session.row(words.statement("show_replica_status")))
    assert set(row) == set(CHANNEL_KEYS)
    assert row["source_host"] == "old.example.com"
    assert row["source_port"] == 3307
    assert row["replica_io_running"] == "Yes"
    assert row["channel_name"] == "bridge"
    assert row["retrieved_gtid_set"] == "a:1-3,b:5"
    assert row["auto_position"] is True
    assert row["get_source_public_key"] is True
    assert row["network_namespace"] is None


@pytest.mark.parametrize("preset", ["8.4", "9.7"])
def test_the_fake_does_not_understand_old_words_either(preset):
    with FakeServer(preset).server().session() as session:
        with pytest.raises(MySQLMigrationError, match="1064"):
            session.rows("SHOW SLAVE STATUS")
