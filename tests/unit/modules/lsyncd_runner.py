# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one of our modules in a process of its own, as Ansible does, with options from a file."""

import json
import os
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
COLLECTIONS = os.path.join(ROOT, "build", "collections")


def run_module(name, folder, options, check=False, diff=True):
    """Returns the module's answer as a dict."""
    arguments = dict(options, _ansible_check_mode=check, _ansible_diff=diff)
    path = folder / "arguments.json"
    path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    module = "ansible_collections.seamless.migration.plugins.modules.%s" % name
    environment = dict(os.environ, PYTHONPATH=COLLECTIONS, PYTHONWARNINGS="ignore")
    argv = [sys.executable, "-m", module, str(path)]
    result = subprocess.run(argv, capture_output=True, env=environment, check=False)
    lines = [line for line in result.stdout.decode().splitlines() if line.startswith("{")]
    assert lines, result.stdout + result.stderr
    return json.loads(lines[-1])
