# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with a kernel of their own, as far as they can be tried without one; and the writer on their mounts."""

import io
import os
import subprocess
import tarfile
import time
from pathlib import Path

import checker
import nfs_writer
import pytest
from labkit import inventory, network, state, uml, uml_image
from labkit.run import LabError
from writer import Log, Writer

HOSTS = ("nfs_old", "nfs_new", "nfs_client1", "nfs_client2")


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "BUILD", tmp_path)
    monkeypatch.setattr(state, "LABS", tmp_path / "run")
    monkeypatch.setattr(uml, "SIZE_GIB", 1)
    (tmp_path / "one").mkdir()
    made = state.Lab("one")
    made.subnet = "10.77.3.0/24"
    made.folder.mkdir(exist_ok=True)
    made.key.with_suffix(".pub").write_text("ssh-ed25519 AAAA lab\n")
    for host in HOSTS:
        made.hosts[host] = network.address(made.subnet, made.next_number(host))
        keys = made.folder / "hosts" / host
        keys.mkdir(parents=True)
        for name in ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"):
            (keys / name).write_text("key\n")
    return made


def test_guests_are_in_the_groups_of_servers_and_clients(lab):
    groups = {name: sorted(group["hosts"]) for name, group in inventory.build(lab)["all"]["children"].items()}
    assert groups["storage_source"] == ["nfs_old"]
    assert groups["storage_target"] == ["nfs_new"]
    assert groups["storage_clients"] == ["nfs_client1", "nfs_client2"]
    assert not uml.is_guest("files_old")
    assert all(map(uml.is_guest, HOSTS))


def test_a_guest_gets_its_files_as_a_disk_and_servers_another_one_for_the_tree(lab):
    for host in HOSTS:
        uml.Guest(lab, host).make("/images/base.ext4")
    assert (lab.folder / "hosts/nfs_old/disk.ext4").exists()
    assert not (lab.folder / "hosts/nfs_client1/disk.ext4").exists()
    with tarfile.open(fileobj=io.BytesIO((lab.folder / "hosts/nfs_client1/bundle.tar").read_bytes())) as tar:
        names = tar.getnames()
    assert "root/.ssh/authorized_keys" in names
    assert "usr/local/lib/lab/nfs_writer.py" in names
    assert uml.Guest(lab, "nfs_old").base() == "/images/base.ext4"


def test_the_kernels_command_line_carries_address_network_and_disks(lab):
    guest = uml.Guest(lab, "nfs_new")
    guest.make("/images/base.ext4")
    words = guest._arguments()
    assert words[0] == "linux.uml"
    assert "ubd0=%s,/images/base.ext4" % (lab.folder / "hosts/nfs_new/root.cow") in words
    assert "lab.address=10.77.3.131/24" in words
    assert "lab.gateway=10.77.3.1" in words
    assert "systemd.hostname=nfs-new" in words
    assert any(word.startswith("ubd2=") for word in words)


def test_cables_have_names_that_the_kernel_takes_and_that_differ(lab):
    names = {uml.Guest(lab, host).tap for host in HOSTS}
    assert len(names) == len(HOSTS)
    assert all(len(name) <= 15 for name in names)


def test_a_number_that_another_process_has_by_now_is_not_the_guest(lab):
    guest = uml.Guest(lab, "nfs_old")
    guest.pid_file.parent.mkdir(parents=True)
    assert guest.pid() is None
    guest.pid_file.write_text("%d 1" % os.getpid())
    assert guest.pid() is None
    guest.pid_file.write_text("%d %s" % (os.getpid(), uml._started(os.getpid())))
    assert guest.pid() == os.getpid()
    assert uml.state(lab, "nfs_new") == "absent"


