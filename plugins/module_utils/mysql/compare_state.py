# SPDX-License-Identifier: GPL-3.0-or-later
"""What a comparison has found so far: per table, in the file of differences, and in the file from which it goes on."""

import hashlib
import json
import os
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

# What was equal longer ago proves nothing any more: somebody may have written to the target since.
KEPT_SECONDS = 6 * 3600

COUNTED = ("lost", "extra", "different", "unsettled")
_SHOWN = 100
_SAVED_EVERY = 2.0


class TableResult(object):
    """What is known of one table."""

    def __init__(self, schema, table, state="equal", reason="", key=()):
        self.schema = schema
        self.table = table
        self.state = state
        self.reason = reason
        self.key = list(key)
        self.counts = dict.fromkeys(("rows", "rows_target", "chunks", "settled_chunks") + COUNTED, 0)

    def found(self, kind, reason=""):
        """One key is not equal."""
        self.counts[kind] += 1
        self.reason = reason or self.reason
        if kind != "unsettled":
            self.state = "different"
        elif self.state == "equal":
            self.state = "unsettled"

    def as_dict(self):
        return dict(self.counts, schema=self.schema, table=self.table, state=self.state, reason=self.reason,
                    key=self.key)

    @classmethod
    def load(cls, value):
        result = cls(value["schema"], value["table"], value["state"], value["reason"], value["key"])
        result.counts = dict((name, value[name]) for name in result.counts)
        return result


class Differences(object):
    """The file of everything that differs, as JSON lines (0600), and the first of them for the result."""

    def __init__(self, path=None, length=0):
        self.path = path
        self.first = []
        self._stream = None
        if not path:
            return
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.fchmod(handle, 0o600)
            os.ftruncate(handle, length)
            self._stream = os.fdopen(handle, "r+b")
            self.first = [json.loads(line.decode("utf-8")) for _number, line in zip(range(_SHOWN), self._stream)]
            self._stream.seek(length)
        except (OSError, ValueError) as error:
            raise MySQLMigrationError("Failed to write the file of differences %s: %s. Give another differences_file."
                                      % (path, getattr(error, "strerror", None) or error)) from error

    def add(self, difference):
        if len(self.first) < _SHOWN:
            self.first.append(difference)
        if self._stream:
            self._stream.write(json.dumps(difference, sort_keys=True).encode("utf-8") + b"\n")

    def flush(self):
        """Make durable what was added. Returns the length of the file."""
        if not self._stream:
            return 0
        self._stream.flush()
        os.fsync(self._stream.fileno())
        return self._stream.tell()

    def close(self):
        if self._stream:
            self.flush()
            self._stream.close()


def fingerprint(identities, tables):
    """What must be the same for a comparison to go on: servers, tables and how they are read."""
    parts = list(identities)
    for table in tables:
        parts.append("%s %s %s" % (table.shown, table.row(), table.key.order() if table.key else ""))
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()


class Resume(object):
    """The file from which an interrupted comparison goes on, unless the interruption was longer than KEPT_SECONDS.

    done: results by "schema.table" of finished tables. begun: the same of those in work. after: the key after which to
    go on with these.
    """

    def __init__(self, path, print_of):
        self._path = path
        self._print = print_of
        self._at = time.monotonic()
        self.done = {}
        self.begun = {}
        self.after = {}
        self.length = 0
        self.resumed = False
        if path:
            self._load()

    def _is_old(self):
        try:
            return time.time() - os.stat(self._path).st_mtime > KEPT_SECONDS
        except OSError:
            return False  # there is none, or reading it tells what is wrong

    def _load(self):
        if self._is_old():
            return
        try:
            value = json.loads((files.read(self._path, b"") or b"{}").decode("utf-8"))
        except (files.FileError, ValueError) as error:
            raise MySQLMigrationError("Failed to read the resume file %s: %s. Remove it, or give another resume_file."
                                      % (self._path, error)) from error
        if not isinstance(value, dict) or value.get("fingerprint") != self._print:
            return
        self.done = dict((name, TableResult.load(one)) for name, one in value["done"].items())
        self.begun = dict((name, TableResult.load(one)) for name, one in value["begun"].items())
        self.after = dict((name, tuple(key)) for name, key in value["after"].items())
        self.length = value["length"]
        self.resumed = True

    def chunk(self, name, result, upto):
        """A chunk of a table, and all before it, is done."""
        self.begun[name] = result
        self.after[name] = upto

    def finish(self, name, result):
        self.begun.pop(name, None)
        self.after.pop(name, None)
        self.done[name] = result

    def save(self, differences, now=False):
        """Write the file, every few seconds or now."""
        if not self._path or not (now or time.monotonic() - self._at >= _SAVED_EVERY):
            return
        value = {"fingerprint": self._print, "length": differences.flush(), "after": self.after,
                 "done": dict((name, one.as_dict()) for name, one in self.done.items()),
                 "begun": dict((name, one.as_dict()) for name, one in self.begun.items())}
        try:
            files.write(self._path, json.dumps(value).encode("utf-8"), mode=0o600)
        except files.FileError as error:
            raise MySQLMigrationError("Failed to write the resume file: %s. Give another resume_file."
                                      % error) from error
        self._at = time.monotonic()

    def remove(self):
        """The comparison is complete; another begins anew."""
        if self._path and os.path.lexists(self._path):
            files.remove(self._path)
