# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell an rsync that stands still from one that is slow.

rsync's own --timeout does not see a dead link once a sender has put its last bytes into the socket's buffer: the
keepalive of 4 bytes that it then writes every half timeout finds room there for years, and counts as a sign of life
(seen with 3.5.0 over a link that swallows everything: the process wrote 4 bytes a second and read nothing). And two
rsyncs that wait for each other exchange keepalives for ever. Both are seen from outside, by the bytes that the process
reads and writes.
"""

_SILENT = 256       # bytes written that are keepalives only, in the time of a silence
_IDLE = 1024        # bytes read and written that are keepalives only, in the time of an idleness
_SILENT_TIMES = 2   # of the timeout: rsync itself has the first word
_IDLE_TIMES = 10


def moved(pid):
    """Bytes that a process has read and written so far (files, pipes and sockets), or None when it cannot be told."""
    try:
        with open("/proc/%d/io" % pid, "rb") as stream:
            fields = dict(line.split(b":") for line in stream.read().splitlines())
        return int(fields[b"rchar"]), int(fields[b"wchar"])
    except (OSError, ValueError, KeyError):
        return None


class Stall:
    """What is known of one rsync. Its clock stands while it is stopped.

    io_timeout: seconds as given to rsync. busy: whether bytes flow for all that it does; an rsync that
    looks at whole trees may be idle for long, as long as the other side gives signs of life.
    """

    def __init__(self, io_timeout, busy, now):
        self.silent_limit = io_timeout * _SILENT_TIMES
        self.idle_limit = io_timeout * _IDLE_TIMES if busy else float("inf")
        self.silent = (now, 0, 0)
        self.idle = (now, 0)

    def stands(self, now, read, written):
        """Whether it stands still. now: seconds that it was let run; read, written: bytes so far."""
        if read > self.silent[1] or written > self.silent[2] + _SILENT:
            self.silent = (now, read, written)
        if read + written > self.idle[1] + _IDLE:
            self.idle = (now, read + written)
        return now - self.silent[0] > self.silent_limit or now - self.idle[0] > self.idle_limit
