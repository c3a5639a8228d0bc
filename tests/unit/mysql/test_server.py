# SPDX-License-Identifier: GPL-3.0-or-later
import pymysql
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import options, server
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError, explain
from fakes import FakeServer, error

HOSTILE = ["it's", 'say "x"', "back\\slash", "50%", "%s%(x)s", "ü密\u2028", "a\\'; DROP TABLE t; -- ", "`tick`", ""]


def identified(preset, **options_):
    machine = FakeServer(preset)
    one = machine.server(**options_)
    with one.session() as session:
        one.identify(session)
    return one


@pytest.mark.parametrize(
    ("preset", "version", "flavour", "platform"),
    [
        ("5.7", (5, 7, 44), "mysql", "mysql"),
        ("8.0.21", (8, 0, 21), "mysql", "mysql"),
        ("percona", (8, 0, 36), "percona", "mysql"),
        ("8.4", (8, 4, 3), "mysql", "mysql"),
        ("9.7", (9, 7, 4), "mysql", "mysql"),
        ("rds-8.0", (8, 0, 35), "rds", "rds"),
        ("rds-8.4", (8, 4, 3), "rds", "rds"),
    ],
)
def test_a_server_says_what_it_is(preset, version, flavour, platform):
    one = identified(preset)
    assert (one.version, one.flavour, one.platform) == (version, flavour, platform)
    assert one.server_id == 1 and one.uuid


def test_a_server_with_the_procedures_is_no_rds_when_the_user_says_so():
    assert identified("rds-8.0", platform="mysql").platform == "mysql"


@pytest.mark.parametrize("comment", ["mariadb.org binary distribution", "Debian 12"])
def test_mariadb_is_refused_by_name_and_with_the_reason(comment):
    machine = FakeServer("mariadb")
    machine.comment = comment
    with pytest.raises(MySQLMigrationError, match=r"source db.example.com port 3306: it is MariaDB .*GTIDs") as caught:
        one = machine.server()
        one.identify(one.session())
    assert "Use MySQL" in str(caught.value)
    assert not [said for said in machine.said if not said.startswith("SELECT VERSION")]


def test_a_server_that_is_too_old_is_refused():
    machine = FakeServer("5.7")
    machine.version_text = "5.6.51"
    with pytest.raises(MySQLMigrationError, match="5.6.51, which cannot turn GTIDs on"):
        one = machine.server()
        one.identify(one.session())


def test_a_version_that_is_none_is_told():
    with pytest.raises(MySQLMigrationError, match="'banana'"):
        server.version_of("banana")


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_arrive_as_one_quoted_literal(value):
    machine = FakeServer().on(r"SELECT 'x' LIKE '%', ", [{"a": 1}])
    with machine.server().session() as session:
        assert session.value("SELECT 'x' LIKE '%%', %s", (value,)) == 1
        assert session.value("SELECT 'x' LIKE '%%', %(v)s", {"v": value}) == 1
    literal = pymysql.converters.escape_item(value, "utf8mb4")
    assert machine.said == ["SELECT 'x' LIKE '%', " + literal] * 2


@pytest.mark.parametrize("name", ["plain", "with`tick", "50%s", "a b", "'"])
def test_names_are_quoted_and_can_be_arguments(name):
    machine = FakeServer().on("SELECT", [{"a": 1}])
    with machine.server().session() as session:
        session.rows("SELECT * FROM %s WHERE a = %s", (server.identifier(name), "x%s"))
    assert machine.said == ["SELECT * FROM `%s` WHERE a = 'x%%s'" % name.replace("`", "``")]


def test_a_statement_without_arguments_is_sent_as_it_is():
    machine = FakeServer().on("SELECT", [{"a": 1}])
    with machine.server().session() as session:
        session.rows("SELECT '%s 100%'")
    assert machine.said == ["SELECT '%s 100%'"]


def test_more_arguments_than_places_are_an_error_of_the_caller():
    with FakeServer().server().session() as session:
        with pytest.raises(TypeError):
            session.rows("SELECT %s", (1, 2))


