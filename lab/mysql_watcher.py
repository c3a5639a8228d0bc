#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches that two servers never take writes at once: asks each, every few milliseconds, to change a row.

The row is not there, so a try that works leaves no trace in data or binary log; a fenced server refuses it like any.
The log has JSON lines: [began, ended, server, took it]. SIGTERM ends the watcher.
"""

import argparse
import json
import signal
import sys
import threading
import time

import pymysql

ATTEMPT = "UPDATE watch SET n = n + 1 WHERE id = -1"
REST_UNREACHABLE = 0.05


class Watch(threading.Thread):
    """The tries on one server."""

    def __init__(self, name, address, login, record, interval):
        super().__init__(daemon=True)
        self.server, self.record, self.interval = name, record, interval
        host, _colon, port = address.partition(":")
        self._options = dict(
            login, host=host, port=int(port or 3306), autocommit=True, database="shop",
            connect_timeout=1, read_timeout=5,
        )  # fmt: skip
        self._link = None
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            self.attempt()
            self.stopping.wait(self.interval if self._link else max(self.interval, REST_UNREACHABLE))

    def attempt(self):
        """One try, and its record."""
        began = time.time()
        try:
            if self._link is None:
                self._link = pymysql.connect(**self._options)
            began = time.time()
            with self._link.cursor() as cursor:
                cursor.execute(ATTEMPT)
            took = True
        except (pymysql.MySQLError, OSError) as error:
            took = False
            if not (error.args and error.args[0] == 1290):
                self._link = None
        self.record([round(began, 6), round(time.time(), 6), self.server, took])


def main(argv):
    parser = argparse.ArgumentParser(description="Watcher of the lab")
    parser.add_argument("--log", required=True)
    parser.add_argument("--server", action="append", required=True, help="NAME=ADDRESS[:PORT]")
    parser.add_argument("--login", required=True, help="JSON file with user and password")
    parser.add_argument("--interval-ms", type=float, default=5)
    arguments = parser.parse_args(argv)
    with open(arguments.login, encoding="utf-8") as handle:
        login = json.load(handle)
    lock = threading.Lock()
    with open(arguments.log, "a", encoding="ascii") as log:

        def record(event):
            with lock:
                log.write(json.dumps(event) + "\n")
                log.flush()

        watches = [
            Watch(*pair.split("=", 1), login, record, arguments.interval_ms / 1000) for pair in arguments.server
        ]
        over = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: over.set())
        for watch in watches:
            watch.start()
        over.wait()
        for watch in watches:
            watch.stopping.set()
        for watch in watches:
            watch.join(10)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
