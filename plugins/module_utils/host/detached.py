# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that run on when the module, its shell and its connection are gone, and locks that tell whether they do."""

import contextlib
import errno
import fcntl
import os
import signal
import traceback


def take(path):
    """Lock the file at path, made (0600) when it is missing, for this process and its children.

    Returns the handle that holds it until it is closed, or None when another process has it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise
    return handle


def detach(lock, work, crashed):
    """Do work() in a process of its own. Returns at once.

    lock: handle of `take`, which goes over to that process; the caller closes its own. crashed: function of the text
    of what work() raised.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        _let_go(lock)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        work()
    except BaseException:
        crashed(traceback.format_exc())
    finally:
        os._exit(0)


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
