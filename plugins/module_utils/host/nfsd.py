# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's NFS server by its own files: who its clients are, and what they hold open.

Version 4 clients stand in /proc/fs/nfsd/clients since Linux 5.3; nfsd(7) tells of the rest.
"""

import os
import re
import time

FOLDER = "/proc/fs/nfsd"
FLUSH = ("/proc/net/rpc/nfsd.fh/flush",)
_FIELD = re.compile(r"(\w+): (\"(?:[^\"\\]|\\.)*\"|[^,{}]+)")


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def _write(path, text):
    with open(path, "w") as stream:
        stream.write(text)


def _names(path):
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def running(root=""):
    """Whether the kernel serves NFS."""
    return _read(root + FOLDER + "/threads").strip() not in ("", "0")


def address_of(endpoint):
    """The address in `192.0.2.1:843` and `[2001:db8::1]:843`, an IPv4 address written as IPv6 as what it is."""
    host = endpoint.strip().strip('"').rpartition(":")[0].strip("[]")
    return host[7:] if host.lower().startswith("::ffff:") and "." in host else host


class Client:
    """A client of version 4 as the server knows it. folder: its directory in /proc. address, name, version: str."""

    def __init__(self, folder):
        self.folder = folder
        fields = dict(line.partition(": ")[::2] for line in _read(folder + "/info").splitlines())
        self.address = address_of(fields.get("address", ""))
        self.name = fields.get("name", "").strip('"')
        self.version = "4.%s" % fields["minor version"].strip() if "minor version" in fields else "4"
        renewed = fields.get("seconds from last renew", "").strip()
        self.renewed_s = int(renewed) if renewed.isdigit() else 0

    def states(self):
        """What it holds: list of dict with type (open, lock, deleg, layout), access, filename, superblock."""
        found = []
        for line in _read(self.folder + "/states").splitlines():
            fields = {key: value.strip().strip('"') for key, value in _FIELD.findall(line.partition("{")[2])}
            if "type" in fields:
                found.append({key: fields.get(key, "") for key in ("type", "access", "filename", "superblock")})
        return found

    def writes(self):
        """Names of files that it holds open for writing, as the server tells them: the last two parts of the path."""
        return [state["filename"] for state in self.states() if state["type"] == "open" and "w" in state["access"]]

    def expire(self):
        """Take everything from it that it holds, as when it had not been heard of for long. Raises OSError."""
        _write(self.folder + "/ctl", "expire\n")


def clients(root=""):
    """Clients of version 4. Returns list of Client; empty where the kernel does not tell."""
    folder = root + FOLDER + "/clients"
    return [Client(folder + "/" + name) for name in _names(folder) if os.path.exists(folder + "/" + name + "/info")]


def flush(root=""):
    """Let the server close files that it keeps open for the next request of version 3, and look at mounts anew."""
    for path in FLUSH:
        if os.path.exists(root + path):
            _write(root + path, "%d\n" % time.time())


def told(root="", limit=5):
    """Who holds files open for writing through this server, for a message; empty when nobody does."""
    found = [(client, name) for client in clients(root) for name in client.writes()]
    words = ["NFS client %s writes %s" % (client.address, name) for client, name in found[:limit]]
    return ", ".join(words) + (" and %d more" % (len(found) - limit) if len(found) > limit else "")


def expire(addresses, root=""):
    """Expire the clients with these addresses. Returns what they held open for writing, list of str. Raises OSError."""
    taken = []
    for client in clients(root):
        if client.address in addresses:
            taken += ["%s of %s" % (name, client.address) for name in client.writes()]
            client.expire()
    return taken
