# SPDX-License-Identifier: GPL-3.0-or-later
"""The trees of a migration as one side of it sees them."""

OTHER = {"source": "target", "target": "source"}
PRIVATE = "/run/seamless-migration/private"
GUARD_STATES = "/var/lib/seamless-migration/guard"


def _live_sync(settings, touched, name):
    """Settings of live sync for one tree.

    They say where its guard keeps its lists, and how long `touched` was at the compare.
    """
    completed = dict(settings, guard_state_dir="%s/%s" % (GUARD_STATES, name))
    if name in touched:
        completed["touched_since"] = touched[name]
    return completed


def sided_trees(trees, side, *, url="", extra=None, live_sync=None, touched=None):
    """The trees as seen from one side.

    trees: migration_trees. side: "source" or "target". url: rsync://user@host:port of the daemon on the other side,
    without a slash at its end. extra: dict of keys that every tree gets. live_sync: settings of live sync, completed
    for each tree. touched: by tree the size in bytes of the guard's list at the last clean compare. Returns a list of
    dicts with name, path, private_path (where the migration itself writes), require_mountpoint, exclude, dest_url,
    live_sync where it was given, and the extra keys.
    Raises ValueError for an unknown side.
    """
    if side not in OTHER:
        raise ValueError("side is %r: source or target is needed" % side)
    sided = []
    for tree in trees:
        entry = {
            "name": tree["name"],
            "path": tree[side],
            "private_path": "%s/%s" % (PRIVATE, tree["name"]),
            "require_mountpoint": bool(tree.get("require_mountpoint", False)),
            "exclude": list(tree.get("exclude", [])),
            "dest_url": "%s/%s/" % (url, tree["name"]) if url else "",
        }
        if live_sync:
            entry["live_sync"] = _live_sync(live_sync, touched or {}, tree["name"])
        entry.update(extra or {})
        sided.append(entry)
    return sided


def daemon_modules(trees, read_only):
    """Modules of the rsync daemon for the trees, each at the door through which only the migration writes.

    trees: migration_trees. read_only: bool. Returns a list of dicts as the role rsync_server takes them.
    """
    return [
        {"name": tree["name"], "path": "%s/%s" % (PRIVATE, tree["name"]), "read_only": bool(read_only)}
        for tree in trees
    ]
