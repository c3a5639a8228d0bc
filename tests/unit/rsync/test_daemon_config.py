# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.rsync import daemon_config, daemon_keys
from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_config import (
    Meaning,
    absent,
    present,
    scan,
    with_globals,
)
from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_keys import KEYS, ConfigError, find
from hypothesis import assume, given, settings
from hypothesis import strategies as st

PATH = "/etc/rsyncd.conf"

ADMIN = """# rsyncd.conf of files-old, kept by hand
  ; do not touch
log file = /var/log/rsyncd.log
Max Connections=40

# the backups
[ My Data ]
\tpath = /srv/my data/
\tread only = nah
\thosts allow = 10.0.0.0/8, \\
\t              192.168.0.1
\tnonsense
\t# a note in the middle
\tREAD  ONLY = no

[other]
path=/srv/other"""


def wishes(**keys):
    return [(find(name.replace("_", " ")), value) for name, value in keys.items()]


def read(text, module):
    return Meaning(text, PATH).modules[daemon_keys.normal(module)].keys


def test_a_file_is_cut_into_items_that_join_to_the_same_bytes():
    assert "".join(item.raw for item in scan(ADMIN)) == ADMIN


def test_names_ignore_case_and_blanks_and_values_keep_theirs():
    assert read(ADMIN, "mydata")["path"] == "/srv/my data/"
    assert Meaning(ADMIN, PATH).globals == {"logfile": "/var/log/rsyncd.log", "maxconnections": "40"}


def test_a_backslash_continues_a_value_and_keeps_the_blanks():
    assert daemon_keys.words(read(ADMIN, "MY DATA")["hostsallow"]) == ["10.0.0.0/8", "192.168.0.1"]


def test_a_comment_is_not_continued():
    assert read("[a]\n# note \\\npath = /x\n", "a") == {"path": "/x"}


def test_what_rsync_ignores_is_told_with_its_line():
    told = Meaning(ADMIN, PATH).ignored
    assert any("line 9" in line and "'nah'" in line for line in told)
    assert any("line 12" in line and "nonsense" in line for line in told)


def test_a_bad_boolean_leaves_the_earlier_value():
    assert read("[a]\nlist = no\nlist = maybe\n", "a")["list"] == "no"


def test_a_global_key_in_a_module_is_ignored():
    state = Meaning("[a]\nport = 874\n", PATH)
    assert "port" not in state.globals and "before the first module" in state.ignored[0]


def test_an_equals_sign_in_the_value_belongs_to_it():
    assert read("[a]\ncomment = a = b [c] ; d\n", "a")["comment"] == "a = b [c] ; d"


def test_keys_in_global_sections_are_defaults():
    state = Meaning("[a]\npath=/a\n[ GLO bal ]\nread only = no\n[b]\npath=/b\n", PATH)
    assert "readonly" not in state.modules["a"].inherited
    assert state.modules["b"].inherited["readonly"] == "no"


@pytest.mark.parametrize("text", ["[data\npath = /x\n", "[]\n", "[a/b]\n", "&import /x\n", "x\0y"])
def test_a_file_that_rsync_refuses_is_refused_with_its_line(text):
    with pytest.raises(ConfigError, match="line 1"):
        Meaning(text, PATH)


def test_a_missing_included_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="is not there"):
        Meaning("&include %s/none\n" % tmp_path, PATH)


def test_files_that_include_each_other_end(tmp_path):
    loop = tmp_path / "loop.conf"
    loop.write_text("&include %s\n" % loop)
    with pytest.raises(ConfigError, match="without end"):
        Meaning("&include %s\n" % loop, PATH)


def test_included_directories_are_read_in_order_and_by_ending(tmp_path):
    (tmp_path / "b.conf").write_text("[b]\npath=/b\n")
    (tmp_path / "a.conf").write_text("read only = no\n[a]\npath=/a\n")
    (tmp_path / "c.inc").write_text("[c]\npath=/c\n")
    state = Meaning("&include %s\n[d]\npath=/d\n" % tmp_path, PATH)
    assert list(state.modules) == ["a", "b", "d"]
    assert state.modules["b"].inherited == {} and state.modules["d"].inherited == {}
    assert list(Meaning("&merge %s\n" % tmp_path, PATH).modules) == ["c"]


def test_a_key_after_an_include_belongs_to_the_global_part(tmp_path):
    (tmp_path / "x.conf").write_text("")
    state = Meaning("[a]\npath=/a\n&include %s/x.conf\nread only = no\n" % tmp_path, PATH)
    assert state.globals == {"readonly": "no"} and "readonly" not in state.modules["a"].keys


def test_a_merged_file_sets_keys_of_the_section_that_merges_it(tmp_path):
    (tmp_path / "x.inc").write_text("uid = root\n")
    assert read("[a]\npath=/a\n&merge %s/x.inc\n" % tmp_path, "a") == {"path": "/a", "uid": "root"}


