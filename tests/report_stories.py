# SPDX-License-Identifier: GPL-3.0-or-later
"""Journals of migrations that went well, were rolled back, failed, were killed, as lists of events; and a plan."""

from ansible_collections.seamless.migration.plugins.plugin_utils.recorder import iso

BEGIN = 1777636800.0  # 2026-05-01T12:00:00Z

FREEZE = [
    ("other_side", 180.0, "180 ms"),
    ("approach", 900.0, "1 round"),
    ("stop_writers", 58.0, "upload.service"),
    ("read_only", 12.0, "auto"),
    ("drain", 961.2, "1 round"),
    ("delta", 397.0, "631 paths"),
    ("verify", 268.4, "equal"),
]

HOSTILE = '<script>alert("1")</script>&\'"{{ 7*7 }}|`\u202e\u0007'


class Story:
    """Writes events one after the other; the clock stands still until told."""

    def __init__(self):
        self.now = BEGIN
        self.events = []
        self.stage = None

    def wait(self, seconds):
        self.now += seconds
        return self

    def say(self, event, data=None, step=None, host=None):
        self.events.append(
            {
                "at": iso(self.now),
                "migration": "files2026",
                "stage": self.stage,
                "step": step,
                "host": host,
                "event": event,
                "data": data or {},
            }
        )
        return self

    def begin(self, stage):
        self.stage = stage
        self.say("lock", {"state": "acquired", "pid": 7, "user": "alice@ops1", "playbook": stage})
        return self.say("started")

    def end(self, event="done", data=None):
        return self.say(event, data)

    def gate(self, name, state="ok", evidence=None, **more):
        return self.say("gate", dict({"name": name, "state": state, "evidence": evidence or {}}, **more))

    def measured(self, step, data, host=None):
        return self.say("measured", data, step=step, host=host)


def steps_at(begin):
    """The steps of a freeze that begins at a time of the host's clock."""
    found = []
    for name, ms, detail in FREEZE:
        found.append({"name": name, "at": round(begin, 3), "ms": ms, "ok": True, "detail": detail})
        begin += ms / 1000
    return found


def up_to_the_switch(story=None, name="data"):
    story = story or Story()
    story.begin("storage_preflight").wait(3)
    story.gate("space", evidence={"data": {"needed_bytes": 1024, "free_bytes": 4096}, "problems": []})
    counts = {"files": 1200, "directories": 3, "bytes": 2_400_000, "hard_linked": 0, "complete": True}
    story.measured("look", {"trees": [{"path": "/srv/files", "counts": counts}]}, host="old")
    story.wait(1).end()
    story.wait(5).begin("storage_copy")
    for number in range(5):
        story.wait(2).measured(
            "copy",
            {
                "tree": name,
                "phase": "copying",
                "files_done": 200 * number,
                "files_total": 1200,
                "bytes_now": 400_000 * number,
                "bytes_total": 2_400_000,
                "bytes_per_s": 200_000,
                "eta_s": 10 - 2 * number,
                "limit_kib_per_s": 1000,
            },
            host="old",
        )
    story.wait(2).measured(
        "copied",
        {"tree": name, "state": "done", "files": 1200, "bytes": 2_400_000, "seconds": 12.0, "bytes_per_s": 200_000},
        host="old",
    )
    story.end()
    story.wait(5).begin("storage_verify").wait(2)
    for equal in (False, True):
        story.measured(
            "compared",
            {
                "tree": "/srv/files",
                "level": "sample",
                "live": True,
                "equal": equal,
                "counts": {
                    "files": 1200,
                    "compared_bytes": 240_000,
                    "lost": 0,
                    "different": 0 if equal else 4,
                    "extra": 0,
                },
                "differences": [] if equal else [{"path": name + "/x", "kind": "different", "attributes": ["mode"]}],
                "seconds": 2.5,
            },
            host="old",
        )
    story.gate("compare_clean", evidence={"unclean": []})
    story.wait(1)
    story.measured(
        "live_sync",
        {"trees": {name: {"delays": 2, "active": 1, "dirty": 0, "lag_s": 1.5}}, "converged": True, "reasons": []},
    )
    return story.end()


def window(story, stage, commit=True, side="target"):
    """A cutover with its window. Without commit its freeze is put back."""
    story.wait(60).begin(stage).wait(4)
    story.gate("window", evidence={"predicted_window_s": 2.5, "budget_s": 60})
    story.wait(0.2).say("window_opened", step="freeze", host="old")
    opened = story.now
    story.wait(3.6)
    steps = steps_at(opened + 0.7)
    if not commit:
        steps[-1].update(ok=False, detail="1 file differs")
        story.say("undone", {"cause": "1 file differs"}, step="freeze", host="old")
    else:
        story.say("committed", {"side": side})
        story.wait(1.5).say("done", step="switch", host="app1")
        story.wait(0.1).say("window_closed")
    data = {"asked": "frozen", "state": "drained", "steps": steps, "window_ms": 1697.0, "frozen_at": opened + 1.78}
    story.measured("freeze", dict(data, paths_in_delta=631), host="old")
    task = {"name": "Freeze, let everything arrive", "host": "old", "at": iso(opened + 0.01), "ms": 3500.0}
    story.measured("window", {"opened": iso(opened), "tasks": [task]})
    return story


