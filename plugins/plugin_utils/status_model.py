# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a migration is, by its journal: plain values, and as a table, as lines, as JSON."""

from __future__ import annotations

import json
import textwrap
import unicodedata

from ansible_collections.seamless.migration.plugins.plugin_utils import words
from ansible_collections.seamless.migration.plugins.plugin_utils.report_model import number_in, verdict

WIDTH = 100
FORMATS = ("table", "lines", "json")
_BAR = 20
_GATES = 8
_COPIES = ("copy", "copied", "seeding", "seed")


def status(model, migration, owner=None):
    """How far it is, as a dict that JSON takes.

    model: Model of the journal. owner: who holds the lock, see Lock.owner().
    """
    said = verdict(model)
    return {
        "migration": migration,
        "state": said["word"],
        "sentence": said["sentence"],
        "at": model.events[-1]["at"] if model.events else None,
        "working": (owner or {}).get("playbook") or ("yes" if owner else None),
        "stages": _stages(model),
        "trees": _trees(model),
        "compares": _compares(model),
        "channels": _channels(model),
        "window": _window(model),
        "gates": _gates(model),
        "faults": [
            {key: fault.get(key) for key in ("at", "stage", "host", "task", "cause")} for fault in model.faults[-3:]
        ],
    }


def _stages(model):
    """The last start of each stage, in the order in which they came."""
    last = {}
    for attempt in model.attempts:
        last.pop(attempt["stage"], None)
        last[attempt["stage"]] = attempt
    keys = ("stage", "state", "started", "seconds", "cause")
    return [{key: attempt[key] for key in keys} for attempt in last.values()]


def _by_time(model):
    """The last measurements of each kind, host and tree, the oldest first."""
    return [(*key, data) for key, data in sorted(model.latest.items(), key=lambda item: item[1]["at"])]


def _trees(model):
    """By tree what the copy and live sync last said."""
    found = {}
    for step, _host, tree, data in _by_time(model):
        if step in _COPIES:
            entry = found.setdefault(tree or "mysql", {"tree": tree or "mysql"})
            if entry.get("at", "") <= data["at"]:
                entry.update(_copy(data, step), parts=[])
        elif step == "part_copy":
            found.setdefault(tree, {"tree": tree}).setdefault("parts", []).append(data)
        elif step == "live_sync":
            for name, sync in (data.get("trees") or {}).items():
                seen = {key: (sync or {}).get(key) for key in ("delays", "active", "dirty")}
                # Not every look measures the lag.
                points = model.series["lag"].get(name)
                found.setdefault(name, {"tree": name}).update(seen, lag_s=points[-1][1] if points else None)
    return [_whole(found[name]) for name in sorted(found)]


def _whole(entry):
    """A tree with what its workers have copied since their lists were dealt."""
    parts = entry.pop("parts", [])
    if parts:
        for key, of_part in (("files_done", "files_done"), ("bytes_done", "bytes_now")):
            entry[key] = (entry.get(key) or 0) + sum(number_in(part, of_part) or 0 for part in parts)
        entry["bytes_per_s"] = sum(number_in(part, "bytes_per_s") or 0 for part in parts)
        left = (number_in(entry, "bytes_total") or 0) - entry["bytes_done"]
        entry["eta_s"] = round(left / entry["bytes_per_s"]) if entry["bytes_per_s"] and left > 0 else None
        entry["at"] = max(part["at"] for part in parts)
    return entry


def _copy(data, step):
    if step in ("copied", "seed"):
        total = {
            "files_done": (data.get("files") or 0) + (data.get("files_skipped") or 0),
            "bytes_done": data.get("bytes"),
        }
        whole = {"files_total": total["files_done"], "bytes_total": total["bytes_done"]}
        state = {
            "phase": data.get("state", "done"),
            "bytes_per_s": data.get("bytes_per_s"),
            "eta_s": None,
            "at": data["at"],
        }
        return dict(total, limit_kib_per_s=data.get("limit_kib_per_s"), **whole, **state)
    keys = ("phase", "files_done", "files_total", "bytes_total", "bytes_per_s", "eta_s", "limit_kib_per_s", "at")
    return dict({key: data.get(key) for key in keys}, bytes_done=data.get("bytes_now"))


