# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own decisions: names, addresses, inventory, what a host is given."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from types import SimpleNamespace

import pytest
from labkit import cli, furnish, inventory, network, podman, ssh, state
from labkit.paths import LAB
from labkit.run import LabError, run


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "BUILD", tmp_path)
    (tmp_path / "one").mkdir()
    made = state.Lab("one")
    made.subnet = "10.77.3.0/24"
    for host in ("files_old", "files_new", "app1", "app2"):
        made.hosts[host] = network.address(made.subnet, made.next_number(host))
    made.save()
    return state.Lab("one")


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "-a", "a\n", "a" * 41])
def test_a_name_that_podman_or_a_path_could_not_carry_is_refused(name):
    with pytest.raises(LabError):
        state.Lab(name)


def test_hosts_get_addresses_by_what_they_are_for(lab):
    assert lab.hosts == {
        "files_old": "10.77.3.11",
        "files_new": "10.77.3.31",
        "app1": "10.77.3.51",
        "app2": "10.77.3.52",
    }


def test_a_host_that_a_lab_does_not_have_is_an_error_that_names_those_it_has(lab):
    with pytest.raises(LabError, match="files_old, files_new, app1, app2"):
        lab.address("files_ald")


def test_the_inventory_has_the_groups_and_keeps_host_keys_checked(lab):
    text = inventory.render(lab)
    everything = json.loads(text.split("\n", 1)[1])["all"]
    groups = {group: list(content["hosts"]) for group, content in everything["children"].items()}
    assert groups == {
        "storage_source": ["files_old"],
        "storage_target": ["files_new"],
        "storage_clients": ["app1", "app2"],
    }
    arguments = everything["vars"]["ansible_ssh_common_args"]
    assert "StrictHostKeyChecking=yes" in arguments
    assert "UserKnownHostsFile=%s" % lab.known_hosts in arguments
    assert everything["vars"]["ansible_python_interpreter"] == "/usr/bin/python3"


def test_a_new_network_keeps_clear_of_every_route_and_network_that_is_there(monkeypatch):
    routes = [{"dst": "default"}, {"dst": "10.77.0.0/24"}, {"dst": "10.77.2.0/23"}]
    monkeypatch.setattr(network, "run", lambda argv, **_: SimpleNamespace(stdout=json.dumps(routes)))
    listed = [{"name": "podman", "subnets": [{"subnet": "10.77.1.0/25"}, {"subnet": "fd00::/64"}]}]
    monkeypatch.setattr(network, "podman_json", lambda *arguments: listed)
    made = []

    def fake_podman(*arguments, **options):
        made.append(arguments)
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(network, "podman", fake_podman)
    monkeypatch.setattr(network, "machine_lock", lambda name: io.BytesIO())
    assert network.create("x") == "10.77.4.0/24"
    assert "10.77.4.0/24" in made[-1]


def test_labs_of_one_name_in_two_checkouts_share_nothing(tmp_path):
    """What an interrupted run left in another checkout was in the way of every later one."""
    program = "from labkit import disk, state, uml; lab = state.Lab('demo'); guest = uml.Guest(lab, 'nfs_old');"
    program += "print(lab.container('app1'), lab.runtime, guest.tap, disk.mount_point('demo', 'app1'), sep='\\n')"
    told = []
    for checkout in ("one", "two"):
        shutil.copytree(LAB / "labkit", tmp_path / checkout / "lab" / "labkit")
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=tmp_path / checkout / "lab", check=True, stdout=subprocess.PIPE, text=True)
        told.append(done.stdout.split())
    assert len(told[0]) == len(told[1]) == 4
    assert not set(told[0]) & set(told[1])


