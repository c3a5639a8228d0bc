# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mounted, by /proc/self/mountinfo; no mount is touched for it, because a dead server would hang who does."""

import ipaddress
import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.fstab import NFS_TYPES, unescape

# The kernel shows these, and nobody gives them: they describe the connection to the server that is left.
_OF_CONNECTION = ("addr", "clientaddr", "mountaddr", "mountvers", "mountport", "mountproto", "namlen")
_UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


class Mount:
    """One line of mountinfo (proc(5)).

    number, parent: str. device: "major:minor". groups: the peer groups that it is in or receives from, set of str.
    own_options, options: lists of the mount's own options and of those of the file system.
    """

    def __init__(self, line):
        words = line.split(" ")
        end = words.index("-")
        rest = words[end + 1 :]
        self.number, self.parent = words[0], words[1]
        tags = (word.partition(":") for word in words[6:end])
        self.groups = {group for name, _colon, group in tags if name in ("shared", "master")}
        self.device = words[2]
        self.root = unescape(words[3])
        self.point = unescape(words[4])
        self.own_options = words[5].split(",")
        self.kind = rest[0]
        self.source = unescape(rest[1])
        self.options = rest[2].split(",") if len(rest) > 2 else []

    @property
    def is_nfs(self):
        return self.kind in NFS_TYPES

    def option(self, name):
        """Value of an option of the file system, "" for one without a value, None when it is not there."""
        for word in self.options:
            key, _equals, value = word.partition("=")
            if key == name:
                return value
        return None

    @property
    def address(self):
        """Address of the server that this mount talks to, whatever its name means by now."""
        return self.option("addr") or ""

    @property
    def version(self):
        return self.option("vers") or ""

    @property
    def read_only(self):
        return "ro" in self.own_options or "ro" in self.options

    def options_to_mount(self):
        """Options with which the same can be mounted again."""
        words = [word for word in self.own_options if word not in ("rw", "ro", "relatime")]
        words.insert(0, "ro" if self.read_only else "rw")
        for word in self.options:
            if word.partition("=")[0] not in _OF_CONNECTION + ("rw", "ro") and word not in words:
                words.append(word)
        return words


def read(path="/proc/self/mountinfo"):
    """All mounts in the order of mounting. Returns list of Mount; empty when the process is gone."""
    content = files.read(path)
    return [Mount(line) for line in files.text(content or b"").splitlines() if line]


def at(path, mounts):
    """The mount on top at exactly this path, or None."""
    found = [mount for mount in mounts if mount.point == path]
    return found[-1] if found else None


def below(path, mounts):
    """Mounts beneath path, deepest last mounted first, so that they can be unmounted in this order."""
    return [mount for mount in reversed(mounts) if mount.point.startswith(path.rstrip("/") + "/")]


def split_source(source):
    """server:/export, the server perhaps an IPv6 address in brackets -> (server, export)."""
    found = re.match(r"\[([^\]]+)\]:(.*)\Z", source) or re.match(r"([^:]*):(.*)\Z", source)
    if not found:
        return source, ""
    return found.group(1), found.group(2)


def join_source(server, export):
    return "%s:%s" % ("[%s]" % server if ":" in server else server, export)


def same_export(one, other):
    """Whether two export paths are the same; a slash at the end does not count."""
    return (one.rstrip("/") or "/") == (other.rstrip("/") or "/")


def same_address(one, other):
    """Whether two addresses are the same host, an IPv4 address in IPv6 dress included."""

    def plain(text):
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return text.lower()
        return getattr(address, "ipv4_mapped", None) or address

    return plain(one) == plain(other)


def unit_name(path, ending):
    """Name of the systemd unit for a path (systemd-escape --path)."""
    text = path.strip("/") or "-"
    escaped = ""
    for position, byte in enumerate(files.data(text)):
        c = chr(byte)
        if c == "/":
            escaped += "-"
        elif (c.isalnum() and byte < 128) or c in ":_" or (c == "." and position):
            escaped += c
        else:
            escaped += "\\x%02x" % byte
    return ("-" if text == "-" else escaped) + ending


def refuse_managed(path, mounts, root=""):
    """Raise NfsError when autofs or a systemd unit of the administrator mounts at path."""
    for mount in mounts:
        ours = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
        if mount.kind != "autofs" or not ours:
            continue
        if mount.source == "systemd-1":
            raise NfsError(
                "%s is mounted on demand by the systemd unit %s. Stop that unit first, or take x-systemd.automount out "
                "of its line in fstab" % (path, unit_name(mount.point, ".automount"))
            )
        raise NfsError(
            "%s is mounted on demand by autofs (%s at %s). Change its map, reload autofs and let the mount expire: "
            "this module would fight with it" % (path, mount.source, mount.point)
        )
    for ending in (".mount", ".automount"):
        for folder in _UNIT_FOLDERS:
            unit = os.path.join(folder, unit_name(path, ending))
            if os.path.exists(root + unit):
                raise NfsError(
                    "%s is mounted by the systemd unit %s. Change What= there and restart the unit: an edit of fstab "
                    "would have no effect" % (path, unit)
                )
