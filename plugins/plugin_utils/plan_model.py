# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration will do, from its inputs and a look at the hosts: plain values, and what is not known."""

from __future__ import annotations

from ansible_collections.seamless.migration.plugins.module_utils.storage.preflight import preflight_gates
from ansible_collections.seamless.migration.plugins.plugin_utils import words
from ansible_collections.seamless.migration.plugins.plugin_utils.plan_stages import GATES, MYSQL, NFS_GATES, STORAGE

_PREFLIGHT = {"clock_tolerance": 2.0, "reserve_percent": 5, "clock_slack": 0.0}
# Of these what was run last says more than an estimate.
_REPEATED = ("look", "minutes", "pass")


class Rates:
    """What was measured in this migration so far. model: a report's Model, empty when there is no journal."""

    def __init__(self, model):
        copies = [copy for copy in model.copies if copy.get("seconds") and copy.get("bytes")]
        seconds = sum(copy["seconds"] for copy in copies)
        self.bytes_per_s = sum(copy["bytes"] for copy in copies) / seconds if seconds else None
        self.files_per_s = sum(copy.get("files") or 0 for copy in copies) / seconds if seconds else None
        wholes = [item for item in model.compares if item.get("level") in ("sample", "full", "metadata")]
        self.verify_s = wholes[-1]["seconds"] if wholes else None
        closed = [window for window in model.windows if window["state"] == "closed" and window["ms"] is not None]
        self.window_ms = (closed[-1]["really_ms"] or closed[-1]["ms"]) if closed else None
        self.stages = {
            attempt["stage"]: attempt["seconds"] for attempt in model.attempts if attempt["state"] == "done"
        }


def storage_plan(inputs, looks, model):
    """The plan of a storage migration.

    inputs: dict of trees, source, target, clients, storage_workers, workers, bwlimit_kib_per_s, writers,
    freeze_budget, service_name, live_sync_method, verify_level, batch_jobs, hooks, force_gates, rsync_port. looks:
    host -> what storage_info returned there, or a failed result. model: Model of the journal. Returns a dict for the
    templates.
    """
    rates = Rates(model)
    source, target = looks.get(inputs["source"]) or {}, looks.get(inputs["target"]) or {}
    trees = [_tree(tree, index, source, target) for index, tree in enumerate(inputs["trees"])]
    plan = {
        "kind": "storage",
        "trees": trees,
        "hosts": _hosts(inputs, looks),
        "gates_now": _gates_now(inputs, source, target),
        "unknown": _unknown(inputs, looks, trees, rates),
        "settings": _settings(inputs),
    }
    takes = _storage_takes(inputs, trees, rates)
    names = {
        "source": inputs["source"],
        "target": inputs["target"],
        "clients": ", ".join(inputs.get("clients") or []),
        "workers": ", ".join(inputs.get("storage_workers") or []),
    }
    plan["stages"] = [
        _stage(_without_nfs(stage, inputs), _details(stage["stage"], inputs), takes, rates, names) for stage in STORAGE
    ]
    return plan


def _stage(stage, details, takes, rates, names=None):
    measured = rates.stages.get(stage["stage"])
    text = takes[stage["takes"]]
    if measured is not None and stage["takes"] in _REPEATED:
        text = "%s when it was run last" % words.duration(measured)
    gates = [{"name": name, "asks": GATES[name]} for name in stage["gates"]]
    roles = [role for role in stage["where"] if role != "workers" or (names or {}).get(role)]
    where = ["%s (%s)" % (role, names[role]) if (names or {}).get(role) else role for role in roles]
    return dict(stage, where=where, does=list(stage["does"]) + details, gates=gates, duration=text)


# --- storage -----------------------------------------------------------------------------------------------------


def _usable(look):
    return bool(look.get("trees")) and not look.get("failed") and not look.get("unreachable")


