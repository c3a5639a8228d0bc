# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration: quoting that real Lua reads back, tables of keys, refusals."""

import re
import subprocess

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd import config, excludes, lua, tables
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.errors import LsyncdError
from hypothesis import given, settings
from hypothesis import strategies as st

NEW, DEBIAN, OLD = (2, 3, 1), (2, 2, 3), (2, 1, 5)
SYNC = {"name": "data", "source": "/srv/files", "target": "rsync://migration@10.0.0.2:873/data/"}


def sync(**changes):
    return dict(SYNC, **changes)


def read_back(literals):
    """The bytes of each Lua literal, as the real interpreter sees them."""
    program = "".join("io.write((%s):gsub('.', function(c) return string.format('%%02x', c:byte()) end), '\\n')\n"
                      % literal for literal in literals)
    output = subprocess.run(["lua5.3", "-"], input=program.encode("ascii"), stdout=subprocess.PIPE, check=True).stdout
    return [bytes.fromhex(line) for line in output.decode("ascii").split("\n")[:-1]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=20))
def test_any_bytes_come_back_from_real_lua_unchanged(contents):
    assert read_back([lua.string(content) for content in contents]) == contents


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=20))
def test_any_text_comes_back_from_real_lua_as_utf8(texts):
    texts = [text for text in texts if text.encode("utf-8", "ignore").decode("utf-8") == text]
    assert read_back([lua.string(text) for text in texts]) == [text.encode("utf-8") for text in texts]


def test_digits_after_an_escaped_byte_stay_digits():
    assert read_back([lua.string(b"\x0112"), lua.string(b"\xff9")]) == [b"\x0112", b"\xff9"]


@pytest.mark.parametrize("name", ['"}os.execute("touch /x")--', "]]", "\\", "\\n", "a'b", "%s", "ü", "\udcff"])
def test_a_hostile_source_stays_a_string(name):
    content = config.render({}, [sync(source="/srv/" + name)], DEBIAN)
    assert lua.check(content) is not None
    literal = re.search(rb"source = (.*),\n", content).group(1).decode("ascii")
    assert read_back([literal]) == [b"/srv/" + name.encode("utf-8", "surrogateescape")]


def test_what_is_no_lua_is_told_by_the_parser():
    with pytest.raises(LsyncdError, match="is no Lua, says"):
        lua.check(b"settings{ broken")


def test_without_a_lua_at_hand_the_check_says_so(monkeypatch):
    monkeypatch.setattr(lua.command, "which", lambda _name: None)
    assert lua.check(b"settings{ broken") is None


def test_an_interpreter_does_where_there_is_no_compiler(monkeypatch):
    which = lua.command.which
    monkeypatch.setattr(lua.command, "which", lambda name: None if name.startswith("luac") else which(name))
    assert lua.check(b"settings{}").startswith("lua")
    with pytest.raises(LsyncdError):
        lua.check(b"settings{ broken")


def evaluate(content):
    """Run a configuration in real Lua with stubs that print what lsyncd would be given."""
    stub = """
    default = { rsync = 'RSYNC', rsyncssh = 'RSYNCSSH' }
    local function show(t, p)
      local keys = {}
      for k in pairs(t) do keys[#keys + 1] = k end
      table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
      for _, k in ipairs(keys) do
        if type(t[k]) == 'table' then show(t[k], p .. k .. '.') else print(p .. k .. '=' .. tostring(t[k])) end
      end
    end
    function settings(t) show(t, 'settings.') end
    function sync(t) show(t, 'sync.') end
    """
    program = stub.encode() + content
    output = subprocess.run(["lua5.3", "-"], input=program, stdout=subprocess.PIPE, check=True).stdout
    return output.decode().splitlines()


