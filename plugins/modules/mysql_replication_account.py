#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_replication_account
short_description: Manage the account by which one MySQL server replicates from another
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Makes an account that may replicate and nothing else, or drops it.
  - Whether its password is right is found out by logging in with it, so that a second run changes nothing.
  - What is changed here reaches the server's replicas, for it is written to the binary log.
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
    support: partial
    details:
      - With O(update_password=always) the password is set each time.
options:
  state:
    description:
      - V(present) makes the account or mends it, V(absent) drops it.
    type: str
    choices: [present, absent]
    default: present
  user:
    description:
      - Name of the account.
    type: str
    required: true
  host:
    description:
      - Host part of the account, where the other server may come from.
    type: str
    default: '%'
  password:
    description:
      - Its password. Required for O(state=present). A replication channel takes at most 32 characters.
    type: str
  require_ssl:
    description:
      - Whether it may log in by an encrypted connection only.
    type: bool
    default: true
  update_password:
    description:
      - V(on_change) sets the password when a login with it is refused. Where the account is for certain hosts only, a
        refused login tells nothing, and the password stays.
      - V(always) sets it each time, V(on_create) only with a new account.
    type: str
    choices: [on_change, always, on_create]
    default: on_change
"""

EXAMPLES = r"""
- name: Make the account of the channel
  seamless.migration.mysql_replication_account:
    login_host: db-old.example.com
    login_user: migration_admin
    login_password: "{{ vault_old }}"
    user: migration_repl
    password: "{{ vault_replication }}"
"""

RETURN = r"""
existed:
  description: Whether the account was there.
  returned: success
  type: bool
queries:
  description: The statements that were run, without the password.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.mysql.account import Account
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import (
    connection_spec,
    platform_spec,
    run_module,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server


def argument_spec():
    """The options of the module."""
    return dict(
        connection_spec(),
        **platform_spec(),
        state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        user={"type": "str", "required": True},
        host={"type": "str", "default": "%"},
        password={"type": "str", "no_log": True},
        require_ssl={"type": "bool", "default": True},
        update_password={
            "type": "str",
            "choices": ["on_change", "always", "on_create"],
            "default": "on_change",
            "no_log": False,
        },
    )


def wrong_password(account, now, when):
    """Whether the password has to be set. now: what Account.read told. when: update_password."""
    if not now["exists"] or when == "on_create":
        return False
    return when == "always" or account.password_fits() is False


def manage(server, params, check_mode):
    """Bring the account to its state unless in check mode. Returns the result. Raises MySQLMigrationError."""
    with server.session() as session:
        account = Account(server.identify(session), session, params)
        now = account.read()
        wanted = account.wanted() if params["state"] == "present" else {"exists": False}
        new_password = params["state"] == "present" and wrong_password(account, now, params["update_password"])
        changed = new_password or any(now[key] != value for key, value in wanted.items())
        if changed and not check_mode and params["state"] == "present":
            account.make(now, new_password)
            verify(account)
        elif changed and not check_mode:
            account.remove()
    diff = {"before": now, "after": dict(now, **wanted)}
    if new_password:
        diff["after"]["password"] = "set"
    return {"changed": changed, "existed": now["exists"], "diff": diff}


def verify(account):
    """Read it again. Raises MySQLMigrationError when it is not as it should be."""
    if account.read() != account.wanted():
        raise MySQLMigrationError(
            "Failed to make the account %s@%s: it is not as it was told to be. Look at SHOW GRANTS for it."
            % account.name
        )


def main():
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_if=[("state", "present", ["password"])],
        supports_check_mode=True,
    )
    server = Server(module.params)
    run_module(module, lambda: manage(server, module.params, module.check_mode), queries=lambda: server.queries)


if __name__ == "__main__":
    main()
