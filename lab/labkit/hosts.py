# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts: made, started, broken, mended, removed."""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

from . import disk, furnish, image, inventory, machine, mysql, mysql_data, network, rds, ssh, uml
from .paths import BUILD, CHECKOUT_LABEL, LABEL, LABS, PREFIX, RUNTIME
from .podman import podman, podman_json
from .run import LabError, run
from .state import Lab, all_names, checked_name, is_mysql, kind

# What a server's root can do and a container's usually cannot; number of the capability in the kernel.
CAPABILITIES = {
    "SYS_ADMIN": 21, "NET_ADMIN": 12, "NET_RAW": 13, "SYS_NICE": 23, "SYS_PTRACE": 19, "MKNOD": 27,
    "LINUX_IMMUTABLE": 9, "AUDIT_WRITE": 29, "DAC_READ_SEARCH": 2,
}  # fmt: skip


def _each(action, items):
    """Run action on every item at once; the first failure is raised after all have ended."""
    items = list(items)
    with ThreadPoolExecutor(max_workers=max(1, len(items))) as pool:
        running = [pool.submit(action, item) for item in items]
    return [future.result() for future in running]


def up(name, wanted, gtid_off=(), profiles=None):
    """Start a lab with the wanted hosts; hosts that are there already stay as they are.

    :param gtid_off: the MySQL hosts among them that are configured without GTIDs when they are made
    :param profiles: host -> profile for MySQL hosts of the RDS kind; see rds.check_profile()
    :raises LabError: when a host does not come up.
    """
    lab = Lab(name)
    for host in wanted:
        checked_name(host, "host")
    profiles = profiles or {}
    for profile in profiles.values():
        rds.check_profile(profile)
    machine.install_packages()
    with machine.machine_lock("machine"):
        lab.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    machine.remember_kernel_values()
    machine.raise_instances()
    bases = {host: _base(host) for host in wanted}
    lab.folder.mkdir(parents=True, exist_ok=True)
    ssh.make_key(lab.key, "seamless-lab-" + name)
    lab.subnet = network.create(name)
    for host in wanted:
        if host not in lab.hosts:
            lab.hosts[host] = network.address(lab.subnet, lab.next_number(host))
        keys = lab.folder / "hosts" / host
        keys.mkdir(parents=True, exist_ok=True)
        ssh.make_key(keys / "ssh_host_ed25519_key", host)
    lab.save()
    ssh.write_known_hosts(lab)
    inventory.write(lab)
    mysql.write_variables(lab)
    _each(lambda host: _bring_up(lab, host, bases[host], host not in gtid_off, profiles.get(host)), wanted)
    return lab


def _base(host):
    """The image that a host is made from; built when it is not there."""
    if uml.is_guest(host):
        return uml.image()
    return image.ensure(image.MYSQL if is_mysql(host) else image.STORAGE)


def _bring_up(lab, host, base, gtid, profile):
    if uml.is_guest(host):
        uml.bring_up(lab, host, base)
        return
    container = lab.container(host)
    if podman("container", "exists", container, check=False).returncode != 0:
        _create(lab, host, base, gtid)
    if kind(host) in ("old", "new"):
        disk.attach(lab.name, host, lab.folder / "hosts" / host / "disk.ext4")
    _start(lab, host)
    if is_mysql(host):
        _provision(lab, host, profile)


def _provision(lab, host, profile):
    """Make the accounts of a MySQL server once in its life."""
    done = lab.folder / "hosts" / host / "provisioned"
    if not done.exists():
        done.write_text(mysql.provision(lab, host, profile) + "\n", encoding="ascii")


def _create(lab, host, base, gtid):
    bounding = machine.capabilities()
    allowed = [name for name, number in CAPABILITIES.items() if bounding >> number & 1]
    arguments = [
        "--name", lab.container(host), "--hostname", host.replace("_", "-"),
        "--label", "%s=%s" % (LABEL, lab.name), "--label", CHECKOUT_LABEL,
        "--network", PREFIX + lab.name, "--ip", lab.address(host), "--mac-address", network.hardware(lab.address(host)),
        "--no-hosts",
        "--security-opt", "unmask=/proc/sys", "--cap-add", ",".join(allowed), "--stop-timeout", "5",
    ]  # fmt: skip
    if is_mysql(host):
        # A volume: what lies in the image's own layers cannot be renamed, which the restart after a clone wants.
        arguments += ["--volume", "/var/lib/mysql", *_modern_systemd(lab, host)]
    else:
        arguments += ["--systemd=always"]
    if kind(host) in ("old", "new"):
        where = disk.attach(lab.name, host, lab.folder / "hosts" / host / "disk.ext4")
        arguments += ["--volume", "%s:/srv/files" % where]
    podman("create", *arguments, base, "/sbin/lab-init" if is_mysql(host) else "/sbin/init")
    (lab.folder / "hosts" / host / "provisioned").unlink(missing_ok=True)
    podman("cp", "-", lab.container(host) + ":/", data=furnish.bundle(lab, host, gtid))


def _modern_systemd(lab, host):
    """Arguments for a guest whose systemd knows cgroup v2 only.

    :raises LabError: when this machine has no cgroup v2 at all.
    """
    unified = machine.unified_cgroup()
    if unified is None:
        raise LabError("This machine has no cgroup v2, not even beside v1, and the MySQL hosts need it")
    if machine.cgroup_is_pure_v2():
        return ["--systemd=always"]
    return [
        "--systemd=false", "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp", "--env", "container=podman",
        "--stop-signal", "SIGRTMIN+3", "--volume", "%s:/sys/fs/cgroup:rw" % unified,
        "--env", "LAB_CGROUP=%s" % _cgroup(lab, host),
    ]  # fmt: skip


