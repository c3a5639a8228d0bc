# SPDX-License-Identifier: GPL-3.0-or-later
"""lsyncd is found although its pidfile is gone."""

import subprocess
import sys
import time

from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze_drain


def settled(decide, wanted):
    """What decide() says, once it is what is wanted; a process that was just started has no arguments for a moment."""
    for _again in range(200):
        if decide() == wanted:
            break
        time.sleep(0.05)
    return decide()


def test_an_lsyncd_without_its_pidfile_is_found_by_its_arguments(tmp_path):
    pidfile = str(tmp_path / "lsyncd.pid")
    assert freeze_drain.pid_naming(pidfile) == 0
    process = subprocess.Popen(["lsyncd", "-c", "input()", pidfile], executable=sys.executable, stdin=subprocess.PIPE)
    try:
        assert freeze_drain.read_pid(pidfile) == 0
        assert settled(lambda: freeze_drain.pid_naming(pidfile), process.pid) == process.pid
    finally:
        process.communicate(b"\n")
    assert freeze_drain.pid_naming(pidfile) == 0
