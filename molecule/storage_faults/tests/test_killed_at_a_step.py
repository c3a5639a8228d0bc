# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that dies at any step of the cutover: the same command ends the move, and the way back stays open."""

import signal

import pytest
from story import Run, goes_back, goes_forward, kill_while_nobody_can_write, other, state_of

testinfra_hosts = ["ansible://storage_source"]

# Numbers as in the table of the storage cutover: where the controller is when it dies.
STEPS = [
    pytest.param(("gate",), Run.kill, ("none", "staged", "thawed"), id="3-gates"),
    pytest.param(("window_opened",), Run.kill, ("staged", "thawed", "freezing", "drained"), id="4-window-opens"),
    pytest.param(("window_opened",), kill_while_nobody_can_write, ("freezing", "drained"), id="5-6-drain-and-delta"),
    pytest.param(("started", "commit"), Run.kill, ("drained", "committed"), id="7-drained"),
    pytest.param(("committed",), Run.kill, ("committed",), id="8-committed"),
    pytest.param(("done", "switch"), Run.kill, ("committed",), id="9-clients-switched"),
    pytest.param(("window_closed",), Run.kill, ("committed",), id="10-window-closed"),
]


@pytest.mark.parametrize(("at", "act", "left"), STEPS)
def test_a_cutover_killed_at_this_step_is_completed_by_the_next_one_and_goes_back(host, tmp_path, at, act, left):
    killed = Run("storage_cutover", at=at, act=act)
    assert killed.end() == -signal.SIGKILL
    # What the controller had begun on the host may still go on there for a moment.
    assert host.run("flock --wait 90 /var/lib/seamless-migration/freeze/faults.lock true").rc == 0
    assert state_of(host) in left
    assert not (host.service("upload").is_running and other(host).service("upload").is_running)
    goes_forward(host, tmp_path)
    goes_back(host, tmp_path)
