#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_settings
short_description: Change variables of a MySQL server for a while, and put them back
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Sets global variables so that they last over a restart, and has the server keep its binary log long enough.
  - Returns what was there before, in the form that O(before) takes, so that exactly that comes back.
  - On RDS the binary log's retention goes through C(mysql.rds_set_configuration). Other variables belong to the
    parameter group there. The module says which, and changes none.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.mysql
  - seamless.migration.mysql.platform
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) sets O(settings) and O(binlog_retention_hours).
      - V(restored) brings back what O(before) says.
    type: str
    choices: [present, restored]
    default: present
  settings:
    description:
      - Global variables by their names.
    type: dict
    default: {}
  binlog_retention_hours:
    description:
      - For how many hours the binary log is kept at least. A longer time stays.
    type: int
  before:
    description:
      - For O(state=restored), what RV(before) was when the variables were set.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Keep the binary log for a week at least
  seamless.migration.mysql_settings:
    login_host: db-old.example.com
    login_user: migration_admin
    login_password: "{{ vault_old }}"
    binlog_retention_hours: 168
  register: retention

- name: Put it back
  seamless.migration.mysql_settings:
    login_host: db-old.example.com
    login_user: migration_admin
    login_password: "{{ vault_old }}"
    state: restored
    before: "{{ retention.before }}"
"""

RETURN = r"""
before:
  description: What was changed, by its name, with the C(value) of before and the value that was C(persisted), or null.
  returned: success
  type: dict
  sample: {binlog_expire_logs_seconds: {value: "86400", persisted: null}}
retention_hours:
  description: For how many hours the binary log was kept before. 0 is for ever, null is not at all (RDS).
  returned: success
  type: float
queries:
  description: The statements that were run.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import (
    connection_spec,
    platform_spec,
    run_module,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server
from ansible_collections.seamless.migration.plugins.module_utils.mysql.settings import Settings


def argument_spec():
    """The options of the module."""
    return dict(
        connection_spec(),
        **platform_spec(),
        state={"type": "str", "choices": ["present", "restored"], "default": "present"},
        settings={"type": "dict", "default": {}},
        binlog_retention_hours={"type": "int"},
        before={"type": "dict", "default": {}},
    )


def settle(server, params, check_mode):
    """Plan, and apply unless in check mode. Returns the result as dict. Raises MySQLMigrationError."""
    with server.session() as session:
        settings = Settings(server.identify(session), session)
        retention = settings.retention_hours()
        if params["state"] == "restored":
            changes = settings.plan_back(params["before"])
        else:
            changes = settings.plan(params["settings"], params["binlog_retention_hours"])
        for change in [] if check_mode else changes:
            settings.apply(change)
    return {
        "changed": bool(changes),
        "before": {change["name"]: change["before"] for change in changes},
        "retention_hours": retention,
        "diff": {
            "before": {change["name"]: change["before"]["value"] for change in changes},
            "after": {change["name"]: change["after"] for change in changes},
        },
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    server = Server(module.params)
    run_module(module, lambda: settle(server, module.params, module.check_mode), queries=lambda: server.queries)


if __name__ == "__main__":
    main()
