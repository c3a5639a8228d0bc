# SPDX-License-Identifier: GPL-3.0-or-later
"""Two real servers, brought back to nothing before each test, and the modules run on them.

MYSQL_LAB names another lab than that of the scenario.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pymysql
import pymysql.cursors
import pytest
import yaml

ROOT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", Path(__file__).resolve().parents[3]))
LAB = os.environ.get("MYSQL_LAB", "mol-mysql_modules")
FOLDER = ROOT / "build" / "lab" / LAB
REPL, PASSWORD = "tests_repl", "a-Password-of-the-Tests"
sys.path.insert(0, str(ROOT / "build" / "collections"))


def literal(text):
    """Text as a statement has it."""
    return "'%s'" % text.replace("\\", "\\\\").replace("'", "\\'")


class Node:
    """One server of the lab: SQL as its administrator or as root, and its options for the modules."""

    def __init__(self, name, endpoint):
        self.name = name
        self.address = endpoint["address"]
        self.login = {key: value for key, value in endpoint.items() if key not in ("address", "port")}

    def connect(self, user=None, password=None, **more):
        return pymysql.connect(
            host=self.address,
            user=user or self.login["login_user"],
            password=password if user else self.login["login_password"],
            ssl={"ca": self.login["ca_cert"]},
            autocommit=True,
            cursorclass=pymysql.cursors.DictCursor,
            **dict({"connect_timeout": 10, "read_timeout": 60}, **more),
        )

    def sql(self, *statements):
        """Run statements on one connection; the rows of the last."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def value(self, statement):
        return next(iter(self.sql(statement)[0].values()))

    def host(self, command, check=True):
        """Run a command on the host."""
        argv = [str(ROOT / "lab" / "lab"), "ssh", "--name", LAB, self.name, "--", command]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=180)
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def root(self, statement):
        """Run SQL as root over the socket."""
        return self.host("mysql --batch --raw --skip-column-names -e \"%s\"" % statement.replace('"', '\\"'))

    def restart(self):
        # systemd starts a service five times within ten seconds at most, which a fast machine reaches here.
        self.host("systemctl reset-failed mysql; systemctl restart mysql")
        self.await_up()

    def await_up(self):
        end = time.monotonic() + 120
        while True:
            try:
                return self.value("SELECT 1")
            except pymysql.err.OperationalError:
                assert time.monotonic() < end, "%s does not come back" % self.name
                time.sleep(0.3)

    def quietly(self, *statements):
        """Statements that leave nothing in the binary log."""
        return self.sql("SET SESSION sql_log_bin = 0", *statements)

    def reset(self):
        """No channel, no fence, no GTIDs, no schema, no account of the tests."""
        self.await_up()
        self.end_clients()
        self.sql("SET PERSIST super_read_only = 0, PERSIST read_only = 0")
        for name in ("super_read_only", "read_only"):
            self.sql("RESET PERSIST IF EXISTS " + name)
        for row in self.sql("SHOW REPLICA STATUS"):
            self.sql("STOP REPLICA FOR CHANNEL " + literal(row["Channel_Name"]))
            self.sql("RESET REPLICA ALL FOR CHANNEL " + literal(row["Channel_Name"]))
        for row in self.sql("XA RECOVER"):
            self.sql("XA ROLLBACK '%s'" % row["data"])
        self.quietly("DROP DATABASE IF EXISTS d")
        for row in self.sql("SELECT User, Host FROM mysql.user WHERE User LIKE 'tests%' OR User LIKE BINARY 'h0st%'"):
            self.quietly("DROP USER %s@%s" % (literal(row["User"]), literal(row["Host"])))
        self.quietly("CREATE USER '%s'@'%%' IDENTIFIED BY '%s'" % (REPL, PASSWORD))
        self.quietly("GRANT REPLICATION SLAVE ON *.* TO '%s'@'%%'" % REPL)
        self.climb("ON")
        self.sql("RESET BINARY LOGS AND GTIDS")

    def reset_endpoint(self):
        """The same for an endpoint of RDS, whose administrator may not: no channel, open, no GTIDs, no schema."""
        self.await_up()
        self.root("STOP REPLICA; RESET REPLICA ALL; SET GLOBAL super_read_only = 0; SET GLOBAL read_only = 0")
        self.root("SET SESSION sql_log_bin = 0; DROP DATABASE IF EXISTS d; RESET BINARY LOGS AND GTIDS")
        self.root("SET SESSION sql_log_bin = 0; DROP PROCEDURE IF EXISTS mysql.rds_set_read_only")
        self.root("UPDATE mysql.rds_configuration SET value = NULL WHERE name = 'binlog retention hours'")

    def end_clients(self):
        """End all that an earlier test may have left behind."""
        for row in self.sql(
            "SELECT PROCESSLIST_ID AS id FROM performance_schema.threads WHERE NAME = 'thread/sql/one_connection'"
            " AND PROCESSLIST_COMMAND NOT LIKE 'Binlog Dump%' AND PROCESSLIST_ID <> CONNECTION_ID()"
        ):
            try:
                self.sql("KILL %d" % row["id"])
            except pymysql.err.MySQLError as error:
                assert error.args[0] == 1094, error

    def climb(self, goal):
        """gtid_mode, by hand."""
        modes = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"]
        now = modes.index(self.value("SELECT @@GLOBAL.gtid_mode"))
        wanted = modes.index(goal)
        if goal == "ON":
            self.sql("SET PERSIST enforce_gtid_consistency = ON")
        while now != wanted:
            now += 1 if now < wanted else -1
            self.sql("SET PERSIST gtid_mode = " + modes[now])


