#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: move a live storage server and a live database to new machines and back while writers write.

Says what was lost. Writes build/demo/summary.json, and the output of each playbook beside it. Exit code 0 only when
nothing was lost.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from demokit import common, mysql, storage  # noqa: E402 - after the path is set

PARTS = {"storage": storage, "mysql": mysql}


def run(part, size, arguments):
    """Run one part and take its hosts down; returns its numbers."""
    try:
        return part.run(size, arguments.pause)
    finally:
        if not arguments.keep:
            common.lab("down", "--name", part.LAB)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--part", choices=list(PARTS), help="only this one")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between the steps")
    parser.add_argument("--keep", action="store_true", help="leave the hosts running")
    arguments = parser.parse_args()
    common.FOLDER.mkdir(parents=True, exist_ok=True)
    sizes = {"storage": arguments.files, "mysql": arguments.rows}
    numbers = {}
    for name, part in PARTS.items():
        if arguments.part in (None, name):
            try:
                numbers[name] = run(part, sizes[name], arguments)
            except (common.DemoError, subprocess.CalledProcessError) as error:
                print("demo: %s" % error, file=sys.stderr)
                return 1
    path = common.FOLDER / "summary.json"
    path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="ascii")
    for name, found in numbers.items():
        print(PARTS[name].show(found))
    print("\n  %s" % path)
    return 0 if all(PARTS[name].clean(found) for name, found in numbers.items()) else 3


if __name__ == "__main__":
    sys.exit(main())
