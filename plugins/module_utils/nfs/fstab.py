# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and edit /etc/fstab, keeping every byte that is not ours.

Fields are separated by blanks and tabs, `\\ooo` is a byte, a line that begins with `#` is a comment (fstab(5)). Text is
as host.files.text() gives it.
"""

import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError

NFS_TYPES = ("nfs", "nfs4")
SOURCE, POINT, KIND, OPTIONS = range(4)
_FIELD = re.compile(r"[^ \t\n]+")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def unescape(field):
    """A field as it stands in fstab or mountinfo -> its text."""
    return files.text(_ESCAPED.sub(lambda found: bytes([int(found.group(1), 8) & 255]), files.data(field)))


def escape(value):
    """The inverse, for one field."""
    return "".join("\\%03o" % ord(c) if c in ' \t\n\\#"' else c for c in value)


class Line:
    """A line that mounts something. number: from 1. spans: (start, end) of its fields in the text."""

    def __init__(self, number, text, spans):
        self.number = number
        self.spans = spans
        self.fields = [text[start:end] for start, end in spans]

    def value(self, field):
        return unescape(self.fields[field]) if field < len(self.fields) else ""

    @property
    def options(self):
        """Options as written, list of str. Those that nobody knows are among them."""
        return [word for word in self.value(OPTIONS).split(",") if word]


def lines(text):
    """All lines of the text that name at least a source, a mount point and a type. Returns list of Line."""
    found = []
    start = 0
    for number, raw in enumerate(text.split("\n"), 1):
        if not raw.lstrip(" \t").startswith("#"):
            spans = [(start + match.start(), start + match.end()) for match in _FIELD.finditer(raw)]
            if len(spans) >= 3:
                found.append(Line(number, text, spans))
        start += len(raw) + 1
    return found


def points(text):
    """Where the lines mount, as written, without what is no path. Returns list of str."""
    return sorted({line.value(POINT) for line in lines(text) if line.value(POINT).startswith("/")})


def find(text, path, name="/etc/fstab", places=None):
    """The line that mounts at path, or None.

    places: by mount point as written the path that it comes to, where links lead elsewhere. Raises NfsError when there
    are two lines, or when it is no NFS mount.
    """
    places = places or {}

    def means(line):
        point = line.value(POINT)
        return path in (os.path.normpath(point), places.get(point))

    at_path = [line for line in lines(text) if means(line)]
    if len(at_path) > 1:
        numbers = " and ".join(str(line.number) for line in at_path)
        raise NfsError("%s has lines %s for %s. Remove all but one" % (name, numbers, path))
    if at_path and at_path[0].value(KIND) not in NFS_TYPES:
        raise NfsError(
            "%s line %d mounts a file system of type %s at %s. Remove the line, or give another path"
            % (name, at_path[0].number, at_path[0].value(KIND), path)
        )
    return at_path[0] if at_path else None


def with_line(text, line, values):
    """text with fields of a line replaced. values: {field: str}; a missing field of options is added."""
    for field in sorted(values, reverse=True):
        value = escape(values[field])
        if field < len(line.spans):
            start, end = line.spans[field]
            text = text[:start] + value + text[end:]
        else:
            end = line.spans[-1][1]
            text = text[:end] + " " + value + text[end:]
    return text


def with_new_line(text, source, path, kind, options):
    """text with one more line at its end."""
    gap = "" if not text or text.endswith("\n") else "\n"
    fields = [escape(field) for field in (source, path, kind, ",".join(options) or "defaults")]
    return text + gap + " ".join(fields) + " 0 0\n"
