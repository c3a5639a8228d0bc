# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions that write the journal share: options, secrets, and who runs them."""

from __future__ import annotations

import getpass
import multiprocessing
import os
import socket
import time
import unicodedata

from ansible import context
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.migration.plugins.module_utils import journal
from ansible_collections.seamless.migration.plugins.plugin_utils import pages

WHERE = {
    "migration": {"type": "str", "required": True},
    "state_dir": {"type": "path", "required": True},
    "stage": {"type": "str"},
    "step": {"type": "str"},
    "host": {"type": "str"},
}


# Where the journal lies when migration_state_dir is not set, as the roles have it.
_STATE_DIR = "{{ (inventory_dir | default(ansible_inventory_sources[0] | dirname)) ~ '/migration' }}"
# Inputs that are dictionaries with secrets in them.
_WITH_SECRETS = ("migration_mysql",)


def main_process():
    """The process id of ansible-playbook.

    Actions run in workers that it forks with multiprocessing, which tells each its parent. Where a strategy runs them
    without a worker, it is this process.
    """
    parent = multiprocessing.parent_process()
    return parent.pid if parent else os.getpid()


def user():
    """Who runs this, as user@controller; the one who called sudo, where somebody did."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        name = str(os.getuid())
    return "%s@%s" % (name, socket.gethostname())


def owner():
    """This run of ansible-playbook, as the lock names it."""
    playbooks = [os.path.basename(str(name)) for name in context.CLIARGS.get("args") or ()]
    return journal.owner_of(main_process(), user=user(), playbook=" ".join(playbooks)[:200])


def secret_values(variables, template):
    """Values of those variables that look like secrets of ours or of the connection, as list of str.

    variables: dict. template: callable that turns a value with templates into one without.
    """
    found = []
    for name in map(str, variables):
        if name.startswith(("migration_", "ansible_")) and (journal.is_secret(name) or name in _WITH_SECRETS):
            try:
                found += _secrets_in(journal.is_secret(name), template(variables[name]))
            except Exception:  # noqa: BLE001 a variable that nobody uses here may refer to what is undefined
                continue
    return found


class ProgressJournal:
    """Writes how far long work is to the journal of the migration, now and then.

    task_vars: of the task; without a migration_name among them, or before the journal of it exists, nothing is written.
    template: see secret_values().
    """

    def __init__(self, task_vars, template, clock=time.monotonic):
        self.clock = clock
        self.began = self.last = clock()
        self.record = self._find(task_vars, template)

    @staticmethod
    def _find(task_vars, template):
        try:
            name = template(task_vars["migration_name"])
            folder = template(task_vars.get("migration_state_dir", _STATE_DIR))
            record = journal.Journal.of(folder, name)
        except Exception:  # noqa: BLE001 whoever uses a role alone has no migration, or half of its inputs
            return None
        return record if os.path.exists(record.path) else None

    def due(self):
        """Whether it is time: every 2 s at first, every 5 minutes on the third day."""
        return self.clock() - self.last >= min(300.0, max(2.0, (self.clock() - self.began) / 200))

    def write(self, step, data, host):
        """Write a measurement, when it is time. Never fails: the work goes on without its picture."""
        if not self.record or not self.due():
            return
        self.last = self.clock()
        try:
            self.record.append("measured", data=data, step=step, host=host)
        except journal.JournalError:
            self.record = None


def _secrets_in(secret, value):
    """The secrets in a value: all of its texts when it is secret itself, else those under keys that look like it."""
    if isinstance(value, dict):
        return [
            text
            for key, item in value.items()
            for text in _secrets_in(secret or journal.is_secret(str(key)), item)
        ]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _secrets_in(secret, item)]
    return [str(value)] if secret and isinstance(value, str) and len(value) >= 4 else []


def _refuse_control_characters(params):
    for option in ("migration", "state_dir", "stage", "step", "host", "name", "advice"):
        value = params.get(option)
        if value and any(unicodedata.category(character) == "Cc" for character in value):
            raise journal.JournalError("%s is %r: control characters are not allowed in it" % (option, value))


class JournalAction(ActionBase):
    """An action that runs on the controller only and needs nothing of the host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    SPEC: dict = {}

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        result["changed"] = False
        try:
            params = self._params()
            self.work(params, journal.Journal.of(params["state_dir"], params["migration"]), task_vars or {}, result)
        except journal.JournalError as error:
            result.update(failed=True, msg=str(error))
        return result

    def work(self, params, record, task_vars, result):
        """Do it. params: the options; record: the Journal; result: dict to fill in. Raises JournalError."""
        raise NotImplementedError

    def _params(self):
        validated = ArgumentSpecValidator(self.SPEC).validate(dict(self._task.args))
        if validated.unsupported_parameters:
            unknown = sorted(
                name if isinstance(name, str) else ".".join(map(str, name)) for name in validated.unsupported_parameters
            )
            raise journal.JournalError(
                "There is no option %s. The options are %s" % (", ".join(unknown), ", ".join(sorted(self.SPEC)))
            )
        if validated.error_messages:
            raise journal.JournalError("; ".join(validated.error_messages))
        params = validated.validated_parameters
        _refuse_control_characters(params)
        if not os.path.isabs(params["state_dir"]):
            raise journal.JournalError("state_dir is %r. Give an absolute path on the controller" % params["state_dir"])
        return params

    def secrets(self, task_vars):
        """Values of the variables that look like secrets of ours or of the connection, as list of str."""
        return secret_values(task_vars, self._templar.template)

    def clean(self, data, task_vars):
        """What may be recorded and shown of data (dict or None)."""
        data = data or {}
        if self._task.no_log:
            return {"no_log": True} if data else {}
        return journal.masked(data, self.secrets(task_vars) if data else ())

    def where(self, params):
        return {key: params.get(key) or None for key in ("stage", "step", "host")}


class PageAction(JournalAction):
    """An action that writes pages on the controller."""

    def write(self, path, content, result):
        """Write a page; in check mode tell only whether it would differ. Raises JournalError."""
        journal.make_folder(os.path.dirname(path))
        try:
            result["changed"] |= pages.differs(path, content) if self._task.check_mode else pages.written(path, content)
        except OSError as error:
            raise journal.JournalError(
                "Failed to write %s: %s. Choose another dest" % (path, error.strerror)
            ) from error
