# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator hangs on the move runs where it should, and a failure of it never leaves two writers or none."""

from pathlib import Path

import pytest
from fault_story import nothing_is_lost, other, state_of, was_left, writers_go_on
from migration_story import Run, play

testinfra_hosts = ["ansible://storage_source"]
HOOKS = Path(__file__).parent / "hooks"
NAMES = ("before_freeze", "after_freeze", "before_switch", "after_switch", "on_rollback")
ASK = """
from urllib.request import Request, urlopen
def ask(method, body=None):
    return urlopen(Request("http://files.lab:8080/.seamless-check", data=body, method=method)).read()
ask("PUT", b"hello")
assert ask("GET") == b"hello"
ask("DELETE")
"""
ASKED = ["python3", "-c", ASK]


def hooks(**changed):
    return {"migration_hooks": dict({name: str(HOOKS / "note.yml") for name in NAMES}, **changed)}


def ran(host, name):
    return host.file("/var/tmp/hook-" + name).exists


@pytest.fixture(name="client")
def _client(host):
    return host.get_host("ansible://app1?ansible_inventory=%s" % host.backend.ansible_inventory)


def test_a_hook_that_fails_in_the_window_puts_the_freeze_back(host, tmp_path):
    failed = Run("storage_cutover", extra=hooks(after_freeze=str(HOOKS / "fail.yml")))
    assert failed.end() != 0
    assert "The hook of this story fails" in failed.output()
    assert failed.saw("undone", "freeze")
    assert host.service("upload").is_running
    assert writers_go_on()
    assert nothing_is_lost("files_old", tmp_path)


def test_a_client_whose_check_fails_is_told_and_the_next_run_ends_the_move(host, client, tmp_path):
    unwell = dict(hooks(), migration_client_check=["false"], storage_cutover_client_check_retries=2)
    failed = Run("storage_cutover", extra=unwell)
    assert failed.end() != 0
    assert "Write and read through the server that took over" in failed.output()
    assert state_of(host) == "committed"
    assert not host.service("upload").is_running
    play("storage_cutover", dict(hooks(), migration_client_check=ASKED))
    assert [ran(host, name) for name in ("before_freeze", "after_freeze", "before_switch")] == [True, True, False]
    assert ran(other(host), "before_switch")
    assert ran(client, "after_switch")
    was_left(host, tmp_path)


def test_the_hook_of_the_way_back_runs(host, tmp_path):
    play("storage_rollback", dict(hooks(), migration_client_check=ASKED))
    assert ran(host, "on_rollback")
    assert host.service("upload").is_running
    assert writers_go_on()
    assert nothing_is_lost("files_old", tmp_path)
