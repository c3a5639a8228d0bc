# SPDX-License-Identifier: GPL-3.0-or-later
"""storage_info as Ansible runs it: what it tells of a tree, and what it refuses."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from ansible_collections.seamless.migration.plugins.modules import storage_info

COLLECTIONS = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..", "build", "collections"))
RUN = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from ansible_collections.seamless.migration.plugins.modules import storage_info
storage_info.main()
"""


def run(**params):
    """Run the module in a process of its own. Returns what it prints, as dict."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, COLLECTIONS],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        check=False, timeout=60,
    )
    assert done.stdout, done.stderr.decode()
    result = json.loads(done.stdout.decode().splitlines()[-1])
    assert done.returncode == (1 if result.get("failed") else 0)
    return result


@pytest.fixture
def tree(tmp_path):
    """Two names of one file, a file in a folder, a link that leads nowhere, and the sentinel of the migration."""
    (tmp_path / "tree" / "folder").mkdir(parents=True)
    (tmp_path / "tree" / "one").write_bytes(b"12345")
    os.link(str(tmp_path / "tree" / "one"), str(tmp_path / "tree" / "two"))
    (tmp_path / "tree" / "folder" / "three").write_bytes(b"123")
    (tmp_path / "tree" / "link").symlink_to("nowhere")
    (tmp_path / "tree" / ".seamless-sentinel").write_bytes(b"files2026 data\n")
    return tmp_path / "tree"


def test_a_tree_is_counted_without_the_files_of_the_migration(tree):
    found = run(trees=[str(tree)], walk_seconds=30)
    assert found["changed"] is False
    (facts,) = found["trees"]
    assert facts["counts"] == {"files": 4, "directories": 1, "bytes": 13, "hard_linked": 2, "complete": True}
    assert (facts["path"], facts["exists"], facts["empty"], facts["mountpoint"]) == (str(tree), True, False, False)
    assert facts["free_bytes"] > 0


def test_a_tree_with_nothing_but_the_sentinel_is_empty_and_is_not_counted_unasked(tmp_path):
    (tmp_path / ".seamless-sentinel").write_bytes(b"")
    (facts,) = run(trees=[str(tmp_path)])["trees"]
    assert facts["empty"] is True
    assert not {"counts", "open_files"} & set(facts)


def test_trees_come_in_the_order_asked_for_and_a_missing_one_is_no_failure(tree):
    missing = str(tree / "not-there")
    facts = run(trees=[missing, str(tree)], walk_seconds=30, open_files=True)["trees"]
    assert (facts[0]["path"], facts[0]["exists"], facts[0]["is_link"]) == (missing, False, False)
    assert facts[0]["free_bytes"] > 0  # of the file system that it would be made on
    assert facts[1]["path"] == str(tree)


def test_the_process_that_writes_to_a_tree_is_named(tree):
    with open(str(tree / "log"), "w"):
        (facts,) = run(trees=[str(tree)], open_files=True)["trees"]
    assert [(one["pid"], one["path"]) for one in facts["open_files"]] == [(os.getpid(), "log")]


def test_the_host_tells_its_versions_accounts_and_limits():
    host = run()["host"]
    assert host["users"]["root"] == 0
    assert host["rsync"] and host["clock"] > 0 and host["inotify"]["max_user_watches"] > 0


def test_check_mode_tells_the_same(tree):
    told = [run(trees=[str(tree)], walk_seconds=30, _ansible_check_mode=check) for check in (False, True)]
    assert told[0]["trees"][0]["counts"] == told[1]["trees"][0]["counts"]


@pytest.mark.parametrize("path", ["srv/files", "", "../files"])
def test_a_path_that_is_not_absolute_is_refused_before_anything_is_read(path):
    found = run(trees=["/", path], walk_seconds=30)
    assert found["failed"] is True
    assert found["msg"] == "Failed to look at the storage host: trees: %r is not an absolute path." % path


def test_a_newline_in_a_path_is_refused():
    found = run(trees=["/srv/a\nb"])
    assert found["failed"] is True
    assert "trees" in found["msg"] and "Failed to look at the storage host" in found["msg"]


def test_every_key_of_a_tree_is_documented(tree):
    documented = yaml.safe_load(storage_info.RETURN)["trees"]["contains"]
    (facts,) = run(trees=[str(tree)], walk_seconds=30, open_files=True)["trees"]
    assert set(facts) == set(documented)
    assert set(facts["counts"]) == set(documented["counts"]["contains"])
