#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill a tree with small files as a file server has them after ten years: all kinds, all names, all owners."""

import argparse
import os
import random
import sys

# Names that break tools which treat names as text, lines or shell words; each gets a file.
HOSTILE = [
    b"with blank", b" leading", b"trailing ", b"tab\there", b"new\nline", b"\nnewline first", b"carriage\rreturn",
    b"quote's", b'double"quote', b"back\\slash", b"ends in backslash\\", b"$(touch owned)", b"`touch owned`",
    b"[brackets]", b"]]..os.exit()..[[", b"*", b"?", b"-rf", b"--delete", b"~", b"#hash#", b"%s%d", b"percent%20",
    b"semi;colon", b"pipe|amp&", b"a,b", b"{a,b}", b":colon", b"!bang", b"^caret", b"@at", b"=equals",
    b"\xc3\xbcn\xc3\xafcode", b"\xe6\x97\xa5\xe6\x9c\xac", b"emoji\xf0\x9f\x98\x80", b"invalid\xff\xfe", b"\x80",
    b"latin1-\xe9", b"\x01control\x1b[31m", b"...", b".hidden", b"n" * 255,
]  # fmt: skip
MODES = (0o644, 0o600, 0o640, 0o444, 0o400, 0o000, 0o755, 0o4755, 0o2755, 0o1644, 0o777)
# user::rw-, user:1234:r--, group::r--, mask::r--, other::--- as the kernel stores it: version, then tag, bits, id.
ACL = bytes.fromhex("02000000 01000600ffffffff 02000400d2040000 04000400ffffffff 10000400ffffffff 20000000ffffffff")


class Seeder:
    """Makes the data; the same seed makes the same data."""

    def __init__(self, root, seed):
        self.root = os.fsencode(root)
        self.random = random.Random(seed)
        self.pool = self.random.randbytes(1 << 20)
        self.made = 0

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def piece(self, size):
        start = self.random.randrange(len(self.pool) - size) if size < len(self.pool) else 0
        return self.pool[start : start + size]

    def file(self, path, size, stamp=True):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(handle, self.piece(size))
        os.close(handle)
        os.chown(path, 2000, 2000)
        if stamp:
            when = 1_500_000_000_000_000_000 + self.random.randrange(200_000_000_000_000_000)
            os.utime(path, ns=(when, when))
        self.made += 1

    def folder(self, *parts):
        path = self.path(*parts)
        os.makedirs(path, exist_ok=True)
        os.chown(path, 2000, 2000)
        return path

    def bulk(self, count):
        """Plain small files, 100 to a directory, directories in directories."""
        for number in range(count):
            if number % 100 == 0:
                folder = self.folder(b"plain", b"%03d" % (number // 10_000), b"%02d" % (number // 100 % 100))
            # Most are a few hundred bytes, some a hundred kilobytes: as file servers have them.
            size = min(200_000, int(self.random.lognormvariate(7, 1.3)))
            self.file(os.path.join(folder, b"file-%06d.dat" % number), size)

    def names(self):
        folder = self.folder(b"names")
        for number, name in enumerate(HOSTILE):
            self.file(os.path.join(folder, name), number * 11)
        for name in HOSTILE:
            inner = self.folder(b"folders", name)
            self.file(os.path.join(inner, b"inside"), 50)

    def links(self):
        folder = self.folder(b"links")
        for number in range(50):
            first = os.path.join(folder, b"hard-%d" % number)
            self.file(first, 100 + number)
            for other in range(number % 4 + 1):
                where = self.folder(b"links", b"far-%d" % other) if number % 2 else folder
                os.link(first, os.path.join(where, b"hard-%d.link%d" % (number, other)))
        targets = [b"hard-1", b"../names", b"/etc/hostname", b"nowhere", b"with blank \n'\"", b".", b"x" * 200]
        for number, target in enumerate(targets):
            os.symlink(target, os.path.join(folder, b"soft-%d" % number))
            os.lchown(os.path.join(folder, b"soft-%d" % number), 2000, 2000)

    def attributes(self):
        folder = self.folder(b"attributes")
        for number, mode in enumerate(MODES):
            path = os.path.join(folder, b"mode-%04o" % mode)
            self.file(path, 200)
            os.chown(path, 3000 + number, 4_000_000 + number)
            os.chmod(path, mode)
        for mode in (0o700, 0o2775, 0o1777, 0o555):
            path = self.folder(b"attributes", b"folder-%04o" % mode)
            self.file(os.path.join(path, b"inside"), 10)
            os.chmod(path, mode)
        for number in range(20):
            path = os.path.join(folder, b"xattr-%d" % number)
            self.file(path, 300)
            os.setxattr(path, b"user.note", b"line\nand \xff bytes %d" % number)
            os.setxattr(path, b"user.empty", b"")
        for number in range(20):
            path = os.path.join(folder, b"acl-%d" % number)
            self.file(path, 300)
            os.setxattr(path, b"system.posix_acl_access", ACL)
        path = self.folder(b"attributes", b"acl-folder")
        os.setxattr(path, b"system.posix_acl_default", ACL)
        for number, when in enumerate((0, 1, 999_999_999, 4_000_000_000_123_456_789)):
            path = os.path.join(folder, b"time-%d" % number)
            self.file(path, 10)
            os.utime(path, ns=(when, when))

    def shapes(self):
        folder = self.folder(b"shapes")
        self.file(os.path.join(folder, b"empty"), 0)
        for number in range(3):
            path = os.path.join(folder, b"sparse-%d" % number)
            self.file(path, 1000, stamp=False)
            os.truncate(path, 16 << 20)
        with open(os.path.join(folder, b"big"), "wb") as handle:
            for _ in range(16):
                handle.write(self.pool)
        self.folder(b"shapes", b"empty-folder")
        deep = [b"deep"] + [b"level-%02d" % number for number in range(60)]
        self.file(os.path.join(self.folder(b"shapes", *deep), b"bottom"), 99)

    def run(self, count):
        os.makedirs(self.root, exist_ok=True)
        os.chown(self.root, 2000, 2000)
        for special in (self.names, self.links, self.attributes, self.shapes):
            special()
        self.bulk(max(0, count - self.made))
        return self.made


def main(argv):
    parser = argparse.ArgumentParser(description="Fill a tree with files of all kinds")
    parser.add_argument("root")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args(argv)
    os.umask(0o022)
    print(Seeder(arguments.root, arguments.seed).run(arguments.files))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
