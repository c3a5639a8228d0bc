# SPDX-License-Identifier: GPL-3.0-or-later
"""Work of a module that runs on when module, connection or controller are gone, and can be asked how far it is."""

import contextlib
import json
import os
import re
import shutil
import signal
import threading
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import detached, files

LOOK_S = 3              # that a look may take
LEASE_S = 300           # without a look after which work ends that nobody else would want the result of
_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,100}$")
_SAVED_EVERY = 0.5
_LOOKED_EVERY = 0.1
_FORGOTTEN_AFTER = 86400


class Job(object):
    """One job, by its name, in a folder of this host. While it runs its process holds the lock.

    error: class of exceptions that tell in a text what to do; those that work raises, and those that are raised here.
    """

    def __init__(self, folder, name, error):
        if not _NAME.match(name) or name.startswith("."):
            raise error("Failed to use the option job: %r is no name. Use letters, digits, _, . and -." % name)
        self.name = name
        self.error = error
        self.folder = os.path.join(folder, name)
        self._lock = None
        self._at = 0.0
        self._phase = None
        self._identity = None

    def open(self):
        """Make the folder and those above it that are missing, for its owner only."""
        before = os.umask(0o077)
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            os.chmod(self.folder, 0o700)
        except OSError as error:
            raise self.error("Failed to make the folder %s: %s. Make room there, or correct who may write to it."
                             % (self.folder, error.strerror)) from error
        finally:
            os.umask(before)

    def take(self):
        """Take the lock. Returns False when another process has it."""
        self._lock = detached.take(os.path.join(self.folder, "lock"))
        return self._lock is not None

    def release(self):
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, state, **more):
        value = dict({"pid": os.getpid()}, state=state, identity=self._identity, at=time.time(), **more)
        files.write(os.path.join(self.folder, "state"), json.dumps(value).encode("utf-8"), mode=0o600)

    def tell(self, progress):
        """Write progress (dict), at most twice a second, and when its phase is another."""
        if progress.get("phase") != self._phase or time.monotonic() - self._at >= _SAVED_EVERY:
            self._at, self._phase = time.monotonic(), progress.get("phase")
            self.write("running", progress=progress)

    def read(self):
        """What the job wrote last, with state running, done, failed, or interrupted; absent when there is none."""
        content = files.read(os.path.join(self.folder, "state"), None)
        if content is None:
            return {"state": "absent"}
        value = json.loads(content.decode("utf-8"))
        if value["state"] == "running" and self.take():
            self.release()
            value = json.loads(files.read(os.path.join(self.folder, "state")).decode("utf-8"))
            if value["state"] == "running":
                value["state"] = "interrupted"
        return value

    def detach(self, work, identity="", lease=None):
        """Do work() in a process of its own; what it returns, or raises, is read by `read`. The lock must be held.

        identity: text by which others know what it does. lease: seconds without an `ask` after which it is ended;
        without it nothing ends it.
        """
        self._identity = identity
        self.write("running", progress={"phase": "begin"}, pid=None)  # who wants to end it must not end us
        detached.detach(self._lock, lambda: self._do(work, lease), self._crashed)
        self.release()

    def _do(self, work, lease):
        self.write("running", progress={"phase": "begin"})  # by the process that does it
        if lease:
            threading.Thread(target=self._end_when_forgotten, args=(lease,), daemon=True).start()
        try:
            self.write("done", result=work())
        except self.error as error:
            told = dict((name, getattr(error, name)) for name in ("code", "server_text") if hasattr(error, name))
            self.write("failed", msg=str(error), **told)

    def _crashed(self, text):
        self.write("failed", msg="Failed in a way that nobody thought of: %s. Report this." % text)

    def ask(self):
        """Somebody still wants to know."""
        files.write(os.path.join(self.folder, "asked"), b"", mode=0o600)

    def _end_when_forgotten(self, lease):
        asked, since = None, time.monotonic()
        while time.monotonic() - since < lease:
            with contextlib.suppress(OSError):
                at = os.stat(os.path.join(self.folder, "asked")).st_mtime_ns
                if at != asked:
                    asked, since = at, time.monotonic()
            time.sleep(min(5.0, lease / 10))
        os.killpg(0, signal.SIGKILL)  # its workers too

    def settled(self, seconds):
        """What `read` says once the job does not run any more, at the latest after so many seconds."""
        until = time.monotonic() + seconds
        value = self.read()
        while value["state"] == "running" and time.monotonic() < until:
            time.sleep(_LOOKED_EVERY)
            value = self.read()
        return value

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def begin_or_look(job, work, seconds, lease):
    """Begin work() as `job`, or look at it when it was begun. Returns a dict.

    While it runs after so many seconds that has state running and progress (see Job.tell). In the end it is what work()
    returned, with state done, or what work() raised is raised; then nothing is kept of the job.
    lease: seconds without another look after which the job is ended.
    """
    if job.read()["state"] == "absent":
        _forget_old(os.path.dirname(job.folder))
        job.open()
        job.ask()
        job.take()
        job.detach(work, lease=lease)
    job.ask()
    value = job.settled(seconds)
    if value["state"] == "running":
        return {"state": "running", "progress": value["progress"]}
    job.remove()
    if value["state"] == "done":
        return dict(value["result"], state="done")
    raise _failure(job, value)


def _failure(job, value):
    if value["state"] == "interrupted":
        return job.error("Its process was ended from outside; the machine may be out of memory. Run it again")
    error = job.error(value["msg"])
    for name in ("code", "server_text"):
        if name in value:
            setattr(error, name, value[name])
    return error


def _forget_old(folder):
    """Remove what jobs left of which nobody asked for the end."""
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            if time.time() - os.stat(os.path.join(path, "asked")).st_mtime > _FORGOTTEN_AFTER:
                shutil.rmtree(path, ignore_errors=True)
