# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guardrails know of a server is read right on every version, and decides as it should."""

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql.guardrail_facts import facts, look_at_replica
from ansible_collections.seamless.migration.plugins.modules import (
    mysql_accounts,
    mysql_bridge_info,
    mysql_canary,
    mysql_guardrails,
    mysql_replication_account,
    mysql_settings,
)
from fakes import OTHER, UUID, FakeServer

SWITCHES = ("log_bin", "read_only", "super_read_only", "log_replica_updates")
CATALOG = r"SELECT .*FROM information_schema\.%s\b"


STRANGER = "cccccccc-0000-0000-0000-000000000003"


class Machine(FakeServer):
    """A server with a schema, a table, a view, an event, accounts and grants."""

    def __init__(self, preset="9.7", **variables):
        super().__init__(preset, **dict({"log_replica_updates": 1}, **variables))
        self.filters = []
        self.tables = [{"s": "shop", "t": "orders", "engine": "InnoDB", "bytes": 16384}]
        self.keys = [{"s": "shop", "t": "orders", "kind": "PRIMARY KEY"}]
        self.powerful = []
        rules = {
            r"SHOW GLOBAL VARIABLES$": lambda _found: [
                {"Variable_name": name, "Value": ("OFF", "ON")[value] if name in SWITCHES else str(value)}
                for name, value in self.variables.items()
            ],
            CATALOG % "SCHEMATA": [{"name": "mysql"}, {"name": "sys"}, {"name": "shop"}],
            CATALOG % "TABLE_CONSTRAINTS": lambda _found: self.keys,
            CATALOG % "TABLES": lambda _found: self.tables,
            r"SELECT CONCAT.*FROM information_schema.(ROUTINES|TRIGGERS|EVENTS) WHERE": [],
            r"SELECT CONCAT\(EVENT_SCHEMA, '.', EVENT_NAME\) AS name FROM": [{"name": "shop.tick"}],
            CATALOG % "VIEWS": [{"name": "shop.dear", "definer": "app@%"}],
            r"SELECT User AS user, Host AS host, plugin": [{"user": "app", "host": "%", "plugin": "x"}],
            r"SELECT User AS user, Host AS host FROM mysql.user WHERE Super_priv": lambda _found: self.powerful,
            r"SELECT USER AS user, HOST AS host, PRIV": [
                {"user": "strong", "host": "%", "privilege": "CONNECTION_ADMIN"}
            ],
            r"SELECT FROM_USER AS role": [{"role": "strong", "role_host": "%", "user": "app", "host": "%"}],
            r"SELECT User AS user, Host AS host FROM mysql.user WHERE account_locked": [
                {"user": "strong", "host": "%"}
            ],
            r"XA RECOVER$": [],
            r"SELECT VALUE FROM performance_schema.tls_channel_status": [{"v": "Yes"}],
            r"SELECT TIMESTAMPDIFF": [{"s": 7199}],
            r"SELECT FILTER_NAME AS name": lambda _found: self.filters,
            r"SHOW (REPLICAS|SLAVE HOSTS)$": [
                {"Server_Id": 3, "Host": "r1", "Port": 3306, "Replica_UUID": "C0"},
                {"Server_id": 4, "Host": "", "Port": 3306, "Slave_UUID": "d0"},
            ],
            r"SET SESSION time_zone": [],
        }
        for pattern, answer in rules.items():
            self.on(pattern, answer)


def read(machine, schemas=()):
    server = machine.server()
    session = server.session()
    return facts(server.identify(session), session, schemas)


