# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.nfs import export_options, exports
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.export_options import Meaning
from ansible_collections.seamless.migration.plugins.module_utils.nfs.exports import Exports
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

ADMIN = r"""# exports of files-old, kept by hand \
/srv/a   10.0.0.0/8(rw,sync)  web1   # both racks
"/srv/b c"  -ro,no_subtree_check  app1  app2(rw) \
      app3(async)

/srv/x\040y  2001:db8::/64(rw) @backup(ro) *.example.com(ro,anonuid=99)
/srv/all"""


def told(text):
    return [(entry.path, entry.client, entry.words) for entry in Exports(text).entries]


def edit(text, path, client, words=("ro",)):
    return exports.with_entry(text, path, client, list(words), lambda other: other == path)


def drop(text, path, client):
    return exports.without_entry(text, client, lambda other: other == path)


# -- reading


def test_paths_clients_and_options_are_read_with_quotes_escapes_and_continuation_lines():
    assert told(ADMIN) == [
        ("/srv/a", "10.0.0.0/8", ["rw", "sync"]),
        ("/srv/a", "web1", []),
        ("/srv/b c", "app1", ["ro", "no_subtree_check"]),
        ("/srv/b c", "app2", ["ro", "no_subtree_check", "rw"]),
        ("/srv/b c", "app3", ["ro", "no_subtree_check", "async"]),
        ("/srv/x y", "2001:db8::/64", ["rw"]),
        ("/srv/x y", "@backup", ["ro"]),
        ("/srv/x y", "*.example.com", ["ro", "anonuid=99"]),
        ("/srv/all", "*", []),
    ]


def test_a_comment_is_not_continued_and_lines_are_counted():
    assert [entry.line for entry in Exports(ADMIN).entries] == [2, 2, 3, 3, 4, 6, 6, 6, 7]


def test_a_hash_within_a_word_is_no_comment():
    assert told("/srv/#1 a(ro)\n") == [("/srv/#1", "a", ["ro"])]


def test_only_three_octal_digits_are_an_escape():
    assert told(r"/a\04 b(ro)") == [("/a\\04", "b", ["ro"])]
    assert told(r"/a\303\244 b(ro)") == [("/aä", "b", ["ro"])]


def test_quotes_toggle_anywhere_within_a_word():
    assert told('/srv/"two words"/x a(ro)') == [("/srv/two words/x", "a", ["ro"])]


def test_lists_of_squashed_ids_keep_their_commas():
    assert told("/a b(squash_uids=0-15,20,ro)") == [("/a", "b", ["squash_uids=0-15,20", "ro"])]


def test_carriage_returns_at_line_ends_are_blanks():
    assert told("/a b(ro)\r\n/c d(rw) \r\n") == [("/a", "b", ["ro"]), ("/c", "d", ["rw"])]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/b a(rw, sync)", "'a(rw,' has a bracket that does not end the word"),
        ("/b a(rw", "'a(rw' has a bracket that does not end the word"),
        ("/b a(rw)b(ro)", "'a(rw)b(ro)' has a bracket that does not end the word"),
        ("/b a(rw,no_such)", "'no_such' is no option of an export"),
        ("/b -no_such a", "'no_such' is no option of an export"),
        ("/b a(anonuid=nobody)", "'anonuid=nobody' has no valid value"),
        ("/b a(fsid=08)", "'fsid=08' has no valid value"),
        ("/b a(sec=krb6)", "'sec=krb6' has no valid value"),
        ('/b "a(rw)', "a quote is not closed"),
        ("/b " + "a" * 512, "the entry is longer than 511 bytes"),
        ("/b" * 600 + " a(rw)", "the path is longer than 1024 bytes"),
        (r"/b a\000(rw)", "the entry holds a NUL byte"),
        ('/b "" a(rw)', "a pair of quotes with nothing in it stands for the entry"),
        ("\r", "a carriage return stands alone on the line"),
    ],
)
def test_a_broken_line_is_found_and_named_and_ends_the_reading(line, reason):
    read = Exports("/a b(ro)\n\n%s\n/later c(ro)\n" % line)
    assert [entry.path for entry in read.entries][:1] == ["/a"]
    assert "/later" not in [entry.path for entry in read.entries]
    assert read.fault.line == 3
    assert read.fault.reason == reason
    assert read.fault.told("/etc/exports").startswith("/etc/exports line 3: ")


