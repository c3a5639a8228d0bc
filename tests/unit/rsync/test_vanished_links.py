# SPDX-License-Identifier: GPL-3.0-or-later
"""What rsync does when every link of a hard-linked file vanishes while it runs, and what is made of it."""

import os
import subprocess
import time

from ansible_collections.seamless.migration.plugins.module_utils.rsync import exit_codes
from loopback_daemon import Daemon


def test_a_copy_during_which_a_hard_linked_file_vanished_is_run_again(tmp_path):
    source, dest = tmp_path / "source", tmp_path / "dest"
    for folder in (source, dest):
        folder.mkdir()
    (source / "a").write_bytes(os.urandom(3 << 20))
    (source / "one").write_text("linked")
    os.link(source / "one", source / "two")
    with Daemon(tmp_path, dest) as daemon:
        argv = ["rsync", "-aHW", "--dirs", "--from0", "--files-from=-", "--password-file=%s" % daemon.password_file]
        with subprocess.Popen(
            [*argv, "--bwlimit=2000", str(source), daemon.url],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        ) as copy:  # fmt: skip
            copy.stdin.write(b"a\0one\0two\0")
            copy.stdin.close()
            while not list(dest.glob(".a.*")):  # the list is made by now, and the links come after the first file
                time.sleep(0.01)
            os.unlink(source / "one")
            os.unlink(source / "two")
            told = copy.stderr.read().decode()
        verdict = exit_codes.judge(copy.returncode, told)
        assert "vanished" in told
        assert verdict.action in (exit_codes.OK, exit_codes.RETRY), verdict.sentence()
        assert (dest / "a").read_bytes() == (source / "a").read_bytes()
