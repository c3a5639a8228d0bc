# SPDX-License-Identifier: GPL-3.0-or-later
"""The limit over many processes, with real processes."""

import os
import random
import subprocess
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.rsync import partitions, throttle, workers


@pytest.fixture
def held():
    made = throttle.Throttle(4096)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def writers(held):
    argv = ["dd", "if=/dev/zero", "of=/dev/null", "bs=16k"]
    running = [subprocess.Popen(argv, stderr=subprocess.DEVNULL) for _number in range(3)]
    for process in running:
        held.add(process.pid)
    yield running
    for process in running:
        process.kill()
        process.wait()


def state(process):
    with open("/proc/%d/stat" % process.pid) as stream:
        return stream.read().rsplit(") ", 1)[1][0]


def test_a_pause_stops_all_and_going_on_wakes_all(held, writers):
    held.set(0, True)
    time.sleep(0.5)
    assert [state(process) for process in writers] == ["T"] * 3
    held.set(0, False)
    time.sleep(0.5)
    assert "T" not in [state(process) for process in writers]


def test_a_process_that_comes_during_a_pause_is_stopped_too(held):
    held.set(0, True)
    time.sleep(0.3)
    process = subprocess.Popen(["sleep", "60"])
    try:
        held.add(process.pid)
        time.sleep(0.3)
        assert state(process) == "T"
    finally:
        process.kill()
        process.wait()


def test_the_bytes_of_a_process_that_ended_are_counted_by_what_it_said(held):
    process = subprocess.Popen(["true"])
    held.add(process.pid)
    process.wait()
    held.remove(process.pid, 1 << 30)
    assert held.total >= 1 << 30


def test_the_bytes_of_this_process_can_be_told():
    before = throttle.written(os.getpid())
    with open(os.devnull, "wb", buffering=0) as stream:
        stream.write(b"x" * 1000)
    assert throttle.written(os.getpid()) - before >= 1000
    assert throttle.written(2 ** 22 + 5) is None


RATE = 1 << 20


def sent_in(seconds, speed, late, rate=RATE):
    """Bytes that processes of this speed together send under a limit. late: function to seconds that a look is late."""
    bucket, now, total, wait = throttle.Bucket(0.0), 0.0, 0, False
    while now < seconds:
        wait, pause = bucket.look(now, rate)
        pause += late()
        total += 0 if wait else int(speed * pause)
        bucket.spend(0 if wait else int(speed * pause))
        now += pause
    return total


@pytest.mark.parametrize("workers_together", [1.2, 2, 4.4])
@pytest.mark.parametrize("latest", [0.0, 0.05, 0.3])
def test_the_limit_holds_within_a_tenth_however_late_the_looks_come(workers_together, latest):
    random.seed(1)
    total = sent_in(30, workers_together * RATE, lambda: random.uniform(0, latest))
    assert 0.9 * 30 * RATE < total < 1.1 * 30 * RATE


def test_what_was_not_used_is_not_saved_up():
    bucket = throttle.Bucket(0.0)
    assert bucket.look(3600.0, RATE)[0] is False
    bucket.spend(RATE)
    wait, seconds = bucket.look(3600.0, RATE)
    assert wait
    assert seconds == 0.5
    assert bucket.look(3600.7, RATE)[0] is True
    assert bucket.look(3600.9, RATE)[0] is False


def test_a_debt_is_forgiven_when_the_limit_is_lifted():
    bucket = throttle.Bucket(0.0)
    bucket.spend(1 << 40)
    assert bucket.look(1.0, 0)[0] is False
    assert bucket.look(2.0, RATE)[0] is False


def test_the_limits_that_workers_have_of_their_own_let_them_use_everything_and_run_ahead_not_far():
    partition = partitions.Partition(1, partitions.PLAIN, 1000, 1 << 20)
    steady = [workers.pace(partition, 8192, 7)] * 8
    assert 8192 < sum(steady) <= 2.5 * 8192
    assert workers.pace(partition, 8192, 0) == 8192
    assert workers.pace(partition, 1, 63) == 1
    assert workers.pace(partition, 0, 3) == 0
    assert workers.pace(partitions.Partition(1, partitions.PLAIN, 1, 1 << 30), 8192, 3) == 0


def test_the_last_rsyncs_may_use_what_the_others_have_left():
    assert workers.leave_unused([2048], 8192)
    assert workers.leave_unused([2048, 2048], 8192)
    assert not workers.leave_unused([2048, 2048, 2048], 8192)
    assert not workers.leave_unused([2048, 0], 8192)
    assert not workers.leave_unused([], 8192)
    assert not workers.leave_unused([2048], 0)


def runs(held):
    """Whether the clock of the processes goes."""
    before = held.let_run(time.monotonic())
    time.sleep(0.2)
    return held.let_run(time.monotonic()) > before


def within(seconds, that):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if that():
            return True
    return False


def test_the_clock_of_the_processes_stands_while_they_are_stopped(held):
    assert runs(held)
    held.set(0, True)
    assert within(30, lambda: not runs(held))
    held.set(0, False)
    assert within(30, lambda: runs(held))