def test_a_new_module_goes_to_the_end_and_nothing_else_moves():
    changed = present(ADMIN, PATH, "data", wishes(path="/srv/files", uid="root"))
    assert changed == ADMIN + "\n\n[data]\n\tpath = /srv/files\n\tuid = root"


def test_a_change_touches_one_line():
    changed = present(ADMIN, PATH, "My Data", wishes(read_only="yes", path="/srv/my data"))
    assert changed == ADMIN.replace("READ  ONLY = no", "READ  ONLY = yes")


def test_a_value_with_the_same_meaning_is_left_as_it_is_written():
    text = "[a]\npath = /x/\nlist = FALSE\nhosts allow = 10.0.0.1,10.0.0.2\ntimeout = 60s\n"
    asked = wishes(path="/x", list="no", hosts_allow="10.0.0.1 10.0.0.2", timeout="60")
    assert present(text, PATH, "a", asked) == text


def test_a_continued_value_is_replaced_whole():
    changed = present(ADMIN, PATH, "My Data", wishes(hosts_allow="10.1.1.1"))
    assert "\thosts allow = 10.1.1.1\n\tnonsense\n" in changed and "192.168" not in changed


def test_line_ends_of_dos_are_kept():
    text = "# x\r\n[a]\r\npath = /x\r\n"
    changed = present(text, PATH, "a", wishes(path="/y", uid="root"))
    assert changed == "# x\r\n[a]\r\npath = /y\r\nuid = root\r\n"


def test_an_empty_value_gets_one():
    assert present("[a]\npath =\r\nuid=\n", PATH, "a", wishes(path="/x", uid="root")) == "[a]\npath = /x\r\nuid= root\n"


def test_a_module_that_rsync_would_merge_is_refused():
    with pytest.raises(ConfigError, match=r"line 7 defines \[My Data\]"):
        present(ADMIN, PATH, "MYDATA", wishes(path="/x"))


def test_of_two_sections_of_one_module_the_later_one_decides():
    text = "[a]\nread only = yes\npath = /x\n[b]\npath=/b\n[ A ]\nread only = no\n"
    changed = present(text, PATH, "a", wishes(read_only="yes"))
    assert changed == text.replace("read only = no", "read only = yes")
    assert absent(text, PATH, "a") == "[b]\npath=/b\n"


def test_a_module_of_an_included_file_is_refused_with_its_place(tmp_path):
    inner = tmp_path / "x.conf"
    inner.write_text("# note\n[Data]\npath = /x\n")
    for act in (lambda t: present(t, PATH, "data", wishes(path="/y")), lambda t: absent(t, PATH, "data")):
        with pytest.raises(ConfigError, match="x.conf, line 2"):
            act("&include %s\n" % inner)


def test_a_merged_key_that_would_win_is_an_error(tmp_path):
    (tmp_path / "x.inc").write_text("uid = nobody\n")
    text = "[a]\nuid = root\n&merge %s/x.inc\n" % tmp_path
    with pytest.raises(ConfigError, match="another line sets it"):
        present(text, PATH, "a", wishes(uid="root"))


def test_exclusive_removes_keys_that_nobody_asked_for():
    text = "[a]\npath = /x\n# why\nexclude = *.tmp\nuid = root\n"
    assert present(text, PATH, "a", wishes(path="/x"), exclusive=True) == "[a]\npath = /x\n# why\n"


def test_a_module_is_removed_and_the_comment_of_the_next_one_stays():
    text = "[a]\npath=/a\n# inside\nuid=root\n\n# about b\n[b]\npath=/b\n"
    assert absent(text, PATH, "a") == "\n# about b\n[b]\npath=/b\n"


def test_absent_leaves_a_module_of_another_spelling_alone():
    assert absent(ADMIN, PATH, "mydata") == ADMIN


def test_an_open_continuation_at_the_end_is_refused():
    with pytest.raises(ConfigError, match="continues nothing"):
        present("[a]\npath = /x \\\n", PATH, "b", wishes(path="/y"))


def test_global_keys_go_behind_the_global_ones_and_are_removed_again():
    changed = with_globals(ADMIN, PATH, wishes(port="8730"))
    assert changed == ADMIN.replace("Max Connections=40\n", "Max Connections=40\nport = 8730\n")
    assert with_globals(changed, PATH, wishes(port=None)) == ADMIN
    assert with_globals("[a]\npath=/a\n", PATH, wishes(port="1")) == "port = 1\n[a]\npath=/a\n"
    assert with_globals("# head\n\n# a\n[a]\n", PATH, wishes(port="1")) == "# head\n\nport = 1\n# a\n[a]\n"


@pytest.mark.parametrize("name", ["a/b", "a]b", "[a", "a\nb", " a", "a  b", "#list", "global", "", "a\x7f", "a\\"])
def test_a_name_that_rsync_cannot_serve_is_refused(name):
    with pytest.raises(ConfigError, match="name"):
        daemon_keys.check_module_name(name)


