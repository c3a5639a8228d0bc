# SPDX-License-Identifier: GPL-3.0-or-later
"""Timers of systemd.

A timer is paused by a drop-in with a condition that never holds, and stopped. `systemctl mask` would not do: it refuses
a unit whose file stands in /etc/systemd/system, where administrators keep theirs. The condition holds over a restart,
leaves the timer enabled as it was, and goes with its file.
"""

import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.host.batch_jobs_common import JobError, Plan

UNITS = "/etc/systemd/system"
DROP_IN = "zz-seamless-paused.conf"
CONTENT = b"""# Paused by the collection seamless.migration; batch_job with state: active takes this file away.
[Unit]
ConditionPathExists=/nonexistent/paused-by-seamless.migration
"""
_NAME = re.compile(r"\A[A-Za-z0-9:_.\\@-]+\.timer\Z")
_UNIT = re.compile(r"\A[A-Za-z0-9:_.\\@-]+\.(timer|service)\Z")
_PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,FragmentPath,DropInPaths,Unit"


def properties(host, unit, wanted=_PROPERTIES):
    """Properties of a unit as dict. Raises CommandError, JobError where there is no systemd."""
    systemctl = host.which("systemctl")
    if systemctl is None:
        raise JobError("Failed to look at %s: this host has no systemd. Choose another kind." % unit)
    text = host.run([systemctl, "show", "-p", wanted, "--", unit]).stdout
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def unit_name(selection):
    name = selection.name or ""
    name = name if name.endswith(".timer") else name + ".timer"
    if not _NAME.match(name):
        raise JobError("Failed to use option name: %r is no name of a timer. Give for example backup.timer." % name)
    return name


def drop_in(host, unit):
    return host.path(os.path.join(UNITS, unit + ".d", DROP_IN))


def _exists(host, unit, selection, required):
    if not required and host.which("systemctl") is None:
        return None
    found = properties(host, unit)
    if found.get("LoadState") == "not-found":
        if required:
            raise JobError("Failed to find the timer %s on this host. Correct it, or give required: false." % unit)
        return None
    if not selection.takes(found.get("Unit", "")) and not selection.takes(_command(host, found)):
        return None
    return found


def _command(host, found):
    text = properties(host, found.get("Unit") or "-.service", "ExecStart").get("ExecStart", "")
    argv = re.search(r"argv\[\]=(.*?) ;", text)
    return argv.group(1) if argv else ""


def _job(host, unit, found, state):
    return {"kind": "timer", "where": unit, "command": _command(host, found), "service": found["Unit"], "state": state}


def _files(host, unit):
    """The files that make a unit, without our drop-in: {path below a unit folder: text}."""
    found = properties(host, unit)
    contents = {}
    if found.get("FragmentPath"):
        contents[unit] = files.text(files.read(host.path(found["FragmentPath"]), b""))
    for path in found.get("DropInPaths", "").split():
        if os.path.basename(path) != DROP_IN:
            contents["%s.d/%s" % (unit, os.path.basename(path))] = files.text(files.read(host.path(path), b""))
    return contents


def _definition(host, unit, found, ledger):
    contents = _files(host, unit)
    contents.update(_files(host, found["Unit"]))
    was = ledger.find(what="paused", kind="timer", where=unit) or {}
    return {
        "kind": "timer",
        "name": unit,
        "files": contents,
        "enabled": found.get("UnitFileState") == "enabled",
        "started": bool(was.get("started", found.get("ActiveState") == "active")),
    }


def _systemctl(host, *words):
    return [host.which("systemctl")] + list(words), b""


def pause(host, ledger, selection, required):
    plan = Plan()
    unit = unit_name(selection)
    found = _exists(host, unit, selection, required)
    if found is None:
        return plan
    plan.jobs.append(_job(host, unit, found, "paused"))
    plan.definition.append(_definition(host, unit, found, ledger))
    path = drop_in(host, unit)
    before = files.read(path)
    plan.edit(path, before, CONTENT, 0o644)
    started = found["ActiveState"] == "active"
    if plan.edits:
        plan.remember.append({"what": "paused", "kind": "timer", "where": unit, "started": started})
        plan.commands.append(_systemctl(host, "daemon-reload"))
    if started:
        plan.commands.append(_systemctl(host, "stop", unit))
        plan.shown.append((unit, "active\n", "paused\n"))
    return plan


