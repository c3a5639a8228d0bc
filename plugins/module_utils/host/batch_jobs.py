# SPDX-License-Identifier: GPL-3.0-or-later
"""Pause, resume, install and remove batch jobs: crontab entries, scripts of cron.daily and friends, systemd timers."""

import os
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import (
    batch_jobs_cron,
    batch_jobs_periodic,
    batch_jobs_running,
    batch_jobs_timer,
)
from ansible_collections.seamless.migration.plugins.module_utils.host.batch_jobs_common import (
    LEDGER,
    Host,
    JobError,
    Ledger,
    Plan,
    Selection,
)

__all__ = ["Change", "Host", "JobError", "manage", "wait_until_idle"]
KINDS = {
    "cron": batch_jobs_cron,
    "cron.d": batch_jobs_cron,
    "periodic": batch_jobs_periodic,
    "timer": batch_jobs_timer,
}


class Change:
    """What will happen. plan: Plan."""

    def __init__(self, host, ledger, plan):
        self.host = host
        self.plan = plan
        self._ledger = ledger

    @property
    def differs(self):
        return self.plan.differs

    def apply(self):
        self.plan.apply(self.host, self._ledger)

    def settle(self):
        """Where no job has to be changed: bring the memory in line with what was found."""
        self._ledger.write(self.plan.entries(self._ledger, finished=True))

    def running(self):
        """[{pid, command}] of the chosen jobs that run now."""
        found = []
        jobs = self.plan.jobs
        commands = [job["command"] for job in jobs if job["kind"] in ("cron", "cron.d")]
        scripts = [job["where"] for job in jobs if job["kind"] == "periodic"]
        if commands:
            found += batch_jobs_running.of_cron(commands, self.host.root)
        if scripts:
            found += batch_jobs_running.of_scripts(scripts, self.host.root)
        return found + batch_jobs_timer.running(self.host, [job for job in jobs if job["kind"] == "timer"])

    def diff(self):
        return self.plan.diff()


def wait_until_idle(running, seconds, clock=time.monotonic, sleep=time.sleep):
    """Ask `running` (a callable) until it is empty or the seconds are over. Returns (what still runs, waited s)."""
    start = clock()
    left = running()
    while left and clock() - start < seconds:
        sleep(min(0.5, max(0.0, seconds - (clock() - start))))
        left = running()
    return left, round(clock() - start, 1)


def _missing_commands(host, plan):
    """Warnings about programs that an installed entry calls and that this host does not have."""
    found = []
    for job in plan.jobs:
        words = batch_jobs_running.words(job["command"]) if job["kind"] in ("cron", "cron.d") else []
        if words and words[0].startswith("/") and not os.path.exists(host.path(words[0])):
            found.append("The job calls %s, which is not on this host: %s" % (words[0], job["command"]))
    return found


def _install(host, ledger, definitions):
    whole = Plan()
    for kind, module in sorted(KINDS.items()):
        mine = [one for one in definitions if one.get("kind") == kind]
        if not mine:
            continue
        plan = module.install(host, ledger, mine)
        whole.edits.update(plan.edits)
        for name in ("jobs", "definition", "warnings", "renames", "first", "commands", "remember", "forget", "shown"):
            getattr(whole, name).extend(getattr(plan, name))
    whole.warnings += _missing_commands(host, whole)
    return whole


def _require_definitions(definitions):
    for one in definitions:
        if one.get("kind") not in KINDS:
            raise JobError(
                "Failed to use option definition: kind is %r, not one of %s. Give the definition that pausing returned."
                % (one.get("kind"), ", ".join(sorted(KINDS)))
            )


def _require_selection(params):
    if params["kind"] is None:
        raise JobError("Failed to choose a job: kind is missing. Give one of %s." % ", ".join(sorted(KINDS)))
    needed = {"cron": ("user",), "cron.d": ("name", "match"), "periodic": ("name",), "timer": ("name",)}[params["kind"]]
    if not any(params[option] for option in needed):
        raise JobError("Failed to choose a %s job: give %s." % (params["kind"], " or ".join(needed)))


def manage(params, *, run=None, which=None, root=""):
    """Decide what the module parameters ask for. Returns Change; nothing was changed yet.

    run, which: as in host.command. root: prefix of all paths, for tests. Raises JobError, FileError, CommandError.
    """
    host = Host(run, which, root)
    definitions = params["definition"] or []
    _require_definitions(definitions)
    if params["state"] != "present":
        _require_selection(params)
    ledger = Ledger(root + LEDGER)
    if params["state"] == "present":
        return Change(host, ledger, _install(host, ledger, definitions))
    selection = Selection(
        params["kind"],
        name=params["name"],
        user=params["user"],
        match=params["match"],
        regexp=params["regexp"],
        period=params["period"],
    )
    module = KINDS[params["kind"]]
    act = {"paused": module.pause, "active": module.resume, "absent": module.remove}[params["state"]]
    return Change(host, ledger, act(host, ledger, selection, params["required"]))
