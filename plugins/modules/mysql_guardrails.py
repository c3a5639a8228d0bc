#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_guardrails
short_description: Find what stands in the way of a MySQL migration
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Looks at both servers, and at the replicas behind them, and decides a gate for each thing that has made migrations
    fail. Versions, GTIDs, the binary log, filters, what the data are like, settings that change what a statement means,
    accounts, and who could write to a closed server.
  - Changes nothing, and does not fail when a gate does. M(seamless.migration.migration_gate) does that, and records it.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.info_module
  - seamless.migration.mysql.endpoints
options:
  phase:
    description:
      - V(before) when nothing replicates yet and the target may be empty.
      - V(replicating) when the channel from source to target runs. Then accounts, events, errant transactions, both
        channels, the fence of the target and what the source has purged are looked at as well. A channel that is
        connecting again, as after a restart of the other server, is given 30 seconds first.
    type: str
    choices: [before, replicating]
    default: before
  schemas:
    description:
      - Schemas that move. All that are not the server's own when empty.
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Names of gates that are not decided.
    type: list
    elements: str
    default: []
  replicas:
    description:
      - Replicas behind source or target that are looked at as well. Each takes the options of O(source), and a name.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the replica is called.
        type: str
        required: true
      login_host:
        description: Name or address of the server.
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
  source_channel:
    description:
      - The channel on the source that the migration uses for the way back. One of that name which follows a server
        other than the target fails the gate C(foreign_channels).
    type: dict
    default: {}
    suboptions: &channel
      name:
        description: Name of the channel. Empty for the default one.
        type: str
        default: ""
      source_host:
        description:
          - Name or address of the other server as this one reaches it. A channel to there counts as the migration's,
            also when the server there was made anew.
        type: str
      source_port:
        description: Its port.
        type: int
        default: 3306
  target_channel:
    description:
      - The same on the target, for the way from the source.
    type: dict
    default: {}
    suboptions: *channel
  retention_hours:
    description:
      - For how many hours each server should keep its binary log.
    type: int
    default: 168
  fence_exempt:
    description:
      - Accounts of administrators, as C(user) or C(user@host), that may have SUPER or CONNECTION_ADMIN.
    type: list
    elements: str
    default: []
  own_users:
    description:
      - Names of the migration's own accounts. Those that log in here are among them anyway.
    type: list
    elements: str
    default: []
  replication_ssl:
    description:
      - Whether the channels are to use TLS.
    type: bool
    default: true
  replication_public_key:
    description:
      - Whether the channels ask for the server's public key where they do not use TLS.
    type: bool
    default: false
seealso:
  - module: seamless.migration.migration_gate
  - module: seamless.migration.mysql_replication_info
"""

EXAMPLES = r"""
- name: Look at both servers
  seamless.migration.mysql_guardrails:
    source:
      login_host: db-old.example.com
      login_user: migration_admin
      login_password: "{{ vault_old }}"
    target:
      login_host: db-new.example.com
      login_user: migration_admin
      login_password: "{{ vault_new }}"
  register: guardrails

- name: Stop at the first gate that does not hold
  seamless.migration.migration_gate:
    migration: shop2026
    state_dir: /srv/ops/migration
    name: "{{ item.name }}"
    that: "{{ item.ok }}"
    evidence: "{{ item.evidence }}"
    advice: "{{ item.advice }}"
  loop: "{{ guardrails.gates }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
gates:
  description: The gates in a fixed order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    ok:
      description: Whether it holds.
      type: bool
    evidence:
      description: What was seen. C(problems) is a list of sentences, empty when it holds.
      type: dict
    advice:
      description: What to do when it does not hold.
      type: str
servers:
  description:
    - By V(source) and V(target), what they are. C(tables) and C(bytes) are those of the schemas that move.
    - C(channels) of each, with C(name), C(running), C(delay), C(source_host), C(source_port), C(source_user) and
      C(source_uuid).
  returned: success
  type: dict
  sample:
    source: {version: 8.0.40, platform: mysql, uuid: 3e11fa47-71ca-11e1-9e33-c80aa9429562, schemas: [shop], bytes: 1024,
             tables: 1, channels: []}