def _tree(tree, index, source, target):
    here = source["trees"][index] if _usable(source) and len(source["trees"]) > index else {}
    there = target["trees"][index] if _usable(target) and len(target["trees"]) > index else {}
    counts = here.get("counts") or {}
    return {
        "name": tree.get("name"),
        "source": tree.get("source"),
        "target": tree.get("target"),
        "exclude": tree.get("exclude") or [],
        "mountpoint": bool(tree.get("require_mountpoint")),
        "files": counts.get("files"),
        "bytes": counts.get("bytes"),
        "complete": bool(counts.get("complete")),
        "exists": here.get("exists"),
        "there": there.get("exists"),
        "free_bytes": there.get("free_bytes"),
        "fstype": "%s to %s" % (here.get("fstype") or "?", there.get("fstype") or "?"),
    }


def _hosts(inputs, looks):
    rows = [("source", inputs["source"]), ("target", inputs["target"])]
    rows += [("client", name) for name in inputs.get("clients") or []]
    rows += [("worker", name) for name in inputs.get("storage_workers") or [] if name not in dict(rows).values()]
    return [_host(role, name, looks.get(name) or {}) for role, name in rows]


def _host(role, name, look):
    facts = look.get("host") or {}
    if look.get("unreachable"):
        state = "not reached"
    elif look.get("failed"):
        state = "not seen"
    else:
        state = "seen" if look else "not looked at"
    return {
        "role": role,
        "name": name,
        "state": state,
        "rsync": facts.get("rsync"),
        "lsyncd": facts.get("lsyncd"),
        "python": facts.get("python"),
        "kernel": facts.get("kernel"),
    }


def _gates_now(inputs, source, target):
    if not _usable(source) or not _usable(target):
        return []
    gates = preflight_gates(source, target, inputs["trees"], dict(_PREFLIGHT, writers=inputs.get("writers") or []))
    # The hosts were looked at one after the other, so that their clocks cannot be compared.
    return [dict(gate, state="ok" if gate["ok"] else "failed") for gate in gates if gate["name"] != "clocks"]


def _without_nfs(stage, inputs):
    """The stage without the gates of NFS, where nothing goes over NFS."""
    if inputs.get("nfs"):
        return stage
    return dict(stage, gates=[name for name in stage["gates"] if name not in NFS_GATES])


def _details(stage, inputs):
    """What the inputs add to a stage, as sentences."""
    found = []
    if stage == "storage_prepare":
        found.append("Port %s/tcp is opened." % inputs["rsync_port"])
        jobs = [_job(job) for job in inputs.get("batch_jobs") or []]
        found.append("Batch jobs that rest: %s." % ("; ".join(jobs) if jobs else "none is named"))
        if inputs.get("nfs"):
            found.append(
                "The target exports the trees by NFS, read-only for everybody until the switch, and gets past its "
                "grace period."
            )
    elif stage == "storage_copy":
        limit = inputs.get("bwlimit_kib_per_s") or 0
        speed = "limit %s" % words.rate(limit * 1024) if limit else "no limit"
        number = "%s workers" % inputs["workers"] if inputs["workers"] else "One worker more than the source has cores"
        found.append("%s, %s." % (number, speed))
        if inputs.get("storage_workers"):
            hosts = ", ".join(inputs["storage_workers"])
            text = "The lists of each tree are dealt over %s, which share the limit; the source does what is left."
            found.append(text % hosts)
    elif stage == "storage_sync":
        found.append("Method: %s." % inputs["live_sync_method"])
    elif stage == "storage_verify":
        found.append("Level: %s." % inputs["verify_level"])
    elif stage == "storage_cutover":
        writers = inputs.get("writers") or []
        found.append("Stopped on the source, started on the target: %s." % (", ".join(writers) or "no unit is named"))
        if inputs.get("service_name"):
            found.append("%s is pointed at the target on each client." % inputs["service_name"])
        found += _nfs_details(inputs.get("nfs") or {})
        found += ["Hook %s: %s." % item for item in sorted((inputs.get("hooks") or {}).items())]
    return found


