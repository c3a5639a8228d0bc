# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mysql_guardrails_overview
short_description: What the guardrails of a MySQL migration found, in a few lines
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Takes the result of M(seamless.migration.mysql_guardrails) and tells what both servers are, which replicas follow
    them, and which gates do not hold.
options:
  _input:
    description: Result of M(seamless.migration.mysql_guardrails).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what was found
  ansible.builtin.debug:
    msg: "{{ found | seamless.migration.mysql_guardrails_overview }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from ansible_collections.seamless.migration.plugins.module_utils.mysql.overview import guardrails


class FilterModule:
    """Filters of the MySQL guardrails."""

    def filters(self):
        return {"mysql_guardrails_overview": guardrails}
