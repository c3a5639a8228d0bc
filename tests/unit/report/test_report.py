# SPDX-License-Identifier: GPL-3.0-or-later
"""The report tells what the journal holds, to the millisecond, and nothing that people name becomes markup."""

import html.parser
import re

import pytest
import report_stories as stories
from ansible_collections.seamless.migration.plugins.module_utils import journal_schema
from ansible_collections.seamless.migration.plugins.plugin_utils import charts, pages, words
from ansible_collections.seamless.migration.plugins.plugin_utils.report_model import Model, thinned, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

ALL = ("moved", "rolled_back", "failed", "killed_in_the_window", "hostile", "mysql")


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.keys, self.values, self.words = [], {}, [], []
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        if tag not in ("meta", "link", "br", "line", "circle", "polyline", "polygon"):
            self.open.append(tag)
        if "data-key" in found:
            self.keys[found["data-key"]] = found["data-value"]
        self.values += [(key, value) for key, value in found.items() if key.startswith("data-")]

    def handle_endtag(self, tag):
        if tag not in ("line", "circle", "polyline", "polygon"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page_of(story, running=False):
    return pages.report(Model(story.events, running=running), "files2026", "/ops/migration/files2026.jsonl")


@pytest.mark.parametrize("name", ALL)
def test_every_story_fits_the_schema_and_gives_a_whole_page(name):
    story = getattr(stories, name)()
    assert [journal_schema.problems(event) for event in story.events if journal_schema.problems(event)] == []
    page = Page(page_of(story))
    assert page.open == []
    assert {"html", "head", "body", "table"} <= set(page.tags)


@pytest.mark.parametrize("name", ALL)
def test_a_page_needs_no_script_and_no_network(name):
    text = page_of(getattr(stories, name)())
    page = Page(text)
    assert not {"script", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in text
    assert not [value for value in page.values if value[0].startswith("on")]


@pytest.mark.parametrize(
    "name, word",
    [
        ("moved", "Moved"),
        ("rolled_back", "Rolled back"),
        ("failed", "Failed"),
        ("killed_in_the_window", "Window open"),
        ("mysql", "Moved"),
    ],
)
def test_the_verdict_is_how_it_ended(name, word):
    assert verdict(Model(getattr(stories, name)().events))["word"] == word


def test_before_the_cutover_and_in_the_middle_of_it():
    story = stories.up_to_the_switch()
    assert verdict(Model(story.events))["word"] == "Before the cutover"
    story.begin("storage_cutover")
    assert verdict(Model(story.events, running=True))["word"] == "In progress"
    assert verdict(Model(story.events))["word"] == "Interrupted"
    assert verdict(Model([]))["word"] == "Nothing yet"


def test_the_window_is_told_as_the_journal_has_it():
    story = stories.moved()
    page = Page(page_of(story))
    at = {event["event"]: event["at"] for event in story.events}
    between = round((words.epoch(at["window_closed"]) - words.epoch(at["window_opened"])) * 1000)
    assert between == 5200
    assert page.keys["window"] == str(between) and "5.200 s" in page.text
    # The writers stopped 700 ms of Python and 1080 ms of steps after the opening.
    assert page.keys["window_ms"] == "3420" and "3.420 s" in page.text


def test_each_step_of_the_window_has_its_milliseconds():
    page = Page(page_of(stories.moved()))
    shown = [value for key, value in page.values if key == "data-ms"]
    assert [str(ms) for _name, ms, _detail in stories.FREEZE] == [value for value in shown if value != "3500.0"]
    assert "stop writers" in page.text and "631 paths" in page.text


def test_steps_lie_within_their_task_where_the_clocks_differ():
    story = stories.moved()
    for event in story.events:
        if event["step"] == "freeze" and event["event"] == "measured":
            for step in event["data"]["steps"]:
                step["at"] += 86400
    bars = Model(story.events).windows[0]["bars"]
    task = next(piece for piece in bars if piece["kind"] == "task")
    steps = [piece for piece in bars if piece["kind"] in ("step", "before")]
    assert len(steps) == len(stories.FREEZE)
    assert steps[-1]["from_ms"] + steps[-1]["ms"] == pytest.approx(task["from_ms"] + task["ms"])


def test_the_window_of_a_switchover_begins_with_the_fence():
    bars = {piece["name"]: piece for piece in Model(stories.mysql().events).windows[0]["bars"]}
    assert bars["fence"]["from_ms"] == 0
    assert bars["guardrails"]["from_ms"] == -300
    assert bars["drain"]["from_ms"] == 42.5
    assert Page(page_of(stories.mysql())).keys["window"] == "210"


def test_a_failed_migration_says_what_failed_where_and_why():
    text = Page(page_of(stories.failed())).text
    assert "Storage cutover failed at the task" in text and "on old." in text
    assert "1 file differs" in text and "its freeze was put back" in text


def test_a_killed_run_is_an_alarm():
    text = Page(page_of(stories.killed_in_the_window())).text
    assert "A run ended while nobody could write" in text
    assert "it was opened and never closed" in text


def test_numbers_of_copies_and_comparisons_are_those_of_the_journal():
    page = Page(page_of(stories.moved()))
    assert page.keys["copied_bytes"] == "2400000"
    assert page.keys["compares"] == "2" and page.keys["faults"] == "0" and page.keys["gates"] == "3"
    assert ("data-bytes", "2400000") in page.values and ("data-samples", "5") in page.values


def test_a_forced_gate_names_who_forced_it():
    story = stories.up_to_the_switch()
    story.begin("storage_cutover").gate("clocks", "forced", {"seconds": 9}, advice="Set them", forced_by="bob@ops1")
    text = Page(page_of(story.end())).text
    assert "bob@ops1" in text and "Set them" in text and "1 forced" in text


def test_what_people_name_never_becomes_markup():
    text = page_of(stories.hostile())
    page = Page(text)
    assert "script" not in page.tags
    assert "<script" not in text and "alert(&#34;1&#34;)" in text
    assert "49" not in re.findall(r"7\*7|49(?= }})", text)
    assert stories.HOSTILE.split("|")[0] in page.text


def test_the_same_journal_gives_the_same_page():
    assert page_of(stories.moved()) == page_of(stories.moved())


def test_a_long_migration_stays_below_500_kB():
    story = stories.Story().begin("storage_copy")
    for number in range(4_000):
        for tree in ("a", "b", "c"):
            data = {"tree": tree, "files_done": 1, "files_total": 2, "bytes_now": 1, "bytes_total": 2}
            story.measured(
                "copy", dict(data, bytes_per_s=number % 977 * 1000, eta_s=None, limit_kib_per_s=0), host="old"
            )
        story.wait(60)
    for number in range(3000):
        story.gate("gate_%d" % number, evidence={"n": number, "why": "x" * 60})
        story.say("fault", {"task": "T%d" % number, "cause": "y" * 1500}, host="old")
    assert len(page_of(story.end()).encode()) < 500_000


def test_a_journal_of_an_older_version_gives_a_page():
    story = stories.Story().begin("storage_copy")
    story.measured("copied", {"tree": "data"}).measured("compared", {"equal": True}).measured("freeze", {})
    story.gate("space", evidence=None).say("fault").say("window_closed").say("committed")
    assert Page(page_of(story.end())).open == []


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.floats(0, 1e12)), min_size=1, max_size=3000, unique_by=lambda p: p[0]
    )
)
@settings(max_examples=50, deadline=None)
def test_a_thinned_series_keeps_its_ends_and_its_extremes(points):
    points.sort()
    kept = thinned(points, 100)
    assert len(kept) <= max(100, 0) or kept == points
    assert kept[0] == points[0] and kept[-1] == points[-1]
    values = [value for _at, value in points]
    assert min(value for _at, value in kept) == min(values) and max(value for _at, value in kept) == max(values)
    assert kept == sorted(kept)


