# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a process of its own, real processes."""

import os
import signal
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.host.job import Job, begin_or_look


class OurError(Exception):
    """An error that tells what to do."""

    def __init__(self, message, code=0):
        super().__init__(message)
        self.code = code


@pytest.fixture
def job(tmp_path):
    return Job(str(tmp_path / "jobs"), "compare-1", OurError)


def ended(pid):
    """Whether a process is gone within 10 s."""
    for _attempt in range(100):
        try:
            os.kill(pid, 0)
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_short_work_is_done_at_the_first_look_and_nothing_is_left(job, tmp_path):
    assert begin_or_look(job, lambda: {"equal": True}, 10, 60) == {"equal": True, "state": "done"}
    assert os.listdir(str(tmp_path / "jobs")) == []


def test_long_work_is_looked_at_and_not_begun_again(job, tmp_path):
    begun, goes_on = tmp_path / "begun", tmp_path / "go"

    def work():
        with open(str(begun), "a", encoding="utf-8") as stream:
            stream.write("x")
        job.tell({"entries": 5})
        while not goes_on.exists():
            time.sleep(0.05)
        return {"entries": 9}

    assert begin_or_look(job, work, 0.5, 60) == {"state": "running", "progress": {"entries": 5}}
    assert begin_or_look(Job(os.path.dirname(job.folder), job.name, OurError), work, 0.1, 60)["state"] == "running"
    goes_on.touch()
    assert begin_or_look(job, work, 10, 60) == {"entries": 9, "state": "done"}
    assert begun.read_text() == "x"


def test_its_folders_are_for_its_owner_only(job, tmp_path):
    job.open()
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "jobs", tmp_path / "jobs" / job.name)] == [0o700, 0o700]


def test_what_it_raised_is_raised_with_its_number(job, tmp_path):
    def work():
        raise OurError("the disk is full. Make room", code=28)

    with pytest.raises(OurError, match="disk is full") as caught:
        begin_or_look(job, work, 10, 60)
    assert caught.value.code == 28
    assert os.listdir(str(tmp_path / "jobs")) == []


def test_a_fault_of_ours_is_told_too(job):
    with pytest.raises(OurError, match="ZeroDivisionError"):
        begin_or_look(job, lambda: 1 / 0, 10, 60)


def pid_of(job):
    """Wait for the process of a job: on a busy machine it needs a moment to tell its number."""
    end = time.monotonic() + 30
    while job.read()["pid"] is None and time.monotonic() < end:
        time.sleep(0.05)
    return job.read()["pid"]


def test_work_that_is_killed_is_told_and_can_be_begun_again(job):
    begin_or_look(job, lambda: time.sleep(60), 0.2, 60)
    os.kill(pid_of(job), signal.SIGKILL)
    with pytest.raises(OurError, match="ended from outside"):
        begin_or_look(job, lambda: {}, 10, 60)
    assert begin_or_look(job, lambda: {"again": 1}, 10, 60)["again"] == 1


def test_work_that_nobody_asks_for_ends_with_its_workers(job, tmp_path):
    def work():
        worker = os.fork()
        if not worker:
            time.sleep(60)
            os._exit(0)
        (tmp_path / "worker").write_text(str(worker))
        time.sleep(60)

    begin_or_look(job, work, 0.3, 1)
    worker = int((tmp_path / "worker").read_text())
    assert ended(pid_of(job))
    assert ended(worker)


def test_work_that_somebody_asks_for_goes_on(job):
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert begin_or_look(job, lambda: time.sleep(8), 0.2, 2)["state"] == "running"
    os.kill(pid_of(job), signal.SIGKILL)


def test_what_jobs_left_is_forgotten_after_a_day(job, tmp_path):
    for name, age in (("compare-old", 90000), ("compare-new", 3600)):
        folder = tmp_path / "jobs" / name
        folder.mkdir(parents=True)
        (folder / "asked").touch()
        os.utime(str(folder / "asked"), (time.time() - age, time.time() - age))
    begin_or_look(job, lambda: {}, 10, 60)
    assert os.listdir(str(tmp_path / "jobs")) == ["compare-new"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_a_name_that_is_none(tmp_path, name):
    with pytest.raises(OurError, match="is no name"):
        Job(str(tmp_path), name, OurError)
