# SPDX-License-Identifier: GPL-3.0-or-later
"""All hosts of a stage have one journal and one lock, or nothing begins. With a real ansible-playbook."""

import json

import plays

INPUTS = {
    "migration_name": "m1",
    "migration_trees": [{"name": "data", "source": "/srv/old", "target": "/srv/new"}],
    "migration_rsync_secret": "long enough",
}


def begin(folder, *options, **given):
    """Begin a stage with the source in one inventory and the target in another, each in a folder of its own."""
    sources = []
    for name, group in (("old", "storage_source"), ("new", "storage_target")):
        (folder / name).mkdir()
        content = {"all": {"vars": plays.LOCAL, "children": {group: {"hosts": {name: {}}}}}}
        (folder / name / "hosts.json").write_text(json.dumps(content), encoding="utf-8")
        sources.append(str(folder / name / "hosts.json"))
    play = {
        "hosts": "storage_source:storage_target",
        "gather_facts": False,
        "vars": dict(INPUTS, migration_run_stage="storage_prepare", **given),
        "roles": ["seamless.migration.migration_run"],
    }
    done = plays.run(folder, [play], "-i", sources[1], *options, inventory=sources[0])
    return done.returncode, " ".join(done.stdout.split())


def test_hosts_of_inventories_in_two_folders_do_not_begin_with_a_journal_each(tmp_path):
    code, said = begin(tmp_path)
    assert code != 0
    assert "{0}/new/migration for new; {0}/old/migration for old. Set migration_state_dir".format(tmp_path) in said
    assert not (tmp_path / "old" / "migration").exists()


def test_one_folder_for_all_of_them_is_enough(tmp_path):
    code, said = begin(tmp_path, migration_state_dir=str(tmp_path / "state"))
    assert code == 0, said
    assert (tmp_path / "state" / "m1.jsonl").exists()
