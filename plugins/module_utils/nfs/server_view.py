# SPDX-License-Identifier: GPL-3.0-or-later
"""What an NFS server knows of itself: whether it serves, what it exports, whether it takes locks, who its clients are.

No list of clients is complete: the kernel knows those of version 4 that have been heard of lately, rmtab those that
asked mountd for a mount of version 3 (and keeps some that are long gone), the connections show whoever is there now.
"""

import fnmatch
import ipaddress
import os
import re
import socket
import struct

from ansible_collections.seamless.migration.plugins.module_utils.host import files, nfsd
from ansible_collections.seamless.migration.plugins.module_utils.nfs import export_plan, mounts
from ansible_collections.seamless.migration.plugins.module_utils.nfs.bounded import bounded
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError

PORT = 2049
RMTAB = "/var/lib/nfs/rmtab"
# Y once the period is over. That of version 3 holds up the locks of version 4 as well.
GRACE = {"v4": "/proc/fs/nfsd/v4_end_grace", "v3": "/proc/fs/lockd/nlm_end_grace"}
CONNECTIONS = ("/proc/net/tcp", "/proc/net/tcp6")
ESTABLISHED = "01"
NOBODY = 65534  # what nfs-utils takes where an export names nobody else
LOOPBACK = re.compile(r"127\.|::1\Z")


def _text(path):
    try:
        with open(path, "rb") as stream:
            return files.text(stream.read())
    except OSError:
        return ""


def _address(text):
    try:
        return nfsd.plain(text)
    except ValueError:
        return text


