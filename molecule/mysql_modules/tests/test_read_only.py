# SPDX-License-Identifier: GPL-3.0-or-later
"""The fence on a real server: what holds it up, what leaks through it, and what a restart makes of it."""

import pymysql
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import fence
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Server


@pytest.fixture
def table(old):
    old.quietly("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY, b VARCHAR(40))")
    old.quietly("INSERT INTO d.t VALUES (1, 'x'), (2, 'y')")
    return old


def variables(node):
    row = node.sql("SELECT @@read_only AS r, @@super_read_only AS s")[0]
    return row["r"], row["s"]


def persisted(node):
    rows = node.sql(
        "SELECT VARIABLE_NAME AS n, VARIABLE_VALUE AS v FROM performance_schema.persisted_variables"
        " WHERE VARIABLE_NAME LIKE '%read_only'"
    )
    return {row["n"]: row["v"] for row in rows}


def writable(node):
    try:
        node.quietly("REPLACE INTO d.t VALUES (99, 'w')")
    except pymysql.err.MySQLError as error:
        assert error.args[0] == 1290, error
        return False
    return True


def test_a_server_is_fenced_and_opened_and_check_mode_says_so_before(ansible, table):
    promised, done = ansible.settle("mysql_read_only", **table.login)
    assert done["fenced"] and promised["fenced"]
    assert done["diff"]["after"] == {
        "read_only": True,
        "super_read_only": True,
        "persisted": {"read_only": "ON", "super_read_only": "ON"},
    }
    assert variables(table) == (1, 1) and not writable(table)
    ansible.settle("mysql_read_only", state="open", **table.login)
    assert variables(table) == (0, 0) and writable(table)
    assert persisted(table) == {"read_only": "OFF", "super_read_only": "OFF"}


def test_check_mode_changes_nothing(ansible, table):
    assert ansible.run("mysql_read_only", check=True, **table.login)["changed"]
    assert variables(table) == (0, 0) and persisted(table) == {}


def test_a_restart_keeps_the_fence_and_an_opened_server_open(ansible, table):
    ansible.run("mysql_read_only", **table.login)
    table.restart()
    assert variables(table) == (1, 1)
    ansible.run("mysql_read_only", state="open", **table.login)
    table.restart()
    assert variables(table) == (0, 0)


def test_a_fence_that_would_not_last_is_made_to_last(ansible, table):
    table.sql("SET GLOBAL super_read_only = 1")
    assert ansible.run("mysql_read_only", **table.login)["changed"]
    assert persisted(table) == {"read_only": "ON", "super_read_only": "ON"}


def test_a_persisted_fence_that_was_opened_by_hand_is_removed_for_good(ansible, table):
    ansible.run("mysql_read_only", **table.login)
    table.sql("SET GLOBAL read_only = 0")
    assert ansible.run("mysql_read_only", state="open", **table.login)["changed"]
    table.restart()
    assert variables(table) == (0, 0)


def test_the_half_open_server_of_a_file_and_a_persisted_value_is_no_fence(ansible, table):
    """super_read_only = 1 in the file and read_only = OFF persisted: it says 1, and takes writes."""
    table.sql("SET PERSIST read_only = 0")
    table.host("printf '[mysqld]\\nsuper_read_only = 1\\n' > /etc/mysql/mysql.conf.d/zzz-tests.cnf")
    try:
        table.restart()
        assert variables(table) == (0, 1) and writable(table)
        fenced = ansible.run("mysql_read_only", **table.login)
        assert fenced["changed"] and fenced["fenced"] and not writable(table)
        table.restart()
        assert variables(table) == (1, 1) and not writable(table)
        opened = ansible.run("mysql_read_only", state="open", **table.login)
        assert not opened["failed"], opened["msg"]
        table.restart()
        assert variables(table) == (0, 0) and writable(table)
    finally:
        table.host("rm -f /etc/mysql/mysql.conf.d/zzz-tests.cnf")


@pytest.mark.parametrize("blocker", ["LOCK TABLES d.t WRITE", "UPDATE d.t SET b = SLEEP(90) WHERE a = 1"])
def test_what_holds_the_fence_up_is_named_and_the_server_stays_open(ansible, table, background, until, blocker):
    held = background(table, blocker, "DO SLEEP(90)")
    until(lambda: held.id in [row["Id"] for row in table.sql("SHOW PROCESSLIST") if row["Command"] == "Query"])
    result = ansible.run("mysql_read_only", wait=1, timeout=3, **table.login)
    assert result["failed"] and result["code"] == 1205
    assert "connection %d" % held.id in result["msg"] and "not fenced" in result["msg"]
    assert variables(table) == (0, 0) and persisted(table) == {}


@pytest.mark.parametrize("blocker", ["LOCK TABLES d.t WRITE", "UPDATE d.t SET b = SLEEP(90) WHERE a = 1"])
def test_what_holds_the_fence_up_is_ended_when_that_is_asked_for(ansible, table, background, until, blocker):
    held = background(table, blocker, "DO SLEEP(90)")
    until(lambda: held.id in [row["Id"] for row in table.sql("SHOW PROCESSLIST") if row["Command"] == "Query"])
    result = ansible.run("mysql_read_only", wait=5, blockers="kill", **table.login)
    assert not result["failed"], result["msg"]
    assert [one["id"] for one in result["blockers"]] == [held.id]
    assert held.wait().error.args[0] in (2013, 1317)
    assert variables(table) == (1, 1)


