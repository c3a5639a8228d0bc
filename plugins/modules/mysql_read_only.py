#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_read_only
short_description: Fence a server of MySQL so that nobody can write, or open it again
version_added: 0.1.0
description:
  - Sets C(super_read_only) and C(read_only), persisted, so that nobody writes, whatever privileges they have, and also
    after a restart. 5.7 cannot persist; there the lines C(read_only = ON) and C(super_read_only = ON) have to stand in
    its C(my.cnf) before it is restarted.
  - Waits a bounded time for statements that write at the moment. New writers queue behind the waiting fence, so
    O(wait) is what the application may feel.
  - Reads both variables over a new connection afterwards. A server can say C(super_read_only) is on and take writes all
    the same; only both of them make a fence.
  - Refuses while XA transactions are there, because they can be prepared and committed behind a fence. Those that are
    prepared are never ended by this module.
  - On RDS, where nobody may set C(super_read_only), uses the procedure C(mysql.rds_set_read_only) where there is one,
    and otherwise says which parameter to change.
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
author:
  - The seamless.migration authors (@seamless-migration)
options:
  state:
    description:
      - V(fenced) for nobody writes, V(open) for everybody who may.
      - A transaction that is open and idle does not hold the fence up. Its C(COMMIT) fails with error 1290 and rolls
        back.
      - V(open) leaves both variables persisted as C(OFF), so that a configuration file that closes the server, as that
        of one which was built as a replica, does not do so at its next start. C(RESET PERSIST) lets the file decide
        again.
    type: str
    choices: [fenced, open]
    default: fenced
  wait:
    description:
      - Seconds that one attempt may wait for statements that hold it up, C(LOCK TABLES) or C(ALTER TABLE) for example.
        Writers queue that long.
    type: int
    default: 2
  blockers:
    description:
      - What to do with connections that hold the fence up.
      - V(wait) tries again until O(timeout). V(kill) ends them as soon as they are seen. V(fail) gives up at once.
      - The server's own threads, such as an applier, are never ended.
    type: str
    choices: [wait, kill, fail]
    default: wait
  timeout:
    description:
      - Seconds for all attempts together.
    type: int
    default: 60
  parameter_group:
    description:
      - Name of the DB parameter group of an RDS instance, for the command in RV(remedy).
    type: str
  await_parameter:
    description:
      - On RDS without the procedure, wait up to O(timeout) for the parameter to arrive, which somebody changes at the
        same time, instead of failing at once.
    type: bool
    default: false
notes:
  - C(FLUSH TABLES) and its like write GTIDs behind a fence too. Nothing in MySQL prevents that.
seealso:
  - module: seamless.migration.mysql_switchover
"""

EXAMPLES = r"""
- name: Fence the old server, and end what holds it up
  seamless.migration.mysql_read_only:
    login_host: db-old.example.com
    login_user: migration_admin
    login_password: "{{ vault_admin_password }}"
    state: fenced
    blockers: kill

- name: Open the new one
  seamless.migration.mysql_read_only:
    login_host: db-new.example.com
    login_user: migration_admin
    login_password: "{{ vault_admin_password }}"
    state: open

- name: Wait until the parameter of the RDS instance has arrived
  seamless.migration.mysql_read_only:
    login_host: shop.abcdefg.eu-central-1.rds.amazonaws.com
    login_user: admin
    login_password: "{{ vault_rds_password }}"
    parameter_group: shop-mysql84
    await_parameter: true
    timeout: 300
"""

RETURN = r"""
read_only:
  description: The variable as it is now (in check mode, as it would be).
  returned: success
  type: bool
super_read_only:
  description: The variable as it is now.
  returned: success
  type: bool
fenced:
  description: Whether nobody can write. On RDS, whether C(read_only) is on.
  returned: success
  type: bool
persisted:
  description: What of the two is persisted, and as what. Empty on 5.7 and on RDS, which cannot.
  returned: success
  type: dict
  sample: {read_only: "ON", super_read_only: "ON"}
configured:
  description:
    - Where a configuration file or the command line gave the values that run. Empty once they were set while the server
      ran.
  returned: success
  type: dict
  sample: {super_read_only: /etc/mysql/my.cnf}
ms:
  description: Milliseconds until the server was fenced.
  returned: success
  type: float
attempts:
  description: How many attempts that took.
  returned: success
  type: int
blockers:
  description: Connections that held it up.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Number of the connection.
      type: int
    user:
      description: Its account.
      type: str
    host:
      description: Where it came from.
      type: str
    db:
      description: Its default schema.
      type: str
    command:
      description: What it was doing.
      type: str
    seconds:
      description: For how long.
      type: int
    state:
      description: Its state.
      type: str
    statement:
      description: The statement, null when it ran none.
      type: str
    client:
      description: Whether it was a client, and no thread of the server's own.
      type: bool
prepared_xa:
  description: Prepared XA transactions. They can be committed behind a fence.
  returned: success
  type: list
  elements: str
remedy:
  description: The command that changes the parameter, on RDS without the procedure, when it must change.
  returned: success
  type: str
queries:
  description: The statements that were run. One that only reads is listed once.
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
from ansible_collections.seamless.migration.plugins.module_utils.mysql.read_only import ReadOnly
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server


def argument_spec():
    return dict(
        connection_spec(),
        state={"type": "str", "choices": ["fenced", "open"], "default": "fenced"},
        wait={"type": "int", "default": 2},
        blockers={"type": "str", "choices": ["wait", "kill", "fail"], "default": "wait"},
        timeout={"type": "int", "default": 60},
        parameter_group={"type": "str"},
        await_parameter={"type": "bool", "default": False},
        **platform_spec(),
    )


def manage(server, params, check_mode):
    """Fence or open the server. Returns the result of the module."""
    with server.session(read_timeout=params["wait"] + 15) as session:
        fence = ReadOnly(server, session, params)
        changed = fence.look()
        apply = changed and not check_mode
        if apply:
            fence.apply()
        return fence.result(changed, apply)


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    server = Server(module.params)

    def work():
        result = manage(server, module.params, module.check_mode)
        for name, path in sorted(result["configured"].items()):
            module.warn("%s is set in %s: what is persisted wins over it at the next start." % (name, path))
        return result

    run_module(module, work, lambda: server.queries)


if __name__ == "__main__":
    main()
