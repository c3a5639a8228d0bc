# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nfs_mounts
short_description: What a client mounts by NFS while one side of a migration serves
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Completes the mounts of a client with server and export, as M(seamless.migration.nfs_mount) takes them.
positional: trees, side, server
extends_documentation_fragment:
  - seamless.migration.storage_filters
  - seamless.migration.storage_filters.side
options:
  _input:
    description: The mounts of the client, C(migration_nfs_mounts) or C(migration_nfs.mounts).
    type: list
    elements: dict
    required: true
  server:
    description: Name or address of that server, as the client reaches it.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what the clients mount after the switch
  ansible.builtin.debug:
    msg: "{{ migration_nfs.mounts | seamless.migration.nfs_mounts(migration_trees, 'target', 'files-new') }}"
"""

RETURN = r"""
_value:
  description: Mounts, each with C(path), C(server), C(export) and the options that were given.
  type: list
  elements: dict
"""

from ansible_collections.seamless.migration.plugins.module_utils.nfs.migration import mounts_of


class FilterModule:
    """Filters of the mounts."""

    def filters(self):
        return {"nfs_mounts": mounts_of}
