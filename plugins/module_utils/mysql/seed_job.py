# SPDX-License-Identifier: GPL-3.0-or-later
"""A seed that runs on when the module, the connection or the controller is gone, and can be asked how far it is."""

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import time
import traceback

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

HOME = "~/.seamless-migration/mysql-seed"
_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,100}$")
_SAVED_EVERY = 0.5


class Job(object):
    """One job, by its name, in a folder of this host. While it runs its process holds the lock."""

    def __init__(self, folder, name):
        if not _NAME.match(name) or name.startswith("."):
            raise MySQLMigrationError("Failed to use the option job: %r is no name. Use letters, digits, _, . and "
                                      "-." % name)
        self.name = name
        self.folder = os.path.join(folder, name)
        self._lock = None
        self._at = 0.0
        self._identity = None

    def open(self):
        """Make the folder, for root only."""
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            os.chmod(self.folder, 0o700)
        except OSError as error:
            raise MySQLMigrationError("Failed to make the folder %s: %s. Give another state_dir."
                                      % (self.folder, error.strerror)) from error

    def take(self):
        """Take the lock. Returns False when another process has it."""
        handle = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        self._lock = handle
        return True

    def release(self):
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, state, **more):
        value = dict(more, state=state, identity=self._identity, pid=os.getpid(), at=time.time())
        files.write(os.path.join(self.folder, "state"), json.dumps(value).encode("utf-8"), mode=0o600)

    def tell(self, progress):
        """Write progress, at most twice a second."""
        if time.monotonic() - self._at >= _SAVED_EVERY:
            self._at = time.monotonic()
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

    def detach(self, work, identity):
        """Do work() in a process of its own; what it returns, or raises, is read by `read`. The lock must be held.

        identity: text by which others know what it does.
        """
        self._identity = identity
        self.write("running", progress={"phase": "begin"})
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            self.release()
            return
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            _let_go(self._lock)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            self._do(work)
        except BaseException:
            with contextlib.suppress(Exception):
                self.write("failed", msg="Failed to seed: %s. Report this." % traceback.format_exc())
        finally:
            os._exit(0)

    def _do(self, work):
        try:
            self.write("done", result=work())
        except MySQLMigrationError as error:
            self.write("failed", msg=str(error), code=error.code, server_text=error.server_text)


def _let_go(lock):
    """Close what belongs to the one who started us, so that the connection can end."""
    os.chdir("/")
    os.umask(0o077)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != lock:
            with contextlib.suppress(OSError):
                os.close(int(name))
    null = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(null, handle)
    os.close(null)
