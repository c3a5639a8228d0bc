# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage part of the demo for those who mount the server: two clients with kernels of their own, one by version
4.2 and one by version 3, write to their mounts while the server moves to a new machine and back.

A guest pays for every system call, so that the tree is a tenth of that of the other half.
"""

import secrets
import time

from labkit import uml

from .common import Plays, fresh_state, lab, verdict, write_inputs

LAB = "demo-nfs"
STATE = "state-nfs"
HOSTS = "nfs_old,nfs_new,nfs_client1,nfs_client2"
SHARE = 10
# What a guest with one slow core carries while it also serves.
WRITERS = ("--per-host", "1", "--rate", "5", "--keep", "100")
STEPS = ("preflight", "prepare", "copy", "sync", "verify")


def inputs():
    """The variables of the migration, as a user would have them in the inventory's group_vars."""
    mount = {"path": "/mnt/files", "stop_units": ["lab-nfs-writer-1.service"], "canary_user": "files"}
    return {
        "migration_name": "demo",
        "migration_state_dir": str(fresh_state(STATE)),
        "migration_trees": [
            {"name": "data", "source": "/srv/files", "target": "/srv/files", "require_mountpoint": True}
        ],
        "migration_rsync_secret": secrets.token_urlsafe(24),
        "migration_nfs": {
            "source_server": "nfs-old",
            "target_server": "nfs-new",
            "exports": [{"fsid": 27}],
            "mounts": [mount],
        },
    }


def run(files, pause):
    """Go there and back.

    :param files: how many the other half has
    :param pause: seconds that writers write between the steps
    :return: the numbers, or why there are none as `clients_missing`
    """
    missing = uml.unavailable()
    if missing:
        print("demo: no clients with kernels of their own on this machine: %s" % missing)
        return {"clients": 0, "client_window_s": None, "clients_missing": missing}
    lab("down", "--name", LAB)
    try:
        return _there_and_back(max(100, files // SHARE), pause)
    finally:
        lab("down", "--name", LAB)


def _there_and_back(files, pause):
    lab("up", "--name", LAB, "--hosts", HOSTS)
    lab("seed", "--name", LAB, "--files", str(files))
    lab("mount", "--name", LAB)
    lab("writers", "start", "--name", LAB, *WRITERS)
    plays = Plays(LAB, write_inputs("vars-nfs.json", inputs()), "nfs-")
    for name in STEPS:
        plays.run("storage_" + name)
    plays.run("storage_cutover")
    time.sleep(pause)
    there = verdict(LAB, "nfs_new")
    time.sleep(pause)
    plays.run("storage_rollback")
    time.sleep(pause)
    back = verdict(LAB, "nfs_old")
    plays.run("report")
    return summary(there, back)


def summary(there, back):
    """Numbers of this half from the verdicts after cutover and rollback; the worse of both where they differ."""
    windows = [there["windows"][0], back["windows"][-1]]
    counted = {name: max(there[name], back[name]) for name in ("files", "acknowledged", "lost", "different", "extra")}
    return {
        "clients": len(HOSTS.split(",")) - 2,
        "client_window_s": round(max(window["longest_s"] for window in windows), 3),
        "nfs": counted,
    }
