# SPDX-License-Identifier: GPL-3.0-or-later
"""The module tree_compare, run as Ansible runs it."""

import json
import os
import subprocess
import sys

import plays
import pytest
import yaml
from ansible_collections.seamless.migration.plugins.doc_fragments import job
from ansible_collections.seamless.migration.plugins.modules import tree_compare

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


class Host:
    """Two equal trees and the module."""

    def __init__(self, folder):
        self.folder = folder
        self.source = folder / "source"
        self.dest = folder / "dest"
        for root in (self.source, self.dest):
            (root / "sub").mkdir(parents=True)
            (root / "sub" / "file").write_text("content")
            for path in (root / "sub" / "file", root / "sub", root):
                os.utime(path, (10, 10))

    def run(self, check=False, **options):
        options.setdefault("path", str(self.source))
        options.setdefault("work_dir", str(self.folder / "work"))
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": dict(options, _ansible_check_mode=check)})
        done = subprocess.run(
            [sys.executable, "-m", "ansible_collections.seamless.migration.plugins.modules.tree_compare"],
            input=arguments.encode(),
            stdout=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=os.path.join(ROOT, "build", "collections"), PYTHONWARNINGS="ignore"),
            check=False,
        )
        return json.loads(done.stdout.decode().splitlines()[-1])

    def everything(self):
        return sorted(str(path) for path in self.folder.rglob("*"))


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_equal_trees(host):
    answer = host.run(dest=str(host.dest), level="full")
    assert answer["equal"] is True
    assert answer["changed"] is False
    assert answer["counts"]["compared_files"] == 1


def test_a_difference_is_returned_and_written(host):
    (host.dest / "sub" / "file").write_text("Content")
    os.utime(host.dest / "sub" / "file", (10, 10))
    file = host.folder / "differences"
    answer = host.run(dest=str(host.dest), level="full", differences_file=str(file))
    assert answer["equal"] is False
    assert answer["differences"] == [{"path": "sub/file", "kind": "different", "attributes": ["content"]}]
    assert json.loads(file.read_text())["path"] == "sub/file"
    assert answer["differences_file"] == str(file)


def test_manifests_are_made_compared_and_removed_again(host):
    before = host.everything()
    for root in (host.source, host.dest):
        answer = host.run(path=str(root), state="manifest", manifest=".seamless-m", level="full")
        assert answer["manifest"] == str(root / ".seamless-m")
        assert (answer["totals"]["entries"], answer["totals"]["hashed"]) == (3, 1)
        assert os.stat(answer["manifest"]).st_mode & 0o777 == 0o600
    answer = host.run(manifest=".seamless-m", dest_manifest=str(host.dest / ".seamless-m"), level="full")
    assert answer["equal"] is True
    for root in (host.source, host.dest):
        for _time in range(2):
            assert host.run(path=str(root), state="absent", manifest=".seamless-m")["changed"] is False
    assert [path for path in host.everything() if not path.endswith("work")] == before


def test_check_mode_writes_nothing_and_says_that_nothing_was_compared(host):
    before = host.everything()
    assert host.run(check=True, dest=str(host.dest))["equal"] is None
    answer = host.run(check=True, state="manifest", manifest=".seamless-m")
    assert answer["manifest"] == str(host.source / ".seamless-m")
    assert host.everything() == before


def test_check_mode_warns_of_a_root_that_is_not_there_yet(host):
    answer = host.run(check=True, path=str(host.folder / "later"), state="manifest", manifest=".seamless-m")
    assert "failed" not in answer
    assert "Is it mounted" in json.dumps(answer["warnings"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "there is nothing to compare with"),
        ({"dest": "dest"}, "dest is 'dest'. Give an absolute path"),
        ({"dest": "rsync://host"}, "no URL of an rsync daemon"),
        ({"dest": "rsync://host/data/", "level": "metadata"}, "needs dest_manifest"),
        ({"dest": "/x\ny"}, "control characters"),
        ({"dest": "/x", "exclude": ["- a"]}, "is a filter rule"),
        ({"dest": "/x", "level": "touched"}, "needs files_from"),
        ({"dest": "/x", "level": "full", "files_from": "/x"}, "belongs to level touched"),
        ({"dest": "/x", "workers": 0}, "workers is 0"),
        ({"dest": "/x", "level": "sample", "changed_since": "yesterday"}, "changed_since is 'yesterday'"),
        ({"dest": "/x", "level": "sample", "changed_since": "2026-13-01T00:00:00Z"}, "is no time"),
        ({"state": "manifest"}, "needs manifest"),
        ({"state": "manifest", "manifest": "other"}, "would be part of the tree"),
        ({"dest": "/nowhere/at/all"}, "Is it mounted"),
        ({"path": "/nowhere/at/all", "dest": "/x"}, "Failed to compare the tree /nowhere/at/all: /nowhere/at/all: No"),
        ({"path": "/nowhere", "state": "manifest", "manifest": "/tmp/m"}, "Failed to make the manifest of the tree"),
    ],
)
def test_wrong_options_are_told(host, options, message):
    before = host.everything()
    answer = host.run(**options)
    assert answer["failed"] and message in answer["msg"]
    assert [path for path in host.everything() if not path.endswith("work")] == before


