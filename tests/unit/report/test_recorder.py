# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorder writes what the playbooks do not, never while nobody can write, and never stops a run."""

import json
import os

import plays
import pytest
from ansible_collections.seamless.migration.plugins.module_utils import journal_schema
from ansible_collections.seamless.migration.plugins.module_utils.journal import Journal
from ansible_collections.seamless.migration.plugins.plugin_utils.journal_action import ProgressJournal, secret_values
from ansible_collections.seamless.migration.plugins.plugin_utils.recorder import Recorder, cause_of

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
COMPARED = {"equal": True, "counts": {"lost": 0}, "seconds": 1.0}
COMPARE = "seamless.migration.tree_compare"


class Clock:
    def __init__(self):
        self.now = 1777636800.0

    def __call__(self):
        return self.now


class Run:
    """A recorder in a run of a playbook."""

    def __init__(self, folder):
        self.clock = Clock()
        self.record = Journal.of(folder, "m1")
        self.recorder = Recorder(self.clock)

    def journal(self, event, **where):
        self.recorder.journal_wrote(self.record.path, self.record.append(event, **where))

    def events(self):
        return [(event["event"], event["step"]) for event in self.record.read()]

    def last(self):
        return list(self.record.read())[-1]


@pytest.fixture
def run(tmp_path):
    return Run(str(tmp_path))


def test_nothing_is_written_before_a_stage_begins(run):
    run.recorder.play_begins("Look")
    run.recorder.measured(COMPARE, "old", COMPARED, {})
    run.recorder.task_failed("Look", "old", "ansible.builtin.ping", {"msg": "no"})
    run.recorder.run_ends(["old"])
    assert run.events() == []


def test_a_play_is_recorded_with_what_it_took(run):
    run.recorder.play_begins("Begin")
    run.journal("started", stage="copy")
    run.clock.now += 2.5
    run.recorder.play_begins("Copy everything")
    event = run.last()
    assert (event["event"], event["stage"], event["step"]) == ("done", "copy", "Begin")
    assert event["data"] == {"play": True, "began": "2026-05-01T12:00:00.000Z", "seconds": 2.5}


def test_what_is_seen_in_the_window_is_written_when_it_is_closed(run):
    run.journal("started", stage="cutover")
    run.journal("window_opened", stage="cutover", step="freeze", host="old")
    began = run.clock()
    run.clock.now += 0.25
    run.recorder.task_ended("Freeze", "old", began)
    run.recorder.measured(COMPARE, "old", COMPARED, {"path": "/a"})
    run.recorder.play_begins("Open the target")
    assert run.events()[-1] == ("window_opened", "freeze")
    run.journal("window_closed", stage="cutover")
    assert run.events()[-3:] == [("window_closed", None), ("measured", "compared"), ("measured", "window")]
    tasks = run.last()["data"]["tasks"]
    assert tasks == [{"name": "Freeze", "host": "old", "at": "2026-05-01T12:00:00.000Z", "ms": 250.0}]


def test_a_stage_that_failed_says_why_and_where(run):
    run.journal("started", stage="copy")
    run.recorder.task_failed("Copy the trees", "old", "seamless.migration.bulk_copy", {"msg": "No space left"})
    run.recorder.run_ends(["old"])
    events = list(run.record.read())
    assert [event["event"] for event in events] == ["started", "fault", "failed"]
    assert events[1]["data"] == {"task": "Copy the trees", "cause": "No space left"}
    assert events[2]["data"] == {"host": "old", "task": "Copy the trees", "cause": "No space left"}
    assert not any(journal_schema.problems(event) for event in events)
    assert run.record.state()["stages"]["copy"]["state"] == "failed"


def test_a_gate_that_failed_is_no_fault_but_the_stage_says_that_it_stopped_it(run):
    run.journal("started", stage="verify")
    run.recorder.task_failed("Decide", "old", "seamless.migration.migration_gate", {"msg": "Gate x failed"})
    run.recorder.run_ends([])
    assert run.events() == [("started", None), ("failed", None)]
    assert run.last()["data"]["cause"] == "Gate x failed"


def test_a_stage_that_ended_well_does_not_fail_at_the_end_of_the_run(run):
    run.journal("started", stage="cutover")
    run.recorder.task_failed("Switch", "app1", "ansible.builtin.command", {"msg": "timeout"})
    run.journal("done", stage="cutover")
    run.recorder.run_ends(["app1"])
    assert [event["event"] for event in run.record.read()] == ["started", "fault", "done"]


def test_a_freeze_that_was_undone_ends_the_window(run):
    run.journal("started", stage="cutover")
    run.journal("window_opened", stage="cutover")
    run.recorder.task_failed("Freeze", "old", "seamless.migration.storage_freeze", {"msg": "a file changed"})
    run.journal("undone", stage="cutover", step="freeze", host="old")
    assert run.events()[-1][0] == "fault"
    assert run.record.state()["window"]["state"] == "undone"


