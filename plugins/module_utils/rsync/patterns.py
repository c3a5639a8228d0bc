# SPDX-License-Identifier: GPL-3.0-or-later
"""rsync's exclude patterns, for lists that we make ourselves. Source of the rules: rsync(1), PATTERN MATCHING RULES."""

import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.rsync.binary import RsyncError

_RULE_PREFIX = re.compile(r"^(?:[-+!:.HSPR]|merge|dir-merge|exclude|include|hide|show|protect|risk|clear)[ ,_]|^!$")


def check(pattern):
    """Refuse what rsync's --exclude would read as another kind of rule. Raises RsyncError."""
    if not pattern or any(ord(letter) < 32 for letter in pattern):
        raise RsyncError("Failed to use the option exclude: %r is empty or has a control character." % pattern)
    if _RULE_PREFIX.match(pattern):
        raise RsyncError("Failed to use the option exclude: %r is a filter rule, not a pattern. Name only what is left"
                         " out." % pattern)


def _bracket(pattern, start):
    """End of the character class that begins at start, or None when it does not close."""
    end = start + 1
    if pattern[end:end + 1] in ("!", "^"):
        end += 1
    if pattern[end:end + 1] == "]":
        end += 1
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return end if end < len(pattern) else None


def _translate(pattern):
    out, index = "", 0
    wild = any(letter in pattern for letter in "*?[")
    while index < len(pattern):
        letter = pattern[index]
        if pattern.startswith("**", index):
            while pattern.startswith("*", index + 1):
                index += 1
            out += ".*"
        elif letter == "*":
            out += "[^/]*"
        elif letter == "?":
            out += "[^/]"
        elif letter == "[" and _bracket(pattern, index):
            end = _bracket(pattern, index)
            body = pattern[index + 1:end]
            negated = body[:1] in ("!", "^")
            body = (body[1:] if negated else body).replace("[", "\\[")
            out += "(?!/)[%s%s]" % ("^" if negated else "", ("\\" + body) if body.startswith(("]", "^")) else body)
            index = end
        elif letter == "\\" and wild and index + 1 < len(pattern):
            index += 1
            out += re.escape(pattern[index])
        else:
            out += re.escape(letter)
        index += 1
    return out


class Patterns:
    """Patterns to leave out. patterns: list of str, as for rsync --exclude."""

    def __init__(self, patterns):
        self.rules = []
        for pattern in patterns:
            check(pattern)
            self.rules.append(self._compile(pattern))

    @staticmethod
    def _compile(pattern):
        """(whether only directories, whether the whole path is looked at, regular expression over bytes)"""
        everything_below = pattern.endswith("/***")
        text = pattern[:-4] if everything_below else pattern
        directory = text.endswith("/") and text != "/"
        text = text[:-1] if directory else text
        anchored = text.startswith("/")
        text = text[1:] if anchored else text
        whole = anchored or "/" in text or "**" in text
        expression = ("" if anchored or not whole else "(?:.*/)?") + _translate(text)
        return directory or everything_below, whole, re.compile(files.data(expression) + rb"\Z", re.DOTALL)

    def match(self, path, is_directory):
        """Whether path (bytes, relative to the tree, its parents not left out) is left out."""
        name = path.rsplit(b"/", 1)[-1]
        for directory, whole, expression in self.rules:
            if (is_directory or not directory) and expression.match(path if whole else name):
                return True
        return False

    def excludes(self, path, is_directory):
        """Whether path (bytes) or a directory that it lies in is left out."""
        if not self.rules:
            return False
        parts = path.split(b"/")
        above = (b"/".join(parts[:depth]) for depth in range(1, len(parts)))
        return any(self.match(folder, True) for folder in above) or self.match(path, is_directory)
