# SPDX-License-Identifier: GPL-3.0-or-later
"""After a seed nothing is taken over from a compare that did not come to its end. With a real ansible-playbook."""

import plays


def test_the_compare_of_this_migration_alone_is_forgotten(tmp_path):
    for name in ("shop-compare.resume", "other-compare.resume", "shop-compare.jsonl"):
        (tmp_path / name).touch()
    given = {"migration_name": "shop", "migration_state_dir": str(tmp_path)}
    role = {"name": "seamless.migration.mysql_verify", "tasks_from": "begin_anew.yml"}
    tasks = [{"ansible.builtin.include_role": role}]
    play = {"hosts": "localhost", "gather_facts": False, "vars": dict(plays.LOCAL, **given), "tasks": tasks}
    done = plays.run(tmp_path, [play])
    assert done.returncode == 0, done.stdout
    left = sorted(path.name for path in tmp_path.glob("*-compare.*"))
    assert left == ["other-compare.resume", "shop-compare.jsonl"]
