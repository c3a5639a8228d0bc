# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand in a journal: the events with their data, and the measurements with theirs.

The tables here are the schema. docs/journal.md tells it to people, a test compares both, and the tests look with
problems() at what the playbooks wrote.
"""

import re

from ansible_collections.seamless.migration.plugins.module_utils.journal import EVENTS, ID, MASK, SIDES

KEYS = ("at", "migration", "stage", "step", "host", "event", "data")
TIME = re.compile(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
GATE_STATES = ("ok", "failed", "forced")
LOCK_STATES = ("acquired", "taken_over", "released")

NUMBER = (int, float)
MAYBE_NUMBER = (int, float, type(None))
MAYBE_STR = (str, type(None))

# Keys of the steps within a window, as storage_freeze and mysql_switchover return them.
STEP = {"name": str, "ms": NUMBER, "ok": bool}

# Event -> keys that its data must have. Further keys are allowed.
EVENT_DATA = {
    "committed": {"side": str},
    "gate": {"name": str, "state": str, "evidence": dict},
    "lock": {"state": str},
    "fault": {"task": str, "cause": str},
}

# Measurement, that is the step of an event "measured" -> keys that its data must have.
MEASUREMENTS = {
    # storage
    "look": {"trees": list},
    "copy": {
        "tree": str,
        "files_done": int,
        "files_total": int,
        "bytes_now": int,
        "bytes_total": int,
        "bytes_per_s": NUMBER,
        "eta_s": MAYBE_NUMBER,
        "limit_kib_per_s": NUMBER,
    },
    "part_copy": {
        "tree": str,
        "files_done": int,
        "bytes_now": int,
        "bytes_per_s": NUMBER,
        "limit_kib_per_s": NUMBER,
    },
    "part": {"tree": str, "state": str, "files": int, "bytes": int, "seconds": NUMBER, "lists_done": int},
    "copied": {"tree": str, "state": str, "files": int, "bytes": int, "seconds": NUMBER},
    "mended": {"tree": str, "files": int, "bytes": int, "seconds": NUMBER},
    "live_sync": {"trees": dict, "converged": (bool, type(None)), "reasons": list},
    "compare_before_deletion": {"seconds": NUMBER},
    "compare": {"seconds": NUMBER},
    "comparing": {
        "tree": str,
        "phase": str,
        "done": NUMBER,
        "total": MAYBE_NUMBER,
        "unit": str,
        "per_s": NUMBER,
        "eta_s": MAYBE_NUMBER,
    },
    "compared": {"tree": str, "equal": bool, "counts": dict, "seconds": NUMBER, "level": MAYBE_STR},
    "freeze": {"state": str, "steps": list, "window_ms": NUMBER, "frozen_at": MAYBE_NUMBER},
    "mount": {"path": str, "action": str, "source": str, "window_s": NUMBER, "stopped_s": NUMBER},
    "window": {"opened": str, "tasks": list},
    # mysql
    "servers": {"servers": dict},
    "seeding": {"bytes_now": NUMBER, "bytes_total": MAYBE_NUMBER, "bytes_per_s": NUMBER, "eta_s": MAYBE_NUMBER},
    "seed": {"method": str, "bytes": MAYBE_NUMBER, "seconds": NUMBER, "schemas": list},
    "replication": {"channels": dict},
    "retention_source": {"before": object},
    "retention_target": {"before": object},
    "offset_source": {},
    "offset_target": {},
    "bridge": {},
    "data_compared": {"equal": bool, "counts": dict, "seconds": NUMBER},
    "switchover": {"steps": dict, "window_ms": MAYBE_NUMBER},
    "switched": {"state": str, "steps": list, "window_ms": MAYBE_NUMBER},
}
_CHOICES = {"committed": ("side", SIDES), "gate": ("state", GATE_STATES), "lock": ("state", LOCK_STATES)}
_STEPS_OF = ("freeze", "switched")


def problems(event):
    """What is wrong with an event (dict) by the schema, as list of str; empty when nothing is."""
    found = ["key %s is missing" % key for key in KEYS if key not in event]
    found += ["key %s is unknown" % key for key in sorted(event) if key not in KEYS]
    if found:
        return found
    if not TIME.match(str(event["at"])):
        found.append("at is %r" % event["at"])
    if not ID.match(str(event["migration"])):
        found.append("migration is %r" % event["migration"])
    for key in ("stage", "step", "host"):
        if not isinstance(event[key], MAYBE_STR):
            found.append("%s is %r" % (key, event[key]))
    if event["event"] not in EVENTS:
        return found + ["event is %r" % (event["event"],)]
    if not isinstance(event["data"], dict):
        return found + ["data is %r" % (event["data"],)]
    return found + _data_problems(event)


def _data_problems(event):
    kind, data = event["event"], event["data"]
    if data == {"no_log": True}:
        return []
    found = _missing(data, EVENT_DATA.get(kind, {}), "data")
    key, allowed = _CHOICES.get(kind, ("", ()))
    if key in data and data[key] not in allowed:
        found.append("data.%s is %r" % (key, data[key]))
    if kind == "gate" and data.get("state") == "forced" and not data.get("forced_by"):
        found.append("data.forced_by is missing, and the gate was forced")
    if kind == "measured":
        found += _measured_problems(event["step"], data)
    return found


def _measured_problems(step, data):
    if step not in MEASUREMENTS:
        return ["step %r is no measurement" % (step,)]
    found = _missing(data, MEASUREMENTS[step], "data")
    if step in _STEPS_OF and isinstance(data.get("steps"), list):
        for number, entry in enumerate(data["steps"]):
            found += _missing(entry, STEP, "data.steps[%d]" % number)
    return found


def _missing(data, wanted, where):
    if not isinstance(data, dict):
        return ["%s is %r" % (where, data)]
    found = []
    for key, kinds in sorted(wanted.items()):
        if key not in data:
            found.append("%s.%s is missing" % (where, key))
        elif data[key] != MASK and not _is(data[key], kinds):
            found.append("%s.%s is %r" % (where, key, data[key]))
    return found


def _is(value, kinds):
    """isinstance(), where a bool is no number."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    return isinstance(value, kinds) and (bool in kinds or object in kinds or not isinstance(value, bool))


