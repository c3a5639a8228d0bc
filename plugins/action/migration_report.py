# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

from ansible_collections.seamless.migration.plugins.module_utils import journal
from ansible_collections.seamless.migration.plugins.plugin_utils import pages
from ansible_collections.seamless.migration.plugins.plugin_utils.journal_action import PageAction
from ansible_collections.seamless.migration.plugins.plugin_utils.report_model import Model, verdict


class ActionModule(PageAction):
    """Write the report."""

    SPEC = {
        "migration": {"type": "str", "required": True},
        "state_dir": {"type": "path", "required": True},
        "dest": {"type": "path"},
    }

    def work(self, params, record, task_vars, result):
        if not os.path.exists(record.path):
            raise journal.JournalError(
                "There is no journal %s. Run a stage of the migration first, or correct migration_name" % record.path
            )
        lock = journal.Lock.of(params["state_dir"], params["migration"])
        model = Model(record.read(), running=lock.owner() is not None)
        page = pages.report(model, params["migration"], record.path)
        path = params.get("dest") or os.path.join(params["state_dir"], params["migration"] + "-report.html")
        self.write(path, page, result)
        said = verdict(model)
        result.update(path=path, bytes=len(page.encode("utf-8")), verdict=said["word"], sentence=said["sentence"])
