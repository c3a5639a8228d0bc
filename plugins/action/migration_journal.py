# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.seamless.migration.plugins.module_utils import journal
from ansible_collections.seamless.migration.plugins.plugin_utils.journal_action import WHERE, JournalAction, owner

# Written by the actions themselves.
_OWN = ("gate", "lock")


class ActionModule(JournalAction):
    """Record an event, read the journal, take or give back the lock."""

    SPEC = dict(
        WHERE,
        event={"type": "str", "choices": ["read"] + [event for event in journal.EVENTS if event not in _OWN]},
        side={"type": "str", "choices": list(journal.SIDES)},
        data={"type": "dict", "default": {}},
        lock={"type": "str", "choices": ["acquire", "release", "held"]},
        count={"type": "int", "default": 20},
    )

    def work(self, params, record, task_vars, result):
        event = None if params.get("event") == "read" else params.get("event")
        if params.get("side") and event != "committed":
            raise journal.JournalError("side belongs to event committed. Leave it out, or record that event")
        result["path"] = record.path
        if event == "started":
            journal.refuse_other_kind(record, params.get("stage"))
        lock = journal.Lock.of(params["state_dir"], params["migration"])
        me = owner()
        taken_over = None
        if params.get("lock") in ("acquire", "held"):
            taken_over = self._hold(params, lock, me, record, result)
        if event:
            result["event"] = self._record(event, params, record, task_vars)
        else:
            result["events"] = record.tail(max(params["count"], 0))
            result["summary"] = record.state()
        if params.get("lock") == "release" and not self._task.check_mode and lock.release(me):
            record.append("lock", data={"state": "released"}, **self.where(params))
        if params.get("lock") or not event:
            holder = lock.owner()
            result["lock"] = {
                "held": bool(holder and journal.same_run(holder, me)),
                "owner": holder,
                "taken_over": taken_over,
            }

    def _hold(self, params, lock, me, record, result):
        """Take the lock, or see that it is ours. Returns the dead owner from whom it was taken, or None."""
        holder = lock.owner()
        mine = bool(holder and journal.same_run(holder, me))
        if self._task.check_mode:
            if holder and not mine:
                result["warnings"] = [lock.refusal(holder)]
            return None
        if params["lock"] == "held":
            if not mine:
                raise journal.JournalError(
                    lock.refusal(holder)
                    if holder
                    else "This run does not hold the lock %s. Take it with lock: acquire first" % lock.path
                )
            return None
        if mine:
            return None
        taken_over = lock.acquire(me)
        if not lock.taken:
            return None  # another worker of this run was faster, and records it
        data = {"state": "acquired", "pid": me["pid"], "user": me["user"], "playbook": me["playbook"]}
        if taken_over:
            data.update(state="taken_over", dead={key: taken_over.get(key) for key in ("pid", "user", "since")})
        record.append("lock", data=data, **self.where(params))
        return taken_over

    def _record(self, event, params, record, task_vars):
        data = self.clean(params["data"], task_vars)
        if event == "committed":
            said = {"data": params["data"] or {}, "stage": params.get("stage")}
            data["side"] = params.get("side") or journal.side_of(said)
        if self._task.check_mode:
            return dict(self.where(params), at=journal.now(), migration=params["migration"], event=event, data=data)
        return record.append(event, data=data, **self.where(params))
