# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings come back as they were, accounts reach a fenced target, and canaries prove what a channel says."""

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import canary
from ansible_collections.seamless.migration.plugins.module_utils.mysql.account import Account, Missing
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.settings import RETENTION, Settings
from fakes import OTHER, UUID, FakeServer, error


class Machine(FakeServer):
    """One that shows its variables, and what it has persisted."""

    def __init__(self, preset="9.7", **variables):
        super().__init__(preset, **variables)
        self.on(r"SHOW GLOBAL VARIABLES WHERE Variable_name = '(\w+)'", self._shown)
        self.on(
            r"SELECT VARIABLE_VALUE AS value FROM performance_schema.persisted_variables WHERE.*'(\w+)'$", self._kept
        )
        self.on(r"SET (GLOBAL|PERSIST) `(\w+)` = (.*)$", self._quoted)
        self.on(r"RESET PERSIST IF EXISTS `(\w+)`", lambda found: self.persisted.pop(found.group(1), None) and None)

    def _shown(self, found):
        name = found.group(1)
        return [{"Variable_name": name, "Value": str(self.variables[name])}] if name in self.variables else []

    def _kept(self, found):
        return [{"value": str(self.persisted[found.group(1)])}] if found.group(1) in self.persisted else []

    def _quoted(self, found):
        scope, name, value = found.groups()
        return self._set_one(scope, name, value.strip("'"))


def settings(machine):
    server = machine.server()
    session = server.session()
    return Settings(server.identify(session), session)


def applied(machine, changes):
    one = settings(machine)
    for change in changes:
        one.apply(change)


def test_a_setting_is_persisted_and_comes_back_as_it_was():
    machine = Machine(auto_increment_increment=1)
    changes = settings(machine).plan({"auto_increment_increment": 2}, None)
    applied(machine, changes)
    assert machine.variables["auto_increment_increment"] == 2 and machine.persisted == {"auto_increment_increment": 2}
    assert settings(machine).plan({"auto_increment_increment": 2}, None) == []
    before = {change["name"]: change["before"] for change in changes}
    applied(machine, settings(machine).plan_back(before))
    assert machine.variables["auto_increment_increment"] == 1 and machine.persisted == {}
    assert settings(machine).plan_back(before) == []


def test_a_setting_that_was_persisted_before_is_persisted_again():
    machine = Machine(auto_increment_increment=5)
    machine.persisted["auto_increment_increment"] = 5
    changes = settings(machine).plan({"auto_increment_increment": 2}, None)
    applied(machine, changes)
    applied(machine, settings(machine).plan_back({change["name"]: change["before"] for change in changes}))
    assert machine.persisted == {"auto_increment_increment": 5} and machine.variables["auto_increment_increment"] == 5


def test_switches_are_compared_as_the_server_writes_them():
    machine = Machine(event_scheduler="ON")
    assert settings(machine).plan({"event_scheduler": True}, None) == []
    assert settings(machine).plan({"event_scheduler": False}, None)[0]["after"] == "OFF"


@pytest.mark.parametrize("seconds, wanted", [(86400, [604800]), (0, []), (2592000, [])])
def test_the_binary_log_is_kept_at_least_so_long(seconds, wanted):
    machine = Machine(binlog_expire_logs_seconds=seconds)
    assert [int(change["after"]) for change in settings(machine).plan({}, 168)] == wanted


def test_a_server_of_5_7_counts_days():
    machine = Machine("5.7", expire_logs_days=1)
    changes = settings(machine).plan({}, 30)
    assert [(change["name"], change["after"]) for change in changes] == [("expire_logs_days", "2")]
    applied(machine, changes)
    assert machine.variables["expire_logs_days"] == 2
    assert settings(machine).retention_hours() == 48


