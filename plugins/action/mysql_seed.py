# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Begin a seed on the host of the module, then look at it until it ends, telling how far it is.

The seed runs in a process of its own there: a lost connection is tried again, and an interrupted playbook leaves it
running; the next run of the task looks on.
"""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.seamless.migration.plugins.plugin_utils.watching import Watch, duration, pace
from ansible_collections.seamless.migration.plugins.plugin_utils.words import size

_MODULE = "seamless.migration.mysql_seed"
_ENDED = ("done", "failed", "interrupted", "absent")


def line(host, answer, seconds):
    """One line that tells how far a seed is. answer: dict as the module returns it. seconds: since it is looked at."""
    progress = answer.get("progress") or {}
    done, total = progress.get("bytes", 0), progress.get("bytes_total", 0)
    words = ["%s %s: %s" % (host, answer.get("job", ""), progress.get("phase", "begin"))]
    words.append("%s/%s" % (size(done), size(total)) if total else size(done))
    if seconds >= 1:
        rate, left = pace(done, total, seconds)
        words.append("%s/s" % size(rate))
        if left is not None:
            words.append("ETA %s" % duration(left))
    return ", ".join(words)


def measured(answer, seconds):
    """What the journal keeps of a look at a seed."""
    progress = answer.get("progress") or {}
    done, total = progress.get("bytes") or 0, progress.get("bytes_total")
    rate, left = pace(done, total, seconds)
    return {
        "tree": "mysql",
        "phase": progress.get("phase"),
        "bytes_now": done,
        "bytes_total": total,
        "bytes_per_s": round(rate),
        "eta_s": None if left is None else round(left),
    }


class ActionModule(ActionBase):
    """Action of the module mysql_seed."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        arguments = dict(self._task.args)
        if arguments.get("state", "done") != "done" or self._task.check_mode:
            result.update(self._module(arguments, task_vars))
            return result
        answer = self._module(dict(arguments, state="started"), task_vars)
        if not answer.get("failed") and "job" in answer:
            answer = self._watch(arguments, answer, task_vars or {})
        result.update(answer)
        return result

    def _module(self, arguments, task_vars):
        return self._execute_module(module_name=_MODULE, module_args=arguments, task_vars=task_vars)

    def _watch(self, arguments, answer, task_vars):
        asked = dict(arguments, job=answer["job"], state="status")
        watch = Watch("mysql_seed", task_vars, self._templar.template)
        answer = watch.until(
            _ENDED,
            answer,
            look=lambda: self._module(asked, task_vars),
            line=lambda now, seconds: line(watch.host, now, seconds),
            measured=lambda now, seconds: ("seeding", measured(now, seconds)),
        )
        return answer if answer.get("failed") or answer.get("unreachable") else self._judge(answer)

    @staticmethod
    def _judge(answer):
        """The last look at the seed as the result of the task."""
        if answer["state"] != "done":
            answer["failed"] = True
            answer.setdefault("msg", "Failed to seed: the process of %s is %s. Run it again: it clears away what is "
                                     "not complete, and begins anew." % (answer["job"], answer["state"]))
        return answer
