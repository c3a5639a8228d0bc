# SPDX-License-Identifier: GPL-3.0-or-later
"""NFS in a storage migration: what is wrong with the inputs, what is exported and mounted on which side, the gates."""

import posixpath
import re

from ansible_collections.seamless.migration.plugins.module_utils.nfs.mounts import split_source

NFS_KEYS = {
    "exports", "mounts", "version3", "firewall", "quorum", "ignore_clients", "source_server", "target_server",
}  # fmt: skip
EXPORT_KEYS = {"tree", "clients", "squash", "fsid", "sec", "crossmnt", "extra"}
MOUNT_KEYS = {
    "tree", "path", "folder", "options", "stop_units", "check", "canary_folder", "canary_user", "end_processes", "lazy",
    "known_mounts",
}  # fmt: skip
SQUASH = ("root", "all", "none")
CHECKS = ("write", "read", "none")
LAZY = ("never", "read_only")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FSID = re.compile(r"(root|[0-9]{1,10}|[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\Z")
_OPTION = re.compile(r"[^\s,()\"\\]+\Z")


# -- inputs


def input_errors(nfs, mounts, trees):
    """Sentences that say what is wrong with migration_nfs, and with migration_nfs_mounts of each client.

    nfs: dict, empty when nothing goes over NFS. mounts: {client: list of mounts}. trees: migration_trees.
    """
    if not isinstance(nfs, dict):
        return ["migration_nfs is %r: a dictionary is needed" % (nfs,)]
    errors = _unknown("migration_nfs", nfs, NFS_KEYS)
    if not nfs and any(mounts.values()):
        return ["migration_nfs_mounts is set and migration_nfs is not: give migration_nfs, at least as {mounts: []}"]
    names = [str(tree.get("name")) for tree in trees]
    errors += _quorum_errors(nfs.get("quorum", 100))
    errors += _list_errors("migration_nfs.ignore_clients", nfs.get("ignore_clients", []))
    for key in ("source_server", "target_server"):
        if key in nfs and not re.match(r"[A-Za-z0-9][A-Za-z0-9.:_-]*\Z", str(nfs[key])):
            errors.append("migration_nfs.%s is %r: a name or an address is needed" % (key, nfs[key]))
    exports = nfs.get("exports", [])
    for number, export in enumerate(exports):
        errors += _export_errors("migration_nfs.exports[%d]" % number, export, names)
    taken = [str(_tree_name(export, names)) for export in exports if isinstance(export, dict)]
    for name in sorted({name for name in taken if taken.count(name) > 1}):
        errors.append("migration_nfs.exports has the tree %r twice: give one export for each tree" % name)
    for place, found in [("migration_nfs.mounts", nfs.get("mounts", []))] + [
        ("migration_nfs_mounts of %s" % client, mounts[client]) for client in sorted(mounts)
    ]:
        errors += _mounts_errors(place, found, names)
    return errors


def _unknown(place, found, known):
    return [
        "%s has the key %r: the keys are %s" % (place, key, ", ".join(sorted(known)))
        for key in sorted(set(found) - known)
    ]


def _quorum_errors(quorum):
    if not str(quorum).isdigit() or not 1 <= int(quorum) <= 100:
        return ["migration_nfs.quorum is %r: percent of the clients, a whole number from 1 to 100, are needed" % quorum]
    return []


def _list_errors(place, found):
    if not isinstance(found, list) or not all(isinstance(word, str) and word for word in found):
        return ["%s is %r: a list of texts is needed" % (place, found)]
    return []


def _tree_name(entry, names):
    """The tree that an entry means: where there is only one, it need not be named."""
    return entry.get("tree", names[0] if len(names) == 1 else None)


def _tree_errors(place, entry, names):
    name = _tree_name(entry, names)
    if name in names:
        return []
    return ["%s.tree is %r: give one of %s" % (place, name, ", ".join(names) or "migration_trees")]


def _choice_errors(place, entry, key, choices):
    if key in entry and entry[key] not in choices:
        return ["%s.%s is %r: give one of %s" % (place, key, entry[key], ", ".join(choices))]
    return []


def _export_errors(place, export, names):
    if not isinstance(export, dict):
        return ["%s is %r: a dictionary is needed" % (place, export)]
    errors = _unknown(place, export, EXPORT_KEYS)
    errors += _tree_errors(place, export, names)
    errors += _choice_errors(place, export, "squash", SQUASH)
    for key in ("clients", "sec", "extra"):
        errors += _list_errors("%s.%s" % (place, key), export.get(key, []))
    if "clients" in export and not export["clients"]:
        errors.append("%s.clients is empty: say who may mount, or leave it out" % place)
    if "fsid" in export and not _FSID.match(str(export["fsid"])):
        errors.append("%s.fsid is %r: a number, a UUID or root is needed" % (place, export["fsid"]))
    return errors


