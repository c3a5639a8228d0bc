# SPDX-License-Identifier: GPL-3.0-or-later
"""One of the servers dies, is stopped or cut off at each step of a switchover."""

import os
import time

import pytest
from bed import POINTS, Writers, paused, switched, until, verdict


def break_and_go_on(bed, node, point, breaks, mends, **more):
    """Break a server while the module waits at a point, let it go on, mend the server. Returns what the module said."""
    process = paused(bed, point, **more)
    breaks(node)
    process.go_on(point)
    time.sleep(1)
    mends(node)
    result = process.end()
    node.wait_until_up()
    return result


def connected(bed):
    """Whether each server reads from the other one."""
    return all(row["Replica_IO_Running"] == "Yes" for node in bed.nodes for row in node.run("SHOW REPLICA STATUS"))


def after_a_fault(bed, writers, result):
    """The module came to a whole state, or says what to do, and doing that leads there."""
    if result["failed"]:
        assert any(
            words in result["msg"] for words in ("put back", "Nothing was changed", "stay", "could not be put back")
        ), result["msg"]
        until(lambda: connected(bed))  # a channel whose source was away is refused until it has found it again
        result = bed.switch()
    elif result["state"] == "unknown":  # all is done, and the server is not back yet when the module looks a last time
        assert result["complete"]
        result = bed.switch()
    assert switched(result)
    return verdict(bed, writers, "old", "new")


# What is done to a server, and what brings it back.
FAULTS = {
    "killed": (lambda node: node.shell("systemctl kill -s KILL mysql"), lambda node: node.wait_until_up()),
    "stopped": (lambda node: node.shell("systemctl stop mysql"), lambda node: node.shell("systemctl start mysql")),
    "cut off": (lambda node: node.lab_does("cut"), lambda node: node.lab_does("mend")),
}
# FAULTS=all also stops and cuts off at each point, not only where much is under way.
BUSY = ("low_lag.done", "fence.done", "proof.done", "commit.done", "open_target.done")
CASES = [
    (fault, point)
    for fault in FAULTS
    for point in (POINTS if fault == "killed" or os.environ.get("FAULTS") == "all" else BUSY)
]


@pytest.mark.parametrize("side", ["old", "new"])
@pytest.mark.parametrize(("fault", "point"), CASES)
def test_a_server_that_is_lost_at_a_point(bed, side, fault, point):
    with Writers(bed) as writers:
        result = break_and_go_on(bed, getattr(bed, side), point, *FAULTS[fault])
        assert after_a_fault(bed, writers, result)


def test_a_target_that_stays_away_leaves_nobody_writing_and_says_how_to_go_on(bed):
    with Writers(bed) as writers:
        process = paused(bed, "drain.done", reach_timeout=3)
        bed.new.shell("systemctl stop mysql")
        process.go_on("drain.done")
        result = process.end()
        assert result["failed"]
        assert "Both servers stay fenced" in result["msg"]
        assert bed.old.fenced()
        forced = bed.switch(reach_timeout=3, force=["peer_unreachable"])
        assert (forced["state"], forced["recovered"]) == ("source_open", "put_back")
        writers.wait_for_writes()
        bed.new.shell("systemctl start mysql")
        bed.new.wait_until_up()
        assert verdict(bed, writers, "old")
