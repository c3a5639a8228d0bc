# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role storage_cutover does with NFS clients: its tasks, and what it computes."""

from pathlib import Path

import yaml

TASKS = Path(__file__).resolve().parents[3] / "roles/storage_cutover/tasks"


def tasks(name):
    """All tasks of a file, those of blocks too."""
    waiting = yaml.safe_load((TASKS / name).read_text(encoding="utf-8"))
    found = []
    while waiting:
        task = waiting.pop(0)
        found.append(task)
        waiting[:0] = task.get("block", []) + task.get("rescue", []) + task.get("always", [])
    return found


def mount(name, state):
    """What the module nfs_mount is told there."""
    found = [task["seamless.migration.nfs_mount"] for task in tasks(name) if "seamless.migration.nfs_mount" in task]
    (told,) = [told for told in found if told["state"] == state]
    return told


def test_the_rehearsal_asks_for_what_the_switch_will_do():
    rehearsed, switched = mount("gates_nfs.yml", "rehearsed"), mount("switch.yml", "switched")
    own = {"state", "force", "rehearse", "check_timeout"}
    assert {key: switched[key] for key in set(switched) - own} == {key: rehearsed[key] for key in set(rehearsed) - own}
