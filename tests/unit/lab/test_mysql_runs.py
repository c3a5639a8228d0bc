# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's numbers, the bench's tables and the chaos's dice, without a server."""

import random
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "bench"), str(TESTS / "chaos")]

import mysql_faults  # noqa: E402 - after the path is set
import mysql_kit  # noqa: E402 - after the path is set
import mysql_story  # noqa: E402 - after the path is set
from demokit import mysql as demo  # noqa: E402 - after the path is set


def judged(**changes):
    found = dict.fromkeys(demo.NUMBERS, 0)
    windows = [{"window_ms": 80.0}, {"window_ms": 95.0}]
    return dict(found, rows=10, acknowledged=5, two_servers_at_once=False, windows=windows, **changes)


def test_the_demo_tells_the_worse_of_both_verdicts():
    found = demo.summary(judged(), judged(lost=2), {"mysql_seed": 3.0})
    assert (found["lost"], found["window_ms"], found["rollback_window_ms"]) == (2, 80.0, 95.0)
    assert found["playbook_s"] == {"seed": 3.0}
    assert not demo.clean(found)


@pytest.mark.parametrize("harm", ["lost", "duplicated", "different", "extra", "missed"])
def test_the_demo_fails_for_each_harm(harm):
    clean = demo.summary(judged(), judged(), {})
    assert demo.clean(clean)
    assert not demo.clean(dict(clean, **{harm: 1}))
    assert not demo.clean(dict(clean, two_servers_at_once=True))


def planned(seed):
    dice = random.Random(seed)
    return [str(mysql_faults.Planned(dice)) for _unused in range(200)]


def test_the_same_seed_plans_the_same_faults():
    assert planned("1-7") == planned("1-7")
    assert planned("1-7") != planned("1-8")


def test_every_fault_and_every_moment_has_its_turn():
    together = " ".join(planned("all"))
    for name in (*mysql_faults.FAULTS, *mysql_faults.Planned.MOMENTS, "of the source", "of the target"):
        assert name in together


def test_a_run_of_the_chaos_follows_from_seed_and_number():
    one, again = (mysql_story.Story(None, "5", 3) for _unused in range(2))
    assert one.record == again.record
    assert one.dice.random() == again.dice.random()


@pytest.fixture(autouse=True)
def everybody_lives(monkeypatch):
    monkeypatch.setattr(mysql_kit.mysql_data, "at_work", mysql_kit.mysql_data.names)


def events(tmp_path, *lines):
    class Lab:
        folder = tmp_path

    (tmp_path / "mysql-writers").mkdir(exist_ok=True)
    clock = mysql_kit.Clock(Lab)
    with open(tmp_path / "mysql-writers" / "w1-1.jsonl", "a", encoding="ascii") as log:
        for at, server in lines:
            log.write('{"event": "ok", "at": %s, "server": "%s"}\n' % (at, server))
    return clock


def test_the_bench_measures_from_the_last_commit_on_one_server_to_the_first_on_the_other(tmp_path):
    events(tmp_path, (1, "new"), (2, "old"))
    clock = events(tmp_path, (3, "old"), (4, "old"), (4.25, "new"))
    assert clock.gap_ms() == 250.0


def test_the_bench_refuses_to_measure_what_was_not_one_switch(tmp_path):
    clock = events(tmp_path, (1, "old"), (2, "new"), (3, "old"))
    with pytest.raises(mysql_kit.BenchError, match="2 switches"):
        clock.gap_ms()
