# SPDX-License-Identifier: GPL-3.0-or-later
"""How long nobody can write in a switchover: our module, the usual modules in a playbook, and bare statements."""

from __future__ import annotations

import time

from labkit import mysql_data
from mysql_kit import FOLDER, BenchError, Clock, Pair, endpoints, play

# name -> transactions a second of each of the four writers; 0 is as fast as the server goes
LOADS = {"full": 0, "200/s": 50}
CONNECTIONS = 4


def ours(pair, number):
    """The module mysql_switchover, as a playbook runs it."""
    journal = FOLDER / ("journal-%d.jsonl" % number)
    journal.unlink(missing_ok=True)
    options = {"migration": "bench%d" % number, "journal_path": str(journal), "lag_timeout": 120, **endpoints(pair)}
    found = play([{"seamless.migration.mysql_switchover": options, "register": "result"}], "ours")
    return {"window_ms": found["window_ms"], "steps": {step["name"]: step["ms"] for step in found["steps"]}}


def usual(pair, _number):
    """The same statements by the modules that people use."""
    logins = {
        side: {
            "login_host": server.endpoint["login_host"], "login_user": server.endpoint["login_user"],
            "login_password": server.endpoint["login_password"], "ca_cert": server.endpoint["ca_cert"],
        }
        for side, server in (("source", pair.source), ("target", pair.target))
    }  # fmt: skip

    def variable(side, name, value):
        options = dict(logins[side], variable=name, value=value, mode="persist")
        return {"community.mysql.mysql_variables": options}

    def query(side, text):
        return {"community.mysql.mysql_query": dict(logins[side], query=text)}

    def replication(side, mode):
        return {"community.mysql.mysql_replication": dict(logins[side], mode=mode)}

    play(
        [
            variable("source", "super_read_only", "ON"),
            dict(query("source", "SELECT @@global.gtid_executed AS gtid"), register="final"),
            query(
                "target",
                "SELECT WAIT_FOR_EXECUTED_GTID_SET('{{ final.query_result[0][0].gtid | replace('\n', '') }}', 120)",
            ),
            replication("target", "stopreplica"),
            replication("target", "resetreplicaall"),
            variable("target", "super_read_only", "OFF"),
            variable("target", "read_only", "OFF"),
        ],
        "usual",
    )
    return {}


def floor(pair, _number):
    """The statements alone, from one process with its connections open."""
    source, target = pair.source.connect(), pair.target.connect()
    with source.cursor() as here, target.cursor() as there:
        here.execute("SET PERSIST super_read_only = 1")
        here.execute("SELECT @@global.gtid_executed")
        there.execute("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 120)", here.fetchone())
        there.execute("SET PERSIST super_read_only = 0, PERSIST read_only = 0")
    source.close()
    target.close()
    return {}


CONTENDERS = {"ours": ours, "usual": usual, "floor": floor}


def one(lab, pair, name, number):
    """One switchover; returns its numbers. The servers have changed places after it."""
    pair.ready()
    time.sleep(1)
    clock = Clock(lab)
    clock.wait_for(pair.source.name, commits=5)  # else the last commit there might be of before
    began = time.monotonic()
    more = CONTENDERS[name](pair, number)
    seconds = time.monotonic() - began
    pair.swap()
    clock.wait_for(pair.source.name)
    found = {"contender": name, "to": pair.source.name, "gap_ms": clock.gap_ms(), "seconds": round(seconds, 1), **more}
    print("  %-6s to %-10s gap %8.1f ms" % (name, found["to"], found["gap_ms"]), flush=True)
    return found


def measure(lab, rounds, contenders=tuple(CONTENDERS), loads=tuple(LOADS)):
    """Every contender in turns, `rounds` times for each load.

    :return: list of dictionaries: load, contender, to, gap_ms, seconds, and commits_per_s that the load had
    :raises BenchError: when a switchover lost something
    """
    pair = Pair(lab)
    mysql_data.make_tables(lab, pair.source.name)
    pair.account()
    found, number = [], 0
    for load in loads:
        print("writers: %s" % load, flush=True)
        mysql_data.start_writers(lab, CONNECTIONS, rate=LOADS[load])
        for turn in range(rounds):
            # Each contender goes both ways as often, and none always comes first.
            for name in contenders if turn % 2 == 0 else reversed(contenders):
                number += 1
                found.append({"load": load, **one(lab, pair, name, number)})
        clock = Clock(lab)
        time.sleep(5)
        rate = clock.rate(5)
        for entry in found:
            entry.setdefault("commits_per_s", rate)
        mysql_data.signal_writers(lab, "stop")
        judged = mysql_data.verdict(lab, pair.source.name)
        if not judged["ok"]:
            raise BenchError("The verdict is not clean:\n%s" % mysql_data.report(judged))
    return found
