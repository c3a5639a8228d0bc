# SPDX-License-Identifier: GPL-3.0-or-later
"""What stories of a storage migration share: runs of the playbooks, also such that are killed, and the verdict.

A scenario takes it by a conftest.py that puts this folder on the path.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
HERE = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
STATE = HERE / "state"
NAME = "mol-" + os.environ["MOLECULE_SCENARIO_NAME"]


def journal():
    """Path of the journal of the one migration of this scenario."""
    (path,) = STATE.glob("*.jsonl")
    return path


def lab(*words, ok=(0,), timeout=None):
    command, *more = words
    argv = [sys.executable, str(ROOT / "lab" / "lab"), command, "--name", NAME, *more]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=timeout)
    assert done.returncode in ok, done.stdout + done.stderr
    return done.stdout


def until_nobody_can_write(host, record="/var/lib/seamless-migration/freeze/*.json"):
    """Wait until a server is being frozen. record: of its freeze, on it."""
    # The record keeps the time of an earlier freeze until this one begins.
    look = "grep -Eq '^ \"state\": \"(freezing|drained)\"' {0} && grep -Eq '^ \"frozen_at\": [1-9]' {0}".format(record)
    lab("ssh", host, "--", "until %s; do sleep 0.05; done" % look, timeout=30)


def descendants(pid):
    """The process and all that it has started, also those that have left its process group."""
    children = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


class Run:
    """One ansible-playbook. at: event, and step if it matters, in the journal at which act(self) is called.

    extra: variables that this run has beside those of the inventory.
    """

    def __init__(self, playbook, at=None, act=None, extra=None):
        self.log = HERE / ("%s-%d.log" % (playbook, time.monotonic_ns()))
        self.journal = journal()
        self.begun = self.journal.stat().st_size
        with open(self.log, "wb") as stream:
            self.process = subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "ansible-playbook"),
                    "-i", str(HERE / "inventory"), str(ROOT / "playbooks" / ("%s.yml" % playbook)),
                    "-e", json.dumps(extra or {}),
                ],
                stdout=stream, stderr=subprocess.STDOUT, start_new_session=True, cwd=ROOT,
                env=dict(os.environ, ANSIBLE_NOCOLOR="1"),
            )  # fmt: skip
        self.hit = False
        self.watcher = threading.Thread(target=self._watch, args=(at, act), daemon=True) if at else None
        if self.watcher:
            self.watcher.start()

    def events(self):
        """What was recorded since this run began."""
        with open(self.journal, "rb") as stream:
            stream.seek(self.begun)
            lines = stream.read().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def saw(self, event, step=None):
        return any(entry["event"] == event and step in (None, entry["step"]) for entry in self.events())

    def gate(self, name):
        """States that a gate had in this run."""
        found = [entry["data"] for entry in self.events() if entry["event"] == "gate"]
        return {data["state"] for data in found if data["name"] == name}

    def wait_for(self, event, step=None):
        while not self.saw(event, step):
            if self.process.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def _watch(self, at, act):
        if self.wait_for(*at):
            act(self)
            self.hit = True

    def kill(self):
        """Power off the controller: neither ansible-playbook nor its workers nor their connections do anything more."""
        for pid in descendants(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def end(self, timeout=400):
        """Wait for the end. Returns the exit code."""
        code = self.process.wait(timeout=timeout)
        if self.watcher:
            self.watcher.join(timeout=60)
            assert self.hit, "it ended before the fault: " + self.output()[-3000:]
        return code

    def output(self):
        return self.log.read_text(encoding="utf-8", errors="replace")


def play(playbook, extra=None):
    """Run a playbook to its end, which has to be a good one."""
    run = Run(playbook, extra=extra)
    assert run.end() == 0, run.output()[-5000:]
    return run


def verdict(name, folder):
    """Nothing that was acknowledged is lost or different on a host, and nothing else is there. Returns what it has."""
    path = folder / "verdict.json"
    lab("writers", "pause")
    try:
        lab("verdict", "--host", name, "--json", str(path), ok=(0, 3))
    finally:
        lab("writers", "resume")
    found = json.loads(path.read_text())
    assert [found[kind] for kind in ("lost", "different", "extra", "refused")] == [0, 0, 0, 0], found["paths"]
    assert not found["two_servers_at_once"]
    return found
