# SPDX-License-Identifier: GPL-3.0-or-later
"""A channel between two real servers: what changes it, what it must survive, and what it says when it cannot run."""

import json
import threading

import pytest
from conftest import PASSWORD, REPL


def wanted(old, **changes):
    return dict({"source_host": old.address, "source_user": REPL, "source_password": PASSWORD}, **changes)


def running(node, channel=""):
    row = node.sql("SHOW REPLICA STATUS FOR CHANNEL '%s'" % channel)[0]
    return row["Replica_IO_Running"], row["Replica_SQL_Running"]


def failing(ansible, node, code, advice, **options):
    """The module fails with the error and its advice. Returns the result."""
    result = ansible.run("mysql_replica", **dict(node.login, timeout=30, **options))
    assert result["failed"] and result["code"] == code, result
    assert advice in result["msg"], result["msg"]
    return result


def test_a_channel_is_made_and_check_mode_says_so_before(ansible, old, new, until):
    ansible.settle("mysql_replica", **dict(new.login, **wanted(old, source_ssl_ca="/etc/mysql/tls/ca.pem")))
    assert running(new) == ("Yes", "Yes")
    old.sql("CREATE DATABASE d")
    until(lambda: new.sql("SHOW DATABASES LIKE 'd'"))


def test_each_setting_is_changed_and_the_applier_runs_on_where_it_may(ansible, old, new, follow):
    follow(new)
    applier = "SELECT PROCESSLIST_ID FROM performance_schema.threads WHERE NAME = 'thread/sql/replica_sql'"
    before = new.value(applier)
    options = {
        "source_ssl_ca": "/etc/mysql/tls/ca.pem",
        "source_ssl_verify": True,
        "source_retry_count": 7,
        "source_connect_retry": 3,
        "source_heartbeat_period": 2.5,
        "get_source_public_key": True,
    }
    _promised, done = ansible.settle("mysql_replica", **dict(new.login, **wanted(old, **options)))
    assert done["steps"][0] == "stop receiver" and new.value(applier) == before
    _promised, done = ansible.settle("mysql_replica", **dict(new.login, **wanted(old, source_delay=1, **options)))
    assert done["steps"][0] == "stop applier"
    assert done["channel"]["sql_delay"] == 1


def test_channels_with_names_are_made_stopped_and_removed(ansible, old, new):
    login = dict(new.login, channel="way_back")
    ansible.settle("mysql_replica", **dict(login, **wanted(old)))
    assert running(new, "way_back") == ("Yes", "Yes")
    ansible.settle("mysql_replica", state="stopped", **login)
    assert running(new, "way_back") == ("No", "No")
    ansible.settle("mysql_replica", state="absent", **login)
    assert not new.sql("SHOW REPLICA STATUS")


def test_a_new_password_is_noticed_and_set(ansible, old, new, follow):
    follow(new)
    old.quietly("ALTER USER '%s'@'%%' IDENTIFIED BY 'another'" % REPL)
    result = ansible.run("mysql_replica", **dict(new.login, **wanted(old, source_password="another")))
    assert not result["failed"] and result["password_changed"], result
    assert running(new) == ("Yes", "Yes")


def test_a_wrong_password_is_told_and_mended_by_the_next_run(ansible, old, new):
    failing(ansible, new, 1045, "Check the account", **wanted(old, source_password="wrong"))
    assert ansible.run("mysql_replica", **dict(new.login, **wanted(old)))["changed"]
    assert running(new) == ("Yes", "Yes")


def test_a_missing_grant_is_told(ansible, old, new):
    old.quietly("REVOKE REPLICATION SLAVE ON *.* FROM '%s'@'%%'" % REPL)
    failing(ansible, new, 13120, "GRANT REPLICATION SLAVE", **wanted(old))


def test_no_tls_with_caching_sha2_is_told_and_the_public_key_mends_it(ansible, old, new):
    old.sql("FLUSH LOCAL PRIVILEGES")  # forgets whom it knows without the whole password
    failing(ansible, new, 2061, "get_source_public_key", **wanted(old, source_ssl=False))
    options = wanted(old, source_ssl=False, get_source_public_key=True)
    assert not ansible.run("mysql_replica", **dict(new.login, **options))["failed"]


def test_a_closed_port_is_told(ansible, old, new):
    failing(ansible, new, 2003, "bind-address", **wanted(old, source_port=3307))


def test_the_same_server_id_is_told(ansible, old, new):
    number = new.value("SELECT @@server_id")
    new.sql("SET GLOBAL server_id = %d" % old.value("SELECT @@server_id"))
    try:
        failing(ansible, new, 13117, "server_id", **wanted(old))
    finally:
        new.sql("SET GLOBAL server_id = %d" % number)


