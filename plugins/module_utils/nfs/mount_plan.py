# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide how a path gets its NFS mount: what is there, what is wanted, what has to be done."""

import hashlib
import json
import os
import re
import socket
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.nfs import fstab, mounts
from ansible_collections.seamless.migration.plugins.module_utils.nfs.bounded import bounded
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.mount_check import known_user

FSTAB = "/etc/fstab"
MOUNTINFO = "/proc/self/mountinfo"
PORT = 2049
WITHOUT_SERVER = ("unmounted", "held", "resumed")  # states that leave the server as it is
STARTING = ("mounted", "switched", "resumed")  # states that start what was stopped
STATE_FOLDER = "/var/lib/seamless-migration/nfs_mount"
_WORD = re.compile(r"[^\s,()\"\\]+\Z")


def resolve(server, timeout):
    """Addresses of a server as a list of str. Raises NfsError."""

    def ask():
        return sorted({entry[4][0] for entry in socket.getaddrinfo(server, PORT, type=socket.SOCK_STREAM)})

    try:
        return bounded(ask, timeout, "the look-up of %s" % server)
    except NfsError as error:
        raise NfsError("server %s has no address here: %s. Correct its name" % (server, error)) from error


def place_of(path, seen):
    """path without links, found without asking a server that is mounted there. seen: list of Mount."""
    place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return place if mounts.at(place, seen) else os.path.realpath(place)


def places_of(points, seen, timeout):
    """By path where it leads, as place_of() says it; empty when a server that does not answer is in the way."""
    try:
        return bounded(lambda: {point: place_of(os.path.normpath(point), seen) for point in points}, timeout, "links")
    except NfsError:
        return {}


class Memory:
    """What an interrupted switch has to put right: on disk before anything is done, gone when all is done."""

    def __init__(self, path, root=""):
        name = hashlib.sha256(files.data(path)).hexdigest()[:16] + ".json"
        self.file = os.path.join(root + STATE_FOLDER, name)
        content = files.read(self.file)
        self.kept = json.loads(files.text(content)) if content else {}
        self.armed = self.kept.get("armed", False)  # whether a dead-man was armed that starts the units

    @property
    def units(self):
        """Units that were stopped and not started again. Returns list of str."""
        return list(self.kept.get("units", []))

    @property
    def options(self):
        """Options of the mount that was left, or None."""
        return self.kept.get("options")

    @property
    def since(self):
        """When the first of the units was stopped, seconds since 1970; 0 when none was."""
        return self.kept.get("since", 0)

    def keep(self, plan, units):
        folder = os.path.dirname(self.file)
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o700)
        self.kept = {
            "path": plan.path,
            "units": units,
            "options": plan.options,
            "in_fstab": plan.line is not None,
            "since": self.since or time.time(),
            "armed": self.armed,
        }
        files.write(self.file, files.data(json.dumps(self.kept)), mode=0o600)

    def forget(self):
        files.remove(self.file)
        self.kept = {}


