#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: move a live storage server of the lab to a new one and back while writers write, then say what was lost.

Writes build/demo/summary.json, and the output of each playbook beside it. Exit code 0 only when nothing was lost.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "demo"
LAB = "demo"
STEPS = ("preflight", "prepare", "copy", "sync", "verify")
NUMBERS = ("files", "bytes", "acknowledged", "lost", "different", "extra")


class DemoError(Exception):
    """A step of the demo failed."""


def lab(*words):
    """Run one command of the lab."""
    subprocess.run([sys.executable, str(ROOT / "lab" / "lab"), *words], check=True, cwd=ROOT)


def inputs():
    """The variables of the migration, as a user would have them in the inventory's group_vars."""
    return {
        "migration_name": "demo",
        "migration_state_dir": str(FOLDER / "state"),
        "migration_trees": [{"name": "data", "source": "/srv/files", "target": "/srv/files"}],
        "migration_rsync_secret": secrets.token_urlsafe(24),
        "migration_writers": ["upload.service"],
        "migration_service_name": "files.lab",
        "migration_batch_jobs": [
            {"kind": "cron", "user": "files", "match": "lab-expire"},
            {"kind": "cron.d", "name": "lab-backup"},
            {"kind": "periodic", "period": "hourly", "name": "lab-prune"},
        ],
    }


def write_inputs():
    """Write the variables to a file that only root reads. Returns its path."""
    path = FOLDER / "vars.json"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(inputs(), stream, indent=1)
    return path


def play(name, variables):
    """Run one of our playbooks, with its output in a file.

    Returns seconds. Raises DemoError with the end of the output.
    """
    log = FOLDER / ("%s.log" % name)
    started = time.monotonic()
    print("demo: ansible-playbook seamless.migration.%s ..." % name, end=" ", flush=True)
    with open(log, "wb") as stream:
        argv = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i", str(ROOT / "build" / "lab" / LAB / "inventory.yml"), "-e", "@%s" % variables,
            "seamless.migration.%s" % name,
        ]  # fmt: skip
        environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
        done = subprocess.run(argv, check=False, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)
    seconds = time.monotonic() - started
    print("failed" if done.returncode else "%.0f s" % seconds)
    if done.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
        raise DemoError("%s failed, see %s\n%s" % (name, log, "\n".join(tail)))
    return seconds


def verdict(host):
    """Let the writers rest, compare the host's tree with what they were told is done, let them go on."""
    path = FOLDER / ("verdict-%s.json" % host)
    lab("writers", "pause", "--name", LAB)
    try:
        subprocess.run(
            [sys.executable, str(ROOT / "lab" / "lab"), "verdict", "--name", LAB, "--host", host, "--json", str(path)],
            check=False, cwd=ROOT,
        )  # fmt: skip
    finally:
        lab("writers", "resume", "--name", LAB)
    return json.loads(path.read_text(encoding="ascii"))


def storage(files, pause):
    """The storage part. files: how many to seed; pause: seconds that writers write between the steps.

    Returns the numbers of the summary.
    """
    lab("down", "--name", LAB)
    lab("up", "--name", LAB)
    lab("seed", "--name", LAB, "--files", str(files))
    lab("writers", "start", "--name", LAB)
    variables = write_inputs()
    seconds = {name: play("storage_" + name, variables) for name in STEPS}
    seconds["cutover"] = play("storage_cutover", variables)
    time.sleep(pause)
    there = verdict("files_new")
    time.sleep(pause)
    seconds["rollback"] = play("storage_rollback", variables)
    time.sleep(pause)
    back = verdict("files_old")
    lab("writers", "stop", "--name", LAB)
    return summary(there, back, seconds)


def summary(there, back, seconds):
    """Numbers of the storage part from the verdicts after cutover and rollback; the worse of both where they differ."""
    counted = {name: max(there[name], back[name]) for name in NUMBERS}
    counted["window_s"] = round(there["windows"][0]["longest_s"], 3)
    counted["rollback_window_s"] = round(back["windows"][-1]["longest_s"], 3)
    counted["playbook_s"] = {name: round(value, 1) for name, value in seconds.items()}
    return counted


def table(numbers):
    """The summary for the eye."""
    lines = [
        ("files moved", "%d (%.1f MB)" % (numbers["files"], numbers["bytes"] / 1e6)),
        ("operations acknowledged", "%d" % numbers["acknowledged"]),
        ("lost / different / extra", "%(lost)d / %(different)d / %(extra)d" % numbers),
        ("nobody could write, cutover", "%.2f s" % numbers["window_s"]),
        ("nobody could write, rollback", "%.2f s" % numbers["rollback_window_s"]),
        ("journal", str(FOLDER / "state" / "demo.jsonl")),
    ]
    width = max(len(name) for name, _ in lines)
    shown = ["  %-*s  %s" % (width, *line) for line in lines]
    return "\n".join(["", "Storage migration, there and back under live writes", *shown])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between the steps")
    parser.add_argument("--keep", action="store_true", help="leave the hosts running")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        numbers = storage(arguments.files, arguments.pause)
    except (DemoError, subprocess.CalledProcessError) as error:
        print("demo: %s" % error, file=sys.stderr)
        return 1
    finally:
        if not arguments.keep:
            lab("down", "--name", LAB)
    (FOLDER / "summary.json").write_text(json.dumps({"storage": numbers}, indent=1) + "\n", encoding="ascii")
    print(table(numbers))
    print("  %s" % (FOLDER / "summary.json"))
    return 0 if numbers["lost"] == numbers["different"] == numbers["extra"] == 0 else 3


if __name__ == "__main__":
    sys.exit(main())
