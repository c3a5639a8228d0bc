#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_replication_info
short_description: Tell all about the replication of a server of MySQL
version_added: 0.1.0
description:
  - Returns one picture with the same keys on every version, who the server is, whether it is fenced, its GTID sets, its
    channels, and the replicas behind it.
  - Measures the true lag, by a heartbeat, by the GTIDs that are missing, and by the time stamps of the applier. Never
    by C(Seconds_Behind_Source), which is 0 while the network is cut.
  - With O(peer), tells errant transactions, and how near the transactions that this server still needs are to being
    purged there, which would end replication with error 1236.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.info_module
  - seamless.migration.mysql
  - seamless.migration.mysql.platform
author:
  - The seamless.migration authors (@seamless-migration)
options:
  peer:
    description:
      - The source of this server, or another one that it is to be compared with.
    type: dict
    suboptions:
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
  heartbeat_table:
    description:
      - A table C(schema.table) to which the source writes the time in UTC, with fractions of a second, in a column
        C(ts), as pt-heartbeat does.
    type: str
  samples:
    description:
      - How often the lag is measured, a second apart.
    type: int
    default: 1
notes:
  - Needs the privileges C(PROCESS) and C(REPLICATION CLIENT), and C(SELECT) on C(performance_schema). With O(peer),
    also C(REPLICATION SLAVE) there, to look into its binary logs.
seealso:
  - module: seamless.migration.mysql_replica
"""

EXAMPLES = r"""
- name: Look how the new server follows the old one
  seamless.migration.mysql_replication_info:
    login_host: db-new.example.com
    login_user: migration_admin
    login_password: "{{ vault_admin_password }}"
    peer:
      login_host: db-old.example.com
      login_user: migration_admin
      login_password: "{{ vault_admin_password }}"
    samples: 3
  register: replication

- name: Stop when the old server is about to purge what the new one needs
  ansible.builtin.assert:
    that: not replication.info.purge.danger
"""

RETURN = r"""
info:
  description: The picture.
  returned: success
  type: dict
  contains:
    identity:
      description: C(hostname), C(port), C(version), C(version_text), C(flavour), C(platform), C(server_uuid),
        C(server_id).
      type: dict
    read_only:
      description: C(read_only), C(super_read_only), C(fenced), and what is C(persisted) and C(configured), as
        M(seamless.migration.mysql_read_only) returns them.
      type: dict
    gtid:
      description: C(mode), C(enforce_consistency), and the sets C(executed) and C(purged).
      type: dict
    binary_log:
      description: C(enabled), C(format), C(row_image), C(log_replica_updates), C(retention_hours) (null when nothing is
        purged), C(kept_until_purged_by_hand).
      type: dict
    channels:
      description:
        - Its channels, with the columns of C(SHOW REPLICA STATUS) in small letters and under their new names, the same
          ones on every version; what a version lacks is null.
        - Also C(running), C(workers) (the threads of the applier) and C(errors) (sentences with what they mean and what
          to do).
      type: list
      elements: dict
    replicas:
      description: C(connections) of replicas (C(id), C(user), C(host)), and those C(registered) (C(server_id),
        C(server_uuid), C(host), C(port)) where the account may see them.
      type: dict
    lag:
      description:
        - C(ms) is the lag by the best of what is known, C(basis) says which that was, V(heartbeat), V(gtid) (nothing is
          missing), V(applier) (an upper bound that grows while nothing is written) or V(unknown).
        - Also C(samples), C(missing_transactions), C(heartbeat_ms), C(applier_ms).
      type: dict
    errant:
      description: C(gtid_set) and number of C(transactions) that are here and not on the peer. Null without O(peer).
      type: dict
    missing:
      description: The same for what is there and not here.
      type: dict
    purge:
      description:
        - C(danger) says whether the peer has purged what this server needs (C(missing) is that set), will do so within
          a day, or keeps no logs.
        - C(transactions_left) is how many it would purge before that, C(hours_left) when that comes (null for never),
          C(estimate) how that was found, V(age), V(rate), V(gone), V(kept) or V(not kept).
        - Also C(transactions_kept), C(retention_hours), C(binary_logs), C(bytes_kept).
      type: dict
queries:
  description: The statements that were run on both servers. One that only reads is listed once.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.mysql.info import picture
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
        peer={"type": "dict", "options": endpoint_spec()},
        heartbeat_table={"type": "str"},
        samples={"type": "int", "default": 1},
        **platform_spec(),
    )


def look(server, peer, params):
    """Returns the result of the module."""
    with server.session() as session:
        if peer is None:
            info = picture(server, session, None, params["heartbeat_table"], params["samples"])
        else:
            with peer.session() as other:
                info = picture(server, session, other, params["heartbeat_table"], params["samples"])
    return {"changed": False, "info": info}


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    server = Server(module.params)
    peer = Server(module.params["peer"], "peer") if module.params["peer"] else None
    run_module(
        module,
        lambda: look(server, peer, module.params),
        lambda: server.queries + (peer.queries if peer else []),
    )


if __name__ == "__main__":
    main()
