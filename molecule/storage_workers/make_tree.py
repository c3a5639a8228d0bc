#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a tree that has what a copy can lose: hard links over directories, attributes, odd names, holes, old times."""

import os
import random
import subprocess
import sys

FILES = 1600


def main(top):
    dice = random.Random(1)
    for number in range(FILES):
        folder = os.path.join(top, "d%d" % (number % 20), "e%d" % (number % 3))
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "f%d" % number), "wb") as stream:
            stream.write(dice.getrandbits(8 * 8000).to_bytes(8000, "big"))
    for number in range(60):
        name = os.path.join(top, "d%d" % (number % 20), "e%d" % (number % 3), "f%d" % number)
        os.link(name, os.path.join(top, "d%d" % ((number + 7) % 20), "linked%d" % number))
    for name in (b"new\nline", b"inv\xff\xfealid", b" blanks ", b'quo"te', b"$(reboot)"):
        with open(os.path.join(os.fsencode(top), b"d1", name), "wb") as stream:
            stream.write(name)
    with open(os.path.join(top, "d2", "sparse"), "wb") as stream:
        stream.truncate(4 << 20)
        stream.write(b"begin")
    os.setxattr(os.path.join(top, "d1", "e1", "f1"), "user.colour", b"blue")
    subprocess.run(["setfacl", "-m", "u:4711:r", os.path.join(top, "d3", "e0", "f3")], check=True)
    os.chown(os.path.join(top, "d4", "e1", "f4"), 4711, 4712)
    os.chmod(os.path.join(top, "d5", "e2", "f5"), 0o600)
    os.makedirs(os.path.join(top, "cache"))
    with open(os.path.join(top, "cache", "left out"), "w", encoding="ascii") as stream:
        stream.write("not copied")
    os.mkfifo(os.path.join(top, "d1", "fifo"))
    os.utime(os.path.join(top, "d6"), ns=(5, 1234567890123456789))
    os.symlink("d1", os.path.join(top, "link"))


main(sys.argv[1])
