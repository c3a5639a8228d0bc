# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a bulk copy on disk: what is to be done, how far it is, and the wishes of the operator.

One folder a job. `lock` is held as long as an engine works, `spec` says what is copied, `control` what the operator
wants now, `progress` how far it is, `run` which attempt this is, `done` which lists are copied.
"""

import hashlib
import json
import os
import re
import shutil
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import detached
from ansible_collections.seamless.migration.plugins.module_utils.rsync.binary import RsyncError

HOME = "/var/lib/seamless-migration/bulk"
ENDED = ("done", "failed", "stopped")


def name_for(src, dest):
    """A name for the copy of src to dest: readable, and the same at every run."""
    word = re.sub(r"[^A-Za-z0-9]+", "-", os.path.basename(src.rstrip("/")) or "root").strip("-")[:30] or "tree"
    return "%s-%s" % (word, hashlib.sha256(("%s\n%s" % (src.rstrip("/"), dest.rstrip("/"))).encode(
        "utf-8", "surrogateescape")).hexdigest()[:10])


def check_name(name):
    if not re.match(r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z", name):
        raise RsyncError("Failed to use the option job: %r. Use letters, digits, '_', '.' and '-' only." % name)


class Job:
    """One job. name: str; home: folder of all jobs."""

    def __init__(self, name, home=HOME):
        check_name(name)
        self.name = name
        self.folder = os.path.join(home, name)
        self.lists = os.path.join(self.folder, "lists")
        self._lock = None

    def path(self, name):
        return os.path.join(self.folder, name)

    def exists(self):
        return os.path.exists(self.path("spec"))

    def make(self):
        """Create the folders, readable by root only."""
        home = os.path.dirname(self.folder)
        try:
            for folder in (os.path.dirname(home), home, self.folder, self.lists):
                if not os.path.isdir(folder):
                    os.makedirs(folder, 0o700)
        except OSError as error:
            raise RsyncError("Failed to create %s: %s." % (self.folder, error.strerror)) from error

    def read(self, name, missing=None):
        """A JSON file of the job, or `missing`."""
        try:
            with open(self.path(name)) as stream:
                return json.load(stream)
        except FileNotFoundError:
            return missing
        except (OSError, ValueError) as error:
            raise RsyncError("Failed to read %s: %s. Remove the folder to begin anew."
                             % (self.path(name), error)) from error

    def write(self, name, content):
        """Replace a JSON file of the job; a reader sees the old or the new one."""
        temporary = self.path("." + name)
        with open(temporary, "w", opener=_private) as stream:
            json.dump(content, stream, sort_keys=True)
        os.rename(temporary, self.path(name))

    def append(self, name, record):
        """Add one JSON line, for good."""
        self.append_all(name, [record])

    def append_all(self, name, records):
        """Add JSON lines, for good."""
        with open(self.path(name), "a", opener=_private) as stream:
            stream.write("".join(json.dumps(record) + "\n" for record in records))
            stream.flush()
            os.fsync(stream.fileno())

    def lines(self, name, most=None):
        """JSON lines of a file, at most `most` of them. A last line cut by a crash is left out."""
        found = []
        try:
            with open(self.path(name)) as stream:
                for line in stream:
                    if most is not None and len(found) >= most:
                        break
                    if line.endswith("\n"):
                        found.append(json.loads(line))
        except FileNotFoundError:
            pass
        return found

    def forget(self, *names):
        for name in names:
            try:
                os.unlink(self.path(name))
            except FileNotFoundError:
                pass

    def empty_lists(self):
        """Begin with no list, in the job's own folder."""
        self.lists = os.path.join(self.folder, "lists")
        shutil.rmtree(self.lists, ignore_errors=True)
        os.makedirs(self.lists, 0o700)

    def lock(self):
        """Take the job for this process and its children. Returns whether it was free."""
        self._lock = detached.take(self.path("lock"))
        return self._lock is not None

    def unlock(self):
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def lock_handle(self):
        return self._lock

    def running(self):
        """Whether an engine works on it now."""
        if not os.path.exists(self.path("lock")) or self._lock is not None:
            return self._lock is not None
        if self.lock():
            self.unlock()
            return False
        return True

    def busy(self, timeout=10):
        """Whether an engine works on it, and not one that has told its end and is about to leave."""
        end = time.time() + timeout
        while self.running():
            if self.read("progress", {}).get("state") not in ENDED or time.time() > end:
                return True
            time.sleep(0.02)
        return False

    def wish(self, **wishes):
        """Tell the engine what the operator wants: bwlimit_kib_per_s, paused, stop. Returns whether that is new."""
        before = self.read("control", {})
        after = dict(before, **wishes)
        if after == before:
            return False
        self.write("control", after)
        return True

    def progress(self):
        """How far it is, with `state` corrected when the engine was killed. Returns dict, empty without a run."""
        found = self.read("progress", {})
        if found and found.get("state") not in ENDED and not self.running():
            found = self.read("progress", {})       # it may have ended between the two looks
            if found.get("state") not in ENDED:
                found = dict(found, state="stopped", message="The engine was killed. Run it again: it goes on.")
        return found

    def wait(self, until, timeout):
        """Wait until until(progress) holds. Returns whether it did within timeout seconds."""
        end = time.time() + timeout
        while time.time() < end:
            if until(self.progress()):
                return True
            time.sleep(0.05)
        return False


def _private(path, flags):
    return os.open(path, flags, 0o600)
