# SPDX-License-Identifier: GPL-3.0-or-later
"""The changelog has something to say about the version in galaxy.yml."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import yaml


def check_release(root: pathlib.Path) -> Iterator[str]:
    """There are fragments, and the version of galaxy.yml is released in the changelog or still has one of them."""
    version = str(yaml.safe_load((root / "galaxy.yml").read_text("utf-8"))["version"])
    fragments = sorted(path.stem for path in root.glob("changelogs/fragments/*.y*ml"))
    if not fragments:
        yield "changelogs/fragments: empty"
    record = root / "changelogs" / "changelog.yaml"
    released = (yaml.safe_load(record.read_text("utf-8")) or {}).get("releases", {}) if record.is_file() else {}
    if version not in released and version not in fragments:
        yield "changelogs: neither a release %s nor a fragment %s.yml that sums it up" % (version, version)
    if not (root / "CHANGELOG.md").is_file():
        yield "CHANGELOG.md: missing, `make changelog` writes it"
