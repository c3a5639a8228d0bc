# SPDX-License-Identifier: GPL-3.0-or-later
"""The hooks of a switch by parameter group: run by the role and a real ansible-playbook, each command with its time."""

import time

import plays
import pytest


@pytest.fixture
def hook(tmp_path):
    """Run the commands of the hook `switch`. Returns the exit code of ansible-playbook and what it said."""

    def run(*commands, **variables):
        given = {"mysql_cutover_mysql": {"hooks": {"switch": commands}}, "__mysql_cutover_hook": "switch", **variables}
        role = {"ansible.builtin.include_role": {"name": "seamless.migration.mysql_cutover", "tasks_from": "hook.yml"}}
        play = {"hosts": "localhost", "gather_facts": False, "vars": dict(plays.LOCAL, **given), "tasks": [role]}
        done = plays.run(tmp_path, [play])
        return done.returncode, " ".join(done.stdout.split())

    return run


def test_the_commands_run_in_their_order_and_know_their_hook(hook, tmp_path):
    note = ["sh", "-c", 'echo "$1 $SEAMLESS_HOOK" >>"$2"', "sh"]
    code, said = hook([*note, "first", str(tmp_path / "log")], [*note, "a word", str(tmp_path / "log")])
    assert code == 0, said
    assert (tmp_path / "log").read_text() == "first switch\na word switch\n"


def test_no_command_runs_after_one_that_failed(hook, tmp_path):
    code, said = hook(["sh", "-c", "echo no such backend >&2; exit 3"], ["touch", str(tmp_path / "second")])
    assert code != 0
    assert "The hook switch failed: sh -c" in said
    assert "ended with status 3: no such backend" in said
    assert not (tmp_path / "second").exists()


def test_a_command_that_hangs_is_killed_with_what_it_started(hook, tmp_path):
    late = tmp_path / "late"
    hanging = ["sh", "-c", "trap '' TERM; (sleep 6; touch %s) & while :; do sleep 1; done" % late]
    code, said = hook(hanging, mysql_cutover_hook_timeout=1)
    assert code != 0
    assert "was killed after 1 s (mysql_cutover_hook_timeout)" in said
    time.sleep(6)
    assert not late.exists()


def test_a_command_that_is_not_there_is_named(hook):
    code, said = hook(["/nonexistent/proxy", "switch"])
    assert code != 0
    assert "The hook switch failed: /nonexistent/proxy switch ended with status 127" in said
