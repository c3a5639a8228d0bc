# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ansible inventory of a lab."""

import json
import shlex

from . import ssh
from .state import GROUPS, kind


def build(lab):
    """Inventory as a dictionary in Ansible's YAML layout."""
    groups = {group: {"hosts": {}} for group in GROUPS.values() if group.startswith("storage")}
    for host, address in lab.hosts.items():
        groups.setdefault(GROUPS[kind(host)], {"hosts": {}})["hosts"][host] = {"ansible_host": address}
    return {
        "all": {
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(lab.key),
                "ansible_ssh_common_args": shlex.join(ssh.options(lab)),
                "ansible_python_interpreter": "/usr/bin/python3",
                "lab_name": lab.name,
            },
            "children": groups,
        }
    }


def render(lab):
    """The same as text. JSON is YAML, and nothing has to be quoted by hand."""
    return "# Written by lab/lab up\n" + json.dumps(build(lab), indent=2) + "\n"


def write(lab):
    lab.inventory.write_text(render(lab), encoding="utf-8")
