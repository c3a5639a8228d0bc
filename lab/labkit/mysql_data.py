# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows, writers and the watcher of a lab's MySQL servers, and the verdict on what became of the rows.

The writers run on this machine, which stands for the application's: a process for each connection.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mysql_checker
import mysql_shop

from . import mysql
from .paths import CHECKOUT, LAB
from .run import LabError

WATCHER = "watcher"
# Rows of shop.products in one INSERT.
BATCH = 500


def python():
    """The Python that has PyMySQL."""
    own = CHECKOUT / "build" / "venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def folder(lab):
    return lab.folder / "mysql-writers"


def route(lab):
    """The symbolic link that names the server which writers with --route use."""
    return lab.folder / "mysql-route"


def set_route(lab, host):
    """Point the route to a host, in one step."""
    lab.address(host)
    fresh = route(lab).with_suffix(".%d" % os.getpid())
    fresh.symlink_to(host)
    fresh.replace(route(lab))


def sides(lab):
    """The servers that writers use: the old one first.

    :raises LabError: when the lab has none.
    """
    found = lab.of_kind("mysql_old") + lab.of_kind("mysql_new")
    if not found:
        raise LabError("Lab %s has no MySQL hosts" % lab.name)
    return found


def writable(lab):
    """The first server of the lab that takes writes.

    :raises LabError: when none does
    """
    for host in sides(lab):
        if mysql.sql(lab, host, "SELECT @@global.read_only").strip() == "0":
            return host
    raise LabError("No server of lab %s takes writes" % lab.name)


def make_tables(lab, host):
    """Make the application's tables on a server, as the application would."""
    mysql.sql(lab, host, ";\n".join(mysql_shop.STATEMENTS) + ";\n")


def seed(lab, host, rows, width=200):
    """Fill the table that the writers leave alone, and remember its checksum; returns how many rows there are.

    :param width: bytes of the text in each row
    """
    make_tables(lab, host)
    digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 "
    digits += "UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)"
    numbers = "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d n FROM %s a, %s b, %s c, %s e" % ((digits,) * 4)
    parts = []
    for start in range(0, rows, 10_000):
        parts.append(
            "INSERT INTO shop.products (name, price, description) SELECT CONCAT('product ', n + %d), (n %% 1000) / 7, "
            "RPAD(SHA2(n + %d, 256), %d, SHA2(n + %d, 512)) FROM (%s) numbers WHERE n + %d < %d;\n"
            % (start, start, width, start, numbers, start, rows)
        )
    mysql.sql(lab, host, "USE shop;\n" + "".join(parts), timeout=3600)
    expected = _seeded(lab, host)
    (lab.folder / "mysql-seeded.json").write_text(json.dumps(expected), encoding="ascii")
    return expected[0]


def _seeded(lab, host):
    return [int(text) for text in mysql.sql(lab, host, mysql_shop.SEEDED, timeout=600).split()]


def start_writers(lab, connections=4, *, rate=50.0, keep=2000, seed_text="1", routed=False, hosts=()):
    """Start writers; returns their names.

    :param rate: transactions a second of each; 0 is as fast as the server goes
    :param routed: they take the server that the route names, instead of trying all in turn
    """
    hosts = list(hosts) or sides(lab)
    login = _login_file(lab)
    if routed and not route(lab).is_symlink():
        set_route(lab, hosts[0])
    run_id = "%d" % (time.time() * 10 % 10**8)
    names = ["w%d-%s" % (number, run_id) for number in range(1, connections + 1)]
    for number, name in enumerate(names):
        more = ["--route", str(route(lab))] if routed else []
        more += ["--rate", "%g" % rate, "--keep", "%d" % keep, "--seed", "%s-%d" % (seed_text, number), "--name", name]
        _spawn(lab, name, "mysql_writer.py", ["--login", login, *_servers(lab, hosts), *more])
    return names


def start_watcher(lab, interval_ms=5.0, hosts=()):
    """Start the process that proves that never two servers take writes; see mysql_watcher.py."""
    if _pid(lab, WATCHER):
        raise LabError("The watcher of lab %s runs already" % lab.name)
    arguments = ["--login", _login_file(lab), *_servers(lab, hosts or sides(lab)), "--interval-ms", "%g" % interval_ms]
    _spawn(lab, WATCHER, "mysql_watcher.py", arguments)


def _servers(lab, hosts):
    return [part for host in hosts for part in ("--server", "%s=%s:%d" % (host, lab.address(host), mysql.PORT))]


def _login_file(lab):
    path = lab.folder / "mysql-application.json"
    login = {"user": mysql.APPLICATION, "password": mysql.Secrets(lab).read()["application"]}
    mysql.write_private(path, json.dumps(login))
    return str(path)


def _spawn(lab, name, program, arguments):
    folder(lab).mkdir(parents=True, exist_ok=True)
    log = folder(lab) / (name + ".jsonl")
    argv = [python(), str(LAB / program), "--log", str(log), *arguments]
    with open(folder(lab) / (name + ".err"), "ab") as errors:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True)
    (folder(lab) / (name + ".pid")).write_text("%d" % process.pid, encoding="ascii")


