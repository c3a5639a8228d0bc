#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_gtid
short_description: Turn GTIDs on or off while a server of MySQL and its replicas run
version_added: 0.1.0
description:
  - Takes a server, and the replicas that are named with it, from any C(gtid_mode) to V(ON), one step after the other,
    while people go on using them. Each step is taken by the replicas first.
  - Waits, before the last step, until no transaction without GTID runs anywhere, and until every replica has applied
    all that the server had written by then. A replica that is V(ON) too early stops with error 1782.
  - Persists C(enforce_gtid_consistency) before C(gtid_mode), because a server with only the latter does not start.
  - Can be ended at any step. The next run goes on from there.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.mysql
  - seamless.migration.mysql.platform
attributes:
  check_mode:
    support: full
    details:
      - Lists the steps in RV(steps) and takes none.
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - The seamless.migration authors (@seamless-migration)
options:
  state:
    description:
      - What C(gtid_mode) and C(enforce_gtid_consistency) are to be.
      - V(off) is refused while a channel finds its position by GTID.
    type: str
    choices: ["on", "off"]
    default: "on"
  persist:
    description:
      - Whether it shall survive a restart. A server of version 5.7 cannot persist, RV(configuration) has the lines for
        its file then.
    type: bool
    default: true
  replicas:
    description:
      - The replicas of this server. They are taken along. A replica that is left out stops with an error as soon as the
        server sends transactions of the other kind.
      - Their replicas belong into the list of another run, which comes first.
    type: list
    elements: dict
    default: []
    suboptions:
      login_host:
        description: Name or address of the replica.
        type: str
      login_port:
        description: Its port.
        type: int
      login_user:
        description: The account.
        type: str
      login_password:
        description: Its password.
        type: str
      login_unix_socket:
        description: Path of a socket to connect through, instead of host and port.
        type: path
      config_file:
        description: A file with a section C([client]). Options that are given win over it.
        type: path
      ca_cert:
        description: Certificate of the authority that signed the server's certificate.
        type: path
      client_cert:
        description: Certificate of the account.
        type: path
      client_key:
        description: Key of the account's certificate.
        type: path
      check_hostname:
        description: Whether the server's certificate must be for the host's name.
        type: bool
      connect_timeout:
        description: Seconds in which the connection must stand.
        type: int
        default: 10
      platform:
        description: What runs the server. V(auto) finds out by the procedures C(mysql.rds_*).
        type: str
        choices: [auto, mysql, rds]
        default: auto
  timeout:
    description:
      - Seconds that each of the waits may take, that for the end of transactions and that for each replica.
    type: int
    default: 300
  watch:
    description:
      - Seconds for which the server only warns of statements that cannot have a GTID, before it forbids them. The run
        ends with an error when its error log names some in that time; nothing was forbidden by then.
      - On servers before 8.0.22 the log cannot be read from here; look into it yourself. V(0) skips this.
    type: int
    default: 10
seealso:
  - module: seamless.migration.mysql_replica
  - module: seamless.migration.mysql_replication_info
"""

EXAMPLES = r"""
- name: Turn GTIDs on, on the old server and the replica behind it
  seamless.migration.mysql_gtid:
    login_host: db-old.example.com
    login_user: migration_admin
    login_password: "{{ vault_admin_password }}"
    replicas:
      - login_host: db-replica.example.com
        login_user: migration_admin
        login_password: "{{ vault_admin_password }}"

- name: See what would be done
  seamless.migration.mysql_gtid:
    login_unix_socket: /run/mysqld/mysqld.sock
    login_user: root
  check_mode: true
  register: gtid
"""

RETURN = r"""
steps:
  description: The steps that were taken, or would be taken in check mode, in their order.
  returned: success
  type: list
  elements: dict
  contains:
    server:
      description: V(server), or V(replica 1) and so on.
      type: str
    variable:
      description: C(enforce_gtid_consistency) or C(gtid_mode).
      type: str
    value:
      description: What it is set to.
      type: str
    persist:
      description: Whether that survives a restart.
      type: bool
    statement:
      description: The statement.
      type: str
      sample: SET PERSIST gtid_mode = ON_PERMISSIVE
gtid_mode:
  description: What C(gtid_mode) is now, by server.
  returned: success
  type: dict
  sample: {server: "ON", replica 1: "ON"}
waited:
  description: Seconds that the waits before the last step took.
  returned: success
  type: float
configuration:
  description: Lines for the configuration files of servers that cannot persist, by server.
  returned: success
  type: dict
  sample: {server: [enforce_gtid_consistency = ON, gtid_mode = ON]}
queries:
  description: The statements that were run on all servers. One that only reads is listed once.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.mysql.gtid_mode import (
    Climb,
    Member,
    configuration,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import (
    connection_spec,
    endpoint_spec,
    platform_spec,
    run_module,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server


def argument_spec():
    return dict(
        connection_spec(),
        state={"type": "str", "choices": ["on", "off"], "default": "on"},
        persist={"type": "bool", "default": True},
        replicas={"type": "list", "elements": "dict", "default": [], "options": endpoint_spec()},
        timeout={"type": "int", "default": 300},
        watch={"type": "int", "default": 10},
        **platform_spec(),
    )


def bring(params, servers, check_mode):
    """Bring the servers to the wanted mode. Returns the result of the module."""
    members = [Member(server, server.session()) for server in servers]
    climb = Climb(members, params["state"], params["persist"], params["timeout"], params["watch"])
    before = {member.server.name: member.now() for member in members}
    steps = climb.check()
    if not check_mode:
        climb.run()
    after = {member.server.name: member.now() for member in members}
    for step in steps if check_mode else ():
        after[step["server"]][step["variable"]] = step["value"]
    return {
        "changed": bool(steps),
        "diff": {"before": before, "after": after},
        "steps": steps,
        "gtid_mode": {name: values["gtid_mode"] for name, values in after.items()},
        "waited": sum(climb.waited.values()),
        "configuration": configuration(members, params["state"]) if params["persist"] else {},
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    replicas = [Server(one, "replica %d" % (number + 1)) for number, one in enumerate(module.params["replicas"])]
    servers = [Server(module.params), *replicas]
    run_module(
        module,
        lambda: bring(module.params, servers, module.check_mode),
        lambda: [query for server in servers for query in server.queries],
    )


if __name__ == "__main__":
    main()