def _nfs_details(nfs):
    """What the switch does to the clients of NFS mounts, as sentences."""
    if not nfs:
        return []
    units = sorted({unit for mount in nfs.get("mounts") or [] for unit in mount.get("stop_units") or []})
    paths = ", ".join(mount["path"] for mount in nfs.get("mounts") or []) or "what migration_nfs_mounts says"
    return [
        "On each client, before the freeze: %s stopped, by a dead-man started again."
        % (", ".join(units) or "no unit is"),
        "On all clients at once, after the commit: %s is mounted from the target, checked with a canary that is "
        "written, locked and read, and the units are started." % paths,
        "A client that cannot be switched keeps the old server, which takes no writes. %s percent have to be."
        % nfs.get("quorum", 100),
    ]


def _job(job):
    return " ".join(str(job[key]) for key in ("kind", "period", "name", "user", "match") if job.get(key))


def _settings(inputs):
    return [
        ("Budget of the window", words.duration(inputs["freeze_budget"])),
        ("Gates that would be forced", ", ".join(inputs.get("force_gates") or []) or "none"),
        ("Clients", ", ".join(inputs.get("clients") or []) or "none"),
    ]


def copy_seconds(files, size, rates, limit):
    """Seconds that a copy takes by what was measured, or None. limit: bytes per second, or 0."""
    if size is None or not rates.bytes_per_s:
        return None
    speed = min(rates.bytes_per_s, limit) if limit else rates.bytes_per_s
    by_files = (files or 0) / rates.files_per_s if rates.files_per_s else 0
    return max(size / speed, by_files)


def _storage_takes(inputs, trees, rates):
    limit = (inputs.get("bwlimit_kib_per_s") or 0) * 1024
    known = [tree for tree in trees if tree["bytes"] is not None]
    size, files = sum(tree["bytes"] for tree in known), sum(tree["files"] for tree in known)
    seconds = copy_seconds(files, size, rates, limit) if known else None
    if seconds is not None:
        by = "%s and %s files/s" % (words.rate(rates.bytes_per_s), words.count(rates.files_per_s))
        copy = "about %s, at the %s measured in this migration" % (words.duration(seconds), by)
    elif known and limit:
        copy = "not less than %s, by the limit of %s; the rate of the hosts is not known" % (
            words.duration(size / limit),
            words.rate(limit),
        )
    else:
        copy = "not known: no copy has been measured yet"
    verify = "about %s, as the last comparison" % words.duration(rates.verify_s) if rates.verify_s else "not known yet"
    window = "not known yet; more than %s is undone" % words.duration(inputs["freeze_budget"])
    if rates.window_ms is not None:
        window = "the last window took %s" % words.exact(rates.window_ms)
    return {
        "look": "a minute a tree at most",
        "minutes": "minutes",
        "copy": copy,
        "pass": "one pass of rsync over each tree",
        "verify": verify,
        "window": window,
    }


def _unknown(inputs, looks, trees, rates):
    """What the plan does not know, as sentences."""
    found = []
    for role, name in (("source", inputs["source"]), ("target", inputs["target"])):
        if not name:
            found.append("Which host is the %s: the group storage_%s is empty." % (role, role))
        elif not _usable(looks.get(name) or {}):
            said = str((looks.get(name) or {}).get("msg") or "it was not looked at").strip()
            found.append("What is on %s (%s): %s" % (name, role, said))
    for tree in trees:
        found += _unknown_of(tree)
    if rates.bytes_per_s is None:
        found.append("How fast the copy is: none has been measured in this migration.")
    if rates.window_ms is None:
        found.append("How long the window is: storage_cutover predicts it before it freezes anything.")
    if not inputs.get("writers"):
        found.append("Who writes to the trees on the servers themselves: migration_writers is empty.")
    if not inputs.get("clients"):
        found.append("Who uses the storage: the group storage_clients is empty.")
    elif not (inputs.get("service_name") or inputs.get("nfs") or "after_switch" in (inputs.get("hooks") or {})):
        found.append(
            "How the clients find the target: none of migration_service_name, migration_nfs and a hook after_switch "
            "is set."
        )
    return found


