# SPDX-License-Identifier: GPL-3.0-or-later
"""The same modules on endpoints of RDS: by procedures, under both of their names, without the privileges."""

import json
import subprocess
import threading

from conftest import LAB, PASSWORD, REPL, ROOT, until

READ_ONLY = (
    "CREATE PROCEDURE mysql.rds_set_read_only(IN p_on tinyint) SQL SECURITY DEFINER"
    " BEGIN IF p_on THEN SET GLOBAL read_only = 1; ELSE SET GLOBAL read_only = 0; END IF; END"
)


def wanted(old, **changes):
    return dict({"source_host": old.address, "source_user": REPL, "source_password": PASSWORD}, **changes)


def test_a_channel_is_made_stopped_and_removed_by_procedures(ansible, old, endpoint):
    _promised, done = ansible.settle("mysql_replica", **dict(endpoint.login, **wanted(old)))
    assert done["channel"]["replica_io_running"] == done["channel"]["replica_sql_running"] == "Yes"
    assert not [text for text in done["queries"] if text.startswith(("CHANGE", "START", "STOP"))]
    old.sql("CREATE DATABASE d")
    until(lambda: endpoint.sql("SHOW DATABASES LIKE 'd'"))
    _promised, done = ansible.settle("mysql_replica", **dict(endpoint.login, **wanted(old, source_delay=2)))
    assert done["channel"]["sql_delay"] == 2
    ansible.settle("mysql_replica", state="stopped", **endpoint.login)
    ansible.settle("mysql_replica", state="absent", **endpoint.login)
    assert not endpoint.sql("SHOW REPLICA STATUS")


def test_a_wrong_password_is_told_as_the_server_says_it_and_not_as_the_procedure_does(ansible, old, endpoint):
    options = dict(endpoint.login, timeout=60, **wanted(old, source_password="wrong"))
    result = ansible.run("mysql_replica", **options)
    assert result["failed"] and result["code"] == 1045 and "Check the account" in result["msg"], result


def test_what_the_procedures_do_not_take_is_refused_before_anything_is_done(ansible, old, endpoint):
    result = ansible.run("mysql_replica", **dict(endpoint.login, **wanted(old, get_source_public_key=True)))
    assert result["failed"] and "take no get_source_public_key" in result["msg"]
    assert not endpoint.sql("SHOW REPLICA STATUS")


def test_the_password_is_not_seen_while_a_procedure_runs(ansible, old, endpoint):
    seen, over = [], threading.Event()

    def look():
        connection = endpoint.connect()
        with connection.cursor() as cursor:
            while not over.is_set():
                cursor.execute("SHOW FULL PROCESSLIST")
                seen.extend(row["Info"] for row in cursor.fetchall() if row["Info"] and "rds_set" in row["Info"])
        connection.close()

    looker = threading.Thread(target=look)
    looker.start()
    try:
        result = ansible.run("mysql_replica", **dict(endpoint.login, **wanted(old)))
    finally:
        over.set()
        looker.join()
    assert not result["failed"], result["msg"]
    assert PASSWORD not in json.dumps(result)
    assert not [text for text in seen if PASSWORD in text]


def test_without_a_procedure_the_parameter_is_named_and_somebodys_change_is_waited_for(ansible, endpoint):
    refused = ansible.run("mysql_read_only", parameter_group="shop", **endpoint.login)
    assert refused["failed"]
    assert "--db-parameter-group-name shop" in refused["msg"] and "ParameterName=read_only" in refused["msg"]
    parameter = [str(ROOT / "lab" / "lab"), "rds-parameter", "--name", LAB, endpoint.name, "read_only"]
    try:
        changing = subprocess.Popen([*parameter, "1"])
        done = ansible.run("mysql_read_only", await_parameter=True, timeout=120, **endpoint.login)
        changing.wait(120)
        assert not done["failed"] and done["fenced"], done
        assert not ansible.run("mysql_read_only", **endpoint.login)["changed"]
    finally:
        subprocess.run([*parameter, "0"], check=True, timeout=120)


def test_the_procedure_is_used_where_there_is_one(ansible, endpoint):
    script = "DELIMITER ;;\\nSET SESSION sql_log_bin = 0;;\\n%s;;\\n" % READ_ONLY
    endpoint.host("printf '%s' | mysql" % script)
    _promised, done = ansible.settle("mysql_read_only", **endpoint.login)
    assert done["fenced"] and "CALL `mysql`.`rds_set_read_only`(1)" in done["queries"]
    assert endpoint.value("SELECT @@GLOBAL.read_only") == 1
    ansible.settle("mysql_read_only", state="open", **endpoint.login)


def test_gtids_that_are_on_need_nothing_and_the_parameters_are_named_where_they_are_not(ansible, endpoint):
    assert not ansible.run("mysql_gtid", **endpoint.login)["changed"]
    refused = ansible.run("mysql_gtid", state="off", **endpoint.login)
    assert refused["failed"] and "parameter group" in refused["msg"]
    assert endpoint.value("SELECT @@GLOBAL.gtid_mode") == "ON"


def test_an_endpoint_that_keeps_no_binary_logs_is_a_danger_and_one_that_does_is_none(ansible, new, endpoint):
    def purge():
        return ansible.run("mysql_replication_info", peer=endpoint.login, **new.login)["info"]["purge"]

    assert purge()["danger"] and purge()["estimate"] == "not kept"
    endpoint.sql("CALL mysql.rds_set_configuration('binlog retention hours', 168)")
    found = purge()
    assert not found["danger"] and found["retention_hours"] == 168.0
