# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.nfs import fstab
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

ADMIN = """# /etc/fstab: kept by hand
UUID=6a1d / ext4 errors=remount-ro 0 1

 old:/srv/my\\040files\t/mnt/my\\040files   nfs4  hard,x-nobody-knows=1\t0 0   # web
#old:/srv/off /mnt/off nfs hard 0 0
old:/short /mnt/short nfs
not a line
tmpfs /tmp tmpfs"""


def test_fields_are_found_with_their_escapes():
    line = fstab.find(ADMIN, "/mnt/my files")
    assert line.number == 4
    assert [line.value(field) for field in range(4)] == [
        "old:/srv/my files", "/mnt/my files", "nfs4", "hard,x-nobody-knows=1"
    ]  # fmt: skip
    assert line.options == ["hard", "x-nobody-knows=1"]


def test_a_line_that_is_commented_out_does_not_count():
    assert fstab.find(ADMIN, "/mnt/off") is None


def test_only_the_field_that_changes_changes():
    line = fstab.find(ADMIN, "/mnt/my files")
    changed = fstab.with_line(ADMIN, line, {fstab.SOURCE: "new:/srv/my files"})
    assert changed == ADMIN.replace("old:/srv/my", "new:/srv/my")


def test_options_are_added_to_a_line_that_has_none():
    line = fstab.find(ADMIN, "/mnt/short")
    changed = fstab.with_line(ADMIN, line, {fstab.SOURCE: "n:/", fstab.OPTIONS: "hard"})
    assert changed == ADMIN.replace("old:/short /mnt/short nfs", "n:/ /mnt/short nfs hard")


def test_a_new_line_comes_after_a_file_without_a_final_newline():
    assert fstab.with_new_line("a b c", "s:/x", "/m x", "nfs", []) == "a b c\ns:/x /m\\040x nfs defaults 0 0\n"


def test_a_path_that_something_else_mounts_is_refused():
    with pytest.raises(NfsError, match="line 8 mounts a file system of type tmpfs"):
        fstab.find(ADMIN, "/tmp")


values = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=20)


@settings(deadline=None)
@given(values)
def test_what_is_escaped_reads_back(value):
    assert fstab.unescape(fstab.escape(value)) == value


rows = st.lists(
    st.sampled_from(
        ["# x y nfs", "", "\t", "a:/b /m nfs hard 0 0 # c", " a:/c\t/n nfs4", "x y", "/dev/s / ext4 d 1 1"]
    ),
    max_size=8,
).map(lambda parts: "".join(part + "\n" for part in parts))


@settings(deadline=None)
@given(rows, values, values, values)
def test_what_is_added_parses_back_and_all_else_is_kept_byte_for_byte(text, server, name, export):
    path = "/new/" + name.replace("/", "")
    assume(name.replace("/", "") not in ("", ".", ".."))
    added = fstab.with_new_line(text, server + ":" + export, path, "nfs", ["hard", "weird"])
    assert added.startswith(text)
    line = fstab.find(added, path)
    assert (line.value(fstab.SOURCE), line.options) == (server + ":" + export, ["hard", "weird"])
    changed = fstab.with_line(added, line, {fstab.SOURCE: "other:/"})
    assert changed.startswith(text)
    assert fstab.find(changed, path).value(fstab.SOURCE) == "other:/"
    back = fstab.with_line(changed, fstab.find(changed, path), {fstab.SOURCE: server + ":" + export})
    assert back == added