def test_an_unknown_key_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError, match="'hosts allow'"):
        find("host allow")


def test_a_key_that_is_newer_than_rsync_is_refused():
    with pytest.raises(ConfigError, match=r"3\.2\.0"):
        find("early exec", (3, 1, 3))
    assert find("early exec", (3, 2, 0)).label == "early exec"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("read only", "nah"),
        ("use chroot", "perhaps"),
        ("timeout", "soon"),
        ("path", "srv"),
        ("comment", "a\nb"),
        ("comment", "ends \\"),
        ("comment", " a"),
        ("comment", True),
        ("comment", ["a"]),
        ("hosts allow", ["a b"]),
        ("syslog facility", "loud"),
    ],
)
def test_a_value_that_rsync_would_misread_is_refused(key, value):
    with pytest.raises(ConfigError, match=key):
        daemon_keys.render(find(key), value)


# What an administrator's file may look like: anything that rsync reads, in pieces.
_word = st.text(
    st.characters(min_codepoint=33, max_codepoint=255, blacklist_characters="=[]\\#;&/\x7f\x85\xa0"),
    min_size=1,
    max_size=8,
)
_blank = st.sampled_from(["", " ", "\t", "  "])
_end = st.sampled_from(["\n", "\r\n", " \n"])
_value = st.lists(_word, max_size=3).map(" ".join)
_key = st.one_of(st.sampled_from([key.label for key in KEYS.values()]), _word)
_line = st.one_of(
    st.builds("".join, st.tuples(_blank, _end)),
    st.builds("".join, st.tuples(_blank, st.sampled_from("#;"), _value, st.sampled_from(["", "\\"]), _end)),
    st.builds("".join, st.tuples(_blank, _key, _blank, st.just("="), _blank, _value, _end)),
    st.builds("".join, st.tuples(_blank, _key, st.just(" = "), _word, st.just(" \\\n  "), _word, _end)),
    st.builds("".join, st.tuples(_blank, st.just("["), _blank, _word, _blank, st.just("]"), _value, _end)),
)
_file = st.lists(_line, max_size=12).flatmap(
    lambda lines: st.sampled_from(["".join(lines), "".join(lines).rstrip("\r\n")])
)
_asked = st.fixed_dictionaries(
    {"path": st.just("/srv/x")},
    optional={
        "read only": st.sampled_from(["yes", "no"]),
        "uid": _word,
        "comment": _value,
        "hosts allow": st.lists(st.sampled_from(["10.0.0.1", "10.0.0.0/8"]), min_size=1).map(" ".join),
        "timeout": st.integers(0, 9999).map(str),
    },
)


@settings(max_examples=120, deadline=None)
@given(_file)
def test_any_file_joins_to_itself(text):
    assert "".join(item.raw for item in scan(text)) == text


@settings(max_examples=120, deadline=None)
@given(_file, _asked)
def test_what_is_rendered_parses_back_and_the_rest_is_kept_byte_for_byte(text, asked):
    state = Meaning(text, PATH)
    assume("ours" not in state.modules)
    pairs = [(find(name), value) for name, value in asked.items()]
    changed = present(text, PATH, "ours", pairs)
    assert changed.startswith(text)
    assert {daemon_keys.normal(name): value for name, value in asked.items()} == read(changed, "ours")
    assert present(changed, PATH, "ours", pairs) == changed
    assert absent(changed, PATH, "ours") == text


@settings(max_examples=120, deadline=None)
@given(_file, _file, _asked)
def test_an_edit_in_the_middle_changes_its_section_only(before, behind, asked):
    before = before + "\n" if before and not before.endswith("\n") else before
    text = before + "[ours]\npath = /old\n" + behind
    state = Meaning(text, PATH)
    assume(len(state.modules["ours"].places) == 1)
    changed = present(text, PATH, "ours", [(find(name), value) for name, value in asked.items()])
    assert changed.startswith(before)
    section = behind.find("\n[") if not behind.startswith("[") else -1
    tail = behind[section + 1 :] if section >= 0 else ("" if not behind.startswith("[") else behind)
    assert changed.endswith(tail)
    assert not state.same(Meaning(changed, PATH), but="ours")


def test_a_module_that_is_edited_is_the_only_one_that_changes_its_meaning():
    state = Meaning(ADMIN, PATH)
    changed = Meaning(present(ADMIN, PATH, "other", wishes(uid="root")), PATH)
    assert state.same(changed) == ["other"] and daemon_config.Meaning(ADMIN, PATH).same(state) == []


def test_an_edit_that_would_change_another_module_is_refused(monkeypatch):
    """No edit is known to do so; the check is there for the one that nobody thought of."""
    monkeypatch.setattr(daemon_config, "_with_section", lambda text, name: "uid = root\n%s\n[%s]\n" % (text, name))
    with pytest.raises(ConfigError, match="global, mydata, other"):
        present(ADMIN, PATH, "data", wishes(path="/srv/files"))
