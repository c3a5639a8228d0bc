# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from fakes import OTHER, UUID, FakeServer


def identified(machine):
    one = machine.server()
    session = one.session()
    one.identify(session)
    return session


@pytest.fixture
def session():
    return identified(FakeServer(gtid_executed="%s:1-9,\n%s:4" % (UUID, OTHER), gtid_purged=UUID + ":1-3"))


def test_sets_of_the_server_come_without_line_breaks(session):
    assert gtid.executed(session) == "%s:1-9,%s:4" % (UUID, OTHER)
    assert gtid.purged(session) == UUID + ":1-3"


def test_the_server_subtracts_unites_and_intersects(session):
    first, other = UUID + ":1-5", "%s:4-8,%s:1" % (UUID, OTHER)
    assert gtid.subtract(session, first, other) == UUID + ":1-3"
    assert gtid.union(session, first, "", other) == "%s:1-8,%s:1" % (UUID, OTHER)
    assert gtid.intersect(session, first, other) == UUID + ":4-5"
    assert gtid.is_subset(session, UUID + ":2", first)
    assert not gtid.is_subset(session, other, first)
    assert gtid.is_subset(session, "", "")


def test_what_is_no_set_is_told_with_advice(session):
    with pytest.raises(MySQLMigrationError, match="uuid:1-5"):
        gtid.subtract(session, "banana", "")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        (None, 0),
        (UUID + ":7", 1),
        (UUID + ":1-5:9", 6),
        ("%s:1-5,\n%s:1-2" % (UUID, OTHER), 7),
        (UUID + ":1-5:tag:1-3:other_tag:2", 9),
    ],
)
def test_transactions_are_counted(text, number):
    assert gtid.count(text) == number


def test_uuids_are_found():
    assert gtid.uuids("%s:1-5, %s:1-2,%s:9" % (UUID, OTHER.upper(), UUID)) == [UUID, OTHER]


class Clock:
    """A clock that moves on by a second at each look."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


def test_waiting_ends_when_the_set_is_there(session):
    assert gtid.wait(session, UUID + ":1-9", 5)
    assert gtid.wait(session, "", 0)


def test_waiting_ends_when_the_time_is_over(session):
    assert not gtid.wait(session, UUID + ":10", 3, clock=Clock())


def test_waiting_is_ended_by_the_check_between_the_slices(session):
    def check():
        raise MySQLMigrationError("the applier stopped")

    with pytest.raises(MySQLMigrationError, match="the applier stopped"):
        gtid.wait(session, UUID + ":10", 1000, check, Clock())


@pytest.mark.parametrize(("preset", "seconds"), [("5.7", "1"), ("9.7", "0.5e0")])
def test_the_slices_are_whole_seconds_where_the_server_knows_no_others(preset, seconds):
    machine = FakeServer(preset)
    session = identified(machine)
    gtid.wait(session, UUID + ":10", 3, clock=Clock())
    assert machine.said_like(r".*, %s\)$" % seconds)
    assert bool(machine.said_like(r".*, 0\.")) is (preset != "5.7")
