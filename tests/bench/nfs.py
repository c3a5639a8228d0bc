#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bench of the switch of NFS clients: the window of each, and what the controller adds when there are many.

    make bench-nfs
    build/venv/bin/python tests/bench/nfs.py [--rounds N] [--only real,simulated]

`real`: guests with kernels of their own switch a mount that services write to, one alone and four at once, to and fro.
The window of a client is what nfs_mount measured: from the first unit that it stops to the checked mount.
`simulated`: an inventory of up to 100 clients on this machine. The work of a client is a STUB that sleeps; all else is
what ansible-playbook does for the task. What the task took beyond the sleep is the controller's share.
Results: build/bench/nfs.json and nfs.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "build" / "bench"
LAB = "bench-nfs"
CLIENTS = ["nfs_client%d" % number for number in range(1, 5)]
SIMULATED = (1, 10, 25, 50, 100)
STUB_SECONDS = 2.0
WRITER = """[Unit]
Description=Writes to the mounted files
[Service]
User=files
LogsDirectory=app-writer
ExecStart=/usr/bin/python3 /usr/local/lib/lab/nfs_writer.py --top /mnt/files --log /var/log/app-writer --prefix %H
"""


def say(text):
    print(text, flush=True)


def run(argv, **options):
    done = subprocess.run(argv, check=False, text=True, capture_output=True, **options)
    if done.returncode != 0:
        raise SystemExit("%s ended with %d:\n%s%s" % (" ".join(argv), done.returncode, done.stdout, done.stderr))
    return done.stdout


def play(inventory, plays, *more):
    """Run plays (list of dict) and return what the JSON callback tells of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "play.yml")
        path.write_text(json.dumps(plays), encoding="utf-8")
        environment = dict(os.environ, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_FORKS="100",
                           ANSIBLE_PIPELINING="true", ANSIBLE_COLLECTIONS_PATH=str(ROOT / "build/collections"))
        program = str(Path(sys.executable).parent / "ansible-playbook")
        said = run([program, "-i", inventory, str(path), *more], env=environment)
        return json.loads(said[said.index("{"):])


def task_of(said, name):
    """(results by host, seconds from the start of the task to the end of its last host)."""
    for one in (task for part in said["plays"] for task in part["tasks"]):
        if one["task"]["name"] == name:
            begin, end = (one["task"]["duration"][key].rstrip("Z") for key in ("start", "end"))
            form = "%Y-%m-%dT%H:%M:%S.%f"
            return one["hosts"], _seconds(end, form) - _seconds(begin, form)
    raise SystemExit("There is no task %s" % name)


def _seconds(text, form):
    moment, _dot, rest = text.partition(".")
    return time.mktime(time.strptime(moment, form.partition(".")[0])) + float("0." + (rest or "0"))


# --- with real kernels ---


def prepare(inventory):
    """Export the files on both servers, mount them on every client, and let a service write."""
    exports = {"nfs_server_exports": [{"path": "/srv/files"}], "nfs_server_read_only": False,
               "nfs_server_squash": "none", "nfs_server_firewall": False}
    mount = {"path": "/mnt/files", "server": "nfs-old", "export": "/srv/files", "options": ["vers=4.2", "hard"]}
    play(inventory, [
        {"hosts": "storage_source:storage_target", "gather_facts": False, "vars": exports,
         "roles": ["seamless.migration.nfs_server"]},
        {"hosts": "storage_clients", "gather_facts": False, "tasks": [
            {"name": "Mount", "seamless.migration.nfs_mount": mount},
            {"name": "Write", "ansible.builtin.copy": {
                "content": WRITER, "dest": "/etc/systemd/system/app-writer.service", "mode": "0644"}},
            {"name": "Start", "ansible.builtin.systemd_service": {
                "name": "app-writer", "state": "started", "daemon_reload": True}}]},
    ])  # fmt: skip


def switch(inventory, clients, server):
    """Switch these clients in one task. Returns their windows and the time of the task, in seconds."""
    options = {"path": "/mnt/files", "server": server, "export": "/srv/files", "state": "switched",
               "stop_units": ["app-writer.service"], "canary_user": "files"}
    said = play(inventory, [{"hosts": ",".join(clients), "gather_facts": False, "tasks": [
        {"name": "Switch", "seamless.migration.nfs_mount": options}]}])  # fmt: skip
    hosts, seconds = task_of(said, "Switch")
    bad = {host: result.get("msg") for host, result in hosts.items() if not result.get("changed")}
    if bad:
        raise SystemExit("Failed to switch: %s" % bad)
    return [result["window_s"] for result in hosts.values()], seconds


def real(rounds):
    lab = str(ROOT / "lab" / "lab")
    begin = time.monotonic()
    run([lab, "up", "--name", LAB, "--hosts", ",".join(["nfs_old", "nfs_new", *CLIENTS])])
    up = time.monotonic() - begin
    try:
        inventory = str(ROOT / "build" / "lab" / LAB / "inventory.yml")
        prepare(inventory)
        found = {}
        for count in (1, 4):
            windows, tasks = [], []
            for number in range(rounds):
                for server in ("nfs-new", "nfs-old"):
                    some, seconds = switch(inventory, CLIENTS[:count], server)
                    windows.append(max(some))
                    tasks.append(seconds)
                    told = "%d clients, round %d: window at most %.2f s, task %.2f s"
                    say(told % (count, number, max(some), seconds))
            found[count] = {"window_s": round(statistics.median(windows), 2), "worst_s": round(max(windows), 2),
                            "task_s": round(statistics.median(tasks), 2)}
        growth = 100 * (found[4]["window_s"] / found[1]["window_s"] - 1)
        return {"guests_up_s": round(up, 1), "clients": found, "growth_percent": round(growth, 1)}
    finally:
        run([lab, "down", "--name", LAB])


# --- with the client's work stubbed ---


def simulated():
    """How long one task over N clients takes beyond the work of a client, which is a stub that sleeps."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        inventory = str(Path(folder, "inventory.json"))
        for count in SIMULATED:
            hosts = {"client%03d" % number: {} for number in range(count)}
            shared = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
            Path(inventory).write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}), encoding="utf-8")
            stub = {"name": "STUB of the client's work", "ansible.builtin.raw": "sleep %s" % STUB_SECONDS}
            said = play(inventory, [{"hosts": "all", "gather_facts": False, "tasks": [stub]}])
            _hosts, seconds = task_of(said, stub["name"])
            share = seconds - STUB_SECONDS
            found[count] = {"task_s": round(seconds, 2), "share_s": round(share, 2),
                            "share_ms_per_client": round(1000 * share / count)}
            say("%d simulated clients: task %.2f s, controller's share %.2f s" % (count, seconds, share))
    return found