def _cgroup(lab, host):
    return "%shosts/%s" % (PREFIX, lab.container(host))


def _remove_cgroup(lab, host):
    """Remove the part of the unified hierarchy that a host had; only empty groups go."""
    unified = machine.unified_cgroup()
    if unified is None or machine.cgroup_is_pure_v2():
        return
    for folder, _folders, _files in os.walk(unified / _cgroup(lab, host), topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            return


def _start(lab, host):
    ssh.forget(lab, host)
    podman("start", lab.container(host))
    network.keep_bridge_address(lab.name, lab.subnet)
    ssh.wait_for(lab, host)
    # "degraded" is an answer too, and the operator is told what failed.
    state = ssh.on(lab, host, "systemctl is-system-running --wait", check=False).stdout.strip()
    if state != "running":
        failed = ssh.on(lab, host, "systemctl --failed --no-legend --plain", check=False).stdout.strip()
        machine.say("%s is %s: %s" % (host, state or "silent", failed))


def _containers(*labels):
    filters = [part for label in labels for part in ("--filter", "label=%s" % label)]
    return podman_json("ps", "--all", "--format", "json", *filters)


def _containers_of(lab):
    return _containers("%s=%s" % (LABEL, lab.name), CHECKOUT_LABEL)


def _remove(container, tries=5):
    """Remove a container; on a busy machine its processes may take longer to die than podman waits."""
    for last in range(tries):
        argv = ("rm", "--force", "--time", "0", "--volumes", container)
        if podman(*argv, check=last == tries - 1).returncode == 0:
            return
        time.sleep(2)


def down(name):
    """Remove a lab with everything that belongs to it. It may be there in part, or not at all."""
    lab = Lab(name)
    for host in lab.hosts:
        ssh.forget(lab, host)
    mysql_data.kill_writers(lab)
    _each(_remove, [entry["Names"][0] for entry in _containers_of(lab)])
    for host in lab.mysql_hosts():
        _remove_cgroup(lab, host)
    uml.remove_all(lab)
    network.remove(name)
    disk.detach_all(name)
    shutil.rmtree(lab.runtime, ignore_errors=True)
    shutil.rmtree(lab.folder, ignore_errors=True)
    if _nobody_has_a_lab():
        machine.restore_kernel_values()


def _nobody_has_a_lab():
    """Whether no lab of any checkout is on this machine; one that is just being started counts."""
    return not _containers(LABEL) and not list(RUNTIME.glob("*/*"))


def clean():
    """Remove every lab of this checkout, the images, and what the labs changed on the machine."""
    found = {entry["Labels"][LABEL] for entry in _containers(LABEL, CHECKOUT_LABEL)}
    found.update(path.name for path in LABS.glob("*"))
    for entry in podman_json("network", "ls", "--format", "json", "--filter", "label=%s" % CHECKOUT_LABEL):
        found.add(entry["name"][len(PREFIX) :])
    for name in sorted(found | set(all_names())):
        down(name)
    image.remove_all()
    if _nobody_has_a_lab():
        network.remove_leftovers()
        machine.restore_kernel_values()
        shutil.rmtree(RUNTIME, ignore_errors=True)
    shutil.rmtree(BUILD, ignore_errors=True)


def states(lab):
    """Host -> running, exited or absent."""
    found = {entry["Names"][0]: entry["State"] for entry in _containers_of(lab)}
    return {
        host: uml.state(lab, host) if uml.is_guest(host) else found.get(lab.container(host), "absent")
        for host in lab.hosts
    }


def kill(lab, host):
    """Power off, hard."""
    lab.address(host)
    if uml.is_guest(host):
        uml.kill(lab, host)
        return
    podman("kill", "--signal", "KILL", lab.container(host))
    podman("wait", lab.container(host), check=False, timeout=30)
    ssh.forget(lab, host)


def start(lab, host):
    """Power on again."""
    lab.address(host)
    if uml.is_guest(host):
        uml.start(lab, host)
        return
    if kind(host) in ("old", "new"):
        disk.attach(lab.name, host, lab.folder / "hosts" / host / "disk.ext4")
    _start(lab, host)


def _outer_interface(lab, host):
    """Name of the machine's end of the host's network cable."""
    lab.address(host)
    pid = podman("inspect", "--format", "{{.State.Pid}}", lab.container(host)).stdout.strip()
    if pid == "0":
        raise LabError("%s does not run. Start it: lab start %s" % (host, host))
    inner = json.loads(run(["nsenter", "-t", pid, "-n", "ip", "-j", "link", "show", "eth0"]).stdout)[0]
    for link in json.loads(run(["ip", "-j", "link", "show"]).stdout):
        if link["ifindex"] == inner["link_index"]:
            return link["ifname"]
    raise LabError("Found no interface of this machine that belongs to %s" % host)


def set_link(lab, host, plugged):
    """Pull the network cable of a host, or plug it in again."""
    lab.address(host)
    if uml.is_guest(host):
        uml.set_link(lab, host, plugged)
        return
    run(["ip", "link", "set", _outer_interface(lab, host), "up" if plugged else "down"])


def wait_running(lab, host, timeout=60):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if ssh.on(lab, host, "true", check=False, timeout=20).returncode == 0:
            return
        time.sleep(0.2)
    raise LabError("%s does not take commands after %d s" % (host, timeout))
