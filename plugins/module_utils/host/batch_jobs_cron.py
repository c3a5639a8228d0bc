# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of crontabs: those of users, /etc/crontab and /etc/cron.d. Everything that is not ours keeps every byte.

The grammar is that of crontab(5) of Vixie cron (Debian) and cronie (EL): environment lines, comments, entries of five
fields or @word, a user column in system crontabs, `%` starting the standard input, no continuation lines.
"""

import base64
import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.host.batch_jobs_common import JobError, Plan

MARK = "#seamless.migration paused# "
# Where crontabs of users are: Debian, SUSE, EL. The first folder that exists is taken.
SPOOLS = ("/var/spool/cron/crontabs", "/var/spool/cron/tabs", "/var/spool/cron")
CRON_D = "/etc/cron.d"
CRONTAB = "/etc/crontab"
_ENVIRONMENT = re.compile(r"""^\s*("[^"]+"|'[^']+'|[A-Za-z_][^\s="']*)\s*=\s*(.*?)\s*$""")
_ENTRY = re.compile(r"^\s*(@\w+|-?[0-9*](?:\S*)(?:\s+\S+){4})\s+(\S.*)$", re.S)
_DEBIAN_NAME = re.compile(r"\A[A-Za-z0-9_-]+\Z")
_CRONIE_IGNORES = (".rpmsave", ".rpmorig", ".rpmnew", ".cfsaved", "~", "#")
_NAME = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")


class Line:
    """One line of a crontab. raw: str with its line end; kind: entry, environment or other; paused: marked by us.

    schedule, user, command: of an entry; user is None without a user column. name, value: of an environment line.
    """

    def __init__(self, raw, system):
        self.raw = raw
        self.paused = raw.startswith(MARK)
        self.original = raw[len(MARK):] if self.paused else raw
        self.kind = "other"
        body = self.original.rstrip("\n")
        environment = _ENVIRONMENT.match(body)
        entry = _ENTRY.match(body)
        if body.lstrip().startswith("#"):
            return
        if environment and not self.paused:
            self.kind = "environment"
            self.name, self.value = environment.group(1).strip("\"'"), environment.group(2)
        elif entry:
            self._read_entry(entry, system)

    def _read_entry(self, entry, system):
        rest = entry.group(2)
        self.user = None
        if system:
            words = rest.split(None, 1)
            if len(words) < 2:
                return  # no command: cron refuses it
            self.user, rest = words
        self.kind = "entry"
        self.schedule = entry.group(1)
        self.command = rest.rstrip("\r")


def shell_part(command):
    """The part of a cron command that the shell runs: up to the first `%` without a backslash before it."""
    return re.split(r"(?<!\\)%", command)[0].replace("\\%", "%").strip()


class Crontab:
    """A parsed crontab. path: on the host. system: has a user column. content: bytes, None without a file."""

    def __init__(self, path, content, *, system, owner=None, ignored=None):
        self.path = path
        self.content = content
        self.system = system
        self.owner = owner
        self.ignored = ignored
        self.lines = _join(files.text(content or b""), system)

    def render(self):
        return files.data("".join(line.raw for line in self.lines))

    @property
    def unfinished(self):
        """Whether the last line has no newline."""
        return bool(self.content) and not self.content.endswith(b"\n")

    def environment(self, until=None):
        """The environment lines in force before line number `until` (None: at the end), as {name: raw line}."""
        found = {}
        for line in self.lines[:until]:
            if line.kind == "environment":
                found[line.name] = line.raw.rstrip("\r\n")
        return found

    def chosen(self, selection):
        """(number, Line) of the entries that the selection means."""
        return [
            (number, line)
            for number, line in enumerate(self.lines)
            if line.kind == "entry"
            and selection.takes(line.command)
            and (not self.system or selection.user in (None, line.user))
        ]

    def replace(self, number, raw):
        self.lines[number] = Line(raw, self.system)