def _unknown_of(tree):
    if tree["exists"] is False:
        return ["The tree %s: %s does not exist on the source." % (tree["name"], tree["source"])]
    found = []
    if tree["bytes"] is None:
        found.append("How much is in the tree %s." % tree["name"])
    elif not tree["complete"]:
        text = "How much is in the tree %s: counting ran out of time at %s files, %s."
        found.append(text % (tree["name"], words.count(tree["files"]), words.size(tree["bytes"])))
    if tree["there"] is False:
        text = "How much room the tree %s has: %s does not exist on the target yet."
        found.append(text % (tree["name"], tree["target"]))
    return found


# --- mysql -------------------------------------------------------------------------------------------------------


def mysql_plan(inputs, look, model):
    """The plan of a MySQL migration.

    inputs: `mysql`, that is migration_mysql, and `force_gates`. look: what mysql_guardrails returned, or a failed
    result. model: Model of the journal. Returns a dict for the templates.
    """
    rates = Rates(model)
    servers = look.get("servers") or {}
    gates = [dict(gate, state="ok" if gate["ok"] else "failed") for gate in look.get("gates") or []]
    mysql = inputs["mysql"]
    strategy = mysql.get("strategy") or "switchover"
    size = (servers.get("source") or {}).get("bytes")
    window = "not known yet; more than %s is undone" % words.exact(mysql.get("window_budget_ms") or 10000)
    if rates.window_ms is not None:
        window = "the last window took %s" % words.exact(rates.window_ms)
    takes = {
        "look": "seconds",
        "minutes": "minutes",
        "seed": _seed_takes(size, rates),
        "verify": "not known yet",
        "window": window,
    }
    details = {
        "mysql_seed": ["Method: %s." % (mysql.get("seed_method") or "clone")],
        "mysql_cutover": ["Strategy: %s." % strategy]
        + ["Hook %s: %s." % (name, _argv(argv)) for name, argv in sorted((mysql.get("hooks") or {}).items()) if argv],
    }
    return {
        "kind": "mysql",
        "servers": [_server(role, mysql.get(role) or {}, servers.get(role) or {}) for role in ("source", "target")],
        "gates_now": gates,
        "unknown": _unknown_mysql(look, rates),
        "settings": [
            ("Strategy", strategy),
            ("Schemas", ", ".join(mysql.get("schemas") or []) or "every schema of users"),
            ("Gates that would be forced", ", ".join(inputs.get("force_gates") or []) or "none"),
        ],
        "stages": [_stage(stage, details.get(stage["stage"], []), takes, rates) for stage in MYSQL],
    }


def _argv(words_of_it):
    return " ".join(str(word) for word in words_of_it) if isinstance(words_of_it, (list, tuple)) else str(words_of_it)


def _seed_takes(size, rates):
    if size is None:
        return "not known: nothing is known of the source"
    if rates.bytes_per_s is None:
        return "not known: %s are to be copied, and nothing has been seeded yet" % words.size(size)
    about = words.duration(size / rates.bytes_per_s)
    return "about %s, at the %s measured in this migration" % (about, words.rate(rates.bytes_per_s))


def _server(role, options, facts):
    return {
        "role": role,
        "address": "%s:%s" % (options.get("login_host") or "-", options.get("login_port") or 3306),
        "version": facts.get("version"),
        "platform": facts.get("platform"),
        "schemas": facts.get("schemas") or [],
        "bytes": facts.get("bytes"),
    }


def _unknown_mysql(look, rates):
    found = []
    if not look.get("gates"):
        found.append("What the servers are: %s" % (look.get("msg") or "they were not looked at"))
    if rates.bytes_per_s is None:
        found.append("How fast the first copy is: none has been measured in this migration.")
    if rates.window_ms is None:
        found.append("How long the window is: run mysql_cutover with mysql_cutover_dry_run to rehearse it.")
    return found
