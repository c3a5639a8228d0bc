# SPDX-License-Identifier: GPL-3.0-or-later
"""The helpers are those of the story without faults."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "nfs_migration" / "tests"))
