# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module of the collection in this process, as Ansible would, and return what it says."""

import json

import pytest
from ansible.module_utils.testing import patch_module_args


def run(plugin, capsys, check=False, diff=False, **options):
    """Returns the dict that module prints. plugin: a Python module with main()."""
    capsys.readouterr()
    with patch_module_args(dict(options, _ansible_check_mode=check, _ansible_diff=diff)):
        with pytest.raises(SystemExit):
            plugin.main()
    return json.loads(capsys.readouterr().out)
