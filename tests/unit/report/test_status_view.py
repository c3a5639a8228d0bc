# SPDX-License-Identifier: GPL-3.0-or-later
"""The status fits a terminal, is complete for a script, and cannot steer a terminal."""

import json
import os
import subprocess
import sys

import pytest
import report_stories as stories
from ansible_collections.seamless.migration.plugins.module_utils.journal import Journal
from ansible_collections.seamless.migration.plugins.plugin_utils import status_model
from ansible_collections.seamless.migration.plugins.plugin_utils.report_model import Model
from hypothesis import given
from hypothesis import strategies as st

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
WATCH = os.path.join(
    ROOT,
    "build",
    "collections",
    "ansible_collections",
    "seamless",
    "migration",
    "plugins",
    "plugin_utils",
    "watch.py",
)
ALL = ("moved", "rolled_back", "failed", "killed_in_the_window", "hostile", "mysql")


def status_of(story, owner=None):
    return status_model.status(Model(story.events, running=owner is not None), "files2026", owner)


def in_the_middle_of_the_copy():
    story = stories.up_to_the_switch()
    last = max(index for index, event in enumerate(story.events) if event["step"] == "copy")
    del story.events[last + 1 :]
    return story


@pytest.mark.parametrize("name", ALL)
def test_no_line_of_the_table_is_wider_than_100_columns(name):
    table = status_model.text(status_of(getattr(stories, name)()), "table")
    assert max(status_model.wide(line) for line in table.splitlines()) <= 100


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_things_are_named_the_table_fits_and_steers_nothing(name, cause):
    story = stories.up_to_the_switch(name=name or "x").begin("storage_cutover")
    story.gate(name, "failed").say("fault", {"task": name, "cause": cause}, host=name)
    table = status_model.text(status_of(story.end("failed", {"cause": cause})), "table")
    assert all(status_model.wide(line) <= 100 for line in table.split("\n"))
    assert not [char for char in table if ord(char) < 32 and char != "\n" or 127 <= ord(char) < 160]


def test_a_running_copy_has_bar_rate_and_what_is_left():
    table = status_model.text(status_of(in_the_middle_of_the_copy(), {"playbook": "storage_copy"}), "table")
    assert "In progress" in table and "At work: storage_copy" in table
    row = next(line for line in table.splitlines() if line.startswith("  data "))
    assert "[#############.......]" in row and "66 %" in row and "195.3 KiB/s" in row and "2.0 s" in row
    assert "800 of 1 200 files, limit 1000.0 KiB/s" in table


def test_what_workers_copy_counts_for_the_tree_until_lists_are_dealt_again():
    story = in_the_middle_of_the_copy()
    part = {"tree": "data", "phase": "copying", "limit_kib_per_s": 100, "eta_s": None}
    for host, files in (("worker1", 100), ("worker2", 50)):
        data = dict(part, files_done=files, bytes_now=files * 1000, bytes_per_s=40000)
        story.measured("part_copy", data, host=host)
    tree = status_of(story)["trees"][0]
    assert (tree["files_done"], tree["bytes_per_s"]) == (950, 80000)
    dealt = dict(part, files_done=1000, files_total=1200, bytes_now=10, bytes_total=20, bytes_per_s=1, round=2)
    story.wait(1).measured("copy", dealt, host="old")
    assert status_of(story)["trees"][0]["files_done"] == 1000


def test_lag_gates_window_and_faults_are_told():
    table = status_model.text(status_of(stories.moved()), "table")
    assert "1.5 s" in table and "GATES   3 ok, 0 forced, 0 failed" in table
    assert "WINDOW  storage_cutover, closed, 3.420 s" in table
    assert "FAULT" in status_model.text(status_of(stories.failed()), "table")


def test_a_channel_is_told_with_its_lag():
    table = status_model.text(status_of(stories.mysql()), "table")
    assert "db-new" in table and "250 ms" in table


def test_a_lag_that_was_not_measured_again_stays():
    story = stories.up_to_the_switch()
    story.measured("live_sync", {"trees": {"data": {"delays": 7, "lag_s": None}}, "converged": None, "reasons": []})
    tree = status_of(story)["trees"][0]
    assert tree["lag_s"] == 1.5 and tree["delays"] == 7


def test_json_is_one_line_and_whole():
    found = status_of(stories.moved())
    text = status_model.text(found, "json")
    assert "\n" not in text and json.loads(text) == found


def test_lines_have_one_fact_each_without_blanks_in_values():
    lines = status_model.text(status_of(stories.hostile()), "lines").splitlines()
    assert all("=" in word for line in lines for word in line.split(" "))


def test_the_watch_reads_the_journal_alone(tmp_path):
    record = Journal.of(str(tmp_path), "m1")
    record.append("started", stage="storage_copy")
    argv = [sys.executable, WATCH, record.path, "--once"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, cwd="/")
    assert done.stdout.splitlines()[:2] == [
        "migration=m1 state=Interrupted",
        "stage=storage_copy state=interrupted seconds=0.0",
    ]
    table = subprocess.run([*argv, "--format", "table"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "\033" not in table and "storage_copy" in table
    gone = subprocess.run([sys.executable, WATCH, "/nowhere"], stderr=subprocess.PIPE, text=True, check=False)
    assert gone.returncode == 2 and "there is no journal /nowhere" in gone.stderr


def test_a_compare_is_shown_until_it_has_a_result():
    story = stories.up_to_the_switch().begin("storage_verify")
    data = {"tree": "/srv/files", "phase": "reading", "done": 1200000, "total": 3000000, "unit": "entries",
            "per_s": 2000, "eta_s": 900}
    story.say("measured", data, step="comparing", host="files_old")
    found = status_of(story, {"playbook": "storage_verify"})
    assert [(one["host"], one["done"]) for one in found["compares"]] == [("files_old", 1200000)]
    table = status_model.text(found, "table")
    assert "COMPARE" in table and " 40 %" in table and "1,200,000".replace(",", " ") in table
    assert max(status_model.wide(line) for line in table.splitlines()) <= 100
    assert "compare=/srv/files host=files_old" in status_model.text(found, "lines")
    story.say("measured", {"tree": "/srv/files", "equal": True, "counts": {}, "seconds": 3.0, "level": "full"},
              step="compared", host="files_old")
    assert status_of(story, {"playbook": "storage_verify"})["compares"] == []
