# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a storage host are read as they are."""

import os
import subprocess
import sys

from ansible_collections.seamless.migration.plugins.module_utils.storage import facts


def test_of_a_missing_tree_the_file_system_is_told_on_which_it_would_be_made(tmp_path):
    found = facts.tree_facts(str(tmp_path / "not" / "there"), 10)
    here = facts.tree_facts(str(tmp_path), 0)
    assert found["exists"] is False
    assert [found[name] for name in ("mount", "fstype", "name_max")] == [
        here[name] for name in ("mount", "fstype", "name_max")
    ]
    assert found["free_bytes"] > 0
    assert found["device"] == here["device"] == os.stat(str(tmp_path)).st_dev
    assert "counts" not in found
    assert "empty" not in found


def test_a_tree_with_only_our_files_is_empty(tmp_path):
    (tmp_path / ".seamless-sentinel").write_text("x")
    assert facts.tree_facts(str(tmp_path), 0)["empty"] is True
    (tmp_path / "a").write_text("x")
    assert facts.tree_facts(str(tmp_path), 0)["empty"] is False


def test_the_walk_counts_files_directories_bytes_and_hard_links(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"12345")
    os.link(str(tmp_path / "d" / "a"), str(tmp_path / "b"))
    os.symlink("nowhere", str(tmp_path / "link"))
    with open(os.fsencode(str(tmp_path)) + b"/bad\xff\nname", "wb"):
        pass
    (tmp_path / ".seamless-sentinel").write_text("x")
    counts = facts.walk_counts(str(tmp_path), 10)
    assert counts == {"files": 4, "directories": 1, "bytes": 10, "hard_linked": 2, "complete": True}


def test_a_walk_out_of_time_says_that_it_is_incomplete(tmp_path):
    assert facts.walk_counts(str(tmp_path), -1)["complete"] is False


def test_mountinfo_is_read_with_its_escapes(tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "2 1 8:2 / /srv/with\\040blank ro,relatime shared:2 master:1 - xfs /dev/sdb1 rw,attr2\n"
    )
    found = facts.mounts(str(table))
    assert found[1]["path"] == "/srv/with blank"
    assert found[1]["fstype"] == "xfs"
    assert "ro" in found[1]["options"] and "rw" not in found[1]["options"]


def test_the_mount_of_a_path_is_the_longest_and_last_one():
    table = [{"path": "/"}, {"path": "/srv"}, {"path": "/srv/files"}, {"path": "/srv/files", "top": True}]
    assert facts.mount_of("/srv/files/a", table) == {"path": "/srv/files", "top": True}
    assert facts.mount_of("/srv/filesystem", table) == {"path": "/srv"}


def test_the_version_of_a_program_is_found_and_a_missing_one_is_none():
    assert facts.version_of(["rsync", "--version"]).count(".") >= 1
    assert facts.version_of(["no-such-program-here"]) is None


def test_host_facts_name_versions_limits_and_accounts():
    found = facts.host_facts()
    assert found["users"]["root"] == 0
    assert found["inotify"]["max_user_watches"] > 0
    assert found["rsync_features"] == {"acls": True, "xattrs": True}


def test_a_file_open_for_writing_is_found_with_its_process(tmp_path):
    with open(str(tmp_path / "log"), "w"), open(str(tmp_path / "log")):
        hold = "import sys; f = open(sys.argv[1], 'a'); print(1, flush=True); input()"
        command = [sys.executable, "-c", hold, str(tmp_path / "log")]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holder.stdout.readline()
        found = facts.open_for_writing(str(tmp_path))
        holder.communicate(b"\n")
    assert [(one["pid"], one["path"]) for one in found] == [(holder.pid, "log")]
    assert facts.open_for_writing(str(tmp_path)) == []
