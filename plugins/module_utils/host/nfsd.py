# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's NFS server by its own files: who its clients are, and what they hold open.

Version 4 clients stand in /proc/fs/nfsd/clients since Linux 5.3; nfsd(7) tells of the rest.
"""

import ipaddress
import os
import re
import socket
import threading
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


def plain(address):
    """One spelling for each address, an IPv4 address written as IPv6 as what it is. Raises ValueError for a name."""
    found = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    return str(getattr(found, "ipv4_mapped", None) or found)


def address_of(endpoint):
    """The address in `192.0.2.1:843` and `[2001:db8::1]:843`, spelled as plain() does; "" when there is none."""
    try:
        return plain(endpoint.strip().strip('"').rpartition(":")[0])
    except ValueError:
        return ""


def look_up(name, ask=socket.getaddrinfo):
    """The addresses of a name, spelled as plain() does, as set; empty when it has none. Takes as long as they take."""
    try:
        return {plain(entry[4][0]) for entry in ask(name, None)}
    except (OSError, ValueError):
        return set()


def addresses_of(hosts, timeout=2, ask=socket.getaddrinfo):
    """The addresses of hosts, names or addresses. timeout: seconds for all names together.

    Returns ({address}, [hosts without one]).
    """
    found = {}

    def look(name):
        found[name] = look_up(name, ask)

    names = []
    for host in hosts:
        try:
            found[host] = {plain(host)}
        except ValueError:
            names.append(threading.Thread(target=look, args=(host,), daemon=True))
    for thread in names:
        thread.start()
    end = time.monotonic() + timeout
    for thread in names:
        thread.join(max(0, end - time.monotonic()))
    known = dict(found)
    return {address for one in known.values() for address in one}, [host for host in hosts if not known.get(host)]


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


def expire(hosts, root="", ask=socket.getaddrinfo):
    """Expire the clients that are these hosts, names or addresses.

    Returns what they held open for writing, and the names that mean nothing here, list of str. Raises OSError.
    """
    addresses, unknown = addresses_of(hosts, ask=ask)
    taken = []
    for client in clients(root):
        if client.address in addresses:
            taken += ["%s of %s" % (name, client.address) for name in client.writes()]
            client.expire()
    return taken + ["%s has no address here, and keeps what it holds" % host for host in unknown]
