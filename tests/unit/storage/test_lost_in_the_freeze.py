# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that was lost in the freeze has not committed: the other side stays closed. With a real ansible-playbook."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CUTOVER = yaml.safe_load((ROOT / "playbooks/storage_cutover.yml").read_text(encoding="utf-8"))
LOST = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
INVENTORY = {
    "all": {"vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}, "children": {
        "storage_source": {"hosts": {"old": LOST}},
        "storage_target": {"hosts": {"new": {}}},
    }},
}  # fmt: skip


@pytest.fixture
def play(tmp_path):
    """Run plays. Returns what ansible-playbook said."""

    def run(*plays):
        (tmp_path / "inventory.json").write_text(json.dumps(INVENTORY), encoding="utf-8")
        (tmp_path / "play.yml").write_text(json.dumps(plays), encoding="utf-8")
        program = Path(sys.executable).parent / "ansible-playbook"
        done = subprocess.run(
            [str(program), "-i", str(tmp_path / "inventory.json"), str(tmp_path / "play.yml")],
            env=dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(ROOT / "build/collections"), LC_ALL="C.UTF-8"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    return run


def keywords(name):
    """A play of the cutover without what it does."""
    (found,) = [one for one in CUTOVER if one["name"] == name]
    return {key: value for key, value in found.items() if key != "tasks"}


def test_the_playbook_ends_with_the_play_in_which_the_source_is_lost(play):
    freeze = dict(keywords("Freeze the source, let everything arrive, commit"), tasks=[{"ansible.builtin.ping": {}}])
    opened = dict(keywords("Open the target"), tasks=[{"name": "Open it", "ansible.builtin.debug": {}}])
    code, said = play(freeze, opened)
    assert code != 0
    assert "UNREACHABLE" in said
    assert "Open it" not in said


@pytest.mark.parametrize("part", ["open.yml", "switch.yml"])
@pytest.mark.parametrize("commit", [None, {"unreachable": True, "changed": False}, {"state": "drained"}])
def test_nothing_is_opened_or_switched_that_was_not_committed(play, part, commit):
    """Not even where a play of somebody else goes on."""
    known = {"__storage_cutover_info": {"state": "drained"}}
    if commit:
        known["__storage_cutover_commit"] = commit
    facts = {"hosts": "storage_source", "gather_facts": False, "tasks": [
        {"ansible.builtin.set_fact": known, "delegate_to": "new"}]}  # fmt: skip
    role = {"ansible.builtin.include_role": {"name": "seamless.migration.storage_cutover", "tasks_from": part}}
    code, said = play(facts, {"hosts": "storage_target", "gather_facts": False, "tasks": [role]})
    assert code != 0
    assert "old was lost before it committed" in said
