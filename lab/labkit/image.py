# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of the hosts, built from Debian packages and cached by the hash of their recipe.

One recipe for the storage hosts (Debian 12), one for the MySQL hosts (Debian sid, which alone has MySQL).
"""

import hashlib
import os
import tempfile
from pathlib import Path

from .machine import machine_lock, say
from .paths import LABEL
from .podman import podman, podman_json
from .run import LabError, run

# These would act on the machine's kernel, or only cost time.
MASKED = (
    "systemd-sysctl.service systemd-pstore.service systemd-udevd.service systemd-remount-fs.service "
    "console-getty.service getty.target apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer "
    "e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-networkd.service"
)
# What every image of the lab is given, after its packages.
COMMON = (
    r"""
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/machine-id
: > "$root"/etc/machine-id
printf 'MaxStartups 100\nMaxSessions 100\n' > "$root"/etc/ssh/sshd_config.d/lab.conf
mkdir -p "$root"/var/log/journal "$root"/usr/local/lib/lab
chroot "$root" systemctl mask """
    + MASKED
    + "\n"
)
# Arguments of mmdebstrap beside the packages. No mirror: mmdebstrap takes Debian's own, security suite included.
OPTIONS = (
    "--variant=minbase",
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
)


class Recipe:
    """What an image is made of.

    :param name: the part of the image's name that tells it from the others
    :param suite: Debian suite
    :param packages: names of packages
    :param customize: lines of shell, run with the tree's path in $root after the packages are in
    :param options: arguments of mmdebstrap beside those of all images
    """

    def __init__(self, name, suite, packages, customize, options=()):
        self.repository = "localhost/seamless-%s" % name
        self.suite = suite
        self.packages = packages
        self.script = "#!/bin/sh\nset -eu\nroot=$1\n" + customize + COMMON
        self.options = OPTIONS + tuple(options)

    def tag(self):
        """Name of the image that belongs to this recipe."""
        text = "\n".join([self.suite, *self.packages, *self.options, self.script])
        return "%s:%s" % (self.repository, hashlib.sha256(text.encode()).hexdigest()[:16])


STORAGE = Recipe(
    "lab",
    "bookworm",
    [
        "acl", "attr", "cron", "dbus", "e2fsprogs", "firewalld", "fpart", "iproute2", "iputils-ping", "kmod", "less",
        "libcap2-bin", "lsyncd", "lua5.3", "netbase", "nftables", "openssh-server", "procps", "psmisc", "python3",
        "python3-apt", "rsync", "sudo", "systemd", "systemd-sysv", "util-linux", "xinetd",
    ],
    # In a new host none of the migration's tools runs yet, and nothing else makes load.
    r"""
grep -qs bookworm-security "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* \
    || { echo "no security suite among the sources of the image" >&2; exit 1; }
chroot "$root" systemctl disable firewalld.service rsync.service xinetd.service ssh.socket nftables.service
chroot "$root" update-rc.d lsyncd disable
chroot "$root" update-rc.d xinetd disable
rm -f "$root"/etc/rsyncd.conf
# Where the login uid cannot be set in a container, cron and sshd must not refuse to work for it.
sed -i 's/^\(session.*required.*pam_loginuid.so\)/#\1/' "$root"/etc/pam.d/cron "$root"/etc/pam.d/sshd
chroot "$root" groupadd -g 2000 files
chroot "$root" useradd -u 2000 -g files -m -s /bin/sh files
mkdir -p "$root"/srv/files
""",
)  # fmt: skip
MYSQL = Recipe(
    "mysql-lab",
    "sid",
    [
        "dbus", "iproute2", "less", "mysql-client", "mysql-server", "netbase", "nftables", "openssh-server", "procps",
        "psmisc", "python3", "python3-cryptography", "python3-pymysql", "sudo", "systemd", "systemd-sysv", "util-linux",
    ],
    # The data directory comes initialised; what would make all hosts one server goes: identity, keys, binary logs.
    r"""
chroot "$root" systemctl disable ssh.socket nftables.service
chroot "$root" systemctl enable ssh.service mysql.service
sed -i 's/^\(session.*required.*pam_loginuid.so\)/#\1/' "$root"/etc/pam.d/sshd
rm -f "$root"/var/lib/mysql/auto.cnf "$root"/var/lib/mysql/*.pem "$root"/var/lib/mysql/binlog.*
install -m 755 /dev/stdin "$root"/sbin/lab-init <<'END'
#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Where the machine has no pure cgroup v2, systemd gets a part of the unified hierarchy that is this host's alone.
set -eu
if [ -n "${LAB_CGROUP:-}" ]; then
    mkdir -p "/sys/fs/cgroup/$LAB_CGROUP"
    echo 0 > "/sys/fs/cgroup/$LAB_CGROUP/cgroup.procs"
    unset LAB_CGROUP
    exec unshare --cgroup sh -c 'umount /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec /sbin/init'
fi
exec /sbin/init
END
""",
    # The suite's Release file may be past its date on a mirror that stands still.
    ['--aptopt=Acquire::Check-Valid-Until "false"'],
)  # fmt: skip
RECIPES = (STORAGE, MYSQL)


def _remove_other_tags(recipe, keep):
    for image in podman_json("images", "--format", "json", "--filter", "label=%s" % LABEL):
        for name in image.get("Names") or []:
            if name != keep and name.startswith(recipe.repository + ":"):
                # Containers that still use an old image keep it; it goes with a later build.
                podman("rmi", name, check=False)


def ensure(recipe=STORAGE):
    """Build an image unless it is there; returns its name."""
    wanted = recipe.tag()
    if podman("image", "exists", wanted, check=False).returncode == 0:
        return wanted
    with machine_lock(recipe.repository.rsplit("/", 1)[1]):
        if podman("image", "exists", wanted, check=False).returncode == 0:
            return wanted
        _build(recipe, wanted)
        _remove_other_tags(recipe, wanted)
    return wanted


def _build(recipe, wanted):
    say("building the image %s (about a minute, once)" % recipe.repository.rsplit("/", 1)[1])
    # A directory that the package manager's own user can read, on a file system that takes device nodes.
    with tempfile.TemporaryDirectory(prefix="seamless-lab-", dir="/var/tmp") as scratch:
        os.chmod(scratch, 0o755)
        hook = Path(scratch, "customize")
        hook.write_text(recipe.script, encoding="utf-8")
        hook.chmod(0o755)
        archive = str(Path(scratch, "root.tar"))
        arguments = [*recipe.options, "--include=" + ",".join(recipe.packages), "--customize-hook=%s" % hook]
        run(["mmdebstrap"] + arguments + [recipe.suite, archive], env=dict(os.environ, TMPDIR=scratch), timeout=1800)
        podman("import", "--change", "LABEL %s=image" % LABEL, archive, wanted, timeout=600)
    if podman("image", "exists", wanted, check=False).returncode != 0:
        raise LabError("Failed to build %s: podman does not list it" % wanted)


def remove_all():
    """Remove every image that the lab ever built and nobody uses."""
    for image in podman_json("images", "--format", "json", "--filter", "label=%s" % LABEL):
        # Not forced: a lab of another checkout may use it.
        for name in image.get("Names") or [image["Id"]]:
            podman("rmi", name, check=False)
