# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files belong to the project."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Iterator


def listed(root: pathlib.Path, *patterns: str) -> Iterator[pathlib.Path]:
    """Yield the regular files that git knows or would take, in order, as absolute paths.

    :param root: the top of the checkout.
    :param patterns: pathspecs of git; none for every file.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    output = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout
    for name in sorted({os.fsdecode(name) for name in output.split(b"\0") if name}):
        path = root / name
        if path.is_file() and not path.is_symlink():
            yield path
