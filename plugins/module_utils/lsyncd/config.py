# SPDX-License-Identifier: GPL-3.0-or-later
"""An lsyncd configuration from typed settings and syncs: checked against the version's tables, rendered as Lua."""

import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd import lua, tables
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.errors import LsyncdError

MARKER = "-- Managed by seamless.migration.lsyncd_config: edits are lost, whole-file ownership."
SYNC_NAME = re.compile(r"^[A-Za-z0-9_-]+$")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What each side has of its own: carried over, it would make a compare look at one side twice.
OWN_FILES = ("/.seamless-sentinel", "/.seamless-manifest*")
KINDS = {"bool": (bool,), "int": (int,), "str": (str,), "list": (list,), "dict": (dict,)}

# Our options, in the order in which they are written, and lsyncd's names for them.
SETTING_NAMES = (
    ("log_file", "logfile"),
    ("pid_file", "pidfile"),
    ("status_file", "statusFile"),
    ("status_interval", "statusInterval"),
    ("log_facility", "logfacility"),
    ("log_ident", "logident"),
    ("inotify_mode", "inotifyMode"),
    ("insist", "insist"),
    ("max_processes", "maxProcesses"),
    ("max_delays", "maxDelays"),
    ("nodaemon", "nodaemon"),
    ("onepass", "onepass"),
)
SYNC_NAMES = (
    ("source", "source"),
    ("target", "target"),
    ("host", "host"),
    ("targetdir", "targetdir"),
    ("delay", "delay"),
    ("delete", "delete"),
    ("max_processes", "maxProcesses"),
    ("max_delays", "maxDelays"),
    ("batch_size_limit", "batchSizeLimit"),
    ("init", "init"),
    ("exclude_from", "excludeFrom"),
    ("exclude", "exclude"),
)


def parse_version(text):
    """The version in the output of `lsyncd --version`, or in a word such as "2.2.3". Returns tuple, or None."""
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", text or "")
    return tuple(int(number) for number in match.groups()) if match else None


def installed_version():
    """Version of the lsyncd of this machine as a tuple, or None without one. Raises LsyncdError."""
    program = command.which("lsyncd")
    if not program:
        return None
    try:
        result = command.run([program, "--version"], timeout=20, ok=None)
    except command.CommandError as error:
        raise LsyncdError("the version of lsyncd cannot be asked: %s" % error) from error
    return parse_version(result.stdout + result.stderr)


def place(exists=os.path.exists):
    """Where this system keeps lsyncd's files, by the release file that it has. Returns tables.Place."""
    for path, family in tables.RELEASE_FILES:
        if exists(path):
            return tables.PLACES[family]
    return tables.PLACES["Debian"]


def refuse_control_characters(item, name):
    """Walk through item and raise LsyncdError naming the option and value with a newline or other control character."""
    if isinstance(item, dict):
        for part, inner in item.items():
            refuse_control_characters(part, name)
            refuse_control_characters(inner, "%s.%s" % (name, part))
    elif isinstance(item, list):
        for number, inner in enumerate(item):
            refuse_control_characters(inner, "%s[%d]" % (name, number))
    elif isinstance(item, str) and CONTROL.search(item):
        raise LsyncdError("%s has a newline or control character: %r. Give it without" % (name, item))


def _checked(given, table, version, where):
    """given as lsyncd's own keys: all known to this version and of the right kind. Raises LsyncdError."""
    allowed = tables.known(table, version)
    for name, item in given.items():
        if name not in allowed:
            spans = tables.since(table, name)
            raise LsyncdError(
                "%s.%s is no key of lsyncd %s (%s), which ends at an unknown key. Leave it out"
                % (where, name, tables.dotted(version), "known to %s" % spans if spans else "known to no version")
            )
        kind = allowed[name].kind
        if not isinstance(item, KINDS[kind]) or (kind == "int" and isinstance(item, bool)):
            raise LsyncdError("%s.%s is %r, but should be of type %s" % (where, name, item, kind))
        if kind == "int" and item < 0:
            raise LsyncdError("%s.%s is %d, but should not be negative" % (where, name, item))
    return given


def _renamed(given, names):
    return {theirs: given[ours] for ours, theirs in names if given.get(ours) is not None}