def test_a_journal_that_cannot_be_written_does_not_stop_the_run(run):
    run.journal("started", stage="copy")
    os.unlink(run.record.path)
    os.mkdir(run.record.path)
    run.recorder.task_failed("Copy", "old", "x", {"msg": "no"})
    run.recorder.run_ends(["old"])


def test_secrets_never_reach_a_cause(run):
    run.journal("started", stage="copy")
    run.recorder.secrets = ["s3cr3t-value"]
    run.recorder.task_failed("Copy", "old", "x", {"msg": "auth failed for s3cr3t-value"})
    assert run.last()["data"]["cause"] == "auth failed for ********"


@pytest.mark.parametrize(
    "result, cause",
    [
        ({"msg": "no"}, "no"),
        ({"msg": "non-zero return code", "stderr": "rsync: gone\n"}, "non-zero return code; rsync: gone"),
        (
            {
                "results": [{"failed": True, "msg": "a"}, {"msg": "fine"}, {"failed": True, "msg": "b"}],
                "msg": "items",
            },
            "a; b",
        ),
        ({"censored": "the output has been hidden"}, "not told, the task has no_log"),
        ({}, "no message"),
    ],
)
def test_a_cause_is_what_the_task_said(result, cause):
    assert cause_of(result) == cause


def test_a_cause_is_never_long():
    assert len(cause_of({"msg": "x" * 9000})) == 2000


def test_secrets_within_the_inputs_of_mysql_are_found():
    variables = {
        "migration_rsync_secret": "{{ other }}",
        "migration_mysql": {
            "source": {"login_user": "admin", "login_password": "pass-1"},
            "replicas": [{"password": "pass-2"}],
        },
        "other": "pass-3",
        "ansible_password": None,
    }
    found = secret_values(variables, lambda value: "pass-3" if value == "{{ other }}" else value)
    assert sorted(found) == ["pass-1", "pass-2", "pass-3"]


def test_progress_is_written_rarely_and_only_into_a_journal_that_exists(tmp_path):
    clock = Clock()
    variables = {"migration_name": "m1", "migration_state_dir": str(tmp_path)}
    assert ProgressJournal(variables, lambda value: value, clock).record is None
    record = Journal.of(str(tmp_path), "m1")
    record.append("note")
    progress = ProgressJournal(variables, lambda value: value, clock)
    for _second in range(60):
        clock.now += 1
        progress.write("copy", {}, "old")
    written = len(list(record.read())) - 1
    assert written == 30
    clock.now += 3 * 86400
    progress.write("copy", {}, "old")
    clock.now += 299
    assert not progress.due()
    assert ProgressJournal({}, lambda value: value).record is None


def playbook(folder, content, *options):
    """Run a playbook that lies in a folder with our callback beside it, as those of the collection do."""
    os.makedirs(os.path.join(folder, "callback_plugins"), exist_ok=True)
    beside = os.path.join(ROOT, "playbooks", "callback_plugins", "seamless_migration_recorder.py")
    link = os.path.join(folder, "callback_plugins", "seamless_migration_recorder.py")
    if not os.path.exists(link):
        os.symlink(beside, link)
    return plays.run(folder, content, "-c", "local", *options)


def story(folder, *tasks):
    journaled = {"migration": "m1", "state_dir": os.path.join(folder, "state")}
    begin = {
        "seamless.migration.migration_journal": dict(journaled, stage="storage_copy", event="started", lock="acquire")
    }
    return [
        {
            "name": "Copy",
            "hosts": "all",
            "gather_facts": False,
            "vars": {"migration_rsync_secret": "{{ vault_of_it }}", "vault_of_it": "s3cr3t-value"},
            "tasks": [begin, *tasks],
        }
    ]


def events(folder):
    path = os.path.join(folder, "state", "m1.jsonl")
    if not os.path.exists(path):
        return []
    with open(path, encoding="ascii") as stream:
        return [json.loads(line) for line in stream]


def test_ansible_playbook_finds_the_recorder_beside_the_playbook(tmp_path):
    folder = str(tmp_path)
    failing = {"name": "Break", "ansible.builtin.fail": {"msg": "it broke with {{ migration_rsync_secret }}"}}
    done = playbook(folder, story(folder, failing))
    assert done.returncode == 2, done.stdout
    found = events(folder)
    assert [event["event"] for event in found] == ["lock", "started", "fault", "done", "failed"]
    assert found[2]["data"] == {"task": "Break", "cause": "it broke with ********"}
    assert not any(journal_schema.problems(event) for event in found)
    assert "recorder" not in done.stdout


def test_check_mode_records_nothing(tmp_path):
    folder = str(tmp_path)
    playbook(folder, story(folder, {"ansible.builtin.fail": {"msg": "no"}}), "--check")
    assert events(folder) == []