def _join(text, system):
    """Lines of cron end with a newline and nothing else: str.splitlines would also cut at form feeds and the like."""
    parts = text.split("\n")
    raws = [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
    return [Line(raw, system) for raw in raws]


def ignored_name(name, debian):
    """Why cron does not read /etc/cron.d/name, or None (cron(8): Debian takes names like run-parts does)."""
    if debian and not _DEBIAN_NAME.match(name):
        return "cron reads no file with such a name (only letters, digits, _ and -)"
    if name.startswith(".") or name.endswith(_CRONIE_IGNORES):
        return "cron reads no file with such a name"
    return None


def spool_path(host, user):
    for spool in SPOOLS:
        if os.path.isdir(host.path(spool)):
            return host.path(os.path.join(spool, user))
    raise JobError(
        "Failed to find the crontab of %s: this host has none of %s. Install cron first." % (user, ", ".join(SPOOLS))
    )


def load(host, selection, required=True):
    """The crontabs that the selection is about, as list of Crontab. Raises JobError, FileError."""
    if selection.kind == "cron":
        _require_name(selection.user, "user")
        if not required and not any(os.path.isdir(host.path(spool)) for spool in SPOOLS):
            return []  # no cron here, so no job
        path = spool_path(host, selection.user)
        return [Crontab(path, files.read(path), system=False, owner=selection.user)]
    if selection.name == CRONTAB:
        return [Crontab(host.path(CRONTAB), files.read(host.path(CRONTAB)), system=True)]
    if selection.name:
        _require_name(selection.name, "name")
        return [_cron_d(host, selection.name)]
    folder = host.path(CRON_D)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = [Crontab(host.path(CRONTAB), files.read(host.path(CRONTAB)), system=True)]
    return found + [
        _cron_d(host, name)
        for name in names
        if not ignored_name(name, host.is_debian()) and os.path.isfile(os.path.join(folder, name))
    ]


def _require_name(name, option):
    if not name or not _NAME.match(name):
        raise JobError(
            "Failed to use option %s: %r is no name of a %s. Give the name without a folder%s."
            % (option, name, "user" if option == "user" else "file", ", or /etc/crontab" if option == "name" else "")
        )


def _cron_d(host, name):
    path = host.path(os.path.join(CRON_D, name))
    return Crontab(path, files.read(path), system=True, ignored=ignored_name(name, host.is_debian()))


def _job(table, line, state):
    return {
        "kind": "cron.d" if table.system else "cron",
        "where": table.path,
        "user": line.user if table.system else table.owner,
        "schedule": line.schedule,
        "command": line.command,
        "state": state,
    }


def _definition(table, number, line, root):
    """What `present` on another host needs. Returns dict."""
    found = {
        "kind": "cron.d" if table.system else "cron",
        "line": _pack(line.original.rstrip("\r\n")),
        "environment": [_pack(raw) for raw in sorted(table.environment(number).values())],
    }
    if table.system:
        path = table.path[len(root):]
        found["name"] = "seamless-crontab" if path == CRONTAB else os.path.basename(path)
    else:
        found["user"] = table.owner
    return found


def _pack(text):
    """A line for a definition: as it is, or {"base64": ...} where its bytes are no UTF-8 and JSON would lose them."""
    raw = files.data(text)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode("ascii")}


def _unpack(value):
    try:
        text = value if isinstance(value, str) else files.text(base64.b64decode(value["base64"], validate=True))
    except (TypeError, KeyError, ValueError) as error:
        raise JobError(
            "Failed to install %r: it is no line of a crontab. Give the definition that pausing returned." % (value,)
        ) from error
    if "\n" in text or "\0" in text:
        raise JobError("Failed to install %r: it is more than one line. Give one definition for each." % text)
    return text


def _key(table, line):
    return {
        "what": "paused",
        "kind": "cron.d" if table.system else "cron",
        "where": table.path,
        "line": line.original,
    }


def _tell(plan, table):
    if table.ignored:
        plan.warnings.append("%s is not run anyway: %s." % (table.path, table.ignored))
    if table.unfinished:
        plan.warnings.append(
            "The last line of %s has no newline: cron ignores it, or the whole file. It is kept like that." % table.path
        )


def _none(selection, tables):
    known = sorted("%s: %s" % (t.path, line.command) for t in tables for line in t.lines if line.kind == "entry")
    raise JobError(
        "Failed to find a %s: none matches. There are: %s. Correct the selection, or give required: false."
        % (selection, "; ".join(known) or "none")
    )


def pause(host, ledger, selection, required):
    """Plan to mark the chosen entries, so that cron takes them for comments."""
    del ledger
    plan = Plan()
    tables = load(host, selection, required)
    for table in tables:
        chosen = table.chosen(selection)
        for number, line in chosen:
            plan.definition.append(_definition(table, number, line, host.root))
            plan.jobs.append(_job(table, line, "paused"))
            if not line.paused:
                plan.remember.append(_key(table, line))
                table.replace(number, MARK + line.raw)
        if chosen:
            _tell(plan, table)
            plan.edit(table.path, table.content, table.render())
    if required and not plan.jobs:
        _none(selection, tables)
    return plan


def resume(host, ledger, selection, required):
    """Plan to take the mark away again. What an administrator edited meanwhile is kept, and told."""
    plan = Plan()
    tables = load(host, selection, required)
    for table in tables:
        paused = [entry for entry in ledger.entries if entry["what"] == "paused" and entry.get("where") == table.path]
        chosen = table.chosen(selection)
        for number, line in chosen:
            plan.definition.append(_definition(table, number, line, host.root))
            plan.jobs.append(_job(table, line, "active"))
            if line.paused:
                if _key(table, line) not in paused:
                    plan.warnings.append(
                        "An entry of %s was edited while it was paused; it goes on as it is now: %s"
                        % (table.path, line.original.strip())
                    )
                table.replace(number, line.original)
        present = {line.original for line in table.lines if line.kind == "entry"}
        for entry in paused:
            if not _meant(selection, entry, table):
                continue
            plan.forget.append(entry)
            if entry["line"] not in present:
                plan.warnings.append(
                    "An entry of %s is no longer there as it was paused, and is not brought back: %s"
                    % (table.path, entry["line"].strip())
                )
        if chosen:
            _tell(plan, table)
            plan.edit(table.path, table.content, table.render())
    if required and not plan.jobs and not plan.forget:
        _none(selection, tables)
    return plan


