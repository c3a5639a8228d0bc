# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cutover writes before the service name in /etc/hosts of a client is an address, or nothing begins."""

import plays
import pytest

INVENTORY = {"all": {"vars": plays.LOCAL, "children": {
    "storage_source": {"hosts": {"files-old": {}}}, "storage_target": {"hosts": {"files-new": {}}},
}}}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "target", "refused"),
    [
        ("files-old", "files-new", True),
        ("192.0.2.10", "files-new.example.org", True),
        ("ab.cd", "192.0.2.20", True),
        ("192.0.2.10", "192.0.2.20", False),
        ("2001:db8::a", "2001:db8::b", False),
    ],
)
def test_a_host_name_is_refused_before_the_window(tmp_path, source, target, refused):
    given = {
        "storage_cutover_source_address": source,
        "storage_cutover_target_address": target,
        "storage_cutover_service_name": "files.example.org",
        "storage_cutover_migration": "",  # what comes next refuses that
    }
    role = {"name": "seamless.migration.storage_cutover", "tasks_from": "gates_before_freeze.yml"}
    tasks = [{"ansible.builtin.include_role": role}]
    play = {"hosts": "files-old", "gather_facts": False, "vars": given, "tasks": tasks}
    done = plays.run(tmp_path, [play], inventory=INVENTORY)
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert ("Set migration_source_address and migration_target_address to addresses" in said) is refused, said
    assert ("Read what was proven so far" in said) is not refused
