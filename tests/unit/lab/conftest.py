# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the lab's programs importable."""

import sys
from pathlib import Path

LAB = Path(__file__).resolve().parents[3] / "lab"
for folder in (LAB, LAB / "guest"):
    sys.path.insert(0, str(folder))
