# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the stories import what they share with other scenarios."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))
