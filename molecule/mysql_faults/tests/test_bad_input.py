# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with data, accounts, routes and replication: a switchover refuses, names it, and nothing moves."""

import functools
import json

import pytest
from bed import (
    FENCE,
    FORWARD,
    OPEN,
    REVERSE,
    Writers,
    executed,
    paused,
    put_back,
    switched,
    transaction,
    until,
    verdict,
)

ROLES = {"old": "source", "new": "target"}


def refused(bed, *words, **more):
    """The module changes nothing and says all of the words. Returns what it said."""
    result = bed.switch(**more)
    assert put_back(result)
    assert "Nothing was changed" in result["msg"]
    for word in words:
        assert word in result["msg"], result["msg"]
    assert not bed.old.fenced()
    return result


# --- data ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "gate", "problem"),
    [
        ("(a INT NOT NULL)", "primary_keys", "shop.odd has no primary key"),
        ("(a INT NOT NULL, UNIQUE KEY (a))", "primary_keys", "(but a unique key)"),
        ("(a INT PRIMARY KEY) ENGINE=MyISAM", "engines", "shop.odd is MyISAM"),
    ],
)
def test_a_table_that_cannot_be_moved_safely_is_named_and_can_be_forced(bed, definition, gate, problem):
    bed.old.run("CREATE TABLE shop.odd %s" % definition, "INSERT INTO shop.odd VALUES (1)")
    refused(bed, gate, problem)
    result = bed.switch(force=[gate])
    assert switched(result)
    assert [one["state"] for one in result["gates"] if one["name"] == gate] == ["forced"]
    assert [event["data"]["forced"] for event in bed.events() if event["event"] == "started"] == [[gate]]
    assert bed.new.value("SELECT a FROM shop.odd") == 1


def test_a_definer_that_is_nobody_is_named(bed):
    bed.old.run("CREATE DEFINER = 'gone'@'%' VIEW shop.seen AS SELECT id FROM shop.stock")
    refused(bed, "definers", "gone@%, definer of shop.seen")


# --- accounts ------------------------------------------------------------------------------------------------------


def as_root(node, statement):
    """Run a statement that only root may, not to be replicated; on a fenced server too."""
    fenced = node.fenced()
    node.run(*[OPEN] if fenced else [])
    node.shell('mysql -e "SET sql_log_bin = 0; %s"' % statement)
    node.run(*[FENCE] if fenced else [])


@pytest.mark.parametrize("privilege", ["SUPER", "CONNECTION_ADMIN"])
@pytest.mark.parametrize("side", ["old", "new"])
def test_an_application_that_can_write_through_a_fence_is_named(bed, side, privilege):
    try:
        for node in bed.nodes:
            as_root(node, "CREATE USER 'mighty'@'%'")
        as_root(getattr(bed, side), "GRANT %s ON *.* TO 'mighty'@'%%'" % privilege)
        refused(bed, "fence_writers", "mighty@%% has %s on the %s" % (privilege, ROLES[side]))
    finally:
        for node in bed.nodes:
            as_root(node, "DROP USER IF EXISTS 'mighty'@'%'")


def test_a_wrong_password_is_told_without_it(bed):
    target = dict(bed.options()["target"], login_password="not-the-password")
    result = refused(bed, "Access denied", target=target)
    assert "not-the-password" not in str(result)


def test_a_password_of_the_way_back_that_is_refused_stops_it_before_the_window(bed):
    alter = "ALTER USER '%s'@'%%%%' IDENTIFIED BY '%%s'" % bed.replication["user"]
    bed.new.run(OPEN, "SET sql_log_bin = 0", alter % "another", FENCE)  # what is connected goes on
    try:
        with Writers(bed) as writers:
            result = bed.switch()
            assert put_back(result)
            assert "1045" in result["msg"]
            assert "window_opened" not in [event["event"] for event in bed.events()]
            assert verdict(bed, writers, "old")
    finally:
        bed.new.run(OPEN, "SET sql_log_bin = 0", alter % bed.replication["password"], FENCE)


# quotes, a backslash, signs of percent that look like places, a comment, letters of two and three bytes
NAME = "h0st'il\"e`\\ %s %%(x) ü密"
SECRET = "p'a\"s`s\\ %s%(x)s%% ü密;-- /*"
CHANNEL = "w'a`y \"back\\ %s"


def quoted(text):
    """Text as a statement has it."""
    return "'%s'" % text.replace("\\", "\\\\").replace("'", "\\'")


def as_administrator(node, *statements):
    """Run statements that are not to be replicated, on a fenced server too."""
    fenced = node.fenced()
    node.run(*[OPEN] if fenced else [], "SET sql_log_bin = 0", *statements)
    node.run(*[FENCE] if fenced else [])