# --- what results of modules say -------------------------------------------------------------------------------------


def measurement(module, result, args):
    """What a result of one of our modules measured.

    module: its name without the collection. result, args: what it returned and what it was told, dicts; the result
    of a failed task counts as well. Returns the name of the measurement and its data, or None.
    """
    reader = _READERS.get(module)
    return reader(result, args) if reader else None


def _picked(result, keys, **more):
    data = {key: result[key] for key in keys if key in result}
    data.update(more)
    return data


def _look(result, args):
    trees = [tree for tree in result.get("trees") or [] if "counts" in tree]
    if not trees:
        return None
    keys = ("path", "counts", "free_bytes", "used_bytes", "fstype")
    return "look", {"trees": [_picked(tree, keys) for tree in trees]}


def _copy(result, args):
    if "part" in result:
        return _part(result)
    if "files" not in result or "seconds" not in result:
        return None
    keys = ("state", "files", "bytes", "seconds", "bytes_per_s", "files_skipped", "vanished", "deleted")
    keys += ("failures_count",)
    if args.get("mode") == "cut":
        return None
    if args.get("mode") == "delta":
        return "mended", _picked(result, keys, tree=args.get("job") or "", listed=result.get("listed", 0))
    if result.get("state") not in ("done", "failed", "stopped"):
        return None
    more = {
        "tree": result.get("job") or "",
        "workers": args.get("workers"),
        "limit_kib_per_s": (result.get("progress") or {}).get("limit_kib_per_s", 0),
    }
    return "copied", _picked(result, keys, **more)


def _part(result):
    """What a worker copied of a tree, or why it did not."""
    if "part_of" not in result:
        return None
    part = result["part"]
    more = {"tree": result["part_of"], "lists_done": len(part["lists_done"]), "cause": result.get("message") or ""}
    return "part", _picked(part, ("state", "files", "bytes", "seconds"), **more)


