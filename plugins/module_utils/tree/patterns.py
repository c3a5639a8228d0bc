# SPDX-License-Identifier: GPL-3.0-or-later
"""Exclude patterns with the meaning that rsync gives them (rsync(1), FILTER RULES), or a refusal.

Taken: names, "*", "**", "?", "[...]", a "/" at the start (root of the tree), within, and at the end (directories only),
and "name/***". Refused: rules with a prefix ("+ ", "- " and the like), character classes by name, what is not closed.
"""

import os
import re

from .errors import TreeError

# Ours, in the root of every tree: sentinel, canaries, manifests.
OWN = "/.seamless-*"

_PREFIXED = re.compile(
    r"\A([-+!.:,HSPRr](,\S*)?[ _]|(exclude|include|merge|dir-merge|hide|show|protect|risk|clear)[ ,_])"
)


def _class(pattern, start):
    """Translate the bracket expression that begins at pattern[start]. Returns (regular expression, index after it)."""
    position = start + 1
    negated = pattern[position : position + 1] in ("!", "^")
    position += negated
    members = []
    first = True
    while True:
        character = pattern[position : position + 1]
        if not character:
            raise TreeError("Exclude pattern %r has a '[' without ']'. Close it, or escape it" % pattern)
        if character == "]" and not first:
            break
        if character == "[" and pattern[position + 1 : position + 2] == ":":
            raise TreeError("Exclude pattern %r names a class of characters. List the characters instead" % pattern)
        if character == "/" or (character == "\\" and pattern[position + 1 : position + 2] in ("/", "")):
            raise TreeError("Exclude pattern %r has a slash within '[]'. Take it out" % pattern)
        if character == "\\":
            position += 1
            character = pattern[position : position + 1]
            members.append(_literal(character))
        elif character == "-" and not first and pattern[position + 1 : position + 2] not in ("]", ""):
            members.append("-")
        else:
            members.append(_literal(character))
        first = False
        position += 1
    return "(?!/)[%s%s]" % ("^" if negated else "", "".join(members)), position + 1


def _literal(text):
    return re.escape(text)


def _translate(pattern):
    """The regular expression for a pattern with wildcards."""
    result, position = [], 0
    while position < len(pattern):
        character = pattern[position]
        if pattern.startswith("**", position):
            result.append(".*")
            position += 2
            if pattern.startswith("*", position):
                raise TreeError("Exclude pattern %r has '***' elsewhere than in '/***' at its end. Use '**'" % pattern)
        elif character == "*":
            result.append("[^/]*")
            position += 1
        elif character == "?":
            result.append("[^/]")
            position += 1
        elif character == "[":
            expression, position = _class(pattern, position)
            result.append(expression)
        elif character == "\\":
            result.append(_literal(pattern[position + 1 : position + 2] or "\\"))
            position += 2
        else:
            result.append(_literal(character))
            position += 1
    return "".join(result)


def _check(pattern):
    if not pattern or pattern in ("/", "!"):
        raise TreeError("Exclude pattern %r matches nothing that can be left out. Give a name or a path" % pattern)
    if any(ord(character) < 32 or ord(character) == 127 for character in pattern):
        raise TreeError("Exclude pattern %r has a control character. Use '?' in its place" % pattern)
    if _PREFIXED.match(pattern):
        raise TreeError("Exclude pattern %r is a filter rule. Only plain exclude patterns are taken" % pattern)


class Pattern:
    """One exclude pattern. Raises TreeError for one that rsync may read otherwise."""

    def __init__(self, pattern):
        _check(pattern)
        anchored = pattern.startswith("/")
        body = pattern[1:] if anchored else pattern
        self._everything_below = body.endswith("/***")
        if self._everything_below:
            body = body[:-4]
        self._only_directories = body.endswith("/") and not self._everything_below
        if self._only_directories:
            body = body[:-1]
        wild = self._everything_below or any(character in body for character in "*?[")
        # Without wildcards a backslash is a backslash.
        middle = _translate(body) if wild else _literal(body)
        # "**" at the start also takes the place of nothing before a slash.
        self._slash_first = body.startswith("**") and not anchored
        before = "" if anchored or self._slash_first else "(?:.*/)?"
        after = "/.*" if self._everything_below else ""
        try:
            self._expression = re.compile(("(?s)" + before + middle + after).encode("utf-8", "surrogateescape"))
        except re.error as error:
            raise TreeError("Exclude pattern %r cannot be read: %s. Mend it" % (pattern, error)) from error

    def match(self, path, directory):
        """Whether the pattern matches this entry. path: bytes, relative to the root, without "/" at its end."""
        if self._only_directories and not directory:
            return False
        if self._everything_below and directory:
            path += b"/"
        if self._slash_first:
            path = b"/" + path
        return self._expression.fullmatch(path) is not None


class Excludes:
    """What is left out of a tree. patterns: list of str, beside our own names in the root."""

    def __init__(self, patterns=()):
        self.patterns = [OWN] + list(patterns)
        self._compiled = [Pattern(pattern) for pattern in self.patterns]

    def match(self, path, directory):
        """Whether this entry is left out; who walks prunes directories. path: bytes, relative to the root."""
        return any(pattern.match(path, directory) for pattern in self._compiled)

    def match_below(self, path, directory):
        """Whether this entry or a directory above it is left out."""
        parts = path.split(b"/")
        above = [b"/".join(parts[:count]) for count in range(1, len(parts))]
        return any(self.match(folder, True) for folder in above) or self.match(path, directory)


def relative(path):
    """A path (bytes) of a list as relative to the root: no "./" or "/" around it. Raises TreeError for "..".

    The root itself is b".".
    """
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise TreeError("The list names %r, which leaves the tree. Give paths relative to the root" % os.fsdecode(path))
    return b"/".join(parts) or b"."