def _pid(lab, name):
    """Process id of a writer that lives, or None. A number that was given away since is not taken for it."""
    try:
        pid = int((folder(lab) / (name + ".pid")).read_text(encoding="ascii"))
        words = Path("/proc/%d/cmdline" % pid).read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if str(folder(lab) / (name + ".jsonl")).encode() in words else None


def names(lab):
    """Names of the writers that ever were, without the watcher."""
    return sorted(path.stem for path in folder(lab).glob("w*.jsonl") if path.stem != WATCHER)


def at_work(lab):
    """Names of the writers that live, resting or not."""
    return [name for name in names(lab) if _pid(lab, name)]


def _last_event(path):
    with open(path, "rb") as handle:
        handle.seek(max(0, path.stat().st_size - 8192))
        lines = handle.read().splitlines()
    for line in reversed(lines):
        try:
            return json.loads(line)
        except ValueError:
            continue
    return {}


def status(lab):
    """One dictionary for each writer: name, state (running, paused, ended), last server, commits."""
    found = []
    for name in names(lab):
        path = folder(lab) / (name + ".jsonl")
        last = _last_event(path)
        state = "ended"
        if _pid(lab, name):
            state = "paused" if last.get("event") == "paused" else "running"
        with open(path, "rb") as handle:
            commits = sum(b'"event": "ok"' in line for line in handle)
        found.append({"name": name, "state": state, "commits": commits, "server": last.get("server", "-")})
    return found


def signal_writers(lab, what, timeout=60):
    """Stop, pause or resume all writers, and wait until they did. Stopping stops the watcher as well.

    :raises LabError: when one does not within timeout seconds.
    """
    number = {"stop": signal.SIGTERM, "pause": signal.SIGUSR1, "resume": signal.SIGUSR2}[what]
    for name in [*names(lab), *([WATCHER] if what == "stop" else [])]:
        pid = _pid(lab, name)
        if pid:
            os.kill(pid, number)
    wanted = {"stop": (), "pause": ("paused",), "resume": ("running",)}[what]
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        states = {_state(lab, name) for name in names(lab)} - {"ended"}
        if states <= set(wanted) and not (what == "stop" and _pid(lab, WATCHER)):
            return
        time.sleep(0.05)
    raise LabError("Writers did not %s within %d s: %s" % (what, timeout, status(lab)))


def _state(lab, name):
    if not _pid(lab, name):
        return "ended"
    return "paused" if _last_event(folder(lab) / (name + ".jsonl")).get("event") == "paused" else "running"


def kill_writers(lab):
    """End whatever still runs, for a lab that goes down."""
    for name in [*names(lab), WATCHER]:
        pid = _pid(lab, name)
        if pid:
            os.kill(pid, signal.SIGKILL)


def rows(lab, host):
    """(name, columns) of each row of the writers' tables on a server."""
    for table in mysql_shop.KEYS:
        text = mysql.sql(lab, host, "SET NAMES utf8mb4; " + _as_json(table), timeout=600)
        for line in text.splitlines():
            key, row = mysql_shop.row(table, json.loads(line))
            yield (table, *key), row


def _as_json(table):
    columns = list(mysql_shop.KEYS[table]) + list(mysql_shop.COLUMNS[table].values())
    return "SELECT JSON_ARRAY(%s) FROM shop.%s" % (", ".join(columns), table)


def verdict(lab, host):
    """Compare a server's rows with what the writers were told; see mysql_checker.verdict().

    :raises LabError: while writers write.
    """
    busy = [entry["name"] for entry in status(lab) if entry["state"] == "running"]
    if busy:
        raise LabError("Writers are at work: %s. Pause or stop them first: lab mysql-writers pause" % ", ".join(busy))
    logs = {name: _lines(folder(lab) / (name + ".jsonl")) for name in names(lab)}
    kept = lab.folder / "mysql-seeded.json"
    seeded = (json.loads(kept.read_text(encoding="ascii")), _seeded(lab, host)) if kept.exists() else None
    return dict(mysql_checker.verdict(logs, rows(lab, host), seeded, watched(lab)), host=host)


def _lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def watched(lab):
    """Events of the watcher: (began, ended, server, took it)."""
    path = folder(lab) / (WATCHER + ".jsonl")
    found = []
    for line in _lines(path) if path.exists() else []:
        try:
            found.append(tuple(json.loads(line)))
        except ValueError:
            continue  # the last line of a watcher that was killed while it wrote it
    return found


def report(result, shown=10):
    """The verdict for people, as text."""
    lines = [
        "%(host)s: %(rows)d rows",
        "commits: %(acknowledged)d acknowledged, %(retried)d of them after a refusal; %(unknown)d rows unknown",
        "lost %(lost)d, duplicated %(duplicated)d, different %(different)d, extra %(extra)d, missed %(missed)d",
    ]
    lines = [line % result for line in lines]
    for kind, found in result["details"].items():
        lines += ["  %s %s" % (kind, entry) for entry in found[:shown]]
    for entry in result["both_writable"][:shown]:
        lines.append("two servers took writes at once: %(servers)s from %(from).6f to %(to).6f" % entry)
    for switch in result["windows"]:
        lines.append("window %(from)s -> %(to)s: %(window_ms).1f ms, longest of a writer %(longest_ms).1f ms" % switch)
    return "\n".join(lines)
