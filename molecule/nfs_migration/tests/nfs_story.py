# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stories of this scenario share: runs of the playbooks, hosts that are broken, and looks at them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import testinfra

ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
HERE = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
JOURNAL = HERE / "state" / "nfs.jsonl"
NAME = "mol-" + os.environ["MOLECULE_SCENARIO_NAME"]
CLIENTS = {"nfs_client1": "4.2", "nfs_client2": "3"}
WRITER, HOLDER = "lab-nfs-writer-1.service", "lab-holder.service"
TOP = "/mnt/files"
LINE = "%s:/srv/files\t/mnt/files  nfs\tvers=%s,hard,noauto  0 0   # web files\n"
TRY_LOCK = "import fcntl; fcntl.lockf(open('/mnt/files/held/%s/fcntl', 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def lab(*words, ok=(0,)):
    command, *more = words
    argv = [sys.executable, str(ROOT / "lab" / "lab"), command, "--name", NAME, *more]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode in ok, done.stdout + done.stderr
    return done.stdout


def hosts():
    inventory = str(HERE / "inventory")
    names = ("nfs_old", "nfs_new", *CLIENTS)
    return {name: testinfra.get_host("ansible://" + name, ansible_inventory=inventory) for name in names}


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
    """One ansible-playbook. at: event, and step if it matters, in the journal at which act(self) is called."""

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

    def gate(self, name):
        """States that a gate had in this run."""
        found = [entry["data"] for entry in self.events() if entry["event"] == "gate"]
        return {data["state"] for data in found if data["name"] == name}

    def _watch(self, at, act):
        while not self.saw(*at):
            if self.process.poll() is not None:
                return
            time.sleep(0.02)
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
        code = self.process.wait(timeout=900)
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


def refused(gate, said, extra=None):
    """Run a cutover that a gate has to stop before anything is touched."""
    run = Run("storage_cutover", extra=extra)
    assert run.end() != 0
    assert run.gate(gate) == {"failed"} or "failed" in run.gate(gate), run.output()[-3000:]
    assert said in run.output(), run.output()[-3000:]
    assert not run.saw("window_opened")


def source(host):
    return host.check_output("findmnt -n -o SOURCE %s" % TOP)


def writes_on(host, within=60):
    """Whether the writer of a client gets on."""
    count = "cat /var/lib/lab/writers/*.jsonl | grep -c '\"event\": \"ok\"'"
    before, end = int(host.check_output(count)), time.monotonic() + within
    while time.monotonic() < end:
        time.sleep(1)
        if int(host.check_output(count)) > before + 2:
            return True
    return False


def held(host):
    """Wait until the holder of a client has what it wants."""
    end = time.monotonic() + 60
    last = "journalctl -u %s -o cat | tail -n 3" % HOLDER
    while "holding" not in host.check_output(last):
        assert time.monotonic() < end
        time.sleep(0.5)


def verdict(name, folder):
    """Nothing that was acknowledged is lost or different on a server, and nothing else is there."""
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


def served_by(everybody, name, left):
    """Every client has that server by its version, its services run, and the other server takes nothing."""
    for client, version in CLIENTS.items():
        host = everybody[client]
        assert source(host) == name.replace("_", "-") + ":/srv/files"
        assert "vers=" + version in host.check_output("findmnt -n -o OPTIONS %s" % TOP)
        assert LINE % (name.replace("_", "-"), version) in host.file("/etc/fstab").content_string
        for unit in (WRITER, HOLDER):
            assert host.service(unit).is_running
        assert writes_on(host)
    tried = everybody[left].run("touch /srv/files/not-here")
    assert tried.rc != 0 and "Read-only file system" in tried.stderr


def locks_are_honoured(everybody):
    """A lock that one client holds keeps the other one out."""
    for name, other in (("nfs_client1", "nfs_client2"), ("nfs_client2", "nfs_client1")):
        held(everybody[name])
        everybody[other].check_output("ls %s/held/%s/fcntl" % (TOP, name))
        # As the user of the service: root is nobody behind this export.
        tried = everybody[other].run('runuser -u files -- python3 -c "%s"' % (TRY_LOCK % name))
        assert "BlockingIOError" in tried.stderr
