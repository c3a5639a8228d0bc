# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a mount works: it answers, and a canary can be written, read, locked and removed. Each with a bound."""

import errno
import fcntl
import os
import pwd
import uuid

from ansible_collections.seamless.migration.plugins.module_utils.nfs.bounded import ChildError, HangError, bounded
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError

CANARY = ".seamless-canary-"
# What a write says where the server takes none: the export is read-only, or is no longer there.
REFUSALS = (errno.EROFS, errno.ESTALE)


def answers(path, timeout):
    """Sizes of the file system at path. Returns dict with bytes_total and bytes_free. Raises HangError, ChildError."""

    def ask():
        status = os.statvfs(path)
        with os.scandir(path) as entries:
            next(entries, None)
        return {"bytes_total": status.f_blocks * status.f_frsize, "bytes_free": status.f_bavail * status.f_frsize}

    return bounded(ask, timeout, "statfs of %s" % path)


def _become(user):
    if user is None:
        return
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def known_user(user):
    """Raise NfsError unless the user is there (None is)."""
    try:
        return user is None or bool(pwd.getpwnam(user))
    except KeyError as error:
        raise NfsError("canary_user %s is no user of this host. Give one who may write there" % user) from error


def _write(name, content):
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock_and_read(name):
    with open(name, "r+b") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        content = stream.read()
        fcntl.lockf(stream, fcntl.LOCK_UN)
    return content


def canary(folder, user, timeout):
    """Write, lock, read and remove a file in folder, as user (None: as who runs this).

    Raises NfsError that says which of them failed, and what that means.
    """
    name = os.path.join(folder, CANARY + uuid.uuid4().hex)
    content = name.encode("utf-8", "surrogateescape")
    steps = []

    def write():
        _become(user)
        _write(name, content)
        return True

    def lock():
        _become(user)
        if _lock_and_read(name) != content:
            raise OSError(errno.EIO, "it does not read back as it was written")
        return True

    def remove():
        _become(user)
        os.unlink(name)
        return True

    try:
        bounded(write, timeout, "a canary written to %s" % folder)
        steps.append("write")
        bounded(lock, timeout, "the lock on a canary in %s" % folder)
        steps += ["lock", "read"]
    except HangError as error:
        raise NfsError(
            "%s: the server may be in its grace period after a start, or its lock service out of reach. Wait until the "
            "grace period is over, or look at nfs_lock" % error
        ) from error
    except ChildError as error:
        raise NfsError("%s. %s" % (error, _advice(error.number))) from error
    finally:
        if "write" in steps:
            _remove(remove, timeout, name)
    return steps + ["remove"]


def _remove(action, timeout, name):
    try:
        bounded(action, timeout, "the removal of %s" % name)
    except ChildError as error:
        if error.number != errno.ENOENT:
            raise


def _advice(number):
    if number in (errno.EACCES, errno.EPERM):
        return "Root may be squashed there: give canary_user, and canary_folder where that user may write"
    if number == errno.EROFS:
        return "The export is read-only: export it for writing, or give check: read"
    if number == errno.ENOLCK:
        return "The server has no lock service: start it with nfs_lock, or mount with nolock"
    return "Look at the export on the server"


def takes_no_writes(folder, timeout):
    """Whether a write through the mount is refused because the export is read-only or gone. Returns bool.

    A refusal for want of permission proves nothing, and neither does a server that does not answer.
    """
    name = os.path.join(folder, CANARY + uuid.uuid4().hex)

    def write():
        _write(name, b"x")
        os.unlink(name)
        return True

    try:
        bounded(write, timeout, "a write to %s" % folder)
    except ChildError as error:
        return error.number in REFUSALS
    except HangError:
        return False
    return False
