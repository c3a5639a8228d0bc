# SPDX-License-Identifier: GPL-3.0-or-later
"""The one image of all hosts: Debian 12 with systemd, built from packages, cached by the hash of its recipe."""

import hashlib
import os
import tempfile
from pathlib import Path

from .machine import machine_lock, say
from .paths import LABEL
from .podman import podman, podman_json
from .run import LabError, run

SUITE = "bookworm"
REPOSITORY = "localhost/seamless-lab"
PACKAGES = [
    "acl", "attr", "cron", "dbus", "e2fsprogs", "firewalld", "fpart", "iproute2", "iputils-ping", "kmod", "less",
    "libcap2-bin", "lsyncd", "lua5.3", "netbase", "nftables", "openssh-server", "procps", "psmisc", "python3",
    "python3-apt", "rsync", "sudo", "systemd", "systemd-sysv", "util-linux", "xinetd",
]  # fmt: skip
# Arguments of mmdebstrap beside the packages. No mirror: mmdebstrap takes Debian's own, security suite included.
OPTIONS = [
    "--variant=minbase",
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
]
# Run in the finished tree: in a new host none of the migration's tools runs yet, and nothing else makes load.
CUSTOMIZE = r"""
set -eu
root=$1
grep -qs bookworm-security "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* \
    || { echo "no security suite among the sources of the image" >&2; exit 1; }
chroot "$root" systemctl disable firewalld.service rsync.service xinetd.service ssh.socket nftables.service
chroot "$root" update-rc.d lsyncd disable
chroot "$root" update-rc.d xinetd disable
# These would act on the machine's kernel, or only cost time.
chroot "$root" systemctl mask systemd-sysctl.service systemd-pstore.service systemd-udevd.service \
    systemd-remount-fs.service console-getty.service getty.target apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-networkd.service
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/rsyncd.conf "$root"/etc/machine-id
: > "$root"/etc/machine-id
printf 'MaxStartups 100\nMaxSessions 100\n' > "$root"/etc/ssh/sshd_config.d/lab.conf
# Where the login uid cannot be set in a container, cron and sshd must not refuse to work for it.
sed -i 's/^\(session.*required.*pam_loginuid.so\)/#\1/' "$root"/etc/pam.d/cron "$root"/etc/pam.d/sshd
chroot "$root" groupadd -g 2000 files
chroot "$root" useradd -u 2000 -g files -m -s /bin/sh files
mkdir -p "$root"/srv/files "$root"/var/log/journal "$root"/usr/local/lib/lab
"""


def tag():
    """Name of the image that belongs to this recipe."""
    recipe = "\n".join([SUITE] + PACKAGES + OPTIONS + [CUSTOMIZE])
    return "%s:%s" % (REPOSITORY, hashlib.sha256(recipe.encode()).hexdigest()[:16])


def _remove_other_tags(keep):
    for image in podman_json("images", "--format", "json", "--filter", "label=%s" % LABEL):
        for name in image.get("Names") or []:
            if name != keep and name.startswith(REPOSITORY):
                # Containers that still use an old image keep it; it goes with a later build.
                podman("rmi", name, check=False)


def ensure():
    """Build the image unless it is there; returns its name."""
    wanted = tag()
    if podman("image", "exists", wanted, check=False).returncode == 0:
        return wanted
    with machine_lock("image"):
        if podman("image", "exists", wanted, check=False).returncode == 0:
            return wanted
        _build(wanted)
        _remove_other_tags(wanted)
    return wanted


def _build(wanted):
    say("building the image of the hosts (about a minute, once)")
    # A directory that the package manager's own user can read, on a file system that takes device nodes.
    with tempfile.TemporaryDirectory(prefix="seamless-lab-", dir="/var/tmp") as scratch:
        os.chmod(scratch, 0o755)
        hook = Path(scratch, "customize")
        hook.write_text("#!/bin/sh" + CUSTOMIZE, encoding="utf-8")
        hook.chmod(0o755)
        archive = str(Path(scratch, "root.tar"))
        arguments = OPTIONS + ["--include=" + ",".join(PACKAGES), "--customize-hook=%s" % hook]
        run(["mmdebstrap"] + arguments + [SUITE, archive], env=dict(os.environ, TMPDIR=scratch), timeout=1800)
        podman("import", "--change", "LABEL %s=image" % LABEL, archive, wanted, timeout=600)
    if podman("image", "exists", wanted, check=False).returncode != 0:
        raise LabError("Failed to build %s: podman does not list it" % wanted)


def remove_all():
    """Remove every image that the lab ever built and nobody uses."""
    for image in podman_json("images", "--format", "json", "--filter", "label=%s" % LABEL):
        # Not forced: a lab of another checkout may use it.
        for name in image.get("Names") or [image["Id"]]:
            podman("rmi", name, check=False)
