# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand in a journal: the schema finds what is wrong, and the documentation tells the same."""

import os
import re

import pytest
from ansible_collections.seamless.migration.plugins.module_utils import journal, journal_schema
from hypothesis import given
from hypothesis import strategies as st

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

COPIED = {"job": "data", "state": "done", "files": 3, "bytes": 10, "seconds": 1.5, "bytes_per_s": 6}


def event(kind="note", data=None, **more):
    made = {
        "at": "2026-05-01T12:00:00.123Z",
        "migration": "m1",
        "stage": "storage_copy",
        "step": None,
        "host": None,
        "event": kind,
        "data": {} if data is None else data,
    }
    made.update(more)
    return made


def test_every_event_that_is_written_fits_the_schema(tmp_path):
    record = journal.Journal.of(str(tmp_path), "m1")
    data = {
        "committed": {"side": "target"},
        "gate": {"name": "space", "state": "ok", "evidence": {}},
        "lock": {"state": "acquired"},
        "fault": {"task": "Copy", "cause": "disk full"},
        "measured": {"seconds": 1},
    }
    for kind in journal.EVENTS:
        record.append(kind, data=data.get(kind), stage="storage_copy", step="compare")
    assert [journal_schema.problems(found) for found in record.read()] == [[]] * len(journal.EVENTS)


@pytest.mark.parametrize(
    "wrong, problem",
    [
        (event(at="yesterday"), "at is 'yesterday'"),
        (event(migration="a/b"), "migration is 'a/b'"),
        (event(stage=3), "stage is 3"),
        (event("vanished"), "event is 'vanished'"),
        (event(data=[]), "data is []"),
        (event("committed", {"side": "left"}), "data.side is 'left'"),
        (event("gate", {"name": "space", "state": "ok"}), "data.evidence is missing"),
        (event("gate", {"name": "space", "state": "forced", "evidence": {}}), "data.forced_by is missing"),
        (event("measured", {"seconds": 1}, step="elsewhere"), "step 'elsewhere' is no measurement"),
        (event("measured", {"seconds": True}, step="compare"), "data.seconds is True"),
        (
            event(
                "measured",
                {"state": "x", "steps": [{"name": "a", "ok": True}], "window_ms": 1, "frozen_at": 0},
                step="freeze",
            ),
            "data.steps[0].ms is missing",
        ),
        ({key: value for key, value in event().items() if key != "host"}, "key host is missing"),
        (event(extra=1), "key extra is unknown"),
    ],
)
def test_what_does_not_fit_is_named(wrong, problem):
    assert any(found.startswith(problem) for found in journal_schema.problems(wrong)), journal_schema.problems(wrong)


def test_data_that_no_log_hides_fit():
    assert journal_schema.problems(event("measured", {"no_log": True}, step="copied")) == []


@given(
    st.dictionaries(st.sampled_from(journal_schema.KEYS), st.none() | st.integers() | st.text() | st.lists(st.none()))
)
def test_whatever_is_no_event_is_told_apart_without_an_error(anything):
    assert isinstance(journal_schema.problems(anything), list)


def test_what_modules_return_becomes_measurements_that_fit():
    results = {
        "storage_info": ({"trees": [{"path": "/a", "counts": {"files": 1}, "free_bytes": 2}, {"path": "/b"}]}, {}),
        "bulk_copy": (COPIED, {"workers": 8}),
        "lsyncd_info": (
            {
                "converged": True,
                "reasons": [],
                "syncs": [{"name": "data", "delays": 0}],
                "latency": {"data": 1.2},
                "seconds": 3,
            },
            {"wait": True},
        ),
        "tree_compare": ({"equal": False, "counts": {"lost": 1}, "seconds": 2.0}, {"path": "/a", "level": "full"}),
        "storage_freeze": (
            {
                "state": "drained",
                "steps": [{"name": "drain", "ms": 1.0, "ok": True}],
                "window_ms": 9.0,
                "frozen_at": 1.0,
            },
            {"state": "frozen"},
        ),
    }
    assert set(results) <= set(journal_schema._READERS)
    for module, (result, args) in results.items():
        step, data = journal_schema.measurement(module, result, args)
        assert journal_schema.problems(event("measured", data, step=step)) == []


def test_the_mending_of_a_tree_is_told_apart_from_its_copy():
    assert journal_schema.measurement("bulk_copy", COPIED, {"mode": "delta", "job": "verify-data"})[0] == "mended"
    assert journal_schema.measurement("bulk_copy", COPIED, {"mode": "full"})[0] == "copied"


@pytest.mark.parametrize(
    "module, result, args",
    [
        ("ping", {"ping": "pong"}, {}),
        ("storage_info", {"trees": [{"path": "/a"}]}, {}),
        ("storage_info", {"msg": "failed"}, {}),
        ("bulk_copy", dict(COPIED, state="running"), {}),
        ("bulk_copy", {"changed": True}, {}),
        ("lsyncd_info", {"converged": None, "syncs": []}, {"wait": False}),
        ("tree_compare", {"manifest": "x"}, {}),
        ("storage_freeze", {"state": "staged", "steps": [{}]}, {"state": "staged"}),
        ("storage_freeze", {"msg": "failed", "steps": []}, {"state": "frozen"}),
    ],
)
def test_what_measured_nothing_is_no_measurement(module, result, args):
    assert journal_schema.measurement(module, result, args) is None


def documented():
    with open(os.path.join(ROOT, "docs", "journal.md"), encoding="utf-8") as stream:
        return stream.read()


def test_the_documentation_has_every_event():
    table = documented().partition("## Events")[2].partition("## Measurements")[0]
    assert set(journal.EVENTS) <= set(re.findall(r"`(\w+)`", table))


def test_the_documentation_has_every_measurement_with_its_keys():
    text = documented().partition("## Measurements")[2].partition("## How far")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", text, re.MULTILINE))
    rows.pop("step")
    assert set(rows) == set(journal_schema.MEASUREMENTS)
    for step, keys in journal_schema.MEASUREMENTS.items():
        assert set(keys) <= set(re.findall(r"`(\w+)`", rows[step])), step
