#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A writer of the lab: one connection that changes rows without pause, and logs each commit that was acknowledged.

The log has JSON lines. `sent` stands before a transaction goes out, `ok` after its commit was acknowledged, with the
time, the server, and when the try began. `refused` is a server that would not (fenced, unreachable): the transaction
goes to the next one. `unknown` is a commit whose outcome nobody knows, as its connection broke: it is not repeated, and
the writer leaves its rows alone from then on.

The servers are tried in turn (--server NAME=ADDRESS, several), or the one is taken that the link --route names.
SIGTERM ends the writer, SIGUSR1 lets it rest between two transactions, SIGUSR2 lets it go on.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import time

import pymysql
from pymysql.constants import CLIENT

PAUSE_SECONDS = 0.004
TIMEOUT_SECONDS = 10
FENCED = 1290
# What a server says before it has done anything: fenced, no privilege, no such table; and what it has taken back.
REFUSALS = (FENCED, 1836, 1227, 1142, 1146, 1049, 1044, 1045)
TAKEN_BACK = (1205, 1213)
TEXTS = ["plain", "it's", 'say "x"', "back\\slash", "100%", "ünïcödé", "日本語", "😀", "semi;colon -- x", " blank "]


class Stopped(Exception):
    """The writer was told to end while it waited."""


class Refused(Exception):
    """The transaction was not done, for sure; code is the server's, or 0."""

    def __init__(self, text, code=0):
        super().__init__(text)
        self.code = code


class Unknown(Exception):
    """The transaction was done, or not."""


class Log:
    """The writer's log; each line is with the kernel before the next thing happens."""

    def __init__(self, path):
        self._handle = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as its owner

    def write(self, **record):
        self._handle.write(json.dumps(record) + "\n")
        self._handle.flush()


class Servers:
    """The servers that a writer knows, and its connections to them."""

    def __init__(self, addresses, login, route=None):
        self.addresses, self.login, self.route = addresses, login, route
        self.current = next(iter(addresses))
        self._links = {}

    def pick(self):
        """Name of the server that is asked now."""
        if self.route:
            self.current = os.path.basename(os.readlink(self.route))
        return self.current

    def next(self):
        """After a refusal: the other one, unless the route says which."""
        if not self.route:
            names = list(self.addresses)
            self.current = names[(names.index(self.current) + 1) % len(names)]

    def link(self, name):
        """A connection to a server.

        :raises pymysql.MySQLError, OSError: when there is none to be had.
        """
        if name not in self._links:
            host, _colon, port = self.addresses[name].partition(":")
            self._links[name] = pymysql.connect(
                host=host, port=int(port or 3306), autocommit=True, charset="utf8mb4", connect_timeout=2,
                read_timeout=TIMEOUT_SECONDS, write_timeout=TIMEOUT_SECONDS, client_flag=CLIENT.FOUND_ROWS,
                database="shop", **self.login,
            )  # fmt: skip
        return self._links[name]

    def roll_back(self, name):
        """End what a refusal left open, or the connection."""
        try:
            self.link(name).rollback()
        except (pymysql.MySQLError, OSError):
            self.drop(name)

    def drop(self, name):
        link = self._links.pop(name, None)
        if link:
            try:
                link.close()
            except (pymysql.MySQLError, OSError):
                pass


def attempt(link, statements):
    """Run statements as one transaction; a single one commits itself.

    :return: (id of the row that the first statement inserted, whether each statement found its row)
    :raises Refused, Unknown: when it was not acknowledged
    """
    several = len(statements) > 1
    committing = not several
    try:
        with link.cursor() as cursor:
            if several:
                cursor.execute("BEGIN")
            new_id, complete = None, True
            for number, (text, values) in enumerate(statements):
                found = cursor.execute(text, values)
                complete = complete and found >= 1
                new_id = cursor.lastrowid if number == 0 else new_id
            if several:
                committing = True
                cursor.execute("COMMIT")
            return new_id, complete
    except pymysql.MySQLError as error:
        code = error.args[0] if error.args else 0
        if committing and code not in REFUSALS + TAKEN_BACK:
            raise Unknown("%s" % error) from error
        raise Refused("%s" % error, code) from error
    except OSError as error:
        raise (Unknown if committing else Refused)("%s: %s" % (type(error).__name__, error)) from error


