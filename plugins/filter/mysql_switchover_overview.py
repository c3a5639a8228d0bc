# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mysql_switchover_overview
short_description: What a switchover did, in a few lines
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Takes the result of M(seamless.migration.mysql_switchover) and tells each step with its milliseconds, and which
    server takes the writes.
positional: back
options:
  _input:
    description: Result of M(seamless.migration.mysql_switchover).
    type: dict
    required: true
  back:
    description: Whether it was the way back, so that the servers were exchanged.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what was done
  ansible.builtin.debug:
    msg: "{{ switched | seamless.migration.mysql_switchover_overview }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from ansible_collections.seamless.migration.plugins.module_utils.mysql.overview import switchover


class FilterModule:
    """Filters of the MySQL switchover."""

    def filters(self):
        return {"mysql_switchover_overview": switchover}
