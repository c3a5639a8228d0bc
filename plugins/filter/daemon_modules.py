# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: daemon_modules
short_description: Modules of the rsync daemon for the trees of a migration
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Turns C(migration_trees) into what the role P(seamless.migration.rsync_server#role) takes as its modules.
  - Each module is at the private path of the tree, through which only the migration writes.
options:
  _input:
    description: The trees that move.
    type: list
    elements: dict
    required: true
  read_only:
    description: Whether the daemon refuses to write.
    type: bool
    required: true
"""

EXAMPLES = r"""
- name: Serve the trees to the other side
  ansible.builtin.include_role:
    name: seamless.migration.rsync_server
  vars:
    rsync_server_modules: "{{ migration_trees | seamless.migration.daemon_modules(read_only=false) }}"
"""

RETURN = r"""
_value:
  description: Modules with C(name), C(path) and C(read_only).
  type: list
  elements: dict
"""

from ansible_collections.seamless.migration.plugins.module_utils.storage.sides import daemon_modules


class FilterModule:
    """Filters of the rsync daemon's modules."""

    def filters(self):
        return {"daemon_modules": daemon_modules}