def test_days_of_a_my_cnf_from_before_an_upgrade_are_what_8_0_counts_by():
    machine = Machine("8.0.35", expire_logs_days=3, binlog_expire_logs_seconds=0)
    assert settings(machine).retention_hours() == 72.0
    assert settings(machine).plan({}, 72) == []
    changes = settings(machine).plan({}, 168)
    assert [(change["name"], change["after"]) for change in changes] == [("expire_logs_days", "7")]
    applied(machine, changes)
    assert settings(machine).plan({}, 168) == []
    assert settings(Machine("8.0.35", expire_logs_days=3)).retention_hours() == 720.0
    assert settings(Machine("8.0.35", binlog_expire_logs_seconds=0)).retention_hours() == 0.0


def test_rds_keeps_its_log_by_its_procedure_and_nothing_is_put_back_as_nothing():
    machine = Machine("rds-8.4")
    kept = {"value": None}
    machine.on(r"CALL `mysql`.`rds_show_configuration`", lambda _found: [{"name": RETENTION, "value": kept["value"]}])
    machine.on(
        r"CALL `mysql`.`rds_set_configuration`\('binlog retention hours', (\w+)\)",
        lambda found: kept.update(value=None if found.group(1) == "NULL" else found.group(1)),
    )
    changes = settings(machine).plan({}, 168)
    applied(machine, changes)
    assert kept == {"value": "168"} and settings(machine).plan({}, 168) == []
    assert settings(machine).retention_hours() == 168.0
    applied(machine, settings(machine).plan_back({change["name"]: change["before"] for change in changes}))
    assert kept == {"value": None} and settings(machine).retention_hours() is None


def test_other_settings_of_rds_are_told_as_parameters():
    machine = Machine("rds-8.4", auto_increment_increment=1)
    with pytest.raises(MySQLMigrationError, match="parameter group"):
        settings(machine).plan({"auto_increment_increment": 2}, None)


@pytest.mark.parametrize("name, says", [("no such", "no name of one"), ("nosuch", "has none of that name")])
def test_a_name_that_is_no_variable_is_refused(name, says):
    with pytest.raises(MySQLMigrationError, match=says):
        settings(Machine()).plan({name: 1}, None)


# --- the account of the channels ---


def account(machine, password="s3cret-word", host="%", require_ssl=True):
    server = machine.server()
    session = server.session()
    params = {"user": "repl", "host": host, "password": password, "require_ssl": require_ssl}
    return Account(server.identify(session), session, params)


def with_account(machine, row):
    return machine.on(r"SELECT ssl_type.*FROM mysql.user WHERE User = 'repl'", [row] if row else [])


GOOD = {"ssl_type": b"ANY", "repl": "Y", "locked": "N"}


def test_an_account_that_is_not_there_is_made_and_its_password_is_never_shown():
    machine = with_account(FakeServer(), None).on(r"CREATE USER|GRANT", [])
    one = account(machine)
    one.make(one.read(), False)
    assert machine.said_like("CREATE USER 'repl'@'%' IDENTIFIED BY 's3cret-word' REQUIRE SSL")
    assert machine.said_like("GRANT REPLICATION SLAVE")
    assert "s3cret-word" not in repr(one.server.queries)


@pytest.mark.parametrize("row, new_password, says", [
    (GOOD, True, "ALTER USER .* IDENTIFIED BY 's3cret-word' REQUIRE SSL ACCOUNT UNLOCK"),
    (dict(GOOD, locked="Y"), False, "ALTER USER .* REQUIRE SSL ACCOUNT UNLOCK"),
    (dict(GOOD, ssl_type=""), False, "ALTER USER .* REQUIRE SSL"),
    (dict(GOOD, repl="N"), False, "GRANT REPLICATION SLAVE"),
])  # fmt: skip
def test_only_what_is_wrong_is_mended(row, new_password, says):
    machine = with_account(FakeServer(), row).on(r"ALTER USER|GRANT", [])
    one = account(machine)
    one.make(one.read(), new_password)
    changes = machine.said_like("ALTER|GRANT|CREATE")
    assert len(changes) == 1 and machine.said_like(says)


def test_an_account_that_is_right_is_as_wanted():
    one = account(with_account(FakeServer(), GOOD))
    assert one.read() == one.wanted()


def test_an_account_is_dropped():
    machine = FakeServer().on("DROP USER", [])
    account(machine).remove()
    assert machine.said_like("DROP USER 'repl'@'%'")