def _mounts_errors(place, mounts, names):
    if not isinstance(mounts, list):
        return ["%s is %r: a list is needed" % (place, mounts)]
    errors = []
    for number, mount in enumerate(mounts):
        errors += _mount_errors("%s[%d]" % (place, number), mount, names)
    paths = [str(mount.get("path")) for mount in mounts if isinstance(mount, dict)]
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        errors.append("%s has the path %r twice" % (place, path))
    return errors


def _mount_errors(place, mount, names):
    if not isinstance(mount, dict):
        return ["%s is %r: a dictionary is needed" % (place, mount)]
    errors = _unknown(place, mount, MOUNT_KEYS)
    errors += _tree_errors(place, mount, names)
    path = str(mount.get("path", ""))
    if not path.startswith("/") or posixpath.normpath(path) == "/" or _CONTROL.search(path):
        errors.append("%s.path is %r: the absolute path of a mount point is needed" % (place, path))
    for key in ("folder", "canary_folder"):
        folder = str(mount.get(key, ""))
        if folder.startswith("/") or ".." in folder.split("/") or _CONTROL.search(folder):
            errors.append("%s.%s is %r: a folder below, without .., is needed" % (place, key, folder))
    for key in ("options", "stop_units", "known_mounts"):
        errors += _list_errors("%s.%s" % (place, key), mount.get(key, []))
    for word in mount.get("options", []) if isinstance(mount.get("options", []), list) else []:
        if not _OPTION.match(str(word)):
            errors.append("%s.options has %r: give one option an item" % (place, word))
    errors += _choice_errors(place, mount, "check", CHECKS)
    errors += _choice_errors(place, mount, "lazy", LAZY)
    return errors


# -- what goes where


def exports_of(nfs, trees, side, clients):
    """The exports of one side as the role nfs_server takes them.

    side: source or target. clients: who may mount where an export does not say so. Returns list of dict.
    """
    names = [tree["name"] for tree in trees]
    given = {_tree_name(export, names): export for export in nfs.get("exports", [])}
    wanted = given or {tree["name"]: {} for tree in trees}
    found = []
    for tree in trees:
        if tree["name"] in wanted:
            entry = {key: value for key, value in wanted[tree["name"]].items() if key != "tree"}
            entry.setdefault("clients", list(clients))
            if "fsid" in entry:
                entry["fsid"] = str(entry["fsid"])
            # Nobody can write before the migration opens the tree itself: nothing is exported anew in the window.
            entry.update(name=tree["name"], path=tree[side], read_only=False)
            entry["require_mountpoint"] = bool(tree.get("require_mountpoint"))
            found.append(entry)
    return found


def mounts_of(mounts, trees, side, server):
    """The mounts of a client while one side serves. Returns list of dict, complete, for the module nfs_mount."""
    names = [tree["name"] for tree in trees]
    paths = {tree["name"]: tree[side] for tree in trees}
    found = []
    for mount in mounts:
        top = paths[_tree_name(mount, names)].rstrip("/") or "/"
        folder = mount.get("folder", "").strip("/")
        entry = {
            "path": mount["path"],
            "server": server,
            "export": posixpath.join(top, folder) if folder else top,
            "stop_units": mount.get("stop_units", []),
            "check": mount.get("check", "write"),
            "canary_folder": mount.get("canary_folder", ""),
            "end_processes": bool(mount.get("end_processes", False)),
            "lazy": mount.get("lazy", "never"),
            "known_mounts": [other["path"] for other in mounts if other is not mount] + mount.get("known_mounts", []),
        }
        entry.update({key: mount[key] for key in ("options", "canary_user") if key in mount})
        found.append(entry)
    return found


# -- gates


def gate(name, problems, advice, **evidence):
    """One gate: ok when there are no problems. Returns {"name", "ok", "evidence", "advice"}."""
    return {"name": name, "ok": not problems, "evidence": dict(evidence, problems=problems), "advice": advice}


def _related(path, tree):
    """Whether who has path has something of the tree, or all of it."""
    path, tree = path.rstrip("/"), tree.rstrip("/")
    return path == tree or path.startswith(tree + "/") or tree.startswith(path + "/")


def _uses(client, trees):
    return any(_related(path, tree["source"]) for path in client["paths"] for tree in trees)


def preflight_gates(source, target, trees, nfs, known):
    """The gates of the preflight.

    source, target: what nfs_info returned on both servers. known: {host of the inventory: its addresses}, the storage
    hosts included. Returns list of gates.
    """
    users = [client for client in source["clients"] if _uses(client, trees)]
    return [
        clients_known(users, known, nfs.get("ignore_clients", [])),
        exports_there(source, trees),
        versions_served(users, target, nfs),
        fsids_differ(source, target, nfs),
    ]


def clients_known(users, known, ignored):
    """Every client that the old server knows of stands in the inventory."""
    where = {address: host for host in sorted(known) for address in known[host]}
    problems, told = [], []
    for client in users:
        host = where.get(client["address"], "")
        told.append("%s (%s): %s" % (client["address"], ", ".join(client["seen"]), host or "not in the inventory"))
        if not host and client["address"] not in ignored:
            problems.append(
                "%s uses %s and is not in the inventory (%s)"
                % (client["address"], ", ".join(client["paths"]), ", ".join(client["seen"]))
            )
    return gate(
        "nfs_clients", problems,
        "Put the host into storage_clients with its mounts; or its address into migration_nfs.ignore_clients when it "
        "is gone, or may be left without its mount",
        clients=told,
    )  # fmt: skip


