# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions of the journal as ansible-playbook runs them: in workers, for hosts that nobody can reach."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

COLLECTIONS = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir, os.pardir, "build", "collections"
)
PLAYBOOK = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")


class Site:
    """A folder with a playbook in it."""

    def __init__(self, path):
        self.path = path
        self.state = os.path.join(path, "state")
        self.journal = os.path.join(self.state, "m1.jsonl")

    def argv(self, tasks, *options, variables=None):
        content = [
            {
                "hosts": "all",
                "gather_facts": False,
                "vars": variables or {},
                "module_defaults": {
                    "seamless.migration." + name: {"migration": "m1", "state_dir": self.state}
                    for name in ("migration_journal", "migration_gate")
                },
                "tasks": tasks,
            }
        ]
        path = os.path.join(self.path, "play.yml")
        with open(path, "w", encoding="utf-8") as stream:
            yaml.safe_dump(content, stream)
        return [PLAYBOOK, "-i", "old.invalid,new.invalid,", path, *options]

    def environment(self):
        return dict(
            os.environ,
            ANSIBLE_COLLECTIONS_PATH=COLLECTIONS,
            ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default",
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_DEPRECATION_WARNINGS="0",
        )

    def run(self, tasks, *options, variables=None):
        argv = self.argv(tasks, *options, variables=variables)
        return subprocess.run(
            argv, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )

    def start(self, tasks):
        return subprocess.Popen(
            self.argv(tasks), env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def events(self):
        if not os.path.exists(self.journal):
            return []
        with open(self.journal, encoding="ascii") as stream:
            return [json.loads(line) for line in stream]


@pytest.fixture
def site(tmp_path):
    return Site(str(tmp_path))


def record(**options):
    return {"name": "Record", "seamless.migration.migration_journal": options}


def gate(**options):
    return {"name": "Gate", "seamless.migration.migration_gate": options}


def test_events_are_recorded_for_hosts_that_cannot_be_reached_and_change_nothing(site):
    done = site.run([record(event="started", stage="copy", host="{{ inventory_hostname }}")])
    assert done.returncode == 0, done.stdout
    assert sorted(event["host"] for event in site.events()) == ["new.invalid", "old.invalid"]
    assert "changed=0" in done.stdout and "changed=1" not in done.stdout


def test_the_lock_is_shared_by_the_workers_of_one_run_and_given_back(site):
    done = site.run([record(lock="acquire"), record(lock="acquire"), record(lock="held"), record(lock="release")])
    assert done.returncode == 0, done.stdout
    assert [event["data"]["state"] for event in site.events()] == ["acquired", "released"]
    assert site.run([record(lock="held")]).returncode != 0


def test_a_second_run_is_kept_out_until_the_first_is_killed(site):
    first = site.start([record(lock="acquire"), {"ansible.builtin.pause": {"seconds": 120}}])
    try:
        deadline = time.time() + 60
        while not site.events() and time.time() < deadline:
            time.sleep(0.05)
        second = site.run([record(lock="acquire")])
        assert second.returncode != 0
        assert "Another run holds this migration: play.yml, process %d" % first.pid in second.stdout
        looked = site.run([record(lock="acquire")], "--check")
        assert looked.returncode == 0 and "Another run holds this migration" in looked.stdout
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        third = site.run([record(lock="acquire")])
        assert third.returncode == 0, third.stdout
        assert site.events()[-1]["data"]["dead"]["pid"] == first.pid
    finally:
        first.kill()
        first.wait()


def test_a_gate_that_does_not_hold_stops_the_play_and_says_what_to_do(site):
    done = site.run([gate(name="lag", that=False, evidence={"lag_ms": 900}, advice="Wait for the target", host="x")])
    assert done.returncode != 0
    text = "Gate lag failed for x: lag_ms=900. Wait for the target. To go on all the same add lag to"
    assert text in done.stdout
    assert site.events()[0]["data"] == {
        "name": "lag",
        "state": "failed",
        "evidence": {"lag_ms": 900},
        "advice": "Wait for the target",
    }


def test_a_forced_gate_lets_go_on_and_names_who_forced_it(site):
    done = site.run([gate(name="lag", that=False, force=["other", "lag"])])
    assert done.returncode == 0, done.stdout
    data = site.events()[0]["data"]
    assert data["state"] == "forced" and "@" in data["forced_by"]
    assert "It was forced by" in done.stdout


def test_a_gate_that_another_name_forces_fails(site):
    assert site.run([gate(name="lag", that="{{ 1 == 2 }}", force=["lagging"])]).returncode != 0


def test_check_mode_shows_every_failed_gate_and_writes_nothing(site):
    done = site.run(
        [
            record(lock="acquire"),
            record(event="started", stage="s"),
            gate(name="one", that=False),
            gate(name="two", that=False),
            record(lock="release"),
        ],
        "--check",
    )
    assert done.returncode == 0, done.stdout
    assert "Gate one failed" in done.stdout and "Gate two failed" in done.stdout
    assert not os.path.exists(site.state)


def test_no_secret_of_the_variables_is_recorded_or_shown(site):
    done = site.run(
        [
            record(event="note", data={"argv": ["rsync", "xx{{ migration_rsync_secret }}"], "password": "swordfish"}),
            gate(name="g", that=False, evidence={"said": "no {{ migration_rsync_secret }}"}, force=["g"]),
            dict(record(event="note", data={"hidden": "swordfish"}), no_log=True),
            record(event="read"),
        ],
        "-v",
        variables={"migration_rsync_secret": "{{ 'hunter' ~ '22' }}"},
    )
    assert done.returncode == 0, done.stdout
    with open(site.journal, encoding="ascii") as stream:
        content = stream.read()
    for text in (content, done.stdout):
        assert "hunter22" not in text and "swordfish" not in text


def test_the_summary_tells_where_to_go_on(site):
    tasks = [
        record(event="started", stage="cutover"),
        record(event="committed", stage="cutover"),
        dict(record(), register="journal"),
        {
            "ansible.builtin.assert": {
                "that": [
                    "journal.summary.committed",
                    "journal.summary.side == 'target'",
                    "journal.summary.open[0].stage == 'cutover'",
                    "journal.events | length > 0",
                    "not journal.lock.held",
                ]
            }
        },
    ]
    done = site.run([dict(task, run_once=True) for task in tasks])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event": "begun"}, "value of event must be one of"),
        ({"evnt": "started"}, "There is no option evnt"),
        ({"event": "started", "stage": "a\nb"}, "stage is 'a"),
        ({"event": "note", "state_dir": "state"}, "Give an absolute path"),
        ({"event": "note", "migration": "../x"}, "migration is '../x'"),
        ({"event": "note", "side": "target"}, "side belongs to event committed"),
    ],
)
def test_wrong_options_are_told_and_nothing_is_written(site, options, message):
    done = site.run([record(**options)])
    assert done.returncode != 0
    assert message in done.stdout
    assert not os.path.exists(site.state)


def test_files_and_databases_have_a_journal_each(site):
    assert site.run([record(event="started", stage="storage_copy")]).returncode == 0
    assert site.run([record(event="started", stage="storage_verify")]).returncode == 0
    before = site.events()
    done = site.run([record(event="started", stage="mysql_preflight", lock="acquire")])
    assert done.returncode != 0
    assert "has stages of another kind of migration (storage_verify)" in done.stdout
    assert site.events() == before