def test_secrets_are_masked_in_queries_and_in_errors():
    machine = FakeServer()
    one = machine.server()
    with one.session() as session:
        with pytest.raises(MySQLMigrationError) as caught:
            session.run("GRUMBLE %s, %s", ("public", "p4ss'word"), secret=(1,))
    assert one.queries == ["GRUMBLE 'public', '********'"]
    assert "p4ss" not in str(caught.value) + caught.value.server_text
    assert machine.said == ["GRUMBLE 'public', 'p4ss\\'word'"]


def test_secrets_of_a_procedure_are_masked_by_their_place():
    machine = FakeServer("rds-8.4")
    one = machine.server()
    with one.session() as session:
        session.call("mysql.rds_set_external_source_with_auto_position", ("h", 1, "u", "pw", 1, 0), secret=(3,))
    assert one.queries == [
        "CALL `mysql`.`rds_set_external_source_with_auto_position`('h', 1, 'u', '********', 1, 0)"
    ]


def test_all_result_sets_of_a_procedure_are_read():
    machine = FakeServer().on("CALL", [[{"a": 1}], [], [{"b": 2}]])
    with machine.server().session() as session:
        assert session.call("mysql.x") == [{"a": 1}, {"b": 2}]
        assert session.rows("CALL mysql.x()") == [{"a": 1}]


def test_what_reads_is_kept_once_and_what_writes_each_time():
    machine = FakeServer().on("SELECT|FLUSH", [{"a": 1}])
    one = machine.server()
    with one.session() as session:
        for _again in range(3):
            session.rows("SELECT 1")
            session.run("FLUSH LOGS")
    assert one.queries == ["SELECT 1", "FLUSH LOGS", "FLUSH LOGS", "FLUSH LOGS"]


def test_an_error_of_the_server_comes_with_number_meaning_and_advice():
    machine = FakeServer().on("FLUSH", error(1227, "Access denied; you need RELOAD"))
    with machine.server("target").session() as session:
        with pytest.raises(MySQLMigrationError) as caught:
            session.run("FLUSH  LOGS")
    assert str(caught.value) == (
        "Failed to run FLUSH LOGS on target db.example.com port 3306: Access denied; you need RELOAD (1227). "
        "The account lacks a privilege. Grant what the text names."
    )
    assert (caught.value.code, caught.value.server_text) == (1227, "Access denied; you need RELOAD")


def test_a_connection_that_does_not_come_up_names_the_server_and_not_the_password():
    def refuse(**_arguments):
        raise error(1045, "Access denied for user 'admin'@'10.0.0.9' (using password: YES)")

    one = server.Server({"login_host": "h", "login_user": "admin", "login_password": "s3cret"}, "source", refuse)
    with pytest.raises(MySQLMigrationError, match="Failed to connect to source h port 3306 as admin: Access") as caught:
        one.session()
    assert "s3cret" not in str(caught.value)
    assert caught.value.code == 1045


@pytest.mark.parametrize("trouble", [FileNotFoundError(2, "No such file"), RuntimeError("cryptography is required")])
def test_other_trouble_of_the_library_is_told_too(trouble):
    def refuse(**_arguments):
        raise trouble

    with pytest.raises(MySQLMigrationError, match="No such file|cryptography"):
        server.Server({}, "source", refuse).session()


def test_a_config_file_that_is_not_there_is_refused():
    with pytest.raises(MySQLMigrationError, match="no file /nonexistent/my.cnf"):
        FakeServer().server(config_file="/nonexistent/my.cnf").session()


def test_options_become_arguments_of_the_library():
    found = server.library_arguments(
        {"login_password": "密", "ca_cert": "/ca.pem", "check_hostname": False, "login_port": 33060}
    )
    assert found["password"] == "密".encode()
    assert found["ssl"] == {"ca": "/ca.pem", "check_hostname": False}
    assert found["port"] == 33060 and found["autocommit"] is True
    assert "ssl" not in server.library_arguments({})


def test_kill_ends_the_own_connection_from_another_one():
    machine = FakeServer()
    session = machine.server().session()
    assert session.kill() is True
    assert machine.killed == [session.id]


def test_kill_of_a_connection_that_is_gone_is_no_error():
    machine = FakeServer().on("KILL", error(1094, "Unknown thread id: 7"))
    assert machine.server().session().kill() is False
    machine.on("KILL", error(1095, "You are not owner of thread 7"))
    with pytest.raises(MySQLMigrationError, match="CONNECTION_ADMIN"):
        machine.server().session().kill()


