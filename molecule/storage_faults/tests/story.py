# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stories of this scenario share: runs that are killed, hosts that are broken, and the verdict after it."""

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
JOURNAL = HERE / "state" / "faults.jsonl"
NAME = "mol-" + os.environ["MOLECULE_SCENARIO_NAME"]
RECORD = "/var/lib/seamless-migration/freeze/faults.json"


def lab(*words, ok=(0,)):
    command, *more = words
    argv = [sys.executable, str(ROOT / "lab" / "lab"), command, *more, "--name", NAME]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode in ok, done.stdout + done.stderr
    return done.stdout


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
        self.begun = JOURNAL.stat().st_size
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
        with open(JOURNAL, "rb") as stream:
            stream.seek(self.begun)
            lines = stream.read().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def saw(self, event, step=None):
        return any(entry["event"] == event and step in (None, entry["step"]) for entry in self.events())

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

    def end(self):
        """Wait for the end. Returns the exit code."""
        code = self.process.wait(timeout=400)
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


def operations():
    return sum(int(line.split()[-2]) for line in lab("writers", "status").splitlines() if "operations" in line)


def writers_go_on(within=30):
    """Whether writers get new answers."""
    before, end = operations(), time.monotonic() + within
    while time.monotonic() < end:
        time.sleep(1)
        if operations() > before + 5:
            return True
    return False


def nothing_is_lost(host, folder):
    path = folder / "verdict.json"
    lab("writers", "pause")
    try:
        lab("verdict", "--host", host, "--json", str(path), ok=(0, 3))
    finally:
        lab("writers", "resume")
    found = json.loads(path.read_text())
    assert [found[kind] for kind in ("lost", "different", "extra", "refused")] == [0, 0, 0, 0], found["paths"]
    assert not found["two_servers_at_once"]
    return True


def state_of(host):
    return json.loads(host.file(RECORD).content_string)["state"]


def goes_forward(host, folder):
    """The next cutover ends the move."""
    play("storage_cutover")
    was_left(host, folder)


def was_left(host, folder):
    """The target serves what everybody has written, the source takes nothing any more."""
    assert other(host).service("upload").is_running
    assert not host.service("upload").is_running
    assert "Read-only file system" in host.run("touch /srv/files/new").stderr
    assert writers_go_on()
    assert nothing_is_lost("files_new", folder)


def goes_back(host, folder):
    """The rollback lets the source serve again, with everything that was written anywhere."""
    play("storage_rollback")
    assert host.service("upload").is_running
    assert writers_go_on()
    assert nothing_is_lost("files_old", folder)


def other(host):
    """The target, from the source."""
    return host.get_host("ansible://files_new?ansible_inventory=%s" % host.backend.ansible_inventory)


def kill_while_nobody_can_write(run):
    # The record keeps the time of an earlier freeze until this one begins.
    look = "grep -Eq '^ \"state\": \"(freezing|drained)\"' {0} && grep -Eq '^ \"frozen_at\": [1-9]' {0}"
    closed = "until %s; do sleep 0.05; done" % look.format(RECORD)
    lab_ssh = [sys.executable, str(ROOT / "lab" / "lab"), "ssh", "--name", NAME, "files_old", "--", closed]
    subprocess.run(lab_ssh, check=True, timeout=30)
    run.kill()