@pytest.fixture
def hostile(bed):
    """An administrator with a hostile name and password on both servers: its options."""
    whom = "%s@'%%'" % quoted(NAME)
    for node in bed.nodes:
        grants = [next(iter(row.values())).rpartition(" TO `")[0] for row in node.run("SHOW GRANTS")]
        created = "CREATE USER %s IDENTIFIED BY %s" % (whom, quoted(SECRET))
        as_administrator(node, created, *["%s TO %s WITH GRANT OPTION" % (grant, whom) for grant in grants])
    yield {"login_user": NAME, "login_password": SECRET}
    for node in bed.nodes:
        as_administrator(node, "DROP USER %s" % whom)
        node.run(
            "STOP REPLICA FOR CHANNEL %s" % quoted(CHANNEL),
            "RESET REPLICA ALL FOR CHANNEL %s" % quoted(CHANNEL),
            ignore=True,
        )


def test_hostile_names_and_passwords_and_channels_are_only_names(bed, hostile):
    bed.old.run("STOP REPLICA FOR CHANNEL '%s'" % REVERSE, "RESET REPLICA ALL FOR CHANNEL '%s'" % REVERSE)
    bed.follow(bed.old, bed.new, quoted(CHANNEL)[1:-1])
    options = {
        "source": {**bed.options()["source"], **hostile},
        "target": {**bed.options()["target"], **hostile},
        "reverse_channel": CHANNEL,
        "fence_exempt": ["%s@%%" % bed.old.login["login_user"]],
    }
    with Writers(bed) as writers:
        result = bed.switch(**options)
        assert switched(result)
        seen = json.dumps([result, bed.events()])
        assert json.dumps(SECRET)[1:-1] not in seen
        assert verdict(bed, writers, "old", "new")


def test_a_hostile_host_is_a_name_that_is_not_found(bed):
    target = dict(bed.options()["target"], login_host="x', '%s\\ ü")
    refused(bed, "x', '%s\\ ü", target=target)


# --- routes --------------------------------------------------------------------------------------------------------


def test_a_server_that_listens_to_nobody_is_told(bed):
    line = "sed -i 's/^bind_address =.*/bind_address = %s/' /etc/mysql/mysql.conf.d/zz-lab.cnf; systemctl restart mysql"
    try:
        bed.new.shell(line % "127.0.0.1")
        refused(bed, "Nothing listens there", "bind-address")
    finally:
        bed.new.shell(line % ("%s,127.0.0.1" % bed.new.login["login_host"]))
        bed.new.wait_until_up()


def test_one_server_under_both_addresses_is_refused(bed):
    refused(bed, "lead to the same server", target=bed.options()["source"])


def test_a_link_between_the_servers_that_is_cut_in_the_window_is_put_back(bed):
    """The controller reaches both, they do not reach each other, and Seconds_Behind_Source is 0 all the while."""

    # Both ways: what the one sends without waiting for an answer would still arrive.
    def routes(verb):
        for node, other in ((bed.new, bed.old), (bed.old, bed.new)):
            node.shell("ip route %s blackhole %s/32" % (verb, other.login["login_host"]))

    with Writers(bed) as writers:
        process = paused(bed, "fence", budget_ms=3000)
        routes("add")
        try:
            writers.wait_for_writes(30)

            def looks_well():
                status = bed.new.run("SHOW REPLICA STATUS FOR CHANNEL ''")[0]
                return (status["Replica_IO_Running"], status["Seconds_Behind_Source"]) == ("Yes", 0)

            until(looks_well, 10)  # once it has applied what it had
            process.go_on("fence")
            result = process.end()
        finally:
            routes("del")
        assert put_back(result)
        assert "budget of 3000 ms" in result["msg"]
        assert verdict(bed, writers, "old")


# --- replication ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"])
@pytest.mark.parametrize("side", ["old", "new"])
def test_a_server_with_gtid_mode_half_way_is_refused(bed, side, mode):
    node = getattr(bed, side)
    for one, channel in ((bed.old, REVERSE), (bed.new, FORWARD)):
        one.run("STOP REPLICA FOR CHANNEL '%s'" % channel, "RESET REPLICA ALL FOR CHANNEL '%s'" % channel)
    steps = ["ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"]
    steps = steps[: steps.index(mode) + 1]
    try:
        node.run(*["SET GLOBAL gtid_mode = %s" % step for step in steps])
        refused(bed, "gtid_mode is %s on the %s" % (mode, ROLES[side]))
    finally:
        node.run(*["SET GLOBAL gtid_mode = %s" % step for step in steps[-2::-1] + ["ON"]])


def test_transactions_that_were_purged_before_the_target_had_them_are_named(bed):
    bed.new.run("STOP REPLICA FOR CHANNEL ''")
    bed.old.run("INSERT INTO shop.orders VALUES (900, 1, SYSDATE(6))", "FLUSH BINARY LOGS")
    bed.old.run("PURGE BINARY LOGS TO '%s'" % bed.old.run("SHOW BINARY LOGS")[-1]["Log_name"])
    purged = bed.old.value("SELECT GTID_SUBTRACT(@@GLOBAL.gtid_purged, '%s')" % executed(bed.new))
    refused(bed, "purge_distance", purged, "Seed the target again", force=["purge_distance"])


