# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: preflight_gates
short_description: Decide the gates of the storage preflight from the facts of both hosts
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Takes what M(seamless.migration.storage_info) returned on source and target and decides each gate of the preflight.
positional: target, trees
extends_documentation_fragment:
  - seamless.migration.storage_filters
options:
  _input:
    description: Result of M(seamless.migration.storage_info) on the source.
    type: dict
    required: true
  target:
    description: Result of M(seamless.migration.storage_info) on the target.
    type: dict
    required: true
  writers:
    description: Systemd units that must exist on both hosts.
    type: list
    elements: str
    default: []
  clock_tolerance:
    description: How far, in seconds, the clocks may be apart.
    type: float
    default: 2.0
  clock_slack:
    description: Seconds within which both clocks were read.
    type: float
    default: 0.0
  reserve_percent:
    description: How much more space than now must be free on the target.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Show which gates would fail
  ansible.builtin.debug:
    msg: "{{ source_facts | seamless.migration.preflight_gates(target_facts, migration_trees) | rejectattr('ok') }}"
"""

RETURN = r"""
_value:
  description: Gates, each with C(name), C(ok), C(evidence) and C(advice).
  type: list
  elements: dict
"""

from ansible_collections.seamless.migration.plugins.module_utils.storage.preflight import preflight_gates


def _filter(source, target, trees, *, writers=(), clock_tolerance=2.0, clock_slack=0.0, reserve_percent=5):
    options = {
        "writers": list(writers),
        "clock_tolerance": float(clock_tolerance),
        "clock_slack": float(clock_slack),
        "reserve_percent": int(reserve_percent),
    }
    return preflight_gates(source, target, trees, options)


class FilterModule:
    """Filters of the storage preflight."""

    def filters(self):
        return {"preflight_gates": _filter}
