#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bench of the MySQL side: the window, the comparison and the seed, against what people use, in one run on one machine.

    make bench-mysql
    build/venv/bin/python tests/bench/mysql.py [--only gap,compare,seed] [--rounds N] [--megabytes N] ...

Two servers of the lab; candidates take turns; medians. Results: build/bench/mysql.json and mysql.md. See
docs/bench-mysql.md.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[2] / "lab")]

import mysql_gap  # noqa: E402 - after the path is set
import mysql_kit  # noqa: E402 - after the path is set
import mysql_volume  # noqa: E402 - after the path is set

PARTS = ("gap", "compare", "seed")
OUT = mysql_kit.FOLDER.parent


def gap_table(found):
    """Lines of Markdown on the windows, one for each load, contender and direction; all directions together first."""
    lines = ["| writers | switched by | way | runs | median ms | worst ms |", "|---|---|---|---|---|---|"]
    for load, contender in sorted({(entry["load"], entry["contender"]) for entry in found}):
        mine = [entry for entry in found if (entry["load"], entry["contender"]) == (load, contender)]
        ways = {"both": mine, "there": [entry for entry in mine if entry["to"] == mysql_kit.NEW]}
        ways["back"] = [entry for entry in mine if entry["to"] == mysql_kit.OLD]
        for way, entries in ways.items():
            gaps = [entry["gap_ms"] for entry in entries]
            if gaps:
                numbers = (load, contender, way, len(gaps), statistics.median(gaps), max(gaps))
                lines.append("| %s | %s | %s | %d | %.0f | %.0f |" % numbers)
    return lines



def compare_table(found):
    """Lines of Markdown on the comparison; the rate is that of the tables' bytes."""
    lines = ["| what | median s | MB/s | of CHECKSUM TABLE on both |", "|---|---|---|---|"]
    yardstick = statistics.median(found["checksum_both_s"])
    for name, key in (
        ("mysql_compare", "ours_s"),
        ("CHECKSUM TABLE on both servers", "checksum_both_s"),
        ("CHECKSUM TABLE on the source alone", "checksum_one_s"),
    ):
        seconds = statistics.median(found[key])
        lines.append("| %s | %.1f | %.0f | %.2f |" % (name, seconds, found["megabytes"] / seconds, yardstick / seconds))
    return [*lines, "", "Longest lag of the target while mysql_compare ran: %d ms." % found["lag_ms_max"]]


def seed_table(found):
    lines = ["| method | seconds | MB/s |", "|---|---|---|"]
    for method, entry in found["methods"].items():
        lines.append("| %s | %.1f | %.0f |" % (method, entry["seconds"], found["megabytes"] / entry["seconds"]))
    return lines


def report(results):
    """The results as Markdown."""
    lines = ["# MySQL, measured %s" % results["at"], ""]
    if "gap" in results:
        lines += ["## Nobody can write", "", *gap_table(results["gap"]), ""]
    for part, title, table in (
        ("compare", "Comparing %d MB", compare_table), ("seed", "Filling the target with %d MB", seed_table),
    ):  # fmt: skip
        if part in results:
            lines += ["## " + title % results[part]["megabytes"], "", *table(results[part]), ""]
    return "\n".join(lines)


def run(part, arguments):
    """One part on fresh servers."""
    lab = mysql_kit.start_lab()
    try:
        if part == "gap":
            return mysql_gap.measure(lab, arguments.rounds, arguments.contenders.split(","), arguments.loads.split(","))
        if part == "compare":
            return mysql_volume.compare(lab, arguments.compare_megabytes, arguments.compare_rounds)
        return {"megabytes": arguments.megabytes, "methods": mysql_volume.seed(lab, arguments.megabytes)}
    finally:
        if not arguments.keep:
            mysql_kit.stop_lab()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts by comma (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="switchovers of each kind (default: %(default)s)")
    parser.add_argument("--contenders", default=",".join(mysql_gap.CONTENDERS), help="default: %(default)s")
    parser.add_argument("--loads", default=",".join(mysql_gap.LOADS), help="default: %(default)s")
    parser.add_argument("--compare-megabytes", type=int, default=500)
    parser.add_argument("--compare-rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=2000, help="what is seeded (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the hosts of the last part running")
    arguments = parser.parse_args()
    # The hosts are taken down although somebody ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    OUT.mkdir(parents=True, exist_ok=True)
    results = {"at": time.strftime("%Y-%m-%d %H:%M")}
    for part in PARTS:
        if part in arguments.only.split(","):
            print("bench: %s" % part, flush=True)
            results[part] = run(part, arguments)
            (OUT / "mysql.json").write_text(json.dumps(results, indent=1) + "\n", encoding="ascii")
            (OUT / "mysql.md").write_text(report(results), encoding="ascii")
    print("\n" + report(results))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except mysql_kit.BenchError as error:
        print("bench: %s" % error, file=sys.stderr)
        sys.exit(1)
