# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast rows are compared and copied: mysql_compare against CHECKSUM TABLE, and clone against dump."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from labkit import mysql, mysql_data
from mysql_kit import NEW, OLD, BenchError, Pair, endpoints, play

SCHEMA = "bulk"
TABLES = 4
BYTES_A_ROW = 1000


def fill(lab, megabytes):
    """Tables of so many megabytes together, on the old server."""
    rows = max(1, megabytes * 1_000_000 // TABLES // BYTES_A_ROW)
    columns = "id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, price decimal(10,2) NOT NULL, text text NOT NULL"
    parts = ["CREATE DATABASE IF NOT EXISTS %s;\nUSE %s;\nSET cte_max_recursion_depth = 1000000;\n" % ((SCHEMA,) * 2)]
    for number in range(1, TABLES + 1):
        parts.append("CREATE TABLE IF NOT EXISTS t%d (%s);\n" % (number, columns))
        for start in range(0, rows, 20_000):
            parts.append(
                "INSERT INTO t%d (price, text) WITH RECURSIVE n AS (SELECT %d AS i UNION ALL SELECT i + 1 FROM n "
                "WHERE i < %d) SELECT i / 7, RPAD(SHA2(i, 512), %d, SHA2(i + 1, 512)) FROM n;\n"
                % (number, start, min(start + 20_000, rows) - 1, BYTES_A_ROW)
            )
    mysql.sql(lab, OLD, "".join(parts), timeout=3600)


def checksums(servers):
    """Seconds of CHECKSUM TABLE on all tables, on these servers at the same time."""

    def one(server):
        names = ", ".join("%s.t%d" % (SCHEMA, number) for number in range(1, TABLES + 1))
        return server.rows("CHECKSUM TABLE " + names)

    for server in servers:
        server.forget()
        server.value("SELECT 1")
    began = time.monotonic()
    with ThreadPoolExecutor(len(servers)) as pool:
        found = list(pool.map(one, servers))
    seconds = time.monotonic() - began
    if any(other != found[0] for other in found):
        raise BenchError("The tables differ: %s" % found)
    return round(seconds, 2)


def compare(lab, megabytes, rounds):
    """Compare the same tables both ways in turns, while writers write.

    :return: dictionary with a list for each way, in seconds, and the longest lag
    """
    pair = Pair(lab)
    mysql_data.make_tables(lab, OLD)
    pair.account()
    fill(lab, megabytes)
    pair.ready()
    mysql_data.start_writers(lab, 4, rate=25)
    found = {"megabytes": megabytes, "ours_s": [], "checksum_one_s": [], "checksum_both_s": [], "lag_ms_max": 0}
    options = dict(endpoints(pair), schemas=[SCHEMA], max_lag_ms=1000)
    for _turn in range(rounds):
        result = play([{"seamless.migration.mysql_compare": options, "register": "result"}], "compare")
        if not result["equal"]:
            raise BenchError("mysql_compare says that equal tables differ: %s" % result["counts"])
        found["ours_s"].append(result["seconds"])
        found["lag_ms_max"] = max(found["lag_ms_max"], result["lag_ms_max"])
        found["checksum_one_s"].append(checksums([pair.source]))
        found["checksum_both_s"].append(checksums([pair.source, pair.target]))
        print("  compare %.1f s, CHECKSUM TABLE on one %.1f s, on both %.1f s" % tuple(
            found[name][-1] for name in ("ours_s", "checksum_one_s", "checksum_both_s")), flush=True)
    mysql_data.signal_writers(lab, "stop")
    return found


def seed(lab, megabytes, methods=("clone", "dump")):
    """Fill the empty target by each method; returns method -> seconds and bytes."""
    fill(lab, megabytes)
    pair, found = Pair(lab), {}
    for method in methods:
        if found:
            empty(lab)
        # The dump runs on the new server's host, which has the programs of MySQL.
        host = NEW if method == "dump" else None
        options = dict(endpoints(pair, on_host=bool(host)), method=method, state_dir="/var/tmp/bench-seed-" + method)
        result = play([{"seamless.migration.mysql_seed": options, "register": "result"}], "seed-" + method, host)
        found[method] = {"seconds": result["seconds"], "bytes": result["bytes"]}
        print("  %s %.1f s" % (method, result["seconds"]), flush=True)
        for server in (pair.source, pair.target):
            server.forget()
    return found


def empty(lab):
    """Take everything from the target that a seed brought."""
    text = "STOP REPLICA; RESET REPLICA ALL; SET PERSIST super_read_only = 0; SET PERSIST read_only = 0; "
    text += "DROP DATABASE IF EXISTS %s; DROP DATABASE IF EXISTS shop; RESET BINARY LOGS AND GTIDS" % SCHEMA
    mysql.sql(lab, NEW, text)

