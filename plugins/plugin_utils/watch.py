# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show how far a migration is, again and again, from its journal alone: for a second terminal, without any host.

    python3 watch.py JOURNAL [--interval SECONDS] [--once] [--format table|lines|json]

On a terminal the table is drawn over the last one; else each look that differs from the last one is written below it.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import sys
import time

# The folder that holds ansible_collections/, so that the program runs from where it is installed.
sys.path.insert(0, str(pathlib.Path(os.path.abspath(__file__)).parents[5]))

from ansible_collections.seamless.migration.plugins.module_utils import journal  # noqa: E402 - after the path is set
from ansible_collections.seamless.migration.plugins.plugin_utils import status_model  # noqa: E402 - after the path is set
from ansible_collections.seamless.migration.plugins.plugin_utils.report_model import Model  # noqa: E402 - after the path is set

_CLEAR = "\033[H\033[2J"


def look(path, form, width):
    """The status by the journal at path, as text. Raises JournalError."""
    record = journal.Journal(path)
    owner = journal.Lock(os.path.splitext(path)[0] + ".lock").owner()
    model = Model(record.read(), running=owner is not None)
    return status_model.text(status_model.status(model, record.migration, owner), form, width)


def watch(path, form, interval, once, stream):
    """Look until interrupted. stream: where to write."""
    terminal = stream.isatty()
    last = None
    while True:
        width = min(status_model.WIDTH, shutil.get_terminal_size((status_model.WIDTH, 24)).columns)
        text = look(path, form or ("table" if terminal else "lines"), width)
        if text != last:
            stream.write((_CLEAR if terminal and not once else "") + text + "\n")
            stream.flush()
            last = text
        if once:
            return
        time.sleep(interval)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Show how far a migration is, from its journal.")
    parser.add_argument("journal", help="the journal, NAME.jsonl in the folder migration_state_dir")
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between two looks")
    parser.add_argument("--once", action="store_true", help="look once")
    parser.add_argument("--format", choices=status_model.FORMATS, help="by default a table on a terminal, else lines")
    options = parser.parse_args(arguments)
    if not os.path.exists(options.journal):
        parser.error("there is no journal %s" % options.journal)
    try:
        watch(os.path.abspath(options.journal), options.format, options.interval, options.once, sys.stdout)
    except journal.JournalError as error:
        parser.error(str(error))
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
