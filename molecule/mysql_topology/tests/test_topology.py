# SPDX-License-Identifier: GPL-3.0-or-later
"""After the cutover and the rollback every server has all, and the replica that comes along follows the writer."""

import time

import pytest

testinfra_hosts = ["local://"]
REPLICAS = ("mysql_replica_old", "mysql_replica_new")


@pytest.fixture(name="serving")
def _serving(lab):
    found = lab.open_servers()
    assert len(found) == 1, found
    return found[0], "mysql_old" if found[0] == "mysql_new" else "mysql_new"


def source_of(lab, host):
    return [row["Source_Host"] for row in lab.sql(host, "SHOW REPLICA STATUS")]


def test_nothing_is_lost_doubled_or_different_on_any_server(lab, serving, tmp_path):
    time.sleep(3)  # the application goes on for a while
    found = lab.verdict(serving[0], tmp_path)
    assert [found[key] for key in ("lost", "duplicated", "different", "extra", "missed")] == [0] * 5, found["details"]
    lab("mysql-writers", "pause")
    try:
        done = lab.value(serving[0], "SELECT @@GLOBAL.gtid_executed")
        for host in (serving[1],) + REPLICAS:
            assert lab.value(host, "SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', 60)" % done) == 0, host
    finally:
        lab("mysql-writers", "resume")


def test_the_replica_of_the_old_server_follows_the_one_that_takes_the_writes(lab, serving):
    assert source_of(lab, "mysql_replica_old") == [lab.inputs["lab_mysql"][serving[0]]["address"]]


def test_the_replica_of_the_new_server_stays_behind_it(lab):
    assert source_of(lab, "mysql_replica_new") == [lab.inputs["lab_mysql"]["mysql_new"]["address"]]


def test_replicas_were_found_and_decided(events):
    gates = [event for event in events if event["event"] == "gate" and event["data"]["name"] == "replicas"]
    assert gates and all(gate["data"]["state"] == "ok" for gate in gates)
    found = {gate["stage"]: (gate["data"]["evidence"]["source"], gate["data"]["evidence"]["target"]) for gate in gates}
    assert found["mysql_preflight"] == (["old-1"], [])
    assert found["mysql_cutover"] == (["old-1"], ["new-1"])


def test_no_replica_takes_writes(lab):
    assert [lab.value(host, "SELECT @@GLOBAL.super_read_only") for host in REPLICAS] == [1, 1]
