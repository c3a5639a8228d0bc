# SPDX-License-Identifier: GPL-3.0-or-later
"""Two real servers in a known state, applications that write to them, a watcher of both, and the module as a process.

Everything that was acknowledged is kept, with the moment at which its server executed it: both hosts are containers of
one machine and share its clock, so that the moments order what happened on both servers.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pymysql
import pymysql.cursors

ROOT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", Path(__file__).resolve().parents[3]))
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.seamless.migration.plugins.modules import mysql_switchover
sys.argv = sys.argv[:1]
mysql_switchover.main()
"""
FORWARD, REVERSE = "", "way_back"
FENCE = "SET PERSIST super_read_only = 1"
OPEN = "SET PERSIST super_read_only = 0, PERSIST read_only = 0"
TABLES = (
    "CREATE SCHEMA IF NOT EXISTS shop",
    "CREATE TABLE shop.orders (writer INT, n BIGINT, at DATETIME(6) NOT NULL, PRIMARY KEY (writer, n))",
    "CREATE TABLE shop.stock (id INT NOT NULL PRIMARY KEY, amount BIGINT NOT NULL)",
    "INSERT INTO shop.stock VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)",
)
UNREACHABLE = (pymysql.err.MySQLError, OSError)
# Where the module can be made to wait, in the order in which it gets there.
BEFORE_COMMIT = (
    "guardrails.done", "reverse_channel.done", "canary_table.done", "low_lag.done", "quiet.done", "fence", "fence.done",
    "read_back.done", "final_gtid.done", "drain.done", "proof.done",
)  # fmt: skip
AFTER_COMMIT = (
    "commit.done", "unfence_target", "open_target.done", "canary.done", "switch.done", "canary_back.done",
    "events.done", "forward_channel.done",
)  # fmt: skip
POINTS = BEFORE_COMMIT + AFTER_COMMIT


