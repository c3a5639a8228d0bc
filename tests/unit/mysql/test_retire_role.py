# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role mysql_replication makes of the journal and the servers before it takes a migration down."""

import pytest
import role_variables


def role(name, stages=(), side="source", measured=(), closed=()):
    """The value of a variable of the role. closed: the servers that take no writes."""
    summary = {
        "side": side,
        "committed": side == "target",
        "stages": {stage: {"state": "done"} for stage in stages},
        "measured": {step: {} for step in measured},
    }
    left = {"source": "target", "target": "source"}[side]
    known = {"__mysql_replication_journal": {"summary": summary}}
    for what, server in (("left", left), ("writer", side)):
        known["__mysql_replication_%s_seen" % what] = {"info": {"read_only": {"fenced": server in closed}}}
    known.update(mysql_replication_migration="shop2026", mysql_replication_state_dir="/srv/ops/migration")
    return role_variables.value("mysql_replication", "__mysql_replication_" + name, **known)


PREPARED = ["mysql_preflight", "mysql_prepare"]
REPLICATING = [*PREPARED, "mysql_seed", "mysql_replicate", "mysql_verify"]


@pytest.mark.parametrize(
    ("stages", "side", "begun", "closed"),
    [
        ([], "source", False, False),
        (["mysql_retire"], "source", False, False),
        (["mysql_preflight", "mysql_cutover", "storage_prepare"], "source", False, False),
        (PREPARED, "source", True, False),
        ([*PREPARED, "mysql_seed"], "source", True, True),
        (REPLICATING, "source", True, True),
        ([*REPLICATING, "mysql_cutover", "mysql_rollback", "mysql_retire"], "source", True, True),
        ([*REPLICATING, "mysql_cutover"], "target", True, True),
        (["mysql_cutover"], "target", True, True),
    ],
)
def test_there_is_something_to_take_down_when_a_stage_has_changed_a_server(stages, side, begun, closed):
    assert role("begun", stages, side) is begun
    assert role("closed", stages, side) is closed


def test_the_refusal_names_the_journal():
    assert "the journal of shop2026 in /srv/ops/migration knows of no stage" in role("nothing")


@pytest.mark.parametrize(
    ("side", "closed", "refused"),
    [
        ("source", [], False),
        ("source", ["target"], False),
        ("source", ["source", "target"], False),
        ("source", ["source"], True),
        ("target", ["source"], False),
        ("target", ["source", "target"], False),  # a read-only window that waits
        ("target", ["target"], True),
    ],
)
def test_the_only_server_that_is_open_is_not_closed(side, closed, refused):
    assert role("contradicted", REPLICATING, side, closed=closed) is refused


def test_a_bridge_is_left_before_it_is_taken_down():
    assert role("bridge_open", REPLICATING, measured=["bridge"]) is True
    assert role("bridge_open", REPLICATING, measured=["bridge"], closed=["target"]) is False
    assert role("bridge_open", PREPARED) is False
