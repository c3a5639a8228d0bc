# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: sided_trees
short_description: The trees of a migration as the source or the target sees them
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Turns C(migration_trees) into what roles and modules on one of the two hosts need.
positional: side
options:
  _input:
    description: The trees that move, each with C(name), C(source) and C(target).
    type: list
    elements: dict
    required: true
  side:
    description: On which host the trees are looked at.
    type: str
    choices:
      - source
      - target
    required: true
  url:
    description: Where the rsync daemon of the other side is, as C(rsync://user@host:port).
    type: str
    default: ''
  extra:
    description: Keys that every tree gets.
    type: dict
    default: {}
  live_sync:
    description: Settings of live sync for M(seamless.migration.storage_freeze), completed for each tree.
    type: dict
    default: {}
  touched:
    description: By tree the size in bytes of the list of touched paths at the last clean compare.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show where the source's trees lie
  ansible.builtin.debug:
    msg: "{{ migration_trees | seamless.migration.sided_trees('source', url='rsync://migration@files-new:873') }}"
"""

RETURN = r"""
_value:
  description: >-
    Trees with C(name), C(path), C(private_path), C(require_mountpoint), C(exclude), C(dest_url), C(live_sync)
    and the keys of O(extra).
  type: list
  elements: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.seamless.migration.plugins.module_utils.storage.sides import sided_trees


def _filter(trees, side, *, url="", extra=None, live_sync=None, touched=None):
    try:
        return sided_trees(trees, side, url=url, extra=extra, live_sync=live_sync, touched=touched)
    except ValueError as error:
        raise AnsibleFilterError("sided_trees: %s" % error) from error


class FilterModule:
    """Filters of the storage trees."""

    def filters(self):
        return {"sided_trees": _filter}
