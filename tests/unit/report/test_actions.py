# SPDX-License-Identifier: GPL-3.0-or-later
"""migration_report, migration_plan and migration_status as ansible-playbook runs them, for hosts out of reach."""

import json
import os

import plays
import pytest
import report_stories as stories

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


class Site:
    """A folder with the journal of a migration."""

    def __init__(self, path):
        self.path = path
        self.journal = os.path.join(path, "m1.jsonl")

    def tell(self, story):
        with open(self.journal, "w", encoding="ascii") as stream:
            for event in story.events:
                stream.write(json.dumps(dict(event, migration="m1")) + "\n")

    def run(self, *tasks, options=()):
        """Run tasks; returns the exit code and what was printed."""
        made = [{module: dict({"migration": "m1", "state_dir": self.path}, **args)} for module, args in tasks]
        secret = {"migration_mysql": {"source": {"login_host": "db", "login_password": "s3cr3t-x"}}}
        play = [{"hosts": "all", "gather_facts": False, "vars": secret, "tasks": made}]
        done = plays.run(self.path, play, *options, inventory="old.invalid,")
        return done.returncode, done.stdout

    def read(self, name):
        with open(os.path.join(self.path, name), encoding="utf-8") as stream:
            return stream.read()


@pytest.fixture
def site(tmp_path):
    return Site(str(tmp_path))


REPORT = "seamless.migration.migration_report"
PLAN = "seamless.migration.migration_plan"
STATUS = "seamless.migration.migration_status"


def test_a_report_and_a_plan_are_written_once(site):
    site.tell(stories.moved())
    plan = (
        PLAN,
        {"storage": {"trees": stories.inputs()["trees"], "source": "old"}, "mysql": "{{ migration_mysql }}"},
    )
    code, text = site.run((REPORT, {}), (REPORT, {}), plan, plan)
    assert code == 0, text
    assert "ok=4    changed=2" in text
    assert "<h1>m1</h1>" in site.read("m1-report.html")
    assert "3.420 s" in site.read("m1-plan.html") and "storage\\_source" not in site.read("m1-plan.md")
    assert "s3cr3t-x" not in site.read("m1-plan.html") + site.read("m1-plan.md")


def test_check_mode_writes_no_page_and_records_nothing(site):
    site.tell(stories.moved())
    before = site.read("m1.jsonl")
    look = {"copies": [{"job": "data", "state": "running", "progress": {"bytes_now": 1}}]}
    code, text = site.run((REPORT, {}), (STATUS, {"looks": [look]}), options=["--check"])
    assert code == 0 and "changed=1" in text, text
    assert not os.path.exists(os.path.join(site.path, "m1-report.html"))
    assert site.read("m1.jsonl") == before


def test_a_report_without_a_journal_says_what_to_do(site):
    code, text = site.run((REPORT, {}))
    assert code != 0 and "There is no journal" in text and "correct migration_name" in text


def test_a_look_is_recorded_and_shown_as_lines_where_there_is_no_terminal(site):
    site.tell(stories.up_to_the_switch())
    sync = {"alive": True, "converged": None, "reasons": [], "syncs": [{"name": "data", "delays": 9, "active": 1}]}
    code, text = site.run((STATUS, {"looks": [{"host": "old", "live_sync": sync}]}))
    assert code == 0, text
    assert "tree=data" in text and "delays=9" in text and "stage=storage_copy state=done" in text
    event = json.loads(site.read("m1.jsonl").splitlines()[-1])
    assert (event["step"], event["host"], event["data"]["trees"]["data"]["delays"]) == ("live_sync", "old", 9)
