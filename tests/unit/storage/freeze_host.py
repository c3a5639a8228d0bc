# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage host for tests of the freeze: real mounts in a mount namespace of our own, a real rsync daemon on loopback
as the other side, systemctl and systemd-run as small programs that keep the rules that the freeze relies on."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze, freeze_mounts, freeze_options

COLLECTIONS = os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "..", "..", "build", "collections")
)

SYSTEMCTL = r'''#!%(python)s -S
import json, os, signal, subprocess, sys, time
units = %(units)r
words = [word for word in sys.argv[1:] if word != "--"]
with open(units + "/calls", "a") as stream:
    stream.write(" ".join(words) + "\n")
verb, names = words[0], [word for word in words[1:] if not word.startswith("-") and "," not in word]

def load(name):
    try:
        return json.load(open(units + "/" + name + ".json"))
    except OSError:
        return {"active": False, "pid": 0, "argv": None}

def save(name, unit):
    with open(units + "/" + name + ".json.new", "w") as stream:
        json.dump(unit, stream)
    os.rename(units + "/" + name + ".json.new", units + "/" + name + ".json")

def blocked(name):
    folder = %(drop_ins)r + "/" + name + ".d"
    for entry in os.listdir(folder) if os.path.isdir(folder) else []:
        for line in open(folder + "/" + entry):
            if line.startswith("ConditionPathExists=!") and os.path.exists(line.strip().split("!", 1)[1]):
                return True
    return False

def alive(pid):
    try:
        return ") Z " not in open("/proc/%%d/stat" %% pid).read()
    except OSError:
        return False

status = 0
for name in names:
    unit = load(name)
    up = unit["active"] and (not unit["pid"] or alive(unit["pid"]))
    if verb == "show":
        said = (name, "active" if up else "inactive", unit["pid"] if up else 0)
        sys.stdout.write("Id=%%s\nActiveState=%%s\nMainPID=%%d\n" %% said)
        there = os.path.exists(units + "/" + name + ".json")
        sys.stdout.write("LoadState=%%s\n\n" %% ("loaded" if there else "not-found"))
    elif verb == "is-active":
        status = 0 if up else 3
    elif verb == "stop":
        if unit.get("stubborn"):
            time.sleep(60)
        if up and unit["pid"]:
            os.kill(unit["pid"], signal.SIGTERM)
            while "--no-block" not in words and alive(unit["pid"]):
                time.sleep(0.005)
        unit.update(active=False, pid=0)
        save(name, unit)
    elif verb == "start":
        if unit.get("broken"):
            sys.stderr.write("Job for %%s failed.\n" %% name)
            status = 1
        elif not up and not blocked(name):
            pid = 0
            if unit["argv"]:
                pid = subprocess.Popen(unit["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, start_new_session=True).pid
            unit.update(active=True, pid=pid)
            save(name, unit)
sys.exit(status)
'''

SYSTEMD_RUN = r'''#!%(python)s -S
import json, os, subprocess, sys
units = %(units)r
before, argv = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
given = dict(word.lstrip("-").split("=", 1) for word in before if "=" in word)
code = "import os, sys, time; time.sleep(float(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
pid = subprocess.Popen([sys.executable, "-S", "-c", code, given["on-active"]] + argv, stdin=subprocess.DEVNULL,
                       stdout=open(units + "/deadman.out", "ab"), stderr=subprocess.STDOUT, start_new_session=True).pid
json.dump({"active": True, "pid": pid, "argv": None}, open(units + "/" + given["unit"] + ".timer.json", "w"))
'''

# Carries canaries and nothing else: whatever else has to arrive is up to the lists of the final delta. With a log and a
# number of seconds it says like lsyncd, that late, that it watches, and beside that whether the writer is up by then.
CARRIER = """
import json, os, shutil, sys, time
source, target, units, log, late = sys.argv[1:]
if log:
    time.sleep(float(late))
    up = json.load(open(units + "/upload.service.json"))["active"]
    with open(log, "a") as stream:
        stream.write("Sun Nov 22 08:00:00 2026 Normal: recursive startup rsync: a -> b\\nwriter up: %s\\n" % up)
while True:
    for name in os.listdir(source):
        if name.startswith(".seamless-canary-") and not os.path.exists(target + "/" + name):
            try:
                shutil.copy(source + "/" + name, target + "/" + name)
            except OSError:
                pass
    time.sleep(0.01)
"""

# A writer as a service: keeps a file open and appends to it until it is told to end.
WRITER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
number = 0
with open(sys.argv[1], "a") as stream:
    while True:
        number += 1
        stream.write("line %d\\n" % number)
        stream.flush()
        time.sleep(0.005)
