# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump that flows into a load: what is taken out of it, how both processes are judged, what the clients are told."""

import os
import stat
import sys

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import seed_dump
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from hypothesis import given, settings
from hypothesis import strategies as st

GTID = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"
OTHER = "4e11fa47-71ca-11e1-9e33-c80aa9429562:1-77"
HEAD = (
    "-- MySQL dump 10.13\nSET NAMES utf8mb4;\nSET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;\n"
    "SET @@SESSION.SQL_LOG_BIN= 0;\n\n--\n-- GTID state at the beginning of the backup \n--\n\n"
)
NOT_LOGGED = "SET @@SESSION.SQL_LOG_BIN= 0;\n"
PURGED = "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '%s';\n"
BODY = "\n--\n-- Current Database: `a`\n--\n\nCREATE DATABASE `a`;\nUSE `a`;\nINSERT INTO t VALUES (1,'x');\n"
TAIL = "SET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN;\n-- Dump completed on 2026-01-01\n"


def _through(text, sizes=(), without_log_bin=False):
    stream, out, data = seed_dump.Stream(without_log_bin), b"", text.encode("utf-8")
    for size in sizes:
        out += stream.feed(data[:size])
        data = data[size:]
    out += stream.feed(data) if data else b""
    return stream, (out + stream.end()).decode("utf-8")


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 9000), max_size=30), filling=st.integers(0, 20000))
def test_the_gtid_set_is_taken_out_however_the_dump_arrives(sizes, filling):
    body = BODY + "INSERT INTO t VALUES (2,'%s');\n" % ("y" * filling)
    stream, out = _through(HEAD + PURGED % (GTID + ",\n" + OTHER) + body + TAIL, sizes)
    assert stream.gtid == GTID + "," + OTHER
    assert out == NOT_LOGGED + HEAD + body + TAIL
    assert stream.complete


def test_the_form_of_old_servers_is_understood():
    stream, out = _through(HEAD + "SET @@GLOBAL.GTID_PURGED='%s';\n" % GTID + BODY + TAIL)
    assert stream.gtid == GTID and "GTID_PURGED" not in out


def test_what_looks_like_a_gtid_set_in_the_data_stays():
    body = BODY + PURGED % OTHER
    stream, out = _through(HEAD + PURGED % GTID + body + TAIL)
    assert stream.gtid == GTID and out == NOT_LOGGED + HEAD + body + TAIL


def test_statements_on_the_binary_log_are_left_out_where_they_are_not_allowed():
    _stream, out = _through(HEAD + PURGED % GTID + BODY + TAIL, without_log_bin=True)
    assert "LOG_BIN" not in out and "INSERT INTO" in out


def test_a_dump_that_breaks_off_is_not_complete():
    stream, _out = _through(HEAD + PURGED % GTID + BODY)
    assert not stream.complete


def test_a_dump_that_breaks_off_in_its_head_is_given_as_it_is():
    stream, out = _through(HEAD)
    assert out == NOT_LOGGED + HEAD and stream.gtid is None and not stream.complete


# --- processes ---


def _program(tmp_path, name, code):
    path = tmp_path / name
    path.write_text("#!%s\nimport sys, os, time\n%s" % (sys.executable, code))
    path.chmod(0o755)
    return [str(path)]


def _run(tmp_path, dump, load):
    stream = seed_dump.Stream()
    pipe = seed_dump.Pipe(_program(tmp_path, "dump", dump), _program(tmp_path, "load", load), stream,
                          tell=lambda progress: None)
    ends = pipe.run()
    return stream, ends, pipe


def _says(text):
    return "sys.stdout.write(%r)\n" % text


ALL = HEAD + PURGED % GTID + BODY + TAIL
KEEPS = "open(sys.argv[0] + '.out', 'w').write(sys.stdin.read())\n"


def test_a_dump_flows_into_a_load(tmp_path):
    stream, (dump, load), pipe = _run(tmp_path, _says(ALL), KEEPS)
    seed_dump.judge(dump, load, stream, "seed")
    assert (tmp_path / "load.out").read_text() == NOT_LOGGED + HEAD + BODY + TAIL
    assert pipe.bytes == len(ALL) and stream.gtid == GTID


@pytest.mark.parametrize("dump, load, message", [
    (_says(ALL) + "sys.exit(2)", KEEPS, "mysqldump ended with status 2"),
    (_says(ALL) + "sys.stderr.write('lost it'); sys.exit(3)", KEEPS, "lost it"),
    (_says(ALL), "sys.stdin.read(); sys.stderr.write('ERROR 1114: full'); sys.exit(1)", "1114: full"),
    (_says(HEAD + PURGED % GTID + BODY), KEEPS, "does not say that it is complete"),
    ("os.kill(os.getpid(), 9)", KEEPS, "status -9"),
])
def test_each_end_that_is_not_good_is_a_failure(tmp_path, dump, load, message):
    stream, ends, _pipe = _run(tmp_path, dump, load)
    with pytest.raises(MySQLMigrationError, match=message):
        seed_dump.judge(*ends, stream, "seed")


