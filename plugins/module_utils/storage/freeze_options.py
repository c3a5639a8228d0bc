# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the options of a freeze against each other and fill in what follows from others, touching nothing."""

import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host.validate import OptionError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\Z")
COMMANDS = ("before_stop", "after_stop", "after_read_only", "after_drain", "on_undo")
POSITIVE = ("budget", "deadman", "drain_timeout", "stop_timeout", "sync_stop_timeout", "hook_timeout")
NEEDS_TREES = ("staged", "frozen")
LIVE_SYNC: dict = {
    "method": "none",
    "service": [],
    "pidfile": None,
    "status_file": None,
    "log_file": None,
    "log_mark": None,
    "guard_state_dir": None,
    "touched_since": None,
    "bwlimit_file": None,
}


def _refuse(option, value, right):
    raise OptionError("Failed to use option %s: %r is not possible. %s." % (option, value, right))


def _names(params):
    if not NAME.match(params["migration"]):
        _refuse("migration", params["migration"], "Use letters, digits, dots, dashes and underscores")
    if not params["run_id"]:
        _refuse("run_id", params["run_id"], "Give each cutover a name")
    for option in ["writers"] + ["live_sync.service"]:
        units = params["writers"] if option == "writers" else _services(params)
        for unit in units:
            if not UNIT.match(unit) or unit.startswith("-"):
                _refuse(option, unit, "Give names of systemd units")


def _services(params):
    return [unit for tree in params["trees"] for unit in (tree.get("live_sync") or {}).get("service") or []]


def _numbers(params):
    for option in POSITIVE:
        if params[option] < 1:
            _refuse(option, params[option], "Give a number of seconds above 0")
    for option in ("max_delta", "max_delete"):
        if params[option] < 0:
            _refuse(option, params[option], "Give 0 for no limit, or a number above it")
    if params["deadman"] <= params["budget"]:
        _refuse("deadman", params["deadman"], "It must be more than the budget of %d s" % params["budget"])


def _hold(params):
    if params["hold_read_only"] and params["read_only"] not in ("auto", "bind"):
        _refuse("hold_read_only", True, "Use it with read_only=bind: the copy has to go on")


def _tree(tree, params):
    tree = dict(tree)
    for option in ("path", "private_path"):
        path = tree.get(option)
        if path and (not path.startswith("/") or os.path.normpath(path) in ("/", "//") or ".." in path.split("/")):
            _refuse("trees[%s].%s" % (tree["name"], option), path, "Give an absolute path below / without ..")
    if not NAME.match(tree["name"]):
        _refuse("trees.name", tree["name"], "Use letters, digits, dots, dashes and underscores")
    if "/" in (tree.get("sentinel") or ""):
        _refuse(
            "trees[%s].sentinel" % tree["name"], tree["sentinel"], "Give the name of a file in the root of the tree"
        )
    tree["private_path"] = tree.get("private_path") or os.path.join(params["private_path_root"], tree["name"])
    tree["live_sync"] = dict(
        LIVE_SYNC, **{key: value for key, value in (tree.get("live_sync") or {}).items() if value is not None}
    )
    if (
        tree["live_sync"]["method"] == "lsyncd"
        and not tree["live_sync"]["pidfile"]
        and not tree["live_sync"]["service"]
    ):
        _refuse("trees[%s].live_sync" % tree["name"], "lsyncd", "Give its service or its pidfile")
    return tree


def _commands(params):
    commands = dict.fromkeys(COMMANDS)
    commands.update(params["commands"] or {})
    found = {}
    for name, vectors in commands.items():
        found[name] = [[str(word) for word in vector] for vector in vectors or []]
        if not all(found[name]):
            _refuse("commands.%s" % name, vectors, "Each command is a list that is not empty")
    return found


def complete(params):
    """Options of the module as Freeze takes them. Raises OptionError naming option, value and what is right."""
    _names(params)
    _numbers(params)
    _hold(params)
    trees = [_tree(tree, params) for tree in params["trees"]]
    names = [tree["name"] for tree in trees]
    for name in names:
        if names.count(name) > 1:
            _refuse("trees.name", name, "Each tree needs a name of its own")
    paths = sorted(os.path.realpath(tree["path"]) + "/" for tree in trees)
    for upper, lower in zip(paths, paths[1:]):
        if lower.startswith(upper):
            _refuse("trees.path", lower.rstrip("/"), "It lies within the tree %s" % upper.rstrip("/"))
    if params["state"] in NEEDS_TREES and not trees:
        _refuse("trees", trees, "Name at least one tree")
    for name, files in (params["extra_paths_files"] or {}).items():
        if name not in names or not isinstance(files, list):
            _refuse("extra_paths_files", {name: files}, "Give a list of files for the name of a tree")
    return dict(
        params,
        trees=trees,
        commands=_commands(params),
        max_delete=params["max_delete"] or None,
        extra_paths_files=params["extra_paths_files"] or {},
    )
