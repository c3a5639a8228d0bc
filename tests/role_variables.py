# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible makes of the variables of a role, for tests of what a role computes."""

from __future__ import annotations

import inspect
from pathlib import Path

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = Path(__file__).resolve().parents[1] / "roles"
# From ansible-core 2.19 on, only text that is marked as trusted is a template.
TRUSTED = (
    {"trusted_as_template": True}
    if "trusted_as_template" in inspect.signature(DataLoader.load_from_file).parameters
    else {}
)


def value(role, name, **given):
    """The value of a variable of the role, with what is given over its defaults and variables."""
    loader = DataLoader()
    variables = {}
    for part in ("defaults", "vars"):
        variables.update(loader.load_from_file(str(ROLES / role / part / "main.yml"), **TRUSTED))
    variables.update(given)
    return Templar(loader=loader, variables=variables).template(variables[name])
