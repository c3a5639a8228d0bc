# SPDX-License-Identifier: GPL-3.0-or-later
"""The NFSv3 lock service under whichever name this system has: running or not, with fixed ports.

Locks of NFSv2 and v3 need rpc.statd on both sides; the kernel starts lockd by itself. NFSv4 needs neither.
"""

import os

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files
from ansible_collections.seamless.migration.plugins.module_utils.host.services import Services
from ansible_collections.seamless.migration.plugins.module_utils.nfs import lock_config, locks, mounts
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError

# Names in the order of preference. Red Hat 7 has the older ones as links to the first; nfs-common is Debian's.
NAMES = {"systemd": ("rpc-statd", "nfs-lock", "nfslock"), "sysv": ("nfslock", "nfs-common")}
FOLDERS = {
    "systemd": ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"),
    "sysv": ("/etc/init.d", "/etc/rc.d/init.d"),
}
VERSIONS = "/proc/fs/nfsd/versions"
_NO = ("n", "no", "0", "f", "false", "off")
PORT_OPTIONS = ("statd_port", "lockd_port", "lockd_udp_port", "mountd_port")


class Change:
    """What is and what will be. See plan()."""

    def __init__(self, params, root, services, run, which):
        self.params = params
        self.root = root
        self.services = services
        self.run = run
        self.which = which
        self.state = params["state"]
        self.needed, self.reason = needed(root)
        self.idle = self.state == "started" and not self.needed
        self.name = "" if self.idle else find_name(services.init, root)
        self.running = bool(self.name) and services.running(self.name)
        self.barred = self._is_barred()
        wanted = {option: params[option] for option in PORT_OPTIONS if params[option] is not None}
        self.ports = lock_config.Ports({} if self.idle else wanted, root, which)
        self.steps = self._steps()
        self.held = []

    def _is_barred(self):
        """Whether the service is kept from being started."""
        if self.services.init == "systemd":
            link = "%s/etc/systemd/system/%s.service" % (self.root, self.name)
            return os.path.islink(link) and os.readlink(link) == "/dev/null"
        return bool(self.name) and not self.services.enabled(self.name)

    def _steps(self):
        """What has to be done, as a list of words that are also methods' names."""
        if self.idle:
            return []
        steps = ["configure"] if self.ports.differs else []
        if self.state == "started":
            if self.barred:
                steps.append("allow")
            if not self.running:
                steps.append("start")
            elif {"statd_port", "lockd_port", "lockd_udp_port"} & set(self.ports.changed):
                # statd tells its own port, and sets those of lockd, when it starts.
                steps += ["stop", "start"]
            return steps
        if self.running:
            steps.append("stop")
        if self.state == "disabled" and not self.barred:
            steps.append("bar")
        return steps

    @property
    def differs(self):
        return bool(self.steps)

    def check_locks(self):
        """Raise NfsError when the service would be stopped while locks are held."""
        if "stop" not in self.steps:
            return
        self.held = locks.held(self.root)
        if self.held and not self.params["allow_held_locks"]:
            raise NfsError(
                "locks are held: %s. Clients would not learn of a restart, and would lose them. End the holders, or "
                "say allow_held_locks: true" % locks.told(self.held)
            )

    def apply(self):
        for step in self.steps:
            getattr(self, "_" + step)()

    def _configure(self):
        self.ports.write()

    def _start(self):
        self.services.start(self.name)

    def _stop(self):
        self.services.stop(self.name)

    def _allow(self):
        if self.services.init == "systemd":
            self.run([self.which("systemctl"), "unmask", self.name + ".service"])
        else:
            self.services.enable(self.name)

    def _bar(self):
        # mount.nfs and nfs-server start the unit themselves, enabled or not.
        if self.services.init == "systemd":
            self.run([self.which("systemctl"), "mask", self.name + ".service"])
        else:
            self.services.disable(self.name)

    def open_ports(self):
        """Ports that clients have to reach, with those that are fixed. Returns list of dict."""
        if self.idle or self.state != "started":
            return []
        params = self.params
        fixed = [
            ("statd", params["statd_port"], ("tcp", "udp")),
            ("lockd", params["lockd_port"], ("tcp",)),
            ("lockd", params["lockd_udp_port"], ("udp",)),
            ("mountd", params["mountd_port"], ("tcp", "udp")),
        ]
        asked = [entry for entry in fixed if entry[1] is not None]
        if asked:
            asked.insert(0, ("rpcbind", 111, ("tcp", "udp")))
        return [
            {"service": service, "port": port, "protocol": protocol}
            for service, port, protocols in asked
            for protocol in protocols
        ]

    def waiting(self):
        """Services that will have their new port only after a restart. Returns list of str."""
        found = []
        if "mountd_port" in self.ports.changed:
            found.append("mountd")
        if {"lockd_port", "lockd_udp_port"} & set(self.ports.changed) and os.path.exists(self.root + VERSIONS):
            found.append("lockd")
        return found

    def diff(self):
        def words(running, barred):
            return "%s%s\n" % ("running" if running else "stopped", ", kept from starting" if barred else "")

        name = self.name or "lock service"
        running = self.running if self.idle else self.state == "started"
        barred = {"started": False, "stopped": self.barred, "disabled": True}[self.state]
        after = words(self.running, self.barred) if self.idle else words(running, barred)
        parts = [
            {"before_header": name, "after_header": name, "before": words(self.running, self.barred), "after": after}
        ]
        if self.ports.differs:
            header = {"before_header": self.ports.file, "after_header": self.ports.file}
            parts.append(dict(header, before=self.ports.before, after=self.ports.after))
        return files.printable(parts)

    def result(self):
        return {
            "service": self.name,
            "init": self.services.init,
            "needed": self.needed,
            "reason": self.reason,
            "steps": self.steps,
            "held": [lock.as_dict() for lock in self.held],
            "ports": self.open_ports(),
            "restart_needed": self.waiting(),
            "config_file": self.ports.file,
        }


