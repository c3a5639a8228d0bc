# SPDX-License-Identifier: GPL-3.0-or-later
"""The SQL that compares tables: chunks hold each row once, and no two rows look alike."""

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_table import quoted
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_server import SQLiteServer, column, table

SMALL = st.integers(min_value=-3, max_value=3)


def _keys(server, columns):
    names = ["k%d" % number for number in range(columns)]
    server.run("CREATE TABLE t (%s)" % ", ".join("`%s` INTEGER" % name for name in names))
    return table([column(name) for name in names], columns)


@settings(max_examples=60, deadline=None)
@given(rows=st.sets(st.tuples(SMALL, SMALL, SMALL), max_size=40), size=st.integers(1, 9))
def test_chunks_along_a_composite_key_hold_each_row_once(rows, size):
    server = SQLiteServer("s")
    subject = _keys(server, 3)
    for row in rows:
        server.run("INSERT INTO t VALUES (?, ?, ?)", row)
    session, after, seen = server.session(), None, []
    while True:
        found = session.row(*subject.boundary(after, size))
        upto = subject.key.of_row(found) if found else None
        chunk = [subject.key.of_row(row) for row in session.rows(*subject.hashes(after, upto))]
        if upto is not None:
            assert len(chunk) == size
        seen += chunk
        if upto is None:
            break
        after = upto
    assert sorted(seen) == sorted(rows)


@settings(max_examples=60, deadline=None)
@given(rows=st.sets(st.tuples(SMALL, SMALL), min_size=1, max_size=20), data=st.data())
def test_rows_are_found_by_their_keys_and_no_others(rows, data):
    server = SQLiteServer("s")
    subject = _keys(server, 2)
    for row in rows:
        server.run("INSERT INTO t VALUES (?, ?)", row)
    wanted = data.draw(st.lists(st.sampled_from(sorted(rows)), min_size=1, unique=True))
    found = server.session().rows(*subject.hashes_of(wanted))
    assert sorted(subject.key.of_row(row) for row in found) == sorted(wanted)


VALUE = st.one_of(st.none(), st.text(alphabet="#0123ab ", max_size=4))


def _row_text(row):
    server = SQLiteServer("s")
    columns = [column("c%d" % number, "varchar", nullable=True) for number in range(len(row))]
    server.run("CREATE TABLE t (%s)" % ", ".join("c%d TEXT" % number for number in range(len(row))))
    server.run("INSERT INTO t VALUES (%s)" % ", ".join("?" * len(row)), row)
    return server.session().row("SELECT %s AS v FROM t AS t" % table(columns, 0).row(), ())["v"]


@settings(max_examples=200, deadline=None)
@given(one=st.tuples(VALUE, VALUE, VALUE), other=st.tuples(VALUE, VALUE, VALUE))
def test_two_rows_look_alike_only_when_they_are(one, other):
    assert (_row_text(one) == _row_text(other)) == (one == other)


@pytest.mark.parametrize("one, other", [
    (("a#", "b", "c"), ("a", "#b", "c")), ((None, "a", "b"), ("a", None, "b")), (("", None, "1"), (None, "", "1")),
    (("a", "b", "c"), ("A", "b", "c")), (("a", "b", "c"), ("a ", "b", "c")), (("a", "b", None), ("a", "b", "")),
])
def test_what_runs_over_into_the_next_column_is_seen(one, other):
    assert _row_text(one) != _row_text(other)


def test_changes_that_are_alike_in_two_rows_do_not_cancel_each_other_out():
    digests = []
    for values in ((b"a", b"a"), (b"b", b"b")):
        server = SQLiteServer("s")
        server.run("CREATE TABLE t (k INTEGER, v TEXT)")
        for key, value in enumerate(values):
            server.run("INSERT INTO t VALUES (?, ?)", (key, value))
        subject = table([column("k"), column("v", "varchar")], 1)
        digests.append(server.session().row(*subject.digest(None, None))["digest"])
    assert digests[0] != digests[1]


