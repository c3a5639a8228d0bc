#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_accounts
short_description: Bring accounts that only the source has to the target of a MySQL migration
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Finds the accounts of the source that the target lacks, and says them on the source once more as
    C(CREATE USER IF NOT EXISTS) and C(GRANT). That changes nothing on the source, and reaches the target by
    replication, also while the target is closed, and without a transaction of the target's own.
  - The channel from source to target must run. The module waits until the target has the accounts.
  - Accounts of the server, of RDS, and local administrators stay where they are.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.mysql.endpoints
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  exclude:
    description:
      - Names of users that do not come along.
    type: list
    elements: str
    default: []
  timeout:
    description:
      - How many seconds to wait until the target has them.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Bring the accounts
  seamless.migration.mysql_accounts:
    source:
      login_host: db-old.example.com
      login_user: migration_admin
      login_password: "{{ vault_old }}"
    target:
      login_host: db-new.example.com
      login_user: migration_admin
      login_password: "{{ vault_new }}"
"""

RETURN = r"""
accounts:
  description: The accounts that the target lacked, as C(user@host).
  returned: success
  type: list
  elements: str
left_out:
  description: Accounts and privileges that the target cannot have, a sentence each.
  returned: success
  type: list
  elements: str
queries:
  description: The statements that were run on both servers, without hashes of passwords.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql.account import Missing
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import endpoint_spec, run_module
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server


def argument_spec():
    """The options of the module."""
    return {
        "source": {"type": "dict", "required": True, "options": endpoint_spec()},
        "target": {"type": "dict", "required": True, "options": endpoint_spec()},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "timeout": {"type": "int", "default": 60},
    }


def bring(source, target, params, check_mode):
    """Find what is missing, and bring it unless in check mode. Returns the result. Raises MySQLMigrationError."""
    with source.session() as left, target.session() as right:
        source.identify(left)
        target.identify(right)
        missing = Missing(left, right, params["exclude"])
        names = missing.names()
        if names and not check_mode:
            missing.announce(names)
            if not gtid.wait(right, gtid.executed(left), params["timeout"]):
                raise MySQLMigrationError(
                    "Failed to bring accounts to the target: it has not applied them within %d s. Look at its "
                    "channel with mysql_replication_info." % params["timeout"]
                )
    accounts = ["%s@%s" % name for name in names]
    return {
        "changed": bool(accounts),
        "accounts": accounts,
        "left_out": missing.left_out,
        "diff": {"before": {"accounts": []}, "after": {"accounts": accounts}},
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    source, target = Server(module.params["source"], "source"), Server(module.params["target"], "target")
    run_module(
        module,
        lambda: bring(source, target, module.params, module.check_mode),
        queries=lambda: source.queries + target.queries,
    )


if __name__ == "__main__":
    main()
