# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare trees, or write the manifest of one, and tell meanwhile how far that is."""

from __future__ import annotations

from ansible_collections.seamless.migration.plugins.plugin_utils.compare_action import CompareAction, Progress
from ansible_collections.seamless.migration.plugins.plugin_utils.words import size


class ActionModule(CompareAction):
    """Action of the module tree_compare."""

    MODULE = "tree_compare"

    @staticmethod
    def is_short(arguments):
        return arguments.get("state") == "absent" or arguments.get("level") == "touched"

    @staticmethod
    def progress(arguments, told):
        phase = told.get("phase", "begin")
        if told.get("hashed_bytes"):
            phase += " (%s of content)" % size(told["hashed_bytes"])
        done, total = told.get("entries", 0), told.get("entries_total")
        return Progress(arguments.get("path"), phase, done, total, "entries")
