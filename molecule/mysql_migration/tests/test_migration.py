# SPDX-License-Identifier: GPL-3.0-or-later
"""After the cutover, the rollback, the second cutover and the takedown: one server takes writes and has them all."""

import time

import pytest

testinfra_hosts = ["local://"]


@pytest.fixture(name="serving")
def _serving(lab):
    """The server that takes the writes, and the one that was left."""
    found = lab.open_servers()
    assert len(found) == 1, found
    return found[0], "mysql_old" if found[0] == "mysql_new" else "mysql_new"


@pytest.fixture(name="retired")
def _retired(events):
    return any(event["stage"] == "mysql_retire" for event in events)


def test_the_writes_are_where_the_journal_says(lab, serving, events):
    sides = [event["data"]["side"] for event in events if event["event"] == "committed"]
    assert sides and {"source": "mysql_old", "target": "mysql_new"}[sides[-1]] == serving[0]


def test_nothing_is_lost_doubled_or_different_where_the_application_writes(lab, serving, tmp_path):
    time.sleep(3)  # the application goes on for a while
    found = lab.verdict(serving[0], tmp_path)
    assert [found[key] for key in ("lost", "duplicated", "different", "extra", "missed")] == [0] * 5, found["details"]
    assert found["acknowledged"] > 100
    assert not found["two_servers_at_once"] and not found["both_writable"]


def test_the_server_that_was_left_is_closed_also_after_a_restart(lab, serving):
    assert lab.value(serving[1], "SELECT @@GLOBAL.super_read_only AND @@GLOBAL.read_only") == 1
    persisted = lab.sql(serving[1], "SELECT VARIABLE_VALUE AS v FROM performance_schema.persisted_variables"
                                    " WHERE VARIABLE_NAME = 'super_read_only'")
    assert [row["v"] for row in persisted] == ["ON"]


def test_the_server_that_was_left_follows_until_all_is_taken_down(lab, serving, retired):
    channels = lab.sql(serving[1], "SHOW REPLICA STATUS")
    if retired:
        assert channels == [] and lab.sql(serving[0], "SHOW REPLICA STATUS") == []
        return
    assert [row["Replica_IO_Running"] + row["Replica_SQL_Running"] for row in channels] == ["YesYes"]


def test_the_event_runs_on_the_server_that_takes_the_writes_only(lab, serving):
    states = {host: lab.value(host, "SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_NAME = 'tick'")
              for host in serving}
    assert states[serving[0]] == "ENABLED"
    before = lab.value(serving[0], "SELECT MAX(n) FROM shop.ticks")
    time.sleep(3)
    assert lab.value(serving[0], "SELECT MAX(n) FROM shop.ticks") > before


def test_the_accounts_of_the_application_came_along(lab, serving):
    users = {row["User"] for row in lab.sql(serving[0], "SELECT User FROM mysql.user")}
    assert {"reporter", "app", "migration_admin"} <= users


def test_what_only_the_migration_needed_is_gone_when_it_is_taken_down(lab, serving, retired):
    if not retired:
        assert lab.value(serving[0], "SELECT @@GLOBAL.binlog_expire_logs_seconds") == 3600000
        return
    for host in serving:
        assert lab.value(host, "SELECT @@GLOBAL.binlog_expire_logs_seconds") != 3600000
        assert not lab.sql(host, "SELECT User FROM mysql.user WHERE User LIKE 'repl%'")
        assert not lab.sql(host, "SHOW SCHEMAS LIKE 'seamless%'")
        assert not lab.sql(host, "SELECT 1 FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'")


def test_a_window_was_measured_for_each_switch(events):
    windows = [event["data"]["ms"] for event in events if event["event"] == "window_closed"]
    commits = [event for event in events if event["event"] == "committed"]
    assert len(windows) == len(commits) >= 1
    assert all(ms is not None and ms > 0 for ms in windows)