class Plan:
    """What is, what is wanted, and the way. Nothing is done by looking.

    action: none, mount, unmount, switch, hold or rehearse. current: Mount at the path, or None. source: server:/export.
    options: list of str to mount with. fstab_before, fstab_after: texts. creates: whether the directory has to be made.
    """

    def __init__(self, params, root="", lookup=resolve):
        self.params = params
        self.root = root
        self.lookup = lookup
        seen = mounts.read(root + MOUNTINFO)
        self.path = place_of(os.path.normpath(params["path"]), seen)
        self.current = mounts.at(self.path, seen)
        self.inner = mounts.below(self.path, seen)
        self.fstab_before = files.text(files.read(root + FSTAB, b""))
        self.places = places_of(fstab.points(self.fstab_before), seen, params["check_timeout"])
        self.line = self._line_of(self.path)
        self.memory = Memory(self.path, root)
        self.addresses = []
        self.warnings = []
        mounts.refuse_managed(self.path, seen, root)
        self._check_current()
        self.source = self._source()
        self.kind = self._kind()
        self.options = self._options()
        self.action = self._action()
        self.fstab_after = self._fstab()

    @property
    def state(self):
        return self.params["state"]

    @property
    def creates(self):
        return self.action == "mount" and not os.path.isdir(self.path)

    @property
    def differs(self):
        if self.action == "rehearse":
            return False
        return self.action != "none" or self.fstab_differs or self.unfinished

    @property
    def works(self):
        """Whether there is anything to run, changes or not."""
        return self.differs or self.action == "rehearse"

    @property
    def starts(self):
        """Whether what was stopped is started at the end."""
        return self.state in STARTING and self.params["start_units"]

    @property
    def fstab_differs(self):
        return self.fstab_after != self.fstab_before

    @property
    def unfinished(self):
        """Whether an earlier run has left units stopped that this one is to start."""
        return bool(self.memory.kept) and self.starts

    @property
    def read_only(self):
        return "ro" in self.options

    @property
    def has_canary(self):
        """Whether the switch proves the new mount by writing to it."""
        return self.params["check"] == "write" and not self.read_only

    @property
    def tries_canary(self):
        return self.action == "rehearse" and self.has_canary and self.current is not None

    def _line_of(self, point):
        return fstab.find(self.fstab_before, point, places=self.places)

    def _check_current(self):
        if self.current is None:
            return
        if not self.current.is_nfs:
            raise NfsError(
                "%s has a file system of type %s mounted. Give the path of an NFS mount"
                % (self.path, self.current.kind)
            )
        strangers = [
            mount
            for mount in self.inner
            if not self._is_of_the_kernel(mount) or self._line_of(mount.point) is not None
        ]
        if strangers and self.state != "mounted":
            raise NfsError(
                "%s is a mount of its own below %s. Unmount it first, and mount it again afterwards"
                % (strangers[0].point, self.path)
            )

    def _is_of_the_kernel(self, mount):
        """The kernel mounts what lies below an export by itself, under its path there; that goes and comes with it."""
        below = mount.point[len(self.path.rstrip("/")) :]
        export = mounts.split_source(self.current.source)[1].rstrip("/") + below
        return (
            mount.is_nfs
            and mounts.same_address(mount.address, self.current.address)
            and mounts.same_export(mounts.split_source(mount.source)[1], export)
            and mount.device != self.current.device
        )

    def _source(self):
        server, export = self.params["server"], self.params["export"]
        if self.state in WITHOUT_SERVER:
            return self.current.source if self.current else ""
        self.addresses = self.lookup(server, self.params["check_timeout"])
        return mounts.join_source(server, export)

    def _kind(self):
        if self.params["fstype"]:
            return self.params["fstype"]
        if self.line:
            return self.line.value(fstab.KIND)
        return self.current.kind if self.current else "nfs"

    def _options(self):
        if self.params["options"] is not None:
            return self.params["options"]
        if self.line:
            return [word for word in self.line.options if word != "defaults"]
        return self.current.options_to_mount() if self.current else self.memory.options or []

    @property
    def from_wanted(self):
        """Whether the mount that is there comes from the wanted server already.

        The address decides: who mounted by name keeps the address that the name had then.
        """
        server, export = mounts.split_source(self.current.source)
        if not mounts.same_export(export, self.params["export"]):
            return False
        if not self.current.address:
            return server == self.params["server"]
        return any(mounts.same_address(self.current.address, address) for address in self.addresses)

    def _action(self):
        if self.state == "unmounted":
            return "unmount" if self.current else "none"
        if self.state in ("held", "resumed"):
            return "hold" if self.state == "held" else "none"
        if self.state == "rehearsed":
            return "none" if self.current is not None and self.from_wanted else "rehearse"
        if self.current is None:
            return "mount"
        if self.from_wanted:
            return "none"
        if self.state == "mounted":
            raise NfsError(
                "%s is mounted from %s (%s). Say state: switched to change the server"
                % (self.path, self.current.source, self.current.address)
            )
        return "switch"

    def _fstab(self):
        """fstab as it is to be: its line with the new source; a new line only for what this module mounts itself."""
        if not self.params["boot"] or self.state not in ("mounted", "switched"):
            return self.fstab_before
        if self.line is None:
            if self.current is not None or self.memory.kept.get("in_fstab") is False:
                self.warnings.append("%s has no line in %s, and gets none." % (self.path, FSTAB))
                return self.fstab_before
            return fstab.with_new_line(self.fstab_before, self.source, self.path, self.kind, self.options)
        values = {}
        if self.line.value(fstab.SOURCE) != self.source:
            values[fstab.SOURCE] = self.source
        if self.line.value(fstab.KIND) != self.kind:
            values[fstab.KIND] = self.kind
        if self.params["options"] is not None and self.line.options != self.options:
            values[fstab.OPTIONS] = ",".join(self.options) or "defaults"
        return fstab.with_line(self.fstab_before, self.line, values)

    def steps(self):
        """What will be done, in order, for people. Returns list of str."""
        found = []
        units = self.params["stop_units"]
        if self.action == "rehearse" or (self.action == "switch" and self.params["rehearse"]):
            found.append("mount %s elsewhere and look at it" % self.source)
        if self.tries_canary:
            found.append("write a canary through the mount that is there")
        if self.action in ("switch", "unmount", "hold"):
            found += ["stop %s" % unit for unit in units]
        if self.action in ("switch", "unmount"):
            found += ["unmount %s" % mount.point for mount in self.inner + [self.current]]
        if self.fstab_differs:
            found.append("write %s" % FSTAB)
        if self.action in ("switch", "mount"):
            found.append("mount %s at %s" % (self.source, self.path))
            if self.params["check"] != "none":
                found.append("check the mount")
        if self.starts:
            started = self.memory.units + (units if self.action == "switch" else [])
            found += ["start %s" % unit for unit in reversed(started)]
        return found

    def diff(self):
        def mounted(source):
            return "%s at %s\n" % (source, self.path) if source else "nothing at %s\n" % self.path

        now = self.current.source if self.current else ""
        then = {"none": now, "hold": now, "rehearse": now, "unmount": ""}.get(self.action, self.source)
        pair = {"before_header": "mounted", "after_header": "mounted", "before": mounted(now), "after": mounted(then)}
        table = {"before_header": FSTAB, "after_header": FSTAB}
        table.update(before=self.fstab_before, after=self.fstab_after)
        return [files.printable(pair)] + ([files.printable(table)] if self.fstab_differs else [])


def check_options(params):
    """Raise NfsError for options that make no sense together."""
    if not params["path"].startswith("/") or os.path.normpath(params["path"]) == "/":
        raise NfsError("path has to be an absolute path below /, not %r" % params["path"])
    if params["state"] not in WITHOUT_SERVER:
        server, export = params["server"], params["export"]
        if not server or re.search(r"[\s/\[\]]", server) or server.startswith("-"):
            raise NfsError("server %r is no name or address. Give one, an IPv6 address without brackets" % server)
        if not export or not export.startswith("/"):
            raise NfsError("export %r is no absolute path. Give the path on the server" % export)
    for word in params["options"] or []:
        if not _WORD.match(word):
            raise NfsError("options: %r has a blank, a comma, a quote or a backslash. Give one option an item" % word)
    folder = params["canary_folder"]
    if folder.startswith("/") or ".." in folder.split("/"):
        raise NfsError("canary_folder %r has to be a folder below the path, without .." % folder)
    known_user(params["canary_user"])


def plan(params, *, root="", lookup=resolve):
    """Decide. params: the options of the Ansible module nfs_mount. Raises NfsError or FileError; nothing is done."""
    check_options(params)
    return Plan(params, root, lookup)
