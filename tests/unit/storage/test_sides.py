# SPDX-License-Identifier: GPL-3.0-or-later
"""Each side sees its own path and the other side's daemon."""

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.storage.sides import daemon_modules, sided_trees

TREES = [{"name": "data", "source": "/srv/old", "target": "/srv/new", "require_mountpoint": True}]


def test_each_side_sees_its_own_path():
    assert sided_trees(TREES, "source")[0]["path"] == "/srv/old"
    assert sided_trees(TREES, "target")[0]["path"] == "/srv/new"


def test_the_url_names_the_daemon_module_of_the_tree():
    tree = sided_trees(TREES, "source", url="rsync://migration@new:873", extra={"password_file": "/p"})[0]
    assert tree == {
        "name": "data",
        "path": "/srv/old",
        "private_path": "/run/seamless-migration/private/data",
        "require_mountpoint": True,
        "exclude": [],
        "dest_url": "rsync://migration@new:873/data/",
        "password_file": "/p",
    }


def test_an_unknown_side_is_refused():
    with pytest.raises(ValueError, match="source or target"):
        sided_trees(TREES, "left")


def test_live_sync_knows_the_lists_of_each_tree():
    trees = TREES + [{"name": "b", "source": "/srv/b", "target": "/srv/b"}]
    found = sided_trees(trees, "source", live_sync={"method": "lsyncd"}, touched={"data": 7})
    assert [tree["live_sync"] for tree in found] == [
        {"method": "lsyncd", "guard_state_dir": "/var/lib/seamless-migration/guard/data", "touched_since": 7},
        {"method": "lsyncd", "guard_state_dir": "/var/lib/seamless-migration/guard/b"},
    ]


def test_daemon_modules_are_at_the_private_path():
    assert daemon_modules(TREES, read_only=True) == [
        {"name": "data", "path": "/run/seamless-migration/private/data", "read_only": True}
    ]
