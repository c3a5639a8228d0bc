# SPDX-License-Identifier: GPL-3.0-or-later
"""The database writer: what it takes for done, for refused and for unknown, and where it goes then."""

import json

import mysql_writer
import pymysql
import pytest
from mysql_writer import Log, Refused, Servers, Unknown, Writer, attempt


class Link:
    """A connection that fails at the statements which begin with a word."""

    def __init__(self, failures=None, found=1):
        self.failures, self.found = failures or {}, found
        self.lastrowid = 7
        self.seen = []

    def cursor(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_unused):
        pass

    def execute(self, text, values=None):
        word = text.split()[0]
        self.seen.append(word)
        if word in self.failures:
            raise self.failures[word]
        return self.found

    def rollback(self):
        self.seen.append("ROLLBACK")

    def close(self):
        self.seen.append("QUIT")


INSERT, UPDATE = ("INSERT INTO t", ()), ("UPDATE t", ())
FENCED = pymysql.OperationalError(1290, "read only")
GONE = pymysql.OperationalError(2013, "Lost connection")


def test_a_single_statement_commits_itself_and_several_are_one_transaction():
    link = Link()
    assert attempt(link, [INSERT]) == (7, True)
    assert link.seen == ["INSERT"]
    link = Link()
    attempt(link, [INSERT, UPDATE])
    assert link.seen == ["BEGIN", "INSERT", "UPDATE", "COMMIT"]


def test_a_statement_that_finds_no_row_is_told():
    assert attempt(Link(found=0), [UPDATE])[1] is False


@pytest.mark.parametrize(
    "failures, statements, expected",
    [
        ({"INSERT": FENCED}, [INSERT], Refused),
        ({"INSERT": GONE}, [INSERT], Unknown),
        ({"INSERT": OSError("reset")}, [INSERT], Unknown),
        ({"INSERT": GONE}, [INSERT, UPDATE], Refused),
        ({"UPDATE": OSError("reset")}, [INSERT, UPDATE], Refused),
        ({"COMMIT": GONE}, [INSERT, UPDATE], Unknown),
        ({"COMMIT": FENCED}, [INSERT, UPDATE], Refused),
        ({"COMMIT": pymysql.OperationalError(3032, "offline mode")}, [INSERT, UPDATE], Unknown),
        ({"INSERT": pymysql.OperationalError(1213, "Deadlock")}, [INSERT], Refused),
    ],
)
def test_only_what_the_server_took_back_for_sure_is_refused(failures, statements, expected):
    with pytest.raises(expected):
        attempt(Link(failures), statements)


@pytest.fixture
def setting(tmp_path, monkeypatch):
    monkeypatch.setattr(mysql_writer, "PAUSE_SECONDS", 0)
    servers = Servers({"old": "h1", "new": "h2"}, {})
    path = tmp_path / "log"
    writer = Writer(servers, Log(path), "w", "1", 10)

    def events():
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    return servers, writer, events


def test_a_fenced_server_sends_the_writer_to_the_other_one_with_the_same_transaction(setting):
    servers, writer, events = setting
    servers._links = {"old": Link({"INSERT": FENCED}), "new": Link()}
    writer.insert()
    assert [(event["event"], event.get("server")) for event in events()] == [
        ("sent", None),
        ("refused", "old"),
        ("ok", "new"),
    ]
    assert events()[-1]["tries"] == 2
    assert events()[-1]["id"] == 7
    # Nothing is left open on the server that refused.
    assert servers._links["old"].seen[-1] == "ROLLBACK"


def test_an_unknown_outcome_is_not_repeated_and_its_row_is_left_alone(setting):
    servers, writer, events = setting
    link = Link({"INSERT": GONE})
    servers._links = {"old": link}
    writer.insert()
    assert link.seen[-1] == "QUIT"
    assert [event["event"] for event in events()] == ["sent", "unknown"]
    assert events()[-1]["began"] <= events()[-1]["at"]
    assert writer.orders == {}
    assert "old" not in servers._links


def test_a_deadlock_is_tried_again_on_the_same_server(setting):
    servers, writer, events = setting
    link = Link({"INSERT": pymysql.OperationalError(1213, "Deadlock")})
    link.rollback = link.failures.clear
    servers._links = {"old": link}
    writer.insert()
    assert [(event["event"], event.get("server")) for event in events()][1:] == [("again", "old"), ("ok", "old")]


def test_the_route_says_which_server_is_taken(setting, tmp_path):
    servers, writer, events = setting
    servers.route = tmp_path / "route"
    servers.route.symlink_to("new")
    servers._links = {"old": Link(), "new": Link()}
    writer.insert()
    assert events()[-1]["server"] == "new"


def test_what_a_writer_does_is_replayed_to_the_rows_that_it_knows(setting):
    from mysql_checker import Replay

    servers, writer, events = setting
    servers._links = {"old": Link()}
    for _unused in range(300):
        writer.step()
    replay = Replay("w").feed(json.dumps(event) for event in events())
    orders = {name[2]: row for name, row in replay.entries.items() if name[0] == "orders"}
    assert {ref: row["version"] for ref, row in orders.items()} == {
        ref: row["version"] for ref, row in writer.orders.items()
    }
    stock = {name[2]: row for name, row in replay.entries.items() if name[0] == "stock"}
    assert stock == writer.stock
    assert sum(name[0] == "order_lines" for name in replay.entries) == sum(writer.lines.values())
