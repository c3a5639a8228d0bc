# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging and its end where mounts are shared, as systemd makes them: nothing of the tree goes with the door."""

import os
import sys

import namespaces
import pytest

# $1: the folder of the test, $2: whether the tree is a mount point, $3: Python, $4: the script
HOST = """
set -e
mount -t tmpfs none "$1"; mount --make-rshared "$1"
mkdir -p "$1/srv/files"
if [ "$2" = True ]; then mount -t tmpfs none "$1/srv/files"; fi
mkdir -p "$1/srv/files/disk" "$1/run"
mount -t tmpfs none "$1/run"
mount -t tmpfs none "$1/srv/files/disk"
echo precious >"$1/srv/files/disk/file"
exec "$3" -c "$4" "$1"
"""
SCRIPT = """
import os, subprocess, sys
from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze_mounts as mounts

top = sys.argv[1]
path, door = top + "/srv/files", top + "/run/private/data"

def points(pid="self"):
    return sorted(entry.point for entry in mounts.mounts_of(pid) if entry.point.startswith(os.fsencode(top)))

def made():
    return mounts.Tree(path, door)

service = subprocess.Popen(["unshare", "-m", "--propagation", "slave", "sh", "-c", "echo; exec sleep 60"], stdout=-1)
service.stdout.readline()
try:
    before = points()
    there = points(service.pid)
    covered = [os.fsdecode(place) for place, mounted in made().places(mounts.mounts_of()) if not mounted]
    mounts.stage(made())
    mounts.stage(made())
    assert len(points()) == len(set(points())) + len(covered), points()
    os.mkdir(path + "/later")
    subprocess.check_call(["mount", "-t", "tmpfs", "none", path + "/later"])
    open(path + "/later/new", "w").close()
    assert os.listdir(door + "/later") == ["new"]
    assert os.listdir(door + "/disk") == ["file"]
    subprocess.check_call(["umount", path + "/later"])
    mounts.unstage(made())
    assert os.listdir(path + "/disk") == ["file"], "the door took it along"
    for place in covered:
        mounts.uncover(made(), place)
    assert os.listdir(path + "/disk") == ["file"], "the cover took it along"
    assert points() == before, (points(), before)
    assert points(service.pid) == there, (points(service.pid), there)
finally:
    service.kill()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for mounts")
@pytest.mark.parametrize("is_mount_point", [True, False])
def test_what_is_mounted_below_the_tree_stays(tmp_path, is_mount_point):
    done = namespaces.run(HOST, tmp_path, is_mount_point, sys.executable, SCRIPT)
    assert done.returncode == 0, done.stdout
