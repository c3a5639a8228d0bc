# SPDX-License-Identifier: GPL-3.0-or-later
"""NFS in a migration: inputs that cannot work are named, and each gate holds for the right reason."""

import copy

import pytest
from ansible_collections.seamless.migration.plugins.filter import (
    migration_input_errors,
    nfs_exports,
    nfs_gates,
    nfs_mounts,
    nfs_rights,
)
from ansible_collections.seamless.migration.plugins.module_utils.nfs import migration

TREES = [{"name": "data", "source": "/srv/files", "target": "/data/files", "require_mountpoint": True}]
TWO = TREES + [{"name": "logs", "source": "/srv/logs", "target": "/data/logs"}]
MOUNT = {"path": "/mnt/files", "stop_units": ["app.service"], "folder": "web/", "canary_user": "files"}
VIEW = {
    "running": True,
    "versions": ["3", "4.2"],
    "takes_locks": True,
    "grace": {"v3": True, "v4": True},
    "exports": [{"path": "/srv/files", "client": "10.0.0.0/24", "read_only": False, "fsid": "11"}],
    "clients": [
        {"address": "10.0.0.5", "name": "", "versions": ["4.2"], "seen": ["version 4"], "paths": ["/srv/files"]},
        {"address": "10.0.0.6", "name": "", "versions": ["3"], "seen": ["rmtab"], "paths": ["/srv/files/web"]},
        {"address": "10.0.0.9", "name": "", "versions": ["3"], "seen": ["rmtab"], "paths": ["/srv/other"]},
    ],
}
NEW = dict(VIEW, clients=[], exports=[{"path": "/data/files", "client": "*", "read_only": False, "fsid": "27"}])
KNOWN = {"app1": ["10.0.0.5", "fe80::1"], "app2": ["10.0.0.6"]}


def errors(nfs, mounts=None, trees=None):
    return migration.input_errors(nfs, mounts or {}, trees or TREES)


@pytest.mark.parametrize("nfs", [{}, {"mounts": [MOUNT]}, {"exports": [{"fsid": 27}], "mounts": [MOUNT], "quorum": 90}])
def test_good_inputs_have_no_errors(nfs):
    assert errors(nfs) == []
    assert errors(nfs, {"app1": []}) == []


@pytest.mark.parametrize(
    "nfs, said",
    [
        ([], "migration_nfs is []"),
        ({"mount": []}, "migration_nfs has the key 'mount'"),
        ({"quorum": 0}, "migration_nfs.quorum is 0"),
        ({"quorum": "most"}, "migration_nfs.quorum is 'most'"),
        ({"ignore_clients": "10.0.0.1"}, "migration_nfs.ignore_clients is '10.0.0.1'"),
        ({"target_server": "a b"}, "migration_nfs.target_server is 'a b'"),
        ({"exports": [{"tree": "none"}]}, "migration_nfs.exports[0].tree is 'none'"),
        ({"exports": [{}, {"tree": "data"}]}, "has the tree 'data' twice"),
        ({"exports": [{"squash": "some"}]}, "migration_nfs.exports[0].squash is 'some'"),
        ({"exports": [{"fsid": "x"}]}, "migration_nfs.exports[0].fsid is 'x'"),
        ({"exports": [{"clients": []}]}, "migration_nfs.exports[0].clients is empty"),
        ({"mounts": {}}, "migration_nfs.mounts is {}"),
        ({"mounts": [{"path": "files"}]}, "migration_nfs.mounts[0].path is 'files'"),
        ({"mounts": [{"path": "/a", "folder": "../x"}]}, "migration_nfs.mounts[0].folder is '../x'"),
        ({"mounts": [{"path": "/a", "options": ["a,b"]}]}, "migration_nfs.mounts[0].options has 'a,b'"),
        ({"mounts": [{"path": "/a", "check": "maybe"}]}, "migration_nfs.mounts[0].check is 'maybe'"),
        ({"mounts": [{"path": "/a", "lazy": "fenced"}]}, "migration_nfs.mounts[0].lazy is 'fenced'"),
        ({"mounts": [{"path": "/a"}, {"path": "/a"}]}, "has the path '/a' twice"),
    ],
)
def test_bad_inputs_are_named(nfs, said):
    assert any(said in sentence for sentence in errors(nfs))


def test_a_mount_has_to_say_which_of_two_trees_it_means():
    assert "migration_nfs.mounts[0].tree is None" in errors({"mounts": [MOUNT]}, trees=TWO)[0]
    assert errors({"mounts": [dict(MOUNT, tree="logs")]}, trees=TWO) == []