def test_everything_that_the_gates_want_is_read():
    found = read(Machine(server_id=7))
    assert (found["platform"], found["version"], found["uuid"]) == ("mysql", (9, 7, 4), UUID)
    assert found["schemas"] == ["shop"] and found["bytes"] == 16384
    assert found["tables"] == [
        {"name": "shop.orders", "engine": "InnoDB", "bytes": 16384, "primary_key": True, "unique": False}
    ]
    assert found["definers"] == [{"name": "shop.dear", "definer": "app@%"}]
    assert found["events"] == ["shop.tick"] and found["prepared_xa"] == 0 and found["tls"]
    assert found["utc_offset_s"] == 7200
    assert found["retention_hours"] == 720.0
    assert [one["uuid"] for one in found["replicas"]] == ["c0", "d0"]
    assert "r1:3306" in found["replicas"][0]["text"] and "unnamed" in found["replicas"][1]["text"]


def test_schemas_that_are_named_are_the_ones_that_move():
    assert read(Machine(), ["other"])["schemas"] == ["other"]


def test_a_privilege_by_a_role_is_that_of_the_account_and_a_locked_role_is_none():
    grants = read(Machine())["fence_grants"]
    assert grants == [{"user": "app", "host": "%", "privilege": "CONNECTION_ADMIN by the role strong"}]


def test_a_server_of_5_7_is_read_without_what_came_later():
    machine = Machine("5.7", have_ssl="YES", expire_logs_days=3, binlog_expire_logs_seconds=0)
    machine.powerful = [{"user": "root", "host": "%"}]
    found = read(machine)
    assert found["fence_grants"] == [{"user": "root", "host": "%", "privilege": "SUPER"}]
    assert found["tls"] and found["retention_hours"] == 72.0
    assert not machine.said_like("SELECT FILTER_NAME|SELECT FROM_USER")


def test_filters_are_found_wherever_they_stand_but_those_of_rds_itself():
    machine = Machine()
    machine.filters = [
        {"name": "REPLICATE_DO_DB", "rule": "shop"},
        {"name": "REPLICATE_IGNORE_TABLE", "rule": "mysql.rds_sysinfo"},
    ]
    machine.channel(Replicate_Wild_Ignore_Table="tmp.%,`mysql`.rds_history", SQL_Delay=30)
    machine.on(
        r"SHOW BINARY LOG STATUS$", [{"File": "b.1", "Position": 4, "Binlog_Do_DB": "shop", "Binlog_Ignore_DB": ""}]
    )
    found = read(machine)
    assert found["filters"] == [
        "binlog_do_db=shop", "replicate_do_db=shop for all channels", "replicate_wild_ignore_table=tmp.% in channel ''",
    ]  # fmt: skip
    assert found["channels"] == [
        {
            "name": "", "delay": 30, "running": True, "source_host": "old.example.com", "source_port": 3306,
            "source_user": "repl", "source_uuid": OTHER,
        }  # fmt: skip
    ]


@pytest.mark.parametrize("rows, hours", [
    ([{"name": "source delay", "value": "0"}, {"name": "binlog retention hours", "value": None}], None),
    ([{"name": "binlog retention hours", "value": "24"}], 24.0),
    ([], None),
])  # fmt: skip
def test_rds_tells_its_retention_by_its_procedure(rows, hours):
    machine = Machine("rds-8.4").on(r"CALL `mysql`.`rds_show_configuration`", lambda _found: rows)
    assert read(machine)["retention_hours"] == hours


# --- replicas ---


def replica(machine):
    server = machine.server("r1")
    session = server.session()
    other = FakeServer(gtid_executed=OTHER + ":1-9")
    other.variables["server_uuid"] = OTHER
    leader = other.server()
    sides = {"source": (OTHER, leader.session()), "target": ("e" * 8, leader.session())}
    return look_at_replica(server.identify(session), session, sides)


def test_a_sound_replica_has_no_problems():
    machine = FakeServer(read_only=1, gtid_executed=OTHER + ":1-5")
    machine.channel()
    assert replica(machine) == {"name": "r1", "uuid": UUID, "side": "source", "problems": []}


def test_what_is_wrong_with_a_replica_is_told():
    machine = FakeServer(gtid_executed=UUID + ":1")
    machine.channel(Replica_SQL_Running="No", SQL_Delay=60)
    found = " ".join(replica(machine)["problems"])
    for says in ("does not run", "delayed by 60 s", "takes writes", UUID + ":1"):
        assert says in found


