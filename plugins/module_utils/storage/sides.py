# SPDX-License-Identifier: GPL-3.0-or-later
"""The trees of a migration as one side of it sees them."""

OTHER = {"source": "target", "target": "source"}
PRIVATE = "/run/seamless-migration/private"


def sided_trees(trees, side, url="", extra=None):
    """The trees as seen from one side.

    trees: migration_trees. side: "source" or "target". url: rsync://user@host:port of the daemon on the other side,
    without a slash at its end. extra: dict of keys that every tree gets. Returns a list of dicts with name, path,
    private_path (where the migration itself writes), require_mountpoint, exclude, dest_url, and the extra keys.
    Raises ValueError for an unknown side.
    """
    if side not in OTHER:
        raise ValueError("side is %r: source or target is needed" % side)
    return [
        dict(
            {
                "name": tree["name"],
                "path": tree[side],
                "private_path": "%s/%s" % (PRIVATE, tree["name"]),
                "require_mountpoint": bool(tree.get("require_mountpoint", False)),
                "exclude": list(tree.get("exclude", [])),
                "dest_url": "%s/%s/" % (url, tree["name"]) if url else "",
            },
            **(extra or {})
        )
        for tree in trees
    ]