def exports_there(source, trees):
    """The old server exports each tree by itself: then the freeze closes it for clients too."""
    problems = []
    if not source["running"]:
        problems.append("no NFS server runs on the source")
    paths = sorted({export["path"] for export in source["exports"]})
    for tree in trees if source["running"] else []:
        inside = [path for path in paths if path == tree["source"] or path.startswith(tree["source"].rstrip("/") + "/")]
        above = [path for path in paths if path not in inside and _related(path, tree["source"])]
        for path in above:
            problems.append("%s is exported as a part of %s: clients of that can write around the freeze"
                            % (tree["source"], path))  # fmt: skip
        if not inside and not above:
            problems.append("%s is not exported by the source" % tree["source"])
    return gate("nfs_exports", problems, "Let the old server export each tree by itself", exports=paths)


def versions_served(users, target, nfs):
    """What clients speak now is spoken by the new server."""
    used = sorted({version for client in users for version in client["versions"]})
    problems = []
    if "3" in used and not nfs.get("version3", True):
        who = [client["address"] for client in users if "3" in client["versions"]]
        problems.append("%s use version 3, and migration_nfs.version3 is false" % ", ".join(who))
    for version in used if target["running"] else []:
        if version not in target["versions"]:
            problems.append("version %s is not served by the target" % version)
    advice = "Let the new server serve the version, or change the clients first"
    return gate("nfs_versions", problems, advice, used=used)


def fsids_differ(source, target, nfs):
    """An old handle must mean nothing to the new server: after a copy by files it could mean another file."""
    old = {export["fsid"]: export["path"] for export in source["exports"] if export["fsid"]}
    planned = {str(export["fsid"]) for export in nfs.get("exports", []) if "fsid" in export}
    planned |= {export["fsid"] for export in target["exports"] if export["fsid"]}
    shared = sorted(planned & set(old))
    problems = ["fsid=%s is that of %s on the source" % (fsid, old[fsid]) for fsid in shared]
    return gate("nfs_fsid", problems, "Give the new server another fsid in migration_nfs.exports", old=sorted(old))


def server_ready(view, trees, nfs, side):
    """The server that takes over serves, takes locks, and exports each tree for writing. Returns a gate."""
    problems = []
    if not view["running"]:
        problems.append("no NFS server runs there")
    elif not view["takes_locks"]:
        problems.append("a grace period is not over: locks are refused until then")
    wanted = {export["path"] for export in exports_of(nfs, trees, side, [])}
    for path in sorted(wanted) if view["running"] else []:
        found = [export for export in view["exports"] if export["path"] == path]
        if not found:
            problems.append("%s is not exported there" % path)
        elif all(export["read_only"] for export in found):
            problems.append("%s is exported read-only there" % path)
    return gate(
        "nfs_server", problems, "Run storage_prepare, and wait for the end of the grace period",
        exports=sorted({export["path"] for export in view["exports"]}), grace=view["grace"], versions=view["versions"],
    )  # fmt: skip


def rights_kept(left, right, rehearsed):
    """Each client may do with the server that takes over what it may do now, as the same users.

    left, right: `rights` of nfs_info on the server that is left and on the one that takes over. rehearsed: {client:
    results of nfs_mount with state: rehearsed}. Returns a gate.
    """
    problems, compared, unknown = [], [], []
    for client in sorted(rehearsed):
        for result in rehearsed[client]:
            if result.get("action") != "rehearse" or not result.get("was"):
                continue
            where = "%s at %s" % (client, result["path"])
            now, then = _rights(left, result["was"]), _rights(right, result["wanted"])
            if now is None or then is None:
                unknown.append(where)
                continue
            compared.append("%s: %s" % (where, " ".join(now)))
            if set(now) != set(then):
                gone, new = ([word for word in one if word not in other] for one, other in ((now, then), (then, now)))
                problems.append("%s has %s now, and %s after the switch" % (where, _told(gone), _told(new)))
    return gate(
        "nfs_rights", problems,
        "Export it there as it is exported here (migration_nfs.exports), or force the gate where that is meant",
        compared=compared, unknown=unknown,
    )  # fmt: skip


def _told(words):
    return " ".join(words) or "nothing of that"


def _rights(table, server):
    """The rights of a client with what it has from a server, {"source", "own_address"}, or None: not known."""
    path = split_source(server["source"])[1].rstrip("/") or "/"
    found = [
        entry
        for entry in table
        if entry["host"] == server["own_address"]
        and (entry["path"] == path or path.startswith(entry["path"].rstrip("/") + "/"))
    ]
    return max(found, key=lambda entry: len(entry["path"]))["rights"] if found else None
