# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of the MySQL bench share: a pair of servers in the lab, playbooks, and the writers' own clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pymysql

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "bench" / "mysql"
sys.path.insert(0, str(ROOT / "lab"))

import mysql_checker  # noqa: E402 - after the path is set
from labkit import hosts, machine, mysql, mysql_data  # noqa: E402 - after the path is set

LAB = os.environ.get("BENCH_LAB", "bench-mysql")
OLD, NEW = "mysql_old", "mysql_new"
REPLICATION = ("bench_repl", "Bench-Repl-9")
# Waits are generous: the machine may have other things to do.
PATIENCE = 300


class BenchError(Exception):
    """Something of the bench could not be measured."""


def start_lab(name=LAB):
    """Two fresh servers; returns the lab."""
    machine.require_root()
    hosts.down(name)
    return hosts.up(name, [OLD, NEW])


def stop_lab(name=LAB):
    hosts.down(name)


class Server:
    """One server of the lab with a connection of the administrator's."""

    def __init__(self, lab, host):
        self.lab, self.name = lab, host
        self.endpoint = mysql.endpoint(lab, host)
        self._link = None

    def connect(self):
        """A new connection."""
        known = self.endpoint
        return pymysql.connect(
            host=known["login_host"], port=known["login_port"], user=known["login_user"],
            password=known["login_password"], ssl_ca=known["ca_cert"], ssl_verify_identity=True, autocommit=True,
            charset="utf8mb4", read_timeout=PATIENCE, connect_timeout=20,
        )  # fmt: skip

    def rows(self, text, values=None):
        """Rows of a statement, as dictionaries. A connection that was ended is made anew, once."""
        for last in (False, True):
            try:
                self._link = self._link or self.connect()
                with self._link.cursor(pymysql.cursors.DictCursor) as cursor:
                    cursor.execute(text, values)
                    return list(cursor.fetchall())
            except pymysql.OperationalError as error:
                self._link = None
                if last or error.args[0] not in (2006, 2013, 4031):
                    raise
        raise AssertionError("not reached")

    def value(self, text, values=None):
        return next(iter(self.rows(text, values)[0].values()))

    def forget(self):
        self._link = None


class Pair:
    """Two servers that follow each other; one of them takes the writes."""

    def __init__(self, lab):
        self.source, self.target = Server(lab, OLD), Server(lab, NEW)

    def swap(self):
        self.source, self.target = self.target, self.source

    def account(self):
        """The account of the replication, once, on the server that takes the writes."""
        user, password = REPLICATION
        self.source.rows("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY %s", (user, password))
        self.source.rows("GRANT REPLICATION SLAVE ON *.* TO %s@'%%'", (user,))

    def ready(self):
        """Let both follow each other, the target fenced and up to date.

        :raises BenchError: when it does not get there
        """
        self.source.forget()
        self.target.forget()
        self.target.rows("SET PERSIST super_read_only = 1")
        self.follow(self.target, self.source)
        self.caught_up()
        self.follow(self.source, self.target)
        self.caught_up()

    @staticmethod
    def follow(replica, source):
        """Let a server follow the other on its default channel, anew when it does not."""
        state = replica.rows("SHOW REPLICA STATUS FOR CHANNEL ''")
        if state and state[0]["Replica_IO_Running"] == state[0]["Replica_SQL_Running"] == "Yes":
            return
        replica.rows("STOP REPLICA FOR CHANNEL ''") if state else None
        replica.rows(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %s, SOURCE_USER = %s, SOURCE_PASSWORD = %s, "
            "SOURCE_SSL = 1, SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 600 "
            "FOR CHANNEL ''",
            (source.endpoint["address"], source.endpoint["port"], *REPLICATION),
        )
        replica.rows("START REPLICA FOR CHANNEL ''")

    def caught_up(self, within=0.5):
        """Wait until the target has, within so many seconds, what the source has now; three times in a row."""
        end, streak = time.monotonic() + PATIENCE, 0
        while streak < 3:
            has = self.source.value("SELECT @@global.gtid_executed")
            late = self.target.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)", (has, within))
            streak = 0 if late else streak + 1
            if time.monotonic() > end:
                raise BenchError("%s does not catch up with %s" % (self.target.name, self.source.name))


def endpoints(pair, on_host=False):
    """The options `source` and `target` of our modules.

    :param on_host: for a module that runs on a host of the lab
    """
    found = {}
    for side, server in (("source", pair.source), ("target", pair.target)):
        found[side] = {key: value for key, value in server.endpoint.items() if key not in ("address", "port")}
        if on_host:
            found[side]["ca_cert"] = mysql.TLS + "/ca.pem"
    return found


def play(tasks, name, host=None):
    """Run tasks by ansible-playbook on this machine, or on a host of the lab.

    :return: what the task with `register: result` gave
    :raises BenchError: when one fails
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    book, out, log = (FOLDER / (name + end) for end in (".json", ".result", ".log"))
    out.unlink(missing_ok=True)
    keep = {
        "ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(out), "mode": "0600"},
        "delegate_to": "localhost", "connection": "local", "when": "result is defined",
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
    }  # fmt: skip
    here = {"connection": "local", "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}}
    content = [{
        "hosts": host or "localhost", "gather_facts": False, **({} if host else here), "tasks": [*tasks, keep],
    }]  # fmt: skip
    mysql.write_private(book, json.dumps(content))
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
    environment.setdefault("ANSIBLE_COLLECTIONS_PATH", str(ROOT / "build" / "collections"))
    with open(log, "wb") as stream:
        inventory = str(ROOT / "build" / "lab" / LAB / "inventory.yml") if host else "localhost,"
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", inventory, str(book)]
        done = subprocess.run(argv, stdout=stream, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, check=False)
    if done.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        raise BenchError("%s failed, see %s\n%s" % (name, log, tail))
    return json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}


class Clock:
    """Reads from the logs of the writers that are at work what they saw since it was started."""

    def __init__(self, lab):
        self.lab = lab
        self._from = {path: path.stat().st_size for path in self._logs()}

    def _logs(self):
        return [mysql_data.folder(self.lab) / (name + ".jsonl") for name in mysql_data.at_work(self.lab)]

    def commits(self):
        """For each writer its acknowledged commits since the start, as (time, server)."""
        found = []
        for path in self._logs():
            with open(path, "rb") as handle:
                handle.seek(self._from.get(path, 0))
                lines = [json.loads(line) for line in handle.read().split(b"\n")[:-1] if b'"event": "ok"' in line]
            found.append([(line["at"], line["server"]) for line in lines])
        return found

    def wait_for(self, server, commits=20):
        """Wait until every writer that works has so many commits on a server."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.commits()
            if found and all(sum(where == server for _at, where in events) >= commits for events in found):
                return
            time.sleep(0.5)
        raise BenchError("The writers do not write on %s" % server)

    def gap_ms(self):
        """Milliseconds between the last commit on the one server and the first on the other.

        :raises BenchError: unless there was just one switch
        """
        switches = mysql_checker.windows(self.commits())
        if len(switches) != 1:
            raise BenchError("%d switches where one was to be measured" % len(switches))
        return round(max(0.0, switches[0]["overall_s"]) * 1000, 1)

    def rate(self, seconds):
        return round(sum(len(events) for events in self.commits()) / seconds, 1)

