# SPDX-License-Identifier: GPL-3.0-or-later
"""A source, a target and an installed guard, for tests."""

import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROGRAM = os.path.join(ROOT, "roles", "live_sync", "files", "rsync_guard.py")
LIST = ["--from0", "--include-from=-", "--exclude=*"]


class GuardCase:
    def __init__(self, folder, **settings):
        self.folder = folder
        self.source, self.target = folder / "source", folder / "target"
        self.state = folder / "state"
        self.link = folder / "guard"
        for path in (self.source, self.target):
            path.mkdir()
        self.sentinel = self.source / ".seamless-sentinel"
        self.sentinel.write_text("files data\n")
        with open(PROGRAM, encoding="utf-8") as program:
            text = program.read().replace("#!/usr/bin/python3 -IS", "#!%s -IS" % sys.executable, 1)
        self.link.write_text(text)
        self.link.chmod(0o755)
        self.settings = {
            "source": str(self.source),
            "sentinel": str(self.sentinel),
            "sentinel_content": "files data\n",
            "state_dir": str(self.state),
        }
        self.configure(**settings)

    def configure(self, **settings):
        self.settings.update(settings)
        (self.folder / "guard.json").write_text(json.dumps(self.settings))

    def call(self, *arguments, stdin=b"", target=None):
        argv = [str(self.link), "-a", *arguments, "%s/" % self.source, target or "%s/" % self.target]
        self.last = subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=60)
        return self.last.returncode

    def call_list(self, *entries, delete=True, target=None):
        options = ["-r"] + (["--delete", "--ignore-errors"] if delete else []) + ["--force"]
        return self.call(*options, *LIST, stdin=b"\0".join(entries), target=target)

    def paths(self, name):
        path = self.state / name
        return set(path.read_bytes().split(b"\0")) - {b""} if path.exists() else set()

    def runs(self):
        return [json.loads(line) for line in (self.state / "runs.jsonl").read_text().splitlines()]

    def fake_rsync(self, script, version="3.1.2"):
        """Let the guard call a shell script instead of an rsync of a version."""
        path = self.folder / "fake-rsync"
        told = '[ "$1" = --version ] && { echo "rsync  version %s"; exit; }\n' % version
        path.write_text("#!/bin/sh\n" + told + script)
        path.chmod(0o755)
        self.configure(rsync=str(path))
        return path
