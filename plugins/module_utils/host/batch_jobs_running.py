# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the processes of jobs that cron or run-parts started, by looking at /proc."""

import os
import re
import shlex

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.host.batch_jobs_cron import shell_part

_DAEMONS = ("cron", "crond")
_CGROUP = re.compile(r"/crond?\.service(/|$)", re.M)
_OPERATORS = re.compile(r"^[0-9]*[<>|&;()]")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")


class Process:
    """One process. pid, parent: numbers; name: of the program; argv: list of str; group: text of its cgroup file."""

    def __init__(self, pid, parent, name, *, argv, group):
        self.pid = pid
        self.parent = parent
        self.name = name
        self.argv = argv
        self.group = group


def processes(root=""):
    """All processes as {pid: Process}; those that end meanwhile are left out."""
    found = {}
    for entry in os.listdir(root + "/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = _read(root, entry, "stat")
            argv = _read(root, entry, "cmdline").split("\0")[:-1]
            group = _read(root, entry, "cgroup")
        except (OSError, files.FileError):
            continue
        match = re.match(r"\d+ \((.*)\) (\S) (\d+)", stat, re.S)
        if match and match.group(2) not in ("Z", "X"):
            found[int(entry)] = Process(int(entry), int(match.group(3)), match.group(1), argv=argv, group=group)
    return found


def _read(root, pid, name):
    with open(os.path.join(root + "/proc", pid, name), "rb") as stream:
        return files.text(stream.read())


def words(command):
    """The words of the first simple command of a shell command, as its process will have them, or []."""
    try:
        parts = shlex.split(shell_part(command))
    except ValueError:
        return []
    while parts and _ASSIGNMENT.match(parts[0]):
        parts.pop(0)
    found = []
    for part in parts:
        if _OPERATORS.match(part):
            break
        found.append(part)
        if part.endswith((";", "&")):
            found[-1] = part[:-1]
            break
    return found


def _below_cron(process, everyone):
    if _CGROUP.search(process.group):
        return process.name.lower() not in _DAEMONS  # also what outlived a restart of cron
    parent = everyone.get(process.parent)
    for _unused in range(64):
        if parent is None:
            return False
        if parent.name.lower() in _DAEMONS:
            return process.name.lower() not in _DAEMONS
        parent = everyone.get(parent.parent)
    return False


def _runs(process, command):
    """Whether the process is the shell of this cron command, or what that shell became."""
    whole = shell_part(command)
    if len(process.argv) > 2 and process.argv[1] == "-c" and process.argv[2].strip() == whole:
        return True
    wanted = words(command)
    argv = process.argv
    return bool(wanted) and argv[-len(wanted):] == wanted and len(argv) - len(wanted) <= 2


def of_cron(commands, root=""):
    """[{pid, command}] of the processes that cron started for these commands."""
    everyone = processes(root)
    return [
        {"pid": process.pid, "command": " ".join(process.argv)}
        for process in sorted(everyone.values(), key=lambda one: one.pid)
        if process.argv
        and any(_runs(process, command) for command in commands)
        and _below_cron(process, everyone)
    ]


def of_scripts(paths, root=""):
    """[{pid, command}] of the processes that run these scripts, whoever started them."""
    return [
        {"pid": process.pid, "command": " ".join(process.argv)}
        for process in sorted(processes(root).values(), key=lambda one: one.pid)
        if set(process.argv[:3]) & set(paths) and process.pid != os.getpid()
    ]