def resume(host, ledger, selection, required):
    plan = Plan()
    unit = unit_name(selection)
    entry = ledger.find(what="paused", kind="timer", where=unit)
    found = _exists(host, unit, selection, required and entry is None)
    if entry:
        plan.forget.append(entry)
    path = drop_in(host, unit)
    before = files.read(path)
    if found is None:
        if before is not None:
            plan.edit(path, before, None)
            plan.warnings.append("%s was removed while it was paused, and is not brought back." % unit)
        return plan
    plan.jobs.append(_job(host, unit, found, "active"))
    plan.definition.append(_definition(host, unit, found, ledger))
    if before is None:
        if entry:
            plan.warnings.append("%s was resumed by somebody else while it was paused." % unit)
        return plan
    plan.edit(path, before, None)
    plan.commands.append(_systemctl(host, "daemon-reload"))
    if entry["started"] if entry else found.get("UnitFileState") == "enabled":
        plan.commands.append(_systemctl(host, "start", unit))
        plan.shown.append((unit, "paused\n", "active\n"))
    return plan


def remove(host, ledger, selection, required):
    """Takes out the units that `present` installed; those of others are not ours to remove."""
    del required
    plan = Plan()
    unit = unit_name(selection)
    found = _exists(host, unit, selection, False)
    if found is None:
        return plan
    made = ledger.find(what="made", kind="timer", where=unit)
    if made is None:
        raise JobError(
            "Failed to remove %s: it was not installed by this module. Use state: paused, or remove its package." % unit
        )
    plan.jobs.append(_job(host, unit, found, "absent"))
    plan.definition.append(_definition(host, unit, found, ledger))
    plan.forget += [made] + [e for e in ledger.entries if e.get("where") == unit and e["what"] == "paused"]
    for name in made["files"] + [os.path.join(unit + ".d", DROP_IN)]:
        path = host.path(os.path.join(UNITS, name))
        plan.edit(path, files.read(path), None)
    plan.first.append(_systemctl(host, "disable", "--now", unit))
    plan.commands.append(_systemctl(host, "daemon-reload"))
    return plan


def install(host, ledger, definitions):
    plan = Plan()
    for definition in definitions:
        _require_definition(definition)
        unit = definition["name"]
        before = len(plan.edits)
        made = _plan_files(host, plan, definition["files"])
        plan.definition.append(definition)
        path = drop_in(host, unit)
        plan.edit(path, files.read(path), None)
        found = properties(host, unit)
        plan.jobs.append(
            {"kind": "timer", "where": unit, "command": "", "service": found.get("Unit", ""), "state": "active"}
        )
        plan.forget += [e for e in ledger.entries if e.get("where") == unit and e["what"] == "paused"]
        if made and not ledger.find(what="made", kind="timer", where=unit):
            plan.remember.append({"what": "made", "kind": "timer", "where": unit, "files": made})
        if len(plan.edits) > before:
            plan.commands.append(_systemctl(host, "daemon-reload"))
        if definition.get("enabled") and found.get("UnitFileState") not in ("enabled", "static"):
            plan.commands.append(_systemctl(host, "enable", unit))
        if definition.get("started", True) and found.get("ActiveState") != "active":
            plan.commands.append(_systemctl(host, "start", unit))
            plan.shown.append((unit, "absent or inactive\n", "active\n"))
    return plan


def _require_definition(definition):
    name = definition.get("name") or ""
    contents = definition.get("files")
    sound = _NAME.match(name) and isinstance(contents, dict) and name in contents
    for path in contents if sound else ():
        folder, _unused, last = path.rpartition("/")
        unit = folder[: -len(".d")] if folder.endswith(".d") else folder or last
        if not _UNIT.match(unit) or last in ("", ".", "..") or last.startswith(".") or (folder and "/" in folder):
            sound = False
    if not sound:
        raise JobError(
            "Failed to install the timer %r: its definition is broken. Give the definition that pausing returned."
            % name
        )


def _plan_files(host, plan, contents):
    """Plan the unit files that this host does not have with the same content. Returns the list of their names."""
    made = []
    for name in sorted(contents):
        content = files.data(contents[name])
        if "/" not in name:
            there = properties(host, name).get("FragmentPath")
            if there and files.read(host.path(there)) == content:
                continue
        path = host.path(os.path.join(UNITS, name))
        before = files.read(path)
        if before is not None and before != content:
            raise JobError(
                "Failed to install %s: there is another unit file with this name. Compare the two, and remove it or "
                "leave this job out." % path
            )
        if before is None:
            made.append(name)
        plan.edit(path, before, content, 0o644)
    return made


def running(host, jobs):
    """[{pid, command}] of the services that the timers started and that run now."""
    found = []
    for job in jobs:
        state = properties(host, job["service"], "ActiveState,MainPID,ControlPID") if job["service"] else {}
        if state.get("ActiveState") in ("active", "activating", "deactivating", "reloading"):
            pid = int(state.get("MainPID") or 0) or int(state.get("ControlPID") or 0)
            found.append({"pid": pid, "command": "%s (%s)" % (job["command"] or job["service"], job["service"])})
    return found
