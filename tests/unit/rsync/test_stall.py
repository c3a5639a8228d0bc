# SPDX-License-Identifier: GPL-3.0-or-later
"""An rsync that stands still is told from one that is slow, by a clock of the test's own."""

import os
import signal
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.rsync import exit_codes, partitions, stall, workers


def stands_after(watch, counts, seconds=100000, step=5):
    """Seconds until it stands still, or None. counts: from the second to (bytes read, bytes written)."""
    return next((now for now in range(0, seconds, step) if watch.stands(now, *counts(now))), None)


def test_keepalives_into_a_dead_link_are_no_sign_of_life():
    watch = stall.Stall(60, True, 0)
    assert stands_after(watch, lambda now: (5 << 20, (3 << 20) + 4 * (now // 30))) == 125


def test_a_slow_transfer_goes_on():
    assert stands_after(stall.Stall(60, True, 0), lambda now: (100 * now, 50 * now)) is None


def test_two_rsyncs_that_only_keep_each_other_company_are_ended_in_the_end():
    watch = stall.Stall(60, True, 0)
    assert stands_after(watch, lambda now: (5000 + 4 * (now // 30), 5000 + 4 * (now // 30))) == 605


def test_a_look_at_a_whole_tree_may_be_idle_while_the_other_side_lives():
    assert stands_after(stall.Stall(60, False, 0), lambda now: (4 * (now // 30), 4 * (now // 30))) is None
    assert stands_after(stall.Stall(60, False, 0), lambda now: (0, 4 * (now // 30))) == 125


def test_what_was_silent_before_it_moved_starts_anew():
    watch = stall.Stall(2, True, 0)
    assert not watch.stands(4, 10, 10)
    assert not watch.stands(8, 10, 10)
    assert not watch.stands(8.1, 11, 10)
    assert not watch.stands(12, 11, 10)
    assert watch.stands(12.2, 11, 10)


def test_the_bytes_of_a_process_that_is_gone_cannot_be_told():
    read, written = stall.moved(os.getpid())
    assert read > 0
    assert written >= 0
    assert stall.moved(2 ** 22 + 5) is None


@pytest.mark.parametrize("argv", [
    ["sleep", "60"],
    ["sh", "-c", "trap '' TERM; exec sleep 60"],
])
def test_a_worker_that_stands_still_is_ended_and_counts_as_timed_out(tmp_path, argv, monkeypatch):
    monkeypatch.setattr(workers, "_LAST_WORDS", 1)
    worker = workers.Worker(argv, partitions.Partition(1, partitions.PLAIN, 1, 1), 1, str(tmp_path / "words"))
    end = time.monotonic() + 60
    while worker.poll() is None and time.monotonic() < end:
        worker.watch(time.monotonic(), 1)
        time.sleep(0.1)
    worker.wait(0)
    assert worker.process.returncode in (-signal.SIGTERM, -signal.SIGKILL)
    assert worker.outcome("/src", False).verdict.action == exit_codes.RETRY


def test_a_worker_that_ended_by_itself_is_not_watched_any_more(tmp_path):
    worker = workers.Worker(["true"], partitions.Partition(1, partitions.PLAIN, 1, 1), 1, str(tmp_path / "words"))
    worker.wait(10)
    worker.watch(1000.0, 1)
    assert worker.outcome("/src", False).verdict.fine
