# SPDX-License-Identifier: GPL-3.0-or-later
"""The two servers of the scenario, and the modules' work on them. MYSQL_LAB names another lab."""

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
LAB = os.environ.get("MYSQL_LAB", "mol-mysql_data")
FOLDER = ROOT / "build" / "lab" / LAB
sys.path.insert(0, str(ROOT / "build" / "collections"))

COMPARE = {
    "schemas": [], "tables": [], "exclude": ["odd.myisam"], "definitions": True, "floats": "exact", "workers": 2,
    "chunk_ms": 250, "chunk_rows": None, "max_lag_ms": 5000, "lag_timeout": 600, "settle_timeout": 120,
    "query_timeout": 600, "max_differences": 1000, "resume_file": None, "differences_file": None,
}  # fmt: skip
SEED = {
    "schemas": [], "overwrite": [], "donor_host": None, "donor_port": None, "dump_options": [], "lock_wait": 30,
    "mysqldump_path": "mysqldump", "mysql_path": "mysql", "bwlimit_kib_per_s": 0, "timeout": 600,
}  # fmt: skip

# the administrator of data.sql, which clone brings to the target
HOSTILE_LOGIN = {"login_user": "h0st'il\"e` %s", "login_password": "p'a\"s\\s` %s%(x)s ü密;--"}
KILLED = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.seamless.migration.plugins.module_utils.mysql.seed_work import Work
Work(json.load(sys.stdin)).run()
"""


class Node:
    """One server: SQL as its administrator, whose name and password are hostile, or as root on its host."""

    def __init__(self, name, endpoint):
        self.name = name
        own = {key: value for key, value in endpoint.items() if key not in ("address", "port")}
        self.login = dict(own, **HOSTILE_LOGIN)

    def connect(self):
        return pymysql.connect(
            host=self.login["login_host"], user=self.login["login_user"], ssl={"ca": self.login["ca_cert"]},
            password=self.login["login_password"].encode(), autocommit=True, charset="utf8mb4",
            cursorclass=pymysql.cursors.DictCursor,
        )  # fmt: skip

    def rows(self, statement):
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def value(self, statement):
        return next(iter(self.rows(statement)[0].values()))

    def root(self, text):
        """Run SQL as root on the host, out of the binary log and through the fence."""
        return self.host("mysql --default-character-set=utf8mb4 --batch --skip-column-names", text)

    def host(self, command, data=""):
        argv = [str(ROOT / "lab" / "lab"), "ssh", "--name", LAB, self.name, "--", command]
        return subprocess.run(argv, input=data, capture_output=True, text=True, timeout=300, check=True).stdout


class Servers:
    """The old and the new server."""

    def __init__(self):
        facts = yaml.safe_load((FOLDER / "mysql.yml").read_text())["lab_mysql"]
        self.old, self.new = Node("mysql_old", facts["mysql_old"]), Node("mysql_new", facts["mysql_new"])

    def compare(self, **options):
        from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_work import Work

        return Work(dict(COMPARE, source=self.old.login, target=self.new.login, **options)).run()

    def seed(self, **options):
        from ansible_collections.seamless.migration.plugins.module_utils.mysql.seed_work import Work

        return Work(dict(SEED, source=self.old.login, target=self.new.login, **options)).run()

    def start_seed(self, **options):
        """Seed in a process of its own. Returns the Popen."""
        params = dict(SEED, source=self.old.login, target=self.new.login, **options)
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(ROOT / "build" / "collections")], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        process.stdin.write(json.dumps(params))
        process.stdin.close()
        return process

    def seed_there(self, **options):
        """Run the module on the new server's host, where the clients are. Returns its result."""
        sides = (("source", self.old), ("target", self.new))
        logins = {side: dict(node.login, ca_cert="/root/ca.pem") for side, node in sides}
        argv = [str(Path(sys.executable).parent / "ansible"), "-i", str(FOLDER / "inventory.yml"), "mysql_new", "-m",
                "seamless.migration.mysql_seed", "-a", json.dumps(dict(options, **logins))]  # fmt: skip
        environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(ROOT / "build" / "collections"))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=900, env=environment, check=False)
        return json.loads(done.stdout.split(" => ", 1)[1])     # before it, the task of one that failed

    def change_target(self, *statements):
        """Change the target behind the back of replication."""
        self.new.root("\n".join(["SET sql_log_bin = 0; SET SESSION sql_mode = '';", "SET GLOBAL super_read_only = 0;",
                                 *("%s;" % statement for statement in statements), "SET GLOBAL super_read_only = 1;"]))

    def clear_target(self):
        """The target as it was delivered."""
        names = [row["Database"] for row in self.new.rows("SHOW DATABASES")]
        own = ("mysql", "sys", "information_schema", "performance_schema")
        drops = ["DROP DATABASE `%s`" % name.replace("`", "``") for name in names if name not in own]
        self.new.root("STOP REPLICA; RESET REPLICA ALL;")
        self.change_target(*drops)
        self.new.root("RESET BINARY LOGS AND GTIDS;")

    def follow(self, upto=None):
        """Replicate, and wait until the target has what the source has."""
        self.old.root("SET sql_log_bin = 0; CREATE USER IF NOT EXISTS repl@'%' IDENTIFIED BY 'repl-of-the-tests';"
                      "ALTER USER repl@'%' IDENTIFIED BY 'repl-of-the-tests';"
                      "GRANT REPLICATION SLAVE ON *.* TO repl@'%';")
        self.new.root("STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HOST = '%s', SOURCE_USER = 'repl', "
                      "SOURCE_PASSWORD = 'repl-of-the-tests', SOURCE_AUTO_POSITION = 1, SOURCE_SSL = 1; START REPLICA;"
                      % self.old.login["login_host"])
        wanted = upto or self.old.value("SELECT @@GLOBAL.gtid_executed")
        assert self.new.value("SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', 60)" % wanted.replace("\n", "")) == 0


class Writers:
    """People who write to the source, in a hot row too."""

    STATEMENTS = (
        "INSERT INTO shop.orders (customer, amount, status, created) VALUES (1, 2.5, 'new', NOW(3))",
        "UPDATE shop.orders SET amount = amount + 1 WHERE id = 1",
        "UPDATE shop.orders SET amount = amount + 1 WHERE id = FLOOR(2 + RAND() * 5000)",
        "DELETE FROM shop.orders WHERE id = FLOOR(15000 + RAND() * 5000)",
    )

    def __init__(self, node):
        self._node = node
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _number in range(2)]
        self.count = 0

    def _write(self):
        connection = self._node.connect()
        with connection.cursor() as cursor:
            while not self._end.is_set():
                for statement in self.STATEMENTS:
                    cursor.execute(statement)
                    self.count += 1
                time.sleep(0.01)
        connection.close()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *unused):
        self._end.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(scope="session")
def servers():
    return Servers()


@pytest.fixture
def writers(servers):
    with Writers(servers.old) as writers:
        yield writers
    assert writers.count