@pytest.mark.parametrize("name", ["a`b", "%s", "a%", "` -- ", "a'\"b", "é x"])
def test_names_are_quoted_for_statements_with_arguments(name):
    assert quoted(name) % () == "`" + name.replace("`", "``") + "`"


@pytest.mark.parametrize("data_type, expression", [
    ("float", "t.`c`*1e0"), ("double", "t.`c`*1e0"), ("json", "SHA2(t.`c`,256)"), ("longblob", "SHA2(t.`c`,256)"),
    ("vector", "SHA2(t.`c`,256)"), ("bit", "t.`c`+0"), ("enum", "t.`c`+0"), ("varchar", "CAST(t.`c` AS BINARY)"),
    ("geometry", "CAST(t.`c` AS BINARY)"), ("int", "t.`c`"), ("varbinary", "t.`c`"), ("datetime", "t.`c`"),
])
def test_each_type_is_read_exactly(data_type, expression):
    assert column("c", data_type).value() == expression


def test_enums_that_are_defined_differently_are_compared_by_their_text():
    subject = table([column("k"), column("e", "enum", COLUMN_TYPE="enum('a','b')")], 1)
    assert "t.`e`+0" in subject.row()
    subject.other = {"k": column("k"), "e": column("e", "enum", COLUMN_TYPE="enum('b','a')")}
    assert "CAST(t.`e` AS BINARY)" in subject.row()


def test_floats_can_be_compared_as_they_are_shown():
    subject = table([column("k"), column("f", "float"), column("d", "double")], 1)
    subject.exact_floats = False
    assert "t.`f`*1e0" not in subject.row() and "t.`d`*1e0" in subject.row()


def test_many_texts_are_hashed_one_by_one_so_that_a_row_fits_into_a_packet():
    few = table([column("k")] + [column("c%d" % number, "text") for number in range(8)], 1)
    many = table([column("k")] + [column("c%d" % number, "text") for number in range(9)], 1)
    assert "SHA2" not in few.row()
    assert many.row().count("SHA2") == 9 and "LENGTH" not in many.row()


def test_columns_that_are_generated_when_read_are_left_out():
    subject = table([column("k"), column("v", EXTRA="VIRTUAL GENERATED"), column("s", EXTRA="STORED GENERATED")], 1)
    assert "`v`" not in subject.row() and "`s`" in subject.row()


def test_seventy_nullable_columns_have_two_words_of_flags():
    subject = table([column("k")] + [column("c%d" % number, nullable=True) for number in range(70)], 1)
    assert "*%d)" % (1 << 59) not in subject.row() and "*%d" % (1 << 59) in subject.row()
    assert "*%d" % (1 << 60) not in subject.row()


def test_constants_have_the_type_and_collation_of_their_column():
    text = column("k", "varchar", CHARACTER_SET_NAME="latin1", COLLATION_NAME="latin1_german2_ci")
    assert text.constant() == "(CONVERT(UNHEX(%s) USING latin1) COLLATE latin1_german2_ci)"
    assert column("k", "binary").constant() == "UNHEX(%s)"
    assert column("k", "decimal", COLUMN_TYPE="decimal(20,5) unsigned").constant() == "CAST(%s AS DECIMAL(20,5))"
    with pytest.raises(MySQLMigrationError):
        column("k", "varchar", CHARACTER_SET_NAME="x; DROP", COLLATION_NAME="y").constant()


@pytest.mark.parametrize("charset, value, shown", [
    ("utf8mb4", "C3A9", "é"), ("latin1", "E9", "é"), ("utf8mb4", "FF", {"hex": "FF"}), ("nothing", "FF", {"hex": "FF"}),
])
def test_keys_are_shown_as_people_read_them(charset, value, shown):
    assert column("k", "varchar", CHARACTER_SET_NAME=charset).shown(value) == shown


def test_servers_before_eight_fold_numbers():
    subject = table([column("k")], 1)
    subject.folds_bytes = False
    assert "CONV(" in subject.digest(None, None)[0]
