# SPDX-License-Identifier: GPL-3.0-or-later
"""The data disks of the storage hosts: ext4 file systems of their own in sparse files.

Of their own, so that a host may remount its disk read-only, freeze it or fill it, as real ones do, without doing so to
the file system of the machine underneath.
"""

import os

from .machine import machine_lock
from .paths import LABS
from .run import run

SIZE_GIB = int(os.environ.get("LAB_DISK_GIB", "12"))


def mount_point(name, host):
    return LABS / name / "disk" / host


def attach(name, host, image):
    """Make the disk when it is new, mount it, and return where."""
    where = mount_point(name, host)
    if os.path.ismount(where):
        # Somebody may have left it read-only; a machine that boots mounts it as its fstab says.
        run(["mount", "-o", "remount,rw", str(where)], check=False)
        return where
    where.mkdir(parents=True, exist_ok=True)
    fresh = not image.exists()
    if fresh:
        with open(image, "wb") as handle:
            handle.truncate(SIZE_GIB << 30)
        run(["mke2fs", "-q", "-F", "-t", "ext4", "-i", "8192", "-E", "lazy_itable_init=1", str(image)])
    with machine_lock("loop"):
        run(["mount", "-o", "loop,noatime", str(image), str(where)])
    if fresh:
        (where / "lost+found").rmdir()
        os.chown(where, 2000, 2000)
        os.chmod(where, 0o755)
    return where


def detach(name, host):
    where = mount_point(name, host)
    if os.path.ismount(where) and run(["umount", str(where)], check=False).returncode != 0:
        run(["umount", "--lazy", str(where)], check=False)


def detach_all(name):
    folder = LABS / name / "disk"
    for where in sorted(folder.iterdir()) if folder.is_dir() else []:
        detach(name, where.name)
