# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever dies on the way, and whenever: the next command finds a way, and nothing that was acknowledged is lost.

Each story begins and ends with a source that serves and a target that is equal to it.
"""

from fault_story import goes_back, nothing_is_lost, was_left, writers_go_on
from migration_story import Run, lab

testinfra_hosts = ["ansible://storage_source"]


def test_a_second_cutover_is_refused_and_told_who_works_and_the_first_is_not_disturbed(host, tmp_path):
    first = Run("storage_cutover")
    assert first.wait_for("lock")
    second = Run("storage_cutover")
    assert second.process.wait(timeout=200) != 0
    assert "Another run holds this migration" in second.output()
    assert "process %d" % first.process.pid in second.output()
    assert "changed=0" in second.output() and "changed=1" not in second.output()
    assert first.end() == 0, first.output()[-5000:]
    was_left(host, tmp_path)
    goes_back(host, tmp_path)
    assert host.run("touch /srv/files/.seamless-sentinel").rc == 0


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