def test_a_load_that_dies_ends_the_dump(tmp_path):
    endless = "try:\n  while True: os.write(1, b'x' * 65536)\nexcept OSError: sys.exit(5)\n"
    stream, ends, _pipe = _run(tmp_path, _says(HEAD + BODY) + "sys.stdout.flush()\n" + endless, "sys.exit(1)")
    with pytest.raises(MySQLMigrationError, match="loading ended with status 1"):
        seed_dump.judge(*ends, stream, "seed")


def test_what_a_process_complains_about_at_length_does_not_hold_it_up(tmp_path):
    loud = "sys.stderr.write('e' * 1000000)\n" + _says(ALL)
    stream, (dump, load), _pipe = _run(tmp_path, loud, KEEPS)
    seed_dump.judge(dump, load, stream, "seed")
    assert len(dump.errors) <= 8192


def test_a_client_that_is_missing_is_named(tmp_path):
    with pytest.raises(MySQLMigrationError, match="Install the MySQL clients"):
        seed_dump.Pipe(["/no/mysqldump"], ["/no/mysql"], seed_dump.Stream(), tell=print).run()
    with pytest.raises(MySQLMigrationError, match="mysqldump_path"):
        seed_dump.ask(["/no/mysqldump", "--version"])


@pytest.mark.parametrize("version, message", [
    ("mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)", "no client of MySQL"),
    ("mysqldump  Ver 8.0.31 for Linux on x86_64", "not that of its snapshot"),
    ("mysqldump  Ver 8.0.40 for Linux on x86_64", "older than the source"),
])
def test_clients_that_cannot_do_it_are_refused(tmp_path, version, message):
    path = _program(tmp_path, "mysqldump", "print(%r)" % version)[0]
    with pytest.raises(MySQLMigrationError, match=message):
        seed_dump.check_clients(path, path, (9, 7, 4))


def test_a_good_client_is_taken(tmp_path):
    path = _program(tmp_path, "mysqldump", "print('mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))')")[0]
    assert seed_dump.check_clients(path, path, (8, 0, 40)) == (9, 7, 4)


# --- what the clients are told ---


def _parsed(text):
    """Values of an options file, as the clients read them."""
    values = {}
    for line in text.splitlines():
        name, _equals, value = line.partition("=")
        if value.startswith('"'):
            value, escapes = value[1:-1], {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"'}
            out, rest = "", iter(value)
            for character in rest:
                out += escapes[next(rest)] if character == "\\" else character
            value = out
        values[name] = value
    return values


@settings(max_examples=100, deadline=None)
@given(password=st.text(alphabet="ab'\"\\#%;= \n\té", min_size=1, max_size=12))
def test_any_password_survives_the_options_file(password):
    text = seed_dump.option_file({"login_password": password, "login_host": "h", "login_port": 3307})
    assert _parsed(text)["password"] == password and _parsed(text)["port"] == "3307"


def test_a_certificate_makes_the_clients_check_the_server():
    assert _parsed(seed_dump.option_file({"ca_cert": "/ca.pem"}))["ssl-mode"] == "VERIFY_IDENTITY"
    assert _parsed(seed_dump.option_file({"ca_cert": "/ca.pem", "check_hostname": False}))["ssl-mode"] == "VERIFY_CA"


def test_credentials_lie_in_a_file_for_us_alone_and_only_for_the_time_of_the_dump(tmp_path):
    with seed_dump.written(str(tmp_path), "source", "secret") as path:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(str(tmp_path)) == []


def test_no_secret_is_in_an_argument_vector():
    argv = seed_dump.dump_command("mysqldump", "/dev/shm/x/source", ["a", "-b"], ["--skip-triggers"])
    assert argv[1] == "--defaults-file=/dev/shm/x/source"
    assert argv[-4:] == ["--databases", "--", "a", "-b"] and not any("password" in one for one in argv)


@pytest.mark.parametrize("option", ["--databases", "--set-gtid-purged=OFF", "-psecret", "--result-file=/x", "shop",
                                    "-A"])
def test_options_that_would_break_the_dump_are_refused(option):
    with pytest.raises(MySQLMigrationError, match="dump_options"):
        seed_dump.check_options([option])


def test_other_options_of_mysqldump_are_taken():
    seed_dump.check_options(["--ignore-table=shop.cache", "--skip-triggers"])


def test_intervals_are_told_one_by_one():
    assert seed_dump.intervals("a:1-5:7,\nb:3") == [("a", 1, 5), ("a", 7, 7), ("b", 3, 3)]
    with pytest.raises(MySQLMigrationError, match="tags"):
        seed_dump.intervals("a:tag:1-5")


@pytest.mark.parametrize("errors, expected", [
    ("mysqldump: Couldn't execute 'FLUSH TABLES WITH READ LOCK': Access denied (1045)", True),
    ("mysqldump: Couldn't execute 'FLUSH TABLES': Access denied; you need RELOAD (1227)", True),
    ("mysqldump: Got error: 2013: Lost connection", False),
])
def test_a_refused_flush_is_told_from_other_failures(errors, expected):
    assert seed_dump.cannot_flush(seed_dump.Ended(2, errors)) is expected
