# SPDX-License-Identifier: GPL-3.0-or-later
"""Do what may hang for ever in a child process, and give up on it after a time.

A process that waits for a dead NFS server cannot always be ended. It is killed by its id and left behind; it ends when
the server comes back or the mount goes.
"""

import json
import os
import select
import signal
import time
import traceback

from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError


class HangError(NfsError):
    """The time was over before there was an answer."""


class ChildError(NfsError):
    """What the child did failed. number: errno, or None."""

    def __init__(self, message, number=None):
        super().__init__(message)
        self.number = number


def _work(function, handle):
    try:
        answer = {"value": function()}
    except OSError as error:
        answer = {"error": error.strerror or str(error), "errno": error.errno}
    except NfsError as error:
        answer = {"error": str(error), "errno": None}
    except BaseException:
        answer = {"error": traceback.format_exc().strip().splitlines()[-1], "errno": None}
    data = json.dumps(answer).encode("ascii")
    while data:
        data = data[os.write(handle, data) :]


def _receive(handle, end):
    """Bytes until the child closes its end, or None when the time is over."""
    data = b""
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([handle], [], [], left)[0]:
            return None
        piece = os.read(handle, 65536)
        if not piece:
            return data
        data += piece


def _reap(pid, patience):
    end = time.monotonic() + patience
    while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < end:
        time.sleep(0.01)


def bounded(function, timeout, what):
    """Call function() in a child process.

    timeout: seconds. what: words for the message, such as "statfs of /srv". Returns what function returns, which JSON
    has to be able to say. Raises HangError after the time, ChildError for an exception.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            _work(function, writing)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        data = _receive(reading, time.monotonic() + timeout)
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)  # a zombie, when it has ended by itself
        _reap(pid, 1.0)
    if data is None:
        raise HangError("%s had no answer within %g s" % (what, timeout))
    if not data:
        raise ChildError("%s was ended from outside" % what)
    answer = json.loads(data.decode("ascii"))
    if "error" in answer:
        raise ChildError("%s failed: %s" % (what, answer["error"]), answer["errno"])
    return answer["value"]