def test_a_tree_is_not_compared_with_itself(host):
    assert "always equal to itself" in host.run(dest=str(host.source) + "/.")["msg"]


def test_a_manifest_deep_in_the_tree_is_refused(host):
    answer = host.run(state="manifest", manifest=str(host.source / "sub" / ".seamless-m"))
    assert "would be part of the tree" in answer["msg"]


def test_an_empty_tree_is_refused_unless_it_may_be_empty(host):
    empty = host.folder / "empty"
    empty.mkdir()
    assert "is empty" in host.run(dest=str(empty))["msg"]
    assert host.run(dest=str(empty), allow_empty=True)["counts"]["lost"] == 2


def test_a_root_that_must_be_a_mount_point_is_checked(host):
    assert "not a mount point" in host.run(dest=str(host.dest), require_mountpoint=True)["msg"]


def test_documentation_and_options_agree():
    parts = (job.ModuleDocFragment.DOCUMENTATION, tree_compare.DOCUMENTATION)
    documented = {name: text for part in parts for name, text in yaml.safe_load(part)["options"].items()}
    spec = tree_compare.argument_spec()
    assert set(documented) == set(spec)
    for name, option in spec.items():
        for key in ("type", "default", "choices", "elements", "required"):
            assert documented[name].get(key) == option.get(key), (name, key)


def test_a_job_says_what_the_module_says_without_one(host):
    (host.dest / "sub" / "file").write_text("Content")
    manifest = {"state": "manifest", "manifest": str(host.folder / "m")}
    for options in (manifest, {"dest": str(host.dest), "level": "full"}):
        answer, plain = host.run(job="compare-1", **options), host.run(**options)
        assert answer.pop("state") == "done"
        for one in (answer, plain):
            one.pop("invocation"), one.pop("seconds", None)
        assert answer == plain
    assert os.listdir(str(host.folder / "work")) == []


def test_a_job_that_waits_tells_how_far_it_is_and_ends_with_its_result(host):
    (host.dest / "sub" / "file").write_text("Content")
    options = {"dest": str(host.dest), "level": "full", "live": True, "recheck_delay": 6, "job": "compare-1"}
    answer = host.run(**options)
    assert answer["state"] == "running" and answer["progress"]["phase"] in ("begin", "reading", "comparing", "waiting")
    assert "equal" not in answer
    while answer["state"] == "running":
        answer = host.run(**options)
    assert answer["equal"] is False and answer["counts"]["different"] == 1


def test_a_failure_of_a_job_is_told_as_without_one(host):
    options = {"dest": str(host.dest), "dest_manifest": str(host.dest / "sub" / "file"), "level": "full"}
    answer, plain = host.run(job="compare-1", **options), host.run(**options)
    assert answer["failed"] and answer["msg"] == plain["msg"]


def test_a_playbook_shows_how_far_it_is(host):
    (host.dest / "sub" / "file").write_text("Content")
    task = {"path": str(host.source), "dest": str(host.dest), "level": "full", "live": True, "recheck_delay": 6,
            "work_dir": str(host.folder / "work")}
    variables = dict(plays.LOCAL, tree_compare_progress_interval=0)
    done = plays.run(host.folder, [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [
        {"name": "Compare", "seamless.migration.tree_compare": task, "register": "found"},
        {"name": "Judge", "ansible.builtin.assert": {"that": ["found.counts.different == 1", "'state' not in found"]}},
    ]}])
    assert done.returncode == 0, done.stdout
    assert "localhost %s: waiting, 0/about 1 entries" % host.source in done.stdout, done.stdout
