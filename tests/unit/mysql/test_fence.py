# SPDX-License-Identifier: GPL-3.0-or-later
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import fence
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.read_only import ReadOnly
from ansible_collections.seamless.migration.plugins.modules import mysql_read_only
from fakes import FakeServer, error

LOCKED = error(1205, "Lock wait timeout exceeded; try restarting transaction")
SET = r"SET (PERSIST|GLOBAL) super_read_only = 1, "
HOLDER = {
    "id": 7,
    "user": "app",
    "host": "web1",
    "db": "shop",
    "command": "Query",
    "seconds": 12,
    "state": "User sleep",
    "statement": "LOCK TABLES t WRITE",
    "thread": "thread/sql/one_connection",
}
APPLIER = dict(HOLDER, id=8, thread="thread/sql/replica_worker")


def machine(preset="9.7", holders=(), **variables):
    """A server with the tables that a fence looks into."""
    one = FakeServer(preset, **variables)
    one.on(r"XA RECOVER CONVERT XID", [])
    one.active_xa = []
    one.on(r"SELECT (DISTINCT )?PROCESSLIST_ID AS id", lambda _found: [dict(row) for row in holders])
    one.on(
        r"SELECT PROCESSLIST_ID AS id.*events_transactions_current",
        lambda _found: [dict(row) for row in one.active_xa],
    )
    one.on(r"SELECT COUNT\(\*\) FROM performance_schema.threads", [{"n": 0}])
    one.on(
        r"SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value",
        lambda _found: [{"name": name, "value": "ON" if value else "OFF"} for name, value in one.persisted.items()],
    )
    one.sources = []
    one.on(r"SELECT VARIABLE_NAME AS name, VARIABLE_SOURCE", lambda _found: list(one.sources))
    return one


def opened(one, **options):
    server = one.server(**options)
    session = server.session()
    server.identify(session)
    return server, session


@pytest.mark.parametrize("preset", ["5.7", "8.0.21", "8.4", "9.7"])
def test_a_fence_sets_both_variables_with_a_short_lock_wait(preset):
    one = machine(preset)
    done = fence.fence(*opened(one), lock_wait=3)
    assert done["state"] == {"read_only": True, "super_read_only": True, "fenced": True}
    assert one.said.index("SET SESSION lock_wait_timeout = 3") < one.said.index(one.said_like(SET)[0])
    assert one.persisted == ({} if preset == "5.7" else {"super_read_only": 1, "read_only": 1})


def test_super_read_only_alone_is_no_fence():
    one = machine(super_read_only=1, read_only=0)
    assert fence.state(opened(one)[1]) == {"read_only": False, "super_read_only": True, "fenced": False}


def test_read_only_is_all_there_is_on_rds():
    assert fence.state(opened(machine("rds-8.4", read_only=1))[1])["fenced"]


def test_a_server_that_says_yes_and_stays_open_is_told():
    one = machine().on(SET, [])
    with pytest.raises(MySQLMigrationError, match="both must be 1. It takes writes"):
        fence.fence(*opened(one))


def test_a_fence_that_is_held_up_is_tried_again_until_it_comes_through():
    answers = [LOCKED, LOCKED]
    one = machine()
    one.on(SET, lambda _found: answers.pop() if answers else NotImplemented)
    assert fence.fence(*opened(one), deadline=60)["attempts"] == 3


def test_a_fence_that_is_held_up_for_too_long_names_who_does():
    one = machine(holders=[HOLDER]).on(SET, LOCKED)
    with pytest.raises(MySQLMigrationError, match=r"connection 7 of app@web1, 12 s: LOCK TABLES.*not fenced") as caught:
        fence.fence(*opened(one), deadline=0)
    assert caught.value.code == 1205


def slow(one, until):
    """A SET that waits for a lock until the condition holds, or is ended after some seconds."""

    def answer(_found):
        end = time.monotonic() + 20
        while not until() and time.monotonic() < end:
            time.sleep(0.02)
        return error(1317, "Query execution was interrupted") if one.said_like("KILL QUERY") else NotImplemented

    return one.on(SET, answer)


def test_clients_that_hold_it_up_are_ended_while_it_waits_and_the_servers_own_threads_are_not():
    one = machine(holders=[HOLDER, APPLIER])
    slow(one, lambda: one.killed)
    done = fence.fence(*opened(one), on_block=fence.end_blockers)
    assert set(one.killed) == {7}
    assert {row["id"]: row["client"] for row in done["blockers"]} == {7: True, 8: False}


