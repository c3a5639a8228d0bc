# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of a bulk copy on the controller's screen, and ansible-playbook with the real module."""

import json
import time
from pathlib import Path

import plays
import pytest
from ansible_collections.seamless.migration.plugins.action import bulk_copy

ROOT = Path(__file__).resolve().parents[3]


def test_a_line_tells_files_bytes_rate_eta_and_limit():
    progress = {"state": "running", "phase": "copying", "files_done": 20000, "files_total": 120000, "counted": True,
                "bytes_now": 3 << 29, "bytes_total": 3 << 30, "bytes_per_s": 50 << 20, "eta_s": 4000,
                "limit_kib_per_s": 51200, "retries": 2}
    assert bulk_copy.line("old", "data", progress) == (
        "old data: copying, 20000/120000 files, 1.5 GiB/3.0 GiB, 50.0 MiB/s, ETA 1:06:40, limit 50.0 MiB/s, 2 retries")


def test_a_line_says_when_the_tree_is_still_being_counted():
    line = bulk_copy.line("old", "data", {"state": "running", "phase": "copying", "files_done": 1, "files_total": 5,
                                          "counted": False, "bytes_now": 10, "bytes_total": 50})
    assert "1/5+ files, 10 B/50 B+" in line and "ETA -" in line and "limit none" in line


@pytest.fixture
def play(tmp_path):
    """Run one task with the real ansible-playbook. Returns the result of the task."""
    (tmp_path / "src").mkdir()
    for number in range(20):
        (tmp_path / "src" / ("f%d" % number)).write_text("x" * number)

    def run(options, *more, fails=False, where=None):
        task = {"name": "Copy", "seamless.migration.bulk_copy": dict({
            "src": str(tmp_path / "src"), "dest": str(tmp_path / "dest"), "state_dir": str(tmp_path / "state/bulk"),
        }, **options), "register": "answer", "ignore_errors": fails, "vars": where or {}}
        kept = {"content": "{{ answer | to_json }}", "dest": str(tmp_path / "answer")}
        keep = {"name": "Keep", "ansible.builtin.copy": kept, "check_mode": False}
        variables = dict(plays.LOCAL, bulk_copy_progress_interval=0)
        book = [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [task, keep]}]
        done = plays.run(tmp_path, book, *more)
        assert done.returncode == 0, done.stdout
        return json.loads((tmp_path / "answer").read_text()), done.stdout

    return run


def test_a_playbook_copies_tells_and_changes_nothing_the_second_time(play, tmp_path):
    answer, _shown = play({}, "--check", "--diff")
    assert answer["changed"] and answer["files"] == 20 and "f19" in answer["diff"]["after"]
    assert not (tmp_path / "dest").exists() and not (tmp_path / "state").exists()
    answer, shown = play({}, "-v")
    assert answer["changed"] and answer["state"] == "done" and answer["files"] == 20
    assert "files" in shown and (tmp_path / "dest/f19").exists()
    answer, _shown = play({})
    assert not answer["changed"] and answer["files_skipped"] == 20


def test_a_failed_copy_fails_the_task_with_its_reason(play):
    answer, _shown = play({"sentinel": ".seamless-sentinel"}, fails=True)
    assert answer["failed"] and "sentinel" in answer["msg"]


def test_a_delta_that_reaches_the_limit_of_deletions_has_failed(play, tmp_path):
    play({})
    for name in ("f3", "f4", "f5"):
        (tmp_path / "src" / name).unlink()
    (tmp_path / "list").write_bytes(b"f3\0f4\0f5\0")
    options = {"mode": "delta", "files_from": str(tmp_path / "list"), "max_delete": 1}
    answer, _shown = play(options, fails=True)
    assert (answer["failed"], answer["state"], answer["deleted"]) == (True, "failed", 1)
    assert "max_delete" in answer["msg"]
    assert len([name for name in ("f3", "f4", "f5") if (tmp_path / "dest" / name).exists()]) == 2


def test_a_delta_is_told_with_its_difference(play, tmp_path):
    play({})
    (tmp_path / "src/f3").write_text("changed")
    (tmp_path / "src/f4").unlink()
    (tmp_path / "list").write_bytes(b"f3\0f4\0")
    options = {"mode": "delta", "files_from": str(tmp_path / "list")}
    answer, shown = play(options, "--check", "--diff")
    assert answer["changed"] and "*deleting f4" in shown and (tmp_path / "dest/f4").exists()
    answer, _shown = play(options)
    assert (answer["files"], answer["deleted"], answer["changed"]) == (1, 1, True)
    assert not (tmp_path / "dest/f4").exists()
    answer, _shown = play(options)
    assert not answer["changed"]


@pytest.fixture
def dealt(play, tmp_path):
    """What a worker is dealt of the tree, as an option of the task."""
    play({"mode": "cut", "job": "data", "partitioner": "walk"})
    folder = next((tmp_path / "src/.seamless-lists").iterdir())
    name = ".seamless-lists/%s" % folder.name
    lists = [[0, "f", 20, 190, False]]
    deal = {"id": folder.name + "-0-w", "job": "data", "folder": name, "fresh": True, "lists": lists}
    return {"mode": "lists", "job": "data.worker", "deal": deal, "lease": 30}


def test_a_worker_tells_what_it_has_copied_of_its_deal(play, dealt, tmp_path):
    answer, _shown = play(dealt)
    assert (answer["state"], answer["changed"], answer["part_of"]) == ("done", True, "data")
    part = answer["part"]
    assert (part["worker"], part["state"], part["deal"]) == ("localhost", "done", dealt["deal"]["id"])
    assert (part["lists_done"], part["files"]) == ([0], 20)
    assert (tmp_path / "dest/f19").exists()
    ended, _shown = play({"mode": "lists", "job": "data.worker", "state": "stopped"})
    assert (ended["part"]["state"], ended["part"]["lists_done"], ended["changed"]) == ("ended", [0], False)
    assert "part_of" not in ended


def test_a_worker_that_cannot_copy_does_not_fail_the_task_and_says_why(play, dealt, tmp_path):
    answer, _shown = play(dict(dealt, dest=str(tmp_path / "none/dest")))
    assert (answer["state"], answer["part"]["state"], answer["part"]["lists_done"]) == ("failed", "failed", [])
    assert "failed" not in answer or not answer["failed"]
    assert answer["message"]


def test_a_worker_that_cannot_be_reached_is_lost(play, dealt):
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    answer, _shown = play(dict(dealt, job="gone.worker"), where=gone)
    assert (answer["state"], answer["part"]["state"], answer["changed"]) == ("lost", "lost", False)
    assert "was not reached" in answer["message"]


def test_a_look_that_takes_too_long_is_given_up():
    begin = time.monotonic()
    with pytest.raises(bulk_copy._Late), bulk_copy._at_most(1):
        time.sleep(20)
    assert time.monotonic() - begin < 10
