# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nfs_gates
short_description: Decide the gates of a storage migration that has NFS clients
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Takes what M(seamless.migration.nfs_info) returned on both servers and decides each gate of the preflight.
  - With O(ready) it decides only whether the server of that side can take over.
positional: target, trees, nfs
extends_documentation_fragment:
  - seamless.migration.storage_filters
options:
  _input:
    description: Result of M(seamless.migration.nfs_info) on the source.
    type: dict
    required: true
  target:
    description: Result of M(seamless.migration.nfs_info) on the target.
    type: dict
    required: true
  nfs:
    description: The input C(migration_nfs).
    type: dict
    required: true
  known:
    description: By host of the inventory its addresses.
    type: dict
    default: {}
  ready:
    description: The side that takes over.
    type: str
    choices:
      - source
      - target
"""

EXAMPLES = r"""
- name: Show which gates would fail
  vars:
    known: {app1: [192.0.2.31]}
  ansible.builtin.debug:
    msg: "{{ on_source | seamless.migration.nfs_gates(on_target, migration_trees, migration_nfs, known=known) }}"
"""

RETURN = r"""
_value:
  description: Gates, each with C(name), C(ok), C(evidence) and C(advice).
  type: list
  elements: dict
"""

from ansible_collections.seamless.migration.plugins.module_utils.nfs.migration import preflight_gates, server_ready


def _filter(source, target, trees, nfs, *, known=None, ready=None):
    if ready:
        return [server_ready(target if ready == "target" else source, trees, nfs, ready)]
    return preflight_gates(source, target, trees, nfs, known or {})


class FilterModule:
    """Filters of the NFS gates."""

    def filters(self):
        return {"nfs_gates": _filter}
