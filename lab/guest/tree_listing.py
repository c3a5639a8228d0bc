#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""List a tree as JSON lines: everything about each name that a migration has to keep."""

import argparse
import hashlib
import json
import os
import stat
import sys
from urllib.parse import quote_from_bytes

TYPES = {
    stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char", stat.S_IFBLK: "block",
}  # fmt: skip


def sha256(path):
    known = hashlib.sha256()
    with open(path, "rb", buffering=0) as handle:
        while True:
            piece = handle.read(1 << 18)
            if not piece:
                return known.hexdigest()
            known.update(piece)


def xattrs(path):
    """Extended attributes that belong to the data; ACLs are among them, labels of security modules are not."""
    found = {}
    for name in os.listxattr(path, follow_symlinks=False):
        if name.startswith(("user.", "system.posix_acl_", "trusted.")) and not name.startswith("trusted.overlay."):
            found[name] = os.getxattr(path, name, follow_symlinks=False).hex()
    return found


def describe(path, relative):
    """One entry as a dictionary. The path is percent-encoded, so that any bytes go through JSON."""
    found = os.lstat(path)
    kind = TYPES[stat.S_IFMT(found.st_mode)]
    entry = {
        "path": quote_from_bytes(relative), "type": kind, "mode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid, "gid": found.st_gid, "mtime_ns": found.st_mtime_ns,
    }  # fmt: skip
    if kind == "file":
        entry["size"], entry["sha256"] = found.st_size, sha256(path)
        if found.st_nlink > 1:
            entry["inode"] = "%d:%d" % (found.st_dev, found.st_ino)
    elif kind == "link":
        entry["target"] = quote_from_bytes(os.readlink(path))
    elif kind in ("char", "block"):
        entry["device"] = found.st_rdev
    extended = xattrs(path) if kind != "link" else {}
    if extended:
        entry["xattrs"] = extended
    return entry


def walk(root, below, skip):
    """Entries of root/below, below itself first; names in skip are left out at the root of the tree."""
    start = os.path.join(root, below) if below else root
    if below and os.path.lexists(start):
        yield describe(start, below)
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            if folder == root and (name in skip or name.startswith(b".seamless-")):
                continue
            path = os.path.join(folder, name)
            entry = describe(path, os.path.relpath(path, root))
            yield entry
            if entry["type"] == "dir":
                waiting.append(path)


def main(argv):
    parser = argparse.ArgumentParser(description="List a tree as JSON lines")
    parser.add_argument("root")
    parser.add_argument("--below", default="", help="only this directory of the tree")
    parser.add_argument("--skip", action="append", default=[], help="name at the root of the tree that is left out")
    arguments = parser.parse_args(argv)
    skip = {os.fsencode(name) for name in arguments.skip}
    for entry in walk(os.fsencode(arguments.root), os.fsencode(arguments.below), skip):
        sys.stdout.write(json.dumps(entry) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
