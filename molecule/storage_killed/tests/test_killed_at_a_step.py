# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that dies at any step of the cutover: the same command ends the move, the rollback undoes it."""

import signal

import pytest
from fault_story import goes_back, goes_forward, kill_while_nobody_can_write, other, state_of
from migration_story import Run

testinfra_hosts = ["ansible://storage_source"]

# Numbers as in the table of the storage cutover: where the controller is when it dies, and what the source may be then.
STEPS = {
    "3-gates": (("gate",), Run.kill, ("none", "staged", "thawed")),
    "4-window-opens": (("window_opened",), Run.kill, ("staged", "thawed", "freezing", "drained")),
    "5-6-drain-and-delta": (("window_opened",), kill_while_nobody_can_write, ("freezing", "drained")),
    "7-drained": (("started", "commit"), Run.kill, ("drained", "committed")),
    "8-committed": (("committed",), Run.kill, ("committed",)),
    "9-clients-switched": (("done", "switch"), Run.kill, ("committed",)),
    "10-window-closed": (("window_closed",), Run.kill, ("committed",)),
}


def dies(host, step):
    """Begin a cutover and kill its controller at that step."""
    at, act, left = STEPS[step]
    killed = Run("storage_cutover", at=at, act=act)
    assert killed.end() == -signal.SIGKILL
    # What the controller had begun on the host may still go on there for a moment.
    assert host.run("flock --wait 90 /var/lib/seamless-migration/freeze/faults.lock true").rc == 0
    assert state_of(host) in left
    assert not (host.service("upload").is_running and other(host).service("upload").is_running)


@pytest.mark.parametrize("step", STEPS)
def test_a_cutover_killed_at_this_step_is_rolled_back(host, tmp_path, step):
    dies(host, step)
    goes_back(host, tmp_path)


@pytest.mark.parametrize("step", STEPS)
def test_the_next_cutover_goes_on_after_one_that_was_killed_and_reaches_this_step(host, step):
    """Each of them begins with what the one before has left when it died, and dies later than that one."""
    dies(host, step)


def test_the_cutover_after_all_these_ends_the_move_and_the_way_back_is_open(host, tmp_path):
    goes_forward(host, tmp_path)
    goes_back(host, tmp_path)
