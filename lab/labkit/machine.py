# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that the lab runs on: its packages, its kernel settings, its locks."""

import contextlib
import fcntl
import json
import os
import shutil
import sys
from pathlib import Path

from .paths import RUNTIME
from .run import LabError, run

# command or file that has to be there -> Debian package that brings it
NEEDED = {
    "podman": "podman",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "/usr/lib/podman/netavark": "netavark",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mke2fs": "e2fsprogs",
    "losetup": "mount",
    "rsync": "rsync",
    "ssh": "openssh-client",
    "openssl": "openssl",
}
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
# Kernel values that hosts or podman change for the whole machine; put back when the last lab goes.
REMEMBERED = (
    "fs/inotify/max_queued_events",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
    "net/ipv4/ip_forward",
)


def say(text):
    """Tell the operator what goes on; standard output is for results."""
    print("lab: " + text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def machine_lock(name):
    """Hold a lock that every lab on this machine knows."""
    RUNTIME.mkdir(mode=0o755, parents=True, exist_ok=True)
    with open(RUNTIME / (name + ".lock"), "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def require_root():
    if os.geteuid() != 0:
        raise LabError("The lab makes networks and mounts: run it as root")
    os.environ["PATH"] = "%s:%s" % (os.environ.get("PATH", "/usr/bin:/bin"), SBIN)


def install_packages():
    """Install what the lab itself needs and this machine does not have.

    :raises LabError: when something is missing and there is no apt-get to get it with.
    """
    missing = sorted({package for need, package in NEEDED.items() if not shutil.which(need)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise LabError("Missing on this machine: %s. Install them" % ", ".join(missing))
    say("installing %s" % ", ".join(missing))
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    with machine_lock("packages"):
        run(["apt-get", "update", "-q"], env=env, timeout=900)
        run(["apt-get", "install", "-q", "-y", "--no-install-recommends"] + missing, env=env, timeout=1800)


def has_podman():
    """Whether there can be anything to clean."""
    return shutil.which("podman") is not None


def cgroup_is_pure_v2():
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def unified_cgroup():
    """Where this machine has cgroup v2, or None."""
    if cgroup_is_pure_v2():
        return Path("/sys/fs/cgroup")
    beside = Path("/sys/fs/cgroup/unified")
    return beside if (beside / "cgroup.procs").exists() else None


def capabilities():
    """Names of the capabilities that this process may hand on, as a set of numbers' bits."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    return 0


def remember_kernel_values():
    """Keep the machine's own values once, before any lab changes them."""
    kept = RUNTIME / "kernel-values.json"
    with machine_lock("machine"):
        if not kept.exists():
            values = {name: Path("/proc/sys", name).read_text(encoding="ascii").strip() for name in REMEMBERED}
            kept.write_text(json.dumps(values), encoding="ascii")


def raise_instances():
    """Let every systemd of every host have its inotify instances; all of root's count together."""
    where = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(where.read_text(encoding="ascii")) < 8192:
        where.write_text("8192", encoding="ascii")


def restore_kernel_values():
    """Put back the values that were kept by remember_kernel_values()."""
    kept = RUNTIME / "kernel-values.json"
    with machine_lock("machine"):
        if not kept.exists():
            return
        for name, value in json.loads(kept.read_text(encoding="ascii")).items():
            where = Path("/proc/sys", name)
            if where.read_text(encoding="ascii").strip() != value:
                where.write_text(value, encoding="ascii")
        kept.unlink()
