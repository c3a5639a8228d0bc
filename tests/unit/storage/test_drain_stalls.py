# SPDX-License-Identifier: GPL-3.0-or-later
"""A transfer of live sync that moves nothing is ended in the drain, and no other process."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze_drain


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setattr(freeze_drain, "STALL_S", 0.6)
    monkeypatch.setattr(freeze_drain, "STALL_LOOK_S", 0.05)
    started = []

    def run(program, *words, name="rsync"):
        folder = tmp_path / str(len(started))
        folder.mkdir()
        shutil.copy(shutil.which(program), folder / name)
        started.append(subprocess.Popen([str(folder / name), *words], stdout=subprocess.DEVNULL))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def look(stalls, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stalls.look()
        time.sleep(0.02)


def test_only_the_transfer_that_stands_still_is_ended(start):
    still, moving, other = start("sleep", "60"), start("yes"), start("sleep", "60", name="guard")
    stalls = freeze_drain.Stalls([os.getpid()])
    look(stalls, 0.3)
    assert stalls.ended == []
    look(stalls, 2)
    assert stalls.ended == [still.pid]
    assert still.wait(timeout=10) == -signal.SIGTERM
    assert moving.poll() is None and other.poll() is None


def test_who_stands_still_again_is_given_more_time(start):
    stalls = freeze_drain.Stalls([os.getpid()])
    first = start("sleep", "60")
    while not stalls.ended:
        look(stalls, 0.05)
    first.wait()
    second = start("sleep", "60")
    begun = time.monotonic()
    while len(stalls.ended) == 1:
        look(stalls, 0.05)
    assert stalls.ended == [first.pid, second.pid]
    assert time.monotonic() - begun > 1.2
