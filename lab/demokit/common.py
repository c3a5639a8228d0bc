# SPDX-License-Identifier: GPL-3.0-or-later
"""What both parts of the demo need: the lab's commands, our playbooks, the table at the end."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "demo"


class DemoError(Exception):
    """A step of the demo failed."""


def lab(*words, check=True):
    """Run one command of the lab."""
    subprocess.run([sys.executable, str(ROOT / "lab" / "lab"), *words], check=check, cwd=ROOT)


def write_inputs(name, inputs):
    """Write the variables of a migration to a file that only root reads. Returns its path."""
    path = FOLDER / name
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(inputs, stream, indent=1)
    return path


def fresh_state(name):
    """An empty directory for the journal of a part: one of another day would be gone on with. Returns its path."""
    path = FOLDER / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    return path


class Plays:
    """Runs our playbooks on a lab, each with its output in a file, and keeps how long they took."""

    def __init__(self, lab_name, variables, prefix=""):
        self.inventory = ROOT / "build" / "lab" / lab_name / "inventory.yml"
        self.variables = variables
        self.prefix = prefix
        self.seconds = {}

    def run(self, name):
        """Run one playbook.

        :raises DemoError: with the end of the output.
        """
        log = FOLDER / ("%s%s.log" % (self.prefix, name))
        started = time.monotonic()
        print("demo: ansible-playbook seamless.migration.%s ..." % name, end=" ", flush=True)
        with open(log, "wb") as stream:
            argv = [
                str(Path(sys.executable).parent / "ansible-playbook"),
                "-i", str(self.inventory), "-e", "@%s" % self.variables, "seamless.migration.%s" % name,
            ]  # fmt: skip
            environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
            done = subprocess.run(argv, check=False, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)
        self.seconds[name] = round(time.monotonic() - started, 1)
        print("failed" if done.returncode else "%.0f s" % self.seconds[name])
        if done.returncode:
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
            raise DemoError("%s failed, see %s\n%s" % (name, log, "\n".join(tail)))


def verdict(lab_name, host, kind=""):
    """Let the writers rest, let the lab judge what a host has, let them go on.

    :param kind: "" for the storage part's commands, "mysql-" for those of databases
    :return: the verdict as a dictionary
    """
    path = FOLDER / ("%sverdict-%s.json" % (kind, host))
    path.unlink(missing_ok=True)
    lab(kind + "writers", "pause", "--name", lab_name)
    try:
        # Its exit code only says whether something was found.
        lab(kind + "verdict", "--name", lab_name, "--host", host, "--json", str(path), check=False)
    finally:
        lab(kind + "writers", "resume", "--name", lab_name)
    if not path.exists():
        raise DemoError("There is no verdict on %s" % host)
    return json.loads(path.read_text(encoding="ascii"))


def papers(state, name):
    """Where journal, plan and report of a migration lie, for the table. state: folder of its journal below FOLDER."""
    lines = [("journal", str(FOLDER / state / (name + ".jsonl")))]
    return lines + [(kind, str(FOLDER / state / ("%s-%s.html" % (name, kind)))) for kind in ("plan", "report")]


def table(title, lines):
    """(name, value) pairs for the eye."""
    width = max(len(name) for name, _ in lines)
    return "\n".join(["", title, *("  %-*s  %s" % (width, *line) for line in lines)])
