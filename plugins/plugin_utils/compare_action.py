# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions of the compares share: they begin the compare on the host and look at it until it ends.

It runs in a process of its own there, which ends when nobody asks for it any more: it reads from servers that are in
use, and its result is for the run that began it.
"""

from __future__ import annotations

import collections
import uuid

from ansible.plugins.action import ActionBase
from ansible_collections.seamless.migration.plugins.plugin_utils.watching import Watch, duration, pace

_LOST_FOR = 240         # seconds without a connection after which we give up; the job ends itself at 300

# How far a compare is. total: None where that is not known.
Progress = collections.namedtuple("Progress", "what phase done total unit")


class CompareAction(ActionBase):
    """Action of a module that takes `job`. MODULE: its name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    MODULE = ""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        arguments = dict(self._task.args)
        if self._task.check_mode or "job" in arguments or self.is_short(arguments):
            result.update(self._module(arguments, task_vars))
        else:
            result.update(self._watch(dict(arguments, job="compare-%s" % uuid.uuid4().hex), task_vars or {}))
        return result

    @staticmethod
    def is_short(arguments):
        """Whether nobody has to be told how far it is, because it is done at once."""
        return False

    @staticmethod
    def progress(arguments, told):
        """How far it is, as Progress. told: what the module says of it."""
        raise NotImplementedError

    def _module(self, arguments, task_vars):
        return self._execute_module(
            module_name="seamless.migration." + self.MODULE, module_args=arguments, task_vars=task_vars
        )

    def _watch(self, arguments, task_vars):
        watch = Watch(self.MODULE, task_vars, self._templar.template, _LOST_FOR)
        first = self._module(arguments, task_vars)
        if first.get("failed") or first.get("unreachable"):
            return first
        answer = watch.until(
            ("done",),
            first,
            look=lambda: self._module(arguments, task_vars),
            line=lambda now, seconds: line(watch.host, self.progress(arguments, now["progress"]), seconds),
            measured=lambda now, seconds: (
                "comparing",
                measured(self.progress(arguments, now["progress"]), seconds),
            ),
        )
        answer.pop("state", None)
        return answer


def line(host, progress, seconds):
    """One line that tells how far a compare is. seconds: since it began."""
    about = "/about %s" % _number(progress.total) if progress.total else ""
    words = [
        "%s %s: %s" % (host, progress.what, progress.phase),
        "%s%s %s" % (_number(progress.done), about, progress.unit),
    ]
    rate, left = pace(progress.done, progress.total, seconds)
    if rate:
        words.append("%s/s" % _number(rate))
        words.append("ETA %s" % ("-" if left is None else duration(left)))
    return ", ".join(words)


def measured(progress, seconds):
    """What the journal keeps of a look at a compare."""
    rate, left = pace(progress.done, progress.total, seconds)
    return {
        "tree": progress.what,
        "phase": progress.phase,
        "done": progress.done,
        "total": progress.total,
        "unit": progress.unit,
        "per_s": round(rate),
        "eta_s": None if left is None else round(left),
    }


def _number(value):
    return "{:,.0f}".format(value)
