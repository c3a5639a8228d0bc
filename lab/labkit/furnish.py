# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host gets beside the packages: keys, names, the upload service, jobs. As a tar that is unpacked into it."""

import io
import tarfile

from . import mysql
from .paths import GUEST
from .state import is_mysql, kind

UPLOAD_UNIT = """\
# SPDX-License-Identifier: GPL-3.0-or-later
[Unit]
Description=Upload service of the lab on /srv/files
After=network.target

[Service]
User=files
Group=files
ExecStart=/usr/bin/python3 /usr/local/lib/lab/upload_service.py --tree /srv/files --port 8080
Restart=on-failure
TimeoutStopSec=10

[Install]
WantedBy=multi-user.target
"""
# What files_new has behind its firewall: SSH and the upload service. Not rsync.
ZONE = """\
<?xml version="1.0" encoding="utf-8"?>
<zone>
  <short>Public</short>
  <description>Only selected incoming connections are accepted.</description>
  <service name="ssh"/>
  <port port="8080" protocol="tcp"/>
  <forward/>
</zone>
"""
# The jobs of an old file server: they delete and back up files, each by another of the usual ways, and say so in a log.
JOB = """\
#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# %(what)s
set -eu
tree=/srv/files
[ -d "$tree/scratch" ] || exit 0
%(work)s
echo "$(date +%%FT%%T) %(name)s" >> /var/log/lab-jobs.log
"""
JOBS = {
    "/usr/local/bin/lab-expire": ("Deletes old scratch files", 'find "$tree/scratch" -type f -mmin +30 -delete'),
    "/usr/local/sbin/lab-backup": (
        "Backs up the scratch files",
        'mkdir -p /var/backups/files && cp -a "$tree/scratch/." /var/backups/files/',
    ),
    "/etc/cron.hourly/lab-prune": (
        "Removes empty scratch folders",
        'find "$tree/scratch" -mindepth 1 -type d -empty -delete',
    ),
    "/usr/local/sbin/lab-rotate": (
        "Drops old backups",
        "mkdir -p /var/backups/files && find /var/backups/files -type f -mtime +7 -delete",
    ),
}
USER_CRONTAB = "# jobs of the file service\nMAILTO=\"\"\n* * * * * /usr/local/bin/lab-expire\n"
CRON_D = "# nightly, and often here\nMAILTO=\"\"\n*/2 * * * * root /usr/local/sbin/lab-backup\n"
ROTATE_SERVICE = (
    "[Unit]\nDescription=Drop old backups\n\n[Service]\nType=oneshot\nExecStart=/usr/local/sbin/lab-rotate\n"
)
ROTATE_TIMER = (
    "[Unit]\nDescription=Drop old backups every minute\n\n[Timer]\nOnCalendar=*:*:30\nAccuracySec=1s\n\n"
    "[Install]\nWantedBy=timers.target\n"
)
UNITS = "/etc/systemd/system/"


class Bundle:
    """A tar in memory, filled file by file."""

    def __init__(self):
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w")  # noqa: SIM115 - open as long as its owner

    def _entry(self, path, mode, owner):
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.mode, (entry.uid, entry.gid) = mode, owner
        return entry

    def file(self, path, content, mode=0o644, owner=(0, 0)):
        data = content if isinstance(content, bytes) else content.encode()
        entry = self._entry(path, mode, owner)
        entry.size = len(data)
        self._tar.addfile(entry, io.BytesIO(data))

    def folder(self, path, mode=0o755, owner=(0, 0)):
        entry = self._entry(path, mode, owner)
        entry.type = tarfile.DIRTYPE
        self._tar.addfile(entry)

    def link(self, path, target):
        entry = self._entry(path, 0o777, (0, 0))
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)

    def bytes(self):
        self._tar.close()
        return self._buffer.getvalue()


def hosts_file(lab, host):
    """/etc/hosts of a host. Application hosts find the service by files.lab."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", ""]
    lines += ["%s %s %s" % (address, other, other.replace("_", "-")) for other, address in lab.hosts.items()]
    old = lab.of_kind("old")
    if kind(host) == "app" and old:
        lines += ["", "# the file service", "%s files.lab" % lab.hosts[old[0]]]
    return "\n".join(lines) + "\n"


def bundle(lab, host, gtid=True):
    """Everything that makes a fresh container this host, as the bytes of a tar.

    :param gtid: whether a MySQL server is configured with GTIDs
    """
    tar = Bundle()
    keys = lab.folder / "hosts" / host
    tar.folder("/root", 0o700)
    tar.folder("/root/.ssh", 0o700)
    tar.file("/root/.ssh/authorized_keys", lab.key.with_suffix(".pub").read_bytes(), 0o600)
    tar.file("/etc/ssh/ssh_host_ed25519_key", (keys / "ssh_host_ed25519_key").read_bytes(), 0o600)
    tar.file("/etc/ssh/ssh_host_ed25519_key.pub", (keys / "ssh_host_ed25519_key.pub").read_bytes())
    tar.file("/etc/hosts", hosts_file(lab, host))
    for program in sorted(GUEST.glob("*.py")):
        tar.file("/usr/local/lib/lab/" + program.name, program.read_bytes(), 0o755)
    role = kind(host)
    if is_mysql(host):
        mysql.add_files(tar, lab, host, gtid)
    if role in ("old", "new"):
        tar.file(UNITS + "upload.service", UPLOAD_UNIT)
    if role == "old":
        tar.link(UNITS + "multi-user.target.wants/upload.service", UNITS + "upload.service")
        _add_jobs(tar)
    if role == "new":
        _add_firewall(tar)
    return tar.bytes()


def _add_jobs(tar):
    for path, (what, work) in JOBS.items():
        tar.file(path, JOB % {"what": what, "work": work, "name": path.rsplit("/", 1)[1]}, 0o755)
    tar.file("/var/log/lab-jobs.log", "", 0o666)
    # Owned by the group crontab (102 or so); cron asks for the owner and the mode only.
    tar.file("/var/spool/cron/crontabs/files", USER_CRONTAB, 0o600, (2000, 2000))
    tar.file("/etc/cron.d/lab-backup", CRON_D)
    tar.file(UNITS + "lab-rotate.service", ROTATE_SERVICE)
    tar.file(UNITS + "lab-rotate.timer", ROTATE_TIMER)
    tar.link(UNITS + "timers.target.wants/lab-rotate.timer", UNITS + "lab-rotate.timer")


def _add_firewall(tar):
    unit = "/lib/systemd/system/firewalld.service"
    tar.file("/etc/firewalld/zones/public.xml", ZONE)
    tar.link(UNITS + "multi-user.target.wants/firewalld.service", unit)
    tar.link(UNITS + "dbus-org.fedoraproject.FirewallD1.service", unit)
