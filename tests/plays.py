# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays of a test, run by the real ansible-playbook with the collection as it is in this checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

COLLECTIONS = Path(__file__).resolve().parents[1] / "build" / "collections"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


def run(folder, plays, *options, inventory="localhost,"):
    """Run plays (list of dict), which are kept in a folder, and return how that ended, with its output as text.

    inventory: a list of hosts as -i takes it, or the content of an inventory as dict.
    """
    path = Path(folder) / "play.yml"
    path.write_text(json.dumps(plays), encoding="utf-8")
    if isinstance(inventory, dict):
        (Path(folder) / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
        inventory = str(Path(folder) / "inventory.json")
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", inventory, str(path), *options]
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS), ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8")
    return subprocess.run(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
