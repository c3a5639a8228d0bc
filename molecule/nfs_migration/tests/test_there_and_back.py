# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clients write, hold files, locks and a working directory while their server moves, and while it moves back."""

import sys

import pytest
from migration_story import ROOT, STATE, play, verdict
from nfs_story import CLIENTS, hosts, locks_are_honoured, served_by

sys.path.insert(0, str(ROOT / "build" / "collections"))
from ansible_collections.seamless.migration.plugins.module_utils import journal, journal_schema  # noqa: E402 - after the path is set


@pytest.fixture(name="everybody", scope="module")
def _everybody():
    return hosts()


def test_the_new_server_exports_the_tree_and_nobody_can_write_there_yet(everybody):
    new = everybody["nfs_new"]
    assert "fsid=27" in new.check_output("exportfs -s")
    assert "Read-only file system" in new.run("touch /srv/files/early").stderr
    client = everybody["nfs_client1"]
    client.check_output("mkdir -p /mnt/new && mount -o vers=4.2 nfs-new:/srv/files /mnt/new")
    tried = client.run("runuser -u files touch /mnt/new/early")
    client.check_output("umount /mnt/new")
    assert "Read-only file system" in tried.stderr
    for name in ("v4_end_grace",):
        assert new.file("/proc/fs/nfsd/" + name).content_string.startswith("Y")
    assert new.file("/proc/fs/lockd/nlm_end_grace").content_string.startswith("Y")


def test_locks_are_honoured_before(everybody):
    locks_are_honoured(everybody)


def test_the_clients_are_switched_and_nothing_is_lost(everybody, tmp_path):
    restarts = everybody["nfs_new"].check_output("systemctl show -p ActiveEnterTimestamp nfs-server")
    run = play("storage_cutover")
    served_by(everybody, "nfs_new", left="nfs_old")
    assert everybody["nfs_new"].check_output("systemctl show -p ActiveEnterTimestamp nfs-server") == restarts
    mounts = [entry for entry in run.events() if entry["event"] == "measured" and entry["step"] == "mount"]
    assert {entry["host"] for entry in mounts} == set(CLIENTS)
    for entry in mounts:
        print("%s: switched in %s s, stopped for %s s" % (
            entry["host"], entry["data"]["window_s"], entry["data"]["stopped_s"]))  # fmt: skip
    found = verdict("nfs_new", tmp_path)
    assert found["acknowledged"] > 20
    assert found["windows"][0]["writers"] == len(CLIENTS)


def test_locks_are_honoured_after(everybody):
    locks_are_honoured(everybody)


def test_the_way_back_loses_nothing_either(everybody, tmp_path):
    play("storage_rollback")
    served_by(everybody, "nfs_old", left="nfs_new")
    verdict("nfs_old", tmp_path)
    locks_are_honoured(everybody)


def test_every_event_fits_the_schema():
    events = list(journal.Journal.of(str(STATE), "nfs").read())
    assert [problem for problem in map(journal_schema.problems, events) if problem] == []
