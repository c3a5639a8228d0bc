# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role storage_cutover does with NFS clients: its tasks, and what it computes."""

from pathlib import Path

import plays
import pytest
import role_variables
import yaml
from ansible_collections.seamless.migration.plugins.module_utils.journal import Journal

TASKS = Path(__file__).resolve().parents[3] / "roles/storage_cutover/tasks"
CLIENT = "../../nfs_client/tasks/mount.yml"
LOOK = "../../storage_preflight/tasks/look_at_nfs.yml"


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
    own = {"start_units", "state", "force", "rehearse", "check_timeout", "known_mounts"}
    assert {key: switched[key] for key in set(switched) - own} == {key: rehearsed[key] for key in set(rehearsed) - own}
    for told in (rehearsed, mount(LOOK, "mounted"), mount(CLIENT, "{{ nfs_client_state }}")):
        assert {"known_mounts", "stop_units"} <= set(told)


def test_units_of_a_client_with_two_mounts_start_after_the_last_of_them():
    assert "__storage_cutover_mounts | length == 1" in mount("switch.yml", "switched")["start_units"]
    states = [task["seamless.migration.nfs_mount"]["state"] for task in tasks("switch.yml")
              if "seamless.migration.nfs_mount" in task]  # fmt: skip
    assert states == ["switched", "resumed"]


CLIENTS = ["app1", "app2", "app3"]
MOUNTS = [{"path": "/mnt/a"}]


def role(name, hosts=None, **given):
    """The value of a variable of the role with three clients. hosts: what is known of each, {client: dict}."""
    known = {client: dict({"inventory_hostname": client}, **(hosts or {}).get(client, {})) for client in CLIENTS}
    groups = {"storage_source": ["old"], "storage_target": ["new"], "storage_clients": CLIENTS}
    facts = dict({"migration_nfs": {"mounts": MOUNTS}, "ansible_forks": 5}, **given)
    return role_variables.value("storage_cutover", name, groups=groups, hostvars=known, **facts)


def test_the_dead_man_of_a_client_outlasts_the_stop_of_all_others():
    assert role("__storage_cutover_hold_s") == 60
    assert role("__storage_cutover_hold_s", ansible_forks=2) == 120
    three = {"app2": {"migration_nfs_mounts": MOUNTS * 3}}
    assert role("__storage_cutover_hold_s", hosts=three, ansible_forks=1) == 540
    assert "__storage_cutover_hold_s" in mount("hold.yml", "held")["deadman"]


@pytest.mark.parametrize(("forks", "refused"), [("2", True), ("3", False)])
def test_more_clients_than_forks_are_refused_before_the_window(tmp_path, forks, refused):
    inventory = {"all": {"vars": plays.LOCAL, "children": {
        "storage_source": {"hosts": {"old": {}}}, "storage_target": {"hosts": {"new": {}}},
        "storage_clients": {"hosts": {client: {} for client in CLIENTS}},
    }}}  # fmt: skip
    given = {
        "migration_name": "m1",
        "migration_state_dir": str(tmp_path / "state"),
        "migration_nfs": {"mounts": MOUNTS},
        "migration_trees": [{"name": "data", "source": "/srv/old", "target": "/srv/new"}],
    }
    gates = {"name": "seamless.migration.storage_cutover", "tasks_from": "gates_nfs.yml"}
    play = {"hosts": "all", "gather_facts": False, "any_errors_fatal": True, "vars": given}
    play["tasks"] = [{"ansible.builtin.include_role": gates}]
    done = plays.run(tmp_path, [play], "--forks", forks, inventory=inventory)
    said = " ".join(done.stdout.split())
    assert done.returncode != 0  # at the latest for want of a server
    assert ("Run this with --forks 3" in said) is refused, said
    assert ("Look at the NFS server" in said) is not refused, said