def test_what_the_callback_raises_ends_the_wait():
    one = machine(holders=[HOLDER]).on("KILL QUERY", [])

    def refuse(_session, found):
        raise MySQLMigrationError("held by %d." % found[0]["id"])

    slow(one, lambda: one.said_like("KILL QUERY"))
    server, session = opened(one)
    with pytest.raises(MySQLMigrationError, match="held by 7. The server is not fenced"):
        fence.fence(server, session, on_block=refuse)
    assert one.said_like("KILL QUERY %d" % session.id)


def test_a_session_that_would_give_up_before_the_lock_is_refused():
    server, _session = opened(machine())
    with pytest.raises(MySQLMigrationError, match="longer read_timeout"):
        fence.fence(server, server.session(read_timeout=2), lock_wait=2)


def test_a_client_that_gave_up_ends_its_statement_and_reads_again():
    one = machine().on(SET, error(2013, "Lost connection to MySQL server during query (timed out)"))
    server, session = opened(one)
    with pytest.raises(MySQLMigrationError, match="did not answer in time.*not fenced"):
        fence.fence(server, session)
    assert one.killed == [session.id]


def test_a_statement_that_fenced_although_its_client_gave_up_counts():
    one = machine()

    def answer(_found):
        one.variables.update(read_only=1, super_read_only=1)
        return error(2013, "Lost connection")

    assert fence.fence(*opened(one.on(SET, answer)))["state"]["fenced"]


def test_a_server_that_cannot_be_asked_any_more_leaves_the_operator_the_number_to_end():
    one = machine().on(SET, error(2013, "Lost connection")).on("KILL", error(2006, "gone away"))
    server, session = opened(one)
    with pytest.raises(MySQLMigrationError, match="may still fence itself later.*run KILL %d" % session.id):
        fence.fence(server, session)


def test_a_connection_that_cannot_be_ended_is_told(monkeypatch):
    monkeypatch.setattr(fence.time, "sleep", lambda _seconds: None)
    one = machine().on(r"SELECT COUNT\(\*\) FROM performance_schema.threads", [{"n": 1}])
    with pytest.raises(MySQLMigrationError, match="Failed to end connection 5"):
        fence.settle(opened(one)[0], 5)


def test_other_errors_of_the_fence_are_told_as_they_are():
    one = machine().on(SET, error(1192, "Can't execute the given command because you have active locked tables"))
    with pytest.raises(MySQLMigrationError, match="1192"):
        fence.fence(*opened(one))


@pytest.mark.parametrize("preset", ["8.0.21", "8.4", "9.7"])
def test_opening_stays_persisted_so_that_a_file_does_not_close_the_server_at_its_next_start(preset):
    one = machine(preset, read_only=1, super_read_only=1)
    one.persisted = {"super_read_only": 1, "read_only": 1}
    assert fence.unfence(*opened(one)) == {"read_only": False, "super_read_only": False, "fenced": False}
    assert one.persisted == {"super_read_only": 0, "read_only": 0}


def test_a_server_that_a_file_has_closed_is_opened_for_good():
    one = machine(read_only=1, super_read_only=1)
    one.sources = [{"name": "super_read_only", "source": "GLOBAL", "path": "/etc/my.cnf"}]
    assert not fence.unfence(*opened(one))["fenced"]
    assert one.persisted == {"super_read_only": 0, "read_only": 0}


def test_the_module_makes_an_open_server_stay_open_once(whole):
    assert manage(whole, state="open")["changed"]
    assert whole.persisted == {"super_read_only": 0, "read_only": 0}
    assert not manage(whole, state="open")["changed"]
    old = machine("5.7")
    assert not manage(old, state="open")["changed"]


def test_a_server_that_does_not_open_is_told():
    one = machine(read_only=1, super_read_only=1).on(r"SET PERSIST super_read_only = 0", [])
    with pytest.raises(MySQLMigrationError, match="Failed to open"):
        fence.unfence(*opened(one))


def test_clients_are_listed_without_this_one_and_those_that_are_excluded():
    one = machine().on(r"SELECT PROCESSLIST_ID AS id", [{"id": 7}, {"id": 9}])
    assert fence.clients(opened(one)[1], exclude=(9,)) == [{"id": 7}]


def test_prepared_xa_transactions_are_told_by_name():
    one = machine().on("XA RECOVER CONVERT XID", [{"formatID": 1, "data": "0x6c65"}])
    assert fence.prepared_xa(opened(one)[1]) == ["0x6c65 (format 1)"]


def params(**changes):
    base = {
        "state": "fenced",
        "wait": 2,
        "blockers": "wait",
        "timeout": 5,
        "parameter_group": None,
        "await_parameter": False,
    }
    return dict(base, **changes)


def manage(one, check=False, **changes):
    return mysql_read_only.manage(one.server(), params(**changes), check)


@pytest.fixture
def whole():
    """A server for the module."""
    return machine()


