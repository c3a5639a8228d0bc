# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fold the journal of a migration into what a report shows: plain values, nothing of how it looks."""

from __future__ import annotations

from ansible_collections.seamless.migration.plugins.module_utils import journal
from ansible_collections.seamless.migration.plugins.plugin_utils.words import epoch, stage

# Steps of a freeze or switchover before which people can still write.
_BEFORE = {"other_side", "live_sync", "approach", "deadman", "lift_throttle", "open_files"}
_POINTS = 600
_EMPTY = (None, "", [], {})


def number_in(data, key):
    """A number under a key of data, or None."""
    value = data.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def thinned(points, most=_POINTS):
    """Points (list of (x, y), ordered) with at most `most` of them: first, last, lowest and highest of each bucket."""
    if len(points) <= most:
        return points
    buckets = max(1, most // 4)
    kept = []
    for index in range(buckets):
        part = points[index * len(points) // buckets : (index + 1) * len(points) // buckets]
        wanted = {0, len(part) - 1}
        wanted.add(min(range(len(part)), key=lambda i: part[i][1]))
        wanted.add(max(range(len(part)), key=lambda i: part[i][1]))
        kept += [part[i] for i in sorted(wanted)]
    return kept


class Model:
    """What happened. Attributes are lists of dicts, in the order of the journal.

    attempts: each start of a stage (stage, started, ended, state, seconds, user, plays, faults, gates, cause).
    gates, forced, faults, windows, copies, compares, data_compares: see the methods that fill them.
    series: "copy" and "lag", by name of the tree or channel -> list of (seconds since 1970, number).
    """

    def __init__(self, events, running=False):
        """events: iterable of dicts, the oldest first. running: whether somebody works on the migration now."""
        self.events = list(events)
        self.running = running
        self.attempts = []
        self.gates = []
        self.faults = []
        self.windows = []
        self.copies = []
        self.mends = []
        self.compares = []
        self.data_compares = []
        self.servers = {}
        self.looks = {}
        self.runs = []
        self.series = {"copy": {}, "lag": {}}
        self.latest = {}
        self.user = None
        for event in self.events:
            self._fold(event)
        self._close()
        self.summary = journal.summary(self.events)

    # --- folding ---

    @property
    def attempt(self):
        """The stage that is going on, or None."""
        return self.attempts[-1] if self.attempts and self.attempts[-1]["ended"] is None else None

    def _fold(self, event):
        kind = event["event"]
        handler = getattr(self, "_on_" + kind, None)
        whole = event.get("step") is None and event.get("host") is None
        if kind in ("done", "skipped", "failed", "undone") and whole:
            self._stage_ended(event)
        elif handler:
            handler(event, event.get("data") or {})
        if kind == "undone" and self._open_window():
            self._end_window(event, "undone")
            self.windows[-1]["cause"] = (event.get("data") or {}).get("cause") or (event.get("data") or {}).get(
                "reason"
            )

    def _on_lock(self, event, data):
        if data.get("state") in ("acquired", "taken_over"):
            self.user = data.get("user")
            self.runs.append({"at": event["at"], "user": data.get("user"), "playbook": data.get("playbook")})
            if data["state"] == "taken_over" and self.attempt:
                self._interrupt("the run died; the next one took over from it")

    def _on_started(self, event, data):
        if event.get("step") is not None or event.get("host") is not None:
            return
        attempt = self.attempt
        if attempt and attempt["stage"] == event.get("stage") and attempt["run"] == len(self.runs):
            return  # the same run told it for each of its hosts
        self._interrupt("it did not end, and another run began")
        self.attempts.append(
            {
                "stage": event.get("stage"),
                "started": event["at"],
                "ended": None,
                "last": event["at"],
                "state": "running",
                "seconds": None,
                "user": self.user,
                "run": len(self.runs),
                "plays": [],
                "faults": [],
                "gates": [],
                "cause": "",
                "host": None,
                "task": None,
            }
        )

    def _on_done(self, event, data):
        if data.get("play") and self.attempts:
            play = {"name": event["step"], "began": data.get("began"), "seconds": number_in(data, "seconds")}
            self.attempts[-1]["plays"].append(play)
        window = self._window_of(event)
        # A run that finds all done tells it again: that is no part of the window any more.
        if event.get("step") == "switch" and window and window["state"] == "open":
            window["clients"].append({"host": event.get("host"), "at": event["at"]})

    def _stage_ended(self, event):
        attempt = self.attempt
        if not attempt or attempt["stage"] != event.get("stage"):
            return
        data = event.get("data") or {}
        attempt.update(ended=event["at"], state=event["event"])
        attempt["seconds"] = journal.seconds_between(attempt["started"], event["at"])
        if event["event"] == "failed":
            attempt.update(cause=data.get("cause", ""), host=data.get("host"), task=data.get("task"))

    def _interrupt(self, cause):
        attempt = self.attempt
        if attempt:
            attempt.update(state="interrupted", ended=attempt["last"], cause=cause)
            attempt["seconds"] = journal.seconds_between(attempt["started"], attempt["last"])

    def _on_gate(self, event, data):
        gate = dict(data, at=event["at"], stage=event.get("stage"), host=event.get("host"))
        self.gates.append(gate)
        if self.attempt:
            self.attempt["gates"].append(gate)
            self.attempt["last"] = event["at"]

    def _on_fault(self, event, data):
        fault = dict(data, at=event["at"], stage=event.get("stage"), host=event.get("host"))
        self.faults.append(fault)
        if self.attempt:
            self.attempt["faults"].append(fault)
            self.attempt["last"] = event["at"]

    # --- the window ---

    def _open_window(self):
        return bool(self.windows) and self.windows[-1]["state"] == "open"

    def _window_of(self, event):
        """The window that an event belongs to: the last one, when it is of the same stage."""
        if self.windows and self.windows[-1]["stage"] in (event.get("stage"), None):
            return self.windows[-1]
        return None

    def _on_window_opened(self, event, data):
        self.windows.append(
            {
                "stage": event.get("stage"),
                "host": event.get("host"),
                "opened": event["at"],
                "closed": None,
                "state": "open",
                "ms": None,
                "proven_ms": None,
                "frozen_at": None,
                "committed": None,
                "side": None,
                "steps": [],
                "tasks": [],
                "clients": [],
                "cause": "",
                "predicted_s": self._gate_number("window", "predicted_window_s"),
                "budget_s": self._gate_number("window", "budget_s"),
                "paths": None,
            }
        )

    def _gate_number(self, name, key):
        for gate in reversed(self.gates):
            if gate.get("name") == name:
                return number_in(gate.get("evidence") or {}, key)
        return None

    def _on_window_closed(self, event, data):
        if self._open_window():
            self._end_window(event, "undone" if data.get("undone") else "closed")

    def _end_window(self, event, state):
        window = self.windows[-1]
        window.update(state=state, closed=event["at"])
        window["ms"] = round(journal.seconds_between(window["opened"], event["at"]) * 1000)

    def _on_committed(self, event, data):
        if self._open_window():
            self.windows[-1].update(committed=event["at"], side=journal.side_of(event))

    # --- measurements ---

    def _on_measured(self, event, data):
        handler = getattr(self, "_measured_" + str(event.get("step")), None)
        if self.attempt:
            self.attempt["last"] = event["at"]
        self.latest[(event.get("step"), event.get("host"), data.get("tree"))] = dict(data, at=event["at"])
        if handler:
            handler(event, data)

    def _measured_copy(self, event, data):
        if number_in(data, "bytes_per_s") is not None:
            points = self.series["copy"].setdefault(str(data.get("tree")), [])
            points.append((epoch(event["at"]), data["bytes_per_s"]))

    _measured_seeding = _measured_copy

    def _measured_part_copy(self, event, data):
        self._measured_copy(event, dict(data, tree="%s on %s" % (data.get("tree"), event.get("host"))))

    def _measured_copied(self, event, data):
        self.copies.append(dict(data, at=event["at"], host=event.get("host")))

    _measured_seed = _measured_copied

    def _measured_mended(self, event, data):
        self.mends.append(dict(data, at=event["at"], host=event.get("host")))

    def _measured_look(self, event, data):
        self.looks[event.get("host")] = dict(data, at=event["at"])

    def _measured_live_sync(self, event, data):
        for name, tree in (data.get("trees") or {}).items():
            if isinstance(tree, dict) and number_in(tree, "lag_s") is not None:
                self.series["lag"].setdefault(str(name), []).append((epoch(event["at"]), tree["lag_s"]))

    def _measured_replication(self, event, data):
        for name, channel in (data.get("channels") or {}).items():
            if isinstance(channel, dict) and number_in(channel, "lag_ms") is not None:
                points = self.series["lag"].setdefault(str(name) or "replication", [])
                points.append((epoch(event["at"]), channel["lag_ms"] / 1000))

    def _measured_compared(self, event, data):
        self.compares.append(dict(data, at=event["at"], stage=event.get("stage"), host=event.get("host")))

    def _measured_data_compared(self, event, data):
        self.data_compares.append(dict(data, at=event["at"], stage=event.get("stage")))

    def _measured_servers(self, event, data):
        self.servers = dict(data.get("servers") or {}, at=event["at"])

    def _measured_freeze(self, event, data):
        window = self._window_of(event)
        if window and data.get("asked", "frozen") == "frozen":
            self._take_steps(window, data, event.get("host"))

    def _measured_switched(self, event, data):
        window = self._window_of(event)
        if window and data.get("steps") and not data.get("dry_run"):
            self._take_steps(window, data, event.get("host"))

    def _measured_window(self, event, data):
        for window in self.windows:
            if window["opened"] == data.get("opened"):
                window["tasks"] = [task for task in data.get("tasks") or [] if isinstance(task, dict)]

    @staticmethod
    def _take_steps(window, data, host):
        steps = [step for step in data.get("steps") or [] if isinstance(step, dict)]
        window.update(steps=steps, step_host=host, proven_ms=number_in(data, "window_ms"))
        window["frozen_at"] = number_in(data, "frozen_at") or None
        window["paths"] = number_in(data, "paths_in_delta")

    # --- the end ---

    def _close(self):
        attempt = self.attempt
        if attempt and not self.running:
            self._interrupt("the run died, or was stopped; start the same command again")
        for window in self.windows:
            window["bars"] = bars(window)
            window["really_ms"] = really(window)

    @property
    def forced(self):
        return [gate for gate in self.gates if gate.get("state") == "forced"]

    def last_gates(self):
        """The last state of each gate by name and host, in the order of their first decision."""
        found = {}
        for gate in self.gates:
            found[(gate.get("name"), gate.get("host"))] = gate
        return list(found.values())


# --- the picture of a window ---


def bars(window):
    """The tasks and steps of a window with `from_ms` since it opened, ordered. Their clocks: see _place()."""
    opened = epoch(window["opened"])
    found = []
    for task in window["tasks"]:
        begin = round((epoch(task["at"]) - opened) * 1000, 1)
        piece = {"kind": "task", "name": task.get("name"), "host": task.get("host"), "from_ms": begin, "ms": task["ms"]}
        found.append(dict(piece, ok=True, detail=""))
    found += _place(window, found, opened)
    found += [_point("this client writes again", client["host"], client["at"], opened) for client in window["clients"]]
    if window["committed"]:
        text = "committed, the %s takes the writes" % window["side"]
        found.append(_point(text, window["host"], window["committed"], opened))
    return sorted(found, key=lambda piece: (piece["from_ms"], -piece["ms"]))


def _point(name, host, at, opened):
    begin = round((epoch(at) - opened) * 1000, 1)
    return {"kind": "point", "name": name, "host": host, "from_ms": begin, "ms": 0, "ok": True, "detail": ""}


def _place(window, tasks, opened):
    """The steps within the picture.

    They carry the time of the host's clock, or none. Where that time lies within the task that ran them, the clocks
    agree and it is taken; else they end where the task ended. Without a task they follow the opening of the window.
    """
    steps = window["steps"]
    if not steps:
        return []
    length = sum(step.get("ms") or 0 for step in steps)
    offsets, position = [], 0.0
    for step in steps:
        at = number_in(step, "at")
        first = number_in(steps[0], "at")
        offsets.append((at - first) * 1000 if at and first else position)
        position += step.get("ms") or 0
    around = [task for task in tasks if task["host"] == window.get("step_host") and task["ms"] >= length]
    begin = _begin(steps, around[0] if around else None, opened, offsets[-1] + (steps[-1].get("ms") or 0))
    return [
        {
            "kind": _kind(step, begin + offset, window["ms"]),
            "name": str(step.get("name")),
            "host": window.get("step_host"),
            "from_ms": round(begin + offset, 1),
            "ms": step.get("ms") or 0,
            "ok": bool(step.get("ok")),
            "detail": _detail(step),
        }
        for step, offset in zip(steps, offsets)
    ]


def _kind(step, begin, ms):
    """Whether nobody could write in a step: `step`, else `before`. begin: where it lies, ms: length of the window."""
    if "n" in step:
        return "step" if begin >= -1 and (ms is None or begin < ms) else "before"
    return "before" if step.get("name") in _BEFORE else "step"


def _begin(steps, task, opened, length):
    first = number_in(steps[0], "at")
    by_clock = (first - opened) * 1000 if first else None
    if task is None:
        return by_clock if by_clock is not None and 0 <= by_clock < 60000 else _before_opening(steps)
    if by_clock is not None and task["from_ms"] <= by_clock <= task["from_ms"] + task["ms"]:
        return by_clock
    return max(task["from_ms"], task["from_ms"] + task["ms"] - length)


def _before_opening(steps):
    """Where the first step lies when the window opened before step 6 of a switchover, else 0. Milliseconds."""
    if not all("n" in step for step in steps):
        return 0.0
    return -sum(step.get("ms") or 0 for step in steps if (step.get("n") or 0) < 6)


def _shown(value):
    return ", ".join(str(item) for item in value) if isinstance(value, (list, tuple)) else value


def _detail(step):
    evidence = step.get("evidence")
    if isinstance(evidence, dict):
        return ", ".join("%s %s" % (key, _shown(value)) for key, value in evidence.items() if value not in _EMPTY)
    return str(step.get("detail") or "")


def really(window):
    """Milliseconds from the stop of the writers until the window was closed, or None when it is not known."""
    steps = [piece for piece in window["bars"] if piece["kind"] == "step"]
    starts = [piece["from_ms"] for piece in steps if piece["name"] == "stop_writers"]
    if not starts or window["ms"] is None:
        return None
    return round(window["ms"] - starts[0])


# --- the verdict ---


def verdict(model):
    """How the migration stands: dict with `word`, `tone` (good, bad, warn, busy, calm) and `sentence`."""
    last = model.attempts[-1] if model.attempts else None
    if last is None:
        return _said("Nothing yet", "calm", "The journal holds no stage.")
    if last["state"] == "running":
        return _said("In progress", "busy", "%s is going on." % stage(last["stage"]))
    window = model.windows[-1] if model.windows else None
    if window and window["state"] == "open":
        text = "A run ended while nobody could write. Start %s again: it goes on, or puts everything back."
        return _said("Window open", "bad", text % window["stage"])
    if last["state"] in ("failed", "interrupted"):
        return _stopped(last, window, model.summary["side"])
    return _ended(last, window, model.summary["side"])


def _ended(last, window, side):
    if window is None:
        return _said("Before the cutover", "calm", "The source takes the writes; %s is done." % last["stage"])
    if window["state"] == "undone":
        return _said("Cutover undone", "warn", "The freeze was put back. The source takes the writes, nothing is lost.")
    if side == "target":
        return _said("Moved", "good", "The target takes the writes since %(at)s UTC.", at=window["committed"])
    text = "The source takes the writes again since %(at)s UTC, with everything that was written meanwhile."
    return _said("Rolled back", "warn", text, at=window["committed"])


def _stopped(last, window, side):
    how = "failed" if last["state"] == "failed" else "was interrupted"
    what = stage(last["stage"])
    text = "%s %s. The %s takes the writes." % (what, how, side)
    if window and window["state"] == "undone" and window["stage"] == last["stage"]:
        text = "%s %s and its freeze was put back. The %s takes the writes, nothing is lost." % (what, how, side)
    return _said("Failed" if last["state"] == "failed" else "Interrupted", "bad", text)


def _said(word, tone, sentence, at=None):
    if at:
        sentence = sentence % {"at": at[:19].replace("T", " ")}
    return {"word": word, "tone": tone, "sentence": sentence}