class Writer:
    """Knows what it has made, picks what to do next, and does it until it is acknowledged or lost in doubt."""

    def __init__(self, servers, log, name, seed, keep):
        self.servers, self.log, self.name, self.keep = servers, log, name, keep
        self.random = random.Random(seed)
        self.orders = {}  # ref -> row
        self.stock = {}  # sku -> row
        self.lines = {}  # ref -> number of lines
        self.seq = self.ref = 0
        self.stopping = self.resting = False

    # -- one transaction

    def perform(self, changes, statements):
        """Do a transaction until a server acknowledges it; returns whether one did.

        :param changes: what it makes: [table, key without the writer, row or None]
        :raises Stopped: when told to end before that.
        """
        self.seq += 1
        self.log.write(event="sent", seq=self.seq, changes=changes)
        for tries in itertools.count(1):
            server, began = self.servers.current, time.time()
            try:
                server = self.servers.pick()
                new_id, complete = attempt(self.servers.link(server), statements)
            except Unknown as error:
                self.servers.drop(server)
                times = {"began": began, "at": time.time()}
                self.log.write(event="unknown", seq=self.seq, server=server, **times, why=str(error)[:200])
                self.servers.next()
                return False
            except (Refused, pymysql.MySQLError, OSError) as error:
                self._refused(server, began, tries, error)
                continue
            more = {"tries": tries} if tries > 1 else {}
            if not complete:
                more["missed"] = True
            if changes[0][0] == "orders" and new_id:
                more["id"] = new_id
            self.log.write(event="ok", seq=self.seq, server=server, began=began, at=time.time(), **more)
            break
        return True

    def _refused(self, server, began, tries, error):
        code = getattr(error, "code", 0)
        event = "again" if code in TAKEN_BACK else "refused"
        self.log.write(event=event, seq=self.seq, server=server, began=began, at=time.time(), why=str(error)[:200])
        if code in (FENCED, *TAKEN_BACK):
            self.servers.roll_back(server)
        else:
            self.servers.drop(server)
        if self.stopping:
            raise Stopped
        if event == "refused":
            self.servers.next()
            if tries > 1:
                time.sleep(PAUSE_SECONDS)

    # -- what there is to do

    def text(self):
        text = "%s %d" % (self.random.choice(TEXTS), self.random.randrange(1000))
        return None if self.random.random() < 0.1 else text

    def new_order(self):
        self.ref += 1
        row = {
            "amount": "%d.%02d" % (self.random.randrange(10_000), self.random.randrange(100)),
            "note": self.text(),
            "data": self.random.randbytes(self.random.randrange(33)).hex().upper(),
            "version": 1,
        }
        statement = (
            "INSERT INTO orders (writer, ref, amount, note, data, version) VALUES (%s, %s, %s, %s, %s, 1)",
            (self.name, self.ref, row["amount"], row["note"], bytes.fromhex(row["data"])),
        )
        return self.ref, row, statement

    def insert(self):
        ref, row, statement = self.new_order()
        if self.perform([["orders", [ref], row]], [statement]):
            self.orders[ref] = row

    def insert_with_lines(self):
        """An order, its lines, and what they take from the stock, in one transaction."""
        ref, row, statement = self.new_order()
        changes, statements = [["orders", [ref], row]], [statement]
        for line in range(1, self.random.randrange(2, 5)):
            sku, quantity = "sku-%d" % self.random.randrange(50), self.random.randrange(1, 10)
            changes.append(["order_lines", [ref, line], {"sku": sku, "quantity": quantity}])
            values = (self.name, ref, line, sku, quantity)
            statements.append(("INSERT INTO order_lines VALUES (%s, %s, %s, %s, %s)", values))
        sku = self.any(self.stock)
        after = None
        if sku:
            known = self.stock[sku]
            after = dict(known, quantity=known["quantity"] - 1, version=known["version"] + 1)
            changes.append(["stock", [sku], after])
            less = "UPDATE stock SET quantity = quantity - 1, version = version + 1 WHERE writer = %s AND sku = %s"
            statements.append((less, (self.name, sku)))
        if self.perform(changes, statements):
            self.orders[ref], self.lines[ref] = row, len([one for one in changes if one[0] == "order_lines"])
            if sku:
                self.stock[sku] = after
        elif sku:
            del self.stock[sku]

    def update(self):
        ref = self.any(self.orders)
        if ref is None:
            return
        row = dict(self.orders[ref], note=self.text(), version=self.orders[ref]["version"] + 1)
        statement = "UPDATE orders SET note = %s, version = version + 1 WHERE writer = %s AND ref = %s"
        if self.perform([["orders", [ref], row]], [(statement, (row["note"], self.name, ref))]):
            self.orders[ref] = row
        else:
            del self.orders[ref]

    def delete(self):
        """An order with its lines."""
        ref = self.any(self.orders)
        if ref is None:
            return
        changes = [["orders", [ref], None]]
        statements = [("DELETE FROM orders WHERE writer = %s AND ref = %s", (self.name, ref))]
        lines = self.lines.pop(ref, 0)
        if lines:
            changes += [["order_lines", [ref, line], None] for line in range(1, lines + 1)]
            statements.append(("DELETE FROM order_lines WHERE writer = %s AND ref = %s", (self.name, ref)))
        self.perform(changes, statements)
        del self.orders[ref]

    def put_stock(self):
        """A row with a natural key: new, or the same key again after it was deleted."""
        if len(self.stock) > 60:
            return self.take_stock()
        sku = "%s %d" % (self.random.choice(TEXTS[:6]), self.random.randrange(10_000))
        if sku in self.stock:
            return None
        row = {"quantity": self.random.randrange(1000), "note": self.text(), "version": 1}
        statement = "INSERT INTO stock VALUES (%s, %s, %s, %s, 1)"
        if self.perform([["stock", [sku], row]], [(statement, (self.name, sku, row["quantity"], row["note"]))]):
            self.stock[sku] = row
        return None

    def take_stock(self):
        sku = self.any(self.stock)
        if sku is None:
            return
        self.perform([["stock", [sku], None]], [("DELETE FROM stock WHERE writer = %s AND sku = %s", (self.name, sku))])
        del self.stock[sku]

    def any(self, rows):
        return self.random.choice(list(rows)) if rows else None

    # -- the loop

    def step(self):
        """One transaction, picked so that about `keep` orders stay."""
        growing = len(self.orders) < self.keep
        choices = [
            (self.insert, 30 if growing else 15), (self.insert_with_lines, 20 if growing else 10), (self.update, 20),
            (self.put_stock, 10), (self.take_stock, 5), (self.delete, 5 if growing else 30),
        ]  # fmt: skip
        self.random.choices([pair[0] for pair in choices], [pair[1] for pair in choices])[0]()

    def run(self, rate):
        """Work at `rate` transactions a second, or as fast as the server goes with 0, until told to end."""
        self.log.write(event="start", name=self.name, at=time.time())
        due = time.monotonic()
        try:
            while not self.stopping:
                if self.resting:
                    self._rest()
                    due = time.monotonic()
                self.step()
                if rate:
                    due = max(due + 1 / rate, time.monotonic() - 1)
                    time.sleep(max(0, due - time.monotonic()))
        except Stopped:
            pass
        self.log.write(event="end", at=time.time())

    def _rest(self):
        self.log.write(event="paused", at=time.time())
        while self.resting and not self.stopping:
            time.sleep(0.02)
        self.log.write(event="resumed", at=time.time())


