# SPDX-License-Identifier: GPL-3.0-or-later
"""lsyncd's exclude patterns as regular expressions: which directories it does not watch (Excludes in lsyncd.lua)."""

import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files

TOKENS = re.compile(r"\*\*|\*|\?|.", re.S)
WILD = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def compiled(pattern):
    """A compiled bytes pattern to search in a path from the tree's root, such as b"/folder/"."""
    anchored = pattern.startswith("/")
    body = "".join(WILD.get(token) or re.escape(token) for token in TOKENS.findall(pattern))
    end = "" if pattern.endswith("$") else r"(?:/|\Z)"
    return re.compile(files.data(("^" if anchored else "/") + body + end), re.S)


def compile_all(patterns):
    """Compiled forms of those patterns that can exclude a directory."""
    return [compiled(pattern) for pattern in patterns if pattern != "/.seamless-sentinel"]
