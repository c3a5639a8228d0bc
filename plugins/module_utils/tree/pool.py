# SPDX-License-Identifier: GPL-3.0-or-later
"""Worker processes that are told what to do over pipes.

Threads would share one interpreter lock, and a walk is many short calls; multiprocessing needs semaphores, which
small containers do not have. A message is a length, then as many bytes.
"""

import os
import selectors
import struct
import sys
import traceback

from .errors import TreeError

_LENGTH = struct.Struct(">Q")
FINISH = b"q"


def _send(handle, payload):
    view = memoryview(_LENGTH.pack(len(payload)) + payload)
    while view:
        view = view[os.write(handle, view) :]


def _receive(handle):
    """The next message, or None at the end."""
    head = _exactly(handle, _LENGTH.size)
    return None if head is None else _exactly(handle, _LENGTH.unpack(head)[0])


def _exactly(handle, count):
    parts = []
    while count:
        part = os.read(handle, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class _Child:
    def __init__(self, number, make, others):
        to_child, self.write_to = os.pipe()
        self.read_from, from_child = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid:
            os.close(to_child)
            os.close(from_child)
            return
        status = 1
        try:
            for handle in [self.write_to, self.read_from] + others:
                os.close(handle)
            _serve(make(number), to_child, from_child)
            status = 0
        finally:
            os._exit(status)


def _serve(work, incoming, outgoing):
    """The life of a worker: message in, message out; b"+" in front of an answer, b"!" in front of a failure."""
    while True:
        message = _receive(incoming)
        if message is None:
            return
        try:
            answer = b"+" + work(message)
        except Exception as error:  # noqa: BLE001 the parent tells it
            text = str(error) if isinstance(error, (TreeError, OSError)) else traceback.format_exc()
            answer = b"!" + text.encode("utf-8", "backslashreplace")
        _send(outgoing, answer)


class Pool:
    """count workers; make(number) is called in each and returns its function bytes -> bytes."""

    def __init__(self, count, make):
        self._children = []
        for number in range(count):
            others = [handle for child in self._children for handle in (child.write_to, child.read_from)]
            self._children.append(_Child(number, make, others))

    def run(self, jobs, on_answer):
        """Have messages worked on until none is left.

        jobs: object with pop() -> bytes or None when there is none now. on_answer(bytes) may give it new ones.
        Raises TreeError with what a worker could not do.
        """
        idle, busy = list(self._children), 0
        with selectors.DefaultSelector() as selector:
            for child in self._children:
                selector.register(child.read_from, selectors.EVENT_READ, child)
            while True:
                while idle:
                    job = jobs.pop()
                    if job is None:
                        break
                    _send(idle[-1].write_to, job)
                    idle.pop()
                    busy += 1
                if not busy:
                    return
                for key, _events in selector.select():
                    on_answer(self._answer(key.data))
                    idle.append(key.data)
                    busy -= 1

    def each(self, message):
        """Send one message to every worker. Returns the answers. Raises TreeError."""
        for child in self._children:
            _send(child.write_to, message)
        return [self._answer(child) for child in self._children]

    @staticmethod
    def _answer(child):
        answer = _receive(child.read_from)
        if answer is None:
            raise TreeError("a worker process ended by itself; the machine may be out of memory")
        if answer[:1] == b"!":
            raise TreeError(answer[1:].decode("utf-8", "replace"))
        return answer[1:]

    def close(self):
        """End the workers, also those that still work."""
        for child in self._children:
            os.close(child.write_to)
            os.close(child.read_from)
        for child in self._children:
            os.waitpid(child.pid, 0)
        self._children = []

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()
