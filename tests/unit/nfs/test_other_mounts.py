# SPDX-License-Identifier: GPL-3.0-or-later
"""What would stay on the old server is found, and what goes along is not: held against what the kernel does."""

import os
import sys

import namespaces
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.nfs import mounts, other_mounts

# $1: the folder of the test, $2: Python, $3: the script. The mount of the test is no NFS mount: only its device counts.
HOST = """
set -e
mount -t tmpfs none "$1"; mount --make-rshared "$1"
mkdir "$1/files" "$1/second" "$1/own"
mount -t tmpfs none "$1/files"
mkdir "$1/files/part"
mount --bind "$1/files/part" "$1/second"
exec "$2" -c "$3" "$1"
"""
SCRIPT = """
import subprocess, sys
from ansible_collections.seamless.migration.plugins.module_utils.nfs import mounts, other_mounts

top = sys.argv[1]
SPACES = {
    "service": "unshare -m --propagation slave sh -c 'umount %s/second; echo; exec sleep 60'",
    "container": "unshare -m --propagation private sh -c 'umount %s/second; echo; exec sleep 60'",
    "sandbox":
        "unshare -m --propagation slave sh -c 'umount %s/second; mount --bind %s/files %s/files; echo; exec sleep 60'",
    "elsewhere":
        "unshare -m --propagation slave sh -c 'umount %s/second; mount --bind %s/files %s/own; echo; exec sleep 60'",
}
running = {}
for name, line in SPACES.items():
    running[name] = subprocess.Popen(["sh", "-c", "exec " + line.replace("%s", top)], stdout=-1)
    running[name].stdout.readline()
names = {0: "here"}
names.update({process.pid: name for name, process in running.items()})

def has_it(name, device):
    seen = mounts.read("/proc/%d/mountinfo" % running[name].pid)
    return sorted(mount.point[len(top):] for mount in seen if mount.device == device)

try:
    ours = mounts.read()
    leaving = [mounts.at(top + "/files", ours)]
    found = other_mounts.find(leaving, ours)
    told = sorted({(names[other.pid], other.path[len(top):]) for other in found})
    subprocess.check_call(["umount", top + "/files"])
    real = [(name, point) for name in SPACES for point in has_it(name, leaving[0].device)]
    real += [("here", mount.point[len(top):]) for mount in mounts.read() if mount.device == leaving[0].device]
    print(told, sorted(set(real)))
    assert told == sorted(set(real))
    assert {name for name, _point in told} == {"here", "container", "sandbox", "elsewhere"}
finally:
    for process in running.values():
        process.kill()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for mounts")
def test_what_is_told_to_stay_is_what_the_kernel_leaves_mounted(tmp_path):
    done = namespaces.run(HOST, tmp_path, sys.executable, SCRIPT)
    assert done.returncode == 0, done.stdout


def line(number, point, source="old:/srv/files", device="0:40", address="10.0.0.1"):
    return mounts.Mount("%d 1 %s / %s rw - nfs4 %s rw,vers=4.2,addr=%s" % (number, device, point, source, address))


TOP = mounts.Mount("1 0 8:1 / / rw - ext4 /dev/sda1 rw")
HERE = line(2, "/mnt/files")


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        (line(3, "/mnt/bound"), True),
        (line(3, "/mnt/files"), True),
        (line(3, "/mnt/unshared", device="0:41"), True),
        (line(3, "/mnt/part", source="a:/srv/files/web", device="0:41", address="::ffff:10.0.0.1"), True),
        (line(3, "/mnt/another", source="old:/srv/files2", device="0:41"), False),
        (line(3, "/mnt/new", source="new:/srv/files", device="0:41", address="10.0.0.2"), False),
    ],
)
def test_the_same_files_are_known_by_device_or_by_server_and_export(other, stays):
    ours = [TOP, HERE, other]
    assert other_mounts.staying([HERE], ours, ours) == ([other] if stays else [])


def test_who_is_in_a_unit_that_is_stopped_is_no_matter(tmp_path):
    for name, space in (("self", 1), ("7", 2)):
        (tmp_path / name / "ns").mkdir(parents=True)
        (tmp_path / name / "ns/mnt").symlink_to("mnt:[%d]" % space)
    (tmp_path / "7/cgroup").write_text("0::/system.slice/web.service\n")
    (tmp_path / "7/cmdline").write_text("web\0")
    (tmp_path / "7/mountinfo").write_text("5 4 0:40 / /data rw - nfs4 old:/srv/files rw,addr=10.0.0.1\n")
    (found,) = other_mounts.find([HERE], [TOP, HERE], proc=str(tmp_path))
    assert str(found) == "/data as web (pid 7, of web.service) has it"
    assert other_mounts.find([HERE], [TOP, HERE], {"web.service"}, proc=str(tmp_path)) == []


@pytest.mark.parametrize(
    ("known", "is_known"),
    [
        (["/data"], True), (["/data/"], True), (["/dat"], False), (["docker-*.scope"], True), (["web"], False),
        ([], False),
    ],
)  # fmt: skip
def test_paths_and_units_are_known_by_name(known, is_known):
    for path in ("/data", "/data/part"):
        assert other_mounts.Other(path, 7, "web", "docker-1f.scope").is_known(known) is is_known