def arguments_of(argv):
    parser = argparse.ArgumentParser(description="Writer of the lab")
    parser.add_argument("--log", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--server", action="append", required=True, help="NAME=ADDRESS[:PORT]; several, in turn")
    parser.add_argument("--route", help="symbolic link whose target is the name of the server to use")
    parser.add_argument("--login", required=True, help="JSON file with user and password")
    parser.add_argument("--rate", type=float, default=50, help="transactions a second; 0: as fast as it goes")
    parser.add_argument("--keep", type=int, default=2000, help="about how many orders stay")
    parser.add_argument("--seed", default="1")
    return parser.parse_args(argv)


def main(argv):
    arguments = arguments_of(argv)
    with open(arguments.login, encoding="utf-8") as handle:
        login = json.load(handle)
    addresses = dict(pair.split("=", 1) for pair in arguments.server)
    servers = Servers(addresses, login, arguments.route)
    writer = Writer(servers, Log(arguments.log), arguments.name, arguments.seed, arguments.keep)

    def set_to(name, value):
        return lambda *_: setattr(writer, name, value)

    signal.signal(signal.SIGTERM, set_to("stopping", True))
    signal.signal(signal.SIGINT, set_to("stopping", True))
    signal.signal(signal.SIGUSR1, set_to("resting", True))
    signal.signal(signal.SIGUSR2, set_to("resting", False))
    writer.run(arguments.rate)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