def test_a_replica_of_somebody_else_is_told():
    assert "neither source nor target" in replica(FakeServer())["problems"][0]


# --- the modules themselves ---


def test_the_module_of_the_guardrails_decides_for_both_phases_and_leaves_out_what_it_is_told_to():
    source, target = Machine(server_id=1), Machine(server_id=2, server_uuid=OTHER, read_only=1, super_read_only=1)
    target.channel(Source_UUID=UUID)
    source.channel(Source_UUID=OTHER)
    for phase, more in (("before", 0), ("replicating", 7)):
        servers = {"source": source.server("source"), "target": target.server("target")}
        params = {
            "phase": phase, "schemas": [], "exclude": ["way_back"], "replicas": [], "retention_hours": 168,
            "fence_exempt": ["app"], "own_users": [], "replication_ssl": True, "replication_public_key": False,
            "source": {"login_user": "admin"}, "target": {"login_user": "admin"},
            "source_channel": {"name": "", "source_host": None, "source_port": 3306},
            "target_channel": {"name": "", "source_host": None, "source_port": 3306},
        }  # fmt: skip
        result = mysql_guardrails.look(params, servers)
        assert [gate["name"] for gate in result["gates"] if not gate["ok"]] == []
        assert len(result["gates"]) == 22 + more and not result["changed"]
        assert result["servers"]["target"]["channels"][0]["running"]


def test_the_module_of_the_guardrails_looks_for_the_channels_that_it_is_told_of():
    source, target = Machine(server_id=1), Machine(server_id=2, server_uuid=OTHER)
    source.channel("way_back", Source_UUID=STRANGER, Source_Host="up.example.com", Source_Port=3307)
    servers = {"source": source.server("source"), "target": target.server("target")}
    params = {
        "phase": "before", "schemas": [], "exclude": [], "replicas": [], "retention_hours": 168, "fence_exempt": [],
        "own_users": [], "replication_ssl": True, "replication_public_key": False, "source": {"login_user": "admin"},
        "target": {"login_user": "admin"}, "target_channel": {"name": ""},
    }  # fmt: skip
    wanted = {"name": "", "source_host": "up.example.com", "source_port": 3306}
    for change, ok in (({}, True), ({"name": "way_back"}, False), ({"name": "way_back", "source_port": 3307}, True)):
        result = mysql_guardrails.look(dict(params, source_channel=dict(wanted, **change)), servers)
        assert [gate["ok"] for gate in result["gates"] if gate["name"] == "foreign_channels"] == [ok]


def test_the_module_of_the_settings_promises_in_check_mode_what_it_does_then():
    machine = FakeServer(auto_increment_increment=1)
    machine.on(
        r"SHOW GLOBAL VARIABLES WHERE Variable_name = '(\w+)'",
        lambda found: [{"Variable_name": found.group(1), "Value": str(machine.variables[found.group(1)])}],
    )
    machine.on(r"SELECT VARIABLE_VALUE", [])
    machine.on(
        r"SET PERSIST `(\w+)` = (\d+)", lambda found: machine.variables.update({found.group(1): int(found.group(2))})
    )
    params = {
        "state": "present",
        "settings": {"auto_increment_increment": 2},
        "binlog_retention_hours": None,
        "before": {},
    }
    promised = mysql_settings.settle(machine.server(), params, True)
    assert machine.variables["auto_increment_increment"] == 1
    done = mysql_settings.settle(machine.server(), params, False)
    assert promised == done and done["changed"] and machine.variables["auto_increment_increment"] == 2
    assert not mysql_settings.settle(machine.server(), params, False)["changed"]


