# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill the tree of the story: plain files, names that hurt, hard links, a symbolic link."""

import os

ROOT = b"/srv/files/"
NAMES = [b"plain", b"new\nline", b"quote'\"$(x)", b"\xff\xfe", "ünï".encode(), b" blank ", b"back\\#012slash"]

for folder in (b"", b"one/", b"one/two/"):
    os.makedirs(ROOT + folder, exist_ok=True)
    for name in NAMES:
        with open(ROOT + folder + name, "wb") as stream:
            stream.write(folder + name)
for number in range(2000):
    with open(ROOT + b"one/%d" % number, "wb") as stream:
        stream.write(b"%d" % number)
os.link(ROOT + b"plain", ROOT + b"one/linked")
os.symlink(b"one/two", ROOT + b"link")
with open(ROOT + b".seamless-sentinel", "wb") as stream:
    stream.write(b"story data\n")
