# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of module options that hold for every module: nothing is touched before they passed."""

import unicodedata


class OptionError(ValueError):
    """An option has a value that must not reach a configuration file or a command. Names option and value."""


def shown(value):
    """A value as it can stand in a message or a terminal: quoted, control characters escaped. Returns str."""
    return ascii(value) if isinstance(value, str) else repr(value)


def _control_character(text):
    """The first character of text that would end or disturb a line, or None.

    Control characters (Cc: newline, carriage return, tab, NUL, escape, DEL ...) and the line and paragraph
    separators (Zl, Zp), which some readers take for the end of a line.
    """
    for character in text:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp"):
            return character
    return None


def _strings(name, value):
    """Pairs (name, string) of all strings within value, also of keys and items of nested values."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, bytes):
        yield name, value.decode("utf-8", "surrogateescape")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings("key of %s" % name, key)
            yield from _strings("%s[%s]" % (name, shown(key)), item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for number, item in enumerate(value):
            yield from _strings("%s[%d]" % (name, number), item)


def refuse_control_characters(params, allow=(), secret=(), tabs=()):
    """Refuse options with a newline or another control character, however deeply nested.

    params: dict of option names and values (module.params). allow: names of options that may hold them (texts of
    several lines). secret: names of options whose value must not be told. tabs: names of options in which tabs are
    fine. Raises OptionError that names the option and shows the value with the character escaped.
    """
    for option, value in params.items():
        if option in allow:
            continue
        for name, string in _strings(option, value):
            character = _control_character(string.replace("\t", " ") if option in tabs else string)
            if character is None:
                continue
            told = "" if option in secret else " in %s" % shown(string)
            where = option if option in secret else name
            raise OptionError(
                "Failed to use option %s: it holds the control character %s%s. "
                "Give a value of one line without control characters." % (where, shown(character), told)
            )
