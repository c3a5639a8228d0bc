# SPDX-License-Identifier: GPL-3.0-or-later
"""A target that is cut off for half a minute when the source is left for good: nobody writes, and nothing is lost."""

import time

from fault_story import goes_back, goes_forward, state_of, was_left
from migration_story import Run, lab

testinfra_hosts = ["ansible://storage_source"]
SECONDS = 30


def cut_for_a_while(_run):
    lab("cut", "files_new")
    try:
        time.sleep(SECONDS)
    finally:
        lab("mend", "files_new")


def test_a_link_that_is_cut_after_the_commit_only_delays_the_move(host, tmp_path):
    cut = Run("storage_cutover", at=("committed",), act=cut_for_a_while)
    code = cut.end()
    assert state_of(host) == "committed"
    if code == 0:
        was_left(host, tmp_path)
    else:
        assert not host.service("upload").is_running
        goes_forward(host, tmp_path)
    goes_back(host, tmp_path)