def moved():
    return window(up_to_the_switch(), "storage_cutover").wait(2).end()


def rolled_back():
    story = moved()
    return window(story, "storage_rollback", side="source").wait(2).end()


def failed():
    story = window(up_to_the_switch(), "storage_cutover", commit=False)
    story.say("fault", {"task": "Freeze", "cause": "1 file differs"}, host="old")
    return story.end("failed", {"host": "old", "task": "Freeze", "cause": "1 file differs"})


def killed_in_the_window():
    story = up_to_the_switch()
    story.wait(60).begin("storage_cutover").wait(4).say("window_opened", step="freeze", host="old")
    return story


def hostile():
    """Whatever people can name is named to become markup."""
    story = up_to_the_switch(name=HOSTILE)
    story.begin("storage_cutover")
    story.gate(HOSTILE, "forced", {HOSTILE: HOSTILE, "list": [{"path": HOSTILE}]}, advice=HOSTILE, forced_by=HOSTILE)
    story.say("fault", {"task": HOSTILE, "cause": HOSTILE}, host=HOSTILE)
    return story.end("failed", {"host": HOSTILE, "task": HOSTILE, "cause": HOSTILE})


def mysql():
    story = Story()
    story.begin("mysql_seed").wait(1)
    story.measured("seed", {"method": "clone", "bytes": 5_000_000, "seconds": 10.0, "schemas": ["shop"]})
    story.wait(1).end()
    story.begin("mysql_cutover").wait(3).say("started", {"run": "r1"}, step="switchover")
    story.say("window_opened", {"run": "r1"}, step="switchover")
    story.wait(0.180).say("committed", {"side": "target", "run": "r1"})
    story.wait(0.03).say("window_closed", {"ms": 210.0, "run": "r1"}, step="switchover")
    names = [
        (1, "guardrails", 300.0),
        (6, "fence", 30.5),
        (8, "final_gtid", 12.0),
        (9, "drain", 100.0),
        (12, "open", 22.0),
    ]
    steps = [{"n": n, "name": name, "ms": ms, "ok": True, "evidence": {"x": 1}} for n, name, ms in names]
    story.measured("switchover", {"steps": {name: ms for _n, name, ms in names}, "window_ms": 210.0})
    story.measured("switched", {"state": "target_open", "steps": steps, "window_ms": 210.0}, host="localhost")
    story.measured(
        "data_compared",
        {"equal": True, "counts": {"tables": 3, "rows": 1000, "different": 0}, "seconds": 4.0, "lag_ms_max": 120},
    )
    story.measured("replication", {"channels": {"db-new": {"running": True, "lag_ms": 250, "error": ""}}})
    return story.end()


# --- inputs of a plan ---


def inputs(**more):
    made = {
        "trees": [{"name": "data", "source": "/srv/a", "target": "/srv/b", "exclude": ["/cache/"]}],
        "source": "old",
        "target": "new",
        "clients": ["app1"],
        "workers": 8,
        "bwlimit_kib_per_s": 0,
        "rsync_port": 873,
        "writers": ["upload.service"],
        "freeze_budget": 60,
        "service_name": "files.example.org",
        "live_sync_method": "lsyncd",
        "verify_level": "sample",
        "batch_jobs": [{"kind": "cron", "user": "root", "match": "find"}],
        "hooks": {},
        "force_gates": [],
    }
    made.update(more)
    return made


def look(complete=True, exists=True, **more):
    tree = {
        "path": "/srv/a",
        "exists": exists,
        "empty": False,
        "mountpoint": True,
        "read_only": False,
        "fstype": "ext4",
        "free_bytes": 10**12,
        "used_bytes": 1,
        "free_inodes": 10**9,
        "used_inodes": 1,
        "inodes_limited": True,
        "device": 2049,
        "counts": {"files": 6000, "directories": 5, "bytes": 12_000_000, "hard_linked": 0, "complete": complete},
    }
    host = {"rsync": "3.2.7", "lsyncd": "2.2.3", "python": "3.11.2", "kernel": "6.1"}
    host.update(units={"upload.service": {"exists": True}}, users={}, groups={}, clock=1.0, rsync_features={})
    return dict({"host": host, "trees": [tree]}, **more)
