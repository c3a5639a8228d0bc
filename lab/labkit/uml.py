# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with a kernel of their own (User Mode Linux): NFS servers and clients, on the same network as the others.

A guest is an ordinary process. Its root is a copy-on-write file over one image; what makes it this host is a tar that
it reads as its second disk; NFS servers have a third one for /srv/files.
"""

import contextlib
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from . import furnish, machine, network, ssh, uml_image
from .disk import SIZE_GIB
from .paths import PREFIX
from .podman import podman, podman_json
from .run import LabError, run
from .state import kind

PROGRAM = "linux.uml"
PACKAGE = "user-mode-linux"
TUN = Path("/dev/net/tun")
MEMORY_MIB = int(os.environ.get("LAB_UML_MIB", "320"))
BOOT_SECONDS = 240
SERVERS = ("nfs_old", "nfs_new")
KINDS = (*SERVERS, "nfs_client")


def is_guest(host):
    """Whether a host of this name has a kernel of its own."""
    return kind(host) in KINDS


def unavailable():
    """Why this machine cannot run guests, or None. The package is installed where that is all that lacks."""
    if not TUN.exists():
        return "%s is missing: load the module tun" % TUN
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        return "%s cannot be opened: %s" % (TUN, error.strerror)
    if shutil.which(PROGRAM) is None:
        return _install()
    return None


def _install():
    if not shutil.which("apt-get"):
        return "%s is missing, and so is apt-get to install %s with" % (PROGRAM, PACKAGE)
    machine.say("installing %s" % PACKAGE)
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    with machine.machine_lock("packages"):
        for words in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", PACKAGE]):
            done = run(["apt-get"] + words, env=env, timeout=1800, check=False)
            if done.returncode != 0:
                return "%s cannot be installed: %s" % (PACKAGE, done.stderr.strip().splitlines()[-1:])
    return None


def require():
    """:raises LabError: when this machine cannot run guests."""
    reason = unavailable()
    if reason:
        raise LabError("Hosts with a kernel of their own (nfs_*) need User Mode Linux, and %s" % reason)


def image():
    """Path of the image that guests are made over; built when it is not there.

    :raises LabError: when this machine cannot run guests.
    """
    require()
    return uml_image.ensure()


class Guest:
    """The files and the process of one guest."""

    def __init__(self, lab, host):
        self.lab = lab
        self.host = host
        self.folder = lab.folder / "hosts" / host
        self.pid_file = lab.runtime / "uml" / (host + ".pid")
        number = hashlib.sha256(lab.container(host).encode()).hexdigest()[:10]
        self.tap = "sl" + number  # 15 characters at most, known to the whole machine

    def pid(self):
        """Process id while it runs, else None. A number that another process has by now does not count."""
        try:
            pid, started = self.pid_file.read_text(encoding="ascii").split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if _started(int(pid)) == started else None

    def base(self):
        """The image that this guest was made over, as it was noted then."""
        return (self.folder / "base").read_text(encoding="utf-8")

    def make(self, base):
        """Write its files once in its life."""
        if (self.folder / "base").exists():
            return
        (self.folder / "bundle.tar").write_bytes(furnish.bundle(self.lab, self.host))
        disk = self.folder / "disk.ext4"
        if kind(self.host) in SERVERS:
            with open(disk, "wb") as handle:
                handle.truncate(SIZE_GIB << 30)
            options = "lazy_itable_init=1,root_owner=2000:2000"
            run(["mke2fs", "-q", "-F", "-t", "ext4", "-i", "8192", "-E", options, str(disk)])
        (self.folder / "base").write_text(str(base), encoding="utf-8")

    def _arguments(self):
        address = self.lab.address(self.host)
        subnet = ipaddress.ip_network(self.lab.subnet)
        disks = [
            "ubd0=%s,%s" % (self.folder / "root.cow", self.base()),
            "ubd1r=%s" % (self.folder / "bundle.tar"),
        ]
        if (self.folder / "disk.ext4").exists():
            disks.append("ubd2=%s" % (self.folder / "disk.ext4"))
        return [PROGRAM, *disks] + [
            "root=/dev/ubda", "rw", "mem=%dM" % MEMORY_MIB, "umid=%s" % self.host,
            "uml_dir=%s" % self.pid_file.parent,
            "vec0:transport=tap,ifname=%s,depth=128,gro=1,mac=%s" % (self.tap, network.hardware(address)),
            "con=null", "con0=null,fd:1", "quiet", "systemd.show_status=0",
            "systemd.hostname=%s" % self.host.replace("_", "-"),
            "lab.address=%s/%d" % (address, subnet.prefixlen), "lab.gateway=%s" % subnet[1],
        ]  # fmt: skip

    def power_on(self):
        """Start its process, unless it runs."""
        if self.pid():
            return
        self._plug_in()
        self.pid_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self.pid_file.parent / self.host, ignore_errors=True)
        with open(self.folder / "console.log", "ab") as console:
            process = subprocess.Popen(
                self._arguments(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env=dict(os.environ, TMPDIR="/dev/shm"),
            )  # fmt: skip
        self.pid_file.write_text("%d %s" % (process.pid, _started(process.pid)), encoding="ascii")

    def _plug_in(self):
        if not Path("/sys/class/net", self.tap).exists():
            run(["ip", "tuntap", "add", self.tap, "mode", "tap"])
        run(["ip", "link", "set", self.tap, "master", bridge(self.lab), "up"])

    def power_off(self):
        """End it at once, as pulling the plug does, and wait until it is gone."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # its process and the helpers that it started
            end = time.monotonic() + 30
            while self.pid() is not None and time.monotonic() < end:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                time.sleep(0.05)
        self.pid_file.unlink(missing_ok=True)

    def remove(self):
        self.power_off()
        if Path("/sys/class/net", self.tap).exists():
            run(["ip", "link", "delete", self.tap], check=False)

    def wait(self):
        """Wait until its SSH server greets.

        :raises LabError: when its process ended, or after BOOT_SECONDS.
        """
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end:
            if self.pid() is None:
                raise LabError("%s ended while it started. See: %s" % (self.host, self.folder / "console.log"))
            with contextlib.suppress(LabError):
                ssh.wait_for(self.lab, self.host, timeout=5)
                return
        raise LabError("%s: no SSH after %d s. See: %s" % (self.host, BOOT_SECONDS, self.folder / "console.log"))


