# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report and plan as pages that stand alone: no script, nothing from a network, every value escaped."""

from __future__ import annotations

import functools
import json
import os

import jinja2
from ansible_collections.seamless.migration.plugins.plugin_utils import charts, words
from ansible_collections.seamless.migration.plugins.plugin_utils.report_model import number_in, thinned, verdict

TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
# Words of states, and the tone in which they are shown.
TONES = {
    "ok": "good",
    "done": "good",
    "closed": "good",
    "yes": "good",
    "equal": "good",
    "failed": "bad",
    "open": "bad",
    "interrupted": "bad",
    "different": "bad",
    "forced": "warn",
    "undone": "warn",
    "skipped": "calm",
    "running": "busy",
}
_LONG = 120
_MARKDOWN = "\\`*_[]|#"
_ROWS = 400


def facts(evidence, prefix=""):
    """Evidence (any JSON) as a flat list of (name, text), without what is empty."""
    if isinstance(evidence, dict):
        return [fact for key, value in evidence.items() for fact in facts(value, _join(prefix, str(key)))]
    if isinstance(evidence, (list, tuple)):
        if any(isinstance(item, (dict, list)) for item in evidence):
            several = len(evidence) > 1
            return [
                fact
                for number, item in enumerate(evidence)
                for fact in facts(item, _join(prefix, str(number + 1)) if several else prefix)
            ]
        return [(prefix, ", ".join(str(item) for item in evidence))] if evidence else []
    if evidence in (None, ""):
        return []
    return [(prefix, _text(prefix, evidence))]


def _join(prefix, key):
    return "%s %s" % (prefix, words.step(key)) if prefix else words.step(key)


def _text(name, value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and name.endswith("bytes"):
        return words.size(value)
    if isinstance(value, int):
        return words.count(value)
    return str(value)


def shortened(text, most=_LONG):
    """Text that is cut after `most` characters."""
    text = str(text)
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def _known(write):
    """A filter that takes what is not there as None: a journal may lack what an older version did not record."""
    return lambda value, *rest: write(None if isinstance(value, jinja2.Undefined) else value, *rest)


def markdown(text):
    """Text that Markdown takes as text, in a table too."""
    shown = " ".join(str(text).split())
    return "".join("\\" + char if char in _MARKDOWN else char for char in shown).replace("<", "&lt;")


@functools.lru_cache(maxsize=2)
def environment(escape=True):
    """The environment of the templates. escape: False for those that are no HTML."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=escape,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        size=_known(words.size),
        rate=_known(words.rate),
        count=_known(words.count),
        duration=_known(words.duration),
        exact=_known(words.exact),
        moment=_known(words.moment),
        clock=_known(words.clock),
        stage=_known(words.stage),
        step=_known(words.step),
        facts=facts,
        md=markdown,
        shortened=shortened,
        tone=lambda state: TONES.get(state, "calm"),
        pretty=lambda value: json.dumps(value, indent=1, ensure_ascii=False),
    )
    return made


def span(model):
    """(first, last) time of the stages in seconds since 1970, or None."""
    times = [words.epoch(attempt[key]) for attempt in model.attempts for key in ("started", "ended") if attempt[key]]
    return (min(times), max(*times, min(times) + 1)) if times else None


def timeline(model):
    """The attempts with `left` and `wide` in percent of the time from the first to the last."""
    ends = span(model)
    rows = []
    for attempt in model.attempts[-_ROWS:]:
        begin = words.epoch(attempt["started"])
        end = words.epoch(attempt["ended"] or attempt["last"])
        scale = 100 / (ends[1] - ends[0])
        rows.append(dict(attempt, left=round((begin - ends[0]) * scale, 2), wide=round((end - begin) * scale, 2)))
    return rows


def waterfall(window):
    """The bars of a window with `left` and `wide` in percent, and the width of the picture in milliseconds."""
    shown = window["bars"]
    least = min([0] + [piece["from_ms"] for piece in shown])
    most = max([window["ms"] or 0, 1] + [piece["from_ms"] + piece["ms"] for piece in shown])
    scale = 100 / (most - least)
    return {
        "bars": [
            dict(piece, left=round((piece["from_ms"] - least) * scale, 2), wide=round(piece["ms"] * scale, 2))
            for piece in shown
        ],
        "zero": round(-least * scale, 2),
        "ms": most,
    }


def plots(model):
    """The plots of the report: list of (key, heading, Markup, legend)."""
    found = []
    asked = (
        ("copy", "Throughput of the first copy", words.rate, 1024),
        ("lag", "Lag of live sync and replication", words.duration, 10),
    )
    for key, heading, unit, base in asked:
        series = {name: thinned(points) for name, points in model.series[key].items() if points}
        if series:
            numbers = [
                {
                    "name": name,
                    "line": charts.LINES[index % len(charts.LINES)],
                    "least": unit(min(value for _at, value in model.series[key][name])),
                    "most": unit(max(value for _at, value in model.series[key][name])),
                    "last": unit(model.series[key][name][-1][1]),
                    "samples": len(model.series[key][name]),
                }
                for index, name in enumerate(series)
            ]
            found.append((key, heading, charts.plot(series, unit, heading, base), numbers))
    return found


def differs(path, content):
    """Whether a file holds something else than a page (text)."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read() != content
    except (OSError, UnicodeDecodeError):
        return True


def written(path, content):
    """Write a page (text) to path in one step, readable for all who may enter its folder. Whether it differed."""
    if not differs(path, content):
        return False
    temporary = "%s.%d.tmp" % (path, os.getpid())
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(content)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
    return True


def report(model, migration, source):
    """The report as text of HTML. model: Model; migration: its name; source: where the journal lies."""
    template = environment().get_template("report.html.j2")
    return template.render(
        model=model,
        migration=migration,
        source=source,
        verdict=verdict(model),
        timeline=timeline(model) if model.attempts else [],
        windows=[dict(window, picture=waterfall(window)) for window in model.windows],
        plots=plots(model),
        first=model.events[0]["at"] if model.events else None,
        last=model.events[-1]["at"] if model.events else None,
        copied_bytes=sum(number_in(copy, "bytes") or 0 for copy in model.copies),
        copied_seconds=sum(number_in(copy, "seconds") or 0 for copy in model.copies),
        rows=_ROWS,
    )


def plan(plans, migration, source, inventory=""):
    """The plan as (text of HTML, text of Markdown).

    plans: list of what storage_plan() and mysql_plan() returned. inventory: how the user names it on the command line.
    """
    known = {"plans": plans, "migration": migration, "source": source, "inventory": inventory}
    page = environment().get_template("plan.html.j2").render(known)
    return page, environment(escape=False).get_template("plan.md.j2").render(known)