def test_mounts_of_a_client_without_the_rest_are_an_error_and_its_bad_ones_are_named_with_it():
    assert "migration_nfs is not" in errors({}, {"app1": [MOUNT]})[0]
    assert "migration_nfs_mounts of app1[0].path" in errors({"mounts": []}, {"app1": [{"path": "x"}]})[0]


def test_the_filter_of_all_inputs_asks_for_nfs_too():
    inputs = {
        "name": "m", "trees": TREES, "sources": ["a"], "targets": ["b"], "secret": "long enough", "port": 873,
        "freeze_budget": 60, "hooks": {},
    }  # fmt: skip
    check = migration_input_errors.FilterModule().filters()["migration_input_errors"]
    assert check(inputs) == []
    assert "migration_nfs.quorum" in check(dict(inputs, nfs={"quorum": 101}, nfs_mounts={}))[0]


def test_exports_are_writable_and_for_the_clients_of_the_inventory_unless_they_say_otherwise():
    make = nfs_exports.FilterModule().filters()["nfs_exports"]
    both = {"clients": ["10.0.0.5"], "read_only": False}
    assert make({}, TWO, "target", clients=["10.0.0.5"]) == [
        dict(both, name="data", path="/data/files", require_mountpoint=True),
        dict(both, name="logs", path="/data/logs", require_mountpoint=False),
    ]
    found = make({"exports": [{"tree": "logs", "clients": ["@web"], "fsid": 27}]}, TWO, "source")
    assert [(export["path"], export["clients"], export["fsid"]) for export in found] == [("/srv/logs", ["@web"], "27")]


def test_mounts_are_completed_for_the_side_that_serves():
    make = nfs_mounts.FilterModule().filters()["nfs_mounts"]
    there = make([MOUNT], TREES, "target", "files-new")[0]
    assert (there["server"], there["export"], there["path"]) == ("files-new", "/data/files/web", "/mnt/files")
    assert (there["check"], there["lazy"], there["canary_user"]) == ("write", "never", "files")
    assert "options" not in there
    assert make([dict(MOUNT, folder="")], TREES, "source", "old")[0]["export"] == "/srv/files"


def test_mounts_of_a_client_know_of_each_other():
    make = nfs_mounts.FilterModule().filters()["nfs_mounts"]
    found = make([MOUNT, {"path": "/mnt/two", "known_mounts": ["docker-*.scope"]}], TREES, "target", "files-new")
    assert [entry["known_mounts"] for entry in found] == [["/mnt/two"], ["/mnt/files", "docker-*.scope"]]


def gates(source=None, target=None, nfs=None, known=None, trees=None):
    decide = nfs_gates.FilterModule().filters()["nfs_gates"]
    decided = decide(source or VIEW, target or NEW, trees or TREES, nfs or {}, known=known or KNOWN)
    return {gate["name"]: gate for gate in decided}


def test_all_gates_hold_when_all_is_well():
    assert [name for name, gate in gates().items() if not gate["ok"]] == []
    assert set(gates()) == {"nfs_clients", "nfs_exports", "nfs_versions", "nfs_fsid"}


def test_a_client_that_is_not_in_the_inventory_is_named_with_how_it_was_seen():
    found = gates(known={"app1": ["10.0.0.5"]})["nfs_clients"]
    assert not found["ok"]
    assert found["evidence"]["problems"] == ["10.0.0.6 uses /srv/files/web and is not in the inventory (rmtab)"]
    assert gates(known={"app1": ["10.0.0.5"]}, nfs={"ignore_clients": ["10.0.0.6"]})["nfs_clients"]["ok"]


def changed(**changes):
    return dict(copy.deepcopy(VIEW), **changes)


@pytest.mark.parametrize(
    "paths, said",
    [
        ([], "/srv/files is not exported by the source"),
        (["/srv"], "/srv/files is exported as a part of /srv"),
        (["/srv", "/srv/files"], "/srv/files is exported as a part of /srv"),
        (["/srv/files2"], "/srv/files is not exported by the source"),
        (["/srv/files/web"], None),
    ],
)
def test_each_tree_has_to_be_exported_by_itself(paths, said):
    exports = [{"path": path, "client": "*", "read_only": False, "fsid": ""} for path in paths]
    problems = gates(source=changed(exports=exports))["nfs_exports"]["evidence"]["problems"]
    assert any(said in problem for problem in problems) if said else problems == []


