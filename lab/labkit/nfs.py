# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree of nfs_old over NFS: what an administrator had made there and on the clients, before any move."""

from concurrent.futures import ThreadPoolExecutor

from . import ssh
from .run import LabError

TOP = "/mnt/files"
EXPORT = "/srv/files"
VERSIONS = ("4.2", "3")  # of the first client, of the second, and so on in turn
WRITER = "lab-nfs-writer-%s.service"
EXPORTS = """\
# kept by hand
%s %s(rw,sync,no_subtree_check)  # web farm
"""
FSTAB = """\
# kept by hand
%s:%s\t%s  nfs\tvers=%s,hard,noauto  0 0   # web files
"""
UNIT = """\
# SPDX-License-Identifier: GPL-3.0-or-later
[Unit]
Description=Writes to the mounted files

[Service]
User=files
ExecStart=/usr/bin/python3 %(tools)snfs_writer.py --top %(top)s --log %(logs)s --prefix writers/%(name)s \
--rate %(rate)g --keep %(keep)d --seed %(seed)s
TimeoutStopSec=20
"""
HOLDER = """\
# SPDX-License-Identifier: GPL-3.0-or-later
[Unit]
Description=Holds files, locks and a working directory on the mount

[Service]
User=files
ExecStart=/usr/bin/python3 %snfs_holder.py %s/held/%s
"""
UNITS = "/etc/systemd/system/"


def clients(lab):
    return lab.of_kind("nfs_client")


def server(lab):
    """:raises LabError: when the lab has no server to mount from."""
    found = lab.of_kind("nfs_old")
    if not found:
        raise LabError("Lab %s has no host nfs_old to mount from" % lab.name)
    return found[0]


def _write(path, text):
    return "cat > %s <<'END_OF_FILE'\n%sEND_OF_FILE\n" % (path, text)


def mount(lab, tools):
    """Export the tree on the old server, mount it on every client, and give these a service that keeps it busy.

    :param tools: folder of the lab's programs on the hosts, with a slash at its end
    """
    old = server(lab)
    lines = _write("/etc/exports", EXPORTS % (EXPORT, lab.subnet))
    # Its kernel refuses locks for 90 s after the start, unless no client can have any from before.
    lines += "systemctl enable --now nfs-server\n"
    lines += "echo Y > /proc/fs/nfsd/v4_end_grace; echo Y > /proc/fs/lockd/nlm_end_grace\n"
    lines += "install -d -o files -g files %s/held && exportfs -r" % EXPORT
    ssh.on(lab, old, lines, timeout=300)

    def one(number, client):
        version = VERSIONS[number % len(VERSIONS)]
        text = _write("/etc/fstab", FSTAB % (old.replace("_", "-"), EXPORT, TOP, version))
        text += _write(UNITS + "lab-holder.service", HOLDER % (tools, TOP, client))
        text += "systemctl daemon-reload && mkdir -p %s && { mountpoint -q %s || mount %s; }" % (TOP, TOP, TOP)
        ssh.on(lab, client, text, timeout=300)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(len(clients(lab))), clients(lab)))


def start_writers(lab, per_host, *, tools, logs, rate, keep, seed):
    """Start the services that write to the mount; returns their names.

    They are units that a switch of the mount can stop and start again: each start has a log of its own.
    """
    names = []
    for client in clients(lab):
        lines = ["install -d -o files -g files %s" % logs]
        units = []
        for number in range(1, per_host + 1):
            name = "%s-%d" % (client, number)
            unit = UNIT % {
                "tools": tools, "top": TOP, "logs": logs, "name": name, "rate": rate, "keep": keep,
                "seed": "%s-%s" % (seed, name),
            }  # fmt: skip
            units.append(WRITER % number)
            lines.append(_write(UNITS + units[-1], unit).rstrip("\n"))
            names.append(name)
        lines.append("systemctl daemon-reload && systemctl start " + " ".join(units))
        ssh.on(lab, client, "\n".join(lines), timeout=120)
    return names
