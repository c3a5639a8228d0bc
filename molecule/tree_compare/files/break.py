# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on the new server, one entry each, and the list of what was touched."""

import os

ROOT = b"/srv/files/"


def flip(path):
    """Change a byte; size and mtime stay."""
    status = os.stat(path)
    with open(path, "r+b") as stream:
        byte = stream.read(1)
        stream.seek(0)
        stream.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


flip(ROOT + b"one/new\nline")
os.chmod(ROOT + b"one/\xff\xfe", 0o4711)
os.chown(ROOT + b"one/two/plain", 4321, -1)
os.setxattr(ROOT + b"one/17", "user.wrong", b"1")
os.unlink(ROOT + b"one/two/quote'\"$(x)")
with open(ROOT + b"one/extra\n", "wb") as stream:
    stream.write(b"nobody asked for it")
os.utime(ROOT + b"one/18", ns=(0, os.stat(ROOT + b"one/18").st_mtime_ns + 1))
