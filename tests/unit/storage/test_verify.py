# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree counts as proven only when the last look at everything that differed found nothing."""

from ansible_collections.seamless.migration.plugins.module_utils.storage.verify import WRONG, unclean_trees


def result(**counts):
    found = dict.fromkeys(WRONG, 0)
    found.update(counts)
    return {"equal": not any(found.values()), "counts": found, "__storage_verify_tree": {"name": "data"}}


SKIPPED = {"skipped": True}


def test_a_clean_compare_is_enough():
    assert unclean_trees([result()], [SKIPPED]) == []


def test_what_differed_and_was_mended_is_clean():
    assert unclean_trees([result(lost=3)], [result()]) == []


def test_what_differs_after_mending_is_named():
    assert unclean_trees([result(lost=3)], [result(different=1)]) == [{"tree": "data", "problems": {"different": 1}}]


def test_what_differs_and_was_not_mended_is_named():
    assert unclean_trees([result(lost=3)], [SKIPPED]) == [{"tree": "data", "problems": {"lost": 3}}]


def test_extra_files_count_unless_they_are_allowed():
    assert unclean_trees([result(extra=1)], [result(extra=1)])
    assert unclean_trees([result(extra=1)], [result(extra=1)], extra_allowed=True) == []
    assert unclean_trees([result(extra=1, lost=1)], [SKIPPED], extra_allowed=True)


def test_nothing_compared_is_nothing_proven():
    assert unclean_trees([{"equal": None}], [SKIPPED]) == [{"tree": "0", "problems": {}}]
