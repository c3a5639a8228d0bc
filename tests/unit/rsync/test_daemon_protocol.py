# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import socket
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.rsync import daemon_digest, daemon_protocol
from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_protocol import Probe, ProbeError
from daemon_servers import free_port, private, rsync_daemon, stranger

SECRET = "corr ect"


@pytest.fixture
def config(tmp_path):
    private(tmp_path / "secrets", "migration:%s\n" % SECRET)
    (tmp_path / "motd").write_text("Welcome\n\nfiles of many years\n")
    (tmp_path / "tree").mkdir()
    sections = {
        "open": "",
        "locked": "auth users = migration\nsecrets file = %s/secrets\n" % tmp_path,
        "strong": "auth users = migration\nsecrets file = %s/secrets\nlist = no\n" % tmp_path,
        "closed": "hosts allow = 192.0.2.1\nhosts deny = *\n",
        "hidden": "hosts allow = 192.0.2.1\nhosts deny = *\nlist = no\n",
        "full": "max connections = -1\n",
        "gone": "path = %s/none\n" % tmp_path,
        "nobody": "uid = no-such-user\n",
    }
    text = "use chroot = no\nmotd file = %s/motd\nlock file = %s/lock\n" % (tmp_path, tmp_path)
    for name, keys in sections.items():
        text += "[%s]\ncomment = the %s one\npath = %s/tree\n%s" % (name, name, tmp_path, keys)
    return private(tmp_path / "rsyncd.conf", text)


@pytest.fixture
def port(config):
    with rsync_daemon(config) as port:
        yield port


def ask(port, module=None, **options):
    return Probe("127.0.0.1", port, module, **dict({"timeout": 5}, **options)).run()


def test_a_daemon_lists_its_modules_and_its_message_of_the_day(port):
    told = ask(port)
    assert told["status"] == "ok" and told["advice"] == ""
    assert [m["name"] for m in told["modules"]] == ["open", "locked", "closed", "full", "gone", "nobody"]
    assert told["modules"][0]["comment"] == "the open one"
    assert told["motd"] == "Welcome\n\nfiles of many years"
    assert told["protocol"] >= 30 and told["greeting"].startswith("@RSYNCD: ")
    assert 0 < told["latency_ms"] < 5000 and told["source_address"] == "127.0.0.1"


def test_an_open_module_is_ok_and_tells_the_message_of_the_day(port):
    told = ask(port, "open")
    assert told["status"] == "ok" and told["motd"].startswith("Welcome")


def test_the_right_secret_opens_a_module(port):
    assert ask(port, "locked", user="migration", password=SECRET)["status"] == "ok"


@pytest.mark.parametrize("digest", ["sha512", "sha256", "sha1", "md5", "md4"])
def test_every_digest_is_answered_rightly(port, monkeypatch, digest):
    monkeypatch.setattr(daemon_digest, "usable", lambda: (digest,))
    assert ask(port, "locked", user="migration", password=SECRET)["status"] == "ok"


def test_a_client_of_an_old_time_is_understood_by_its_digest(port, monkeypatch):
    """Without a list of digests in the greeting both sides take md5, as with rsync 3.0 to 3.2.6."""
    monkeypatch.setattr(daemon_digest, "usable", lambda: ())
    monkeypatch.setattr(daemon_digest, "choose", lambda protocol, offered: "md5")
    assert ask(port, "locked", user="migration", password=SECRET)["status"] == "ok"


def test_protocol_29_takes_the_old_md4(port, monkeypatch):
    monkeypatch.setattr(daemon_digest, "usable", lambda: ())
    monkeypatch.setattr(daemon_protocol, "PROTOCOL", 29)
    monkeypatch.setattr(daemon_digest, "choose", lambda protocol, offered: "md4-old" if protocol == 29 else None)
    assert ask(port, "locked", user="migration", password=SECRET)["status"] == "ok"


@pytest.mark.parametrize("login", [{"password": "wrong"}, {"password": ""}, {"user": "else", "password": SECRET}])
def test_a_wrong_secret_or_user_is_told(port, login):
    told = ask(port, "locked", **dict({"user": "migration"}, **login))
    assert told["status"] == "auth_failed" and "secrets file" in told["advice"]
    assert SECRET not in str(told) and "wrong" not in str(told)


def test_a_module_that_asks_for_a_user_says_so(port):
    assert ask(port, "locked")["status"] == "auth_required"
    assert ask(port, "strong", user="migration")["status"] == "auth_required"


def test_an_address_that_is_not_allowed_is_told_which_one(port):
    told = ask(port, "closed")
    assert told["status"] == "denied" and "127.0.0.1" in told["advice"] and told["source_address"] == "127.0.0.1"


def test_a_hidden_module_looks_unknown_and_the_advice_names_both_causes(port):
    told = ask(port, "hidden")
    assert told["status"] == "unknown_module" and "hosts allow" in told["advice"] and "127.0.0.1" in told["advice"]
    told = ask(port, "hidden", module_known=True)
    assert told["status"] == "denied" and "hosts allow" in told["advice"]


def test_an_unknown_module_is_told_with_those_that_are_there(port):
    told = ask(port, "nothing")
    assert told["status"] == "unknown_module" and "only open, locked" in told["advice"]
    assert {"name": "open", "comment": "the open one"} in told["modules"]


def test_a_module_name_counts_by_case(port):
    assert ask(port, "OPEN")["status"] == "unknown_module"


