# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: unclean_trees
short_description: Name the trees that a comparison has not proven equal
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Takes results of M(seamless.migration.tree_compare) of whole trees, and of what was mended after that.
positional: mended
options:
  _input:
    description: Results of the comparison of whole trees.
    type: list
    elements: dict
    required: true
  mended:
    description: In the same order, results of the comparison of what was mended; skipped ones count as nothing.
    type: list
    elements: dict
    required: true
  extra_allowed:
    description: Whether files that only the target has do not count, while live sync carries no deletions.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Stop when a tree is not proven equal
  ansible.builtin.assert:
    that: compared.results | seamless.migration.unclean_trees(mended.results) | length == 0
"""

RETURN = r"""
_value:
  description: Trees that are not proven equal, each with C(tree) and C(problems).
  type: list
  elements: dict
"""

from ansible_collections.seamless.migration.plugins.module_utils.storage.verify import unclean_trees


class FilterModule:
    """Filters of the comparison."""

    def filters(self):
        return {"unclean_trees": unclean_trees}
