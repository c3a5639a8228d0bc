# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage part of the demo: move a live file server to a new machine and back while writers write.

One half has its users on an upload service, the other one (nfs.py) has clients that mount the server.
"""

from . import nfs, storage_move
from .common import Plays, lab, papers, table, write_inputs

LAB = "demo"
STATE = "state"
SERVERS = ("files_old", "files_new")
NUMBERS = ("files", "bytes", "acknowledged", "lost", "different", "extra")


def inputs():
    """The variables of the migration."""
    return storage_move.inputs(
        STATE,
        migration_writers=["upload.service"],
        migration_service_name="files.lab",
        migration_batch_jobs=[
            {"kind": "cron", "user": "files", "match": "lab-expire"},
            {"kind": "cron.d", "name": "lab-backup"},
            {"kind": "periodic", "period": "hourly", "name": "lab-prune"},
        ],
    )


def run(size, pause):
    """Go there and back.

    :param size: how many files to seed
    :param pause: seconds that writers write between the steps
    :return: the numbers of the summary
    """
    lab("down", "--name", LAB)
    lab("up", "--name", LAB)
    lab("seed", "--name", LAB, "--files", str(size))
    lab("writers", "start", "--name", LAB)
    plays = Plays(LAB, write_inputs("vars.json", inputs()))
    plays.run("plan")
    there, back = storage_move.there_and_back(plays, LAB, SERVERS, pause)
    lab("writers", "stop", "--name", LAB)
    numbers = summary(there, back, plays.seconds)
    numbers.update(nfs.run(size, pause))
    return numbers


def summary(there, back, seconds):
    """Numbers of this half from the verdicts after cutover and rollback."""
    counted = storage_move.worst(there, back, NUMBERS)
    counted["window_s"], counted["rollback_window_s"] = storage_move.windows(there, back)
    counted["playbook_s"] = {name.rpartition("storage_")[2]: value for name, value in seconds.items()}
    return counted


def clean(numbers):
    """Whether nothing was lost."""
    parts = [numbers] + ([numbers["nfs"]] if numbers.get("nfs") else [])
    return all(part["lost"] == part["different"] == part["extra"] == 0 for part in parts)


def show(numbers):
    """The summary for the eye."""
    return table(
        "Storage migration, there and back under live writes",
        [
            ("files moved", "%d (%.1f MB)" % (numbers["files"], numbers["bytes"] / 1e6)),
            ("operations acknowledged", "%d" % numbers["acknowledged"]),
            ("lost / different / extra", "%(lost)d / %(different)d / %(extra)d" % numbers),
            ("nobody could write, cutover", "%.2f s" % numbers["window_s"]),
            ("nobody could write, rollback", "%.2f s" % numbers["rollback_window_s"]),
            *_clients(numbers),
            *papers(STATE, "demo"),
        ],
    )


def _clients(numbers):
    if not numbers.get("nfs"):
        return [("NFS clients", "none: %s" % numbers.get("clients_missing", "not tried"))]
    return [
        ("NFS clients", "%d, of %d files" % (numbers["clients"], numbers["nfs"]["files"])),
        ("their operations acknowledged", "%d" % numbers["nfs"]["acknowledged"]),
        ("their lost / different / extra", "%(lost)d / %(different)d / %(extra)d" % numbers["nfs"]),
        ("a client could not write, longest", "%.2f s" % numbers["client_window_s"]),
    ]
