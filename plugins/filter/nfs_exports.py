# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nfs_exports
short_description: What a storage server exports by NFS in a migration
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Turns C(migration_nfs) into the exports of one side, as the role P(seamless.migration.nfs_server#role) takes them.
positional: trees, side
extends_documentation_fragment:
  - seamless.migration.storage_filters
  - seamless.migration.storage_filters.side
options:
  _input:
    description: The input C(migration_nfs).
    type: dict
    required: true
  clients:
    description: Who may mount where an export does not say so.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what the new server exports
  ansible.builtin.debug:
    msg: "{{ migration_nfs | seamless.migration.nfs_exports(migration_trees, 'target', clients=['192.0.2.0/24']) }}"
"""

RETURN = r"""
_value:
  description: Exports, each with C(path), C(clients) and the options that were given.
  type: list
  elements: dict
"""

from ansible_collections.seamless.migration.plugins.module_utils.nfs.migration import exports_of


def _filter(nfs, trees, side, *, clients=()):
    return exports_of(nfs, trees, side, list(clients))


class FilterModule:
    """Filters of the exports."""

    def filters(self):
        return {"nfs_exports": _filter}