def find_name(init, root=""):
    """Name of the lock service. init: systemd or sysv. Raises NfsError when there is none."""
    ending = ".service" if init == "systemd" else ""
    for name in NAMES[init]:
        for folder in FOLDERS[init]:
            path = root + os.path.join(folder, name + ending)
            if os.path.exists(path) and not (os.path.islink(path) and os.readlink(path) == "/dev/null"):
                return name
    raise NfsError(
        "no lock service is on this host (looked for %s). Install nfs-utils or nfs-common" % ", ".join(NAMES[init])
    )


def needed(root=""):
    """Whether this host has to do with locks of NFSv2 or v3. Returns (bool, sentence)."""
    seen = [mount for mount in mounts.read(root + "/proc/self/mountinfo") if mount.is_nfs]
    old = [mount for mount in seen if locks.is_version_3(mount)]
    if old:
        return True, "%s is mounted with NFS version %s." % (old[0].point, old[0].version or "3 or older")
    versions = files.text(files.read(root + VERSIONS, b"")).split()
    if versions:
        served = [word for word in versions if word in ("+2", "+3")]
        if served:
            return True, "The NFS server here serves version %s." % served[-1][1:]
        return False, "The NFS server here serves version 4 only, which needs no lock service."
    conf = files.text(files.read(root + lock_config.NFS_CONF, b""))
    if (lock_config.value_in(conf, "nfsd", "vers3") or "").lower() in _NO:
        return False, "%s switches version 3 off, and version 4 needs no lock service." % lock_config.NFS_CONF
    if seen:
        return False, "All NFS mounts here are of version 4, which needs no lock service."
    return True, "Nothing here says that only version 4 is used."


def _check_ports(params):
    numbers = {}
    for option in PORT_OPTIONS:
        port = params[option]
        if port is None:
            continue
        if not 1 <= port <= 65535:
            raise NfsError("%s: %d is no port. Give a number from 1 to 65535" % (option, port))
        other = numbers.get(port)
        if other and {option, other} != {"lockd_port", "lockd_udp_port"}:
            raise NfsError("%s and %s have the same port %d. Give each its own" % (other, option, port))
        numbers.setdefault(port, option)


def plan(params, *, root="", services=None, run=command.run, which=command.which):
    """Decide. params: options of the Ansible module nfs_lock; lockd_udp_port is that of TCP when it is not given.

    Returns Change; nothing was changed. Raises NfsError or FileError.
    """
    params = dict(params)
    if params["lockd_udp_port"] is None:
        params["lockd_udp_port"] = params["lockd_port"]
    _check_ports(params)
    change = Change(params, root, services or Services(root=root), run, which)
    change.check_locks()
    return change