def test_an_alter_holds_the_fence_up_and_is_refused_at_once_when_asked(ansible, table, background, until):
    reader = table.connect()
    with reader.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM d.t")
    altering = background(table, "SET SESSION sql_log_bin = 0", "ALTER TABLE d.t ADD COLUMN c INT, ALGORITHM = COPY")
    until(lambda: any(row["State"] == "Waiting for table metadata lock" for row in table.sql("SHOW PROCESSLIST")))
    result = ansible.run("mysql_read_only", wait=10, blockers="fail", **table.login)
    assert result["failed"] and "ALTER TABLE" in result["msg"] and "blockers: kill" in result["msg"]
    assert variables(table) == (0, 0) and not altering.done.is_set()
    reader.close()
    assert altering.wait().error is None


def test_what_ends_by_itself_is_waited_for(ansible, table, background, until):
    held = background(table, "UPDATE d.t SET b = SLEEP(12) WHERE a = 1")
    until(lambda: any("SLEEP" in (row["Info"] or "") for row in table.sql("SHOW PROCESSLIST") if row["Id"] == held.id))
    result = ansible.run("mysql_read_only", wait=1, timeout=60, **table.login)
    assert not result["failed"], result["msg"]
    assert result["attempts"] > 1 and variables(table) == (1, 1)
    assert held.wait().error is None


def test_an_idle_transaction_does_not_hold_it_up_and_loses_its_rows_at_commit(ansible, table):
    idle = table.connect()
    with idle.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO d.t VALUES (3, 'idle')")
        result = ansible.run("mysql_read_only", **table.login)
        assert not result["failed"] and result["attempts"] == 1
        with pytest.raises(pymysql.err.MySQLError) as refused:
            cursor.execute("COMMIT")
    assert refused.value.args[0] == 1290
    assert table.value("SELECT COUNT(*) FROM d.t WHERE a = 3") == 0


def test_a_prepared_xa_transaction_keeps_the_server_open_and_is_named(ansible, table):
    branch = table.connect()
    with branch.cursor() as cursor:
        for statement in ("XA START 'leak'", "INSERT INTO d.t VALUES (4, 'xa')", "XA END 'leak'", "XA PREPARE 'leak'"):
            cursor.execute(statement)
    branch.close()
    result = ansible.run("mysql_read_only", timeout=2, **table.login)
    assert result["failed"] and "6c65616b" in result["msg"].lower() and "XA ROLLBACK" in result["msg"]
    assert variables(table) == (0, 0)
    table.sql("XA ROLLBACK 'leak'")
    assert not ansible.run("mysql_read_only", **table.login)["failed"]


def test_an_xa_transaction_that_is_begun_keeps_the_server_open_or_is_ended(ansible, table):
    branch = table.connect()
    with branch.cursor() as cursor:
        cursor.execute("XA START 'begun'")
        cursor.execute("INSERT INTO d.t VALUES (5, 'xa')")
        result = ansible.run("mysql_read_only", blockers="fail", **table.login)
        assert result["failed"] and "connection %d" % branch.thread_id() in result["msg"]
        assert variables(table) == (0, 0)
        assert not ansible.run("mysql_read_only", blockers="kill", **table.login)["failed"]
        with pytest.raises(pymysql.err.MySQLError):
            cursor.execute("XA END 'begun'")
    assert not table.sql("XA RECOVER")
    assert table.value("SELECT COUNT(*) FROM d.t WHERE a = 5") == 0


def test_a_client_that_gives_up_leaves_no_statement_that_fences_later(table, background, until):
    held = background(table, "LOCK TABLES d.t WRITE", "DO SLEEP(15)")
    until(lambda: held.id in [row["Id"] for row in table.sql("SHOW PROCESSLIST") if row["Command"] == "Query"])
    server = Server(table.login, "source")
    with server.session(read_timeout=2) as session:
        server.identify(session)
        number = session.id
        session.read_timeout = None  # the check of it is not what is tested
        with pytest.raises(MySQLMigrationError, match="did not answer in time.*is not fenced"):
            fence.fence(server, session, lock_wait=60, deadline=60)
    assert variables(table) == (0, 0)
    assert number not in [row["Id"] for row in table.sql("SHOW PROCESSLIST")]
    held.wait()
    held.close()
    assert writable(table) and variables(table) == (0, 0)


def test_a_session_that_gives_up_before_the_lock_does_is_refused(table):
    server = Server(table.login, "source")
    with server.session(read_timeout=2) as session:
        server.identify(session)
        with pytest.raises(MySQLMigrationError, match="longer read_timeout"):
            fence.fence(server, session, lock_wait=5)


def test_an_account_without_the_privilege_is_told_which_one(ansible, table):
    table.quietly("CREATE USER 'tests_weak'@'%' IDENTIFIED BY 'weak'", "GRANT SELECT ON *.* TO 'tests_weak'@'%'")
    login = dict(table.login, login_user="tests_weak", login_password="weak")
    result = ansible.run("mysql_read_only", **login)
    assert result["failed"] and result["code"] == 1227 and "SYSTEM_VARIABLES_ADMIN" in result["msg"]
