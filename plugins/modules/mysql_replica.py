#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_replica
short_description: Manage a replication channel of a server of MySQL
version_added: 0.1.0
description:
  - Reads the channel, compares it with what is wanted, and changes only what differs. A channel that runs is stopped
    only when something must change that cannot change while it runs, and only the thread that is in the way.
  - After a start it waits until the channel really runs, and otherwise fails with the server's own error, what it means
    and what to do.
  - On RDS the same options go through the procedures C(mysql.rds_*), whichever names the version has for them.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.mysql
  - seamless.migration.mysql.platform
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Passwords are left out.
  idempotent:
    support: full
    details:
      - Not with O(update_password=always).
author:
  - The seamless.migration authors (@seamless-migration)
options:
  state:
    description:
      - V(present) has the channel as described, and leaves it running or stopped as it is. V(started) also runs it,
        V(stopped) also stops it.
      - V(absent) stops and removes it.
    type: str
    choices: [present, absent, started, stopped]
    default: started
  channel:
    description:
      - Name of the channel. Empty for the default one.
    type: str
    default: ""
  partner:
    description:
      - C(server_uuid) of the server that this one is to follow. When it is given, a channel of that name which follows
        another server is refused before anything is changed, and V(absent) leaves it as it is.
      - The channel may lead to the partner under any name, or to where O(source_host) and O(source_port) say; one that
        has never connected may have the account O(source_user).
    type: str
  source_host:
    description:
      - Name or address of the source, as this server reaches it. Needed to make a channel.
    type: str
  source_port:
    description:
      - Its port. 3306 when O(source_host) is given without one.
    type: int
  source_user:
    description:
      - The account for replication.
    type: str
  source_password:
    description:
      - Its password, at most 32 characters.
    type: str
  update_password:
    description:
      - When the password of a channel that exists is set.
      - V(on_change) when it differs from the one that the server keeps in C(mysql.slave_master_info). Where the account
        may not read that table, as on RDS, when host, port or user of the source change, or when the source denied
        access.
      - V(always) at every run. V(on_create) only when the channel is made.
    type: str
    choices: [on_change, always, on_create]
    default: on_change
  source_ssl:
    description:
      - Whether the connection to the source is encrypted. V(true) for a new channel when it is not given.
    type: bool
  source_ssl_ca:
    description:
      - Certificate of the authority that signed the source's certificate, a path on this server.
    type: str
  source_ssl_cert:
    description:
      - Certificate of the account, a path on this server.
    type: str
  source_ssl_key:
    description:
      - Key of O(source_ssl_cert), a path on this server.
    type: str
  source_ssl_verify:
    description:
      - Whether the source's certificate must be for O(source_host).
    type: bool
  get_source_public_key:
    description:
      - Whether the source's public key is fetched to encrypt the password, which an account with
        C(caching_sha2_password) needs without TLS. Somebody in between could send another key.
    type: bool
  source_delay:
    description:
      - Seconds by which this server stays behind the source.
    type: int
  source_retry_count:
    description:
      - How often the receiver tries to connect again.
    type: int
  source_connect_retry:
    description:
      - Seconds between these attempts.
    type: int
  source_heartbeat_period:
    description:
      - Seconds after which an idle source says that it lives.
    type: float
  auto_position:
    description:
      - Whether the position is found by GTID. V(true) when O(source_host) is given and this is not.
    type: bool
  start_until:
    description:
      - A GTID set. The channel runs until the set is executed; then its applier stops. Needs O(state=started).
      - Nothing is started when the set is executed already.
    type: str
  timeout:
    description:
      - Seconds until the channel must run, until O(start_until) must be reached, or until an RDS instance has stopped.
    type: int
    default: 60
notes:
  - A managed read replica and a Multi-AZ cluster of RDS cannot be given a channel; their procedures refuse it.
seealso:
  - module: seamless.migration.mysql_replication_info
  - module: seamless.migration.mysql_gtid
"""

EXAMPLES = r"""
- name: Follow the old server
  seamless.migration.mysql_replica:
    login_host: db-new.example.com
    login_user: migration_admin
    login_password: "{{ vault_admin_password }}"
    source_host: db-old.example.com
    source_user: migration_repl
    source_password: "{{ vault_repl_password }}"
    source_ssl_ca: /etc/mysql/old-ca.pem
    source_ssl_verify: true

