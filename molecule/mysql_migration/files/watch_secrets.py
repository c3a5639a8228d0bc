#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for secrets in the lists of processes of this machine, and of both servers.

watch_secrets.py INPUTS STATUS BAIT: goes to the background and looks until the lab of INPUTS is gone. What it saw is in
STATUS: {"looks", "seen": [...], "bait": [...]}; `bait` are places where it saw the word BAIT, which shows that it sees.
"""

import glob
import json
import os
import subprocess
import sys
import time

import pymysql

PAUSE_S = 0.05
LONGEST_S = 3600
RUNNING = "SELECT PROCESSLIST_INFO AS text FROM performance_schema.threads WHERE PROCESSLIST_ID <> CONNECTION_ID()"


def secrets_of(inputs):
    """Every password of the migration's inputs, as it is and as it may be written."""
    found = {inputs["migration_mysql"]["replication"]["password"]}
    found |= {login["login_password"] for login in inputs["lab_mysql"].values()}
    forms = set()
    for secret in found:
        forms |= {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
        forms.add(secret.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"'))
        forms.add(secret.replace("'", "''"))
    return sorted(forms)


class Server:
    """The list of processes of one server, which may be away for a while."""

    def __init__(self, login):
        self._login = login
        self._link = None

    def texts(self):
        try:
            if self._link is None:
                self._link = pymysql.connect(
                    host=self._login["login_host"], user=self._login["login_user"],
                    password=self._login["login_password"], ssl={"ca": self._login["ca_cert"]}, autocommit=True,
                    connect_timeout=2, read_timeout=5,
                )  # fmt: skip
            with self._link.cursor() as cursor:
                cursor.execute(RUNNING)
                return [row[0] for row in cursor.fetchall() if row[0]]
        except (pymysql.err.MySQLError, OSError):
            self._link = None
            return []


def commands():
    """The argument vectors of all processes."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as stream:
                text = stream.read().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if "watch_secrets.py" not in text:
            yield text


def look(status, bait, secrets, texts):
    for text in texts:
        if any(secret in text for secret in secrets):
            status["seen"].append(text[:500])
        if bait in text:
            status["bait"].append(text[:500])


def watch(path, target, bait):
    with open(path, encoding="utf-8") as stream:
        inputs = json.load(stream)["all"]["vars"]
    servers = [Server(inputs["lab_mysql"][name]) for name in ("mysql_old", "mysql_new")]
    secrets = secrets_of(inputs)
    status = {"looks": 0, "seen": [], "bait": []}
    end = time.monotonic() + LONGEST_S
    authority = inputs["lab_mysql"]["mysql_old"]["ca_cert"]
    while os.path.exists(authority) and time.monotonic() < end:
        look(status, bait, secrets, commands())
        for server in servers:
            look(status, bait, secrets, server.texts())
        status["looks"] += 1
        for name in ("seen", "bait"):
            status[name] = status[name][:20]
        with open(target + ".new", "w", encoding="utf-8") as stream:
            json.dump(status, stream)
        os.replace(target + ".new", target)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    if os.environ.get("WATCH_IN_BACKGROUND"):
        watch(*sys.argv[1:])
    else:
        subprocess.Popen(
            [sys.executable, *sys.argv], env=dict(os.environ, WATCH_IN_BACKGROUND="1"), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
