# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes of content that was read before, so that nothing is read twice.

A hash counts as long as device, inode, size, mtime and ctime of the file are the same. It does not see a disk that
changes bits by itself.
"""

import os

try:
    import sqlite3
except ImportError:  # some small systems leave it out
    sqlite3 = None  # type: ignore[assignment]

from .entry import is_gone, parse
from .errors import TreeError

_MAKE = (
    "CREATE TABLE IF NOT EXISTS content (dev INTEGER, ino INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER, "
    "hash BLOB, PRIMARY KEY (dev, ino)) WITHOUT ROWID"
)
_MANY = 5000


def _signed(number):
    """A number of the kernel (unsigned, 64 bits) as sqlite takes it."""
    return number - (1 << 64) if number >= 1 << 63 else number


class Cache:
    """path: the file. readonly: for workers; a file that is missing or broken is an empty cache."""

    def __init__(self, path, readonly=False):
        if sqlite3 is None:
            raise TreeError("Python's sqlite3 is missing, which hash_cache needs. Install it, or leave hash_cache out")
        self._path = path
        self._open = None
        if readonly and os.path.exists(path):
            try:
                self._open = sqlite3.connect(path, timeout=30)
                self._open.execute("PRAGMA query_only = 1")
                self._open.execute("SELECT 1 FROM content LIMIT 1").fetchall()
            except sqlite3.Error:
                self._open = None

    def get(self, status):
        """The hash of the file with this status (from lstat) as bytes, or None."""
        if self._open is None:
            return None
        row = self._open.execute(
            "SELECT hash FROM content WHERE dev = ? AND ino = ? AND size = ? AND mtime = ? AND ctime = ?", _key(status)
        ).fetchone()
        return bytes(row[0]) if row else None

    def update(self, root, manifest):
        """Take in the hashes of a manifest file of the tree root (str). Returns how many. Raises TreeError."""
        from .manifest import Manifest

        rows, count = [], 0
        try:
            handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            os.close(handle)
            try:
                connection = _connect(self._path)
            except sqlite3.DatabaseError:  # broken: its content can be made again
                os.truncate(self._path, 0)
                connection = _connect(self._path)
            try:
                for row in _rows(os.fsencode(root), Manifest(manifest)):
                    rows.append(row)
                    count += 1
                    if len(rows) >= _MANY:
                        _store(connection, rows)
                        rows = []
                _store(connection, rows)
                connection.commit()
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            raise TreeError("The hash cache %s cannot be written: %s. Remove it" % (self._path, error)) from error
        return count


def _connect(path):
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_MAKE)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _key(status):
    return (
        _signed(status.st_dev),
        _signed(status.st_ino),
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _rows(root, manifest):
    """Yield rows for files that are still what the manifest says."""
    for path, value in manifest.entries():
        entry = parse(value)
        if entry.type != b"f" or entry.content[:1] not in (b"h", b"s"):
            continue
        try:
            status = os.lstat(root + b"/" + path)
        except OSError as error:
            if is_gone(error):
                continue
            raise
        if (status.st_mtime_ns, status.st_ctime_ns) == (int(entry.mtime_ns), int(entry.ctime_ns)):
            yield _key(status) + (entry.content[1:],)


def _store(connection, rows):
    connection.executemany("INSERT OR REPLACE INTO content VALUES (?, ?, ?, ?, ?, ?)", rows)
