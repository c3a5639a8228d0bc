# SPDX-License-Identifier: GPL-3.0-or-later
"""gtid_mode of real servers, from every state and under writers, with and without a replica."""

import threading

import pymysql
import pytest
from conftest import PASSWORD, REPL


def modes(node):
    row = node.sql("SELECT @@GLOBAL.gtid_mode AS m, @@GLOBAL.enforce_gtid_consistency AS e")[0]
    return row["m"], row["e"]


def persisted(node):
    rows = node.sql(
        "SELECT VARIABLE_NAME AS n, VARIABLE_VALUE AS v FROM performance_schema.persisted_variables"
        " WHERE VARIABLE_NAME IN ('gtid_mode', 'enforce_gtid_consistency')"
    )
    return {row["n"]: row["v"] for row in rows}


@pytest.mark.parametrize("state", ["OFF", "WARN", "ENFORCED", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"])
def test_every_state_is_brought_to_on(ansible, old, state):
    old.climb(state if "PERMISSIVE" in state or state == "ON" else "OFF")
    if state in ("OFF", "WARN"):
        old.sql("SET GLOBAL enforce_gtid_consistency = %s" % state)
    promised, done = ansible.settle("mysql_gtid", watch=1, **old.login)
    assert promised["steps"] == done["steps"]
    assert modes(old) == ("ON", "ON")
    assert persisted(old) == {"gtid_mode": "ON", "enforce_gtid_consistency": "ON"}


def test_it_survives_a_restart_and_the_way_back_does_too(ansible, old):
    old.climb("OFF")
    ansible.run("mysql_gtid", watch=0, **old.login)
    old.restart()
    assert modes(old) == ("ON", "ON")
    ansible.settle("mysql_gtid", state="off", **old.login)
    old.restart()
    assert modes(old) == ("OFF", "OFF")


def anonymous_channel(old, new):
    """The new server follows the old one by position, without GTIDs."""
    for node in (old, new):
        node.climb("OFF")
    at = old.sql("SHOW BINARY LOG STATUS")[0]
    new.sql(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='%s', SOURCE_USER='%s', SOURCE_PASSWORD='%s', SOURCE_SSL=1,"
        " SOURCE_AUTO_POSITION=0, SOURCE_LOG_FILE='%s', SOURCE_LOG_POS=%d"
        % (old.address, REPL, PASSWORD, at["File"], at["Position"]),
        "START REPLICA",
    )
    old.sql("CREATE DATABASE d", "CREATE TABLE d.t (a INT AUTO_INCREMENT PRIMARY KEY, b INT)")


def test_a_server_and_its_replica_are_brought_to_on_under_a_writer_and_back(ansible, old, new, until):
    anonymous_channel(old, new)
    over, written, errors = threading.Event(), [], []

    def write():
        connection = old.connect()
        with connection.cursor() as cursor:
            while not over.is_set():
                try:
                    cursor.execute("INSERT INTO d.t (b) VALUES (%s)", (len(written),))
                    written.append(cursor.lastrowid)
                except pymysql.err.MySQLError as error:
                    errors.append(error)
                    return
                over.wait(0.01)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: len(written) > 20)
        _promised, done = ansible.settle("mysql_gtid", watch=1, replicas=[new.login], **old.login)
        assert [step["server"] for step in done["steps"]][:2] == ["replica 1", "server"]
        taken = ansible.run("mysql_replica", source_host=old.address, **new.login)
        assert not taken["failed"] and taken["channel"]["auto_position"], taken
    finally:
        over.set()
        writer.join()
    assert errors == [] and modes(old) == modes(new) == ("ON", "ON")
    until(lambda: new.value("SELECT COUNT(*) FROM d.t") == len(written))
    refused = ansible.run("mysql_gtid", state="off", replicas=[new.login], **old.login)
    assert refused["failed"] and "auto_position: false" in refused["msg"]
    assert modes(old) == ("ON", "ON")


def test_a_replica_that_does_not_apply_keeps_all_from_the_last_step_and_the_next_run_goes_on(ansible, old, new):
    anonymous_channel(old, new)
    new.sql("STOP REPLICA SQL_THREAD")
    old.sql("INSERT INTO d.t (b) VALUES (1)")
    refused = ansible.run("mysql_gtid", watch=0, timeout=5, replicas=[new.login], **old.login)
    assert refused["failed"] and "Start its channel" in refused["msg"]
    assert modes(old)[0] == modes(new)[0] == "ON_PERMISSIVE"
    new.sql("START REPLICA SQL_THREAD")
    done = ansible.run("mysql_gtid", watch=0, replicas=[new.login], **old.login)
    assert not done["failed"], done["msg"]
    assert modes(old) == modes(new) == ("ON", "ON")
    status = new.sql("SHOW REPLICA STATUS")[0]
    assert (status["Replica_SQL_Running"], status["Last_SQL_Errno"]) == ("Yes", 0)


def test_a_statement_that_cannot_have_a_gtid_is_found_before_it_is_forbidden(ansible, old):
    old.climb("OFF")
    old.sql("SET PERSIST enforce_gtid_consistency = OFF")
    old.quietly("CREATE DATABASE d", "CREATE TABLE d.i (a INT) ENGINE=InnoDB", "CREATE TABLE d.m (a INT) ENGINE=MyISAM")
    over = threading.Event()

    def violate():
        connection = old.connect()
        with connection.cursor() as cursor:
            while not over.is_set():
                for text in ("BEGIN", "INSERT INTO d.i VALUES (1)", "INSERT INTO d.m VALUES (1)", "COMMIT"):
                    cursor.execute(text)
                over.wait(0.2)
        connection.close()

    violator = threading.Thread(target=violate)
    violator.start()
    try:
        result = ansible.run("mysql_gtid", watch=5, **old.login)
    finally:
        over.set()
        violator.join()
    assert result["failed"] and "GTID consistency" in result["msg"]
    assert modes(old) == ("OFF", "WARN")
