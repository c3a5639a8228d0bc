# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is lost in the window, whichever it is, leaves the others working and nothing lost. The order matters."""

import re

import pytest
from migration_story import Run, lab, play, until_nobody_can_write, verdict
from nfs_story import CLIENTS, HOLDER, TOP, WRITER, hosts, served_by, source, writes_on


@pytest.fixture(name="everybody", scope="module")
def _everybody():
    return hosts()


def dies_while_nobody_can_write(_run):
    until_nobody_can_write("nfs_old")
    lab("kill", "nfs_old")


def test_an_old_server_that_dies_in_the_freeze_is_waited_for_and_serves_again(everybody, tmp_path):
    run = Run("storage_cutover", at=("window_opened",), act=dies_while_nobody_can_write)
    assert run.end() != 0
    assert not run.saw("committed")
    lab("start", "nfs_old")
    for name in CLIENTS:
        assert source(everybody[name]) == "nfs-old:/srv/files"
        assert writes_on(everybody[name], within=400)  # by the dead-man of the client, when the server answers again
        assert everybody[name].service(HOLDER).is_running
    verdict("nfs_old", tmp_path)
    play("storage_verify")


def test_an_old_server_that_is_dead_after_the_commit_does_not_keep_the_clients(everybody, tmp_path):
    run = Run("storage_cutover", at=("committed",), act=lambda _run: lab("kill", "nfs_old"))
    assert run.end() != 0  # what is left to do there could not be done
    for name in CLIENTS:
        assert source(everybody[name]) == "nfs-new:/srv/files"
        assert writes_on(everybody[name])
    lab("start", "nfs_old")
    again = play("storage_cutover").output()
    changed = dict(re.findall(r"^(nfs_client[0-9]) .*?changed=([0-9]+)", again, re.MULTILINE))
    assert changed == dict.fromkeys(CLIENTS, "0")  # they were switched already
    served_by(everybody, "nfs_new", left="nfs_old")
    verdict("nfs_new", tmp_path)


def test_a_client_that_is_switched_off_on_the_way_back_is_left_behind_and_comes_back(everybody, tmp_path):
    lost, other = everybody["nfs_client1"], everybody["nfs_client2"]
    # Its log would not outlive the loss of power. What it holds open keeps the server that is left from being closed.
    lost.check_output("systemctl stop %s" % WRITER)
    quorum = {"storage_cutover_nfs_quorum": 50, "storage_cutover_nfs_timeout": 30}
    run = Run("storage_rollback", at=("window_opened",), act=lambda _run: lab("kill", "nfs_client1"), extra=quorum)
    assert run.end() == 0, run.output()[-5000:]
    assert run.gate("clients_switched") == {"ok"}
    assert "nfs_client1" in run.output().split("Say who was left behind")[1]
    assert source(other) == "nfs-old:/srv/files"
    assert writes_on(other)
    lab("start", "nfs_client1")
    lost.check_output("mount %s" % TOP)
    assert source(lost) == "nfs-new:/srv/files"
    assert "Read-only file system" in lost.run("runuser -u files touch %s/late" % TOP).stderr
    lost.check_output("systemctl start %s" % WRITER)  # which tries until it may write
    play("storage_rollback")
    lost.check_output("systemctl start %s" % HOLDER)
    served_by(everybody, "nfs_old", left="nfs_new")
    verdict("nfs_old", tmp_path)