def test_a_whole_configuration_means_to_lua_what_was_asked_for():
    shown = evaluate(config.render(
        {"log_file": "/var/log/lsyncd.log", "status_interval": 1, "insist": True},
        [sync(delay=1, delete="running", exclude=["*.tmp"], password_file="/etc/p", rsync={"xattrs": True})],
        DEBIAN,
        {"data": "/etc/seamless-migration/guard/data"},
    ))
    assert shown == [
        "settings.insist=true",
        "settings.logfile=/var/log/lsyncd.log",
        "settings.statusInterval=1",
        "sync.1=RSYNC",
        "sync.delay=1",
        "sync.delete=running",
        "sync.exclude.1=/.seamless-sentinel",
        "sync.exclude.2=/.seamless-manifest*",
        "sync.exclude.3=*.tmp",
        "sync.rsync._extra.1=--numeric-ids",
        "sync.rsync.archive=true",
        "sync.rsync.binary=/etc/seamless-migration/guard/data",
        "sync.rsync.password_file=/etc/p",
        "sync.rsync.xattrs=true",
        "sync.source=/srv/files",
        "sync.target=rsync://migration@10.0.0.2:873/data/",
    ]


def test_deletion_is_off_unless_asked_for():
    assert "sync.delete=false" in evaluate(config.render({}, [SYNC], DEBIAN))
    assert "sync.delete=true" in evaluate(config.render({}, [sync(delete="true")], DEBIAN))


def test_a_rsyncssh_sync_sends_its_moves_through_the_guard():
    given_sync = {"name": "d", "mode": "rsyncssh", "source": "/srv/d", "host": "new", "targetdir": "/srv/d",
                  "ssh": {"port": 22, "identity_file": "/root/key"}}
    shown = evaluate(config.render({}, [given_sync], DEBIAN, {"d": "/guard/d"}))
    assert "sync.onMove=false" in shown
    assert "sync.ssh.identityFile=/root/key" in shown
    assert "sync.1=RSYNCSSH" in shown


@pytest.mark.parametrize(
    ("version", "settings_", "sync_", "message"),
    [
        (DEBIAN, {"onepass": True}, {}, "onepass is no key of lsyncd 2.2.3 .known to 2.2.4 and later"),
        ((2, 2, 1), {"insist": True}, {}, "misspells it"),
        (DEBIAN, {}, {"batch_size_limit": 3}, "batchSizeLimit is no key of lsyncd 2.2.3"),
        (DEBIAN, {}, {"rsync": {"copy_unsafe_links": True}}, "copy_unsafe_links is no key"),
        (DEBIAN, {}, {"rsync": {"deplay": 3}}, "deplay is no key of lsyncd 2.2.3 .known to no version"),
        (DEBIAN, {}, {"rsync": {"bwlimit": "fast"}}, "should be of type int"),
        (DEBIAN, {}, {"rsync": {"archive": 1}}, "should be of type bool"),
        (DEBIAN, {}, {"rsync": {"_extra": ["-r"]}}, "lsyncd adds it itself"),
        (DEBIAN, {}, {"rsync": {"_extra": ["--ignore-errors"]}}, "cannot be read"),
        (OLD, {}, {"rsync": {"inplace": True}}, "inplace is no key of lsyncd 2.1.5 .known to 2.1.6"),
        ((2, 1, 0), {}, {"password_file": "/etc/p"}, "Use a guard"),
        (DEBIAN, {}, {"delay": -1}, "not be negative"),
        (DEBIAN, {}, {"source": "srv"}, "absolute path"),
        (DEBIAN, {}, {"source": "/srv/a\nb"}, "newline or control character"),
        (DEBIAN, {}, {"exclude": ["a", "b\n+ c"]}, r"exclude\[1\] has a newline"),
        (DEBIAN, {}, {"rsync": {"temp_dir": "/tmp\x07"}}, "control character"),
        (DEBIAN, {"log_file": "log"}, {}, "absolute path"),
        (DEBIAN, {"log_file": "/l\n"}, {}, "settings.log_file has a newline"),
        (DEBIAN, {}, {"target": ""}, "target is missing"),
        (DEBIAN, {}, {"target": "--rsh=evil"}, "read as an option"),
        (DEBIAN, {}, {"target": "/t^pathname"}, "replaces words after"),
        (DEBIAN, {}, {"host": "h"}, "host is not taken"),
        (DEBIAN, {}, {"name": "a b"}, "letters, digits"),
        (DEBIAN, {}, {"ssh": {"port": 1}}, "not taken with mode rsync"),
    ],
)
def test_what_lsyncd_would_die_of_or_ignore_is_refused(version, settings_, sync_, message):
    with pytest.raises(LsyncdError, match=message):
        config.render(settings_, [sync(**sync_)], version)


