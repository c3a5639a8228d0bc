# SPDX-License-Identifier: GPL-3.0-or-later
"""The README of the collection lists what there is."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

# What there is, the section of the README that lists it, and how it does.
LISTS = (
    ("playbooks/*.yml", "Playbooks", "`%s`"),
    ("plugins/modules/[a-z]*.py", "Modules", "`%s`"),
    ("plugins/filter/[a-z]*.py", "Modules", "`%s`"),
    ("roles/*", "Modules", "(roles/%s/README.md)"),
)


def check_lists(root: pathlib.Path) -> Iterator[str]:
    """Each playbook, module, filter and role is listed in its section of the README."""
    path = root / "README.md"
    parts = re.split(r"(?m)^## (.+)$", path.read_text("utf-8") if path.is_file() else "")
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    for pattern, section, form in LISTS:
        for found in sorted(root.glob(pattern)):
            if form % found.stem not in sections.get(section, ""):
                yield "README.md: %s is not listed under %s" % (found.relative_to(root), section)
