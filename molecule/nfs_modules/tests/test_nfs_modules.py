# SPDX-License-Identifier: GPL-3.0-or-later
"""Switches clients with real kernels between two NFS servers, and breaks what can break. The order matters."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import testinfra

CHECKOUT = Path(__file__).resolve().parents[3]
LAB = [str(CHECKOUT / "lab/lab")]
NAME = os.environ.get("LAB_NAME", "mol-nfs_modules")
CLIENTS = ("nfs_client1", "nfs_client2")
UNITS = ["app-writer.service", "app-holder.service"]
# rpc.nfsd gives it to the kernel, for version 4 and for lockd.
LONG_GRACE = "printf '[nfsd]\\ngrace-time=240\\n' > /etc/nfs.conf.d/zz-long.conf"
LINE = "%s:/srv/files\t/mnt/files  nfs\t%s,hard,x-nobody-knows=1,noauto  0 0   # web files\n"


@pytest.fixture(scope="module")
def inventory(request):
    return request.config.getoption("--ansible-inventory")


@pytest.fixture(scope="module")
def hosts(inventory):
    names = ("nfs_old", "nfs_new") + CLIENTS
    return {name: testinfra.get_host("ansible://" + name, ansible_inventory=inventory) for name in names}


@pytest.fixture
def module(inventory, tmp_path):
    """Run one module of the collection on one host, or several at once. Returns its result."""

    def run(host, name, check=False, **options):
        argv = ["ansible", host, "-i", inventory, "-t", str(tmp_path), "-m", "seamless.migration." + name]
        argv += ["-a", json.dumps(options)] + (["--check"] if check else [])
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=900)
        made = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
        assert made, done.stdout + done.stderr
        return made if ":" in host else made[host]

    return run


def lab(*words):
    subprocess.run(LAB + [words[0], "--name", NAME] + list(words[1:]), check=True, timeout=600)


def switch(module, host, server, **options):
    options = dict({"stop_units": UNITS, "canary_user": "files", "canary_folder": "work"}, **options)
    return module(host, "nfs_mount", path="/mnt/files", server=server, export="/srv/files", state="switched", **options)


def source(host):
    return host.check_output("findmnt -n -o SOURCE /mnt/files")


def start(host, *units):
    host.check_output("systemctl start %s" % " ".join(units or UNITS))
    for _unused in range(100):
        if "holding" in host.check_output("journalctl -u app-holder.service -o cat") or units:
            return
        time.sleep(0.5)
    raise AssertionError("the holder does not hold")


def test_the_administrators_exports_are_kept_and_ours_are_there(hosts):
    for name in ("nfs_old", "nfs_new"):
        before = hosts[name].file("/root/exports.before").content_string
        assert (
            hosts[name].file("/etc/exports").content_string.startswith(before + "/srv/files/my\\040files nfs-client1(")
        )
        exported = hosts[name].check_output("exportfs -s")
        for words in ("/srv/admin  192.0.2.0/24(", "/srv/admin  198.51.100.7(", "fsid=1", "/srv/files/my\\040files"):
            assert words in exported


def test_lock_services_listen_on_their_ports_and_statd_runs(hosts):
    for name in ("nfs_old", "nfs_new"):
        listening = hosts[name].check_output("rpcinfo -p")
        for port in ("32765", "32768", "20048"):
            assert port in listening
        assert hosts[name].service("rpc-statd").is_running


def test_each_client_has_its_version_and_its_line_in_fstab_as_it_was(hosts):
    for name, version in zip(CLIENTS, ("4.2", "3")):
        assert "vers=" + version in hosts[name].check_output("findmnt -n -o OPTIONS /mnt/files")
        assert hosts[name].file("/mnt/files/which").content_string == "nfs_old\n"
        assert LINE % ("nfs-old", "vers=" + version) in hosts[name].file("/etc/fstab").content_string


def test_one_broken_line_is_named_before_anything_is_written(hosts, module):
    old = hosts["nfs_old"]
    old.check_output("echo '/srv/admin a(rw, sync)' > /etc/exports.d/broken.exports")
    result = module("nfs_old", "nfs_export", path="/srv/files/work", client="nfs-client2")
    old.check_output("rm /etc/exports.d/broken.exports")
    assert "/etc/exports.d/broken.exports line 1: 'a(rw,' has a bracket" in result["msg"]
    assert "/srv/files/work" not in old.check_output("exportfs -s")


def test_a_broken_line_in_the_administrators_own_file_is_named_too(hosts, module):
    old = hosts["nfs_old"]
    kept = old.check_output("base64 -w0 /etc/exports")
    old.check_output("echo '/srv/admin  192.0.2.9(rw' >> /etc/exports")
    result = module("nfs_old", "nfs_export", path="/srv/files/work", client="nfs-client2")
    assert "/etc/exports line 5: " in result["msg"]
    assert "/srv/files/work" not in old.check_output("cat /etc/exports.d/*.exports; exportfs -s")
    old.check_output("echo %s | base64 -d > /etc/exports" % kept)


def test_two_clients_of_one_export_stand_in_two_files_and_go_one_by_one(hosts, module):
    old = hosts["nfs_old"]
    kept = old.file("/etc/exports").content_string
    work = dict(path="/srv/files/work", read_only=False)
    by_hand = dict(work, client="nfs-client1", file="/etc/exports")
    for options in (by_hand, dict(work, client="nfs-client2")):
        assert module("nfs_old", "nfs_export", **options).get("changed")
        assert not module("nfs_old", "nfs_export", **options)["changed"]
    exported = old.check_output("exportfs -s | grep '^/srv/files/work '")
    assert exported.count("/srv/files/work") == 2
    result = module("nfs_old", "nfs_export", **dict(work, client="nfs-client1"))
    assert "is exported to nfs-client1 in /etc/exports line" in result["msg"]
    assert module("nfs_old", "nfs_export", state="absent", **by_hand)["changed"]
    exported = old.check_output("exportfs -s | grep '^/srv/files/work '")
    assert exported.count("/srv/files/work") == 1
    assert module("nfs_old", "nfs_export", path="/srv/files/work", client="nfs-client2", state="absent")["changed"]
    assert old.run("exportfs -s | grep '^/srv/files/work '").rc == 1
    assert old.file("/etc/exports").content_string == kept


def test_a_path_with_a_blank_is_mounted_and_switched(hosts, module):
    client = hosts["nfs_client1"]
    options = dict(path="/mnt/my files", export="/srv/files/my files", options=["vers=4.2", "ro"])
    assert module("nfs_client1", "nfs_mount", server="nfs-old", **options).get("changed")
    assert r"nfs-old:/srv/files/my\040files" in client.file("/etc/fstab").content_string
    assert module("nfs_client1", "nfs_mount", server="nfs-new", state="switched", **options).get("changed")
    assert client.check_output("findmnt -n -o SOURCE '/mnt/my files'") == "nfs-new:/srv/files/my files"
    assert module("nfs_client1", "nfs_mount", path="/mnt/my files", state="unmounted").get("changed")
    client.check_output("sed -i '/my.040files/d' /etc/fstab")


def test_what_the_kernel_refuses_to_export_is_put_back(hosts, module):
    result = module("nfs_old", "nfs_export", path="/proc/sys", client="nfs-client2", require_path=True)
    assert "was put back" in result["msg"]
    assert "/proc/sys" not in hosts["nfs_old"].check_output("cat /etc/exports.d/*.exports; exportfs -s")


@pytest.mark.parametrize("name", CLIENTS)
def test_a_user_that_belongs_to_no_given_unit_is_named_and_nothing_is_touched(hosts, module, name):
    client = hosts[name]
    start(client)
    result = switch(module, name, "nfs-new", stop_units=["app-writer.service"])
    for words in ("has open", "has its working directory at", "holds a lock on", "app-holder.service"):
        assert words in result["msg"]
    assert "Nothing was touched" in result["msg"]
    assert source(client) == "nfs-old:/srv/files"
    assert client.service("app-writer").is_running


def test_stopping_the_lock_service_is_refused_while_locks_are_held(hosts, module):
    result = module("nfs_client2", "nfs_lock", state="stopped")
    assert "holds a lock on /mnt/files/work/held-nfs-client2/" in result["msg"]
    result = module("nfs_old", "nfs_lock", state="stopped")
    assert "an NFSv3 client" in result["msg"]
    assert "/srv/files/work/held-nfs-client2/" in result["msg"]
    assert hosts["nfs_old"].service("rpc-statd").is_running
    result = module("nfs_client1", "nfs_lock", check=True, state="started")
    assert not result["changed"]
    assert result["reason"] == "All NFS mounts here are of version 4, which needs no lock service."


def test_a_server_without_an_open_port_is_found_before_anything_is_touched(hosts, module):
    new = hosts["nfs_new"]
    new.check_output("systemctl stop nfs-server")
    result = switch(module, "nfs_client1", "nfs-new")
    assert "port 2049" in result["msg"]
    assert "Nothing was touched" in result["msg"]
    assert source(hosts["nfs_client1"]) == "nfs-old:/srv/files"
    assert hosts["nfs_client1"].service("app-writer").is_running


def test_a_grace_period_that_is_not_over_puts_all_back(hosts, module):
    client, new = hosts["nfs_client1"], hosts["nfs_new"]
    new.check_output(LONG_GRACE + "; systemctl start nfs-server")
    result = switch(module, "nfs_client1", "nfs-new", check_timeout=8)
    new.check_output("rm /etc/nfs.conf.d/zz-long.conf; echo Y > /proc/fs/lockd/nlm_end_grace")
    assert "grace period" in result["msg"]
    assert "Everything was put back" in result["msg"]
    assert source(client) == "nfs-old:/srv/files"
    assert "nfs-old:/srv/files\t/mnt/files" in client.file("/etc/fstab").content_string
    for unit in UNITS:
        assert client.service(unit).is_running


def test_an_export_that_is_missing_is_found_before_anything_is_touched(hosts, module):
    options = dict(path="/mnt/files", server="nfs-new", export="/srv/none", state="switched", stop_units=UNITS)
    for name in CLIENTS:
        assert "Nothing was touched" in module(name, "nfs_mount", **options)["msg"]
        assert hosts[name].service("app-writer").is_running


def test_both_clients_are_switched_at_once_while_they_write(hosts, module):
    made = switch(module, ":".join(CLIENTS), "nfs-new")
    for name, version in zip(CLIENTS, ("4.2", "3")):
        result, client = made[name], hosts[name]
        assert result["changed"], result
        assert source(client) == "nfs-new:/srv/files"
        assert client.file("/mnt/files/which").content_string == "nfs_new\n"
        assert LINE % ("nfs-new", "vers=" + version) in client.file("/etc/fstab").content_string
        assert "vers=" + version in client.check_output("findmnt -n -o OPTIONS /mnt/files")
        assert set(result["stopped_units"]) == set(UNITS)
        assert result["checks"]["canary"] == ["write", "lock", "read", "remove"]
        print("window of %s: %s s" % (name, result["window_s"]))
        for unit in UNITS:
            assert client.service(unit).is_running
    work = hosts["nfs_new"].check_output("ls -a /srv/files /srv/files/work")
    assert "held-nfs-client1" in work
    assert "held-nfs-client2" in work
    assert ".seamless-canary" not in work


def test_locks_are_honoured_between_clients_after_the_switch(hosts):
    take = "import fcntl; fcntl.lockf(open('/mnt/files/work/held-%s/fcntl', 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    probe = 'python3 -c "%s"' % take
    start(hosts["nfs_client2"])
    assert "BlockingIOError" in hosts["nfs_client2"].run(probe % "nfs-client2").stderr
    hosts["nfs_client1"].check_output("ls /mnt/files/work/held-nfs-client2/fcntl")
    assert "BlockingIOError" in hosts["nfs_client1"].run(probe % "nfs-client2").stderr


def test_a_second_switch_changes_nothing(hosts, module):
    for name in CLIENTS:
        result = switch(module, name, "nfs-new")
        assert not result["changed"], result
        assert hosts[name].service("app-writer").is_running


SLOW_MOUNT = """#!/bin/bash
case " $* " in *" /mnt/files "*) sleep 60 ;; esac
exec -a "$0" /sbin/mount.nfs.real "$@"
"""
SLOW_STOP = "[Service]\nExecStop=/bin/sleep 60\n"


@pytest.mark.parametrize("moment", ["stop", "mount"])
def test_a_switch_whose_controller_and_process_are_killed_is_finished_by_the_next_run(hosts, inventory, module, moment):
    client = hosts["nfs_client1"]
    start(client)
    if moment == "stop":
        client.check_output("mkdir -p /etc/systemd/system/app-holder.service.d")
        client.check_output("echo '%s' > /etc/systemd/system/app-holder.service.d/slow.conf" % SLOW_STOP)
        client.check_output("systemctl daemon-reload")
        in_the_middle = "systemctl is-active app-holder.service | grep -q deactivating"
    else:
        client.check_output("cp -L /sbin/mount.nfs /sbin/mount.nfs.real")
        client.check_output("cat > /sbin/mount.nfs.slow <<'EOF'\n%sEOF" % SLOW_MOUNT)
        client.check_output("chmod 4755 /sbin/mount.nfs.slow /sbin/mount.nfs.real")
        client.check_output("mv /sbin/mount.nfs.slow /sbin/mount.nfs")
        in_the_middle = "! findmnt -n /mnt/files"
    options = dict(path="/mnt/files", server="nfs-old", export="/srv/files", state="switched", stop_units=UNITS,
                   canary_user="files", canary_folder="work", unmount_timeout=90, mount_timeout=90)  # fmt: skip
    argv = ["ansible", "nfs_client1", "-i", inventory, "-m", "seamless.migration.nfs_mount", "-a", json.dumps(options)]
    # Without pipelining the process on the client has the name of the module, by which it can be killed.
    environment = dict(os.environ, ANSIBLE_PIPELINING="false")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    controller = subprocess.Popen(argv, env=environment, **quiet)
    try:
        for _unused in range(200):
            if client.run(in_the_middle).rc == 0:
                break
            assert controller.poll() is None
            time.sleep(0.2)
        else:
            raise AssertionError("the switch did not come to its middle")
    finally:
        os.killpg(controller.pid, signal.SIGKILL)
        controller.wait()
    client.check_output("pkill -KILL -f '[A]nsiballZ_nfs_mount'")
    client.run("pkill -KILL -f 'mount[.]nfs '; pkill -KILL -f '^/bin/sleep 60'")
    if moment == "stop":
        client.check_output("rm -r /etc/systemd/system/app-holder.service.d; systemctl daemon-reload")
        assert source(client) == "nfs-new:/srv/files"
    else:
        client.check_output("mv /sbin/mount.nfs.real /sbin/mount.nfs")
        assert client.run("findmnt /mnt/files").rc != 0
        assert client.run("ls -A /mnt/files").stdout == ""
    result = switch(module, "nfs_client1", "nfs-old")
    assert result.get("changed"), result
    assert source(client) == "nfs-old:/srv/files"
    assert LINE % ("nfs-old", "vers=4.2") in client.file("/etc/fstab").content_string
    assert client.file("/etc/fstab").content_string.count("/mnt/files") == 1
    for unit in UNITS:
        assert client.service(unit).is_running
    assert not switch(module, "nfs_client1", "nfs-old")["changed"]
    assert switch(module, "nfs_client1", "nfs-new").get("changed")


def test_lazily_only_once_the_server_takes_no_writes(hosts, module):
    client, new = hosts["nfs_client1"], hosts["nfs_new"]
    result = switch(module, "nfs_client1", "nfs-old", stop_units=["app-writer.service"], lazy="read_only")
    assert "still takes writes" in result["msg"]
    assert source(client) == "nfs-new:/srv/files"
    assert client.service("app-writer").is_running
    network = new.check_output("exportfs -s | grep '^/srv/files ' | awk '{print $2}' | cut -d'(' -f1").strip()
    export = dict(path="/srv/files", client=network, squash="none", fsid="12")
    assert module("nfs_new", "nfs_export", read_only=True, **export)["changed"]
    result = switch(module, "nfs_client1", "nfs-old", stop_units=["app-writer.service"], lazy="read_only")
    assert result.get("changed"), result
    assert source(client) == "nfs-old:/srv/files"
    assert module("nfs_new", "nfs_export", read_only=False, **export)["changed"]
    client.check_output("systemctl restart app-holder.service")


def test_an_old_server_that_is_dead_neither_hangs_the_module_nor_keeps_the_client(hosts, module):
    client = hosts["nfs_client1"]
    client.check_output("systemctl stop app-writer.service app-holder.service")
    lab("kill", "nfs_old")
    before = time.monotonic()
    result = switch(module, "nfs_client1", "nfs-new", check_timeout=5, stop_units=[])
    assert "does not answer. Say force: true" in result["msg"]
    assert time.monotonic() - before < 300
    assert source(client) == "nfs-old:/srv/files"
    result = switch(module, "nfs_client1", "nfs-new", check_timeout=5, stop_units=[], force=True)
    assert result.get("changed"), result
    assert client.file("/mnt/files/which").content_string == "nfs_new\n"
    lab("start", "nfs_old")


def test_unmounted_and_unexported_again_all_is_as_it_was(hosts, module):
    for name in CLIENTS:
        result = module(name, "nfs_mount", path="/mnt/files", state="unmounted", stop_units=UNITS)
        assert result.get("changed"), result
        assert hosts[name].run("findmnt /mnt/files").rc != 0
    for name in ("nfs_old", "nfs_new"):
        host = hosts[name]
        network = host.check_output(
            "cat /etc/exports.d/*.exports | grep '^/srv/files ' | cut -d' ' -f2 | cut -d'(' -f1"
        )
        options = {"path": "/srv/files", "client": network.strip(), "state": "absent"}
        assert module(name, "nfs_export", **options)["changed"]
        options = {"path": "/srv/files/my files", "client": "nfs-client1", "file": "/etc/exports", "state": "absent"}
        assert module(name, "nfs_export", **options)["changed"]
        assert host.run("cmp /etc/exports /root/exports.before").rc == 0
        assert host.check_output("ls /etc/exports.d") == ""
        assert "/srv/files" not in host.check_output("exportfs -s")
        assert "/srv/admin" in host.check_output("exportfs -s")