class Background:
    """A statement, or several, that run on a connection of their own until the end of the test."""

    def __init__(self, node, *statements):
        self.node = node
        self.connection = node.connect()
        self.id = self.connection.thread_id()
        self.statements = statements
        self.error = None
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            with self.connection.cursor() as cursor:
                for statement in self.statements:
                    cursor.execute(statement)
        except pymysql.err.MySQLError as error:
            self.error = error
        self.done.set()

    def wait(self, seconds=60):
        assert self.done.wait(seconds), "still running: %r" % (self.statements,)
        return self

    def close(self):
        # a socket that is read from cannot be closed before its statement is over
        try:
            self.node.sql("KILL %d" % self.id)
        except pymysql.err.MySQLError as error:
            assert error.args[0] == 1094, error
        self.wait()
        try:
            self.connection.close()
        except pymysql.err.MySQLError:
            pass


RUN = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
module = importlib.import_module("ansible_collections.seamless.migration.plugins.modules." + sys.argv[2])
sys.argv = sys.argv[:1]
module.main()
"""


class Modules:
    """Runs modules as Ansible does, each as a process with its options on standard input. converge.yml plays them."""

    def run(self, module, check=False, **options):
        """One module. Returns its result."""
        options = dict(options, _ansible_check_mode=check, _ansible_diff=True)
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(ROOT / "build" / "collections"), module],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": options}),
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.stdout.strip().startswith("{"), done.stdout + done.stderr
        return dict({"failed": False}, **json.loads(done.stdout))

    def settle(self, module, **options):
        """In check mode, for real, and again: says the same, then nothing. Returns the results of the first two."""
        promised, done, again = (self.run(module, check=check, **options) for check in (True, False, False))
        for result in (promised, done, again):
            assert not result["failed"], result["msg"]
        assert promised["changed"] == done["changed"]
        assert promised["diff"] == done["diff"]
        assert not again["changed"], again
        return promised, done


@pytest.fixture(scope="session")
def lab():
    return yaml.safe_load((FOLDER / "mysql.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def nodes(lab):
    return {name: Node(name, endpoint) for name, endpoint in lab["lab_mysql"].items()}


@pytest.fixture
def old(nodes):
    nodes["mysql_old"].reset()
    return nodes["mysql_old"]


@pytest.fixture
def new(nodes):
    nodes["mysql_new"].reset()
    return nodes["mysql_new"]


@pytest.fixture(params=["mysql_rds_old", "mysql_rds_new"])
def endpoint(request, nodes):
    """An endpoint of RDS with the names of 8.0, and one with those of 8.4."""
    nodes[request.param].reset_endpoint()
    return nodes[request.param]


@pytest.fixture
def ansible():
    return Modules()


@pytest.fixture
def background():
    """background(node, statement, ...) runs them beside the test."""
    running = []

    def start(node, *statements):
        running.append(Background(node, *statements))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def follow(ansible, old):
    """follow(node, ...) has the node follow the old server; the options are those of mysql_replica."""

    def make(node, **options):
        wanted = {"source_host": old.address, "source_user": REPL, "source_password": PASSWORD}
        result = ansible.run("mysql_replica", **dict(node.login, **dict(wanted, **options)))
        assert not result["failed"], result["msg"]
        return result

    return make


def until(condition, seconds=60):
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come to be"
        time.sleep(0.1)


@pytest.fixture(name="until")
def until_fixture():
    return until
