# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mysql_input_errors
short_description: Say what is wrong with the inputs of a MySQL migration
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Takes the inputs of a MySQL migration and returns a list of sentences, empty when all is well.
  - No sentence holds a password.
options:
  _input:
    description: The inputs C(name) and C(mysql), which are C(migration_name) and C(migration_mysql).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Check the inputs
  vars:
    inputs:
      name: shop2026
      mysql: "{{ migration_mysql }}"
  ansible.builtin.assert:
    that: inputs | seamless.migration.mysql_input_errors | length == 0
"""

RETURN = r"""
_value:
  description: What is wrong, a sentence each.
  type: list
  elements: str
"""

from ansible_collections.seamless.migration.plugins.module_utils.mysql.inputs import input_errors


class FilterModule:
    """Filters of the MySQL inputs."""

    def filters(self):
        return {"mysql_input_errors": input_errors}
