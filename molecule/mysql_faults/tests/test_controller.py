# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller dies at each step of a switchover: the next run gets to the end, or the way back to the beginning."""

import pytest
from bed import BEFORE_COMMIT, FORWARD, POINTS, Writers, paused, switched, verdict


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_controller_is_run_again_and_gets_to_the_end(bed, point):
    with Writers(bed) as writers:
        paused(bed, point).kill()
        assert switched(bed.switch())
        assert verdict(bed, writers, "old", "new")


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_controller_is_rolled_back(bed, point):
    with Writers(bed) as writers:
        paused(bed, point).kill()
        if not bed.new.run("SHOW REPLICA STATUS"):
            bed.follow(bed.new, bed.old, FORWARD)
        result = bed.switch(back=True)
        assert not result["failed"], result["msg"]
        turns = ("old",) if point in BEFORE_COMMIT else ("old", "new", "old")
        assert verdict(bed, writers, *turns)
