# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to the hosts: SSH with the lab's key and the hosts' own keys known."""

import os
import socket
import time

from .run import LabError, run


def make_key(path, comment):
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def options(lab):
    """Options of ssh as an argument vector; host key checking stays on."""
    return [
        "-o", "UserKnownHostsFile=%s" % lab.known_hosts,
        "-o", "GlobalKnownHostsFile=/dev/null",
        "-o", "StrictHostKeyChecking=yes",
        "-o", "IdentitiesOnly=yes",
        "-o", "ControlMaster=auto",
        "-o", "ControlPersist=60",
        "-o", "ControlPath=%s/ssh-%%h" % lab.runtime,
        "-o", "ConnectTimeout=10",
        "-o", "ServerAliveInterval=10",
        "-o", "ServerAliveCountMax=6",
    ]  # fmt: skip


def command(lab, host, *argv):
    """Argument vector that runs argv (one string for the host's shell) on a host."""
    return ["ssh", "-F", "none", "-i", str(lab.key)] + options(lab) + ["root@" + lab.address(host)] + list(argv)


def on(lab, host, line, **keywords):
    """Run a line of shell on a host; see run()."""
    return run(command(lab, host, line), **keywords)


def write_known_hosts(lab):
    lines = []
    for host, address in lab.hosts.items():
        public = (lab.folder / "hosts" / host / "ssh_host_ed25519_key.pub").read_text(encoding="ascii").split()
        lines.append("%s,%s %s %s\n" % (address, host, public[0], public[1]))
    lab.known_hosts.write_text("".join(lines), encoding="ascii")


def forget(lab, host):
    """End the shared connection to a host, if there is one."""
    path = lab.runtime / ("ssh-%s" % lab.hosts.get(host, "none"))
    if path.exists():
        run(["ssh", "-F", "none", "-O", "exit", "-o", "ControlPath=%s" % path, "none"], check=False, timeout=10)
        path.unlink(missing_ok=True)


def wait_for(lab, host, timeout=180):
    """Wait until a host's SSH server greets.

    :raises LabError: when it does not within timeout seconds.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            with socket.create_connection((lab.address(host), 22), timeout=1) as link:
                if link.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise LabError("%s: no SSH after %d s. See: podman logs %s" % (host, timeout, lab.container(host)))


def replace(argv):
    os.execvp(argv[0], argv)
