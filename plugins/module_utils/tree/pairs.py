# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of pairs of byte strings without NUL, and sorting them with bounded memory.

A file is key NUL value NUL key NUL value NUL ...: any file name fits, and the order is that of the bytes of the keys.
"""

import heapq
import os

from .errors import TreeError

_BLOCK = 1 << 18
# How many files are merged at once: each needs a descriptor and a block of memory.
_FAN_IN = 64
# What a record costs beside its bytes.
_OVERHEAD = 48


def read(stream, name):
    """Yield (key, value) from an open binary stream. Raises TreeError where the file ends within a pair."""
    rest = b""
    while True:
        block = stream.read(_BLOCK)
        if not block:
            break
        parts = (rest + block).split(b"\0")
        rest = parts.pop()
        if len(parts) % 2:
            rest = parts.pop() + b"\0" + rest
        fields = iter(parts)
        yield from zip(fields, fields)
    if rest:
        raise TreeError("%s ends in the middle of an entry. Make it again" % name)


def read_file(path):
    """Yield (key, value) of the file path. Raises TreeError."""
    try:
        with open(path, "rb") as stream:
            yield from read(stream, path)
    except OSError as error:
        raise TreeError("%s cannot be read: %s" % (path, error.strerror)) from error


def write_file(path, pairs):
    """Write pairs to the new file path (0600). Returns how many."""
    count = 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb", _BLOCK) as stream:
        for key, value in pairs:
            stream.write(key + b"\0" + value + b"\0")
            count += 1
    return count


class Sorter:
    """Sorts pairs by key; what does not fit into memory goes to files. prefix: path that their names begin with."""

    def __init__(self, prefix, memory_bytes):
        self.prefix = prefix
        self.memory_bytes = memory_bytes
        self.files = []
        self._records = []
        self._size = 0

    def add(self, key, value):
        record = key + b"\0" + value
        self._records.append(record)
        self._size += len(record) + _OVERHEAD
        if self._size >= self.memory_bytes:
            self.spill()

    def spill(self):
        """Write what is in memory to a file. Returns the files by now."""
        if self._records:
            # NUL sorts before everything, so the order of the records is that of the keys.
            self._records.sort()
            path = "%s.%d" % (self.prefix, len(self.files))
            write_file(path, (record.split(b"\0", 1) for record in self._records))
            self.files.append(path)
            self._records = []
            self._size = 0
        return self.files

    def sorted(self):
        """Yield all pairs in order; ends the sorter."""
        if not self.files:
            self._records.sort()
            for record in self._records:
                key, value = record.split(b"\0", 1)
                yield key, value
            self._records = []
            return
        yield from merged(self.spill(), self.prefix)


def merged(files, prefix):
    """Yield the pairs of sorted files in order, and remove the files. prefix: where intermediate files may go."""
    files, number = list(files), 0
    while len(files) > _FAN_IN:
        path = "%s.m%d" % (prefix, number)
        number += 1
        write_file(path, _merge(files[:_FAN_IN]))
        files = files[_FAN_IN:] + [path]
    yield from _merge(files)


def _merge(files):
    streams = [read_file(path) for path in files]
    yield from streams[0] if len(streams) == 1 else heapq.merge(*streams)
    for path in files:
        os.unlink(path)


def unique(pairs):
    """Yield pairs, of those with the same key (they stand together) the first only."""
    last = None
    for key, value in pairs:
        if key != last:
            yield key, value
            last = key