- name: Run the channel up to a snapshot
  seamless.migration.mysql_replica:
    login_host: db-new.example.com
    login_user: migration_admin
    login_password: "{{ vault_admin_password }}"
    start_until: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-1000

- name: Remove the way back
  seamless.migration.mysql_replica:
    login_host: db-old.example.com
    login_user: migration_admin
    login_password: "{{ vault_admin_password }}"
    channel: way_back
    state: absent
"""

RETURN = r"""
steps:
  description: What was done, or would be done in check mode, in its order.
  returned: success
  type: list
  elements: str
  sample: [stop receiver, "change channel: source_ssl", start receiver]
channel:
  description:
    - The channel as it is now, with the same keys on every version of MySQL. Null when there is none. In check mode, as
      it is, not as it would be.
  returned: success
  type: dict
  sample:
    channel_name: ""
    source_host: db-old.example.com
    replica_io_running: "Yes"
    replica_sql_running: "Yes"
    last_io_errno: 0
errors:
  description: Errors of its threads.
  returned: success
  type: list
  elements: dict
  contains:
    thread:
      description: V(receiver) or V(applier).
      type: str
    code:
      description: Number of the error.
      type: int
    text:
      description: The server's text.
      type: str
    told:
      description: The same with what it means and what to do.
      type: str
password_changed:
  description: Whether the password was set.
  returned: success
  type: bool
queries:
  description: The statements that were run, with passwords masked. One that only reads is listed once.
  returned: always
  type: list
  elements: str
  sample: ["CHANGE REPLICATION SOURCE TO SOURCE_SSL = 1, SOURCE_PASSWORD = '********' FOR CHANNEL ''"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import (
    connection_spec,
    platform_spec,
    run_module,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.replica import (
    ChannelPlan,
    channel_of,
    is_foreign,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server


def argument_spec():
    return dict(
        connection_spec(),
        state={"type": "str", "choices": ["present", "absent", "started", "stopped"], "default": "started"},
        channel={"type": "str", "default": ""},
        partner={"type": "str"},
        source_host={"type": "str"},
        source_port={"type": "int"},
        source_user={"type": "str"},
        source_password={"type": "str", "no_log": True},
        update_password={
            "type": "str",
            "choices": ["on_change", "always", "on_create"],
            "default": "on_change",
            "no_log": False,
        },
        source_ssl={"type": "bool"},
        source_ssl_ca={"type": "str"},
        source_ssl_cert={"type": "str"},
        source_ssl_key={"type": "str", "no_log": False},
        source_ssl_verify={"type": "bool"},
        get_source_public_key={"type": "bool"},
        source_delay={"type": "int"},
        source_retry_count={"type": "int"},
        source_connect_retry={"type": "int"},
        source_heartbeat_period={"type": "float"},
        auto_position={"type": "bool"},
        start_until={"type": "str"},
        timeout={"type": "int", "default": 60},
        **platform_spec(),
    )


def manage(server, params, check_mode):
    """Have the channel as wanted. Returns the result of the module."""
    with server.session(read_timeout=params["timeout"] + 30) as session:
        channel = channel_of(server, session, params["channel"], params["timeout"])
        until = params["start_until"]
        reached = bool(until) and gtid.is_subset(session, until, gtid.executed(session))
        found = channel.read()
        known = channel.password() if found and params["source_password"] is not None else None
        plan = ChannelPlan(found, params, known, reached, is_foreign(found, params, server.uuid))
        channel.check(plan)
        if plan.differs and not check_mode:
            channel.apply(plan)
        elif plan.exists and plan.state == "started" and not reached and not check_mode:
            channel.await_running()
        now = channel.read()
        return {
            "changed": plan.differs,
            "diff": {"before": plan.before, "after": plan.after},
            "steps": plan.steps(),
            "channel": now,
            "errors": channel.errors(now) if now else [],
            "password_changed": bool(plan.password),
        }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    server = Server(module.params)
    run_module(module, lambda: manage(server, module.params, module.check_mode), lambda: server.queries)


if __name__ == "__main__":
    main()
