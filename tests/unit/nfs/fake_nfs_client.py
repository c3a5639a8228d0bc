# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine on which NFS mounts are lines in a file, with servers that can be down, slow or read-only."""

from pathlib import Path

from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError
from ansible_collections.seamless.migration.plugins.module_utils.host.services import ServiceError
from ansible_collections.seamless.migration.plugins.module_utils.nfs import mounts
from ansible_collections.seamless.migration.plugins.module_utils.nfs.bounded import HangError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.holders import Holder

ADDRESSES = {"old": "10.0.0.1", "new": "10.0.0.2", "files.lab": "10.0.0.2"}
ROOT_LINE = "1 0 8:1 / / rw - ext4 /dev/sda1 rw"


class FakeServices:
    init = "systemd"

    def __init__(self, log, units):
        self.log = log
        self.up = {unit: True for unit in units}
        self.broken = set()

    def look(self, units):
        return {unit: {True: "runs", False: "rests"}.get(self.up.get(unit), "unknown") for unit in units}

    def stop(self, unit, timeout=120):
        self.log.append("stop " + unit)
        if unit in self.broken:
            raise ServiceError("Failed to stop %s after %d s" % (unit, timeout))
        self.up[unit] = False

    def start(self, unit, timeout=120):
        assert timeout
        self.log.append("start " + unit)
        if unit in self.broken:
            raise ServiceError("Failed to start %s" % unit)
        self.up[unit] = True


class FakeClient:
    """In place of mount_switch.Host. down: servers that do not answer. busy: list of Holder."""

    def __init__(self, root, units=("app.service",)):
        self.root = str(root)
        for folder in ("etc", "proc/self", "var/lib", "run"):
            (Path(root) / folder).mkdir(parents=True, exist_ok=True)
        self.log = []
        self.services = FakeServices(self.log, units)
        self.down = set()
        self.closed = set()
        self.exports = {("old", "/srv/files"), ("new", "/srv/files"), ("files.lab", "/srv/files")}
        self.read_only = set()
        self.in_grace = set()
        self.squashed = set()
        self.busy = []
        self.elsewhere = []
        self.armed = {}
        self.blind = False
        self.stubborn = False
        self.dies_at = None
        self.stuck = False
        self.slow_goodbye = False
        self.show([ROOT_LINE])

    def show(self, lines):
        Path(self.root, "proc/self/mountinfo").write_text("".join(line + "\n" for line in lines))

    def lines(self):
        return Path(self.root, "proc/self/mountinfo").read_text().splitlines()

    def add(self, source, point, options="vers=4.2,hard", kind="nfs4", address=None):
        server = mounts.split_source(source)[0]
        line = "9 1 0:%d / %s rw,relatime - %s %s rw,%s,clientaddr=10.0.0.9,addr=%s" % (
            40 + len(self.lines()),
            point.replace(" ", "\\040"),
            kind,
            source,
            options,
            address or ADDRESSES.get(server, server),
        )
        self.show(self.lines() + [line])

    def write_fstab(self, text):
        Path(self.root, "etc/fstab").write_text(text)

    def fstab(self):
        return Path(self.root, "etc/fstab").read_text()

    def sources(self):
        return {mount.point: mount.source for mount in self.mounts() if mount.is_nfs}

    # -- what mount_switch.Host has

    def _note(self, text):
        self.log.append(text)
        if self.dies_at == text:
            raise KeyboardInterrupt

    def mounts(self):
        return mounts.read(self.root + "/proc/self/mountinfo")

    def mount(self, source, point, kind, options, timeout):
        assert timeout
        rehearsal = point.startswith(self.root)
        self._note("rehearse " + source if rehearsal else "mount %s" % source)
        server, export = mounts.split_source(source)
        if server in self.down:
            raise CommandError("mount did not end within %s s" % timeout)
        if (server, export) not in self.exports:
            raise CommandError(
                "mount.nfs: mounting %s failed, reason given by server: No such file or directory" % source
            )
        self.add(source, point, ",".join(options) or "vers=4.2", kind)

    def unmount(self, point, timeout):
        assert timeout
        if not point.startswith(self.root):
            self._note("unmount " + point)
            if self.busy:
                raise CommandError("umount: %s: target is busy" % point)
        self._remove(point)

    def _remove(self, point):
        lines = self.lines()
        lines.remove([line for line in lines if line.split()[4] == point.replace(" ", "\\040")][-1])
        self.show(lines)

    def detach(self, point, flags, timeout):
        assert timeout
        self._note("%s %s" % ({1: "force", 2: "detach"}[flags], point))
        if not self.stuck:
            self._remove(point)
        if self._server(point) in self.down or self.slow_goodbye:
            raise HangError("umount of %s had no answer within %g s" % (point, timeout))

    def connect(self, address, port, timeout):
        assert timeout
        server = {value: key for key, value in ADDRESSES.items() if key != "files.lab"}.get(address, address)
        if server in self.closed or server in self.down:
            raise ConnectionRefusedError(111, "Connection refused")
        self.log.append("connect %s:%d" % (address, port))

    def own_address(self, peer):
        return "10.0.0.9" if peer == ADDRESSES["old"] else "10.0.1.9"

    def holders(self, mount, timeout):
        assert mount.point and timeout
        return [holder for holder in self.busy if self.services.up.get(holder.unit, True)]

    def other_mounts(self, leaving, units, timeout):
        assert leaving[0].point and timeout
        return [other for other in self.elsewhere if other.unit not in units]

    def end(self, pids, number):
        self.log.append("signal %d to %s" % (number, pids))
        if not self.stubborn or number == 9:
            self.busy = [holder for holder in self.busy if holder.pid not in pids]

    def _server(self, path):
        found = [mount for mount in self.mounts() if path == mount.point or path.startswith(mount.point + "/")]
        return mounts.split_source(found[-1].source)[0] if found else ""

    def answers(self, path, timeout):
        if self._server(path) in self.down:
            raise HangError("statfs of %s had no answer within %g s" % (path, timeout))
        return {"bytes_total": 100, "bytes_free": 50}

    def canary(self, folder, user, timeout):
        self._note("canary %s %s" % (folder.rstrip("/"), user))
        if self._server(folder) in self.in_grace:
            raise NfsError("the lock on a canary had no answer within %g s: grace period" % timeout)
        if self._server(folder) in self.squashed:
            raise NfsError("a canary written to %s failed: Permission denied. Root may be squashed there" % folder)
        return ["write", "lock", "read", "remove"]

    def takes_no_writes(self, folder, timeout):
        assert timeout
        return self._server(folder) in self.read_only

    def arm(self, name, units, seconds):
        assert seconds
        self.armed[name] = list(units)

    def disarm(self, name):
        self.armed.pop(name, None)

    def seen_by_init(self, point, source):
        return not self.blind and self.sources().get(point) == source

    def reload_units(self):
        self.log.append("daemon-reload")

    def make_folder(self, path):
        self.log.append("mkdir " + path)


def holder(unit="", how="open", pid=4711):
    return Holder(pid, "tail -f", unit, how, "/mnt/files/log")