def test_a_blank_before_the_bracket_is_a_trap_and_its_correction_is_told():
    read = Exports("/a web1 (rw,sync)\n")
    assert [(entry.client, entry.trap) for entry in read.entries] == [("web1", False), ("*", True)]
    assert read.entries[1].trap_told("/etc/exports").endswith("Write web1(rw,sync)")
    assert not Exports("/a (rw)\n").entries[0].trap


# -- what options come to


def test_options_before_a_flavour_hold_for_it_and_later_ones_change_it():
    meaning = Meaning(["ro", "sec=krb5:krb5i", "rw", "sec=sys", "all_squash", "fsid=0x10"])
    assert meaning.flavours == [
        ("krb5", {"ro": False}),
        ("krb5i", {"ro": False}),
        ("sys", {"ro": False, "all_squash": True}),
    ]
    assert meaning.values == {"fsid": 16}


def test_what_is_wanted_is_found_in_the_longer_table_of_the_server():
    table = export_options.split(
        "rw,sync,wdelay,hide,nocrossmnt,secure,root_squash,no_all_squash,no_subtree_check,secure_locks,acl,no_pnfs,"
        "fsid=7,anonuid=65534,anongid=65534,sec=sys,rw,secure,root_squash,no_all_squash"
    )
    assert Meaning(["rw", "sync", "fsid=7"]).holds_in(Meaning(table))
    for other in (["ro"], ["async"], ["fsid=8"], ["sec=krb5", "rw"], ["no_root_squash"], ["anonuid=1"]):
        assert not Meaning(other).holds_in(Meaning(table))


def test_the_same_fsid_is_known_in_every_spelling():
    values = [Meaning(["fsid=" + text]).values["fsid"] for text in ("root", "0", "0x0", "00")]
    assert values == [0, 0, 0, 0]
    uuid = "6a1d7c3e-0000-4000-8000-00000000abCD"
    assert Meaning(["fsid=" + uuid]).values["fsid"] == uuid.replace("-", "").lower()


# -- editing


def test_a_new_export_is_a_line_at_the_end_and_all_else_is_kept():
    assert edit(ADMIN, "/srv/new one", "db1", ["rw", "sync"]) == ADMIN + "\n/srv/new\\040one db1(rw,sync)\n"


def test_an_entry_is_changed_in_its_place():
    assert edit(ADMIN, "/srv/a", "10.0.0.0/8", ["ro", "sync"]) == ADMIN.replace("8(rw,sync)", "8(ro,sync)")
    assert edit(ADMIN, "/srv/x y", "2001:0db8::/64", ["ro"]) == ADMIN.replace("2001:db8::/64(rw)", "2001:0db8::/64(ro)")


def test_an_entry_that_means_the_same_keeps_its_spelling():
    text = "/a  b(sync,rw)\n"
    assert edit(text, "/a", "B", ["rw", "sync"]) == text


def test_an_entry_is_removed_and_its_neighbours_stay():
    assert drop(ADMIN, "/srv/a", "web1") == ADMIN.replace("  web1 ", " ")
    assert drop(ADMIN, "/srv/b c", "app3") == ADMIN.replace(" \\\n      app3(async)", "")
    assert drop(ADMIN, "/srv/b c", "app1") == ADMIN.replace("  app1", "")


def test_with_its_last_client_the_line_goes_because_a_bare_path_is_for_everybody():
    text = "/a b(ro) \\\n  # note\n/c d(ro)\n"
    assert drop("/a b(ro) # x\n/c d(ro)\n", "/a", "b") == "/c d(ro)\n"
    assert [entry.path for entry in Exports(drop(text, "/a", "b")).entries] == ["/c"]
    assert drop(ADMIN, "/srv/all", "*") == ADMIN[: -len("/srv/all")]


def test_options_for_the_whole_line_that_would_add_to_ours_are_refused():
    with pytest.raises(NfsError, match="line 1 has options for all its clients"):
        edit("/a -sec=krb5 b(rw)\n", "/a", "b", ["ro"])


def test_a_bare_path_is_not_edited():
    with pytest.raises(NfsError, match="naming no client"):
        edit(ADMIN, "/srv/all", "*", ["ro"])


@pytest.mark.parametrize("tail", ["\\", "\\\n"])
def test_a_line_that_continues_into_nothing_is_not_added_to(tail):
    with pytest.raises(NfsError, match="continues nothing"):
        edit("/a b(ro) " + tail, "/new", "c")