def _started(pid):
    """When a process began, in the kernel's own count, as text; None when there is none."""
    try:
        fields = Path("/proc/%d/stat" % pid).read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def bridge(lab):
    """The bridge of a lab's network. Made here when no container of the lab runs, as podman would make it."""
    found = podman_json("network", "inspect", PREFIX + lab.name)[0]["network_interface"]
    with machine.machine_lock("network"):
        if not Path("/sys/class/net", found).exists():
            subnet = ipaddress.ip_network(lab.subnet)
            run(["ip", "link", "add", found, "type", "bridge"])
            run(["ip", "address", "add", "%s/%d" % (subnet[1], subnet.prefixlen), "dev", found])
        run(["ip", "link", "set", found, "up", "address", network.hardware(network.address(lab.subnet, 1))])
    return found


def bring_up(lab, host, base):
    """Make and start a guest, and wait until it takes commands.

    :raises LabError: when it does not come up.
    """
    Guest(lab, host).make(base)
    start(lab, host)
    if kind(host) in SERVERS:
        ssh.on(lab, host, "rm -rf /srv/files/lost+found")


def start(lab, host):
    """Power on."""
    ssh.forget(lab, host)
    guest = Guest(lab, host)
    guest.power_on()
    guest.wait()


def kill(lab, host):
    """Power off, hard."""
    Guest(lab, host).power_off()
    ssh.forget(lab, host)


def remove_all(lab):
    """End every guest of a lab, and take its bridge away when nobody else is on it."""
    guests = [Guest(lab, host) for host in lab.hosts if is_guest(host)]
    for guest in guests:
        guest.remove()
    known = podman("network", "inspect", PREFIX + lab.name, check=False) if guests else None
    if known is None or known.returncode != 0:
        return
    name = json.loads(known.stdout)[0]["network_interface"]
    cables = Path("/sys/class/net", name, "brif")
    if cables.is_dir() and not list(cables.iterdir()):
        run(["ip", "link", "delete", name], check=False)


def state(lab, host):
    """running, exited or absent."""
    guest = Guest(lab, host)
    if guest.pid() is not None:
        return "running"
    return "exited" if (guest.folder / "base").exists() else "absent"


def set_link(lab, host, plugged):
    """Pull the network cable of a guest, or plug it in again."""
    run(["ip", "link", "set", Guest(lab, host).tap, "up" if plugged else "down"])