replicas:
  description: Replicas that were looked at, each with C(name), C(uuid), C(side) and C(problems).
  returned: success
  type: list
  elements: dict
queries:
  description: The statements that were run on both servers.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.guardrail_facts import facts, look_at_replica
from ansible_collections.seamless.migration.plugins.module_utils.mysql.guardrails import PHASES, findings
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import endpoint_spec, run_module
from ansible_collections.seamless.migration.plugins.module_utils.mysql.receivers import await_connected
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server


def argument_spec():
    """The options of the module."""
    names = {"type": "list", "elements": "str", "default": []}
    channel = {
        "type": "dict",
        "default": {},
        "options": {
            "name": {"type": "str", "default": ""},
            "source_host": {"type": "str"},
            "source_port": {"type": "int", "default": 3306},
        },
    }
    return {
        "source": {"type": "dict", "required": True, "options": endpoint_spec()},
        "target": {"type": "dict", "required": True, "options": endpoint_spec()},
        "phase": {"type": "str", "choices": list(PHASES), "default": "before"},
        "schemas": names,
        "exclude": names,
        "replicas": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": dict(endpoint_spec(), name={"type": "str", "required": True}),
        },
        "source_channel": channel,
        "target_channel": channel,
        "retention_hours": {"type": "int", "default": 168},
        "fence_exempt": names,
        "own_users": names,
        "replication_ssl": {"type": "bool", "default": True},
        "replication_public_key": {"type": "bool", "default": False},
    }


def look(params, servers):
    """Everything that was asked for. servers: {"source", "target"}: Server. Returns the result as dict."""
    with servers["source"].session() as left, servers["target"].session() as right:
        for side, session in (("source", left), ("target", right)):
            servers[side].identify(session)
        if params["phase"] == "replicating":
            _await_channels(servers["target"], right, servers["source"].uuid)
            _await_channels(servers["source"], left, servers["target"].uuid)
        seen = {
            "source": facts(servers["source"], left, params["schemas"]),
            "target": facts(servers["target"], right, params["schemas"]),
        }
        sides = {"source": (servers["source"].uuid, left), "target": (servers["target"].uuid, right)}
        replicas = [_replica(endpoint, sides) for endpoint in params["replicas"]]
        replicating = params["phase"] == "replicating"
        # The target first: what it executes meanwhile, the source has had before.
        executed = gtid.executed(right) if replicating else ""
        options = {
            "phase": params["phase"],
            "retention_hours": params["retention_hours"],
            "fence_exempt": params["fence_exempt"],
            "own_users": params["own_users"] + [params[side]["login_user"] for side in sides],
            "ssl": params["replication_ssl"],
            "public_key": params["replication_public_key"],
            "replicas": replicas,
            "channels": replicating,
            "own_channels": {side: params[side + "_channel"] for side in sides},
            "errant": gtid.subtract(left, executed, gtid.executed(left)) if replicating else "",
            "missing": gtid.subtract(right, gtid.purged(left), executed) if replicating else "",
        }
        gates = findings(seen["source"], seen["target"], options)
    return {
        "changed": False,
        "gates": [gate for gate in gates if gate["name"] not in params["exclude"]],
        "servers": {side: _shown(one) for side, one in seen.items()},
        "replicas": replicas,
    }


def _await_channels(server, session, from_uuid):
    """Give channels that are connecting again, as after a restart of the other server, the time for it."""
    dialect = Dialect.for_server(server)
    await_connected(lambda: dialect.channels(session), from_uuid)


def _replica(endpoint, sides):
    server = Server(endpoint, endpoint["name"])
    with server.session() as session:
        return look_at_replica(server.identify(session), session, sides)


def _shown(one):
    return {
        "version": one["version_text"],
        "platform": one["platform"],
        "uuid": one["uuid"],
        "schemas": one["schemas"],
        "bytes": one["bytes"],
        "tables": len(one["tables"]),
        "channels": one["channels"],
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    servers = {side: Server(module.params[side], side) for side in ("source", "target")}
    run_module(
        module,
        lambda: look(module.params, servers),
        queries=lambda: servers["source"].queries + servers["target"].queries,
    )


if __name__ == "__main__":
    main()
