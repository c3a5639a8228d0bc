# SPDX-License-Identifier: GPL-3.0-or-later
"""The dead-man: opens this host again by itself when nobody commits in time. It needs neither controller nor SSH."""

import os
import signal
import subprocess
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import (
    FreezeError,
    process_started,
)


def unit_name(migration, number):
    """Name of the transient unit; a new number for each arming, because a name can only be used once at a time."""
    return "seamless-thaw-%s-%d" % (migration, number)


def _program(paths, run_id, python, number):
    argv = [python, paths.program]
    if paths.root != "/":
        argv += ["--root", paths.root]
    return argv + ["deadman", paths.migration, run_id, str(number)]


def _detached(argv, seconds):
    """Without systemd: a process in a session of its own that sleeps, then becomes the program."""
    waiter = "import os, sys, time; time.sleep(float(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
    process = subprocess.Popen(
        [argv[0], "-c", waiter, str(seconds)] + argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        close_fds=True,
    )
    return process.pid


def arm(paths, run_id, seconds, python, number):
    """Let the thaw program run in `seconds`. Returns dict for disarm(). Raises FreezeError.

    number: of this arming. A dead-man that was replaced may have fired already and wait for the lock.
    """
    argv = _program(paths, run_id, python, number)
    systemd_run = command.which("systemd-run") if os.path.isdir("/run/systemd/system") or paths.root != "/" else None
    armed = {"deadline": time.time() + seconds, "unit": "", "pid": 0, "number": number}
    if systemd_run is None:
        armed["pid"] = _detached(argv, seconds)
        armed["started"] = process_started(armed["pid"])
        return armed
    armed["unit"] = unit_name(paths.migration, number)
    try:
        command.run(
            [
                systemd_run,
                "--quiet",
                "--unit=" + armed["unit"],
                "--on-active=%d" % seconds,
                "--timer-property=AccuracySec=100ms",
                "--",
            ]
            + argv,
            timeout=15,
        )
    except command.CommandError as error:
        raise FreezeError("The dead-man cannot be armed: %s" % error) from error
    return armed


def disarm(armed):
    """Take the timer away; the program itself, should it be running, looks at the state under the lock."""
    if armed.get("unit"):
        program = command.which("systemctl")
        if program:
            try:
                command.run([program, "stop", armed["unit"] + ".timer"], timeout=10, ok=None)
            except command.CommandError:
                pass  # it fires in vain: the state tells it that there is nothing to do
    elif armed.get("pid") and process_started(armed["pid"]) == armed.get("started"):
        try:
            os.kill(armed["pid"], signal.SIGTERM)
        except OSError:
            pass


def alive(armed):
    """Whether the timer still waits. armed: dict of arm()."""
    if not armed or time.time() > armed.get("deadline", 0):
        return False
    if armed.get("unit"):
        program = command.which("systemctl")
        if program is None:
            return False
        try:
            return command.run([program, "is-active", armed["unit"] + ".timer"], timeout=10, ok=None).rc == 0
        except command.CommandError:
            return False
    return process_started(armed.get("pid", 0)) == armed.get("started")
