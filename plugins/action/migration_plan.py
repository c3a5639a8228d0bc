# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

from ansible import context
from ansible_collections.seamless.migration.plugins.module_utils import journal
from ansible_collections.seamless.migration.plugins.plugin_utils import pages
from ansible_collections.seamless.migration.plugins.plugin_utils.journal_action import PageAction
from ansible_collections.seamless.migration.plugins.plugin_utils.plan_model import mysql_plan, storage_plan
from ansible_collections.seamless.migration.plugins.plugin_utils.report_model import Model

STORAGE = {
    "trees": {"type": "list", "elements": "dict", "required": True},
    "source": {"type": "str", "default": ""},
    "target": {"type": "str", "default": ""},
    "clients": {"type": "list", "elements": "str", "default": []},
    "storage_workers": {"type": "list", "elements": "str", "default": []},
    "workers": {"type": "int", "default": 0},
    "bwlimit_kib_per_s": {"type": "int", "default": 0},
    "rsync_port": {"type": "int", "default": 873},
    "writers": {"type": "list", "elements": "str", "default": []},
    "freeze_budget": {"type": "int", "default": 60},
    "service_name": {"type": "str", "default": ""},
    "live_sync_method": {"type": "str", "default": "lsyncd"},
    "verify_level": {"type": "str", "default": "sample"},
    "batch_jobs": {"type": "list", "elements": "dict", "default": []},
    "hooks": {"type": "dict", "default": {}},
    "nfs": {"type": "dict", "default": {}},
    "looks": {"type": "dict", "default": {}},
}


class ActionModule(PageAction):
    """Write the plan."""

    SPEC = {
        "migration": {"type": "str", "required": True},
        "state_dir": {"type": "path", "required": True},
        "dest": {"type": "path"},
        "storage": {"type": "dict", "options": STORAGE},
        "mysql": {"type": "dict", "default": {}},
        "mysql_look": {"type": "dict", "default": {}},
        "force_gates": {"type": "list", "elements": "str", "default": []},
    }

    def work(self, params, record, task_vars, result):
        model = Model(record.read())
        secrets = self.secrets(task_vars)
        plans = []
        if params.get("storage"):
            inputs = dict(journal.masked(params["storage"], secrets), force_gates=params["force_gates"])
            plans.append(storage_plan(inputs, inputs.pop("looks"), model))
        if params["mysql"]:
            inputs = {"mysql": journal.masked(params["mysql"], secrets), "force_gates": params["force_gates"]}
            plans.append(mysql_plan(inputs, journal.masked(params["mysql_look"], secrets), model))
        if not plans:
            raise journal.JournalError(
                "There is nothing to plan: neither migration_trees nor migration_mysql is set. Set one of them"
            )
        inventory = ",".join(str(name) for name in context.CLIARGS.get("inventory") or ())
        base = params.get("dest") or os.path.join(params["state_dir"], params["migration"] + "-plan")
        page, text = pages.plan(plans, params["migration"], record.path, inventory)
        self.write(base + ".html", page, result)
        self.write(base + ".md", text, result)
        unknown = [sentence for plan in plans for sentence in plan["unknown"]]
        result.update(html=base + ".html", markdown=base + ".md", unknown=unknown)
