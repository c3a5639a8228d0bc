# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers, writers and the module as the stories of faults share them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "mysql_faults"))
pytest.register_assert_rewrite("bed")
from fixtures import bed, servers  # noqa: E402, F401 - after the path is set; pytest finds fixtures by their names
