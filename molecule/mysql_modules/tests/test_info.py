# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of two real servers: errant transactions, lag that Seconds_Behind_Source does not see, and purges."""

import subprocess

import pytest
from conftest import LAB, ROOT, until


def look(ansible, node, **options):
    result = ansible.run("mysql_replication_info", **dict(node.login, **options))
    assert not result["failed"], result["msg"]
    assert not result["changed"]
    return result["info"]


def test_two_servers_that_are_equal_have_no_lag_and_know_each_other(ansible, old, new, follow):
    follow(new)
    old.sql("CREATE DATABASE d")
    until(lambda: new.sql("SHOW DATABASES LIKE 'd'"))
    info = look(ansible, new, peer=old.login)
    assert info["channels"][0]["running"] and info["channels"][0]["errors"] == []
    assert (info["lag"]["ms"], info["lag"]["missing_transactions"]) == (0.0, 0)
    assert info["errant"]["transactions"] == info["missing"]["transactions"] == 0
    assert info["purge"]["danger"] is False and info["purge"]["missing"] == ""
    behind = look(ansible, old)["replicas"]
    assert [one["server_uuid"] for one in behind["registered"]] == [info["identity"]["server_uuid"]]
    assert [one["host"] for one in behind["connections"]]


def test_an_errant_transaction_is_found(ansible, old, new, follow):
    follow(new)
    new.sql("CREATE DATABASE d")
    info = look(ansible, new, peer=old.login)
    assert info["errant"]["transactions"] == 1
    assert info["errant"]["gtid_set"] == "%s:1" % info["identity"]["server_uuid"]


def test_a_delayed_replica_shows_what_is_missing(ansible, old, new, follow):
    follow(new, source_delay=3600)
    old.sql("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)")
    info = look(ansible, new, peer=old.login)
    assert info["lag"]["missing_transactions"] == 2
    assert info["channels"][0]["sql_delay"] == 3600


@pytest.fixture
def cable(nodes):
    """Pulls the old server's network cable, and plugs it in at the end."""

    def lab(command):
        argv = [str(ROOT / "lab" / "lab"), command, "--name", LAB, "mysql_old"]
        subprocess.run(argv, check=True, capture_output=True, timeout=120)

    yield lab
    lab("mend")
    nodes["mysql_old"].await_up()


def test_a_cut_link_shows_by_the_heartbeat_while_seconds_behind_says_nothing(ansible, old, new, follow, cable):
    old.sql("CREATE DATABASE d", "CREATE TABLE d.beat (id INT PRIMARY KEY, ts VARCHAR(26))")
    follow(new)
    old.sql("INSERT INTO d.beat VALUES (1, DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%f'))")
    until(lambda: not look(ansible, new, peer=old.login)["missing"]["transactions"])
    first = look(ansible, new, heartbeat_table="d.beat")["lag"]
    assert first["basis"] == "heartbeat"
    cable("cut")
    until(lambda: look(ansible, new, heartbeat_table="d.beat")["lag"]["ms"] > first["ms"] + 5000)
    info = look(ansible, new, heartbeat_table="d.beat")
    assert info["channels"][0]["replica_io_running"] == "Yes"
    assert info["channels"][0]["seconds_behind_source"] == 0
