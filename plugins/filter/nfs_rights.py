# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: nfs_rights
short_description: Decide whether NFS clients may do the same after a switch, as the same users
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Compares what the exports of two servers give to each client, of writing, squashed users and security flavours, and
    decides the gate C(nfs_rights).
positional: right, rehearsed
options:
  _input:
    description: C(rights) that M(seamless.migration.nfs_info) returned on the server that is left.
    type: list
    elements: dict
    required: true
  right:
    description: The same of the server that takes over.
    type: list
    elements: dict
    required: true
  rehearsed:
    description:
      - By client what M(seamless.migration.nfs_mount) returned with C(state=rehearsed) for each of its mounts, as list.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show which clients would have other rights
  ansible.builtin.debug:
    msg: "{{ (on_old.rights | seamless.migration.nfs_rights(on_new.rights, {'app1': [rehearsed]})).evidence.problems }}"
"""

RETURN = r"""
_value:
  description: The gate, with C(name), C(ok), C(evidence) and C(advice).
  type: dict
"""

from ansible_collections.seamless.migration.plugins.module_utils.nfs.migration import rights_kept


class FilterModule:
    """Filters of the rights."""

    def filters(self):
        return {"nfs_rights": rights_kept}
