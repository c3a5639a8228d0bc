# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage part of the demo for those who mount the server: two clients with kernels of their own, one by version
4.2 and one by version 3, write to their mounts while the server moves to a new machine and back.

A guest pays for every system call, so that the tree is a tenth of that of the other half.
"""

from labkit import uml

from . import storage_move
from .common import Plays, lab, write_inputs

LAB = "demo-nfs"
STATE = "state-nfs"
SERVERS = ("nfs_old", "nfs_new")
CLIENTS = ("nfs_client1", "nfs_client2")
SHARE = 10
# What a guest with one slow core carries while it also serves.
WRITERS = ("--per-host", "1", "--rate", "5", "--keep", "100")
NUMBERS = ("files", "acknowledged", "lost", "different", "extra")


def inputs():
    """The variables of the migration."""
    mount = {"path": "/mnt/files", "stop_units": ["lab-nfs-writer-1.service"], "canary_user": "files"}
    nfs = {"source_server": "nfs-old", "target_server": "nfs-new", "exports": [{"fsid": 27}], "mounts": [mount]}
    return storage_move.inputs(STATE, {"require_mountpoint": True}, migration_nfs=nfs)


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
    lab("up", "--name", LAB, "--hosts", ",".join(SERVERS + CLIENTS))
    lab("seed", "--name", LAB, "--files", str(files))
    lab("mount", "--name", LAB)
    lab("writers", "start", "--name", LAB, *WRITERS)
    plays = Plays(LAB, write_inputs("vars-nfs.json", inputs()), "nfs-")
    there, back = storage_move.there_and_back(plays, LAB, SERVERS, pause)
    return summary(there, back)


def summary(there, back):
    """Numbers of this half from the verdicts after cutover and rollback."""
    return {
        "clients": len(CLIENTS),
        "client_window_s": max(storage_move.windows(there, back)),
        "nfs": storage_move.worst(there, back, NUMBERS),
    }