def test_a_source_without_a_server_is_told():
    assert gates(source=changed(running=False))["nfs_exports"]["evidence"]["problems"] == [
        "no NFS server runs on the source"
    ]


def test_versions_that_clients_speak_have_to_be_served():
    found = gates(nfs={"version3": False})["nfs_versions"]["evidence"]["problems"]
    assert found == ["10.0.0.6 use version 3, and migration_nfs.version3 is false"]
    assert not gates(target=dict(NEW, versions=["3"]))["nfs_versions"]["ok"]
    assert gates(target=dict(NEW, versions=[], running=False))["nfs_versions"]["ok"]


def test_the_fsid_of_the_old_server_must_not_come_back():
    assert not gates(nfs={"exports": [{"fsid": 11}]})["nfs_fsid"]["ok"]
    assert gates(nfs={"exports": [{"fsid": 12}]})["nfs_fsid"]["ok"]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"running": False}, "no NFS server runs there"),
        ({"takes_locks": False}, "a grace period is not over"),
        ({"exports": []}, "/data/files is not exported there"),
        ({"exports": [dict(NEW["exports"][0], read_only=True)]}, "/data/files is exported read-only there"),
    ],
)
def test_a_server_that_cannot_take_over_is_told_why(changes, said):
    decide = nfs_gates.FilterModule().filters()["nfs_gates"]
    assert decide(NEW, NEW, TREES, {}, ready="target")[0]["ok"]
    found = decide(dict(NEW, **changes), dict(NEW, **changes), TREES, {}, ready="target")[0]
    assert found["name"] == "nfs_server" and not found["ok"]
    assert said in found["evidence"]["problems"][0]


REHEARSED = {
    "action": "rehearse",
    "path": "/mnt/files",
    "was": {"source": "old:/srv/files/web", "own_address": "10.0.0.5"},
    "wanted": {"source": "[2001:db8::2]:/data/files/web", "own_address": "2001:db8::5"},
}
RIGHTS = ["sec=sys", "rw", "no_root_squash"]


def rights(then, rehearsed=None, now=None):
    """The gate when this is what the new server gives."""
    left = [
        {"host": "10.0.0.5", "path": "/srv", "client": "*", "rights": ["sec=sys", "ro"]},
        {"host": "10.0.0.5", "path": "/srv/files", "client": "*", "rights": now or RIGHTS},
        {"host": "10.0.0.6", "path": "/srv/files/web", "client": "*", "rights": ["sec=sys", "ro"]},
    ]
    right = [{"host": "2001:db8::5", "path": "/data/files", "client": "*", "rights": then}] if then else []
    decide = nfs_rights.FilterModule().filters()["nfs_rights"]
    return decide(left, right, {"app1": [rehearsed or REHEARSED]})


def test_the_same_rights_on_both_servers_are_well():
    found = rights(list(reversed(RIGHTS)))
    assert found["name"] == "nfs_rights" and found["ok"]
    assert found["evidence"]["compared"] == ["app1 at /mnt/files: sec=sys rw no_root_squash"]


@pytest.mark.parametrize(
    "now, then, said",
    [
        (None, "sec=sys rw root_squash anonuid=65534", "no_root_squash now, and root_squash anonuid=65534 after"),
        (None, "sec=sys ro no_root_squash", "rw now, and ro after"),
        (None, "sec=krb5 rw no_root_squash", "sec=sys now, and sec=krb5 after"),
        ("sec=sys rw all_squash anonuid=99", "sec=sys rw all_squash anonuid=7", "anonuid=99 now, and anonuid=7"),
        (None, "sec=sys rw", "no_root_squash now, and nothing of that after"),
    ],
)
def test_other_rights_are_named_with_the_client(now, then, said):
    found = rights(then.split(), now=now and now.split())
    assert not found["ok"]
    assert found["evidence"]["problems"][0].startswith("app1 at /mnt/files has " + said)


def test_rights_that_nobody_can_tell_are_said_and_those_of_a_client_without_a_switch_are_not_asked_for():
    assert rights([])["evidence"]["unknown"] == ["app1 at /mnt/files"]
    for other in ({"failed": True, "msg": "x"}, dict(REHEARSED, action="none"), dict(REHEARSED, was={})):
        found = rights(["sec=sys", "ro"], other)
        assert found["ok"] and found["evidence"]["compared"] == []
