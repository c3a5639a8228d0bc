# SPDX-License-Identifier: GPL-3.0-or-later
"""Each side sees its own path and the other side's daemon."""

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.storage.sides import sided_trees

TREES = [{"name": "data", "source": "/srv/old", "target": "/srv/new", "require_mountpoint": True}]


def test_each_side_sees_its_own_path():
    assert sided_trees(TREES, "source")[0]["path"] == "/srv/old"
    assert sided_trees(TREES, "target")[0]["path"] == "/srv/new"


def test_the_url_names_the_daemon_module_of_the_tree():
    tree = sided_trees(TREES, "source", "rsync://migration@new:873", {"password_file": "/p"})[0]
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
