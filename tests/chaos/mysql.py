#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chaos for the MySQL switchover: random faults, again and again, on real servers under live writes.

    make chaos-mysql [SEED=text] [RUNS=number]
    build/venv/bin/python tests/chaos/mysql.py [--seed TEXT] [--runs N] [--first N]

Each run is made from the seed and its number alone; --first N --runs 1 plays one of them again. A watcher tries to
write on both servers every few milliseconds, and the writers' logs are judged after each run. Exit code 0 without a
violation, 3 with one. Records: build/chaos/mysql.jsonl.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(TESTS / "bench"), str(TESTS.parent / "lab")]

import mysql_kit  # noqa: E402 - after the path is set
import mysql_story  # noqa: E402 - after the path is set
from labkit import mysql_data  # noqa: E402 - after the path is set
from labkit.run import LabError  # noqa: E402 - after the path is set

LAB = "chaos-mysql"
ROWS = 2000


def show(record):
    """One run for the eye."""
    print("%3d  %5.1f s  %s" % (record["run"], record.get("seconds", 0), "; ".join(record["faults"])))
    if not all(record.get("struck", [])):
        print("       not struck: its moment did not come")
    print("       %s -> writes on %s" % (" | ".join(record.get("said", [])), record.get("writes_on", "nobody")))
    for problem in record.get("problems", []):
        print("       problem of the chaos itself: %s" % problem)
    for violation in record["violations"]:
        print("       VIOLATION %s" % violation)
    sys.stdout.flush()


def prepare():
    """Two servers, the application's tables, writers and watcher."""
    lab = mysql_kit.start_lab(LAB)
    mysql_data.seed(lab, mysql_kit.OLD, ROWS)
    pair = mysql_kit.Pair(lab)
    pair.account()
    pair.ready()
    mysql_data.start_writers(lab, 4, rate=20, keep=150)
    mysql_data.start_watcher(lab)
    return lab


def both_alike(lab):
    """Violations that the server shows in the end which does not take the writes."""
    pair = mysql_story.arrange(lab)
    pair.ready()
    mysql_data.signal_writers(lab, "stop")
    pair.caught_up()
    judged = mysql_data.verdict(lab, pair.target.name)
    return [] if judged["ok"] else ["on %s: %s" % (pair.target.name, mysql_data.report(judged, shown=3))]


def play(lab, arguments, stream):
    """The runs; returns the number of violations. Ends at the first broken ground: nothing can be told after it."""
    found = 0
    for number in range(arguments.first, arguments.first + arguments.runs):
        story = mysql_story.Story(lab, arguments.seed, number)
        try:
            story.tell()
        except (mysql_kit.BenchError, LabError) as error:
            story.violations.append("The ground is broken: %s" % error)
        stream.write(json.dumps(story.record) + "\n")
        stream.flush()
        show(story.record)
        found += len(story.violations)
        if story.violations:
            return found
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", default="1")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--first", type=int, default=1, help="number of the first run")
    parser.add_argument("--keep", action="store_true", help="leave the hosts running")
    arguments = parser.parse_args()
    # The hosts are taken down although somebody ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    mysql_story.FOLDER.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        lab = prepare()
        with open(mysql_story.FOLDER / "mysql.jsonl", "w", encoding="utf-8") as stream:
            violations = play(lab, arguments, stream)
        if not violations:
            last = both_alike(lab)
            violations = len(last)
            for violation in last:
                print("VIOLATION %s" % violation)
    finally:
        if not arguments.keep:
            mysql_kit.stop_lab(LAB)
    minutes = (time.monotonic() - began) / 60
    numbers = (arguments.seed, arguments.runs, minutes, violations)
    print("chaos: seed %s, %d runs, %.1f minutes, %d violations" % numbers)
    return 3 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
