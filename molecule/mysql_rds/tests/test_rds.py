# SPDX-License-Identifier: GPL-3.0-or-later
"""After the cutover and after the rollback between two stand-ins for RDS: nothing is lost, one takes writes."""

import os
import time
from pathlib import Path

import pytest

testinfra_hosts = ["local://"]


@pytest.fixture(name="serving")
def _serving(lab):
    found = lab.open_servers()
    assert len(found) == 1, found
    return found[0], "mysql_rds_old" if found[0] == "mysql_rds_new" else "mysql_rds_new"


def test_the_writes_are_where_the_journal_says(serving, events):
    sides = [event["data"]["side"] for event in events if event["event"] == "committed"]
    assert sides and {"source": "mysql_rds_old", "target": "mysql_rds_new"}[sides[-1]] == serving[0]


def test_the_hooks_ran_in_each_switch(events):
    switches = sum(event["event"] == "committed" for event in events)
    ran = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "state", "hooks").read_text(encoding="utf-8")
    assert ran.split() == ["pause", "switch", "resume"] * switches


def test_nothing_is_lost_doubled_or_different(lab, serving, tmp_path):
    time.sleep(3)  # the application goes on for a while
    found = lab.verdict(serving[0], tmp_path)
    assert [found[key] for key in ("lost", "duplicated", "different", "extra", "missed")] == [0] * 5, found["details"]
    assert found["acknowledged"] > 50
    assert not found["two_servers_at_once"]


def test_the_endpoint_that_was_left_follows(lab, serving):
    channels = lab.sql(serving[1], "SHOW REPLICA STATUS")
    assert [row["Replica_IO_Running"] + row["Replica_SQL_Running"] for row in channels] == ["YesYes"]


def test_the_binary_log_is_kept_by_the_procedure_of_rds(lab, serving):
    for host in serving:
        rows = lab.sql(host, "CALL mysql.rds_show_configuration")
        assert [row["value"] for row in rows if row["name"] == "binlog retention hours"] == ["168"]


def test_what_the_retention_was_is_kept_for_the_end(events):
    kept = [event["data"]["before"] for event in events if event["step"] == "retention_source"]
    assert kept == [{"binlog retention hours": {"value": None, "persisted": None}}]