def test_a_chain_that_a_lab_of_the_same_name_left_is_removed_and_no_other(monkeypatch):
    own, other = "NETAVARK-D8D1D22C367B1", "NETAVARK-460605873DC3F"
    rules = ["-P INPUT ACCEPT"] + ["-N " + chain for chain in (own, other)]
    for chain in (own, other):
        rules += ["-A POSTROUTING -s 10.77.0.0/24 -j " + chain, "-A %s ! -d 224.0.0.0/4 -j MASQUERADE" % chain]
    done = []

    def run(argv, check=True):
        assert not check
        done.append(" ".join(argv[3:]))
        return SimpleNamespace(stdout="\n".join(rules))

    monkeypatch.setattr(network, "run", run)
    network._drop_chains("nat", network._chain("seamless-mol-storage_workers"))
    first, second = rules[3:5]
    assert done[1:] == ["-D" + first[2:], "-D" + second[2:], "-F " + own, "-X " + own]


@pytest.mark.parametrize("pure", [True, False])
def test_runc_is_taken_only_where_crun_cannot_work(monkeypatch, pure):
    monkeypatch.setattr(podman, "cgroup_is_pure_v2", lambda: pure)
    assert ('runtime = "runc"' in podman.configuration()) is not pure


def contents(lab, host, tmp_path):
    keys = lab.folder / "hosts" / host
    keys.mkdir(parents=True)
    for name in ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"):
        (keys / name).write_text("key", encoding="ascii")
    lab.key.with_suffix(".pub").write_text("public", encoding="ascii")
    archive = tarfile.open(fileobj=io.BytesIO(furnish.bundle(lab, host)))  # noqa: SIM115 - open as long as its owner
    return {entry.name: entry for entry in archive.getmembers()}, archive


def test_the_old_server_gets_the_running_service_and_jobs_of_all_four_kinds(lab, tmp_path):
    entries, _unused = contents(lab, "files_old", tmp_path)
    assert "etc/systemd/system/multi-user.target.wants/upload.service" in entries
    for path in (
        "var/spool/cron/crontabs/files",
        "etc/cron.d/lab-backup",
        "etc/cron.hourly/lab-prune",
        "etc/systemd/system/timers.target.wants/lab-rotate.timer",
    ):
        assert path in entries
    assert entries["etc/ssh/ssh_host_ed25519_key"].mode == 0o600


def test_the_new_server_gets_a_firewall_and_the_service_at_rest(lab, tmp_path):
    entries, archive = contents(lab, "files_new", tmp_path)
    assert "etc/systemd/system/upload.service" in entries
    assert "etc/systemd/system/multi-user.target.wants/upload.service" not in entries
    zone = archive.extractfile("etc/firewalld/zones/public.xml").read()
    assert b'"ssh"' in zone and b"873" not in zone
    assert "etc/cron.d/lab-backup" not in entries


def test_only_clients_know_the_service_by_name(lab):
    assert "10.77.3.11 files.lab" in furnish.hosts_file(lab, "app1")
    assert "files.lab" not in furnish.hosts_file(lab, "files_new")


def test_host_keys_are_known_by_address_and_name(lab):
    for host in lab.hosts:
        keys = lab.folder / "hosts" / host
        keys.mkdir(parents=True)
        (keys / "ssh_host_ed25519_key.pub").write_text("ssh-ed25519 AAAA%s comment\n" % host, encoding="ascii")
    ssh.write_known_hosts(lab)
    assert "10.77.3.11,files_old ssh-ed25519 AAAAfiles_old\n" in lab.known_hosts.read_text(encoding="ascii")


def test_a_command_that_fails_is_an_error_with_what_it_said():
    with pytest.raises(LabError, match="Exit 3 .*broken"):
        run(["sh", "-c", "echo broken >&2; exit 3"])
    with pytest.raises(LabError, match="not found"):
        run(["no-such-command-here"])
    with pytest.raises(LabError, match="Still running"):
        run(["sleep", "5"], timeout=0.1)


@pytest.mark.parametrize("verb", ["down", "clean"])
def test_on_a_machine_that_never_had_a_lab_there_is_nothing_to_take_down(verb, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cli.machine, "require_root", lambda: None)
    assert cli.main([verb]) == 0, capsys.readouterr().err
