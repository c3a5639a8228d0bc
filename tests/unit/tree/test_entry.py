# SPDX-License-Identifier: GPL-3.0-or-later
"""One entry is described as it is, and content that changes while it is read is not taken for known."""

import os

from ansible_collections.seamless.migration.plugins.module_utils.tree import entry


def changing(monkeypatch, path, times):
    """Let the file grow at the end of each of the first reads."""
    real, left = os.read, [times]

    def read(handle, count):
        block = real(handle, count)
        if not block and left[0]:
            left[0] -= 1
            with open(path, "ab") as stream:
                stream.write(b"more")
        return block

    monkeypatch.setattr(entry.os, "read", read)


def test_content_that_changed_once_is_read_again(tmp_path, monkeypatch):
    path = os.fsencode(str(tmp_path / "file"))
    other = os.fsencode(str(tmp_path / "other"))
    for name, content in ((path, b"begin"), (other, b"beginmore")):
        with open(name, "wb") as stream:
            stream.write(content)
    expected = entry.content_hash(other)
    changing(monkeypatch, path, 1)
    assert entry.content_hash(path) == expected


def test_content_that_changes_all_the_time_is_unstable(tmp_path, monkeypatch):
    path = os.fsencode(str(tmp_path / "file"))
    with open(path, "wb"):
        pass
    changing(monkeypatch, path, 100)
    assert entry.content_hash(path) == entry.UNSTABLE


def test_a_value_has_no_blank_or_nul_that_is_not_its_own(tmp_path):
    path = os.fsencode(str(tmp_path)) + b"/link"
    os.symlink(b"a b\nc\xff", path)
    value = entry.describe(path, os.lstat(path))
    assert b"\0" not in value
    assert entry.parse(value).link == b"a%20b%0Ac%FF"
    assert entry.parse(entry.unreadable(PermissionError(13, "Permission denied"))).type == b"?"
