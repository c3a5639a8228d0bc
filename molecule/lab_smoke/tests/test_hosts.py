# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scenario may expect of its hosts."""

testinfra_hosts = ["ansible://all"]


def test_every_host_has_booted_and_can_rename_its_hosts_file(host):
    assert host.check_output("systemctl is-system-running") == "running"
    assert "nowhere.lab" in host.file("/etc/hosts").content_string


def test_storage_hosts_have_a_disk_of_their_own_and_no_rsync_daemon(host):
    if host.ansible.get_variables()["inventory_hostname"].startswith("files"):
        assert host.mount_point("/srv/files").filesystem == "ext4"
        assert not host.service("rsync").is_running
        assert not host.file("/etc/rsyncd.conf").exists
        assert "3.5.0" in host.check_output("rsync --version")


def test_only_the_new_server_has_a_firewall_and_it_keeps_rsync_out(host):
    name = host.ansible.get_variables()["inventory_hostname"]
    assert host.service("firewalld").is_running == (name == "files_new")
    if name == "files_new":
        assert host.check_output("firewall-cmd --list-ports") == "8080/tcp"


def test_the_clients_know_the_service_by_name(host):
    if host.ansible.get_variables()["inventory_hostname"] == "app1":
        assert "files.lab" in host.check_output("getent hosts files.lab")