@given(
    st.dictionaries(
        st.text(max_size=9), st.lists(st.tuples(st.floats(0, 2e9), st.floats(0, 1e15)), min_size=1), min_size=1
    )
)
@settings(max_examples=30, deadline=None)
def test_any_series_can_be_plotted(series):
    drawn = charts.plot({name: sorted(points) for name, points in series.items()}, words.rate, "x", 1024)
    assert Page(str(drawn)).tags[0] == "svg" and "nan" not in drawn and "inf" not in drawn


@pytest.mark.parametrize(
    "function, value, shown",
    [
        (words.size, 1536, "1.5 KiB"),
        (words.size, 1023, "1023 B"),
        (words.size, None, "-"),
        (words.duration, 0.42, "420 ms"),
        (words.duration, 75, "1 min 15 s"),
        (words.duration, 90000, "1 d 1 h"),
        (words.duration, 3700, "1 h 1 min"),
        (words.exact, 7204.1, "7.204 s"),
        (words.exact, 18.4, "18 ms"),
        (words.count, 1234567, "1\u202f234\u202f567"),
        (words.moment, "2026-05-01T12:00:00.123Z", "1 May 2026 12:00:00"),
        (words.stage, "storage_cutover", "Storage cutover"),
        (words.stage, "mysql_seed", "MySQL seed"),
    ],
)
def test_numbers_are_written_for_people(function, value, shown):
    assert function(value) == shown


def test_evidence_is_told_without_what_is_empty():
    evidence = {"problems": [], "free_bytes": 2048, "ok": True, "trees": [{"lost": 1}, {"lost": 2}], "note": None}
    assert pages.facts(evidence) == [
        ("free bytes", "2.0 KiB"),
        ("ok", "yes"),
        ("trees 1 lost", "1"),
        ("trees 2 lost", "2"),
    ]


def test_a_page_is_written_in_one_step_and_only_when_it_differs(tmp_path):
    path = str(tmp_path / "x.html")
    assert pages.differs(path, "a") and pages.written(path, "a")
    assert not pages.differs(path, "a") and not pages.written(path, "a")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.html"]


def test_a_stage_that_one_run_tells_for_each_host_is_one_stage():
    story = stories.Story().begin("storage_copy").say("started").wait(2).end()
    assert [attempt["state"] for attempt in Model(story.events).attempts] == ["done"]
    again = stories.Story().begin("storage_copy").begin("storage_copy").end()
    assert [attempt["state"] for attempt in Model(again.events).attempts] == ["interrupted", "done"]


def test_a_second_run_that_finds_all_done_adds_nothing_to_the_window():
    story = stories.moved()
    before = Model(story.events).windows[-1]["bars"]
    story.wait(3600).begin("storage_cutover").wait(60).say("done", step="switch", host="app1").end()
    window = Model(story.events).windows[-1]
    assert window["bars"] == before
    assert [client["host"] for client in window["clients"]] == ["app1"]
