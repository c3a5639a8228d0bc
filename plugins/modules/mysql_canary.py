#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_canary
short_description: Prove with a row that one MySQL server follows another
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Writes a row on O(source) and waits until it is on O(target). That proves a channel, whatever it says about itself.
  - The row is written to the schema C(seamless_migration), which O(state=absent) removes.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.mysql.endpoints
attributes:
  check_mode:
    support: full
    details:
      - In check mode no row is written, so nothing is proven.
  diff_mode:
    support: N/A
    details:
      - The row means nothing.
  idempotent:
    support: partial
    details:
      - Each run with O(state=arrived) writes a row.
options:
  state:
    description:
      - V(arrived) writes a row and waits for it.
      - V(absent) drops the schema C(seamless_migration) on O(source), with all that the migration has written there,
        and waits until O(target), when it follows O(source), has executed that and all before it.
      - V(drained) writes nothing, and waits until O(target) has executed all that O(source) has by now.
    type: str
    choices: [arrived, absent, drained]
    default: arrived
  timeout:
    description:
      - How many seconds to wait.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Prove that the old server follows the new one
  seamless.migration.mysql_canary:
    source:
      login_host: db-new.example.com
      login_user: migration_admin
      login_password: "{{ vault_new }}"
    target:
      login_host: db-old.example.com
      login_user: migration_admin
      login_password: "{{ vault_old }}"
"""

RETURN = r"""
ms:
  description: Milliseconds until the row was there.
  returned: with O(state=arrived), except in check mode
  type: float
  sample: 12.5
queries:
  description: The statements that were run on both servers.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.mysql import canary
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import endpoint_spec, run_module
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server


def argument_spec():
    """The options of the module."""
    return {
        "source": {"type": "dict", "required": True, "options": endpoint_spec()},
        "target": {"type": "dict", "required": True, "options": endpoint_spec()},
        "state": {"type": "str", "choices": ["arrived", "absent", "drained"], "default": "arrived"},
        "timeout": {"type": "int", "default": 60},
    }


def prove(source, target, params, check_mode):
    """Send a row, wait, or remove them all. Returns the result. Raises MySQLMigrationError."""
    with source.session() as left, target.session() as right:
        source.identify(left)
        target.identify(right)
        if params["state"] == "arrived":
            return send(left, right, params["timeout"], check_mode)
        changed = params["state"] == "absent" and canary.exists(left)
        if changed and not check_mode:
            left.run("DROP SCHEMA " + canary.SCHEMA)
        if not check_mode:
            drain(left, right, params["timeout"])
        return {"changed": changed}


def send(left, right, timeout, check_mode):
    """Write a row and wait for it. Returns the result. Raises MySQLMigrationError."""
    if check_mode:
        return {"changed": True}
    return {"changed": True, "ms": canary.await_row(right, canary.send(left), timeout)}


def drain(left, right, timeout):
    """Wait until the other server, if it follows, has executed everything. Raises MySQLMigrationError."""
    if not canary.arrived(left, right, timeout):
        raise MySQLMigrationError(
            "Failed to see on %s what %s did within %d s: %s. Mend its channel, then run again."
            % (
                right.server.where,
                left.server.where,
                timeout,
                "; ".join(canary.problems_of_channels(right)) or "its channel says that it runs",
            )
        )


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    source, target = Server(module.params["source"], "source"), Server(module.params["target"], "target")
    run_module(
        module,
        lambda: prove(source, target, module.params, module.check_mode),
        queries=lambda: source.queries + target.queries,
    )


if __name__ == "__main__":
    main()
