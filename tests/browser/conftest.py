# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkout importable as ansible_collections.seamless.migration, as for the unit tests."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = ROOT / "build" / "collections" / "ansible_collections" / "seamless" / "migration"

if LINK.resolve() != ROOT:
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(ROOT)
sys.path.insert(0, str(ROOT / "build" / "collections"))