class Node:
    """One server. host: its name in the lab. name: `old` or `new`. login: dict of its options. ssh: argv."""

    def __init__(self, name, number, variables, inventory):
        self.host = "mysql_%s%s" % (name, number)
        self.name = name
        self.login = variables["lab_mysql"][self.host]
        self.application = variables["lab_mysql_application"]
        common = inventory["all"]["vars"]
        self.lab = common["lab_name"]
        self.ssh = ["ssh", "-F", "none", "-i", common["ansible_ssh_private_key_file"]]
        self.ssh += common["ansible_ssh_common_args"].split() + ["root@" + self.login["login_host"]]

    def shell(self, line):
        """Run a line of shell on the host. Returns its output."""
        done = subprocess.run(self.ssh + [line], check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def lab_does(self, verb):
        """Let the lab do something to the host: cut, mend, kill, start."""
        argv = [sys.executable, str(ROOT / "lab" / "lab"), verb, "--name", self.lab, self.host]
        subprocess.run(argv, check=True, capture_output=True, timeout=120)

    def connect(self, user=None, password=None, **more):
        """A connection as administrator, or as somebody else."""
        return pymysql.connect(
            host=self.login["login_host"],
            port=self.login["login_port"],
            user=user or self.login["login_user"],
            password=password if user else self.login["login_password"],
            ssl={"ca": self.login["ca_cert"]},
            autocommit=True,
            cursorclass=pymysql.cursors.DictCursor,
            **dict({"connect_timeout": 5, "read_timeout": 60}, **more),
        )

    def app(self, **more):
        """A connection as the application."""
        return self.connect(self.application["user"], self.application["password"], **more)

    def run(self, *statements, ignore=False):
        """Run statements on a connection of their own. Returns the rows of the last."""
        rows = []
        with self.connect() as link, link.cursor() as cursor:
            for statement in statements:
                try:
                    cursor.execute(statement)
                    rows = cursor.fetchall()
                except pymysql.err.MySQLError:
                    if not ignore:
                        raise
        return list(rows)

    def value(self, statement):
        """The first column of the first row."""
        return next(iter(self.run(statement)[0].values()))

    def fenced(self):
        """Whether both variables say so."""
        return bool(self.value("SELECT @@GLOBAL.read_only AND @@GLOBAL.super_read_only"))

    def wait_until_up(self, seconds=90):
        """Wait until it answers."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.value("SELECT 1")
            except UNREACHABLE:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)


class Bed:
    """Both servers of a pair. lab: its folder. folder: for journals and logs. number: what tells the pairs apart."""

    def __init__(self, lab, folder, number=""):
        variables = self._read(Path(lab) / "mysql.yml")
        inventory = self._read(Path(lab) / "inventory.yml")
        self.replication = variables["migration_mysql"]["replication"]
        self.old = Node("old", number, variables, inventory)
        self.new = Node("new", number, variables, inventory)
        self.nodes = (self.old, self.new)
        self.folder = Path(folder)
        self.journal = self.folder / "faults.jsonl"
        self.started = []

    @staticmethod
    def _read(path):
        """A file that the lab wrote: JSON after a line of comment."""
        return json.loads(path.read_text(encoding="utf-8").partition("\n")[2])

    # --- a known state ----------------------------------------------------------------------------------------------

    def reset(self):
        """The old server open and empty but for the shop, the new one fenced and following, and the way back ready."""
        if self.journal.exists():
            self.journal.unlink()
        for node in self.nodes:
            node.wait_until_up()
            self._clear(node)
        for node in self.nodes:
            node.run("RESET BINARY LOGS AND GTIDS")
        self.new.run(FENCE)
        self.follow(self.new, self.old, FORWARD)
        self.follow(self.old, self.new, REVERSE)
        self.old.run(*TABLES)
        self.wait_for(self.new, self.old)

    def _clear(self, node):
        for row in node.run("XA RECOVER"):
            node.run("XA ROLLBACK '%s'" % row["data"], ignore=True)
        for channel in (FORWARD, REVERSE):
            node.run(
                "STOP REPLICA FOR CHANNEL '%s'" % channel, "RESET REPLICA ALL FOR CHANNEL '%s'" % channel, ignore=True
            )
        node.run(
            OPEN,
            "RESET PERSIST",
            "SET GLOBAL event_scheduler = ON",
            "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
            "SET GLOBAL sync_binlog = 1",
            "SET sql_log_bin = 0",
            "DROP SCHEMA IF EXISTS shop",
            "DROP SCHEMA IF EXISTS seamless_migration",
            "CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY '%s'"
            % (self.replication["user"], self.replication["password"]),
            "GRANT REPLICATION SLAVE ON *.* TO '%s'@'%%'" % self.replication["user"],
        )

    def follow(self, node, source, channel, **more):
        """Let a node follow the other one."""
        options = {
            "SOURCE_HOST": repr(source.login["login_host"]),
            "SOURCE_PORT": source.login["login_port"],
            "SOURCE_USER": repr(self.replication["user"]),
            "SOURCE_PASSWORD": repr(self.replication["password"]),
            "SOURCE_SSL": 1,
            "SOURCE_AUTO_POSITION": 1,
            "SOURCE_CONNECT_RETRY": 1,
            "SOURCE_RETRY_COUNT": 600,
            "SOURCE_HEARTBEAT_PERIOD": 1,
        }
        options.update(more)
        words = ", ".join("%s=%s" % item for item in options.items())
        node.run(
            "CHANGE REPLICATION SOURCE TO %s FOR CHANNEL '%s'" % (words, channel),
            "START REPLICA FOR CHANNEL '%s'" % channel,
        )

    @staticmethod
    def wait_for(node, source, seconds=60):
        """Wait until a node has executed what the other one has."""
        done = source.value("SELECT @@GLOBAL.gtid_executed")
        assert node.value("SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', %d)" % (done, seconds)) == 0

    # --- the module -------------------------------------------------------------------------------------------------

    def options(self, back=False, **more):
        """Options of the module for the cutover, or for the way back."""
        names = ("login_host", "login_port", "login_user", "login_password", "ca_cert", "check_hostname")
        ends = [{name: node.login[name] for name in names} for node in self.nodes]
        options = {
            "migration": "faults",
            "journal_path": str(self.journal),
            "source": ends[0],
            "target": ends[1],
            "forward_channel": FORWARD,
            "reverse_channel": REVERSE,
            # two cores carry both servers, their writers and the test
            "lag_limit_ms": 3000,
            "lag_samples": 2,
            "lag_timeout": 180,
            "budget_ms": 10000,
            "reach_timeout": 90,
            "canary_timeout": 60,
        }
        if back:
            options.update(
                direction="back", source=ends[1], target=ends[0], forward_channel=REVERSE, reverse_channel=FORWARD
            )
        options.update(more)
        return options

    def start(self, back=False, pause=None, **more):
        """Start the module. pause: points at which it waits, see Process. Returns Process."""
        self.started.append(Process(self, self.options(back, **more), pause or []))
        return self.started[-1]

    def end_all(self):
        """End what a test that failed has left at a point, where it holds the locks of both servers."""
        for process in self.started:
            if process.process.poll() is None:
                process.kill()
        self.started = []

    def switch(self, back=False, **more):
        """Run the module to its end. Returns what it said."""
        return self.start(back, **more).end()

    def events(self):
        """The journal, as list."""
        return [json.loads(line) for line in self.journal.read_text(encoding="utf-8").splitlines()]


class Process:
    """The module in a process of its own, which is the controller of a migration."""

    def __init__(self, bed, options, points):
        self.points = bed.folder / ("points-%d" % time.monotonic_ns())
        self.points.mkdir()
        self.names = points
        environment = dict(os.environ)
        if points:
            environment["SEAMLESS_TEST_PAUSE_AT"] = "%s:%s" % (self.points, ",".join(points))
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(ROOT / "build" / "collections")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        )  # fmt: skip
        self.process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())
        self.process.stdin.close()
        self.said = [b"", b""]
        self.readers = [
            threading.Thread(target=self._read, args=(number, stream), daemon=True)
            for number, stream in enumerate((self.process.stdout, self.process.stderr))
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, number, stream):
        self.said[number] = stream.read()

    def wait_at(self, point, seconds=300):
        """Wait until it has reached a point. Returns whether it has, and not ended before."""
        end = time.monotonic() + seconds
        while not (self.points / point).exists():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < end, "it never reached %s" % point
            time.sleep(0.005)
        return True

    def go_on(self, point):
        """Let it go on from a point."""
        (self.points / point).unlink()

    def kill(self):
        """SIGKILL, as a controller that loses its power."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self, seconds=400):
        """Wait for its end. Returns what it said, with `failed`."""
        self.process.wait(seconds)
        for reader in self.readers:
            reader.join()
        assert self.said[0], self.said[1].decode()
        result = json.loads(self.said[0].decode().splitlines()[-1])
        result["failed"] = bool(result.get("failed"))
        return result


class Writers:
    """Applications that write all the time: `clients` go where writes are taken, one watcher is bound to each server.

    acknowledged: list of (moment, node, writer, n), the moment as its server has it.
    """

    def __init__(self, bed, clients=2, pause=0.02):
        self.bed = bed
        self.clients = clients
        self.pause = pause
        self.acknowledged = []
        self.doubtful = set()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]
        self.threads += [
            threading.Thread(target=self._watch, args=(100 + number, node)) for number, node in enumerate(bed.nodes)
        ]

    def __enter__(self):
        self.count = {}
        self._settle_numbers()
        for thread in self.threads:
            thread.start()
        self.wait_for_writes()
        return self

    def __exit__(self, *_unused):
        self.stop()

    def _settle_numbers(self):
        for node in self.bed.nodes:
            try:
                for row in node.run("SELECT writer, MAX(n) AS n FROM shop.orders GROUP BY writer"):
                    self.count[row["writer"]] = max(self.count.get(row["writer"], 0), row["n"])
            except UNREACHABLE:
                pass

    def wait_for_writes(self, more=20, seconds=60):
        """Wait until so many further writes were acknowledged."""
        wanted, end = len(self.acknowledged) + more, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < end, "nobody takes writes"
            time.sleep(0.01)

    def stop(self):
        """End all of them."""
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _write(self, cursor, node, writer):
        number = self.count[writer] = self.count.get(writer, 0) + 1
        try:
            cursor.execute("SELECT SYSDATE(6) AS at")
            at = cursor.fetchone()["at"]
            if number % 3:
                cursor.execute("INSERT INTO shop.orders VALUES (%s, %s, SYSDATE(6))", (writer, number))
            else:
                cursor.execute("BEGIN")
                cursor.execute("INSERT INTO shop.orders VALUES (%s, %s, SYSDATE(6))", (writer, number))
                cursor.execute("UPDATE shop.stock SET amount = amount + 1 WHERE id = %s", (1 + writer % 8,))
                cursor.execute("COMMIT")
        except pymysql.err.MySQLError:
            self.doubtful.add((writer, number))
            raise
        self.acknowledged.append((at, node.name, writer, number))

    def _session(self, node, writer, until_error):
        with node.app(connect_timeout=2, read_timeout=20) as link, link.cursor() as cursor:
            while not self.over.is_set():
                try:
                    self._write(cursor, node, writer)
                except pymysql.err.MySQLError as error:
                    if until_error or error.args[0] != 1290:
                        raise
                    cursor.execute("ROLLBACK")
                    time.sleep(0.005)
                time.sleep(self.pause)

    def _client(self, writer):
        turn = 0
        while not self.over.is_set():
            try:
                self._session(self.bed.nodes[turn % 2], writer, True)
            except UNREACHABLE:
                turn += 1
                time.sleep(0.002)

    def _watch(self, writer, node):
        while not self.over.is_set():
            try:
                self._session(node, writer, False)
            except UNREACHABLE:
                time.sleep(0.01)

    # --- verdicts ---------------------------------------------------------------------------------------------------

    def owners(self):
        """Which server took the writes, in order, each turn once: list of names."""
        turns = []
        for _at, name, _writer, _number in sorted(list(self.acknowledged)):
            if not turns or turns[-1] != name:
                turns.append(name)
        return turns

    def gaps_ms(self):
        """Milliseconds between the last write on one server and the first on the other, for each change."""
        found, ordered = [], sorted(list(self.acknowledged))
        for before, after in zip(ordered, ordered[1:]):
            if before[1] != after[1]:
                found.append((after[0] - before[0]).total_seconds() * 1000)
        return found

    def lost_on(self, node):
        """Writes that were acknowledged and are not there."""
        there = {(row["writer"], row["n"]) for row in node.run("SELECT writer, n FROM shop.orders")}
        return sorted({(writer, number) for _at, _name, writer, number in self.acknowledged} - there)


