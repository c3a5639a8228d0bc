# SPDX-License-Identifier: GPL-3.0-or-later
"""Each guardrail of a MySQL migration is decided from facts alone."""

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import overview
from ansible_collections.seamless.migration.plugins.module_utils.mysql.guardrails import findings, position

STRANGER = "cccccccc-0000-0000-0000-000000000003"
OLD, NEW = "aaaaaaaa-0000-0000-0000-000000000001", "bbbbbbbb-0000-0000-0000-000000000002"
VARIABLES = {
    "gtid_mode": "ON",
    "enforce_gtid_consistency": "ON",
    "log_bin": "ON",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "binlog_row_value_options": "",
    "log_replica_updates": "ON",
    "sql_mode": "STRICT_TRANS_TABLES,NO_ZERO_DATE",
    "time_zone": "SYSTEM",
    "character_set_server": "utf8mb4",
    "collation_server": "utf8mb4_0900_ai_ci",
    "lower_case_table_names": "0",
    "read_only": "OFF",
    "super_read_only": "OFF",
    "event_scheduler": "ON",
}


def account(user, host="%"):
    return {"user": user, "host": host, "plugin": "caching_sha2_password"}


def side(uuid, number, **variables):
    return {
        "platform": "mysql",
        "version": (8, 4, 3),
        "version_text": "8.4.3",
        "uuid": uuid,
        "variables": dict(VARIABLES, server_id=str(number), **variables),
        "retention_hours": 720.0,
        "filters": [],
        "channels": [],
        "schemas": ["shop"],
        "tables": [{"name": "shop.orders", "engine": "InnoDB", "bytes": 2**30, "primary_key": True, "unique": False}],
        "bytes": 2**30,
        "accounts": [account("app"), account("root", "localhost"), account("mysql.sys", "localhost")],
        "definers": [{"name": "shop.dear", "definer": "app@%"}],
        "fence_grants": [{"user": "root", "host": "localhost", "privilege": "SUPER"}],
        "prepared_xa": 0,
        "events": ["shop.tick"],
        "tls": True,
        "utc_offset_s": 0,
        "replicas": [],
    }


def pair():
    source, target = side(OLD, 1), side(NEW, 2, read_only="ON", super_read_only="ON")
    target["channels"] = [{"name": "", "delay": 0, "running": True, "source_host": "old", "source_uuid": OLD}]
    source["channels"] = [{"name": "", "delay": 0, "running": True, "source_host": "new", "source_uuid": NEW}]
    return source, target


def decide(change=None, phase="replicating", **options):
    source, target = pair()
    if change:
        change(source, target)
    settings = {
        "phase": phase, "retention_hours": 168, "fence_exempt": [], "own_users": ["migration_admin"], "ssl": True,
        "public_key": False, "replicas": [], "channels": phase == "replicating", "errant": "", "missing": "",
    }  # fmt: skip
    settings.update(options)
    gates = findings(source, target, settings)
    assert all(gate["advice"] for gate in gates)
    return gates


def failed(*arguments, **options):
    return {gate["name"]: gate["evidence"]["problems"] for gate in decide(*arguments, **options) if not gate["ok"]}


def test_two_good_servers_pass_every_gate():
    assert failed() == {}
    assert failed(phase="before") == {}


def test_before_anything_replicates_what_prepare_mends_is_no_failure():
    def change(source, target):
        source["variables"]["gtid_mode"] = "OFF"
        source["retention_hours"] = 1.0
        target["accounts"] = []
        target["channels"] = []
        target["variables"].update(read_only="OFF", super_read_only="OFF")

    assert failed(change, phase="before") == {}
    assert set(failed(change)) == {"gtid", "retention", "definers", "accounts", "target_fenced", "events",
                                   "forward_channel"}  # fmt: skip