"""

RUNNER = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze, freeze_options, freeze_steps
params, root, kill_at, python = json.loads(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
run = freeze_steps.Steps.run
def deadly(self, name, work, *arguments):
    if kill_at == "before " + name:
        os.kill(os.getpid(), signal.SIGKILL)
    result = run(self, name, work, *arguments)
    if kill_at == "after " + name:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
freeze_steps.Steps.run = deadly
doing = freeze.Freeze(freeze_options.complete(params), root, python)
try:
    print(json.dumps(getattr(doing, params["state"])()))
except freeze.FAILURES as error:
    print(json.dumps(dict(doing.failed(), msg=str(error))))
    sys.exit(1)
"""

OPEN_AGAIN = {"writable": True, "writer": True, "sync": True}
STEPS = ["deadman", "lift_throttle", "open_files", "stop_writers", "holders", "read_only", "drain", "stop_live_sync",
         "delta", "verify"]


def own_namespace():
    """Give this process a mount namespace of its own, once: nothing that a test mounts is seen outside."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.readlink("/proc/self/ns/mnt") == os.readlink("/proc/%d/ns/mnt" % os.getppid()):
        if libc.unshare(freeze_mounts.CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        if libc.mount(b"none", b"/", None, ctypes.c_ulong(freeze_mounts.MS_REC | freeze_mounts.MS_PRIVATE), None) != 0:
            raise OSError(ctypes.get_errno(), "make the mounts private")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Host:
    """The frozen host under folder, whose tree lies on a tmpfs that only this namespace knows."""

    def __init__(self, folder, path):
        self.folder = str(folder)
        self.root = os.path.join(self.folder, "root")
        self.disk = os.path.join(self.folder, "disk")
        self.tree = os.path.join(self.disk, "srv", "files")
        self.target = os.path.join(self.folder, "target")
        self.guard = os.path.join(self.folder, "guard")
        self.units = os.path.join(self.folder, "units")
        self.private = os.path.join(self.folder, "private")
        self.bin = os.path.join(self.folder, "bin")
        self.processes = []
        for name in (self.root, self.disk, self.target, self.guard, self.units, self.bin):
            os.makedirs(name)
        subprocess.check_call(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", self.disk])
        os.makedirs(self.tree)
        self.put(".seamless-sentinel", "files2026 data\n")
        drop_ins = os.path.join(self.root, "etc/systemd/system")
        names = {"python": sys.executable, "units": self.units, "drop_ins": drop_ins}
        self.program("systemctl", SYSTEMCTL % names)
        self.program("systemd-run", SYSTEMD_RUN % names)
        self.path = self.bin + os.pathsep + path
        self.port = free_port()
        self.daemon = None
        self.start_daemon()

    # ---- set-up --------------------------------------------------------------------------------------------------

    def program(self, name, text):
        path = os.path.join(self.bin, name)
        with open(path, "w") as stream:
            stream.write(text)
        os.chmod(path, 0o755)

    def start_daemon(self):
        """The other side."""
        config = os.path.join(self.folder, "rsyncd.conf")
        secrets = os.path.join(self.folder, "secrets")
        self.password = os.path.join(self.folder, "password")
        for path, text in ((secrets, "migration:s3cret\n"), (self.password, "s3cret\n")):
            with open(path, "w") as stream:
                stream.write(text)
            os.chmod(path, 0o600)
        with open(config, "w") as stream:
            stream.write(textwrap.dedent("""\
                pid file = %s/rsyncd.pid
                log file = %s/rsyncd.log
                [data]
                path = %s
                read only = no
                use chroot = no
                uid = root
                gid = root
                munge symlinks = no
                auth users = migration
                secrets file = %s
                """) % (self.folder, self.folder, self.target, secrets))
        if os.path.exists(os.path.join(self.folder, "rsyncd.pid")):
            os.unlink(os.path.join(self.folder, "rsyncd.pid"))
        self.daemon = self.spawn([
            "rsync", "--daemon", "--no-detach", "--config", config, "--port", str(self.port), "--address", "127.0.0.1",
        ])
        end = time.time() + 10
        while time.time() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError("the rsync daemon did not start")

    def spawn(self, argv, **named):
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, **named)
        self.processes.append(process)
        return process

    def unit(self, name, argv=None, active=True, **extra):
        """Define a unit for the small systemctl, and start it."""
        unit = dict({"active": active, "pid": 0, "argv": argv}, **extra)
        if argv and active:
            unit["pid"] = self.spawn(argv).pid
        with open(os.path.join(self.units, name + ".json"), "w") as stream:
            json.dump(unit, stream)
        return unit["pid"]

    def writer(self, name="upload.service", file="growing.log", **extra):
        pid = self.unit(name, [sys.executable, "-S", "-c", WRITER, os.path.join(self.tree, file)], **extra)
        end = time.time() + 5
        while time.time() < end and not os.path.exists(os.path.join(self.tree, file)):
            time.sleep(0.01)
        return pid

    def live_sync(self, log="", late=0):
        """A live sync that carries canaries only. log: where it says, after `late` seconds, that it watches."""
        argv = [sys.executable, "-S", "-c", CARRIER, self.tree, self.target, self.units, log, str(late)]
        return self.unit("lsyncd.service", argv)

    def put(self, name, text="content\n", where=None):
        path = os.path.join(where or self.tree, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as stream:
            stream.write(text)
        return path

    def touched(self, *names, kind="touched"):
        """What the guard would have noted."""
        with open(os.path.join(self.guard, kind), "ab") as stream:
            for name in names:
                stream.write(os.fsencode(name) + b"\0")

    # ---- runs ----------------------------------------------------------------------------------------------------

    def params(self, state, **changes):
        tree = {
            "name": "data", "path": self.tree, "private_path": os.path.join(self.private, "data"),
            "dest_url": "rsync://migration@127.0.0.1:%d/data/" % self.port, "password_file": self.password,
            "require_mountpoint": False, "sentinel": ".seamless-sentinel", "exclude": [],
            "live_sync": {"method": "lsyncd", "service": ["lsyncd.service"], "guard_state_dir": self.guard},
        }
        tree.update(changes.pop("tree", {}))
        params = {
            "migration": "files2026", "run_id": "run-1", "state": state, "trees": [tree], "writers": ["upload.service"],
            "commands": {}, "budget": 20, "deadman": 60, "drain_timeout": 5, "stop_timeout": 5, "sync_stop_timeout": 3,
            "hook_timeout": 5, "read_only": "auto", "private_path_root": self.private, "extra_paths_files": {},
            "kill_holders": False, "take_over": False, "verify": True, "max_delta": 0, "max_delete": 0,
            "start_writers": True, "start_live_sync": None, "other_side_frozen": False, "other_side_run": "",
            "approach": True, "nfs_stragglers": [], "hold_read_only": False,
        }
        params.update(changes)
        return params

    def run(self, state, **changes):
        """Run in this process. Returns the result; raises freeze.FreezeError."""
        doing = freeze.Freeze(freeze_options.complete(self.params(state, **changes)), self.root, sys.executable)
        return getattr(doing, state)()

    def start(self, state, kill_at="", **changes):
        """Start a run in a process of its own. kill_at: 'before STEP' or 'after STEP', where it dies of SIGKILL."""
        return self.spawn(
            [sys.executable, "-c", RUNNER, COLLECTIONS, json.dumps(self.params(state, **changes)), self.root, kill_at,
             sys.executable],
            stdout=subprocess.PIPE, env=dict(os.environ, PATH=self.path),
        )

    def killed(self, kill_at, state="frozen", **changes):
        """Run until it dies at a step."""
        process = self.start(state, kill_at, **changes)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == -signal.SIGKILL, output

    # ---- what is so ----------------------------------------------------------------------------------------------

    def state(self):
        with open(os.path.join(self.root, "var/lib/seamless-migration/freeze/files2026.json")) as stream:
            return json.load(stream)

    def active(self, name):
        with open(os.path.join(self.units, name + ".json")) as stream:
            return json.load(stream)["active"]

    def calls(self):
        with open(os.path.join(self.units, "calls")) as stream:
            return stream.read().splitlines()

    def writable(self):
        try:
            self.put(".seamless-try", "x")
        except OSError:
            return False
        os.unlink(os.path.join(self.tree, ".seamless-try"))
        return True

    def open_again(self):
        """Whether this host is as before the freeze."""
        units = {"writer": "upload.service", "sync": "lsyncd.service"}
        return dict({key: self.active(unit) for key, unit in units.items()}, writable=self.writable())

    def text_on_target(self, name):
        with open(os.path.join(self.target, name)) as stream:
            return stream.read()

    def text_here(self, name):
        with open(os.path.join(self.tree, name)) as stream:
            return stream.read()

    def close(self):
        """End what the test began, by pid."""
        pids = [process.pid for process in self.processes]
        for name in os.listdir(self.units):
            if name.endswith(".json"):
                with open(os.path.join(self.units, name)) as stream:
                    pids.append(json.load(stream)["pid"])
        for pid in set(pids) - {0}:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for process in self.processes:
            process.wait(10)
            if process.stdout:
                process.stdout.close()
        for entry in reversed(freeze_mounts.mounts_of()):
            if os.fsdecode(entry.point).startswith(self.folder + "/"):
                freeze_mounts.unmount(entry.point)


def wait_until(that, seconds=10):
    """Whether `that` comes true in time."""
    end = time.time() + seconds
    while time.time() < end:
        if that():
            return True
        time.sleep(0.05)
    return False


def thaw_program(host, action, *words):
    """What the program of the dead-man timer prints."""
    program = os.path.join(host.root, "usr/local/lib/seamless-migration/storage-thaw")
    return subprocess.check_output([sys.executable, program, "--root", host.root, action, "files2026"] + list(words))
