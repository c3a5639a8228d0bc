# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions of the compares show and record."""

from ansible_collections.seamless.migration.plugins.action import mysql_compare, tree_compare
from ansible_collections.seamless.migration.plugins.module_utils import journal_schema
from ansible_collections.seamless.migration.plugins.plugin_utils import compare_action

READING = {"phase": "reading", "entries": 1200000, "entries_total": 3000000, "hashed_bytes": 3 << 30}
ROWS = {"table": "shop.orders", "rows": 500, "rows_total": 1500, "tables": 2, "tables_total": 7, "seconds": 3}


def test_a_line_of_a_tree():
    told = tree_compare.ActionModule.progress({"path": "/srv/files"}, READING)
    assert compare_action.line("old", told, 600) == (
        "old /srv/files: reading (3.0 GiB of content), 1,200,000/about 3,000,000 entries, 2,000/s, ETA 0:15:00")


def test_a_line_of_a_tree_of_which_nobody_knows_the_size():
    told = tree_compare.ActionModule.progress({"path": "/srv/files"}, dict(READING, entries_total=None, hashed_bytes=0))
    assert compare_action.line("old", told, 600) == "old /srv/files: reading, 1,200,000 entries, 2,000/s, ETA -"


def test_a_line_of_tables():
    told = mysql_compare.ActionModule.progress({}, ROWS)
    assert compare_action.line("db", told, 10) == (
        "db mysql: shop.orders, 2/7 tables, 500/about 1,500 rows, 50/s, ETA 0:00:20")


def test_a_line_of_what_has_just_begun():
    for action in (mysql_compare, tree_compare):
        told = action.ActionModule.progress({"path": "/srv"}, {"phase": "begin"})
        assert "begin, 0 " in compare_action.line("h", told, 0)


def test_what_the_journal_keeps_is_by_its_schema():
    for action, told in ((tree_compare, READING), (mysql_compare, ROWS), (tree_compare, {"phase": "begin"})):
        data = compare_action.measured(action.ActionModule.progress({"path": "/srv"}, told), 10)
        wanted = journal_schema.MEASUREMENTS["comparing"]
        assert all(isinstance(data[key], kind) for key, kind in wanted.items())


def test_what_is_done_at_once_is_not_watched():
    short = tree_compare.ActionModule.is_short
    assert short({"state": "absent"}) and short({"level": "touched"})
    assert not short({"level": "full"}) and not short({"state": "manifest"})
