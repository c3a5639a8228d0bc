# SPDX-License-Identifier: GPL-3.0-or-later
"""What a switchover writes into the journal before it does it, and what the next run makes of that.

All events have the step `switchover` (the commit has none, because it speaks of the stage) and `run` in their data.

    started         a run begins: strategy, uuids of both servers
    note            `doing`: a change that has to be put back follows; `before`: what it was before
    window_opened   the source is fenced next
    committed       the target is opened next; from here on only forward
    window_closed   the target has taken its first write
    undone          everything before the commit was put back
    done            nothing is left to do
"""

import os
import time

STEP = "switchover"
STAGES = {"forward": "mysql_cutover", "back": "mysql_rollback"}
SIDES = {"forward": "target", "back": "source"}
OPEN = ("begun", "window")


class Record:
    """One run of the switchover, as it stands in the journal.

    phase: `begun`, `window` (the source may be fenced), `committed`, `undone` or `done`. before: dict of what was
    changed -> what it was before. notes: set of what was finished.
    """

    def __init__(self, journal, direction, run=None):
        self.journal = journal
        self.direction = direction
        self.run = run or "%s-%d" % (time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), os.getpid())
        self.phase = "none"
        self.before = {}
        self.finished = set()
        self.data = {}

    def _append(self, event, data=None, step=STEP):
        self.journal.append(event, dict(data or {}, run=self.run), stage=STAGES[self.direction], step=step)

    def begin(self, **data):
        """A run begins. data: strategy, source_uuid, target_uuid."""
        self._append("started", data)
        self.fold("started", data)

    def doing(self, what, before=None):
        """`what` is changed next; it was `before` (JSON)."""
        data = {"doing": what, "before": before}
        self._append("note", data)
        self.fold("note", data)

    def finish(self, what, **data):
        """`what` is over: it has not to be done again."""
        data = dict(data, finished=what)
        self._append("note", data)
        self.fold("note", data)

    def open_window(self):
        """The source is fenced next."""
        self._append("window_opened")
        self.fold("window_opened", {})

    def commit(self, **data):
        """The target is opened next."""
        data = dict(data, side=SIDES[self.direction])
        self._append("committed", data, step=None)
        self.fold("committed", data)

    def close_window(self, **data):
        """The window is over. data: ms, and whether it was `undone`."""
        self._append("window_closed", data)
        self.fold("window_closed", data)

    def undo(self, reason):
        """All is as it was before this run."""
        if self.phase == "committed":  # a window that only was to be read-only: the source takes the writes again
            other = "back" if self.direction == "forward" else "forward"
            self.journal.append("committed", {"side": SIDES[other]}, stage=STAGES[other])
        self._append("undone", {"reason": reason})
        self.fold("undone", {})

    def end(self, **data):
        """Nothing is left to do."""
        self._append("done", data)
        self.fold("done", data)

    def measure(self, **data):
        """Numbers for the report."""
        self._append("measured", data)

    def fold(self, event, data):
        """Take up one event. event: its name. data: its data."""
        phases = {"started": "begun", "window_opened": "window", "committed": "committed", "undone": "undone"}
        self.phase = phases.get(event, "done" if event == "done" else self.phase)
        if event in ("started", "committed"):
            self.data.update(data)
        if event == "window_closed":
            self.finished.add("window")
            self.data["window_ms"] = data.get("ms")
        if event == "note" and "doing" in data and data["doing"] not in self.before:
            self.before[data["doing"]] = data.get("before")
        if event == "note" and "finished" in data:
            self.finished.add(data["finished"])

    @property
    def closed_target(self):
        """Whether the target was never opened by this run although it is committed: a read-only window that waits."""
        waits = self.data.get("strategy") == "read_only_window" and "open_target" not in self.before
        return self.phase == "committed" and waits

    @property
    def uncommitted(self):
        """Whether this run has begun and neither committed nor was put back."""
        return self.phase in OPEN


def last(journal):
    """The last run that the journal knows, as Record; its phase is `none` when there is none. Raises JournalError."""
    record = Record(journal, "forward", "none")
    for event in journal.read():
        data = event.get("data") or {}
        if event.get("step") not in (STEP, None) or "run" not in data:
            continue
        if event["event"] == "started":
            direction = "back" if event.get("stage") == STAGES["back"] else "forward"
            record = Record(journal, direction, data["run"])
        if data["run"] == record.run:
            record.fold(event["event"], data)
    return record