# --- what tests say --------------------------------------------------------------------------------------------------


def verdict(bed, writers, *turns):
    """Who took the writes, in this order and never two at once; and nothing lost. turns: names of servers."""
    writers.wait_for_writes()
    writers.stop()
    assert writers.owners() == list(turns)
    last = bed.old if turns[-1] == "old" else bed.new
    assert writers.lost_on(last) == []
    assert last.fenced() is False
    assert (bed.new if last is bed.old else bed.old).fenced() is True
    durable = "SELECT CONCAT(@@GLOBAL.innodb_flush_log_at_trx_commit, '/', @@GLOBAL.sync_binlog)"
    assert bed.new.value(durable) == "1/1"
    return True


def put_back(result):
    """Whether the module says that all is as before."""
    assert result["failed"], result
    assert "Everything was put back as it was" in result["msg"] or "Nothing was changed" in result["msg"], result["msg"]
    return True


def switched(result):
    assert not result["failed"], result["msg"]
    assert (result["state"], result["committed"], result["complete"]) == ("target_open", True, True)
    return True


def paused(bed, point, **more):
    """The module, waiting at a point."""
    process = bed.start(pause=[point], **more)
    assert process.wait_at(point), process.end()
    return process


@contextlib.contextmanager
def transaction(node, *statements):
    """A connection of the application that has run statements and stays."""
    link = node.app()
    try:
        with link.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        yield link
    finally:
        with contextlib.suppress(*UNREACHABLE):
            link.close()


def executed(node):
    """The GTID set of a node."""
    return node.value("SELECT @@GLOBAL.gtid_executed").replace("\n", "")


def until(true, seconds=30):
    """Wait until a function returns something true, and return that."""
    end = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < end, "it did not come true within %d s" % seconds
        time.sleep(0.05)