def test_rds_has_to_have_gtids_before_for_only_its_parameter_group_can_turn_them_on():
    def change(source, _target):
        source["platform"] = "rds"
        source["variables"]["gtid_mode"] = "OFF_PERMISSIVE"

    assert failed(change, phase="before") == {"gtid": ["gtid_mode is OFF_PERMISSIVE on the source"]}


@pytest.mark.parametrize("version, place", [
    ((5, 6, 1), -1), ((5, 7, 44), 0), ((8, 0, 40), 2), ((8, 3, 0), 3), ((8, 4, 0), 4), ((9, 1, 0), 5), ((9, 7, 4), 6),
    ((26, 1, 0), 7),
])  # fmt: skip
def test_versions_stand_among_the_long_term_series(version, place):
    assert position(version) == place


@pytest.mark.parametrize("source_version, target_version, wrong", [
    ((8, 0, 40), (8, 4, 3), {"way_back"}),
    ((8, 4, 3), (9, 7, 4), {"way_back"}),
    ((8, 0, 40), (8, 0, 35), set()),
    ((8, 4, 3), (8, 0, 40), {"versions"}),
    ((5, 7, 44), (8, 0, 40), {"way_back", "fence_lasts"}),
    ((5, 7, 44), (8, 4, 3), {"versions", "way_back", "fence_lasts"}),
    ((5, 7, 5), (5, 7, 44), {"versions", "fence_lasts"}),
    ((8, 2, 0), (8, 4, 0), {"way_back"}),
    ((8, 2, 0), (9, 7, 4), {"versions", "way_back"}),
])  # fmt: skip
def test_replication_goes_to_the_same_or_the_next_series(source_version, target_version, wrong):
    def change(source, target):
        source["version"], target["version"] = source_version, target_version

    assert set(failed(change)) == wrong


@pytest.mark.parametrize("which, name, value, gate", [
    (0, "log_bin", "OFF", "row_format"),
    (0, "binlog_format", "MIXED", "row_format"),
    (1, "binlog_row_image", "MINIMAL", "row_format"),
    (0, "binlog_row_value_options", "PARTIAL_JSON", "row_format"),
    (1, "log_replica_updates", "OFF", "log_replica_updates"),
    (1, "server_id", "1", "server_ids"),
    (1, "server_id", "0", "server_ids"),
    (1, "sql_mode", "", "sql_mode"),
    (1, "time_zone", "+02:00", "time_zone"),
    (1, "collation_server", "latin1_swedish_ci", "character_set_server"),
    (1, "lower_case_table_names", "1", "lower_case_table_names"),
    (0, "performance_schema", "OFF", "performance_schema"),
    (1, "performance_schema", "0", "performance_schema"),
    (1, "super_read_only", "OFF", "target_fenced"),
    (1, "read_only", "OFF", "target_fenced"),
])  # fmt: skip
def test_a_variable_that_would_hurt_fails_its_gate(which, name, value, gate):
    def change(*both):
        both[which]["variables"][name] = value

    assert gate in failed(change)


def test_an_old_name_of_a_variable_and_a_mode_that_means_nothing_are_understood():
    def change(source, target):
        del source["variables"]["log_replica_updates"]
        source["variables"]["log_slave_updates"] = "ON"
        source["variables"]["sql_mode"] = "NO_AUTO_CREATE_USER,NO_ZERO_DATE,STRICT_TRANS_TABLES"

    assert failed(change) == {}


