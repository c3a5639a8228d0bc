# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad inputs are named before anything is touched."""

import copy

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.storage.inputs import input_errors

GOOD = {
    "name": "files2026",
    "trees": [{"name": "data", "source": "/srv/files", "target": "/srv/files", "exclude": ["*.tmp"]}],
    "sources": ["old"],
    "targets": ["new"],
    "secret": "a long enough secret",
    "port": 873,
    "freeze_budget": 60,
    "hooks": {"before_freeze": "x.yml"},
}


def errors_with(**changes):
    return input_errors(dict(copy.deepcopy(GOOD), **changes))


def tree(**changes):
    return dict(GOOD["trees"][0], **changes)


def test_good_inputs_have_no_errors():
    assert errors_with() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "migration_name"),
        ({"name": "../x"}, "migration_name"),
        ({"name": "a\nb"}, "migration_name"),
        ({"name": "trailing\n"}, "migration_name"),
        ({"trees": []}, "migration_trees is empty"),
        ({"trees": [tree(source="srv")]}, "an absolute path is needed"),
        ({"trees": [tree(source="/srv/../etc/x")]}, "without '.', '..'"),
        ({"trees": [tree(source="/srv/a\nb")]}, "control characters"),
        ({"trees": [tree(target="/")]}, "belongs to the operating system"),
        ({"trees": [tree(target="/etc/")]}, "belongs to the operating system"),
        ({"trees": [tree(name="a b")]}, ".name is 'a b'"),
        ({"trees": [tree(exclude=["a\nb"])]}, ".exclude has"),
        ({"trees": [tree(excludes=[])]}, "has the key 'excludes'"),
        ({"trees": [tree(), tree(source="/srv/other", target="/srv/other")]}, "two trees named 'data'"),
        ({"trees": [tree(), tree(name="b", target="/srv/b")]}, "must not overlap"),
        ({"trees": [tree(), tree(name="b", source="/srv/files/in", target="/srv/b")]}, "must not overlap"),
        ({"sources": []}, "storage_source has 0 hosts"),
        ({"targets": ["a", "b"]}, "storage_target has 2 hosts"),
        ({"targets": ["old"]}, "two machines are needed"),
        ({"secret": ""}, "migration_rsync_secret is empty"),
        ({"secret": "short"}, "shorter than 8"),
        ({"secret": "with a\nnewline"}, "control characters"),
        ({"port": 0}, "migration_rsync_port"),
        ({"port": "ssh"}, "migration_rsync_port"),
        ({"freeze_budget": 0}, "migration_freeze_budget"),
        ({"hooks": {"before_freze": "x"}}, "the hooks are before_freeze"),
    ],
)
def test_a_bad_input_is_named(changes, words):
    assert any(words in error for error in errors_with(**changes))


def test_no_sentence_holds_the_secret():
    assert not any("hunter2" in error for error in errors_with(secret="hunter2"))