def _compares(model):
    """The compares of the stage that runs, until one of them has a result."""
    if not model.attempt:
        return []
    found = []
    for step, host, tree, data in _by_time(model):
        if step in ("compared", "data_compared"):
            found = []
        elif step == "comparing" and data["at"] >= model.attempt["started"]:
            keys = ("phase", "done", "total", "unit", "per_s", "eta_s")
            found.append(dict({key: data.get(key) for key in keys}, tree=tree, host=host))
    return found


def _channels(model):
    found = {}
    for step, host, _tree, data in _by_time(model):
        if step == "replication":
            for name, channel in (data.get("channels") or {}).items():
                keys = ("running", "lag_ms", "error")
                found[name] = dict(
                    {key: (channel or {}).get(key) for key in keys}, channel=name or "default", host=host
                )
    return list(found.values())


def _window(model):
    if not model.windows:
        return None
    return {key: model.windows[-1][key] for key in ("stage", "state", "opened", "closed", "ms", "really_ms")}


def _gates(model):
    return [
        {"name": gate.get("name"), "state": gate.get("state"), "at": gate["at"], "host": gate.get("host")}
        for gate in model.last_gates()
    ]


# --- as text -----------------------------------------------------------------------------------------------------


def text(found, form, width=WIDTH):
    """The status (dict) in one of FORMATS, as text without a newline at its end."""
    if form == "json":
        return json.dumps(found, sort_keys=True)
    return "\n".join(_lines(found)) if form == "lines" else _table(found, width)


