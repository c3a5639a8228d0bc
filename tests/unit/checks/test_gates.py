# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of the gates counts honestly."""

import gates
import pytest


@pytest.fixture(autouse=True)
def logs(tmp_path, monkeypatch):
    monkeypatch.setattr(gates, "LOGS", tmp_path)
    monkeypatch.setattr(gates, "ROOT", tmp_path)


def outcome_of(script, **more):
    return gates.run(gates.Gate("the gate", ["sh", "-c", script], **more))


@pytest.mark.parametrize(("status", "state"), [(0, "passed"), (77, "skipped"), (1, "failed"), (5, "failed")])
def test_a_gate_is_judged_by_its_exit_status(status, state, tmp_path):
    assert outcome_of("exit %d" % status, cwd=tmp_path).state == state


def test_a_gate_that_cannot_be_started_has_failed(tmp_path):
    assert gates.run(gates.Gate("gone", [str(tmp_path / "gone")], cwd=tmp_path)).state == "failed"


def test_a_gate_that_takes_too_long_has_failed(tmp_path):
    assert outcome_of("exec sleep 30", cwd=tmp_path, timeout=1).state == "failed"


def test_what_a_gate_left_that_was_ended_is_taken_down(tmp_path):
    undo = ["touch", str(tmp_path / "undone")]
    assert outcome_of("exec sleep 30", cwd=tmp_path, timeout=1, undo=undo).state == "failed"
    assert (tmp_path / "undone").exists()


def test_a_story_that_passes_at_the_second_try_has_passed_and_the_summary_tells_of_it(tmp_path, capsys):
    outcome = outcome_of("echo tried; mkdir begun && exit 1; exit 0", cwd=tmp_path, tries=2)
    assert outcome.state == "passed"
    assert (tmp_path / "the-gate.first.log").exists()
    assert gates.summary([outcome], 1) == 0
    assert "passed: the gate passed only at try 2" in capsys.readouterr().out


def test_a_second_try_may_be_of_what_failed_alone(tmp_path):
    assert outcome_of("exit 1", cwd=tmp_path, tries=2, again=["true"]).state == "passed"
    assert outcome_of("exit 0", cwd=tmp_path, tries=2, again=["false"]).state == "passed"
    assert outcome_of("exit 1", cwd=tmp_path, tries=2, again=["false"]).state == "failed"


def test_a_story_that_fails_twice_has_failed(tmp_path):
    assert outcome_of("exit 1", cwd=tmp_path, tries=2).state == "failed"


def test_a_story_for_which_no_time_is_left_is_skipped_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(gates, "MINUTES", 0)
    outcome = gates.run(gates.Gate("molecule:look", ["true"], cwd=tmp_path, story=True))
    assert outcome.state == "skipped"
    assert outcome.remark == "no time was left for it after 0 minutes; make molecule S=look plays it"
    assert outcome_of("exit 0", cwd=tmp_path).state == "passed"


def test_the_last_stories_need_more_time_than_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(gates, "MINUTES", gates.LATE_MINUTES - 1)
    monkeypatch.setattr(gates, "STARTED", gates.time.monotonic())
    assert outcome_of("exit 0", cwd=tmp_path, story=True).state == "passed"
    assert outcome_of("exit 0", cwd=tmp_path, story=True, late=True).state == "skipped"
    assert outcome_of("exit 0", cwd=tmp_path, late=True).state == "passed"


def test_the_last_stories_come_last():
    late, apart, other = gates.Gate("late", [], late=True), gates.Gate("apart", [], apart=True), gates.Gate("other", [])
    made = gates.Queue([late, apart, other])
    assert [made.take().name for _number in range(2)] == ["other", "apart"]


def test_gates_that_may_not_meet_never_do_and_the_others_run_beside_them(tmp_path):
    alone = "mkdir alone || exit 1; sleep 0.3; [ -e apart-0 ] && touch met; rmdir alone"
    made = [gates.Gate("alone %d" % number, ["sh", "-c", alone], cwd=tmp_path) for number in range(3)]
    for number in range(3):
        command = ["sh", "-c", "touch apart-%d; sleep 0.3" % number]
        made.insert(0, gates.Gate("apart %d" % number, command, cwd=tmp_path, apart=True))
    outcomes = gates.play(made)
    assert sorted(outcome.gate.name for outcome in outcomes) == sorted(gate.name for gate in made)
    assert {outcome.state for outcome in outcomes} == {"passed"}
    assert (tmp_path / "met").exists()


def test_the_closing_line_of_pytest_is_told(tmp_path):
    assert outcome_of("echo '==== 3 passed, 1 skipped in 2.1s ===='; echo", cwd=tmp_path).remark == (
        "3 passed, 1 skipped in 2.1s"
    )


def test_the_reason_of_a_skip_is_told(tmp_path):
    assert outcome_of("echo 'skipped: no interpreter'; exit 77", cwd=tmp_path).remark == "skipped: no interpreter"


def test_the_last_line_counts_the_gates(tmp_path, capsys):
    outcomes = [outcome_of("exit %d" % status, cwd=tmp_path) for status in (0, 0, 77, 1)]
    assert gates.summary(outcomes, 61) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 passed, 1 failed, 1 skipped in 61 s"


def test_a_skip_alone_fails_nothing(tmp_path):
    assert gates.summary([outcome_of("exit %d" % status, cwd=tmp_path) for status in (0, 77)], 1) == 0


def test_a_run_in_which_nothing_passed_has_failed():
    assert gates.summary([], 1) == 1


def test_the_summary_ends_with_the_lines_that_tell_why_a_gate_failed(tmp_path, capsys):
    script = "echo ERROR: page.py: no default; for number in 1 2 3 4 5 6 7 8 9; do echo noise $number; done; exit %d"
    outcomes = [outcome_of(script % status, cwd=tmp_path) for status in (1, 77)]
    assert gates.summary(outcomes, 1) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[-3:-1] == ["failed: the gate ", "    ERROR: page.py: no default"]
    assert outcome_of("echo only this; exit 1", cwd=tmp_path).why == ("only this",)
