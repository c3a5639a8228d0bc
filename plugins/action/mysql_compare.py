# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the data of two MySQL servers, and tell meanwhile how far that is."""

from __future__ import annotations

from ansible_collections.seamless.migration.plugins.plugin_utils.compare_action import CompareAction, Progress


class ActionModule(CompareAction):
    """Action of the module mysql_compare."""

    MODULE = "mysql_compare"

    @staticmethod
    def progress(arguments, told):
        phase = "begin"
        if told.get("table"):
            phase = "%s, %d/%d tables" % (told["table"], told["tables"], told["tables_total"])
        return Progress("mysql", phase, told.get("rows", 0), told.get("rows_total"), "rows")
