#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_bridge_info
short_description: Tell whether two MySQL servers can both take writes, or have met a conflict
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Looks at two servers that replicate from each other. Which channels do not run, and which were stopped by a
    conflict; which unique keys both could give the same value; which sessions still count by old C(auto_increment)
    settings.
  - A row that was changed on both sides at once is no error for MySQL, and nobody is told. Only a comparison shows it.
  - Changes nothing.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.info_module
  - seamless.migration.mysql.endpoints
options:
  schemas:
    description:
      - Schemas whose unique keys are looked at. All that are not the server's own when empty.
    type: list
    elements: str
    default: []
seealso:
  - module: seamless.migration.mysql_compare
"""

EXAMPLES = r"""
- name: Look at the bridge
  seamless.migration.mysql_bridge_info:
    source: "{{ old_server }}"
    target: "{{ new_server }}"
  register: bridge
"""

RETURN = r"""
conflicts:
  description: Errors of appliers that come from writes on both sides.
  returned: success
  type: list
  elements: str
broken:
  description: Channels that do not run, and why.
  returned: success
  type: list
  elements: str
collisions:
  description: Unique keys for which both servers could choose the same value, as C(schema.table.key).
  returned: success
  type: list
  elements: str
stale_sessions:
  description: Sessions of both servers that count by other C(auto_increment) settings than the global ones.
  returned: success
  type: list
  elements: dict
  contains:
    server:
      description: V(source) or V(target).
      type: str
    id:
      description: Number of the connection.
      type: int
    user:
      description: Its account.
      type: str
    host:
      description: Where it comes from.
      type: str
queries:
  description: The statements that were run on both servers.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.mysql import canary
from ansible_collections.seamless.migration.plugins.module_utils.mysql.guardrail_facts import user_schemas
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import endpoint_spec, run_module
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server


def argument_spec():
    """The options of the module."""
    return {
        "source": {"type": "dict", "required": True, "options": endpoint_spec()},
        "target": {"type": "dict", "required": True, "options": endpoint_spec()},
        "schemas": {"type": "list", "elements": "str", "default": []},
    }


def look(servers, schemas):
    """servers: {"source", "target"}: Server. Returns the result. Raises MySQLMigrationError."""
    found = {"changed": False, "conflicts": [], "broken": [], "collisions": [], "stale_sessions": []}
    for side, server in servers.items():
        with server.session() as session:
            server.identify(session)
            found["conflicts"] += ["%s: %s" % (side, text) for text in canary.conflicts(session)]
            found["broken"] += ["%s: %s" % (side, text) for text in canary.problems_of_channels(session)]
            found["stale_sessions"] += [dict(row, server=side) for row in canary.stale_sessions(session)]
            if side == "source":
                found["collisions"] = canary.collisions(session, schemas or _schemas(session))
    return found


def _schemas(session):
    return [name for name in user_schemas(session) if name != canary.SCHEMA]


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    servers = {side: Server(module.params[side], side) for side in ("source", "target")}
    run_module(
        module,
        lambda: look(servers, module.params["schemas"]),
        queries=lambda: servers["source"].queries + servers["target"].queries,
    )


if __name__ == "__main__":
    main()
