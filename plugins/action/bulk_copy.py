# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Begin a bulk copy on the host, then look at it until it ends, telling how far it is.

The copy itself runs in a process of its own on the host: a lost connection is tried again, and an interrupted playbook
leaves the copy running; the next run of the task attaches to it.
"""

from __future__ import annotations

import contextlib
import signal
import time

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.seamless.migration.plugins.plugin_utils.watching import LOST_FOR, Watch, duration
from ansible_collections.seamless.migration.plugins.plugin_utils.words import size

_MODULE = "seamless.migration.bulk_copy"
_ENDED = ("done", "failed", "stopped", "absent")
_MEASURED = (
    "files_done", "files_total", "bytes_now", "bytes_total", "bytes_per_s", "limit_kib_per_s", "retries", "failed"
)  # fmt: skip
_LOOK_FOR = 60          # seconds that a look at a worker may take: a connection to a dead host says nothing for long
_MARGIN = 15            # seconds after its lease in which a worker has ended its rsyncs


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


class _Late(Exception):
    """A look took too long."""


@contextlib.contextmanager
def _at_most(seconds):
    """Raise _Late when the body takes longer. A time limit of the task itself, which is made the same way, goes on."""

    def late(_number, _frame):
        raise _Late

    begin = time.monotonic()
    before = signal.signal(signal.SIGALRM, late)
    left = signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.alarm(max(1, left - int(time.monotonic() - begin)))


class ActionModule(ActionBase):
    """Action of the module bulk_copy."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        arguments = dict(self._task.args)
        state, mode = arguments.get("state", "done"), arguments.get("mode", "full")
        if mode == "lists":
            return self._merge(result, self._on_a_worker(arguments, task_vars or {}))
        if state != "done" or mode == "delta" or self._task.check_mode:
            return self._merge(result, self._module(arguments, task_vars))
        answer = self._module(dict(arguments, state="started"), task_vars)
        if answer.get("failed") or "job" not in answer:
            return self._merge(result, answer)
        return self._merge(result, self._watch(arguments, answer, task_vars or {}))

    def _on_a_worker(self, arguments, task_vars):
        """What others take over is no failure of the task: a copy that failed, or a host that is lost."""
        state = arguments.get("state", "done")
        waits = state == "done" and not self._task.check_mode
        answer = self._look(dict(arguments, state="started" if waits else state), task_vars)
        if waits and answer.get("job") and not answer.get("failed"):
            answer = self._watch(arguments, answer, task_vars)
        if answer.get("unreachable"):
            reason = "It was not reached. %s" % " ".join(str(answer.get("msg", "")).split())
            answer = {"changed": False, "state": "lost", "message": reason}
        elif "job" in answer:
            answer.pop("failed", None)
            answer.pop("msg", None)
        elif waits and answer.get("failed") and not answer.get("module_stderr"):
            answer = {"changed": False, "state": "failed", "message": answer.get("msg", "")}
        if "state" in answer:
            answer["part"] = self._part(answer, arguments, task_vars)
        return answer

    @staticmethod
    def _part(answer, arguments, task_vars):
        """What a worker says, as bulk_deal takes it. How an earlier deal ended is no reason to deal it nothing now."""
        dealt = arguments.get("deal") or {}
        state = answer["state"] if dealt or answer["state"] == "lost" else "ended"
        part = {"worker": task_vars.get("inventory_hostname", ""), "state": state}
        if not dealt or answer.get("deal") == dealt.get("id"):
            part["deal"] = answer.get("deal")
        for name, empty in (("lists_done", []), ("files", 0), ("bytes", 0), ("seconds", 0)):
            part[name] = answer.get(name, empty)
        if dealt:
            answer["part_of"] = dealt["job"]
        return part

    def _look(self, arguments, task_vars):
        """Run the module. A host that cannot be reached, or says nothing for long, is `unreachable`."""
        try:
            with _at_most(_LOOK_FOR):
                return self._module(arguments, task_vars)
        except AnsibleConnectionFailure as error:
            return {"unreachable": True, "msg": str(error)}
        except _Late:
            with contextlib.suppress(Exception), _at_most(_LOOK_FOR):
                self._connection.reset()
            return {"unreachable": True, "msg": "It said nothing for %d s." % _LOOK_FOR}

    @staticmethod
    def _merge(result, answer):
        result.update(answer)
        return result

    def _module(self, arguments, task_vars):
        return self._execute_module(module_name=_MODULE, module_args=arguments, task_vars=task_vars)

    def _watch(self, arguments, answer, task_vars):
        asked = {name: arguments[name] for name in ("src", "dest", "state_dir") if name in arguments}
        asked.update(job=answer["job"], state="status")
        asked["mode"] = arguments.get("mode", "full")
        lease = int(arguments.get("lease") or 0)
        lost_for = lease + _MARGIN if lease else LOST_FOR
        watch = Watch("bulk_copy", task_vars, self._templar.template, lost_for)
        answer = watch.until(
            _ENDED,
            answer,
            look=lambda: self._look(asked, task_vars) if lease else self._module(asked, task_vars),
            line=lambda now, _seconds: line(watch.host, now["job"], now.get("progress", {})),
            measured=lambda now, _seconds: self._measured(arguments, now),
        )
        return answer if answer.get("failed") or answer.get("unreachable") else self._judge(answer)

    @staticmethod
    def _measured(arguments, answer):
        """A measurement of the journal and its data: of a tree, or of the part of it that a worker copies."""
        dealt = arguments.get("deal")
        if dealt:
            return "part_copy", measured(dealt["job"], answer.get("progress", {}))
        return "copy", measured(answer["job"], answer.get("progress", {}))

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
