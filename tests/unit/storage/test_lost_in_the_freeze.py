# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that was lost in the freeze has not committed: the other side stays closed. With a real ansible-playbook."""

from pathlib import Path

import plays
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CUTOVER = yaml.safe_load((ROOT / "playbooks/storage_cutover.yml").read_text(encoding="utf-8"))
LOST = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
INVENTORY = {
    "all": {"vars": plays.LOCAL, "children": {
        "storage_source": {"hosts": {"old": LOST}},
        "storage_target": {"hosts": {"new": {}}},
    }},
}  # fmt: skip


@pytest.fixture
def play(tmp_path):
    """Run plays. Returns the exit code of ansible-playbook and what it said."""

    def run(*made):
        done = plays.run(tmp_path, made, inventory=INVENTORY)
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
    assert "old was lost before it said that it has committed" in " ".join(said.split())
