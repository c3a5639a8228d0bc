# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, passwords and values with everything in them that breaks a statement that was pasted together."""

import json

import pytest
from conftest import PASSWORD, REPL, literal, until

# quotes, a backslash, signs of percent that look like places, a comment, letters of two and three bytes
NAME = "h0st'il\"e`\\ %s %%(x) ü密"
SECRET = "p'a\"s`s\\ %s%(x)s%% ü密;-- /*"
HOST = "x', SOURCE_PASSWORD='y"


@pytest.fixture
def administrator():
    """administrator(node) makes an administrator with a hostile name and password, and returns its login."""

    def make(node):
        node.quietly("CREATE USER %s@'%%' IDENTIFIED BY %s" % (literal(NAME), literal(SECRET)))
        for row in node.sql("SHOW GRANTS"):
            grant = next(iter(row.values()))
            head, _to, _whom = grant.rpartition(" TO `")
            node.quietly("%s TO %s@'%%' WITH GRANT OPTION" % (head, literal(NAME)))
        return dict(node.login, login_user=NAME, login_password=SECRET)

    return make


def told(result):
    assert not result["failed"], result["msg"]
    assert SECRET not in json.dumps(result, ensure_ascii=False) and json.dumps(SECRET) not in json.dumps(result)
    return result


def test_every_module_works_for_an_administrator_with_a_hostile_name(ansible, old, new, administrator):
    source, target = administrator(old), administrator(new)
    account = {"user": REPL, "password": PASSWORD, "require_ssl": True}
    told(ansible.run("mysql_gtid", **source))
    told(ansible.run("mysql_replication_account", **dict(source, **account)))
    told(ansible.run("mysql_settings", settings={"max_connections": 155}, binlog_retention_hours=1000, **source))
    told(ansible.run("mysql_read_only", **target))
    told(ansible.run("mysql_replica", source_host=old.address, source_user=REPL, source_password=PASSWORD, **target))
    told(ansible.run("mysql_replica", channel="t'h`e \"other\\ %s", source_host=old.address, source_user=REPL,
                     source_password=PASSWORD, state="present", **target))  # fmt: skip
    info = told(ansible.run("mysql_replication_info", peer=source, **target))["info"]
    assert {one["channel_name"]: one["running"] for one in info["channels"]}[""]
    both = {"source": source, "target": target}
    told(ansible.run("mysql_accounts", **both))
    told(ansible.run("mysql_canary", state="arrived", **both))
    told(ansible.run("mysql_guardrails", phase="replicating", **both))
    told(ansible.run("mysql_bridge_info", schemas=[NAME], **both))
    told(ansible.run("mysql_compare", **both))
    told(ansible.run("mysql_canary", state="absent", **both))


def test_an_account_for_replication_with_a_hostile_name_is_made_used_and_dropped(ansible, old, new):
    account = dict(old.login, user="tests" + NAME[:20], password=SECRET)
    _promised, done = ansible.settle("mysql_replication_account", **account)
    assert SECRET not in json.dumps(done, ensure_ascii=False)
    result = told(ansible.run("mysql_replica", source_host=old.address, source_user=account["user"],
                              source_password=SECRET, **new.login))  # fmt: skip
    assert result["channel"]["source_user"] == account["user"]
    told(ansible.run("mysql_replica", state="absent", **new.login))
    ansible.settle("mysql_replication_account", **dict(old.login, state="absent", user=account["user"]))
    assert not old.sql("SELECT User FROM mysql.user WHERE User LIKE 'testsh0st%'")


def test_accounts_with_hostile_names_come_along(ansible, old, new, follow):
    follow(new)
    old.quietly("CREATE USER %s@'10.%%' IDENTIFIED BY %s" % (literal(NAME), literal(SECRET)), "CREATE DATABASE d")
    old.quietly("GRANT SELECT ON `d`.* TO %s@'10.%%'" % literal(NAME))
    result = told(ansible.run("mysql_accounts", source=old.login, target=new.login))
    assert "%s@10.%%" % NAME in result["accounts"] and result["left_out"] == []
    found = [node.value("SELECT authentication_string FROM mysql.user WHERE User = %s" % literal(NAME))
             for node in (old, new)]  # fmt: skip
    assert found[0] == found[1]
    assert "`d`" in json.dumps(new.sql("SHOW GRANTS FOR %s@'10.%%'" % literal(NAME)))


def test_a_hostile_host_is_a_name_that_is_not_found(ansible, old, new):
    wanted = {"source_host": HOST, "source_user": REPL, "source_password": PASSWORD}
    result = ansible.run("mysql_replica", state="present", **dict(new.login, **wanted))
    assert not result["failed"] and result["channel"]["source_host"] == HOST
    assert new.value("SELECT User_password FROM mysql.slave_master_info") in (PASSWORD, PASSWORD.encode())


@pytest.mark.parametrize(
    "settings", [{"max_connections = 1; -- ": "1"}, {"sql_mode": NAME}, {"max_connections": "1 OR 1"}]
)
def test_hostile_settings_are_refused_and_nothing_is_changed(ansible, old, settings):
    before = old.sql("SELECT @@GLOBAL.max_connections AS m, @@GLOBAL.sql_mode AS s")
    result = ansible.run("mysql_settings", settings=settings, **old.login)
    assert result["failed"] and result["msg"]
    assert old.sql("SELECT @@GLOBAL.max_connections AS m, @@GLOBAL.sql_mode AS s") == before


@pytest.mark.parametrize("value", ["'; DROP DATABASE d; -- ", NAME])
def test_hostile_gtid_sets_and_tables_are_refused(ansible, old, new, follow, value):
    old.sql("CREATE DATABASE d")
    follow(new)
    until(lambda: new.sql("SHOW DATABASES LIKE 'd'"))
    assert ansible.run("mysql_replica", start_until=value, **new.login)["failed"]
    assert ansible.run("mysql_replication_info", heartbeat_table="d." + value, **new.login)["failed"]
    assert new.sql("SHOW DATABASES LIKE 'd'")


def test_an_endpoint_takes_a_hostile_name_and_password_by_its_procedure(ansible, old, endpoint):
    # the procedures here carry Latin-1 only; what real ones carry is not known
    name, secret = NAME.replace("密", "é"), SECRET.replace("密", "é")
    old.quietly("CREATE USER %s@'%%' IDENTIFIED BY %s" % (literal(name), literal(secret)))
    old.quietly("GRANT REPLICATION SLAVE ON *.* TO %s@'%%'" % literal(name))
    result = told(ansible.run("mysql_replica", source_host=old.address, source_user=name, source_password=secret,
                              **endpoint.login))  # fmt: skip
    assert secret not in json.dumps(result, ensure_ascii=False)
    assert result["channel"]["source_user"] == name and result["channel"]["replica_io_running"] == "Yes"