def table(results):
    lines = ["# Switch of NFS clients", ""]
    if "real" in results:
        found = results["real"]
        lines += ["| clients | window, median | window, worst | task |", "|---|---|---|---|"]
        for count, one in found["clients"].items():
            lines.append("| %s | %.2f s | %.2f s | %.2f s |" % (count, one["window_s"], one["worst_s"], one["task_s"]))
        lines += ["", "From 1 to 4 clients the window grew by %.1f %%. The guests were up after %.0f s." % (
            found["growth_percent"], found["guests_up_s"]), ""]
    if "simulated" in results:
        head = "| simulated clients (their work is a stub of %.0f s) | task | controller's share | per client |"
        lines += [head % STUB_SECONDS, "|---|---|---|---|"]
        for count, one in results["simulated"].items():
            lines.append("| %s | %.2f s | %.2f s | %d ms |" % (
                count, one["task_s"], one["share_s"], one["share_ms_per_client"]))
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description="Time the switch of NFS clients")
    parser.add_argument("--rounds", type=int, default=3, help="switches there and back with each number of clients")
    parser.add_argument("--only", default="real,simulated")
    arguments = parser.parse_args(argv)
    wanted = arguments.only.split(",")
    results = {}
    if "simulated" in wanted:
        results["simulated"] = simulated()
    if "real" in wanted:
        results["real"] = real(arguments.rounds)
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / "nfs.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (BENCH / "nfs.md").write_text(table(results), encoding="utf-8")
    say("\n" + table(results))


if __name__ == "__main__":
    main()
