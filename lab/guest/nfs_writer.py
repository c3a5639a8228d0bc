#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A writer of the lab that changes files on an NFS mount, with the same operations and the same log as writer.py.

Nothing is written while the path is no NFS mount, so that what it writes never lands below the mount point. What the
mount refuses for a while, and what has no answer, is repeated until it works.
"""

import argparse
import contextlib
import errno
import os
import signal
import sys
import time
from urllib.parse import parse_qs

from writer import Log, Writer

MODE, FOLDER_MODE = 0o644, 0o755
CODES = {errno.ENOENT: 404, errno.ENOTDIR: 404, errno.EEXIST: 409}


def server_of(top):
    """Address of the NFS server that is mounted at top, or None."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        found = [line.split() for line in stream if line.split()[4] == top]
    if not found or found[-1][found[-1].index("-") + 1] not in ("nfs", "nfs4"):
        return None
    words = dict(word.partition("=")[::2] for word in found[-1][-1].split(","))
    return words.get("addr")


class Mount:
    """What writer.Client does over HTTP, done to a mounted tree. Paths are bytes below the top."""

    def __init__(self, top):
        self.top = top

    def request(self, method, path, query="", body=b""):
        """Returns status and address of the server that has it.

        :raises OSError: when the mount is not there, or refuses for a reason that may pass.
        """
        server = server_of(self.top)
        if server is None:
            raise OSError(errno.ENOTCONN, "nothing is mounted at %s" % self.top)
        place = os.fsencode(self.top) + b"/" + path
        values = {key: value[0] for key, value in parse_qs(query.lstrip("?"), encoding="latin-1").items()}
        operation = values.get("op", "") if method == "POST" else method.lower()
        try:
            getattr(self, "_" + operation)(place, values, body)
        except OSError as error:
            if error.errno in CODES:
                return CODES[error.errno], server
            raise
        return 200, server

    @staticmethod
    def _other(values):
        return values["to"].encode("latin-1")

    @staticmethod
    def _write(place, flags, body, offset=0):
        handle = os.open(place, flags, MODE)
        try:
            if offset and not body:
                os.ftruncate(handle, offset)  # a hole that no byte follows
            written = 0
            while written < len(body):
                written += os.pwrite(handle, body[written:], offset + written)
            os.fsync(handle)
        finally:
            os.close(handle)

    def _put(self, place, values, body):
        size = int(values.get("sparse", 0))
        self._write(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, body, max(0, size - len(body)))

    def _append(self, place, values, body):
        self._write(place, os.O_WRONLY, body, int(values["at"]))

    def _delete(self, place, values, body):
        del body
        if os.path.islink(place) or not os.path.isdir(place):
            os.unlink(place)
            return
        for entry in os.listdir(place) if "recursive" in values else []:
            with contextlib.suppress(FileNotFoundError):
                self._delete(place + b"/" + entry, values, b"")
        os.rmdir(place)

    def _rename(self, place, values, body):
        del body
        os.rename(place, os.fsencode(self.top) + b"/" + self._other(values))

    def _mkdir(self, place, values, body):
        del values, body
        os.mkdir(place, FOLDER_MODE)

    def _link(self, place, values, body):
        del body
        os.link(place, os.fsencode(self.top) + b"/" + self._other(values))

    def _symlink(self, place, values, body):
        del values
        os.symlink(body, place)

    def _chmod(self, place, values, body):
        del body
        os.chmod(place, int(values["mode"], 8))

    def _head(self, place, values, body):
        del values, body
        os.lstat(place)


def main(argv):
    parser = argparse.ArgumentParser(description="Writer of the lab on an NFS mount")
    parser.add_argument("--log", required=True, help="a folder; each run has a log of its own there")
    parser.add_argument("--top", required=True, help="the mount point")
    parser.add_argument("--prefix", required=True, help="directory in the tree for this writer")
    parser.add_argument("--rate", type=float, default=20, help="operations a second")
    parser.add_argument("--keep", type=int, default=200, help="about how many files stay")
    parser.add_argument("--seed", default="1")
    arguments = parser.parse_args(argv)
    os.umask(0o022)
    # A service that is stopped for the switch begins anew afterwards, and does not know what it had made.
    run = "%s-%d" % (arguments.prefix, time.time() * 1000)
    log = Log(os.path.join(arguments.log, run.replace("/", "-") + ".jsonl"))
    writer = Writer(Mount(arguments.top), log, run, arguments.seed, arguments.keep)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(writer, "stopping", True))
    signal.signal(signal.SIGUSR1, lambda *_: setattr(writer, "resting", True))
    signal.signal(signal.SIGUSR2, lambda *_: setattr(writer, "resting", False))
    writer.run(arguments.rate)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
