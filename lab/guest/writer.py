#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A writer of the lab: changes files through the upload service without pause, and logs what it was told is done.

The log has JSON lines. `sent` stands before an operation goes out, `ok` after it was acknowledged; both carry its
number. An operation that fails for a reason that may pass (no connection, 5xx) is repeated until it works. What stands
as `sent` without an end is unknown: it may have happened or not. `refused` is a 4xx: the server lacks what it had
acknowledged.

SIGTERM ends the writer, SIGUSR1 lets it rest between two operations, SIGUSR2 lets it go on.
"""

import argparse
import hashlib
import http.client
import json
import os
import random
import signal
import sys
import time
from urllib.parse import quote_from_bytes

RETRY_SECONDS = 0.025
TIMEOUT_SECONDS = 5
# Pieces of names that break tools which treat names as text, lines or shell words.
HOSTILE = [
    "with blank", "tab\there", "new\nline", "quote's", 'double"quote', "back\\slash", "dollar$HOME", "`tick`",
    "[brackets]", "*star?", "-dash", "~tilde", "#hash", "percent%20", "semi;colon",
    "pipe|amp&", "ünïcödé", "日本語", "emoji😀",
    " leading", "trailing ", "{a,b}", "(round)", "]]lua", "!bang", "c:olon", "comma,",
]  # fmt: skip
MODES = (0o644, 0o600, 0o640, 0o664, 0o755, 0o700)


class Stopped(Exception):
    """The writer was told to end while it waited."""


class Log:
    """The writer's log; each line is with the kernel before the next thing happens."""

    def __init__(self, path):
        self._handle = open(path, "a", encoding="ascii")  # noqa: SIM115 - open as long as its owner

    def write(self, **record):
        record["at"] = time.time()
        self._handle.write(json.dumps(record) + "\n")
        self._handle.flush()


class Client:
    """Operations over HTTP; a connection and a look at /etc/hosts for each of them."""

    def __init__(self, host, port):
        self.host, self.port = host, port

    def request(self, method, path, query="", body=b""):
        """Returns status and address of the server that answered.

        :raises OSError, http.client.HTTPException: when nobody answered.
        """
        link = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        try:
            link.connect()
            server = link.sock.getpeername()[0]
            link.request(method, "/" + quote_from_bytes(path) + query, body=body)
            answer = link.getresponse()
            answer.read()
            return answer.status, server
        finally:
            link.close()