def settings_table(settings, version):
    """The settings{} table. settings: dict of our option names. Returns dict. Raises LsyncdError."""
    table = _renamed(settings, SETTING_NAMES)
    if not table.get("insist", True):
        del table["insist"]
    if "insist" in table and "insist" not in tables.known(tables.SETTINGS, version):
        raise LsyncdError(
            "settings.insist cannot be set in lsyncd %s, which misspells it. Set insist to false here and give "
            "-insist on its command line, or install 2.2.2 or later" % tables.dotted(version)
        )
    for name in ("logfile", "pidfile", "statusFile"):
        if name in table and not table[name].startswith("/"):
            raise LsyncdError("settings.%s is %r, but should be an absolute path" % (name, table[name]))
    return _checked(table, tables.SETTINGS, version, "settings")


def rsync_table(sync, version, binary):
    """The rsync{} table of one sync. binary: path of its guard, or None. Returns dict. Raises LsyncdError."""
    where = "syncs[%s].rsync" % sync["name"]
    table = dict(archive=True)
    table.update(sync.get("rsync") or {})
    extra = list(table.pop("_extra", ["--numeric-ids"]))
    for word in extra:
        if not isinstance(word, str) or word in tables.FORBIDDEN_EXTRA:
            why = tables.FORBIDDEN_EXTRA.get(word, "it is no text") if isinstance(word, str) else "it is no text"
            raise LsyncdError("%s._extra must not have %r: %s" % (where, word, why))
    if binary:
        if "binary" in table:
            raise LsyncdError("%s.binary cannot be set beside guard, which is the binary" % where)
        table = dict([("binary", binary)], **table)
    if table.get("archive") and version < tables.ARCHIVE_SINCE:
        del table["archive"]
        for name in tables.ARCHIVE_BOOLEANS:
            table.setdefault(name, True)
        extra.append(tables.ARCHIVE_EXTRA)
    if sync.get("password_file"):
        _add_password_file(sync, table, version, binary)
    if extra:
        table["_extra"] = extra
    return _checked(table, tables.RSYNC, version, where)


def _add_password_file(sync, table, version, binary):
    if "password_file" in tables.known(tables.RSYNC, version):
        table["password_file"] = sync["password_file"]
    elif not binary:  # the guard adds it
        raise LsyncdError(
            "syncs[%s].password_file is unknown to lsyncd %s. Use a guard, which adds it"
            % (sync["name"], tables.dotted(version))
        )


def sync_table(sync, version, binary=None):
    """The sync{} table of one sync without its default. Returns dict. Raises LsyncdError."""
    where = "syncs[%s]" % sync["name"]
    mode = sync.get("mode") or "rsync"
    _check_ends(sync, mode, where)
    table = _renamed(sync, SYNC_NAMES)
    table["source"] = os.path.realpath(sync["source"])
    table["delete"] = str(sync.get("delete") or "false")
    exclude = list(sync.get("exclude") or [])
    if binary:
        exclude = [pattern for pattern in OWN_FILES if pattern not in exclude] + exclude
    table["exclude"] = exclude
    if not exclude:
        del table["exclude"]
    if mode == "rsyncssh":
        table.pop("maxProcesses", None)
        if binary:
            table["onMove"] = False  # else moves go past the guard, straight to ssh
    table = _checked(table, tables.SYNC, version, where)
    if table["delete"] in ("true", "false"):
        table["delete"] = table["delete"] == "true"
    table["rsync"] = rsync_table(sync, version, binary)
    ssh = ssh_table(sync, version)
    if ssh:
        table["ssh"] = ssh
    return table


def _check_ends(sync, mode, where):
    if not sync["source"].startswith("/"):
        raise LsyncdError("%s.source is %r, but should be an absolute path" % (where, sync["source"]))
    wanted = {"rsync": ("target",), "rsyncssh": ("host", "targetdir")}[mode]
    for name in ("target", "host", "targetdir"):
        given = sync.get(name)
        if (name in wanted) != bool(given):
            raise LsyncdError(
                "%s.%s is %s with mode %s" % (where, name, "missing" if name in wanted else "not taken", mode)
            )
        if given and given.startswith("-"):
            raise LsyncdError("%s.%s is %r, which rsync would read as an option" % (where, name, given))
        if given and "^" in given:
            raise LsyncdError("%s.%s is %r: lsyncd 2.3 replaces words after ^ in it. Use another name"
                              % (where, name, given))
    if mode == "rsyncssh" and (sync.get("max_processes") or 1) != 1:
        raise LsyncdError("%s.max_processes must be 1 with mode rsyncssh" % where)
    if mode == "rsync" and sync.get("ssh"):
        raise LsyncdError("%s.ssh is not taken with mode rsync. Use mode rsyncssh" % where)


