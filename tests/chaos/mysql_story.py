# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the chaos: a switchover under faults, what was left, whether it can be finished, and what was lost."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

import mysql_faults
import pymysql
from labkit import mysql, mysql_data
from mysql_kit import NEW, OLD, ROOT, BenchError, Clock, Pair, Server, endpoints
from mysql_kit import PATIENCE as LONG

MODULE = "ansible_collections.seamless.migration.plugins.modules.mysql_switchover"
FOLDER = ROOT / "build" / "chaos"
# How often a run may be begun again before it counts as stuck.
TRIES = 5
NO_HOOKS = {"pause": [], "resume": [], "switch": []}
SETTINGS = {"sync_binlog": 1, "innodb_flush_log_at_trx_commit": 1}


class Scene:
    """A switchover that is under way, for the faults."""

    def __init__(self, lab, pair, number, dice):
        self.lab, self.pair, self.number = lab, pair, number
        self.journal = FOLDER / ("journal-%d.jsonl" % number)
        self.journal.unlink(missing_ok=True)
        self.hosts = {"source": pair.source.name, "target": pair.target.name}
        self.options = {
            "migration": "chaos%d" % number, "journal_path": str(self.journal), "reach_timeout": 15,
            "canary_timeout": 20, "lag_timeout": 30, "lag_limit_ms": 1000, "long_transactions_timeout": 15,
            "long_transaction_s": 5,
            "long_transactions": dice.choice(["wait", "kill", "fail"]), "budget_ms": dice.choice([2000, 10000]),
            "hooks": dict(NO_HOOKS, switch=dice.choice([[], [], [["/bin/false"]], [["/bin/sleep", "60"]]])),
            "hook_timeout": 3, **endpoints(pair),
        }  # fmt: skip
        self.process = None

    def host(self, side):
        return self.hosts[side]

    def spawn(self, **changes):
        """Start the module as Ansible does, as a process of its own."""
        arguments = FOLDER / ("arguments-%d.json" % self.number)
        mysql.write_private(arguments, json.dumps({"ANSIBLE_MODULE_ARGS": dict(self.options, **changes)}))
        environment = dict(os.environ, PYTHONPATH=str(ROOT / "build" / "collections"))
        return subprocess.Popen(
            [sys.executable, "-m", MODULE, str(arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=environment, cwd=ROOT, text=True,
        )  # fmt: skip

    def signal(self, number):
        mysql_faults.kill_process(self.process, number)

    def wait_for(self, moment):
        """Wait until the journal tells of a moment; returns whether it did before the process was over."""
        wanted = '"event": "%s"' % moment
        compact = wanted.replace(": ", ":")
        while moment:
            over = self.process.poll() is not None
            text = self.journal.read_text(encoding="utf-8") if self.journal.exists() else ""
            if wanted in text or compact in text:
                return True
            if over:
                return False
            time.sleep(0.002)
        return True

    def first(self):
        """Run it under the faults; returns what it said."""
        return finished(self.process)

    def again(self, **changes):
        """Run it once more, without faults; returns what it said."""
        return finished(self.spawn(**changes))

    def backwards(self):
        """Options that go the other way."""
        return {"source": self.options["target"], "target": self.options["source"], "direction": "back"}


def finished(process):
    """What a module's process said at its end, as a dictionary; `killed` when it said nothing."""
    try:
        text = process.communicate(timeout=2 * LONG)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"failed": True, "msg": "", "hung": True}
    try:
        return json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"failed": True, "killed": process.returncode < 0, "msg": text[-500:]}


def writable(server):
    """Whether a server takes writes; waits until it answers.

    :raises BenchError: when it does not
    """
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        server.forget()
        try:
            found = server.rows("SELECT @@global.read_only AS r, @@global.super_read_only AS s")[0]
            return not found["r"]
        except (pymysql.MySQLError, OSError):
            time.sleep(0.3)
    raise BenchError("%s does not answer" % server.name)


def arrange(lab):
    """The pair with the server that takes the writes as its source.

    :raises BenchError: unless there is just one
    """
    both = [Server(lab, OLD), Server(lab, NEW)]
    takes = [server for server in both if writable(server)]
    if len(takes) != 1:
        raise BenchError("%d servers take writes: %s" % (len(takes), [server.name for server in takes]))
    pair = Pair(lab)
    if pair.source.name != takes[0].name:
        pair.swap()
    return pair


class Story:
    """A run: `record` has what was planned, what happened, and the violations."""

    def __init__(self, lab, seed, number):
        self.lab, self.number = lab, number
        self.dice = random.Random("%s-%d" % (seed, number))
        self.faults = [mysql_faults.Planned(self.dice) for _unused in range(self.dice.choice([1, 1, 1, 2]))]
        self.way_back = self.dice.random() < 0.25
        self.violations = []
        faults = [str(planned) for planned in self.faults]
        self.record = {"run": number, "faults": faults, "violations": self.violations}

    def tell(self):
        """Do it all; returns the record."""
        began = time.monotonic()
        pair = arrange(self.lab)
        pair.ready()
        scene = Scene(self.lab, pair, self.number, self.dice)
        self._under_faults(scene)
        self._finish(scene)
        self._judge()
        self.record["seconds"] = round(time.monotonic() - began, 1)
        return self.record

    def _under_faults(self, scene):
        strikers = [mysql_faults.Striker(planned, scene) for planned in self.faults]
        scene.process = scene.spawn()
        for striker in strikers:
            striker.start()
        said = scene.first()
        for striker in strikers:
            striker.join(LONG)
        mysql_faults.restore(scene)
        self.record["struck"] = [striker.struck for striker in strikers]
        self.record["problems"] = [striker.problem for striker in strikers if striker.problem]
        self.record["said"] = [outcome(said)]
        if said.get("hung"):
            self.violations.append("The module did not end")
        elif said.get("failed") and not said.get("killed") and not said.get("msg"):
            self.violations.append("The module failed without a word")

    def _finish(self, scene):
        """Begin again until nothing is left to do, as an operator would."""
        for server in (scene.pair.source, scene.pair.target):
            writable(server)
        changes = scene.backwards() if self.way_back else {}
        for _unused in range(TRIES):
            said = scene.again(hooks=NO_HOOKS, **changes)
            self.record["said"].append(outcome(said))
            if not said.get("failed") and said.get("complete"):
                return
            changes = {}
            time.sleep(1)
        self.violations.append("The run cannot be finished: %s" % said.get("msg"))

    def _judge(self):
        try:
            pair = arrange(self.lab)
        except BenchError as error:
            self.violations.append(str(error))
            return
        self.record["writes_on"] = pair.source.name
        Clock(self.lab).wait_for(pair.source.name, commits=3)
        self._look_for_leftovers(pair)
        mysql_data.signal_writers(self.lab, "pause")
        judged = mysql_data.verdict(self.lab, pair.source.name)
        mysql_data.signal_writers(self.lab, "resume")
        if not judged["ok"]:
            self.violations.append(mysql_data.report(judged, shown=3))
        self.record.update({key: judged[key] for key in ("acknowledged", "unknown", "lost", "window_ms")})

    def _look_for_leftovers(self, pair):
        for server in (pair.source, pair.target):
            for name, value in SETTINGS.items():
                found = server.value("SELECT @@global.%s" % name)
                if found != value:
                    self.violations.append("%s has %s = %s" % (server.name, name, found))


def outcome(said):
    """What a run of the module said, in short."""
    if said.get("killed"):
        return "killed"
    if said.get("failed"):
        return "failed: %s" % said.get("msg")
    return ", ".join(said[key] for key in ("state", "phase", "recovered") if said.get(key))