class Writer:
    """Knows what it has made, picks what to do next, and does it until it works."""

    def __init__(self, client, log, prefix, seed, keep):
        self.client, self.log, self.keep = client, log, keep
        self.random = random.Random(seed)
        self.root = os.fsencode(prefix)
        self.files = {}  # path -> [hash object, size], shared by hard links
        self.folders = [self.root]
        self.links = []
        self.number = 0
        self.names = 0
        self.stopping = False
        self.resting = False

    # -- names and contents

    def name(self):
        self.names += 1
        text = "%d" % self.names
        if self.random.random() < 0.4:
            text += self.random.choice(HOSTILE)
        name = text.encode()
        if self.random.random() < 0.04:
            name += b"\xff\xfe\x80"
        return name

    def fresh(self):
        return self.random.choice(self.folders) + b"/" + self.name()

    def content(self):
        kind = self.random.random()
        if kind < 0.08:
            return b""
        top = 200_000 if kind > 0.97 else 6_000
        return self.random.randbytes(self.random.randrange(1, top))

    # -- doing

    def perform(self, method, path, query="", body=b"", **record):
        """Do one operation until it is acknowledged; returns whether it was.

        :raises Stopped: when told to end before that.
        """
        self.number += 1
        self.log.write(seq=self.number, event="sent", path=quote_from_bytes(path), **record)
        first, tries = None, 0
        while True:
            tries += 1
            try:
                status, server = self.client.request(method, path, query, body)
            except (OSError, http.client.HTTPException) as error:
                status, server, why = 0, None, "%s: %s" % (type(error).__name__, error)
            else:
                why = "status %d" % status
            if 200 <= status < 300 or (tries > 1 and self.happened(status, record)):
                extra = {"tries": tries, "first_failed_at": first} if tries > 1 else {}
                self.log.write(seq=self.number, event="ok", server=server, **extra)
                return True
            if 400 <= status < 500:
                self.log.write(seq=self.number, event="refused", server=server, status=status, tries=tries)
                return False
            if first is None:
                first = time.time()
                self.log.write(seq=self.number, event="unknown", why=why, server=server)
            if self.stopping:
                raise Stopped
            time.sleep(RETRY_SECONDS)

    def happened(self, status, record):
        """Whether a refusal after an unknown try only says that the first try had been done."""
        if record["op"] == "delete":
            return status == 404
        if record["op"] in ("mkdir", "link", "symlink"):
            return status == 409
        if record["op"] == "rename" and status == 404:
            try:
                return self.client.request("HEAD", bytes_of(record["to"]))[0] == 200
            except (OSError, http.client.HTTPException):
                return False
        return False

    # -- operations; each returns False when there is nothing to do it to

    def create(self):
        self._put(self.fresh())

    def overwrite(self):
        if self.files:
            self._put(self.any_file())

    def _put(self, path):
        body = self.content()
        known = hashlib.sha256(body)
        if self.perform("PUT", path, "", body, op="put", sha256=known.hexdigest(), size=len(body)):
            # In place: every hard link of it has the new content.
            self.files.setdefault(path, [None, 0])[:] = [known, len(body)]
        else:
            self.files.pop(path, None)

    def sparse(self):
        path, body = self.fresh(), self.content()
        size = len(body) + self.random.randrange(1, 1 << 20)
        known = hashlib.sha256(bytes(size - len(body)) + body)
        if self.perform("PUT", path, "?sparse=%d" % size, body, op="put", sha256=known.hexdigest(), size=size):
            self.files[path] = [known, size]

    def append(self):
        if not self.files:
            return
        path = self.any_file()
        body = self.content()
        known, size = self.files[path]
        after = known.copy()
        after.update(body)
        record = {"op": "append", "sha256": after.hexdigest(), "size": size + len(body)}
        if self.perform("POST", path, "?op=append&at=%d" % size, body, **record):
            self.files[path][:] = [after, size + len(body)]
        else:
            self.files.pop(path)

    def rename(self):
        if not self.files:
            return
        path = self.any_file()
        onto_other = self.random.random() < 0.2 and len(self.files) > 1
        to = self.any_file() if onto_other else self.fresh()
        # rename(2) does nothing when both names are one file already.
        if to != path and self.files.get(to) is not self.files[path] and self._rename(path, to):
            self.files[to] = self.files.pop(path)

    def _rename(self, path, to):
        done = self.perform("POST", path, "?op=rename&to=" + quote_from_bytes(to), op="rename", to=quote_from_bytes(to))
        if not done:
            self.files.pop(path, None)
        return done

    def rename_folder(self):
        path, to = self.any_folder(), self.fresh()
        if not path or to.startswith(path + b"/") or not self._rename(path, to):
            return
        inside = path + b"/"

        def moved(name):
            return to + name[len(path) :] if name == path or name.startswith(inside) else name

        self.files = {moved(name): known for name, known in self.files.items()}
        self.folders = [moved(name) for name in self.folders]
        self.links = [moved(name) for name in self.links]

    def delete(self):
        if self.files:
            path = self.any_file()
            self.perform("DELETE", path, op="delete")
            del self.files[path]

    def delete_folder(self):
        path = self.any_folder()
        if path:
            self.perform("DELETE", path, "?recursive=1", op="delete")
            inside = path + b"/"
            self.files = {name: known for name, known in self.files.items() if not name.startswith(inside)}
            self.folders = [name for name in self.folders if name != path and not name.startswith(inside)]
            self.links = [name for name in self.links if not name.startswith(inside)]

    def mkdir(self):
        path = self.fresh()
        if path.count(b"/") < 12 and self.perform("POST", path, "?op=mkdir", op="mkdir"):
            self.folders.append(path)

    def hard_link(self):
        if self.files:
            path, to = self.any_file(), self.fresh()
            if self.perform("POST", path, "?op=link&to=" + quote_from_bytes(to), op="link", to=quote_from_bytes(to)):
                self.files[to] = self.files[path]

    def symlink(self):
        path, target = self.fresh(), self.name()
        if self.perform("POST", path, "?op=symlink", target, op="symlink", target=quote_from_bytes(target)):
            self.links.append(path)

    def delete_symlink(self):
        if self.links:
            path = self.links.pop(self.random.randrange(len(self.links)))
            self.perform("DELETE", path, op="delete")

    def chmod(self):
        if self.files:
            mode = self.random.choice(MODES)
            self.perform("POST", self.any_file(), "?op=chmod&mode=%o" % mode, op="chmod", mode=mode)

    def any_file(self):
        return self.random.choice(list(self.files))

    def any_folder(self):
        return self.random.choice(self.folders[1:]) if len(self.folders) > 1 else None

    # -- the loop

    def step(self):
        """One operation, picked so that about `keep` files stay."""
        growing = len(self.files) < self.keep
        choices = [
            (self.create, 40 if growing else 10), (self.overwrite, 15), (self.append, 15), (self.rename, 8),
            (self.delete, 5 if growing else 25), (self.mkdir, 4), (self.rename_folder, 1),
            (self.delete_folder, 0.3 if growing else 1), (self.hard_link, 4), (self.symlink, 2),
            (self.delete_symlink, 1), (self.chmod, 4), (self.sparse, 1),
        ]  # fmt: skip
        operation = self.random.choices([pair[0] for pair in choices], [pair[1] for pair in choices])[0]
        operation()

    def run(self, rate):
        """Work at `rate` operations a second until told to end."""
        self.log.write(event="start", prefix=quote_from_bytes(self.root))
        try:
            for folder in (os.path.dirname(self.root), self.root):
                self._make_root(folder)
            due = time.monotonic()
            while not self.stopping:
                if self.resting:
                    self._rest()
                    due = time.monotonic()
                self.step()
                due = max(due + 1 / rate, time.monotonic() - 1)
                time.sleep(max(0, due - time.monotonic()))
        except Stopped:
            pass
        self.log.write(event="end")

    def _make_root(self, folder):
        """Make a folder that another writer may have made; not logged, as nobody owns it alone."""
        while not self.stopping:
            try:
                if self.client.request("POST", folder, "?op=mkdir")[0] in (200, 409):
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(RETRY_SECONDS)

    def _rest(self):
        self.log.write(event="paused")
        while self.resting and not self.stopping:
            time.sleep(0.02)
        self.log.write(event="resumed")


def bytes_of(quoted):
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(quoted)


def main(argv):
    parser = argparse.ArgumentParser(description="Writer of the lab")
    parser.add_argument("--log", required=True)
    parser.add_argument("--prefix", required=True, help="directory in the tree that is this writer's alone")
    parser.add_argument("--host", default="files.lab")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--rate", type=float, default=50, help="operations a second")
    parser.add_argument("--keep", type=int, default=400, help="about how many files stay")
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args(argv)
    client = Client(arguments.host, arguments.port)
    writer = Writer(client, Log(arguments.log), arguments.prefix, arguments.seed, arguments.keep)

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
