# SPDX-License-Identifier: GPL-3.0-or-later
"""An exportfs that reads the plainest exports files only, and keeps its table where the real one does."""

import re
from pathlib import Path

from ansible_collections.seamless.migration.plugins.module_utils.host.command import Result

LINE = re.compile(r"(\S+)\s+(\S+)\(([^)]*)\)\Z")


class FakeServer:
    """root: folder that stands for /. complaints: what exportfs writes to stderr. ignored: clients unknown to it."""

    def __init__(self, root):
        self.root = Path(root)
        (self.root / "etc/exports.d").mkdir(parents=True)
        (self.root / "var/lib/nfs").mkdir(parents=True)
        self.etab = self.root / "var/lib/nfs/etab"
        self.complaints = []
        self.ignored = set()
        self.commands = []
        self.loses = False
        self.canonical = {}

    def names(self, client):
        return {self.canonical[client]} if client in self.canonical else set()

    def which(self, name):
        return "/usr/sbin/" + name

    def write(self, text, name="exports"):
        (self.root / "etc" / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    def read(self, name="exports"):
        return (self.root / "etc" / name).read_bytes().decode()

    def files(self):
        paths = [self.root / "etc/exports"] + sorted((self.root / "etc/exports.d").iterdir())
        return [path for path in paths if path.exists()]

    def _entries(self):
        found = {}
        for path in self.files():
            for line in path.read_text().splitlines():
                match = LINE.match(line)
                if match and match.group(2) not in self.ignored:
                    client = self.canonical.get(match.group(2), match.group(2))
                    found.setdefault((match.group(1), client), match.group(3))
        return found

    def run(self, argv, timeout=60):
        assert timeout > 0
        self.commands.append([argv[0].rsplit("/", 1)[-1]] + argv[1:])
        table = self.table()
        if argv[1] == "-u":
            client, path = argv[2].rsplit(":", 1)
            table.pop((path, client.replace("[", "").replace("]", "")), None)
        elif argv[1] == "-a":
            table.update(self._entries())
        else:
            table = self._entries()
            if self.loses:
                table.pop(min(table))
        self.fill(table)
        return Result(argv, 0, "", "".join(line + "\n" for line in self.complaints))

    def table(self):
        found = {}
        for line in self.etab.read_text().splitlines() if self.etab.exists() else []:
            path, entry = line.split("\t")
            client, _bracket, options = entry.partition("(")
            found[path, client] = options[:-1]
        return found

    def fill(self, table):
        """Write the table as nfs-utils does: all options of an export, then its flavours with theirs."""
        lines = []
        for (path, client), options in table.items():
            words = options.split(",")
            shown = [
                "rw" if "rw" in words else "ro",
                "async" if "async" in words else "sync",
                "wdelay,hide,nocrossmnt,secure",
                "no_root_squash" if "no_root_squash" in words else "root_squash",
                "all_squash" if "all_squash" in words else "no_all_squash",
                "no_subtree_check,secure_locks,acl,no_pnfs",
            ]
            shown += [word for word in words if word.startswith("fsid=")]
            shown += ["anonuid=65534,anongid=65534,sec=sys", shown[0], "secure", shown[3], shown[4]]
            lines.append("%s\t%s(%s)\n" % (path, client, options if options.count("anonuid") else ",".join(shown)))
        self.etab.write_text("".join(lines))
