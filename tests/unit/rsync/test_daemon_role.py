# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables and computed variables of the role rsync_server."""

import pytest
import role_variables


def role(name, **given):
    """The value of a variable of the role on a host with these facts and inputs."""
    facts = {"os_family": "Debian", "distribution_major_version": "12", "service_mgr": "systemd"}
    facts.update({key: given.pop(key) for key in list(given) if key in facts})
    hosts = {"groups": {}, "hostvars": {}, "inventory_hostname": "here"}
    return role_variables.value("rsync_server", name, **dict(hosts, **given), ansible_facts=facts)


@pytest.mark.parametrize(
    ("family", "major", "packages", "service", "modes"),
    [
        ("Debian", "12", ["rsync"], "rsync.service", ["service", "socket", "xinetd"]),
        ("Debian", "8", ["rsync"], "rsync.service", ["service", "socket", "xinetd"]),
        ("RedHat", "6", ["rsync"], "rsyncd.service", ["xinetd"]),
        ("RedHat", "7", ["rsync"], "rsyncd.service", ["service", "socket", "xinetd"]),
        ("RedHat", "8", ["rsync", "rsync-daemon"], "rsyncd.service", ["service", "socket", "xinetd"]),
        ("RedHat", "9", ["rsync", "rsync-daemon"], "rsyncd.service", ["service", "socket"]),
        ("Suse", "15", ["rsync"], "rsyncd.service", ["service", "socket", "xinetd"]),
        ("Archlinux", "NA", ["rsync"], "rsyncd.service", ["service", "socket", "xinetd"]),
    ],
)
def test_each_system_has_its_names(family, major, packages, service, modes):
    facts = {"os_family": family, "distribution_major_version": major}
    assert role("__rsync_server_packages", **facts) == packages
    assert role("__rsync_server_service", **facts) == service
    assert role("__rsync_server_modes", **facts) == modes


def test_without_systemd_there_is_no_socket():
    assert role("__rsync_server_modes", service_mgr="sysvinit") == ["service", "xinetd"]
    assert role("__rsync_server_modes", service_mgr="upstart", os_family="RedHat", distribution_major_version="6") == [
        "xinetd"
    ]


def test_xinetd_is_installed_only_where_it_serves():
    assert role("__rsync_server_packages", rsync_server_mode="xinetd") == ["rsync", "xinetd"]


TREES = [
    {"name": "data", "source": "/srv/old", "target": "/srv/new", "require_mountpoint": True},
    {"name": "home", "source": "/home/all", "target": "/usr/local/all"},
]


def test_modules_come_from_the_trees_with_the_path_of_this_side():
    sides = {"groups": {"storage_source": ["here"], "storage_target": ["there"]}}
    sides["hostvars"] = {"there": {"ansible_host": "192.0.2.9"}}
    assert role("rsync_server_modules", migration_trees=TREES, **sides) == [
        {"name": "data", "path": "/srv/old"},
        {"name": "home", "path": "/home/all"},
    ]
    assert role("rsync_server_modules", migration_trees=TREES)[0]["path"] == "/srv/new"
    assert role("rsync_server_hosts_allow", **sides) == ["192.0.2.9"]
    assert role("rsync_server_hosts_allow", migration_target_address="192.0.2.7", **sides) == ["192.0.2.7"]
    assert role("__rsync_server_mounted", migration_trees=TREES) == ["data"]


def test_the_target_lets_the_source_in():
    sides = {"groups": {"storage_source": ["old"], "storage_target": ["here"]}, "hostvars": {"old": {}}}
    assert role("rsync_server_hosts_allow", **sides) == ["old"]
    assert role("rsync_server_hosts_allow", migration_source_address="192.0.2.1", **sides) == ["192.0.2.1"]
    assert role("rsync_server_hosts_allow") == []


def test_trees_that_the_unit_would_lock_are_found():
    assert role("__rsync_server_write_paths", migration_trees=TREES) == ["/usr/local/all"]
    assert role("__rsync_server_home_paths", migration_trees=TREES) == []
    assert role("__rsync_server_home_paths", migration_trees=TREES, rsync_server_side="source") == ["/home/all"]
    assert role("__rsync_server_sandbox_differs", migration_trees=TREES) is True
    assert role("__rsync_server_sandbox_differs", migration_trees=[]) is False
    assert role("__rsync_server_sandbox_differs", migration_trees=[], rsync_server_devices=True) is True


@pytest.mark.parametrize(
    ("address", "port", "listen"),
    [("", 873, "873"), ("192.0.2.1", 8730, "192.0.2.1:8730"), ("2001:db8::1", 873, "[2001:db8::1]:873")],
)
def test_the_socket_listens_where_it_is_told(address, port, listen):
    assert str(role("__rsync_server_listen", rsync_server_address=address, rsync_server_port=port)) == listen


def test_names_are_told_from_addresses_and_looked_up():
    allowed = ["192.0.2.1", "10.0.0.0/8", "fade.be", "2001:db8::/32", "10.1.0.0/255.255.0.0"]
    assert role("__rsync_server_names", rsync_server_hosts_allow=allowed) == ["fade.be"]
    answer = {"results": [{"ansible_facts": {"getent_ahosts": {"192.0.2.77": ["STREAM"]}}}]}
    assert role("__rsync_server_sources", rsync_server_hosts_allow=["fade.be"], __rsync_server_looked_up=answer) == [
        "192.0.2.77"
    ]
    assert role("__rsync_server_sources", rsync_server_firewall_sources=["10.9.0.0/16"]) == ["10.9.0.0/16"]
