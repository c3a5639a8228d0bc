# SPDX-License-Identifier: GPL-3.0-or-later
"""The one root file system of all guests with a kernel of their own: Debian 12 with an NFS server and client."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from .machine import machine_lock, say
from .paths import BUILD
from .run import LabError, run

SUITE = "bookworm"
MODULES = Path("/usr/lib/uml/modules")
FOLDER = BUILD / "uml"
SIZE = "2G"
PACKAGES = [
    "acl", "attr", "autofs", "dbus", "e2fsprogs", "firewalld", "iproute2", "iputils-ping", "kmod", "libcap2-bin",
    "lsyncd", "lua5.3", "netbase", "nfs-common", "nfs-kernel-server", "nftables", "openssh-server", "procps", "psmisc",
    "python3", "python3-apt", "rpcbind", "rsync", "systemd", "systemd-sysv", "udev", "util-linux",
]  # fmt: skip
OPTIONS = [
    "--variant=minbase",
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
]
# The first thing of every boot. Its words come from the kernel's command line; see uml.py.
GUEST = r"""#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Make this guest the host that it is: its files at the first boot, its network and its data disk at each.
set -eu
for word in $(cat /proc/cmdline); do
    case $word in
        lab.address=*) address=${word#*=} ;;
        lab.gateway=*) gateway=${word#*=} ;;
    esac
done
if [ ! -e /var/lib/lab-furnished ]; then
    tar -C / -xf /dev/ubdb
    : > /var/lib/lab-furnished
fi
if [ -b /dev/ubdc ]; then
    mount -o noatime /dev/ubdc /srv/files
fi
ip link set lo up
ip address add "$address" dev vec0
ip link set vec0 up
ip route add default via "$gateway"
"""
GUEST_UNIT = """# SPDX-License-Identifier: GPL-3.0-or-later
[Unit]
Description=Become the host that the lab wants
DefaultDependencies=no
After=local-fs.target
Before=network.target sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-guest

[Install]
WantedBy=sysinit.target
"""
# A guest pays for every system call: nothing runs in it that no test needs. Device nodes are the kernel's own.
CUSTOMIZE = r"""
set -eu
root=$1
grep -qs bookworm-security "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* \
    || { echo "no security suite among the sources of the image" >&2; exit 1; }
cp -a "$MODULES" "$root"/usr/lib/
install -d "$root"/usr/local/lib/lab "$root"/srv/files "$root"/var/log/journal
cp "$FILES"/lab-guest "$root"/usr/local/sbin/lab-guest
cp "$FILES"/lab-guest.service "$root"/etc/systemd/system/lab-guest.service
chmod 755 "$root"/usr/local/sbin/lab-guest
chroot "$root" systemctl enable lab-guest.service
chroot "$root" systemctl disable autofs.service firewalld.service nfs-server.service nftables.service \
    rpcbind.service rpcbind.socket rsync.service ssh.socket nfs-client.target remote-fs.target
chroot "$root" update-rc.d lsyncd disable
chroot "$root" systemctl mask apt-daily.timer apt-daily-upgrade.timer console-getty.service dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer getty.target nfs-blkmap.service systemd-binfmt.service \
    systemd-hwdb-update.service systemd-journal-flush.service systemd-logind.service systemd-modules-load.service \
    systemd-networkd.service systemd-networkd-wait-online.service systemd-pstore.service systemd-random-seed.service \
    systemd-timesyncd.service systemd-udev-settle.service systemd-udev-trigger.service systemd-udevd.service \
    systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-update-utmp.service user@.service
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/machine-id
: > "$root"/etc/machine-id
# As short as the kernel of a server whose administrator did not want to wait: every start of one waits for it.
printf '[nfsd]\ngrace-time=20\nlease-time=20\n' > "$root"/etc/nfs.conf.d/lab.conf
printf 'options lockd nlm_grace_period=20\n' > "$root"/etc/modprobe.d/lab.conf
printf 'MaxStartups 100\nMaxSessions 100\nUseDNS no\n' > "$root"/etc/ssh/sshd_config.d/lab.conf
# Without logind every login would wait for it.
sed -i 's/^\(session.*pam_systemd.so\)/#\1/' "$root"/etc/pam.d/common-session
chroot "$root" groupadd -g 2000 files
chroot "$root" useradd -u 2000 -g files -m -s /bin/sh files
"""


def path():
    """Where the image of this recipe is, or will be."""
    kernels = ",".join(sorted(entry.name for entry in MODULES.iterdir()))
    recipe = "\n".join([SUITE, SIZE, kernels] + PACKAGES + OPTIONS + [GUEST, GUEST_UNIT, CUSTOMIZE])
    return FOLDER / ("%s.ext4" % hashlib.sha256(recipe.encode()).hexdigest()[:16])


def ensure():
    """Build the image unless it is there; returns its path."""
    wanted = path()
    if wanted.exists():
        return wanted
    with machine_lock("uml-image"):
        if not wanted.exists():
            _build(wanted)
    return wanted


def _build(wanted):
    say("building the image of the guests (about two minutes, once)")
    FOLDER.mkdir(parents=True, exist_ok=True)
    # A directory that the package manager's own user can read, on a file system that takes device nodes.
    with tempfile.TemporaryDirectory(prefix="seamless-lab-", dir="/var/tmp") as scratch:
        os.chmod(scratch, 0o755)
        _write(Path(scratch, "lab-guest"), GUEST)
        _write(Path(scratch, "lab-guest.service"), GUEST_UNIT)
        hook = Path(scratch, "customize")
        _write(hook, "#!/bin/sh" + CUSTOMIZE)
        hook.chmod(0o755)
        root = Path(scratch, "root")
        arguments = OPTIONS + ["--include=" + ",".join(PACKAGES), "--customize-hook=%s" % hook]
        env = dict(os.environ, TMPDIR=scratch, FILES=scratch, MODULES=str(MODULES))
        run(["mmdebstrap"] + arguments + [SUITE, str(root)], env=env, timeout=1800)
        fresh = wanted.with_suffix(".%d" % os.getpid())
        run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(root), str(fresh), SIZE], timeout=600)
        fresh.rename(wanted)
        shutil.rmtree(root, ignore_errors=True)
    for other in FOLDER.glob("*.ext4"):
        if other != wanted and not _in_use(other):
            other.unlink()
    if not wanted.exists():
        raise LabError("Failed to build %s" % wanted)


def _write(where, text):
    where.write_text(text, encoding="utf-8")


def _in_use(image):
    """Whether a guest of any lab was made over this image."""
    return any(note.read_text(encoding="utf-8") == str(image) for note in BUILD.glob("*/hosts/*/base"))