def _dealt(result, args):
    """How far a tree is that workers copy: what they had copied when lists were dealt."""
    if not result.get("round"):
        return None
    seconds = result["seconds"]
    return "copy", {
        "tree": args.get("job") or "",
        "phase": "copying",
        "files_done": result["files_done"],
        "files_total": result["files_total"],
        "bytes_now": result["bytes_done"],
        "bytes_total": result["bytes_total"],
        "bytes_per_s": int(result["bytes"] / seconds) if seconds else 0,
        "eta_s": None,
        "limit_kib_per_s": args.get("bwlimit_kib_per_s") or 0,
        "round": result["round"],
        "workers": sorted(result.get("deals") or {}),
    }


def _live_sync(result, args):
    if not args.get("wait") or "converged" not in result:
        return None
    return "live_sync", live_sync_data(result)


def live_sync_data(result):
    """The data of a measurement live_sync from a result of lsyncd_info."""
    latency = result.get("latency") or {}
    trees = {
        sync.get("name"): {
            "delays": sync.get("delays"),
            "active": sync.get("active"),
            "dirty": (sync.get("guard") or {}).get("dirty", 0),
            "lag_s": latency.get(sync.get("name")),
        }
        for sync in result.get("syncs") or []
    }
    for name in latency:
        trees.setdefault(name, {"delays": None, "active": None, "dirty": None, "lag_s": latency[name]})
    return {
        "trees": trees,
        "converged": result.get("converged"),
        "reasons": result.get("reasons") or [],
        "seconds": result.get("seconds"),
    }


def _compared(result, args):
    if not isinstance(result.get("equal"), bool) or "counts" not in result:
        return None
    return "compared", {
        "tree": args.get("path") or "",
        "level": args.get("level"),
        "live": bool(args.get("live")),
        "equal": result["equal"],
        "counts": result["counts"],
        "differences": (result.get("differences") or [])[:10],
        "seconds": result.get("seconds", 0),
    }


def _freeze(result, args):
    if args.get("state") not in ("frozen", "committed", "thawed") or not result.get("steps"):
        return None
    keys = ("state", "steps", "window_ms", "frozen_at", "paths_in_delta", "undone", "run_id", "thawed_by")
    return "freeze", _picked(result, keys, asked=args["state"])


def _mount(result, args):
    if args.get("state") != "switched" or "window_s" not in result:
        return None
    keys = ("path", "action", "source", "nfs_version", "window_s", "stopped_s")
    return "mount", _picked(result, keys)


def _servers(result, args):
    return ("servers", {"servers": result["servers"]}) if result.get("servers") else None


def _replication(result, args):
    info = result.get("info") or {}
    return ("replication", {"channels": channels_of(info)}) if info.get("channels") else None


def channels_of(info):
    """The channels of a measurement replication from the info of mysql_replication_info, by server and name."""
    identity = info.get("identity") or {}
    found = {}
    for channel in info.get("channels") or []:
        name = channel.get("channel_name") or ""
        found[":".join(part for part in (str(identity.get("hostname") or "server"), name) if part)] = {
            "running": channel.get("running"),
            "lag_ms": (info.get("lag") or {}).get("ms"),
            "error": " ".join(channel.get("errors") or []),
        }
    return found


def _data_compared(result, args):
    if not isinstance(result.get("equal"), bool) or "counts" not in result:
        return None
    keys = ("equal", "counts", "lag_ms_max", "paused_seconds")
    differences = (result.get("differences") or [])[:10]
    return "data_compared", _picked(result, keys, seconds=result.get("seconds", 0), differences=differences)


def _switched(result, args):
    if not result.get("steps") or args.get("state") == "read":
        return None
    keys = ("state", "committed", "complete", "run", "phase", "steps", "window_ms")
    return "switched", _picked(result, keys, dry_run=bool(args.get("dry_run")))


_READERS = {
    "mysql_guardrails": _servers,
    "mysql_replication_info": _replication,
    "mysql_compare": _data_compared,
    "mysql_switchover": _switched,
    "storage_info": _look,
    "bulk_copy": _copy,
    "bulk_deal": _dealt,
    "lsyncd_info": _live_sync,
    "tree_compare": _compared,
    "storage_freeze": _freeze,
    "nfs_mount": _mount,
}