def test_transactions_that_are_purged_while_the_module_waits_are_put_back(bed):
    with Writers(bed) as writers:
        process = paused(bed, "fence", budget_ms=5000)
        bed.new.run("STOP REPLICA FOR CHANNEL ''")
        dump = "SELECT 1 FROM performance_schema.threads WHERE PROCESSLIST_COMMAND LIKE 'Binlog Dump%'"
        until(lambda: not bed.old.run(dump))  # a log that is being sent is not purged
        writers.wait_for_writes(20)
        bed.old.run("FLUSH BINARY LOGS")
        bed.old.run("PURGE BINARY LOGS TO '%s'" % bed.old.run("SHOW BINARY LOGS")[-1]["Log_name"])
        bed.new.run("START REPLICA FOR CHANNEL ''")
        process.go_on("fence")
        result = process.end()
        assert put_back(result)
        assert "13114" in result["msg"] and "purged" in result["msg"]
        assert verdict(bed, writers, "old")


def test_the_same_server_id_on_both_is_refused(bed):
    number = bed.new.value("SELECT @@GLOBAL.server_id")
    try:
        bed.new.run("SET GLOBAL server_id = %d" % bed.old.value("SELECT @@GLOBAL.server_id"))
        refused(bed, "both servers have server_id", force=["server_ids"])
    finally:
        bed.new.run("SET GLOBAL server_id = %d" % number)


def test_the_same_server_uuid_on_both_is_refused(bed):
    """As on a host that was copied with its auto.cnf."""
    own = bed.new.value("SELECT @@GLOBAL.server_uuid")
    line = "sed -i 's/^server-uuid=.*/server-uuid=%s/' /var/lib/mysql/auto.cnf && systemctl restart mysql"
    try:
        bed.new.shell(line % bed.old.value("SELECT @@GLOBAL.server_uuid"))
        bed.new.wait_until_up()
        refused(bed, "lead to the same server")
    finally:
        bed.new.shell(line % own)
        bed.new.wait_until_up()


@pytest.mark.parametrize("side", ["old", "new"])
def test_the_lock_of_one_server_alone_keeps_a_switchover_out(bed, side):
    with transaction(getattr(bed, side), "SELECT GET_LOCK('seamless_migration.switchover', 1)") as link:
        refused(bed, "Another switchover holds the lock", "connection %d of app" % link.thread_id())
    assert switched(bed.switch())


# --- a bridge ------------------------------------------------------------------------------------------------------

BRIDGE = {"strategy": "bridge", "accept_conflicts": True}


@pytest.fixture
def bridge(bed):
    """Both servers take writes, with numbers of their own."""
    for offset, node in enumerate(bed.nodes, 1):
        node.run("SET GLOBAL auto_increment_increment = 2", "SET GLOBAL auto_increment_offset = %d" % offset)
    yield bed
    for node in bed.nodes:
        node.run("SET GLOBAL auto_increment_increment = 1", "SET GLOBAL auto_increment_offset = 1")


def collide(bed):
    """Both take a row with the same key before either has that of the other."""
    channels = ((bed.old, REVERSE), (bed.new, FORWARD))
    for node, channel in channels:
        node.run("STOP REPLICA SQL_THREAD FOR CHANNEL '%s'" % channel)
    for number, node in enumerate(bed.nodes):
        node.run("INSERT INTO shop.orders VALUES (900, 1, '2026-01-0%d')" % (number + 1))
    for node, channel in channels:
        node.run("START REPLICA SQL_THREAD FOR CHANNEL '%s'" % channel)
    for node, channel in channels:
        until(functools.partial(has_conflict, node, channel))


def has_conflict(node, channel):
    return node.run("SHOW REPLICA STATUS FOR CHANNEL '%s'" % channel)[0]["Last_SQL_Errno"] == 1062


def test_a_conflict_on_the_bridge_is_told_before_anything_is_moved(bridge):
    bridge.new.run(OPEN)
    collide(bridge)
    result = bridge.switch(**BRIDGE)
    assert put_back(result)
    assert "1062" in result["msg"]
    assert [node.fenced() for node in bridge.nodes] == [False, False]


def test_a_conflict_while_the_bridge_is_left_is_told_and_both_rows_stay_where_they_are(bridge):
    process = paused(bridge, "leave_bridge", canary_timeout=3, reach_timeout=5, **BRIDGE)
    collide(bridge)
    process.go_on("leave_bridge")
    result = process.end()
    assert (result["failed"], result["state"], result["complete"]) == (False, "target_open", False)
    assert any("1062" in str(warning) for warning in result["warnings"]), result["warnings"]
    assert bridge.old.fenced()
    rows = [node.value("SELECT DATE(at) FROM shop.orders WHERE writer = 900").day for node in bridge.nodes]
    assert rows == [1, 2]
    assert bridge.new.run("SHOW REPLICA STATUS FOR CHANNEL ''")