def test_a_guest_is_ended_with_its_helpers_by_its_number(lab):
    guest = uml.Guest(lab, "nfs_old")
    guest.pid_file.parent.mkdir(parents=True)
    command = ["sh", "-c", "sleep 600 & echo $!; wait"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True)
    helper = int(process.stdout.readline())
    guest.pid_file.write_text("%d %s" % (process.pid, uml._started(process.pid)))
    guest.power_off()
    assert guest.pid() is None
    assert not guest.pid_file.exists()
    process.stdout.close()
    end = time.monotonic() + 60
    while uml._started(helper) and time.monotonic() < end:
        time.sleep(0.05)
    assert uml._started(helper) is None


@pytest.mark.parametrize("what", ["no tap", "no package"])
def test_where_guests_cannot_run_it_is_said_why(tmp_path, monkeypatch, what):
    if what == "no tap":
        monkeypatch.setattr(uml, "TUN", tmp_path / "tun")
        words = "tun is missing: load the module tun"
    else:
        (tmp_path / "tun").write_text("")
        monkeypatch.setattr(uml, "TUN", tmp_path / "tun")
        monkeypatch.setattr(uml.shutil, "which", lambda name: None)
        words = "linux.uml is missing, and so is apt-get"
    with pytest.raises(LabError, match="need User Mode Linux, and .*%s" % words):
        uml.image()


def test_the_image_changes_with_its_recipe_and_its_kernel(tmp_path, monkeypatch):
    (tmp_path / "6.1").mkdir()
    monkeypatch.setattr(uml_image, "MODULES", tmp_path)
    before = uml_image.path()
    monkeypatch.setattr(uml_image, "PACKAGES", uml_image.PACKAGES + ["more"])
    other = uml_image.path()
    (tmp_path / "6.2").mkdir()
    assert len({before, other, uml_image.path()}) == 3


# -- the writer on a mount


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    (tmp_path / "top/work").mkdir(parents=True)
    monkeypatch.setattr(nfs_writer, "server_of", lambda top: "10.77.3.121")
    return tmp_path / "top"


def listing(top):
    """The tree as the checker wants it, owners as the service's."""
    code = Path(nfs_writer.__file__).with_name("tree_listing.py")
    lines = subprocess.run(["python3", str(code), str(top)], check=True, capture_output=True, text=True).stdout
    return [
        line.replace('"uid": %d' % os.geteuid(), '"uid": 2000').replace('"gid": %d' % os.getegid(), '"gid": 2000')
        for line in lines.splitlines()
    ]


def test_what_the_writer_logs_is_what_stands_in_the_tree(mounted, tmp_path):
    old = os.umask(0o022)
    try:
        writer = Writer(nfs_writer.Mount(str(mounted)), Log(str(tmp_path / "log")), "work/a", "7", 40)
        writer.log.write(event="start", prefix="work/a")
        writer._make_root(b"work")
        writer._make_root(b"work/a")
        for _unused in range(600):
            writer.step()
    finally:
        os.umask(old)
    result = checker.verdict({"a": (tmp_path / "log").read_text().splitlines()}, listing(mounted), [])
    assert (result["lost"], result["different"], result["extra"]) == (0, 0, 0), result["paths"]
    assert result["acknowledged"] > 400


def test_the_writer_notices_what_is_gone(mounted, tmp_path):
    writer = Writer(nfs_writer.Mount(str(mounted)), Log(str(tmp_path / "log")), "work/a", "7", 40)
    writer.log.write(event="start", prefix="work/a")
    writer._make_root(b"work/a")
    for _unused in range(20):
        writer.create()
    next(path for path in sorted((mounted / "work/a").iterdir()) if path.is_file()).unlink()
    result = checker.verdict({"a": (tmp_path / "log").read_text().splitlines()}, listing(mounted), [])
    assert result["lost"] == 1


def test_nothing_is_written_while_nothing_is_mounted(tmp_path):
    with pytest.raises(OSError, match="nothing is mounted"):
        nfs_writer.Mount(str(tmp_path)).request("PUT", b"file", "", b"x")
    assert list(tmp_path.iterdir()) == []
    assert nfs_writer.server_of("/") is None