def test_who_is_left_behind_is_fenced_by_its_host_name_and_the_address_that_the_server_saw():
    behind = {"__storage_cutover_straggler": "could not be reached"}
    seen = {"__storage_cutover_rehearsed": {"results": [{"was": {"source": "old:/x", "own_address": "10.0.0.5"}}]}}
    hosts = {"app1": dict(behind, ansible_host="files-app.example.com"), "app2": dict(behind, **seen)}
    found = role("__storage_cutover_fenced", hosts=hosts)
    assert found == ["files-app.example.com", "app2", "10.0.0.5"]


LOST = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}


def switch(folder, clients, **given):
    """Switch clients as after a commit, with a check of each. Returns how that ended, and the gate clients_switched."""
    inventory = {"all": {"vars": plays.LOCAL, "children": {
        "storage_source": {"hosts": {"old": {}}}, "storage_target": {"hosts": {"new": {}}},
        "storage_clients": {"hosts": clients},
    }}}  # fmt: skip
    inputs = {
        "migration_name": "m1",
        "migration_state_dir": str(folder / "state"),
        "migration_trees": [{"name": "data", "source": "/srv/old", "target": "/srv/new"}],
    }
    started = dict(migration="m1", state_dir=inputs["migration_state_dir"], event="started", stage="storage_cutover")
    begin = {"hosts": "old:new", "gather_facts": False, "tasks": [
        {"ansible.builtin.set_fact": {"__storage_cutover_info": {"state": "committed"}}},
        {"seamless.migration.migration_journal": started},
    ]}  # fmt: skip
    made = [begin]
    for hosts, part in (("storage_clients", "switch.yml"), ("old:new", "stragglers.yml")):
        role_of = {"name": "seamless.migration.storage_cutover", "tasks_from": part}
        made.append({"hosts": hosts, "gather_facts": False, "vars": dict(inputs, **given), "tasks": [
            {"ansible.builtin.import_role": role_of}]})  # fmt: skip
    done = plays.run(folder, made, inventory=inventory)
    gates = [event for event in Journal.of(inputs["migration_state_dir"], "m1").read() if event["event"] == "gate"]
    return done, gates[-1]["data"] if gates else None


NFS = {"quorum": 100, "mounts": []}
CHECK = ["test", "{{ inventory_hostname }}", "=", "app1"]


def test_a_client_whose_check_fails_or_that_is_lost_counts_as_left_behind(tmp_path):
    clients = {"app1": {}, "app2": {}, "app3": LOST}
    for vars_of in clients.values():
        vars_of["migration_nfs_mounts"] = [{"path": "/mnt/files"}]
    given = {"migration_nfs": NFS, "migration_client_check": CHECK, "storage_cutover_client_check_retries": 1}
    # What they mount is no matter here: nothing is left to be switched.
    done, gate = switch(tmp_path, clients, storage_cutover_nfs_mounts=[], **given)
    assert done.returncode != 0
    assert gate["state"] == "failed", done.stdout
    assert gate["evidence"]["switched"] == ["app1"]
    assert gate["evidence"]["left_behind"]["app2"].startswith("was switched, and what comes then failed: ")
    assert gate["evidence"]["left_behind"]["app3"] == "was lost while it was switched"


def test_within_the_quorum_the_others_are_enough(tmp_path):
    clients = {name: {"migration_nfs_mounts": [{"path": "/mnt/files"}]} for name in ("app1", "app2")}
    given = {"migration_nfs": dict(NFS, quorum=50), "migration_client_check": CHECK}
    done, gate = switch(
        tmp_path, clients, storage_cutover_nfs_mounts=[], storage_cutover_client_check_retries=1, **given
    )
    assert done.returncode == 0, done.stdout
    assert gate["state"] == "ok"


def test_a_client_without_mounts_whose_check_fails_is_an_error(tmp_path):
    given = {"migration_client_check": CHECK, "storage_cutover_client_check_retries": 1}
    done, gate = switch(tmp_path, {"app1": {}, "app2": {}}, **given)
    assert done.returncode != 0 and gate is None
    assert "Failed to switch app2: it was switched, and what comes then failed" in " ".join(done.stdout.split())
