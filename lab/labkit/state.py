# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab is: its name, its subnet, its hosts, and the files that belong to it."""

import json
import re

from .paths import BUILD, LABS, PREFIX
from .run import LabError

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}\Z")
# Address of the first host of a kind; the others follow it.
FIRST_ADDRESS = {
    "old": 11, "new": 31, "app": 51, "mysql_old": 61, "mysql_new": 71, "mysql_replica": 81, "other": 101,
    "nfs_old": 121, "nfs_new": 131, "nfs_client": 141,
}  # fmt: skip
GROUPS = {
    "old": "storage_source",
    "new": "storage_target",
    "app": "storage_clients",
    "mysql_old": "mysql_source",
    "mysql_new": "mysql_target",
    "mysql_replica": "mysql_replicas",
    "nfs_old": "storage_source",
    "nfs_new": "storage_target",
    "nfs_client": "storage_clients",
    "other": "others",
}
# How the name of a host begins -> what it is for.
KINDS = (
    ("files_old", "old"),
    ("files_new", "new"),
    ("app", "app"),
    ("mysql_old", "mysql_old"),
    ("mysql_rds_old", "mysql_old"),
    ("mysql_new", "mysql_new"),
    ("mysql_rds_new", "mysql_new"),
    ("mysql_replica", "mysql_replica"),
    ("nfs_old", "nfs_old"),
    ("nfs_new", "nfs_new"),
    ("nfs_client", "nfs_client"),
)


def checked_name(text, what="lab"):
    """Return text when it can be the name of a lab or host.

    :raises LabError: when it cannot.
    """
    if not NAME.match(text):
        raise LabError("Not a name of a %s: %r. Use a-z, 0-9, _ and -, 40 at most" % (what, text))
    return text


def kind(host):
    """A key of GROUPS: what a host is for, read from its name."""
    for prefix, answer in KINDS:
        if host.startswith(prefix):
            return answer
    return "other"


def is_mysql(host):
    return kind(host).startswith("mysql")


def is_rds(host):
    """Whether a MySQL host behaves like an endpoint of RDS."""
    return host.startswith("mysql_rds")


class Lab:
    """One lab by its name. Nothing is made by looking at it."""

    def __init__(self, name):
        self.name = checked_name(name)
        self.folder = BUILD / name
        self.runtime = LABS / name
        self.key = self.folder / "id_ed25519"
        self.known_hosts = self.folder / "known_hosts"
        self.inventory = self.folder / "inventory.yml"
        self._file = self.folder / "lab.json"
        self.subnet = None
        self.hosts = {}
        if self._file.exists():
            kept = json.loads(self._file.read_text(encoding="ascii"))
            self.subnet, self.hosts = kept["subnet"], kept["hosts"]

    def save(self):
        self._file.write_text(json.dumps({"subnet": self.subnet, "hosts": self.hosts}, indent=1), encoding="ascii")

    def container(self, host):
        return "%s%s-%s" % (PREFIX, self.name, host)

    def address(self, host):
        """Address of a host.

        :raises LabError: when this lab has no such host.
        """
        if host not in self.hosts:
            raise LabError("Lab %s has no host %r. It has: %s" % (self.name, host, ", ".join(self.hosts) or "none"))
        return self.hosts[host]

    def of_kind(self, wanted):
        return [host for host in self.hosts if kind(host) == wanted]

    def mysql_hosts(self):
        return [host for host in self.hosts if is_mysql(host)]

    def next_number(self, host):
        """Last byte of the address that a new host gets."""
        taken = {int(address.rsplit(".", 1)[1]) for address in self.hosts.values()}
        number = FIRST_ADDRESS[kind(host)]
        while number in taken:
            number += 1
        return number


def all_names():
    """Names of the labs of this checkout that have files."""
    return sorted(path.parent.name for path in BUILD.glob("*/lab.json"))
