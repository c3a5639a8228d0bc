# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every file: it names its licence, and nothing of the machine on which it was written."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

from checks.listing import listed

HEADER_LINES = 8
LICENCE = "SPDX-License-Identifier: GPL-3.0-or-later"
# The licence itself, what tools write anew, and formats that have no comments, or none on a line of their own.
WITHOUT_HEADER = re.compile(
    r"(^|/)(LICENSE|CHANGELOG\.md|changelog\.yaml|\.gitkeep)$|^tests/sanity/ignore-.*\.txt$|\.(json|jsonl|png|svg)$"
)
ALIEN = (
    (re.compile(r"(?<![\w.}/-])/(?:Users|work|workspace|builds)/"), "a path of one machine"),
    (re.compile(r"/\.(?:pyenv|asdf|rbenv)/"), "a folder of a version manager"),
    (re.compile(r"\b(?:(?:deb|security|ftp)\.debian|pythonhosted)\.org\b|\bpypi\.org/simple\b"), "a registry host"),
)


def check_headers(root: pathlib.Path) -> Iterator[str]:
    """Every file that can carry one has an SPDX line near its top."""
    for path in listed(root):
        name = str(path.relative_to(root))
        if WITHOUT_HEADER.search(name):
            continue
        head = path.read_text("utf-8", "replace").splitlines()[:HEADER_LINES]
        if head and not any(LICENCE in line for line in head):
            yield "%s: no line %r among the first %d" % (name, LICENCE, HEADER_LINES)


def check_paths(root: pathlib.Path) -> Iterator[str]:
    """No file names a path or a host of the machine on which it was written."""
    for path in listed(root):
        if path.name == "LICENSE":
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            for pattern, kind in ALIEN:
                match = pattern.search(line)
                if match:
                    yield "%s:%d: %s: %s" % (path.relative_to(root), number, kind, match.group())


def check_names(root: pathlib.Path) -> Iterator[str]:
    """No two files of the unit tests have the same name: pytest would take one for the other."""
    seen: dict[str, str] = {}
    for path in listed(root):
        name = str(path.relative_to(root))
        if not name.startswith("tests/unit/") or path.suffix != ".py" or path.name in ("conftest.py", "__init__.py"):
            continue
        if path.name in seen:
            yield "%s: has the name of %s" % (name, seen[path.name])
        seen[path.name] = name
