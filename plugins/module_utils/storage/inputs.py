# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the inputs of a storage migration, said before anything is touched."""

import posixpath
import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
TREE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
TREE_KEYS = {"name", "source", "target", "require_mountpoint", "exclude", "worker_source"}
HOOKS = ("before_freeze", "after_freeze", "before_switch", "after_switch", "on_rollback")
SYSTEM_PATHS = {"/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc"}
SYSTEM_PATHS |= {"/run", "/sbin", "/sys", "/usr", "/var"}


def input_errors(inputs):
    """Check the inputs.

    inputs: dict with "name", "trees", "sources", "targets", "secret", "port", "freeze_budget", "hooks".
    Returns a list of sentences, empty when all is well; each names the variable, the value and what would be right.
    """
    errors = []
    if not NAME.match(str(inputs["name"])):
        errors.append(
            "migration_name is %r: give the migration a name of letters, digits, dots, underscores and dashes"
            % inputs["name"]
        )
    errors += _host_errors(inputs["sources"], inputs["targets"])
    errors += _tree_errors(inputs["trees"])
    errors += _secret_errors(str(inputs["secret"]))
    if not str(inputs["port"]).isdigit() or not 0 < int(inputs["port"]) < 65536:
        errors.append("migration_rsync_port is %r: a port number from 1 to 65535 is needed" % inputs["port"])
    if not str(inputs["freeze_budget"]).isdigit() or int(inputs["freeze_budget"]) < 1:
        errors.append("migration_freeze_budget is %r: whole seconds, at least 1, are needed" % inputs["freeze_budget"])
    for hook in sorted(set(inputs["hooks"]) - set(HOOKS)):
        errors.append("migration_hooks has %r: the hooks are %s" % (hook, ", ".join(HOOKS)))
    return errors


def _host_errors(sources, targets):
    errors = []
    for group, hosts in (("storage_source", sources), ("storage_target", targets)):
        if len(hosts) != 1:
            errors.append("group %s has %d hosts: exactly one is needed" % (group, len(hosts)))
    for host in sorted(set(sources) & set(targets)):
        errors.append("%s is in storage_source and in storage_target: two machines are needed" % host)
    return errors


def _secret_errors(secret):
    """Sentences about the secret; its value is never in them."""
    if not secret:
        return ["migration_rsync_secret is empty: set it, best from a vault"]
    if len(secret) < 8:
        return ["migration_rsync_secret is shorter than 8 characters: set a longer one"]
    if CONTROL.search(secret) or secret != secret.strip():
        return ["migration_rsync_secret has control characters or blanks at its ends: rsync would cut them off"]
    return []


def _tree_errors(trees):
    if not trees:
        return ["migration_trees is empty: list the trees to move, each with name, source and target"]
    errors = []
    for number, tree in enumerate(trees):
        errors += _one_tree_errors("migration_trees[%d]" % number, tree)
    names = [str(tree.get("name")) for tree in trees]
    for name in sorted({name for name in names if names.count(name) > 1}):
        errors.append("migration_trees has two trees named %r: names must differ" % name)
    for side in ("source", "target"):
        errors += _nested(side, sorted(posixpath.normpath(str(tree.get(side))) for tree in trees if tree.get(side)))
    return errors


def _one_tree_errors(place, tree):
    errors = []
    for key in sorted(set(tree) - TREE_KEYS):
        errors.append("%s has the key %r: the keys are %s" % (place, key, ", ".join(sorted(TREE_KEYS))))
    if not TREE_NAME.match(str(tree.get("name", ""))):
        errors.append("%s.name is %r: letters, digits, underscores and dashes are needed" % (place, tree.get("name")))
    for side in ("source", "target"):
        errors += _path_errors("%s.%s" % (place, side), str(tree.get(side, "")))
    if "worker_source" in tree:
        errors += _path_errors("%s.worker_source" % place, str(tree["worker_source"]))
    for pattern in tree.get("exclude", []):
        if CONTROL.search(str(pattern)) or not str(pattern):
            errors.append("%s.exclude has %r: an rsync pattern without control characters is needed" % (place, pattern))
    return errors


def _path_errors(place, path):
    if not path.startswith("/"):
        return ["%s is %r: an absolute path is needed" % (place, path)]
    if CONTROL.search(path):
        return ["%s is %r: a path without control characters is needed" % (place, path)]
    if posixpath.normpath(path) != (path.rstrip("/") or "/") or "//" in path:
        return ["%s is %r: write the path without '.', '..' and doubled slashes" % (place, path)]
    if (path.rstrip("/") or "/") in SYSTEM_PATHS:
        return ["%s is %r: that belongs to the operating system; name the directory that moves" % (place, path)]
    return []


def _nested(side, paths):
    errors = []
    for outer, inner in zip(paths, paths[1:]):
        if inner == outer or inner.startswith(outer + "/"):
            errors.append("migration_trees: %s %r lies within %r: trees must not overlap" % (side, inner, outer))
    return errors
