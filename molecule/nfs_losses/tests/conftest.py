# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the stories import the helpers of the story without faults, and what these share with other scenarios."""

import sys
from pathlib import Path

MOLECULE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(MOLECULE / "nfs_migration" / "tests"), str(MOLECULE / "shared")]
