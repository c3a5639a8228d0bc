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


def check_ends(root: pathlib.Path) -> Iterator[str]:
    """Each play that ends with the first lost host ends the playbook.

    With any_errors_fatal alone, newer ansible-core counts an unreachable host twice, as failed and as unreachable, sees
    that these are not as many as the play has hosts, and goes on to the next play.
    """
    for path in sorted(root.glob("playbooks/*.yml")):
        for play in yaml.safe_load(path.read_text("utf-8")) or []:
            if play.get("any_errors_fatal") and play.get("max_fail_percentage") != 0:
                where = "playbooks/%s: %s" % (path.name, play.get("name"))
                yield "%s: any_errors_fatal without max_fail_percentage: 0" % where