def test_the_same_server_uuid_is_told(ansible, old, new):
    cnf = "/var/lib/mysql/auto.cnf"
    uuid = old.value("SELECT @@server_uuid")
    new.host("systemctl stop mysql; cp -p %s %s.tests" % (cnf, cnf))
    new.host("sed -i 's/^server-uuid=.*/server-uuid=%s/' %s" % (uuid, cnf))
    try:
        new.host("systemctl start mysql")
        new.await_up()
        failing(ansible, new, 13117, "auto.cnf", **wanted(old))
        new.reset()
    finally:
        new.host("systemctl stop mysql; mv %s.tests %s; systemctl start mysql" % (cnf, cnf))
        new.await_up()


@pytest.mark.parametrize("running_before", [False, True])
def test_purged_transactions_are_told_with_the_remedy(ansible, old, new, follow, running_before):
    old.sql("CREATE DATABASE d")
    if running_before:
        follow(new)
        new.sql("STOP REPLICA")
    old.sql("CREATE TABLE d.t (a INT PRIMARY KEY)", "FLUSH BINARY LOGS")
    last = old.sql("SHOW BINARY LOGS")[-1]["Log_name"]
    old.sql("PURGE BINARY LOGS TO '%s'" % last)
    info = ansible.run("mysql_replication_info", peer=old.login, **new.login)["info"]
    assert info["purge"]["danger"] and info["purge"]["missing"] and info["purge"]["hours_left"] == 0
    result = failing(ansible, new, 13114, "Seed the replica again", **wanted(old))
    assert info["purge"]["missing"] in result["server_text"]


def test_a_source_without_gtids_is_told_with_the_way_to_them(ansible, old, new):
    old.climb("OFF")
    failing(ansible, new, 13117, "mysql_gtid", **wanted(old))


def test_a_target_without_gtids_cannot_find_its_position_and_keeps_what_it_had(ansible, old, new):
    new.climb("OFF")
    failing(ansible, new, 1777, "mysql_gtid", **wanted(old))


def test_a_conflict_stops_the_applier_and_is_told_with_the_key(ansible, old, new, follow, until):
    old.sql("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)")
    follow(new)
    until(lambda: new.sql("SHOW DATABASES LIKE 'd'") and new.sql("SHOW TABLES FROM d"))
    new.quietly("INSERT INTO d.t VALUES (1)")
    old.sql("INSERT INTO d.t VALUES (1)")
    until(lambda: running(new)[1] == "No")
    result = failing(ansible, new, 1062, "diverged", **wanted(old))
    assert "Duplicate entry '1'" in result["server_text"]
    info = ansible.run("mysql_replication_info", **new.login)["info"]
    assert "Duplicate entry '1'" in info["channels"][0]["errors"][0]


def test_the_channel_runs_up_to_a_set_and_stops_there(ansible, old, new, follow):
    old.sql("CREATE DATABASE d", "CREATE TABLE d.t (a INT PRIMARY KEY)")
    follow(new, state="present")
    until = old.value("SELECT @@GLOBAL.gtid_executed")
    old.sql("INSERT INTO d.t VALUES (1)")
    options = dict(new.login, start_until=until)
    _promised, done = ansible.settle("mysql_replica", **options)
    assert done["channel"]["replica_sql_running"] == "No"
    assert new.value("SELECT @@GLOBAL.gtid_executed") == until


def test_no_password_is_seen_in_results_processes_or_logs(ansible, old, new):
    """Looks at the list of processes on the server and at what the module returns, while the password is set often."""
    secret = "a-Secret-that-nobody-sees"
    new.sql("SET GLOBAL general_log = ON")
    seen, over = [], threading.Event()

    def look():
        connection = new.connect()
        with connection.cursor() as cursor:
            while not over.is_set():
                cursor.execute("SELECT INFO FROM performance_schema.processlist WHERE ID <> CONNECTION_ID()")
                seen.extend(row["INFO"] for row in cursor.fetchall() if row["INFO"])
        connection.close()

    looker = threading.Thread(target=look)
    looker.start()
    try:
        old.quietly("ALTER USER '%s'@'%%' IDENTIFIED BY '%s'" % (REPL, secret))
        for _again in range(3):
            options = dict(wanted(old, source_password=secret), update_password="always")
            result = ansible.run("mysql_replica", **dict(new.login, **options))
            assert not result["failed"], result["msg"]
            assert secret not in json.dumps(result) and new.login["login_password"] not in json.dumps(result)
    finally:
        over.set()
        looker.join()
        log = new.value("SELECT @@GLOBAL.general_log_file")
        new.sql("SET GLOBAL general_log = OFF")
    assert not [text for text in seen if secret in text]
    assert new.host("grep -rlF -- %s %s /var/log/mysql /var/lib/mysql/*.log" % (secret, log), check=False) == ""
