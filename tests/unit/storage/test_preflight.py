# SPDX-License-Identifier: GPL-3.0-or-later
"""Each gate of the storage preflight is decided from facts alone."""

import copy

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.storage.preflight import preflight_gates

TREES = [{"name": "data", "source": "/srv/files", "target": "/srv/new"}]
OPTIONS = {"writers": ["upload.service"], "clock_tolerance": 2.0, "clock_slack": 0.5, "reserve_percent": 5}


def side(path):
    return {
        "host": {
            "clock": 1000.0,
            "rsync": "3.5.0",
            "rsync_features": {"acls": True, "xattrs": True},
            "users": {"root": 0, "www": 1001, "nobody": 65534},
            "groups": {"root": 0, "www": 1001},
            "units": {"upload.service": {"exists": True, "active": "active"}},
        },
        "trees": [
            {
                "path": path,
                "exists": True,
                "empty": False,
                "mountpoint": False,
                "device": 2049,
                "read_only": False,
                "free_bytes": 10 ** 9,
                "used_bytes": 10 ** 6,
                "free_inodes": 10 ** 6,
                "used_inodes": 1000,
                "inodes_limited": True,
                "counts": {"files": 10, "directories": 2, "bytes": 1000, "hard_linked": 0, "complete": True},
            }
        ],
    }


def free(one_side, **values):
    one_side["trees"][0].update(values)


def counted(one_side, **values):
    one_side["trees"][0]["counts"].update(values)


def failed(change=None, trees=None):
    source, target = side("/srv/files"), side("/srv/new")
    if change:
        change(source, target)
    gates = preflight_gates(source, target, trees or copy.deepcopy(TREES), OPTIONS)
    assert all(gate["advice"] for gate in gates)
    return {gate["name"]: gate["evidence"]["problems"] for gate in gates if not gate["ok"]}


def test_two_good_hosts_pass_every_gate():
    assert failed() == {}


@pytest.mark.parametrize(
    ("name", "words", "change"),
    [
        ("source_trees", "does not exist", lambda s, t: s["trees"][0].update(exists=False)),
        ("source_trees", "is empty", lambda s, t: s["trees"][0].update(empty=True)),
        ("target_trees", "read-only", lambda s, t: t["trees"][0].update(read_only=True)),
        ("space", "bytes", lambda s, t: (free(t, free_bytes=5), counted(t, bytes=0))),
        ("space", "bytes", lambda s, t: (free(s, used_bytes=10 ** 12), counted(s, complete=False))),
        ("inodes", "inodes", lambda s, t: (free(t, free_inodes=1), counted(t, files=0, directories=0))),
        ("rsync_versions", "older than 3.1", lambda s, t: s["host"].update(rsync="3.0.9")),
        ("rsync_versions", "loses deletions", lambda s, t: t["host"].update(rsync="3.4.3")),
        ("rsync_versions", "without acls", lambda s, t: t["host"]["rsync_features"].update(acls=False)),
        ("accounts", "user www is 1001 on the source and 1002", lambda s, t: t["host"]["users"].update(www=1002)),
        ("clocks", "apart", lambda s, t: t["host"].update(clock=1003.0)),
        ("writers", "no unit upload.service on the t", lambda s, t: t["host"].update(units={"upload.service": {}})),
    ],
)
def test_a_gate_fails_and_says_why(name, words, change):
    problems = failed(change)
    assert list(problems) == [name]
    assert words in problems[name][0]


def test_the_time_between_two_readings_of_a_clock_is_no_difference():
    assert failed(lambda s, t: t["host"].update(clock=1002.4)) == {}
    assert list(failed(lambda s, t: t["host"].update(clock=1002.6))) == ["clocks"]


def test_a_tree_that_must_be_a_mount_point_is_refused_when_it_is_not():
    trees = [dict(TREES[0], require_mountpoint=True)]
    assert set(failed(trees=trees)) == {"source_trees", "target_trees"}


def missing(one_side, **values):
    """The tree is not there; what is told is the file system of the folder above."""
    tree = one_side["trees"][0]
    for name in ("empty", "mountpoint", "counts"):
        del tree[name]
    tree.update(values, exists=False)


@pytest.mark.parametrize(("name", "values"), [
    ("space", {"free_bytes": 5}), ("inodes", {"free_inodes": 1}), ("target_trees", {"read_only": True}),
])
def test_a_target_folder_that_is_still_to_be_made_needs_room_too(name, values):
    assert list(failed(lambda s, t: missing(t, **values))) == [name]
    assert failed(lambda s, t: missing(t)) == {}


def test_the_room_of_a_file_system_that_is_still_to_be_mounted_is_not_guessed():
    trees = [dict(TREES[0], require_mountpoint=True)]
    problems = failed(lambda s, t: (missing(t, free_bytes=5), free(s, mountpoint=True)), trees=trees)
    assert list(problems) == ["target_trees"]


def failed_with_two(source_devices=(1, 1), target_devices=(1, 1), **free):
    """What the gates say of two equal trees, of 1000 bytes and 12 entries each, none of it on the target."""
    def change(source, target):
        target["trees"][0].update(free)
        counted(target, files=0, directories=0, bytes=0)
        for one_side, devices in ((source, source_devices), (target, target_devices)):
            one_side["trees"].append(copy.deepcopy(one_side["trees"][0]))
            for tree, device in zip(one_side["trees"], devices):
                tree["device"] = device

    return failed(change, [TREES[0], {"name": "more", "source": "/srv/more", "target": "/srv/more"}])


@pytest.mark.parametrize(("name", "free", "words"), [
    ("space", {"free_bytes": 1500}, "data, more together need 2100 bytes, 1500 are free"),
    ("inodes", {"free_inodes": 20}, "data, more together need 24 inodes, 20 are free"),
])
def test_trees_that_come_to_lie_on_one_file_system_need_its_room_together(name, free, words):
    assert failed_with_two(**free) == {name: [words]}
    assert failed_with_two(target_devices=(1, 2), **free) == {}


def test_a_file_system_of_the_source_that_could_not_be_counted_is_taken_once():
    def change(source, target):
        for one_side in (source, target):
            one_side["trees"].append(copy.deepcopy(one_side["trees"][0]))
        counted(source, complete=False)
        for tree in target["trees"]:
            tree.update(free_bytes=source["trees"][0]["used_bytes"] * 106 // 100)

    trees = [TREES[0], {"name": "more", "source": "/srv/more", "target": "/srv/more"}]
    assert failed(change, trees) == {}


def test_facts_from_before_they_told_the_device_are_looked_at_tree_by_tree():
    assert failed(lambda s, t: (s["trees"][0].pop("device"), t["trees"][0].pop("device"))) == {}


def test_what_was_copied_before_counts_as_room():
    def change(_source, target):
        target["trees"][0]["free_bytes"] = 100
        target["trees"][0]["counts"]["bytes"] = 1000

    assert failed(change) == {}


def test_a_host_without_rsync_is_left_to_prepare():
    assert failed(lambda s, t: t["host"].update(rsync=None, rsync_features={"acls": False, "xattrs": False})) == {}
