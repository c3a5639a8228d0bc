# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.utils.display import Display
from ansible_collections.seamless.migration.plugins.action.bulk_copy import measured
from ansible_collections.seamless.migration.plugins.module_utils import journal, journal_schema
from ansible_collections.seamless.migration.plugins.plugin_utils import status_model
from ansible_collections.seamless.migration.plugins.plugin_utils.journal_action import JournalAction
from ansible_collections.seamless.migration.plugins.plugin_utils.report_model import Model
from ansible_collections.seamless.migration.plugins.plugin_utils.watching import on_terminal

display = Display()

LOOK = {
    "host": {"type": "str"},
    "copies": {"type": "list", "elements": "dict", "default": []},
    "live_sync": {"type": "dict", "default": {}},
    "replication": {"type": "dict", "default": {}},
}


def measurements(look):
    """What a look at a host measured: list of (measurement, data)."""
    found = []
    for copy in look["copies"]:
        if copy.get("state") in ("running", "starting", "paused") and copy.get("progress"):
            found.append(("copy", measured(copy.get("job") or "", copy["progress"])))
    if look["live_sync"].get("alive") and look["live_sync"].get("syncs"):
        found.append(("live_sync", journal_schema.live_sync_data(look["live_sync"])))
    if (look["replication"].get("info") or {}).get("channels"):
        found.append(("replication", {"channels": journal_schema.channels_of(look["replication"]["info"])}))
    return found


class ActionModule(JournalAction):
    """Tell how far a migration is."""

    SPEC = {
        "migration": {"type": "str", "required": True},
        "state_dir": {"type": "path", "required": True},
        "looks": {"type": "list", "elements": "dict", "options": LOOK, "default": []},
        "format": {"type": "str", "choices": ["auto", *status_model.FORMATS], "default": "auto"},
    }

    def work(self, params, record, task_vars, result):
        events = list(record.read())
        for look in params["looks"]:
            for step, data in measurements(look):
                events.append(self._event(record, step, self.clean(data, task_vars), look.get("host")))
        owner = journal.Lock.of(params["state_dir"], params["migration"]).owner()
        model = Model(events, running=owner is not None)
        found = status_model.status(model, params["migration"], owner)
        form = params["format"]
        if form == "auto":
            form = "table" if on_terminal() else "lines"
        display.display("\n%s\n" % status_model.text(found, form))
        result["status"] = found

    def _event(self, record, step, data, host):
        """Record a measurement; in check mode only make it."""
        if not self._task.check_mode:
            return record.append("measured", data=data, step=step, host=host)
        made = {"at": journal.now(), "stage": None, "step": step, "host": host, "event": "measured", "data": data}
        return dict(made, migration=record.migration)
