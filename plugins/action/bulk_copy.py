# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Begin a bulk copy on the host, then look at it until it ends, telling how far it is.

The copy itself runs in a process of its own on the host: a lost connection is tried again, and an interrupted playbook
leaves the copy running; the next run of the task attaches to it.
"""

from __future__ import annotations

import os
import time

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.seamless.migration.plugins.plugin_utils.journal_action import ProgressJournal

display = Display()

_MODULE = "seamless.migration.bulk_copy"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_ENDED = ("done", "failed", "stopped", "absent")
_MEASURED = (
    "files_done", "files_total", "bytes_now", "bytes_total", "bytes_per_s", "limit_kib_per_s", "retries", "failed"
)  # fmt: skip
_LOST_FOR = 900         # seconds without a connection after which we stop looking on; the copy goes on


def size(number):
    """1536 -> '1.5 KiB'."""
    value = float(number)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return "%.0f %s" % (value, unit) if unit == "B" else "%.1f %s" % (value, unit)
        value /= 1024
    return ""


def duration(seconds):
    """4000 -> '1:06:40'."""
    hours, rest = divmod(int(seconds), 3600)
    return "%d:%02d:%02d" % (hours, rest // 60, rest % 60)


def line(host, job, progress):
    """One line that tells how far a copy is. progress: dict as the module returns it."""
    total = "" if progress.get("counted", True) else "+"
    words = ["%s %s: %s" % (host, job, progress.get("state", "starting"))]
    if progress.get("state") == "running" and progress.get("phase"):
        words = ["%s %s: %s" % (host, job, progress["phase"])]
    words.append("%d/%d%s files" % (progress.get("files_done", 0), progress.get("files_total", 0), total))
    words.append("%s/%s%s" % (size(progress.get("bytes_now", 0)), size(progress.get("bytes_total", 0)), total))
    words.append("%s/s" % size(progress.get("bytes_per_s", 0)))
    eta = progress.get("eta_s")
    words.append("ETA %s" % (duration(eta) if eta is not None else "-"))
    limit = progress.get("limit_kib_per_s", 0)
    words.append("limit %s" % ("%s/s" % size(limit * 1024) if limit else "none"))
    for name in ("retries", "failed"):
        if progress.get(name):
            words.append("%d %s" % (progress[name], name))
    return ", ".join(words)


def measured(job, progress):
    """What the journal keeps of a look at a copy."""
    numbers = {name: progress.get(name) or 0 for name in _MEASURED}
    return dict(numbers, tree=job, phase=progress.get("phase"), eta_s=progress.get("eta_s"))


def on_terminal():
    """Whether one line can be written over and over: ansible-playbook writes to a terminal, and with -vvv nobody else
    writes between. A worker's own output may be cut off from it (ansible-core 2.19 and later), so its parent is asked.
    """
    if display.verbosity > 2:
        return False
    for process in (os.getpid(), os.getppid()):
        try:
            if os.readlink("/proc/%d/fd/1" % process).startswith(("/dev/pts/", "/dev/tty")):
                return True
        except OSError:
            continue
    return False


class Teller:
    """Shows progress: one line written over and over on a terminal, else a new line every `interval` seconds."""

    def __init__(self, terminal, interval):
        self.terminal = terminal
        self.interval = interval
        self.width = 0
        self.at = time.monotonic()

    def tell(self, text):
        if self.terminal:
            text = text[: display.columns]  # what wraps cannot be written over
            display.display("\r" + text.ljust(self.width), newline=False, screen_only=True)
            self.width = len(text)
        elif time.monotonic() - self.at >= self.interval:
            self.at = time.monotonic()
            display.display(text)

    def end(self):
        if self.terminal and self.width:
            display.display("\r" + " " * self.width + "\r", newline=False, screen_only=True)


class ActionModule(ActionBase):
    """Action of the module bulk_copy."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        arguments = dict(self._task.args)
        state = arguments.get("state", "done")
        if state != "done" or arguments.get("mode", "full") != "full" or self._task.check_mode:
            return self._merge(result, self._module(arguments, task_vars))
        answer = self._module(dict(arguments, state="started"), task_vars)
        if answer.get("failed") or "job" not in answer:
            return self._merge(result, answer)
        return self._merge(result, self._watch(arguments, answer, task_vars or {}))

    @staticmethod
    def _merge(result, answer):
        result.update(answer)
        return result

    def _module(self, arguments, task_vars):
        return self._execute_module(module_name=_MODULE, module_args=arguments, task_vars=task_vars)

    def _watch(self, arguments, answer, task_vars):
        host = task_vars.get("inventory_hostname", "")
        alone = len(task_vars.get("ansible_play_hosts_all") or [host]) == 1
        quiet = boolean(task_vars.get("bulk_copy_quiet", False))
        interval = float("inf") if quiet else float(task_vars.get("bulk_copy_progress_interval", 30))
        teller = Teller(alone and not quiet and on_terminal(), interval)
        asked = {name: arguments[name] for name in ("src", "dest", "state_dir") if name in arguments}
        asked.update(job=answer["job"], state="status")
        begin, lost, pause = time.monotonic(), None, 0.2
        record = ProgressJournal(task_vars, self._templar.template)
        while answer.get("state") not in _ENDED:
            teller.tell(line(host, answer["job"], answer.get("progress", {})))
            record.write("copy", measured(answer["job"], answer.get("progress", {})), host)
            time.sleep(pause)
            pause = min(2.0, max(0.2, (time.monotonic() - begin) / 10))
            try:
                now = self._module(asked, task_vars)
            except AnsibleConnectionFailure as error:
                now = {"unreachable": True, "msg": str(error)}
            if now.get("unreachable"):
                lost = lost or time.monotonic()
                if time.monotonic() - lost > _LOST_FOR:
                    return now
                continue
            lost = None
            if now.get("failed"):
                return now
            answer = now
        teller.end()
        return self._judge(answer)

    @staticmethod
    def _judge(answer):
        """The last look at the job as the result of the task."""
        progress = answer.get("progress", {})
        answer["changed"] = any(progress.get(name) for name in ("files", "created", "deleted", "changes"))
        if answer["state"] != "done":
            answer["failed"] = True
            ended = "Failed to copy: the job %s is %s." % (answer["job"], answer["state"])
            answer["msg"] = answer.get("message") or ended
        return answer