def test_rds_ends_connections_by_its_procedure():
    machine = FakeServer("rds-8.0")
    one = machine.server()
    with one.session() as session:
        one.identify(session).end_connection(session, 42)
    assert machine.killed == [42]
    assert machine.said[-1] == "CALL `mysql`.`rds_kill`(42)"


@pytest.mark.parametrize(
    ("code", "text", "meaning", "advice"),
    [
        (1236, "the master has purged binary logs containing GTIDs", "no longer has", "Seed"),
        (13114, "the source purged required binary logs", "no longer has", "Seed"),
        (13114, "Replica has more GTIDs than the source has", "does not have", "seed"),
        (13114, "log event entry exceeded max_allowed_packet", "larger", "max_allowed_packet"),
        (2061, "Authentication requires secure connection.", "caching_sha2", "get_source_public_key"),
        (2003, "Can't connect to MySQL server on 'x:3306' (111)", "Nothing listens", "bind-address"),
        (2003, "Can't connect to MySQL server on 'x:3306' (110)", "cannot be reached", "firewall"),
        (2026, "SSL connection error: certificate verify failed", "certificate", "authority"),
        (1045, "Access denied for user", "wrong", "Check the account"),
        (13117, "source and replica have equal MySQL server UUIDs", "server_uuid", "auto.cnf"),
        (13117, "source and replica have equal MySQL server ids", "server_id", "server_id"),
        (13120, "Source command COM_REGISTER_REPLICA failed: Access denied", "refused", "REPLICATION SLAVE"),
        (1062, "Duplicate entry '1' for key 't2.PRIMARY'", "diverged", "auto_increment"),
        (1782, "@@SESSION.GTID_NEXT cannot be set to ANONYMOUS", "without GTID", "ON_PERMISSIVE"),
    ],
)
def test_errors_of_replication_say_what_they_mean_and_what_to_do(code, text, meaning, advice):
    found = explain(code, text)
    assert meaning in found[0]
    assert advice in found[1]


def test_an_unknown_error_has_no_meaning():
    assert explain(9999, "boo") == ("", "")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"login_port": 0}, "option login_port: 0"),
        ({"source": {"login_host": "a", "login_port": 70000}}, "option source.login_port: 70000"),
        ({"connect_timeout": 0}, "option connect_timeout"),
        ({"client_key": "/k"}, "no client_cert"),
        ({"login_host": "a\nb"}, "option login_host"),
    ],
)
def test_options_that_cannot_be_are_refused(params, message):
    with pytest.raises(MySQLMigrationError, match=message):
        options.check_options(params)


def test_a_password_may_hold_anything():
    options.check_options({"login_password": "a\nb", "login_port": 3306})


class Module:
    """As much of an AnsibleModule as run_module uses."""

    params: dict = {}

    def exit_json(self, **result):
        self.result = result

    def fail_json(self, **result):
        self.result = result
        raise SystemExit(1)


def test_a_module_ends_with_its_result_and_queries():
    module = Module()
    options.run_module(module, lambda: {"changed": False}, lambda: ["SELECT 1"])
    assert module.result == {"changed": False, "queries": ["SELECT 1"]}


def test_a_module_fails_with_the_error_and_queries():
    def work():
        raise MySQLMigrationError("Failed to x. Do y.", code=1205, server_text="Lock wait")

    module = Module()
    with pytest.raises(SystemExit):
        options.run_module(module, work, lambda: ["SELECT 1"])
    assert module.result == {
        "msg": "Failed to x. Do y.",
        "code": 1205,
        "server_text": "Lock wait",
        "queries": ["SELECT 1"],
    }


def test_a_missing_library_is_told(monkeypatch):
    monkeypatch.setattr(options, "LIBRARY_ERROR", "Traceback")
    module = Module()
    with pytest.raises(SystemExit):
        options.run_module(module, dict)
    assert "PyMySQL" in module.result["msg"]
    monkeypatch.setattr(server, "LIBRARY_ERROR", "Traceback")
    with pytest.raises(MySQLMigrationError, match="PyMySQL is missing"):
        FakeServer().server().session()