def _meant(selection, entry, table):
    if entry["what"] != "paused":
        return False
    line = Line(entry["line"], table.system)
    return (
        line.kind == "entry"
        and selection.takes(line.command)
        and (not table.system or selection.user in (None, line.user))
    )


def remove(host, ledger, selection, required):
    """Plan to take the chosen entries out, paused or not."""
    del required  # what is not there needs no removal
    plan = Plan()
    for table in load(host, selection, False):
        chosen = table.chosen(selection)
        for number, line in reversed(chosen):
            plan.definition.insert(0, _definition(table, number, line, host.root))
            plan.jobs.insert(0, _job(table, line, "absent"))
            del table.lines[number]
        plan.forget += [
            entry for entry in ledger.entries if entry.get("where") == table.path and _meant(selection, entry, table)
        ]
        if chosen:
            _edit_or_remove(plan, ledger, table)
    return plan


def _edit_or_remove(plan, ledger, table):
    """A file of cron.d that present made goes with its last entry, a crontab that it made too."""
    made = ledger.find(what="made", where=table.path)
    if made and not any(line.kind == "entry" for line in table.lines):
        plan.edit(table.path, table.content, None)
        plan.forget.append(made)
    else:
        plan.edit(table.path, table.content, table.render())


def _environment(definition):
    return [_unpack(raw) for raw in definition.get("environment") or []]


def _require_definition(host, definition):
    line = Line(_unpack(definition.get("line")) + "\n", definition["kind"] == "cron.d")
    if line.kind != "entry":
        raise JobError(
            "Failed to install %r: it is no entry of a crontab. Give the definition that pausing returned."
            % (definition["line"],)
        )
    for raw in _environment(definition):
        if Line(raw + "\n", False).kind != "environment":
            raise JobError("Failed to install %r: it is no environment line of a crontab." % raw)
    if definition["kind"] == "cron":
        _require_name(definition.get("user"), "user")
        path = spool_path(host, definition["user"])
        return line, Crontab(path, files.read(path), system=False, owner=definition["user"])
    _require_name(definition.get("name"), "name")
    return line, _cron_d(host, definition["name"])


def install(host, ledger, definitions):
    """Plan to have the entries of the definitions, active, each with the environment that it had."""
    del ledger
    plan = Plan()
    tables = {}
    for definition in definitions:
        line, table = _require_definition(host, definition)
        table = tables.setdefault(table.path, table)
        plan.jobs.append(_job(table, line, "active"))
        plan.definition.append(definition)
        for number, existing in enumerate(table.lines):
            if existing.kind == "entry" and existing.original.rstrip("\r\n") == line.raw.rstrip("\n"):
                if existing.paused:
                    plan.forget.append(_key(table, existing))
                    table.replace(number, existing.original)
                break
        else:
            _append(table, definition)
    for table in tables.values():
        _plan_install(host, plan, table)
    return plan


def _append(table, definition):
    if table.unfinished:
        raise JobError(
            "Failed to install a job into %s: its last line has no newline, and appending would bring that line to "
            "life. Mend the file first." % table.path
        )
    environment = table.environment()
    wanted = {Line(raw + "\n", False).name: raw for raw in _environment(definition)}
    extra = sorted(set(environment) - set(wanted))
    if extra:
        raise JobError(
            "Failed to install a job into %s: the file sets %s, which the job did not have. Install it by hand, for "
            "example in a file of its own in /etc/cron.d." % (table.path, ", ".join(extra))
        )
    for name in sorted(wanted):
        if environment.get(name) != wanted[name]:
            table.lines.append(Line(wanted[name] + "\n", table.system))
    table.lines.append(Line(_unpack(definition["line"]) + "\n", table.system))


def _plan_install(host, plan, table):
    after = table.render()
    if after == (table.content or b""):
        return
    if table.content is None:
        plan.remember.append({"what": "made", "kind": "cron.d" if table.system else "cron", "where": table.path})
    if table.system or table.content is not None:
        plan.edit(table.path, table.content, after, None if table.content is not None else 0o644)
        return
    # A new crontab of a user: crontab(1) knows which owner, group and mode this cron wants.
    crontab = host.which("crontab")
    if crontab is None:
        raise JobError("Failed to install a crontab for %s: crontab is not on this host. Install cron." % table.owner)
    plan.commands.append(([crontab, "-u", table.owner, "-"], after))
    plan.shown.append((table.path, "", files.text(after)))
