# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs sort alike with little and with much memory, and a cut file is noticed."""

import io
import os

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.tree import pairs
from ansible_collections.seamless.migration.plugins.module_utils.tree.errors import TreeError
from hypothesis import given, settings
from hypothesis import strategies as st

FIELD = st.binary(max_size=12).map(lambda data: data.replace(b"\0", b"\1"))
PAIRS = st.lists(st.tuples(FIELD, FIELD), max_size=60)


@settings(max_examples=60, deadline=None)
@given(items=PAIRS, memory=st.sampled_from([1, 100, 400, 1 << 20]))
def test_sorting_in_files_is_sorting(tmp_path_factory, items, memory):
    folder = str(tmp_path_factory.mktemp("sort"))
    sorter = pairs.Sorter(os.path.join(folder, "s"), memory)
    for key, value in items:
        sorter.add(key, value)
    assert list(sorter.sorted()) == sorted(items)
    assert os.listdir(folder) == []


def test_more_files_than_are_merged_at_once_sort_too(tmp_path):
    sorter = pairs.Sorter(str(tmp_path / "s"), 1)
    for number in range(300, 0, -1):
        sorter.add(b"%05d" % number, b"v")
    assert len(sorter.files) == 300
    assert [key for key, _value in sorter.sorted()] == [b"%05d" % number for number in range(1, 301)]


@given(items=PAIRS)
def test_what_is_written_reads_back(items):
    content = b"".join(key + b"\0" + value + b"\0" for key, value in items)
    assert list(pairs.read(io.BytesIO(content), "x")) == items


def test_pairs_across_blocks_stay_whole(monkeypatch):
    monkeypatch.setattr(pairs, "_BLOCK", 3)
    assert list(pairs.read(io.BytesIO(b"abcdef\0\0\0xyz\0"), "x")) == [(b"abcdef", b""), (b"", b"xyz")]


@pytest.mark.parametrize("content", [b"key\0value", b"key\0", b"key", b"k\0v\0k\0"])
def test_a_file_that_was_cut_is_noticed(content):
    with pytest.raises(TreeError, match="ends in the middle"):
        list(pairs.read(io.BytesIO(content), "x"))
