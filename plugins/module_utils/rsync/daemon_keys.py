# SPDX-License-Identifier: GPL-3.0-or-later
"""What rsyncd.conf keys there are, which values rsync takes for them, and how a value is written and compared.

The table follows rsync's daemon-parm.txt and loadparm.c (3.5.0). It matters because rsync logs an unknown key or a
bad boolean and goes on without it: what was meant to protect a module is then simply not there.
"""

import difflib

BLANKS = " \t\n\v\f\r"  # isspace() of the C locale, which is what rsync means by whitespace


class ConfigError(Exception):
    """rsyncd.conf or a value for it is not what rsync would take."""


class Key:
    """One key. label: as rsync spells it; kind: str; scope: global (before any module) or local; since: version."""

    def __init__(self, label, kind, scope, since=(2, 6, 0)):
        self.label = label
        self.kind = kind
        self.scope = scope
        self.since = since


def normal(name):
    """A key or module name as rsync compares it: without any whitespace, ASCII letters in lower case."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in name if c not in BLANKS)


_SINCE = {  # read from the loadparm.c and daemon-parm.txt of the releases
    (3, 0, 0): "charset, fake super, munge symlinks, numeric ids",
    (3, 1, 0): "forward lookup, listen backlog, reverse lookup",
    (3, 1, 3): "daemon chroot, daemon gid, daemon uid, syslog tag",
    (3, 2, 0): "early exec, name converter, open noatime, proxy protocol",
    (3, 5, 0): "auth digest, insecure links, proxy protocol hosts",
}
_GLOBAL = {
    "string": "address, daemon chroot, daemon gid, daemon uid, motd file, pid file, proxy protocol hosts, socket "
    "options",
    "integer": "listen backlog, port",
    "bool": "proxy protocol",
}
_LOCAL = {
    "string": "auth digest, charset, comment, dont compress, early exec, exclude, exclude from, filter, gid, include, "
    "include from, incoming chmod, lock file, log file, log format, name, name converter, outgoing chmod, "
    "post-xfer exec, pre-xfer exec, secrets file, syslog tag, uid",
    "words": "auth users, hosts allow, hosts deny, refuse options",
    "path": "path, temp dir",
    "integer": "max connections, max verbosity, timeout",
    "facility": "syslog facility",
    "bool": "fake super, forward lookup, ignore errors, ignore nonreadable, insecure links, list, read only, "
    "reverse lookup, strict modes, transfer logging, write only",
    "bool3": "munge symlinks, numeric ids, open noatime, use chroot",
}
_FACILITIES = ["auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "security", "syslog"]
_FACILITIES += ["user", "uucp"] + ["local%d" % number for number in range(8)]
_TRUE = ("yes", "true", "1")
_FALSE = ("no", "false", "0")
_UNSET = ("unset", "-1")

# Read once, when the daemon starts to listen; every other key is read anew at each connection.
NEEDS_RESTART = ("address", "listen backlog", "pid file", "port", "socket options")


def _table():
    since = {label: version for version, labels in _SINCE.items() for label in labels.split(", ")}
    keys = {}
    for scope, kinds in (("global", _GLOBAL), ("local", _LOCAL)):
        for kind, labels in kinds.items():
            for label in labels.split(", "):
                keys[normal(label)] = Key(label, kind, scope, since.get(label, (2, 6, 0)))
    return keys


KEYS = _table()


def find(name, version=None):
    """The Key that rsync understands by name.

    version: (major, minor, patch) of the installed rsync, or None when it is not known. Raises ConfigError for a
    name that rsync would log and ignore, with the nearest one that exists.
    """
    key = KEYS.get(normal(name))
    if key is None:
        near = difflib.get_close_matches(normal(name), KEYS, n=1, cutoff=0.6)
        advice = "Did you mean '%s'?" % KEYS[near[0]].label if near else "See man 5 rsyncd.conf for the keys."
        raise ConfigError("rsync knows no key '%s' and would ignore it. %s" % (name, advice))
    if version is not None and tuple(version) < key.since:
        raise ConfigError(
            "the key '%s' came with rsync %s; the rsync here is %s and would ignore it. Leave the key out or update "
            "rsync" % (key.label, ".".join(map(str, key.since)), ".".join(map(str, version)))
        )
    return key


def control_characters(text):
    """Whether text has a newline, NUL or other ASCII control character, which no value of rsyncd.conf can carry."""
    return any(ord(c) < 32 or ord(c) == 127 for c in text)


def check_text(what, text):
    """Raise ConfigError unless text survives being written as a value and read back by rsync.

    what: how to name the option in the message.
    """
    if control_characters(text):
        raise ConfigError(
            "%s has a newline or another control character: %r. rsyncd.conf cannot carry one; remove it" % (what, text)
        )
    if text != text.strip(BLANKS):
        raise ConfigError("%s starts or ends with a blank, which rsync would cut off: %r" % (what, text))
    if text.endswith("\\"):
        raise ConfigError("%s ends with a backslash, which rsync takes for a continued line: %r" % (what, text))


def check_module_name(name):
    """Raise ConfigError unless a client can ask for a module of this name and rsync reads it as it is written."""
    check_text("name", name)
    if not name:
        raise ConfigError("name is empty. Give the module a name such as 'data'")
    bad = [c for c in "/[]\\" if c in name]
    if bad:
        raise ConfigError("name %r has a '%s', which rsync does not take in a module name" % (name, bad[0]))
    if name[0] in "#;":
        raise ConfigError("name %r starts with '%s'; rsync reads that as a command or a comment" % (name, name[0]))
    if " ".join(name.split()) != name:
        raise ConfigError("name %r has several blanks in a row, which rsync makes one" % name)
    if normal(name) == "global":
        raise ConfigError("name 'global' is rsync's word for the global part. Use another one, or the option globals")


def words(text):
    """The words of a list value: split at blanks and commas, as rsync does for hosts and users. Returns list of str."""
    return text.replace(",", " ").replace("\t", " ").split()


def boolean(text, allow_unset=False):
    """True, False or (allow_unset) the str 'unset' for a boolean value as rsync reads it; None for a bad one."""
    value = normal(text)
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    return "unset" if allow_unset and value in _UNSET else None


def _render_boolean(key, value):
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    if boolean(text, key.kind == "bool3") is None:
        raise ConfigError(
            "'%s' is a yes or no, and rsync would ignore %r. Say yes or no%s"
            % (key.label, value, " or unset" if key.kind == "bool3" else "")
        )
    return text


def _render_integer(key, value):
    text = str(value).strip()
    try:
        int(text)
    except ValueError as error:
        raise ConfigError("'%s' is a whole number, and rsync would read %r as 0" % (key.label, value)) from error
    return text


def _render_path(key, value):
    text = str(value)
    if not text.startswith("/"):
        raise ConfigError("'%s' has to be an absolute path, not %r" % (key.label, text))
    return text.rstrip("/") or "/"


def _render_facility(key, value):
    text = str(value)
    if text.lower() not in _FACILITIES and not text.isdigit():
        raise ConfigError(
            "'%s' is none of syslog's facilities: %r. Use one of %s" % (key.label, text, ", ".join(_FACILITIES))
        )
    return text


def _render_words(key, value):
    items = list(value) if isinstance(value, (list, tuple)) else words(str(value))
    for item in items:
        if not item or len(words(item)) != 1:
            raise ConfigError(
                "'%s' is a list of words, and %r is not one word. Give a list without blanks and "
                "commas" % (key.label, item)
            )
    return " ".join(items)


def _render_string(key, value):
    if isinstance(value, bool):
        raise ConfigError("'%s' is text, not %s. Put it into quotes" % (key.label, value))
    return str(value)


_RENDER = {
    "bool": _render_boolean,
    "bool3": _render_boolean,
    "integer": _render_integer,
    "path": _render_path,
    "facility": _render_facility,
    "words": _render_words,
    "string": _render_string,
}


def render(key, value):
    """The text of value as it is written after the equals sign. Raises ConfigError for what rsync would not take."""
    if isinstance(value, (list, tuple)) and key.kind != "words":
        raise ConfigError("'%s' takes one value, not a list: %r" % (key.label, value))
    for item in value if isinstance(value, (list, tuple)) else [value]:
        check_text("'%s'" % key.label, str(item))
    text = _RENDER[key.kind](key, value)
    check_text("'%s'" % key.label, text)
    return text


def meaning(key, text):
    """What rsync makes of text: two texts with the same meaning need no edit. None: rsync ignores the text."""
    if key.kind in ("bool", "bool3"):
        return boolean(text, key.kind == "bool3")
    if key.kind == "integer":
        digits = text.strip()
        sign = digits[:1] if digits[:1] in "+-" else ""
        number = sign
        for c in digits[len(sign) :]:
            if c not in "0123456789":
                break
            number += c
        return int(number) if number not in ("", "+", "-") else 0
    if key.kind == "path":
        return text.rstrip("/") or text[:1]
    if key.kind == "words":
        return [w.lower() if key.label.startswith("hosts") else w for w in words(text)]
    if key.kind == "facility":
        return text.lower()
    return text