@pytest.mark.parametrize("answer, host, fits", [
    (None, "%", True), (error(1045, "denied"), "%", False), (error(1045, "denied"), "10.%", None),
    (error(2003, "down"), "%", None),
])  # fmt: skip
def test_a_password_is_tried_by_logging_in(monkeypatch, answer, host, fits):
    machine = FakeServer()
    one = account(machine, host=host)
    open_one = machine.connect

    def connect(**arguments):
        assert (arguments["user"], arguments["password"]) == ("repl", b"s3cret-word")
        if answer:
            raise answer
        return open_one(**arguments)

    machine.connect = connect
    monkeypatch.setattr(
        "ansible_collections.seamless.migration.plugins.module_utils.mysql.account.Server",
        lambda options, name: machine.server(name, **options),
    )
    assert one.password_fits() is fits


# --- accounts that only the source has ---


def rows(*names):
    return [{"user": user, "host": host, "plugin": plugin} for user, host, plugin in names]


SHA2 = "caching_sha2_password"


def both(source_accounts, target_accounts, grants):
    source, target = FakeServer(), FakeServer(server_uuid=OTHER)
    for machine, found in ((source, source_accounts), (target, target_accounts)):
        machine.on(r"SELECT User AS user, Host AS host, plugin FROM mysql.user", found)
    target.on(r"SELECT PLUGIN_NAME", [{"name": SHA2}])
    target.on(r"SHOW PRIVILEGES", [{"Privilege": "Select"}, {"Privilege": "CONNECTION_ADMIN"}])
    source.on(r"SELECT DISTINCT FROM_USER", [{"user": "a_role", "host": "%"}])
    source.on(r"SET SESSION print", [])
    source.on(
        r"SHOW CREATE USER '(\w+)'@'%'",
        lambda found: [{"c": "CREATE USER `%s`@`%%` IDENTIFIED AS 0xSECRET" % found.group(1)}],
    )
    source.on(r"SHOW GRANTS FOR '(\w+)'", lambda found: [{"g": text} for text in grants])
    source.on(r"CREATE USER IF NOT EXISTS|GRANT", [])
    servers = [machine.server(name) for machine, name in ((source, "source"), (target, "target"))]
    sessions = [server.session() for server in servers]
    for server, session in zip(servers, sessions):
        server.identify(session)
    return source, Missing(sessions[0], sessions[1], ["migration_admin"])


def test_accounts_that_the_target_lacks_are_said_once_more_roles_first():
    machine, missing = both(
        rows(("app", "%", SHA2), ("zoe", "%", SHA2), ("a_role", "%", SHA2), ("root", "localhost", SHA2),
             ("mysql.sys", "localhost", SHA2), ("migration_admin", "%", SHA2),
             ("ancient", "%", "mysql_native_password")),
        rows(("app", "%", SHA2)),
        ["GRANT SELECT ON `shop`.* TO `zoe`@`%`"],
    )  # fmt: skip
    names = missing.names()
    assert names == [("a_role", "%"), ("zoe", "%")]
    assert missing.left_out == ["ancient@%: the target has no plugin mysql_native_password"]
    missing.announce(names)
    assert machine.said_like("CREATE USER IF NOT EXISTS `zoe`@`%` IDENTIFIED AS 0xSECRET")
    assert machine.said_like("GRANT SELECT ON `shop`")
    assert "0xSECRET" not in repr(missing.source.server.queries)


def test_privileges_that_the_target_does_not_know_are_left_out_and_told():
    machine, missing = both(
        rows(("zoe", "%", SHA2)), [],
        ["GRANT SELECT, SET_USER_ID ON *.* TO `zoe`@`%`", "GRANT SET_USER_ID ON *.* TO `zoe`@`%` WITH GRANT OPTION"],
    )  # fmt: skip
    missing.announce(missing.names())
    assert machine.said_like("GRANT") == ["GRANT SELECT ON *.* TO `zoe`@`%`"]
    assert len(missing.left_out) == 2 and "SET_USER_ID" in missing.left_out[0]


