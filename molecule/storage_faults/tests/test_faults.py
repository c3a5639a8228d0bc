# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever dies on the way, and whenever: the next command finds a way, and nothing that was acknowledged is lost.

Each story begins and ends with a source that serves and a target that is equal to it.
"""

import signal

import pytest
from story import (
    Run,
    goes_back,
    kill_while_nobody_can_write,
    lab,
    nothing_is_lost,
    other,
    state_of,
    writers_go_on,
)

testinfra_hosts = ["ansible://storage_source"]


@pytest.fixture(name="first", scope="module")
def _first():
    """A cutover whose controller dies while nobody can write."""
    return Run("storage_cutover", at=("window_opened",), act=kill_while_nobody_can_write)


def test_a_second_cutover_is_refused_and_told_who_works(first):
    assert first.wait_for("lock")
    second = Run("storage_cutover")
    assert second.process.wait(timeout=200) != 0
    assert "Another run holds this migration" in second.output()
    assert "process %d" % first.process.pid in second.output()
    assert "changed=0" in second.output() and "changed=1" not in second.output()


def test_a_freeze_whose_controller_was_killed_is_put_back_by_the_rollback(first, host, tmp_path):
    assert first.end() == -signal.SIGKILL
    assert not first.saw("committed")
    assert state_of(host) in ("freezing", "drained")
    goes_back(host, tmp_path)
    assert host.run("touch /srv/files/.seamless-sentinel").rc == 0


def test_a_committed_cutover_that_never_opened_the_target_goes_back(host, tmp_path):
    killed = Run("storage_cutover", at=("committed",), act=Run.kill)
    assert killed.end() == -signal.SIGKILL
    assert state_of(host) == "committed"
    assert not other(host).service("upload").is_running
    goes_back(host, tmp_path)


def test_a_link_that_breaks_in_the_freeze_leaves_the_source_serving(host, tmp_path):
    cut = Run("storage_cutover", at=("window_opened",), act=lambda run: lab("cut", "files_new"))
    try:
        assert cut.end() != 0
    finally:
        lab("mend", "files_new")
    assert cut.saw("undone", "freeze") and not cut.saw("committed")
    assert host.service("upload").is_running
    assert writers_go_on()
    assert nothing_is_lost("files_old", tmp_path)
