# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mysql_login
short_description: What the MySQL modules take of an endpoint
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Takes C(migration_mysql.source), C(migration_mysql.target) or one of C(migration_mysql.replicas), and keeps the
    connection options, which is what the modules take.
positional: name
options:
  _input:
    description: An endpoint of C(migration_mysql).
    type: dict
    required: true
  name:
    description: Whether the name of a replica is kept.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Look at both servers
  seamless.migration.mysql_guardrails:
    source: "{{ migration_mysql.source | seamless.migration.mysql_login }}"
    target: "{{ migration_mysql.target | seamless.migration.mysql_login }}"
"""

RETURN = r"""
_value:
  description: The connection options.
  type: dict
"""

from ansible_collections.seamless.migration.plugins.module_utils.mysql.inputs import login


class FilterModule:
    """Filters of the MySQL endpoints."""

    def filters(self):
        return {"mysql_login": login}