def test_the_module_fences_once_and_opens_once(whole):
    promised = manage(whole, check=True)
    done = manage(whole)
    assert promised["changed"] and done["changed"] and promised["diff"] == done["diff"]
    assert not manage(whole)["changed"]
    promised = manage(whole, check=True, state="open")
    done = manage(whole, state="open")
    assert promised["changed"] and done["changed"] and promised["diff"] == done["diff"]
    assert not manage(whole, state="open")["changed"]


def test_the_module_makes_a_running_fence_last(whole):
    whole.variables.update(read_only=1, super_read_only=1)
    assert manage(whole)["changed"]
    assert whole.persisted == {"read_only": 1, "super_read_only": 1}


@pytest.mark.parametrize("policy", ["wait", "kill", "fail"])
def test_prepared_xa_transactions_keep_the_module_from_fencing(whole, policy, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    whole.on("XA RECOVER", [{"formatID": 1, "data": "0x6c65"}])
    with pytest.raises(MySQLMigrationError, match="1 XA transactions are prepared and 0 begun.*0x6c65"):
        manage(whole, blockers=policy, timeout=0)
    assert not whole.said_like("SET PERSIST")


def test_an_xa_transaction_that_is_begun_keeps_the_module_from_fencing_or_is_ended(whole):
    whole.active_xa = [dict(HOLDER, statement="XA ACTIVE")]
    with pytest.raises(MySQLMigrationError, match="0 XA transactions are prepared and 1 begun.*connection 7"):
        manage(whole, blockers="fail")
    assert manage(whole, blockers="kill")["fenced"]
    assert whole.killed == [7]


def test_an_xa_transaction_that_was_prepared_meanwhile_is_told(whole):
    seen = []

    def answer(_found):
        seen.append(1)
        return [{"formatID": 1, "data": "0x6c65"}] if len(seen) > 1 else []

    whole.on("XA RECOVER", answer)
    with pytest.raises(MySQLMigrationError, match="it is fenced, but 1 XA transactions"):
        manage(whole)


def test_an_account_that_may_not_see_xa_transactions_sees_none(whole):
    whole.on("XA RECOVER", error(1401, "XAER_RMERR"))
    assert manage(whole)["prepared_xa"] == []
    whole.on("XA RECOVER", error(1053, "Server shutdown in progress"))
    with pytest.raises(MySQLMigrationError, match="1053"):
        manage(whole)


def test_the_module_ends_or_refuses_what_holds_it_up():
    one = machine(holders=[HOLDER])
    slow(one, lambda: one.killed)
    one.on(r"SELECT VARIABLE_NAME AS name, VARIABLE_VALUE", [])
    assert manage(one, blockers="kill")["blockers"][0]["id"] == 7
    one = machine(holders=[HOLDER]).on("KILL QUERY", [])
    slow(one, lambda: one.said_like("KILL QUERY"))
    with pytest.raises(MySQLMigrationError, match="connection 7 .* Wait for the end, or give blockers: kill"):
        manage(one, blockers="fail")


def rds(with_procedure, **variables):
    one = machine("rds-8.4", **variables)
    if with_procedure:
        one.procedures += ("rds_set_read_only",)
        one.on(
            r"CALL `mysql`.`rds_set_read_only`\((\d)\)",
            lambda found: one.variables.update(read_only=int(found.group(1))),
        )
    return one


def test_on_rds_the_procedure_is_used_where_it_is_there():
    one = rds(True)
    assert manage(one)["fenced"]
    assert not manage(one)["changed"]
    assert not manage(one, state="open")["fenced"]
    assert not one.said_like("SET (GLOBAL|PERSIST)")


def test_on_rds_without_the_procedure_the_parameter_and_its_group_are_named():
    one = rds(False)
    remedy = "aws rds modify-db-parameter-group --db-parameter-group-name shop84 .*read_only,ParameterValue=1"
    with pytest.raises(MySQLMigrationError, match=remedy):
        manage(one, parameter_group="shop84")
    promised = manage(one, check=True)
    assert promised["changed"] and "<the instance's group>" in promised["remedy"]
    with pytest.raises(MySQLMigrationError, match="no procedure for it"):
        fence.fence(*opened(one))


def test_on_rds_somebody_elses_change_of_the_parameter_is_waited_for(monkeypatch):
    one = rds(False)
    monkeypatch.setattr(time, "sleep", lambda _seconds: one.variables.update(read_only=1))
    assert manage(one, await_parameter=True)["fenced"]
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    with pytest.raises(MySQLMigrationError, match="did not change in 0 s"):
        manage(one, await_parameter=True, state="open", timeout=0)


def test_looking_changes_nothing():
    one = machine()
    server, session = opened(one)
    assert ReadOnly(server, session, params()).look()
    assert not one.said_like("SET (PERSIST|GLOBAL)")