def endpoint(text):
    """`0100007F:0801` of /proc/net/tcp -> (address, port). Words of the address are in the host's own byte order."""
    address, _colon, port = text.partition(":")
    words = [struct.pack("=I", int(address[start : start + 8], 16)) for start in range(0, len(address), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return nfsd.plain(socket.inet_ntop(family, b"".join(words))), int(port, 16)


def connected(root=""):
    """Addresses that have a connection to the NFS port now. Returns set of str."""
    found = set()
    for path in CONNECTIONS:
        for line in _text(root + path).splitlines()[1:]:
            words = line.split()
            if len(words) > 3 and words[3] == ESTABLISHED and endpoint(words[1])[1] == PORT:
                found.add(endpoint(words[2])[0])
    return {address for address in found if not LOOPBACK.match(address)}


def noted(root=""):
    """Who asked mountd for what: set of (host as it stands there, path). Format of rmtab: `host:/path:0x00000001`."""
    found = set()
    for line in _text(root + RMTAB).splitlines():
        match = re.match(r"(.+?):(/.*):0x[0-9a-fA-F]+\Z", line)
        if match:
            found.add((match.group(1).strip("[]"), match.group(2)))
    return found


class Names:
    """What names mean here. ask: function that gives addresses for a name, or names for an address; never for long."""

    def __init__(self, timeout=5, ask=None):
        self.timeout = timeout
        self.known = {}
        self.ask = ask or self._ask

    def _ask(self, name):
        def look():
            return sorted(nfsd.look_up(name))

        try:
            return bounded(look, self.timeout, "the look-up of %s" % name)
        except NfsError:
            return []

    def addresses(self, name):
        """Addresses of a name; of an address itself."""
        try:
            return [nfsd.plain(name)]
        except ValueError:
            pass
        if name not in self.known:
            self.known[name] = self.ask(name)
        return self.known[name]

    def names_of(self, address):
        """Names of an address, for patterns."""
        if address not in self.known:

            def look():
                try:
                    name, others, _addresses = socket.gethostbyaddr(address)
                    return [name] + others
                except OSError:
                    return []

            try:
                self.known[address] = bounded(look, self.timeout, "the look-up of %s" % address)
            except NfsError:
                self.known[address] = []
        return self.known[address]


def covers(spec, address, names):
    """Whether a client of an export means this address. What cannot be decided (a netgroup) counts as yes."""
    if spec in ("", "*") or spec.startswith(("@", "gss/")):
        return True
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(spec, strict=False)
    except (ValueError, TypeError):
        pass
    if re.search(r"[*?\[]", spec):
        return any(fnmatch.fnmatchcase(name.lower(), spec.lower()) for name in names.names_of(address))
    return address in names.addresses(spec)


def rank(spec):
    """Where several clients of an export mean one address, the one with the lowest rank counts (exportfs.h)."""
    if spec in ("", "*"):
        return 4
    if spec.startswith(("@", "gss/")):
        return 3 if spec.startswith("@") else 5
    if re.search(r"[*?\[]", spec):
        return 2
    return 1 if "/" in spec else 0


def rights_of(meaning):
    """What decides who may do what, as the words of exports(5). meaning: export_options.Meaning. Returns list of str.

    Where an export has several security flavours, the words of each begin with its name.
    """
    words, squashed = [], False
    for name, flags in meaning.flavours:
        squash = "root_squash" if flags.get("root_squash", True) else "no_root_squash"
        squash = "all_squash" if flags.get("all_squash") else squash
        squashed |= squash != "no_root_squash"
        mark = name + ":" if len(meaning.flavours) > 1 else ""
        words += ["sec=" + name, mark + ("ro" if flags.get("ro", True) else "rw"), mark + squash]
    if squashed:
        words += ["%s=%d" % (key, meaning.values.get(key, NOBODY) % 2**32) for key in ("anonuid", "anongid")]
    return words


def rights(hosts, root="", names=None):
    """What each export gives to hosts. hosts: addresses. Returns list of dict with host, path, client, rights."""
    names = names or Names()
    table = export_plan.Table(root + export_plan.ETAB).entries
    entries = [(client or "*", path, meaning) for (path, _identity), (client, meaning) in table.items()]
    found = []
    for host in hosts:
        seen = {}
        for client, path, meaning in sorted(entries, key=lambda entry: rank(entry[0])):
            if path not in seen and covers(client, _address(host), names):
                seen[path] = {"host": host, "path": path, "client": client, "rights": rights_of(meaning)}
        found += [seen[path] for path in sorted(seen)]
    return found


def exported(root=""):
    """What is exported now: list of dict with path, client, read_only, fsid."""
    found = []
    for (path, _identity), (client, meaning) in sorted(export_plan.Table(root + export_plan.ETAB).entries.items()):
        fsid = meaning.values.get("fsid")
        found.append(
            {
                "path": path,
                "client": client or "*",
                "read_only": bool(meaning.flags.get("ro", True)),
                "fsid": "" if fsid is None else str(fsid),
            }
        )
    return found


def seen(root="", names=None):
    """The clients: list of dict with address (a name where it has none), versions, seen, paths, name; sorted."""
    names = names or Names()
    found = {}

    def client(address, how):
        entry = found.setdefault(
            address, {"address": address, "name": "", "versions": set(), "seen": set(), "paths": set()}
        )
        entry["seen"].add(how)
        return entry

    for known in nfsd.clients(root):
        entry = client(known.address or known.name, "version 4")
        entry["versions"].add(known.version)
        entry["name"] = known.name
    for host, path in noted(root):
        for address in names.addresses(host) or [host]:
            entry = client(address, "rmtab")
            entry["versions"].add("3")
            entry["paths"].add(path)
    for address in connected(root):
        client(address, "connection")
    table = exported(root)
    for entry in found.values():
        if entry["seen"] != {"rmtab"}:
            entry["paths"] |= {line["path"] for line in table if covers(line["client"], entry["address"], names)}
    return [
        dict(entry, versions=sorted(entry["versions"]), seen=sorted(entry["seen"]), paths=sorted(entry["paths"]))
        for _address, entry in sorted(found.items())
    ]


def grace(root=""):
    """By protocol whether locks are taken; what the kernel does not tell is left out."""
    found = {}
    for name, path in GRACE.items():
        if os.path.exists(root + path):
            found[name] = _text(root + path).startswith("Y")  # lockd has a NUL behind it
    return found


def view(root="", names=None, hosts=()):
    """All of it, as the module nfs_info returns it. hosts: addresses, see rights()."""
    versions = [word[1:] for word in _text(root + "/proc/fs/nfsd/versions").split() if word.startswith("+")]
    over = grace(root)
    running = nfsd.running(root)
    return {
        "running": running,
        "versions": versions,
        "takes_locks": running and all(over.values()),
        "grace": over,
        "exports": exported(root),
        "clients": seen(root, names),
        "rights": rights(hosts, root, names),
        "mounts": [
            {"path": mount.point, "source": mount.source, "address": mount.address, "version": mount.version}
            for mount in mounts.read(root + "/proc/self/mountinfo")
            if mount.is_nfs
        ],
    }