@pytest.mark.parametrize("which, key, value, gate", [
    (1, "uuid", OLD, "server_ids"),
    (0, "filters", ["replicate_do_db=shop for all channels"], "filters"),
    (1, "channels", [{"name": "", "delay": 60, "running": True, "source_uuid": OLD}], "delay"),
    (0, "retention_hours", None, "retention"),
    (0, "retention_hours", 24.0, "retention"),
    (0, "prepared_xa", 1, "prepared_xa"),
    (1, "tls", False, "transport"),
    (1, "utc_offset_s", 7200, "time_zone"),
    (0, "definers", [{"name": "shop.dear", "definer": "gone@%"}], "definers"),
    (0, "accounts", [account("app"), account("reporter")], "accounts"),
    (0, "fence_grants", [{"user": "app", "host": "%", "privilege": "CONNECTION_ADMIN"}], "fence_writers"),
    (0, "tables", [{"name": "shop.log", "engine": "MyISAM", "primary_key": True, "unique": False}], "engines"),
    (0, "tables", [{"name": "shop.log", "engine": "InnoDB", "primary_key": False, "unique": True}], "primary_keys"),
    (0, "channels", [], "reverse_channel"),
    (1, "channels", [{"name": "", "delay": 0, "running": False, "source_uuid": OLD}], "forward_channel"),
])  # fmt: skip
def test_what_has_made_migrations_fail_fails_its_gate(which, key, value, gate):
    def change(*both):
        both[which][key] = value

    assert gate in failed(change)


FOREIGN = {"name": "", "delay": 0, "running": True, "source_host": "up", "source_port": 3306, "source_uuid": STRANGER}


@pytest.mark.parametrize("phase", ["before", "replicating"])
@pytest.mark.parametrize("which, side", [(0, "source"), (1, "target")])
def test_a_channel_of_somebody_else_is_not_taken_for_the_migration(phase, which, side):
    def change(*both):
        both[which]["channels"] = [dict(FOREIGN)]

    found = failed(change, phase=phase)
    assert found["foreign_channels"] == ["channel '' of the %s follows up:3306 (server_uuid %s)" % (side, STRANGER)]
    own = {side: {"name": "move", "source_host": "new", "source_port": 3306}}
    assert "foreign_channels" not in failed(change, phase=phase, own_channels=own)


@pytest.mark.parametrize("channel", [
    {"source_uuid": NEW},                                                # the target, by another name or endpoint
    {"source_uuid": OLD},                                                # the source itself, as a clone brings it
    {"source_uuid": STRANGER, "source_host": "NEW"},                     # the target was made anew at its place
    {"source_uuid": "", "source_host": "typo", "source_user": "repl"},   # never connected: the address is mended
])  # fmt: skip
def test_a_channel_that_is_the_migrations_own_may_be_repointed(channel):
    def change(source, _target):
        source["channels"] = [dict(FOREIGN, **channel)]

    own = {"source": {"name": "", "source_host": "new", "source_port": 3306}}
    assert "foreign_channels" not in failed(change, own_channels=own, own_users=["migration_admin", "repl"])


@pytest.mark.parametrize("channel", [
    {"source_host": "new", "source_port": 3307},
    {"source_user": "repl"},
    {"source_uuid": "", "source_user": "other"},
])  # fmt: skip
def test_another_port_or_the_same_account_makes_no_channel_the_migrations(channel):
    def change(source, _target):
        source["channels"] = [dict(FOREIGN, **channel)]

    own = {"source": {"name": "", "source_host": "new", "source_port": 3306}}
    assert "foreign_channels" in failed(change, own_channels=own, own_users=["repl"])


def test_the_lines_that_keep_a_server_of_5_7_closed_are_told_and_rds_needs_none():
    def change(source, _target):
        source.update(version=(5, 7, 44), version_text="5.7.44-log")

    for phase in ("before", "replicating"):
        found = {gate["name"]: gate for gate in decide(change, phase=phase)}["fence_lasts"]
        assert not found["ok"] and "5.7.44-log" in found["evidence"]["problems"][0]
        assert "'read_only = ON' and 'super_read_only = ON' under [mysqld]" in found["advice"]

    def on_rds(source, target):
        change(source, target)
        source["platform"] = "rds"

    assert "fence_lasts" not in failed(on_rds)


def test_a_log_that_is_kept_for_ever_is_kept_long_enough():
    def change(source, _target):
        source["retention_hours"] = 0

    assert failed(change) == {}


