# SPDX-License-Identifier: GPL-3.0-or-later
"""Seed data, writers, and the verdict on what became of them."""

import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor

import checker

from . import nfs, ssh
from .run import LabError, run

TOOLS = "/usr/local/lib/lab/"
LOGS = "/var/lib/lab/writers"
UNITS = "lab-writer-*.service"
NFS_UNITS = "lab-nfs-writer-*.service"
# Not compared: the cron jobs of the old server work there, and what keeps a mount busy does.
SKIPPED = ("scratch", "lost+found", "held")


def seed(lab, files, host=None):
    """Fill the tree of the source and keep a listing of it; returns how many files there are.

    :raises LabError: when the lab has no source.
    """
    host = host or (_only(lab, "old") if lab.of_kind("old") else _only(lab, "nfs_old"))
    line = "python3 %sseed.py /srv/files/data --files %d && install -d -o 2000 -g 2000 /srv/files/scratch"
    made = ssh.on(lab, host, line % (TOOLS, files), timeout=3600).stdout.strip()
    (lab.folder / "seed.jsonl.gz").write_bytes(_listing(lab, host, "--below data"))
    return int(made)


def _only(lab, kind):
    found = lab.of_kind(kind)
    if not found:
        raise LabError("Lab %s has no host of the kind %r" % (lab.name, kind))
    return found[0]


def _listing(lab, host, arguments=""):
    """Compressed listing of the tree on a host."""
    line = "python3 %stree_listing.py /srv/files %s | gzip -1" % (TOOLS, arguments)
    return run(ssh.command(lab, host, "bash -c 'set -o pipefail; %s'" % line), data=b"", timeout=3600).stdout


def start_writers(lab, per_host, rate, keep, seed_text):
    """Start writers on every application host, and on every client of an NFS mount; returns their names."""
    run_id = "%d" % (time.time() * 10 % 10**8)
    names = []
    for host in lab.of_kind("app"):
        lines = ["mkdir -p " + LOGS]
        for number in range(1, per_host + 1):
            name = "%s-%d-%s" % (host, number, run_id)
            lines.append(
                "systemd-run --quiet --collect --unit lab-writer-%s python3 %swriter.py --log %s/%s.jsonl "
                "--prefix writers/%s --rate %g --keep %d --seed %s-%s-%d"
                % (name, TOOLS, LOGS, name, name, rate, keep, seed_text, host, number)
            )
            names.append(name)
        ssh.on(lab, host, " && ".join(lines))
    names += nfs.start_writers(
        lab, per_host, tools=TOOLS, logs=LOGS, rate=rate, keep=keep, seed=seed_text
    )
    if not names:
        raise LabError("Lab %s has no application hosts and no clients of an NFS server" % lab.name)
    return names


def _users(lab):
    """Hosts that have writers, with the pattern of their units."""
    return [(host, UNITS) for host in lab.of_kind("app")] + [(host, NFS_UNITS) for host in nfs.clients(lab)]


def signal_writers(lab, what, timeout=60):
    """Stop, pause or resume all writers, and wait until they did.

    :raises LabError: when one does not within timeout seconds.
    """
    for host, units in _users(lab):
        if what == "stop":
            ssh.on(lab, host, "systemctl stop '%s'" % units, timeout=timeout + 30)
        else:
            ssh.on(lab, host, "systemctl kill --signal %s '%s'" % ({"pause": "USR1", "resume": "USR2"}[what], units))
    end = time.monotonic() + timeout
    wanted = {"stop": (), "pause": ("paused",), "resume": ("running",)}[what]
    while time.monotonic() < end:
        if all(entry["state"] in wanted for entry in status(lab) if entry["state"] != "ended"):
            return
        time.sleep(0.1)
    raise LabError("Writers did not %s within %d s: %s" % (what, timeout, status(lab)))


def status(lab):
    """One dictionary for each writer: name, host, state (running, paused, ended), operations.

    A writer on an NFS mount has a log for each time that it was started; only the last of them can be at work.
    """
    line = (
        "cd %s 2>/dev/null || exit 0; for log in *.jsonl; do [ -e $log ] || continue; name=${log%%.jsonl}; "
        "unit=lab-writer-$name; case $name in writers-*) number=${name%%-*}; unit=lab-nfs-writer-${number##*-}; esac; "
        "systemctl is-active --quiet $unit && alive=running || alive=ended; "
        'echo "$name $alive $(grep -c \'"event": "ok"\' $log) $(tail -n1 $log | tr -d "\\n")"; done'
    ) % LOGS
    found = []
    for host, _units in _users(lab):
        entries = [entry.split(" ", 3) for entry in ssh.on(lab, host, line).stdout.splitlines()]
        last = {family(name): name for name, _state, _done, _last in entries}
        for name, alive, done, said in entries:
            state = alive if name == last[family(name)] else "ended"
            if state == "running" and '"event": "paused"' in said:
                state = "paused"
            found.append({"name": name, "host": host, "state": state, "operations": int(done)})
    return found


def family(name):
    """What all logs of one writer have in common, from the name of one of them."""
    return name.rpartition("-")[0] if name.startswith("writers-") else name


def fetch_logs(lab):
    """Writer's name -> lines of its log."""
    found = {}
    for host, _units in _users(lab):
        names = ssh.on(lab, host, "ls %s 2>/dev/null || true" % LOGS).stdout.split()
        for name in names:
            text = ssh.on(lab, host, "cat %s/%s" % (LOGS, name)).stdout
            found[name.rsplit(".", 1)[0]] = text.splitlines()
    return found


def verdict(lab, host):
    """Compare the tree of a host with the seed data and the writers' logs; see checker.verdict().

    :raises LabError: while writers write.
    """
    busy = [entry["name"] for entry in status(lab) if entry["state"] == "running"]
    if busy:
        raise LabError("Writers are at work: %s. Pause or stop them first: lab writers pause" % ", ".join(busy))
    kept = lab.folder / "seed.jsonl.gz"
    manifest = _lines(kept.read_bytes()) if kept.exists() else []
    with ThreadPoolExecutor() as pool:
        logs = pool.submit(fetch_logs, lab)
        skip = " ".join("--skip " + name for name in SKIPPED)
        listing = pool.submit(_listing, lab, host, skip)
        result = checker.verdict(logs.result(), _lines(listing.result()), manifest, family)
    names = {address: name for name, address in lab.hosts.items()}
    for switch in result["windows"]:
        for side in ("from", "to"):
            switch[side] = names.get(switch[side], switch[side])
    return dict(result, host=host)


def _lines(packed):
    return gzip.decompress(packed).decode("ascii").splitlines()


def report(result, shown=10):
    """The verdict for people, as text."""
    lines = [
        "%(host)s: %(files)d files, %(bytes)d bytes" % result,
        "operations: %(acknowledged)d acknowledged, %(retried)d of them after a retry; %(refused)d refused; "
        "%(unknown)d paths unknown" % result,
        "lost %(lost)d, different %(different)d, extra %(extra)d" % result,
    ]
    for kind in ("lost", "different", "extra", "refused"):
        paths = result["paths"][kind]
        entries = ["%s: %s" % (path, ", ".join(paths[path])) for path in paths] if isinstance(paths, dict) else paths
        lines += ["  %s %s" % (kind, entry) for entry in list(entries)[:shown]]
    for switch in result["windows"]:
        line = "window %(from)s -> %(to)s: overall %(overall_s).3f s, longest of a writer %(longest_s).3f s"
        lines.append(line % switch)
    return "\n".join(lines)


def as_json(result):
    return json.dumps(result, indent=2) + "\n"
