# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks: what their hosts do together stays together, whatever the user has set."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import yaml

STRATEGY = "ansible.builtin.linear"


def check_strategy(root: pathlib.Path) -> Iterator[str]:
    """Each play names its strategy: under one that the user has set, a host could run ahead of the other side."""
    for path in sorted(root.glob("playbooks/*.yml")):
        for play in yaml.safe_load(path.read_text("utf-8")) or []:
            if "hosts" in play and play.get("strategy") != STRATEGY:
                yield "playbooks/%s: %s: no strategy: %s" % (path.name, play.get("name"), STRATEGY)
