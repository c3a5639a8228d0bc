# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of the story: every event that the playbooks wrote fits the schema, and the report can be made of it."""

import os
import sys

ROOT = os.environ["MOLECULE_PROJECT_DIRECTORY"]
sys.path.insert(0, os.path.join(ROOT, "build", "collections"))

from ansible_collections.seamless.migration.plugins.module_utils import journal, journal_schema  # noqa: E402 - after the path is set
from ansible_collections.seamless.migration.plugins.plugin_utils import report_model  # noqa: E402 - after the path is set

STATE = os.path.join(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "state")


def events():
    return list(journal.Journal.of(STATE, "story").read())


def test_every_event_fits_the_schema():
    found = [(event["event"], event["step"], journal_schema.problems(event)) for event in events()]
    assert len(found) > 20
    assert [problem for problem in found if problem[2]] == []


def test_the_report_has_the_window_with_its_steps_and_what_was_copied_and_compared():
    model = report_model.Model(events())
    window = model.windows[-1]
    assert window["state"] == "closed" and window["ms"] > 0
    assert {"stop_writers", "drain", "delta", "verify"} <= {bar["name"] for bar in window["bars"]}
    assert model.copies[-1]["files"] > 0 and model.compares[-1]["equal"]
    assert all(attempt["plays"] for attempt in model.attempts if attempt["state"] == "done")
