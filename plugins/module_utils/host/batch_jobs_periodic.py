# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts of /etc/cron.hourly, daily, weekly and monthly.

A script is paused by a name with a dot in front: run-parts of Debian takes only names of letters, digits, _ and -, and
run-parts of EL (crontabs) takes what the shell's * finds; anacron calls the same run-parts. Taking the executable bit
instead would change what a link points to, and come back with the next update of the package.
"""

import base64
import os
import re
import stat

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.host.batch_jobs_common import JobError, Plan

PERIODS = ("hourly", "daily", "weekly", "monthly")
SUFFIX = ".seamless-paused"
_NAME = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")


def paused_path(path):
    folder, name = os.path.split(path)
    return os.path.join(folder, "." + name + SUFFIX)


def _require_name(name):
    if not name or not _NAME.match(name):
        raise JobError("Failed to use option name: %r is no name of a script. Give it without its folder." % (name,))


def scripts(host, selection):
    """(path without the mark, paused: bool, exists without the mark: bool) of what the selection means."""
    _require_name(selection.name)
    found = []
    for period in [selection.period] if selection.period else PERIODS:
        path = host.path(os.path.join("/etc/cron.%s" % period, selection.name))
        active, paused = os.path.lexists(path), os.path.lexists(paused_path(path))
        if (active or paused) and selection.takes(path):
            found.append((path, paused, active))
    return found


def _period(path):
    return os.path.basename(os.path.dirname(path)).rpartition(".")[2]


def _job(path, state):
    return {"kind": "periodic", "where": path, "period": _period(path), "command": path, "state": state}


def _definition(path, found_at):
    """What `present` on another host needs; the content in Base64, because a script may be a program."""
    return {
        "kind": "periodic",
        "name": os.path.basename(path),
        "period": _period(path),
        "content": base64.b64encode(files.read(found_at, b"")).decode("ascii"),
        "mode": "0%o" % stat.S_IMODE(os.stat(found_at).st_mode) if os.path.exists(found_at) else "0755",
    }


def _none(selection):
    raise JobError(
        "Failed to find a %s in %s. Correct the name, or give required: false."
        % (selection, ", ".join("/etc/cron.%s" % p for p in ([selection.period] if selection.period else PERIODS)))
    )


def _key(path):
    return {"what": "paused", "kind": "periodic", "where": path}


def pause(host, ledger, selection, required):
    del ledger
    plan = Plan()
    found = scripts(host, selection)
    for path, paused, active in found:
        if paused and active:
            raise JobError(
                "Failed to pause %s: %s is there too, from an earlier pause. Compare the two and remove one."
                % (path, paused_path(path))
            )
        plan.jobs.append(_job(path, "paused"))
        plan.definition.append(_definition(path, path if active else paused_path(path)))
        if active:
            plan.remember.append(_key(path))
            plan.renames.append((path, paused_path(path)))
    if required and not found:
        _none(selection)
    return plan


def resume(host, ledger, selection, required):
    plan = Plan()
    found = scripts(host, selection)
    for path, paused, active in found:
        plan.jobs.append(_job(path, "active"))
        plan.definition.append(_definition(path, path if active else paused_path(path)))
        if paused and active:
            plan.warnings.append(
                "%s was made anew while it was paused, and is kept; the paused one stays as %s. Remove one of them."
                % (path, paused_path(path))
            )
        elif paused:
            plan.renames.append((paused_path(path), path))
            plan.forget.append(_key(path))
        elif _key(path) in ledger.entries:
            plan.forget.append(_key(path))
            plan.warnings.append("%s was resumed by somebody else while it was paused." % path)
    lost = [e for e in ledger.entries if e["kind"] == "periodic" and e["what"] == "paused" and e not in plan.forget]
    for entry in lost:
        if os.path.basename(entry["where"]) == selection.name and not os.path.lexists(paused_path(entry["where"])):
            plan.forget.append(entry)
            plan.warnings.append("%s was removed while it was paused, and is not brought back." % entry["where"])
    if required and not found and not plan.forget:
        _none(selection)
    return plan


def remove(host, ledger, selection, required):
    del required, ledger
    plan = Plan()
    for path, paused, active in scripts(host, selection):
        plan.jobs.append(_job(path, "absent"))
        plan.definition.append(_definition(path, path if active else paused_path(path)))
        plan.forget.append(_key(path))
        for there, name in ((active, path), (paused, paused_path(path))):
            if there:
                plan.edit(name, files.read(name, b""), None)
    return plan


def install(host, ledger, definitions):
    del ledger
    plan = Plan()
    for definition in definitions:
        _require_name(definition.get("name"))
        if definition.get("period") not in PERIODS:
            raise JobError("Failed to install %s: period is none of %s." % (definition["name"], ", ".join(PERIODS)))
        try:
            content = base64.b64decode(definition["content"], validate=True)
            mode = int(str(definition.get("mode", "0755")), 8)
        except (KeyError, ValueError) as error:
            raise JobError(
                "Failed to install %s: its definition is broken (%s). Give the definition that pausing returned."
                % (definition["name"], error)
            ) from error
        path = host.path("/etc/cron.%s/%s" % (definition["period"], definition["name"]))
        plan.definition.append(definition)
        plan.jobs.append(_job(path, "active"))
        _plan_install(plan, path, content, mode)
    return plan


def _plan_install(plan, path, content, mode):
    before = files.read(path)
    if before is None and files.read(paused_path(path)) == content:
        plan.renames.append((paused_path(path), path))
        plan.forget.append(_key(path))
        return
    if before is not None and before != content:
        raise JobError(
            "Failed to install %s: there is another script with this name. Compare the two, and remove it or leave "
            "this job out." % path
        )
    plan.edit(path, before, content, mode)
