# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman with the lab's own configuration, never the user's."""

import json
import os

from .machine import cgroup_is_pure_v2
from .paths import BUILD
from .run import run


def configuration():
    """Text of containers.conf for this machine.

    crun refuses hybrid and v1 cgroups, so runc where the machine has them. The limits are what a
    process without CAP_SYS_RESOURCE can give away.
    """
    lines = ["[engine]"]
    if not cgroup_is_pure_v2():
        lines.append('runtime = "runc"')
    lines += [
        "[containers]",
        'default_ulimits = ["nofile=20000:20000", "nproc=32000:32000"]',
        'log_driver = "k8s-file"',
        "[network]",
        'network_backend = "netavark"',
    ]
    return "\n".join(lines) + "\n"


def environment():
    """Environment for podman; writes the configuration when it is not there."""
    path = BUILD / "containers.conf"
    wanted = configuration()
    if not path.exists() or path.read_text(encoding="ascii") != wanted:
        BUILD.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".%d" % os.getpid())
        fresh.write_text(wanted, encoding="ascii")
        fresh.replace(path)
    return dict(os.environ, CONTAINERS_CONF=str(path))


def podman(*arguments, **options):
    """Run podman; see run() for the options and what comes back."""
    return run(["podman"] + list(arguments), env=environment(), **options)


def podman_json(*arguments):
    return json.loads(podman(*arguments).stdout or "[]")