def test_paths_that_nfs_utils_misreads_and_entries_too_long_are_refused():
    with pytest.raises(NfsError, match="three octal digits"):
        exports.escape("/a\\040b")
    with pytest.raises(NfsError, match="longer than 1024"):
        exports.escape("/" + "a" * 1024)
    with pytest.raises(NfsError, match="exportfs reads 511"):
        exports.render("/a", "b" * 500, ["ro", "sync", "fsid=1"])


# -- clients


@pytest.mark.parametrize(
    "client",
    ["web1", "web1.example.com", "192.0.2.7", "192.0.2.0/24", "192.0.2.0/255.255.255.0", "2001:db8::/64", "2001:db8::1",
     "*", "*.example.com", "web[0-9].example.com", "@web", "?.lab"],
)  # fmt: skip
def test_all_kinds_of_clients_are_taken(client):
    exports.check_client(client)


@pytest.mark.parametrize(
    ("client", "correction"),
    [
        ("web1 (rw)", "Write only web1"),
        ("web1(rw)", "Write only web1"),
        (" ", "Write only the client"),
        ("[2001:db8::1]", "Write 2001:db8::1"),
        ("192.0.2.7/24", r"Write 192\.0\.2\.0/24"),
        ("192.0.2.0/33", "is no network"),
        ("192.0.2.*", "Write a network"),
        ("2001:db8::zz", "is no IPv6 address"),
        ("gss/krb5", "give sec"),
        ("we#b", "is no host"),
        ("-ro", "is no host"),
        ("", "is no host"),
    ],
)
def test_a_client_that_exportfs_would_misread_is_refused_with_the_correction(client, correction):
    with pytest.raises(NfsError, match=correction):
        exports.check_client(client)


# -- properties

paths = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30).map(lambda text: "/" + text)
words = st.lists(
    st.sampled_from(sorted(export_options.FLAGS) + ["fsid=5", "anonuid=-2", "sec=krb5:sys", "squash_uids=1-2,4"]),
    max_size=6,
)
clients = st.sampled_from(["*", "web1", "10.0.0.0/8", "2001:db8::/64", "@net", "*.example.com"])


def readable(path):
    try:
        exports.escape(path)
    except NfsError:
        return False
    return True


@settings(deadline=None)
@given(paths, clients, words)
@example("/a\\b", "web1", [])
@example('/ "#\\', "*", ["ro"])
def test_what_is_rendered_parses_back(path, client, options):
    assume(readable(path))
    read = Exports(exports.render(path, client, options) + "\n")
    assert read.fault is None
    assert [(entry.path, entry.client, entry.words) for entry in read.entries] == [(path, client, options)]


pieces = list('/ab\\ \t\n\r"#(),-*01\x0b') + ["/a ", "b(ro)", "\\\n", "\\040", "\n/"]
text = st.lists(st.sampled_from(pieces), max_size=40).map("".join)


@settings(deadline=None)
@given(text)
def test_any_text_is_read_to_its_end_or_to_a_fault(content):
    read = Exports(content)
    assert all(0 <= record.start < record.end <= len(content) for record in read.records[: -1 if read.fault else None])


lines = st.sampled_from(
    ["# a note \\", "", "  ", "\t# (ro)", "/a b(ro) # (x", '"/a b" \tc -d(ro)', "/a\\040b -ro c d(rw) \\\n  e",
     "/#/(x)/\\0x y", "/z *(ro)\r", "/new2 web1(rw)", "/new web2(rw)  web3", "/new \\\n\t*(ro) "]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(lines, max_size=8), words)
def test_adding_and_removing_an_export_gives_the_file_back_byte_for_byte(rows, options):
    content = "".join(row + "\n" for row in rows)
    assert Exports(content).fault is None
    added = edit(content, "/new", "web1", options)
    assert added.startswith(content)
    assert drop(added, "/new", "web1") == content


@settings(deadline=None)
@given(st.lists(st.tuples(paths, clients, words), max_size=5), st.data())
def test_changing_one_entry_leaves_all_others_as_they_were(entries, data):
    entries = [entry for entry in entries if readable(entry[0])]
    unique = {(path, client): (path, client, options) for path, client, options in entries}
    assume(unique)
    content = "".join(exports.render(*entry) + "  # kept\n" for entry in unique.values())
    path, client, _options = data.draw(st.sampled_from(sorted(unique.values(), key=str)))
    changed = edit(content, path, client, ["ro", "sync"])
    pairs = zip(content.split("\n"), changed.split("\n"))
    assert len([before for before, after in pairs if before != after]) <= 1
    removed = drop(content, path, client)
    line = exports.render(*unique[path, client]) + "  # kept"
    assert removed.split("\n") == [row for row in content.split("\n") if row != line]