@pytest.mark.parametrize("option, gate", [("errant", "errant"), ("missing", "purge_distance")])
def test_transactions_that_only_one_side_can_have_fail_their_gate(option, gate):
    assert gate in failed(**{option: OLD + ":7"})
    assert OLD + ":7" in failed(**{option: OLD + ":7"})[gate][0]


def test_administrators_are_exempt_by_name_and_by_account():
    def change(source, _target):
        source["fence_grants"] = [
            {"user": "migration_admin", "host": "%", "privilege": "CONNECTION_ADMIN"},
            {"user": "dba", "host": "10.%", "privilege": "SUPER"},
            {"user": "rdsadmin", "host": "localhost", "privilege": "SUPER"},
        ]

    assert set(failed(change)) == {"fence_writers"}
    assert failed(change, fence_exempt=["dba@10.%"]) == {}
    assert failed(change, fence_exempt=["dba"]) == {}


def test_a_channel_without_tls_needs_the_public_key_and_is_none_for_rds():
    assert "transport" in failed(ssl=False)
    assert failed(ssl=False, public_key=True) == {}

    def change(_source, target):
        target["platform"] = "rds"

    assert "transport" in failed(change, ssl=False, public_key=True)


def test_replicas_are_told_and_those_that_are_known_are_judged():
    def change(source, _target):
        source["replicas"] = [{"uuid": "cccc", "text": "r9:3306"}, {"uuid": "dddd", "text": "r1:3306"},
                              {"uuid": NEW, "text": "the target"}]  # fmt: skip

    known = [{"name": "r1", "uuid": "dddd", "side": "source", "problems": []}]
    gate = next(one for one in decide(change, replicas=known) if one["name"] == "replicas")
    assert gate["ok"] and gate["evidence"]["source"] == ["r1", "not named: r9:3306"]
    known[0]["problems"] = ["it takes writes: set super_read_only"]
    assert failed(replicas=known) == {"replicas": ["r1: it takes writes: set super_read_only"]}


def test_a_long_list_of_problems_is_cut():
    def change(source, _target):
        source["tables"] = [
            {"name": "shop.t%d" % number, "engine": "InnoDB", "primary_key": False, "unique": False}
            for number in range(50)
        ]

    gate = next(one for one in decide(change) if one["name"] == "primary_keys")
    assert len(gate["evidence"]["problems"]) == 20 and gate["evidence"]["more_problems"] == 30


def test_an_overview_tells_servers_replicas_and_failed_gates():
    shown = {"platform": "mysql", "version": "8.4.3", "schemas": ["shop"], "bytes": 2**30, "tables": 1}
    gates = [
        {"name": "replicas", "ok": True, "evidence": {"source": ["r1"], "target": []}},
        {"name": "filters", "ok": False, "evidence": {}},
    ]
    lines = overview.guardrails({"servers": {"source": shown, "target": dict(shown, schemas=[])}, "gates": gates})
    assert lines == [
        "source: mysql 8.4.3, 1 tables in shop, 1.0 GiB",
        "source: followed by r1",
        "target: mysql 8.4.3, 1 tables in no schema, 1.0 GiB",
        "gates that do not hold: filters",
    ]


def test_an_overview_of_a_switch_names_the_server_that_takes_the_writes_both_ways():
    steps = [{"n": 6, "name": "fence", "ms": 12.4, "ok": True}, {"n": 9, "name": "drain", "ms": 3, "ok": False}]
    found = {"steps": steps,
             "plan": ["open target"], "window_ms": 120.4, "state": "target_open"}  # fmt: skip
    assert overview.switchover(found) == [
        "6 fence: 12 ms", "9 drain: 3 ms, failed", "would be done: open target", "nobody could write for 120 ms",
        "the target takes the writes",
    ]  # fmt: skip
    assert overview.switchover(found, back=True)[-1] == "the source takes the writes"
    assert "does not answer" in overview.switchover({"state": "unknown"})[-1]
