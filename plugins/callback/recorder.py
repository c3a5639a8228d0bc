# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: recorder
type: notification
short_description: Write to the journal of a migration what its plays took, measured and failed at
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Adds to the journal of a migration what the playbooks do not record themselves. How long each play of a stage
    took, what modules of this collection measured, the tasks of the window, and tasks that failed with the cause.
  - The playbooks of this collection bring it along, also where they are imported. Whoever builds a playbook of the
    roles enables it with C(callbacks_enabled = seamless.migration.recorder) in C(ansible.cfg).
  - Writes from the start of a stage that M(seamless.migration.migration_journal) has recorded, never in check mode,
    and never while nobody can write; what was seen in the window follows when it is closed.
requirements:
  - enable in configuration, except with the playbooks of this collection
"""

import time

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar
from ansible_collections.seamless.migration.plugins.plugin_utils.journal_action import secret_values
from ansible_collections.seamless.migration.plugins.plugin_utils.recorder import OURS, Recorder

# One of them is enough, when a user has enabled what a playbook brings along.
_active: list = []


def name_of(task):
    """The name of a task, without that of its role."""
    return str(task.name or task.action).strip()


class CallbackModule(CallbackBase):
    """Feeds the recorder."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "seamless.migration.recorder"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        if _active or context.CLIARGS.get("check"):
            self.disabled = True
        _active.append(self)
        self._recorder = Recorder()
        self._began = {}
        self._play = None

    def v2_playbook_on_play_start(self, play):
        self._play = play
        self._recorder.play_begins(play.get_name().strip())

    def v2_runner_on_start(self, host, task):
        self._began[(host.get_name(), task._uuid)] = time.time()

    def v2_runner_on_ok(self, result):
        self._ended(result)

    def v2_runner_item_on_ok(self, result):
        self._measured(result)

    def v2_runner_item_on_failed(self, result):
        self._measured(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._ended(result)
        if not ignore_errors:
            self._failed(result)

    def v2_runner_on_unreachable(self, result):
        self._failed(result)

    def v2_playbook_on_stats(self, stats):
        hosts = [host for host in stats.processed if stats.failures.get(host) or stats.dark.get(host)]
        self._recorder.run_ends(hosts)

    def _ended(self, result):
        task, outcome = result._task, result._result
        host = result._host.get_name()
        began = self._began.pop((host, task._uuid), time.time())
        event = outcome.get("event")
        if task.resolved_action == OURS + "migration_journal" and isinstance(event, dict):
            self._know_secrets(result)
            self._recorder.journal_wrote(outcome.get("path"), event)
            return
        self._recorder.task_ended(name_of(task), host, began)
        if "results" not in outcome:  # the items of a loop were told one by one
            self._measured(result)

    def _measured(self, result):
        action = result._task.resolved_action or result._task.action
        args = (result._result.get("invocation") or {}).get("module_args") or {}
        self._recorder.measured(action, result._host.get_name(), result._result, args)

    def _failed(self, result):
        task = result._task
        self._know_secrets(result)
        action = task.resolved_action or task.action
        self._recorder.task_failed(name_of(task), result._host.get_name(), action, result._result)

    def _know_secrets(self, result):
        """Learn once what must never be written."""
        if self._recorder.secrets or not self._play:
            return
        try:
            manager = self._play.get_variable_manager()
            variables = manager.get_vars(play=self._play, host=result._host, task=result._task)
            templar = Templar(self._play.get_loader(), variables=variables)
            self._recorder.secrets = secret_values(variables, templar.template)
        except Exception as error:  # noqa: BLE001 a variable of the user's may be broken; the run goes on
            self._display.vvv("seamless.migration.recorder: %s" % error)