def test_a_grant_that_the_administrator_may_not_give_is_told():
    machine, missing = both(rows(("zoe", "%", SHA2)), [], ["GRANT SELECT ON `shop`.* TO `zoe`@`%`"])
    machine.on("GRANT SELECT", error(1044, "Access denied"))
    missing.announce(missing.names())
    assert missing.left_out == ["zoe@%: GRANT SELECT ON `shop`.*: Access denied"]


# --- canaries and the bridge ---


def session(machine):
    server = machine.server()
    one = server.session()
    server.identify(one)
    return one


def test_a_row_is_written_and_awaited(monkeypatch):
    monkeypatch.setattr(canary, "PAUSE", 0)
    source, target = FakeServer(), FakeServer(server_uuid=OTHER)
    source.on(r"CREATE|INSERT", [])
    answers = [error(1146, "no table"), [{"n": 0}], [{"n": 1}]]
    target.on(r"SELECT COUNT", lambda _found: answers.pop(0))
    name = canary.send(session(source))
    assert len(name) == 32 and source.said_like("INSERT INTO seamless_migration.arrivals")
    assert canary.await_row(session(target), name, 10) >= 0


def test_a_row_that_does_not_arrive_names_the_error_of_the_channel():
    target = FakeServer().on(r"SELECT COUNT", [{"n": 0}])
    target.channel(Replica_SQL_Running="No", Last_SQL_Errno=1062, Last_SQL_Error="Duplicate entry")
    with pytest.raises(MySQLMigrationError, match="applier of channel '' does not run: Duplicate entry"):
        canary.await_row(session(target), "a" * 32, 0)


def test_another_error_while_waiting_for_a_row_is_told():
    target = FakeServer().on(r"SELECT COUNT", error(1227, "no"))
    with pytest.raises(MySQLMigrationError, match="1227"):
        canary.await_row(session(target), "a" * 32, 5)


def test_a_server_that_does_not_follow_is_not_waited_for():
    source, target = FakeServer(gtid_executed=UUID + ":1-5"), FakeServer(server_uuid=OTHER)
    assert canary.arrived(session(source), session(target), 0)
    target.channel(Source_UUID=UUID)
    assert not canary.arrived(session(source), session(target), 0)
    target.variables["gtid_executed"] = UUID + ":1-5"
    assert canary.arrived(session(source), session(target), 0)


def test_the_schema_of_the_migration_is_seen():
    assert canary.exists(session(FakeServer().on(r"SELECT COUNT", [{"n": 1}])))


def test_conflicts_of_two_writers_are_told_from_other_errors():
    machine = FakeServer().on(r"SELECT CHANNEL_NAME", [
        {"channel": "", "code": 1062, "text": "Duplicate entry '1'"}, {"channel": "x", "code": 1205, "text": "wait"},
    ])  # fmt: skip
    found = canary.conflicts(session(machine))
    assert len(found) == 1 and "Duplicate entry" in found[0]


def test_a_stopped_channel_is_told_without_an_error():
    machine = FakeServer()
    machine.channel(Replica_IO_Running="No")
    assert canary.problems_of_channels(session(machine)) == ["the receiver of channel '' does not run: it was stopped"]


def test_unique_keys_without_a_counter_can_collide():
    machine = FakeServer()
    machine.on(r"SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, INDEX_NAME", [
        {"s": "shop", "t": "orders", "k": "PRIMARY", "c": "id"},
        {"s": "shop", "t": "people", "k": "email", "c": "email"},
    ])  # fmt: skip
    machine.on(r"SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, COLUMN_NAME", [{"s": "shop", "t": "orders", "c": "id"}])
    assert canary.collisions(session(machine), ["shop"]) == ["shop.people.email"]


def test_sessions_that_count_by_old_settings_are_listed():
    machine = FakeServer().on(r"SELECT DISTINCT t.PROCESSLIST_ID", [{"id": 7, "user": "app", "host": "h"}])
    assert canary.stale_sessions(session(machine)) == [{"id": 7, "user": "app", "host": "h"}]
