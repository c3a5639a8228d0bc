# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill /srv/files with everything that a file system holds, and /srv/large with enough bytes to be interrupted."""

import os
import subprocess

HOSTILE = [b"new\nline", b'quo"te', b"back\\slash", b"\\#101octal", b"inv\xff\xfealid", "ümlaut €".encode(), b"-dash",
           b" lead", b"trail ", b"tab\there", b"*star?[x]", b"#hash", b";semi", b"%percent", b"$(reboot)`x`'"]
os.chdir("/srv/files")
for number in range(6000):
    folder = "kinds/%02d/%02d" % (number % 20, number // 20 % 15)
    os.makedirs(folder, exist_ok=True)
    with open("%s/f%04d" % (folder, number), "wb") as stream:
        stream.write(os.urandom(number % 3000))
os.makedirs("names")
for name in HOSTILE:
    with open(os.path.join(b"names", name), "wb") as stream:
        stream.write(name)
    os.makedirs(os.path.join(b"names", b"folder " + name))
for number in range(50):
    os.link("kinds/%02d/00/f%04d" % (number % 20, number % 20), "kinds/%02d/05/link%d" % (19 - number % 20, number))
os.makedirs("empty/in/empty")
os.symlink("../kinds", "names/symlink")
os.mkfifo("names/fifo")
# No device: Debian's rsync.service has PrivateDevices=on, and its daemon may not make one.
with open("sparse", "wb") as stream:
    stream.truncate(64 << 20)
    stream.write(b"begin")
os.setxattr("kinds/01/00/f0001", "user.colour", b"blue")
subprocess.run(["setfacl", "-m", "u:4711:r", "kinds/02/00/f0002"], check=True)
subprocess.run(["setfacl", "-d", "-m", "u:4711:rx", "kinds/03"], check=True)
os.chown("kinds/04/00/f0004", 4711, 4712)
os.chmod("kinds/05", 0o2711)
with open("left-out.tmp", "w") as stream:
    stream.write("x")
for folder, _folders, _names in os.walk("."):
    os.utime(folder, ns=(1, 1234567890123456789))
os.makedirs("/srv/large")
for number in range(160):
    with open("/srv/large/l%03d" % number, "wb") as stream:
        stream.write(os.urandom(1 << 18))
with open("/srv/large/.seamless-sentinel", "w") as stream:
    stream.write("mol-bulk-copy second\n")
