# SPDX-License-Identifier: GPL-3.0-or-later
"""The limit over many processes, with real processes."""

import os
import subprocess
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.rsync import throttle


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
