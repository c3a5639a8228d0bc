# SPDX-License-Identifier: GPL-3.0-or-later
"""The MySQL part of the demo: move a live database to a new server and back while writers write.

The old server begins without GTIDs, as old servers do; they are turned on while the writers write.
"""

import json
import time

from .common import ROOT, Plays, fresh_state, lab, papers, table, verdict, write_inputs

LAB = "demo-mysql"
NAME = "demo-mysql"
STATE = "state-mysql"
STEPS = ("preflight", "prepare", "seed", "replicate", "verify")
NUMBERS = ("rows", "acknowledged", "unknown", "lost", "duplicated", "different", "extra", "missed")


def inputs():
    """The variables of the migration: those that the lab wrote for its servers."""
    text = (ROOT / "build" / "lab" / LAB / "mysql.yml").read_text(encoding="utf-8")
    found = json.loads(text.split("\n", 1)[1])
    return dict(found, migration_name=NAME, migration_state_dir=str(fresh_state(STATE)))


def run(size, pause):
    """Go there and back.

    :param size: how many rows to seed
    :param pause: seconds that writers write between the steps
    :return: the numbers of the summary
    """
    lab("down", "--name", LAB)
    lab("up", "--name", LAB, "--hosts", "mysql_old,mysql_new", "--gtid-off", "mysql_old")
    lab("mysql-seed", "--name", LAB, "--rows", str(size))
    lab("mysql-writers", "start", "--name", LAB, "--watch")
    plays = Plays(LAB, write_inputs("vars-mysql.json", inputs()))
    plays.run("plan")
    for name in STEPS:
        plays.run("mysql_" + name)
    plays.run("mysql_cutover")
    time.sleep(pause)
    there = verdict(LAB, "mysql_new", "mysql-")
    time.sleep(pause)
    plays.run("mysql_rollback")
    time.sleep(pause)
    back = verdict(LAB, "mysql_old", "mysql-")
    plays.run("report")
    lab("mysql-writers", "stop", "--name", LAB)
    return summary(there, back, plays.seconds)


def summary(there, back, seconds):
    """Numbers of this part from the verdicts after cutover and rollback; the worse of both where they differ."""
    counted = {name: max(there[name], back[name]) for name in NUMBERS}
    counted["two_servers_at_once"] = there["two_servers_at_once"] or back["two_servers_at_once"]
    counted["window_ms"] = there["windows"][0]["window_ms"]
    counted["rollback_window_ms"] = back["windows"][-1]["window_ms"]
    counted["playbook_s"] = {name.rpartition("mysql_")[2]: value for name, value in seconds.items()}
    return counted


def clean(numbers):
    """Whether nothing was lost, and never two servers took writes."""
    harm = sum(numbers[name] for name in ("lost", "duplicated", "different", "extra", "missed"))
    return harm == 0 and not numbers["two_servers_at_once"]


def show(numbers):
    """The summary for the eye."""
    return table(
        "MySQL migration, there and back under live writes",
        [
            ("rows", "%d" % numbers["rows"]),
            ("commits acknowledged", "%d" % numbers["acknowledged"]),
            ("lost / duplicated / different", "%(lost)d / %(duplicated)d / %(different)d" % numbers),
            ("two servers took writes at once", "yes" if numbers["two_servers_at_once"] else "never"),
            ("nobody could write, cutover", "%.0f ms" % numbers["window_ms"]),
            ("nobody could write, rollback", "%.0f ms" % numbers["rollback_window_ms"]),
            *papers(STATE, NAME),
        ],
    )