def test_a_module_without_a_free_connection_is_busy(port):
    told = ask(port, "full")
    assert told["status"] == "busy" and "max connections" in told["advice"]


def test_a_missing_path_and_an_unknown_uid_are_told(port):
    told = ask(port, "gone")
    assert told["status"] == "error" and "path of module 'gone'" in told["advice"]
    assert "uid and gid" in ask(port, "nobody")["advice"]


def test_a_daemon_that_cannot_read_its_file_is_told(tmp_path):
    config = private(tmp_path / "rsyncd.conf", "[open]\npath = /tmp\n")
    with rsync_daemon(config) as port:
        private(tmp_path / "rsyncd.conf", "[broken\n")
        told = ask(port, "open")
    assert told["status"] == "denied" and "rsyncd.conf" in told["advice"]


def test_a_closed_port_is_refused():
    told = ask(free_port())
    assert told["status"] == "refused" and "rsync.service" in told["advice"] and told["latency_ms"] is None


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
        (b"220 mail ESMTP\r\n", "mail"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"\0\1\2", "no rsync"),
        (b"@HOME\n", "no rsync"),
        (b"@RSYNCD: banana\n", "no rsync"),
    ],
)
def test_a_stranger_on_the_port_is_told_by_its_kind(answer, who):
    with stranger(lambda connection: connection.sendall(answer) or connection.recv(100)) as port:
        told = ask(port, "data")
    assert told["status"] == "not_rsync" and who in told["advice"]


def test_a_server_that_says_nothing_ends_at_the_timeout():
    with stranger(lambda connection: time.sleep(5)) as port:
        begin = time.monotonic()
        told = ask(port, "data", timeout=1)
    assert told["status"] == "not_rsync" and time.monotonic() - begin < 2


@pytest.mark.parametrize("start", [b"@RSYNCD: 31.0\n", b"@"])
def test_a_server_that_dribbles_bytes_ends_at_the_timeout(start):
    def dribble(connection):
        connection.sendall(start)
        while True:
            connection.sendall(b"x" if start.endswith(b"\n") else b"RSYNCD: "[:1])
            time.sleep(0.05)

    with stranger(dribble) as port:
        begin = time.monotonic()
        told = ask(port, "data", timeout=1)
    assert told["status"] in ("error", "not_rsync") and time.monotonic() - begin < 2


def test_a_server_that_sends_without_end_is_left():
    def flood(connection):
        connection.sendall(b"@RSYNCD: 31.0\n")
        while True:
            connection.sendall(b"more\n" * 1000)

    with stranger(flood) as port:
        assert ask(port, "data")["status"] == "not_rsync"


def test_a_connection_that_is_closed_at_once_is_denied():
    with stranger(lambda connection: None) as port:
        told = ask(port, "data")
    assert told["status"] == "denied" and "xinetd" in told["advice"]


def test_a_connection_that_is_cut_after_the_greeting_is_an_error():
    with stranger(lambda connection: connection.sendall(b"@RSYNCD: 31.0\n")) as port:
        assert ask(port, "data")["status"] == "error"


def test_an_old_daemon_without_subprotocol_is_understood():
    def old(connection):
        connection.sendall(b"@RSYNCD: 29\n")
        data = b""
        while not data.endswith(b"#list\n"):
            data += connection.recv(100)
        connection.sendall(b"data           \told files\n")

    with stranger(old) as port:
        told = ask(port)
    assert told["protocol"] == 29 and told["modules"] == [{"name": "data", "comment": "old files"}]


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (errno.EHOSTUNREACH, "filtered", "firewall_port"),
        (errno.ENETUNREACH, "unreachable", "no route"),
        (errno.EPERM, "filtered", "this host forbids"),
        (errno.ETIMEDOUT, "unreachable", "drops the packets"),
    ],
)
def test_what_the_kernel_says_is_put_into_words(monkeypatch, number, status, words):
    def refuse(_self, _address):
        raise OSError(number, "told so")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    told = ask(873)
    assert told["status"] == status and words in told["advice"]


def test_a_neighbour_without_arp_is_no_firewall(monkeypatch):
    monkeypatch.setattr(daemon_protocol, "_silent_neighbour", lambda address: True)
    verdict = daemon_protocol._judge(OSError(errno.EHOSTUNREACH, ""), "10.0.0.9")
    assert (verdict.status, verdict.advice) == ("unreachable", "no_machine")


def test_a_name_without_an_address_is_unreachable():
    told = Probe("no-such-host.invalid", 873, timeout=5).run()
    assert told["status"] == "unreachable" and "no-such-host.invalid" in told["advice"]


def test_a_name_server_that_hangs_is_bounded(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: time.sleep(3))
    begin = time.monotonic()
    assert Probe("files.example", 873, timeout=0.3).run()["status"] == "unreachable"
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    "options",
    [
        {"module": "a\nb"},
        {"module": "#list"},
        {"module": "a/b"},
        {"module": ""},
        {"user": "a b"},
        {"password": "top\nsecret"},
        {"host": "a\n"},
        {"port": 0},
        {"port": 70000},
        {"timeout": 0},
        {"source_address": "192.0.2.77"},
    ],
)
def test_bad_input_is_refused_by_name(options):
    with pytest.raises(ProbeError) as caught:
        Probe(**dict({"host": "127.0.0.1"}, **options)).run()
    assert "top" not in str(caught.value)


def test_the_source_address_is_used(port):
    told = ask(port, "closed", source_address="127.0.0.9")
    assert told["status"] == "denied" and told["source_address"] == "127.0.0.9"
