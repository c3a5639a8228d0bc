# SPDX-License-Identifier: GPL-3.0-or-later
"""The same lab as in the story of the migration."""

import importlib.util
import os

_PATH = os.path.join(os.path.dirname(__file__), "..", "..", "mysql_migration", "tests", "conftest.py")
_SPEC = importlib.util.spec_from_file_location("mysql_migration_conftest", _PATH)
_shared = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_shared)

lab = _shared._lab
events = _shared._events
