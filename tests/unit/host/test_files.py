# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError
from hypothesis import given
from hypothesis import strategies as st


def test_a_file_is_replaced_and_keeps_owner_mode_and_its_link(tmp_path):
    real = tmp_path / "real"
    real.write_bytes(b"old")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(str(real), 65534, 65533)
    owner = (real.stat().st_uid, real.stat().st_gid)
    link = tmp_path / "link"
    link.symlink_to("real")
    files.write(str(link), b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o7777 == 0o640
    assert (real.stat().st_uid, real.stat().st_gid) == owner
    assert sorted(os.listdir(str(tmp_path))) == ["link", "real"]


def test_a_new_file_gets_the_mode_that_was_asked_for_whatever_the_umask(tmp_path):
    old = os.umask(0o077)
    try:
        files.write(str(tmp_path / "a"), b"")
        files.write(str(tmp_path / "b"), b"", mode=0o600)
    finally:
        os.umask(old)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o644, 0o600]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(FileError, match="file cannot be written: No space left"):
        files.write(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(str(tmp_path)) == ["file"]


def test_the_content_is_on_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(files.os, "fsync", lambda handle: order.append("fsync"))
    rename = os.rename
    monkeypatch.setattr(files.os, "rename", lambda *names: (order.append("rename"), rename(*names)))
    files.write(str(tmp_path / "file"), b"x")
    assert order == ["fsync", "rename", "fsync"]


def test_a_backup_has_content_owner_and_mode(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xffold")
    path.chmod(0o600)
    copy = files.backup(str(path))
    assert copy.startswith(str(path) + ".") and copy.endswith("~")
    assert files.read(copy) == b"\xffold"
    assert os.stat(copy).st_mode & 0o777 == 0o600
    assert files.backup(str(tmp_path / "none")) is None


def test_reading_and_removing_what_is_not_there(tmp_path):
    path = str(tmp_path / "none")
    assert files.read(path) is None
    assert files.read(path, b"x") == b"x"
    assert files.remove(path) is False
    files.write(path, b"")
    assert files.remove(path) is True
    with pytest.raises(FileError, match="cannot be read"):
        files.read(str(tmp_path))
    with pytest.raises(FileError, match="cannot be removed"):
        files.remove(str(tmp_path))


@given(st.binary())
def test_any_bytes_survive_the_way_through_text(data):
    assert files.data(files.text(data)) == data


@given(st.binary())
def test_printable_values_always_reach_the_controller(data):
    text = files.text(data)
    value = files.printable({text: [text, (text, 1)], "n": None})
    json.dumps(value, ensure_ascii=False).encode("utf-8")