def wide(line):
    """How many columns a line takes on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line
    )


def plain(value):
    """A value without what would steer a terminal."""
    return "".join(char if unicodedata.category(char)[0] != "C" else "?" for char in str(value))


def cut(line, width):
    """A line that takes at most `width` columns."""
    if wide(line) <= width:
        return line
    kept = ""
    for char in line:
        if wide(kept + char) > width - 1:
            break
        kept += char
    return kept + "\u2026"


def padded(value, width):
    """A value that takes exactly `width` columns."""
    shown = cut(plain(value), width)
    return shown + " " * (width - wide(shown))


def drawn(done, total, width=_BAR):
    """A bar that tells which part is done: '[########............]'."""
    part = min(1.0, done / total) if total else 0.0
    full = int(part * width)
    return "[%s%s]" % ("#" * full, "." * (width - full))


def percent(done, total):
    return "%3d %%" % int(100 * min(1.0, done / total)) if total else "  - %"


def _table(found, width):
    lines = ["%s   %s" % (plain(found["migration"]), found["state"])]
    lines += textwrap.wrap(plain(found["sentence"]), width, initial_indent="  ", subsequent_indent="  ")
    if found["working"]:
        lines.append("  At work: %s" % plain(found["working"]))
    lines += ["", "  %-20s %-12s %-21s %10s" % ("STAGE", "state", "began (UTC)", "took")]
    for stage in found["stages"]:
        took = words.duration(stage["seconds"])
        row = (padded(stage["stage"], 20), padded(stage["state"], 12), words.moment(stage["started"]), took)
        lines.append("  %s %s %-21s %10s" % row)
        if stage["cause"]:
            lines.append("      " + plain(" ".join(str(stage["cause"]).split())))
    lines += _tree_lines(found["trees"]) + _compare_lines(found["compares"])
    lines += _channel_lines(found["channels"]) + _gate_lines(found["gates"])
    if found["window"]:
        took = words.exact(found["window"]["really_ms"] or found["window"]["ms"])
        lines += ["", "  WINDOW  %s, %s, %s" % (found["window"]["stage"], found["window"]["state"], took)]
    for fault in found["faults"]:
        row = (words.clock(fault["at"]), fault["host"] or "-", fault["task"], fault["cause"])
        lines += ["", "  FAULT   %s %s, %s: %s" % tuple(plain(" ".join(str(part).split())) for part in row)]
    return "\n".join(cut(line, width) for line in lines)


def _tree_lines(trees):
    if not trees:
        return []
    lines = ["", "  %-14s %-22s %5s %21s %11s %9s %6s" % ("TREE", "copied", "", "", "rate", "left", "lag")]
    for tree in trees:
        done, total = number_in(tree, "bytes_done") or 0, number_in(tree, "bytes_total") or 0
        finished = tree.get("phase") == "done"
        shown = (done or 1, done or 1) if finished else (done, total)
        lag = tree.get("lag_s")
        lines.append(
            "  %s %s %5s %21s %11s %9s %6s"
            % (
                padded(tree["tree"], 14),
                drawn(*shown),
                percent(*shown),
                "%s/%s" % (words.size(done), words.size(total)) if not finished else words.size(done),
                words.rate(tree.get("bytes_per_s")),
                "done" if finished else _short(tree.get("eta_s")),
                "-" if lag is None else "%.1f s" % lag,
            )
        )
        more = _more(tree)
        if more:
            lines.append("      " + more)
    return lines


def _more(tree):
    found = []
    if tree.get("files_total"):
        found.append("%s of %s files" % (_count(tree.get("files_done")), _count(tree["files_total"])))
    if tree.get("limit_kib_per_s"):
        found.append("limit %s" % words.rate(tree["limit_kib_per_s"] * 1024))
    if tree.get("delays") is not None:
        found.append("%s changes under way" % _count(tree["delays"]))
    if tree.get("dirty"):
        found.append("%s paths failed" % _count(tree["dirty"]))
    return ", ".join(found)


def _short(seconds):
    return (
        "-" if seconds is None else words.duration(seconds).replace(" min", "m").replace(" h", "h").replace(" d", "d")
    )


def _compare_lines(compares):
    if not compares:
        return []
    lines = ["", "  %-26s %-22s %5s %20s %11s %7s" % ("COMPARE", "done", "", "", "rate", "left")]
    for compare in compares:
        done, total = number_in(compare, "done") or 0, number_in(compare, "total")
        lines.append(
            "  %s %s %5s %20s %11s %7s"
            % (
                padded("%s %s" % (compare["host"], compare["tree"]), 26),
                drawn(done, total),
                percent(done, total),
                "%s %s" % (_count(done), plain(compare.get("unit") or "")),
                _count(number_in(compare, "per_s") or 0) + "/s",
                _short(compare.get("eta_s")),
            )
        )
        lines.append("      " + plain(compare.get("phase") or ""))
    return lines


def _channel_lines(channels):
    if not channels:
        return []
    lines = ["", "  %-24s %-10s %12s" % ("CHANNEL", "running", "lag")]
    for channel in channels:
        running = "yes" if channel["running"] else "no"
        lines.append("  %s %-10s %12s" % (padded(channel["channel"], 24), running, words.exact(channel["lag_ms"])))
        if channel.get("error"):
            lines.append("      " + plain(channel["error"]))
    return lines


def _gate_lines(gates):
    if not gates:
        return []
    counts = [
        "%d %s" % (sum(gate["state"] == state for gate in gates), state) for state in ("ok", "forced", "failed")
    ]
    lines = ["", "  GATES   " + ", ".join(counts)]
    bad = [gate for gate in gates if gate["state"] != "ok"]
    for gate in bad[-_GATES:]:
        host = " on %s" % plain(gate["host"]) if gate["host"] else ""
        lines.append("          %-8s %s%s, %s" % (gate["state"], plain(gate["name"]), host, words.clock(gate["at"])))
    return lines


def _lines(found):
    """One fact a line, for logs and scripts."""
    lines = ["migration=%s state=%s" % (plain(found["migration"]), _word(found["state"]))]
    lines += [
        "stage=%s state=%s seconds=%s" % (stage["stage"], stage["state"], stage["seconds"])
        for stage in found["stages"]
    ]
    lines += [_facts(tree, ("tree",)) for tree in found["trees"]]
    lines += [_facts(dict(compare, compare=compare["tree"]), ("compare", "host")) for compare in found["compares"]]
    for channel in found["channels"]:
        lines.append("channel=%(channel)s running=%(running)s lag_ms=%(lag_ms)s" % channel)
    lines += ["gate=%s state=%s" % (_word(gate["name"]), gate["state"]) for gate in found["gates"]]
    if found["window"]:
        lines.append("window=%(stage)s state=%(state)s ms=%(ms)s" % found["window"])
    return lines


def _facts(entry, first):
    """What is known of an entry (dict) as one line, these keys first."""
    keys = [key for key in sorted(entry) if key not in (*first, "tree", "at") and entry[key] is not None]
    return " ".join("%s=%s" % (key, _word(entry[key])) for key in [*first, *keys])


def _count(number):
    """A number with blanks that take one column on every terminal."""
    return words.count(number).replace("\u202f", " ")


def _word(value):
    return plain(value).replace(" ", "_")
