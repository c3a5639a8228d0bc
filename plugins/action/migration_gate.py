# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

from ansible_collections.seamless.migration.plugins.module_utils import journal
from ansible_collections.seamless.migration.plugins.plugin_utils.journal_action import WHERE, JournalAction, user

_SHORT = 300


def short(evidence):
    """Evidence (dict) as text of one line."""
    text = ", ".join(
        "%s=%s" % (key, value if isinstance(value, str) else json.dumps(value)) for key, value in evidence.items()
    )
    text = " ".join(text.split()) or "no evidence was given"
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."


def sentence(text):
    """Text that ends like a sentence, with a blank behind it, or nothing."""
    text = text.strip()
    if not text:
        return ""
    return text + (" " if text[-1] in ".!?" else ". ")


class ActionModule(JournalAction):
    """Decide a gate and record it."""

    SPEC = dict(
        WHERE,
        name={"type": "str", "required": True},
        that={"type": "bool", "required": True},
        evidence={"type": "dict", "default": {}},
        advice={"type": "str", "default": ""},
        force={"type": "list", "elements": "str", "default": []},
    )

    def work(self, params, record, task_vars, result):
        name = params["name"]
        journal.check_id("name", name)
        evidence = self.clean(params["evidence"], task_vars)
        advice = journal.masked(params["advice"], self.secrets(task_vars))
        state = "forced" if name in params["force"] else "failed"
        if params["that"]:
            state = "ok"
        data = {"name": name, "state": state, "evidence": evidence}
        if state != "ok":
            data["advice"] = advice
        if state == "forced":
            data["forced_by"] = result["forced_by"] = user()
        result.update(path=record.path, name=name, state=state, evidence=evidence)
        if not self._task.check_mode:
            record.append("gate", data=data, **self.where(params))
        if state == "ok":
            return
        about = " for %s" % params["host"] if params.get("host") else ""
        text = "Gate %s failed%s: %s. %s" % (name, about, short(evidence), sentence(advice))
        if state == "forced":
            result["warnings"] = ["%sIt was forced by %s" % (text, result["forced_by"])]
            return
        text += "To go on all the same add %s to migration_force_gates" % name
        if self._task.check_mode:
            result["warnings"] = ["In check mode this is no failure: %s" % text]
        else:
            result.update(failed=True, msg=text)
