# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    # What filters of the storage part are given beside their input.
    DOCUMENTATION = r"""
options:
  trees:
    description: The trees that move, each with C(name), C(source) and C(target).
    type: list
    elements: dict
    required: true
"""

    # For those that tell what holds while one of the two servers serves. Use it beside the fragment above.
    SIDE = r"""
options:
  side:
    description: Which of the two servers serves.
    type: str
    choices:
      - source
      - target
    required: true
"""
