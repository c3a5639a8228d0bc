#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uses a mount in every way that keeps it busy: an open file, a working directory, a lock of flock and one of fcntl.

Says `holding` once it has them, and holds them until it is ended. `--only` picks some of them.
"""

import argparse
import fcntl
import os
import signal
import sys

KINDS = ("open", "cwd", "flock", "fcntl")


def hold(folder, kinds):
    """Returns what has to stay referenced."""
    os.makedirs(folder, exist_ok=True)
    held = []
    for kind in kinds:
        if kind == "cwd":
            os.chdir(folder)
            continue
        handle = open(os.path.join(folder, kind), "w", encoding="ascii")  # noqa: SIM115 - open as long as its owner
        if kind == "flock":
            fcntl.flock(handle, fcntl.LOCK_EX)
        elif kind == "fcntl":
            fcntl.lockf(handle, fcntl.LOCK_EX)
        held.append(handle)
    return held


def main(argv):
    parser = argparse.ArgumentParser(description="Keep a mount busy")
    parser.add_argument("folder")
    parser.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)
    arguments = parser.parse_args(argv)
    held = hold(arguments.folder, arguments.only)
    print("holding", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del held
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