def ssh_table(sync, version):
    """The ssh{} table of a rsyncssh sync. Its words are pasted into one --rsh= by lsyncd, so none may have a blank."""
    where = "syncs[%s].ssh" % sync["name"]
    given = dict(sync.get("ssh") or {})
    if given.get("identity_file") is not None:
        given["identityFile"] = given.pop("identity_file")
    table = {name: item for name, item in given.items() if item is not None}
    words = [str(table.get("identityFile", ""))] + ["%s=%s" % pair for pair in table.get("options", {}).items()]
    for word in words:
        if re.search(r"[\s'\"]", word):
            raise LsyncdError("%s has a blank or quote in %r, which lsyncd passes to ssh unquoted" % (where, word))
    return _checked(table, tables.SSH, version, where)


def check_syncs(syncs):
    """Names are words and no two syncs share a name, a source or lie within one another. Raises LsyncdError."""
    names, sources = set(), {}
    for sync in syncs:
        name = sync["name"]
        if not SYNC_NAME.match(name):
            raise LsyncdError("syncs: the name %r should consist of letters, digits, - and _" % name)
        if name in names:
            raise LsyncdError("syncs: the name %r is there twice" % name)
        names.add(name)
        source = os.path.realpath(sync["source"])
        for other, owner in sources.items():
            if os.path.commonpath([source, other]) in (source, other):
                raise LsyncdError("syncs: the sources of %s and %s lie within one another" % (owner, name))
        sources[source] = name


def render(settings, syncs, version, binaries=None):
    """The whole configuration as bytes. binaries: dict of sync name -> path of its guard. Raises LsyncdError."""
    refuse_control_characters(settings, "settings")
    refuse_control_characters(syncs, "syncs")
    check_syncs(syncs)
    binaries = binaries or {}
    parts = [MARKER, "", "settings%s" % lua.value(settings_table(settings, version)), ""]
    for sync in syncs:
        default = "default.%s" % (sync.get("mode") or "rsync")
        table = lua.value(sync_table(sync, version, binaries.get(sync["name"])))
        parts += ["-- %s" % sync["name"], "sync{\n\t%s,%s" % (default, table[1:]), ""]
    return files.data("\n".join(parts))


def ours(content):
    """Whether a configuration (bytes) was written by us, or says nothing: only blanks and comments."""
    if content is None or files.data(MARKER) in content.splitlines()[:1]:
        return True
    text = re.sub(r"--\[(=*)\[.*?\]\1\]", "", files.text(content), flags=re.S)
    return not re.sub(r"--[^\n]*", "", text).strip()


LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
ESCAPE = re.compile(rb'\\(\d{3}|["\\])')


def _unquoted(line):
    match = LITERAL.search(line)
    if not match:
        return line.partition("=")[2].strip().rstrip(",")

    def byte(escape):
        word = escape.group(1)
        return word if len(word) == 1 else bytes([int(word)])

    return files.text(ESCAPE.sub(byte, match.group(1).encode("ascii")))


def read_rendered(content):
    """Read back what render() wrote: dict with `settings` (lsyncd's names) and `syncs` (dicts with name, source,
    target, binary, delete, exclude). A configuration that is not ours has neither.
    """
    found = {"settings": {}, "syncs": []}
    if not content or not ours(content) or files.data(MARKER) not in content.splitlines()[:1]:
        return found
    current, name, listing = None, None, None
    for line in files.text(content).split("\n"):
        if line.startswith("-- "):
            name = line[3:]
        elif line == "settings{":
            current = found["settings"]
        elif line == "sync{":
            current = {"name": name, "exclude": []}
            found["syncs"].append(current)
        elif current is not None and line.strip() == "exclude = {":
            listing = current["exclude"]
        elif line.strip() == "},":
            listing = None
        elif listing is not None:
            listing.append(_unquoted(line))
        elif current is not None and " = " in line and not line.endswith("{"):
            current.setdefault(line.strip().partition(" = ")[0], _unquoted(line))
    return found
