# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    # For modules whose work can be done in a process of its own that is looked at.
    DOCUMENTATION = r"""
options:
  job:
    description:
      - Name of a job. With it the module does its work in a process of its own, and returns after three seconds at the
        latest. Either it is done by then, or RV(state) is V(running); called again with the same name it looks on, and
        passes over its other options.
      - A job that nobody asks for during five minutes is ended.
      - The action plugin of the same name gives one by itself and calls the module until the end, in order to show how
        far it is. What it shows depends on the variables C(NAME_quiet), V(false) by default, and
        C(NAME_progress_interval), seconds between two lines where the output is no terminal, V(30) by default, with the
        name of the module in front.
    type: str
attributes:
  action:
    description:
      - Has an action plugin, which shows how far the work is.
    support: full
"""