def test_two_syncs_within_one_another_are_refused():
    with pytest.raises(LsyncdError, match="lie within one another"):
        config.render({}, [SYNC, sync(name="inner", source="/srv/files/deep")], DEBIAN)
    with pytest.raises(LsyncdError, match="there twice"):
        config.render({}, [SYNC, sync(source="/srv/other")], DEBIAN)
    assert config.render({}, [SYNC, sync(name="beside", source="/srv/files2")], DEBIAN)


def test_archive_is_spelled_out_for_versions_that_do_not_know_the_word():
    shown = evaluate(config.render({}, [SYNC], (2, 1, 2)))
    assert "sync.rsync.owner=true" in shown
    assert "sync.rsync._extra.2=-D" in shown
    assert not any("archive" in line for line in shown)


def test_the_version_tables_say_what_the_sources_say():
    assert "insist" not in tables.known(tables.SETTINGS, (2, 2, 0))
    assert "insist" in tables.known(tables.SETTINGS, (2, 2, 2))
    assert "onepass" not in tables.known(tables.SETTINGS, DEBIAN)
    assert {"copy_unsafe_links", "delete_excluded"} <= set(tables.known(tables.RSYNC, (2, 2, 4)))
    assert "batchSizeLimit" in tables.known(tables.SYNC, NEW)
    assert "archive" in tables.known(tables.RSYNC, (2, 1, 4))
    assert tables.since(tables.RSYNC, "inplace") == "2.1.6 and later"


@pytest.mark.parametrize(
    ("release", "path"),
    [
        ("/etc/debian_version", "/etc/lsyncd/lsyncd.conf.lua"),
        ("/etc/redhat-release", "/etc/lsyncd.conf"),
        ("/etc/SUSE-brand", "/etc/lsyncd/lsyncd.conf"),
        ("/nothing", "/etc/lsyncd/lsyncd.conf.lua"),
    ],
)
def test_the_place_of_the_configuration_follows_the_system(release, path):
    assert config.place(lambda name: name == release).config == path


@pytest.mark.parametrize(("text", "version"), [("Version: 2.2.3\n", (2, 2, 3)), ("2.1.5", (2, 1, 5)), ("none", None)])
def test_the_version_is_read(text, version):
    assert config.parse_version(text) == version


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        (None, True),
        (b"", True),
        (b"-- only\n--[[ comments\nsync{} ]]\n", True),
        (config.MARKER.encode() + b"\nsync{}\n", True),
        (b"sync{ default.rsync }\n", False),
        (b"\n" + config.MARKER.encode() + b"\nsync{}\n", False),
    ],
)
def test_a_foreign_configuration_is_known_as_one(content, ours):
    assert config.ours(content) is ours


@pytest.mark.parametrize(
    ("pattern", "path", "hit"),
    [
        ("cache", b"/cache/", True),
        ("cache", b"/a/cache/b/", True),
        ("cache", b"/a/mycache/", False),
        ("/cache", b"/a/cache/", False),
        ("*.d", b"/a.d/", True),
        ("a?c", b"/abc/", True),
        ("a?c", b"/a/c/", False),
        ("/a/**/z", b"/a/b/c/z/", True),
        ("x+(y)", b"/x+(y)/", True),
    ],
)
def test_excluded_directories_are_those_that_lsyncd_excludes(pattern, path, hit):
    assert bool(excludes.compiled(pattern).search(path)) is hit
