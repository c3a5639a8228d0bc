# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixed ports of the services of NFSv3, in nfs.conf or in the older /etc/sysconfig/nfs; every other byte is kept."""

import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError

NFS_CONF = "/etc/nfs.conf"
DROP_INS = "/etc/nfs.conf.d"
SYSCONFIG = "/etc/sysconfig/nfs"
# Option of the module: (section and key of nfs.conf, key of sysconfig)
KEYS = {
    "statd_port": (("statd", "port"), "STATD_PORT"),
    "lockd_port": (("lockd", "port"), "LOCKD_TCPPORT"),
    "lockd_udp_port": (("lockd", "udp-port"), "LOCKD_UDPPORT"),
    "mountd_port": (("mountd", "port"), "MOUNTD_PORT"),
}
_SECTION = re.compile(r"\s*\[\s*([^\]\s\"]+)[^\]]*\]")
_KEY = re.compile(r"(\s*)([A-Za-z0-9_.-]+)(\s*=\s*)([^#;\n]*?)(\s*(?:[#;].*)?)\Z")


def _section_keys(text):
    """Yields (line number from 0, section, key, match) of an nfs.conf, names in lower case (nfs.conf(5))."""
    section = ""
    for number, line in enumerate(text.split("\n")):
        head = _SECTION.match(line)
        if head:
            section = head.group(1).lower()
            continue
        found = _KEY.match(line)
        if found and not line.lstrip().startswith(("#", ";")):
            yield number, section, found.group(2).lower(), found


def value_in(text, section, key):
    """Value of a key of an nfs.conf, or None."""
    value = None
    for _number, where, name, found in _section_keys(text):
        if (where, name) == (section, key):
            value = found.group(4).strip("\"'")
    return value


def with_value(text, section, key, value):
    """text of an nfs.conf with one key set."""
    rows = text.split("\n")
    last = None
    for number, where, name, found in _section_keys(text):
        if where == section:
            last = number
        if (where, name) == (section, key):
            rows[number] = "".join(found.group(1, 2, 3)) + value + found.group(5)
    if value_in("\n".join(rows), section, key) == value:
        return "\n".join(rows)
    if last is None:
        heads = [number for number, row in enumerate(rows) if _SECTION.match(row) and section == _head(row)]
        last = heads[-1] if heads else None
    if last is not None:
        return "\n".join(rows[: last + 1] + ["%s=%s" % (key, value)] + rows[last + 1 :])
    gap = "" if not text or text.endswith("\n") else "\n"
    return text + gap + "[%s]\n%s=%s\n" % (section, key, value)


def _head(row):
    return _SECTION.match(row).group(1).lower()


def with_variable(text, key, value):
    """text of a file of shell variables with one set; a line that is commented out stays."""
    rows = text.split("\n")
    pattern = re.compile(r"(\s*(?:export\s+)?%s=)(\"[^\"]*\"|'[^']*'|[^\s#]*)(.*)\Z" % re.escape(key))
    matches = [(number, pattern.match(row)) for number, row in enumerate(rows)]
    found = [(number, match) for number, match in matches if match]
    if not found:
        gap = "" if not text or text.endswith("\n") else "\n"
        return text + gap + "%s=%s\n" % (key, value)
    number, match = found[-1]
    if match.group(2).strip("\"'") != value:
        rows[number] = match.group(1) + value + match.group(3)
    return "\n".join(rows)


def place(root="", which=command.which):
    """The file that this system reads: nfs.conf since nfs-utils 2.1, before that Red Hat's. Raises NfsError."""
    if os.path.exists(root + NFS_CONF) or which("nfsconf"):
        return NFS_CONF
    if os.path.exists(root + SYSCONFIG):
        return SYSCONFIG
    raise NfsError(
        "neither %s nor %s is here, so ports cannot be fixed. Install nfs-utils 2.1 or later, or leave the ports out"
        % (NFS_CONF, SYSCONFIG)
    )


def _refuse_overrides(wanted, root):
    """A file in nfs.conf.d is read after nfs.conf."""
    folder = root + DROP_INS
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not name.endswith(".conf") or name.startswith("."):
            continue
        text = files.text(files.read(os.path.join(folder, name), b""))
        for option, value in wanted.items():
            section, key = KEYS[option][0]
            other = value_in(text, section, key)
            if other is not None and other != str(value):
                raise NfsError(
                    "%s/%s says %s=%s in [%s], and counts before %s. Remove that line"
                    % (DROP_INS, name, key, other, section, NFS_CONF)
                )


class Ports:
    """The configuration before and after. file: path, or "" when no port is asked for. changed: list of options."""

    def __init__(self, wanted, root="", which=command.which):
        self.wanted = wanted
        self.root = root
        self.file = place(root, which) if wanted else ""
        self.before = files.text(files.read(root + self.file, b"")) if wanted else ""
        self.after = self.before
        self.changed = []
        if self.file == NFS_CONF:
            _refuse_overrides(wanted, root)
        for option, value in sorted(wanted.items()):
            text = self.after
            if self.file == NFS_CONF:
                self.after = with_value(text, KEYS[option][0][0], KEYS[option][0][1], str(value))
            else:
                self.after = with_variable(text, KEYS[option][1], str(value))
            if self.after != text:
                self.changed.append(option)

    @property
    def differs(self):
        return self.before != self.after

    def write(self):
        files.write(self.root + self.file, files.data(self.after))