def test_the_module_of_the_account_makes_it_once():
    row = {"ssl_type": "ANY", "repl": "Y", "locked": "N"}
    rows = []
    machine = FakeServer().on(r"SELECT ssl_type", lambda _found: rows)
    machine.on(r"CREATE USER", lambda _found: rows.append(row)).on(r"GRANT", []).on(
        r"DROP USER", lambda _found: rows.clear()
    )
    params = {"state": "present", "user": "repl", "host": "%", "password": "s3cret-word", "require_ssl": True,
              "update_password": "on_create"}  # fmt: skip
    assert mysql_replication_account.manage(machine.server(), params, True)["changed"] and not rows
    assert mysql_replication_account.manage(machine.server(), params, False)["changed"] and rows
    assert not mysql_replication_account.manage(machine.server(), params, False)["changed"]
    gone = dict(params, state="absent")
    assert mysql_replication_account.manage(machine.server(), gone, False)["changed"] and not rows
    assert not mysql_replication_account.manage(machine.server(), gone, False)["changed"]


def test_the_module_of_the_accounts_waits_until_the_target_has_them():
    source, target = FakeServer(gtid_executed=UUID + ":1-3"), FakeServer(server_uuid=OTHER, gtid_executed=UUID + ":1-3")
    accounts = [{"user": "zoe", "host": "%", "plugin": "p"}]
    source.on(r"SELECT User AS user", accounts).on(r"SELECT DISTINCT", []).on(r"SET SESSION", [])
    source.on(r"SHOW CREATE USER", [{"c": "CREATE USER `zoe`@`%`"}]).on(r"SHOW GRANTS", []).on(r"CREATE USER IF", [])
    target.on(r"SELECT User AS user", []).on(r"SELECT PLUGIN_NAME", [{"name": "p"}]).on(r"SHOW PRIVILEGES", [])
    params = {"exclude": [], "timeout": 0}
    result = mysql_accounts.bring(source.server(), target.server(), params, False)
    assert result["changed"] and result["accounts"] == ["zoe@%"]
    target.variables["gtid_executed"] = ""
    with pytest.raises(mysql_accounts.MySQLMigrationError, match="has not applied them"):
        mysql_accounts.bring(source.server(), target.server(), params, False)
    assert mysql_accounts.bring(source.server(), target.server(), params, True)["accounts"] == ["zoe@%"]


def test_the_module_of_the_canaries_sends_removes_and_waits():
    source, target = FakeServer(), FakeServer(server_uuid=OTHER)
    source.on(r"CREATE|INSERT|DROP", []).on(r"SELECT COUNT", [{"n": 1}])
    target.on(r"SELECT COUNT", [{"n": 1}])
    pair = (source.server(), target.server())
    assert mysql_canary.prove(*pair, {"state": "arrived", "timeout": 5}, False)["ms"] >= 0
    assert mysql_canary.prove(*pair, {"state": "arrived", "timeout": 5}, True) == {"changed": True}
    assert mysql_canary.prove(*pair, {"state": "absent", "timeout": 5}, False)["changed"] and source.said_like(
        "DROP SCHEMA"
    )
    assert not mysql_canary.prove(*pair, {"state": "drained", "timeout": 5}, False)["changed"]
    source.variables["gtid_executed"] = UUID + ":1"
    target.channel(Source_UUID=UUID)
    with pytest.raises(mysql_canary.MySQLMigrationError, match="within 0 s"):
        mysql_canary.prove(*pair, {"state": "drained", "timeout": 0}, False)


def test_the_module_of_the_bridge_looks_at_both():
    machines = {"source": FakeServer(), "target": FakeServer(server_uuid=OTHER)}
    for machine in machines.values():
        machine.on(r"SELECT CHANNEL_NAME|SELECT DISTINCT t|SELECT TABLE_SCHEMA", [])
        machine.on(CATALOG % "SCHEMATA", [{"name": "shop"}, {"name": "seamless_migration"}])
        machine.channel(Replica_IO_Running="No")
    found = mysql_bridge_info.look({side: one.server(side) for side, one in machines.items()}, [])
    assert len(found["broken"]) == 2 and found["broken"][0].startswith("source: ")
    assert found["conflicts"] == found["collisions"] == found["stale_sessions"] == []
