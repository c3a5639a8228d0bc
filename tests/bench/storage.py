#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bench of the storage side: our bulk copy against what people use, in one run on one machine.

    make bench-storage
    build/venv/bin/python tests/bench/storage.py [--quick] [--files N] [--rounds N] [--only NAME,...]

All candidates copy the same tree to an rsync daemon on the loopback, into a fresh folder each time, with the page cache
dropped before (where that is allowed), in turns. Medians. Results: build/bench/storage.json and storage.md.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "build" / "bench"
COLLECTIONS = ROOT / "build" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "seamless" / "migration"
if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(ROOT)
sys.path.insert(0, str(COLLECTIONS))

from ansible_collections.seamless.migration.plugins.module_utils.rsync import bulk, delta, job  # noqa: E402 - after the path is set
from ansible_collections.seamless.migration.plugins.module_utils.rsync.bulk_task import Task  # noqa: E402 - after the path is set
from ansible_collections.seamless.migration.plugins.modules import bulk_copy  # noqa: E402 - after the path is set

FOLDERS = 1200          # of the tree of the bulk copy


def drop_caches():
    """Forget the page cache. Returns whether that was allowed."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def make_tree(root, files, mean, folders):
    """Files of 1 byte to twice `mean` bytes in two levels of folders, once."""
    marker = root.with_name(root.name + ".made")
    wanted = "%d %d %d" % (files, mean, folders)
    if marker.exists() and marker.read_text() == wanted:
        return
    shutil.rmtree(root, ignore_errors=True)
    dice = random.Random(7)
    noise = os.urandom(1 << 20)
    for number in range(files):
        place = number * folders // files
        folder = root / ("%02d" % (place // 40)) / ("%04d" % place)
        if number * folders // files != (number - 1) * folders // files or number == 0:
            folder.mkdir(parents=True, exist_ok=True)
        size = dice.randrange(1, 2 * mean)
        start = dice.randrange(0, len(noise) - min(size, len(noise) // 2))
        (folder / ("file-%06d.bin" % number)).write_bytes(noise[start:start + size])
    (root / ".seamless-sentinel").write_text("bench data\n")
    marker.write_text(wanted)


class Daemon:
    """An rsync daemon on a free port of the loopback that serves `path` as the module data."""

    def __init__(self, folder, path):
        self.folder = folder
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        config = folder / "rsyncd.conf"
        config.write_text("pid file = %s\nlog file = %s\nuse chroot = no\nmunge symlinks = no\n[data]\npath = %s\n"
                          "read only = no\nuid = root\ngid = root\nhosts allow = 127.0.0.1\nhosts deny = *\n"
                          % (folder / "rsyncd.pid", folder / "rsyncd.log", path))
        (folder / "rsyncd.pid").unlink(missing_ok=True)
        self.process = subprocess.Popen(["rsync", "--daemon", "--no-detach", "--address=127.0.0.1",
                                         "--port=%d" % self.port, "--config=%s" % config],
                                        stdin=subprocess.DEVNULL, start_new_session=True)
        for _attempt in range(100):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise SystemExit("The rsync daemon of the bench does not listen.")

    def url(self, name):
        return "rsync://127.0.0.1:%d/data/%s/" % (self.port, name)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


class Bench:
    """One run of everything that was asked for. options: of the command line."""

    def __init__(self, options):
        self.options = options
        self.work = BENCH / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.source = self.work / "source"
        self.targets = self.work / "targets"
        shutil.rmtree(self.targets, ignore_errors=True)
        self.targets.mkdir()
        self.daemon = Daemon(self.work, self.targets)
        self.cold = drop_caches()
        self.number = 0
        self.results = {"machine": self._machine(), "files": options.files, "mean_bytes": options.mean,
                        "rounds": options.rounds, "cold": self.cold}

    @staticmethod
    def _machine():
        version = subprocess.run(["rsync", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
        return {"cpus": os.cpu_count(), "kernel": os.uname().release, "python": sys.version.split()[0],
                "rsync": version.split()[2]}

    def say(self, text):
        print("%s %s" % (time.strftime("%H:%M:%S"), text), flush=True)

    def fresh(self):
        """Name of a folder that was never there: ext4 is slow where inodes were freed a moment ago."""
        self.number += 1
        name = "t%03d" % self.number
        (self.targets / name).mkdir()
        return name

    def run(self, argv, **more):
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more)

    # --- the candidates of the bulk copy: each takes the name of a fresh target ---

    def ours(self, name, **more):
        return self._task(self.source, self.daemon.url(name), "bench-" + name, **more)

    def _task(self, src, dest, name, **more):
        params = {name: option.get("default") for name, option in bulk_copy.argument_spec().items()}
        params.update(src=str(src), dest=dest, job=name, workers=self.options.workers,
                      read_ahead=self.options.read_ahead, sentinel=".seamless-sentinel",
                      state_dir=str(self.work / "state" / "bulk"))
        params.update(more)
        return Task(params).perform()

    def recipe(self, name):
        self.run(["rsync", "-aPvz", "--delete", "%s/" % self.source, self.daemon.url(name)])

    def plain(self, name):
        self.run(["rsync", "-aW", "--delete", "%s/" % self.source, self.daemon.url(name)])

    def fpsync(self, name):
        self.run(["fpsync", "-n", "8", "-o", "-lptgoDW --numeric-ids", "-t", str(self.work / "fpsync"),
                  "%s/" % self.source, self.daemon.url(name)], stderr=subprocess.DEVNULL)

    def xargs(self, name):
        folders = [entry.name for entry in os.scandir(self.source) if entry.is_dir()]
        self.run(["sh", "-c", "cd \"$1\" && printf '%s\\n' */ | xargs -P8 -I{} rsync -aW {} \"$2\"{}", "sh",
                  str(self.source), self.daemon.url(name)])
        assert len(folders) == sum(1 for _entry in os.scandir(self.targets / name))

    def read_limit(self, _name):
        """All files read cold by 16 readers."""
        def read(folder):
            for entry in os.scandir(folder):
                if not entry.is_file():
                    continue
                with open(entry.path, "rb", buffering=0) as stream:
                    while stream.read(1 << 20):
                        pass
        folders = [folder for folder, _folders, names in os.walk(self.source) if names]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(read, folders))

    def create_limit(self, name):
        """As many files of the same sizes created by one writer, their content from memory."""
        noise = b"x" * (4 * self.options.mean)
        top = self.targets / name
        for folder, entries in self.sizes:
            place = top / folder
            place.mkdir(parents=True, exist_ok=True)
            for file_name, size in entries:
                with open(place / file_name, "wb", buffering=0) as stream:
                    stream.write(noise[:size])

    def _read_sizes(self):
        self.sizes = []
        for folder, _folders, names in os.walk(self.source):
            if names:
                self.sizes.append((os.path.relpath(folder, self.source), [
                    (name, os.path.getsize(os.path.join(folder, name))) for name in names]))

    def bulk(self):
        """Candidates in turns. Fills results["bulk"]: name -> seconds of each round."""
        make_tree(self.source, self.options.files, self.options.mean, min(FOLDERS, self.options.files // 10))
        self._read_sizes()
        candidates = {"ours": self.ours, "rsync -aPvz --delete": self.recipe, "rsync -aW --delete": self.plain,
                      "xargs -P8": self.xargs, "limit: read, 16 readers": self.read_limit,
                      "limit: create, 1 writer": self.create_limit}
        if shutil.which("fpsync"):
            candidates["fpsync -n 8"] = self.fpsync
        seconds = {name: [] for name in candidates}
        for number in range(self.options.rounds):
            order = list(candidates)
            order = order[number % len(order):] + order[:number % len(order)]
            for name in order:
                target = self.fresh()
                drop_caches()
                begin = time.monotonic()
                candidates[name](target)
                seconds[name].append(round(time.monotonic() - begin, 2))
                self.say("bulk %s: %.2f s" % (name, seconds[name][-1]))
                if name in ("ours", "fpsync -n 8") and number == 0:
                    self.prove(target, name)
        self.results["bulk"] = seconds

    def prove(self, target, name):
        """A copy that is not whole must not win."""
        count = sum(len(names) for _folder, _folders, names in os.walk(self.targets / target))
        wanted = sum(len(entries) for _folder, entries in self.sizes)
        if count not in (wanted, wanted - 1):       # the sentinel stays at home
            raise SystemExit("%s copied %d of %d files" % (name, count, wanted))

    def rescan(self):
        """Nothing to do: ours against one rsync -a, cold and warm."""
        make_tree(self.source, self.options.files, self.options.mean, min(FOLDERS, self.options.files // 10))
        target = self.fresh()
        self.ours(target)
        found = {}
        for number in range(self.options.rounds):
            for cold in (True, False):
                order = [("ours", lambda: self.ours(target)), ("rsync -a", lambda: self.run(
                    ["rsync", "-a", "%s/" % self.source, self.daemon.url(target)]))]
                for name, candidate in order[::-1] if number % 2 else order:
                    if cold:
                        drop_caches()
                    begin = time.monotonic()
                    answer = candidate()
                    found.setdefault("%s, %s" % (name, "cold" if cold else "warm"), []).append(
                        round(time.monotonic() - begin, 2))
                    if answer and answer["changed"] and number:
                        raise SystemExit("the rerun changed something: %r" % answer)
        self.results["rerun"] = found
        self.say("rerun %r" % found)

    def delta(self):
        """Changed paths of a larger tree: our list against a full pass."""
        files = self.options.delta_files
        source = self.work / "delta-source"
        make_tree(source, files, 1024, max(10, files // 100))
        target = self.fresh()
        subprocess.run(["rsync", "-aW", "-@-1", "%s/" % source, self.daemon.url(target)], check=True)
        paths = [os.path.relpath(os.path.join(folder, name), source)
                 for folder, _folders, names in os.walk(source) for name in names if not name.startswith(".seamless")]
        dice = random.Random(11)
        found = {"ours": [], "rsync -a --delete": []}
        for _number in range(self.options.rounds):
            for name, seconds in found.items():
                changed = dice.sample(paths, min(1000, len(paths) // 4))
                for path in changed:
                    (source / path).write_bytes(os.urandom(900))
                listed = self.work / "changed"
                listed.write_bytes(b"".join(os.fsencode(path) + b"\0" for path in changed))
                begin = time.monotonic()
                if name == "ours":
                    done = delta.run_delta(str(source), self.daemon.url(target), str(listed), frozen=True)
                    assert done.files == len(changed), vars(done)
                else:
                    self.run(["rsync", "-a", "--delete", "--exclude=/.seamless-*", "%s/" % source,
                              self.daemon.url(target)])
                seconds.append(round(time.monotonic() - begin, 3))
        self.results["delta"] = dict(found, paths=min(1000, len(paths) // 4), tree=files)
        self.say("delta %r" % self.results["delta"])

    def memory(self):
        """Peak memory of the engine over a tree of many empty files, its rsyncs not counted."""
        files = self.options.memory_files
        source = self.work / "memory-source"
        marker = self.work / "memory-source.made"
        if not marker.exists() or marker.read_text() != str(files):
            shutil.rmtree(source, ignore_errors=True)
            for number in range(files):
                folder = source / ("%04d" % (number // 5000))
                if number % 5000 == 0:
                    folder.mkdir(parents=True)
                os.close(os.open(folder / ("a file with a name of ordinary length %08d" % number), os.O_CREAT, 0o644))
            (source / ".seamless-sentinel").write_text("bench data\n")
            marker.write_text(str(files))
        target = self.fresh()
        child = os.fork()
        if child == 0:
            begin = time.monotonic()
            made = job.Job("memory", str(self.work / "state" / "bulk"))
            shutil.rmtree(made.folder, ignore_errors=True)
            made.make()
            made.lock()
            made.write("spec", dict(bulk.DEFAULTS, src=str(source), dest=str(self.targets / target), fresh=True,
                                    workers=4, sentinel=".seamless-sentinel"))
            state = bulk.Engine(made).execute()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            (self.work / "memory.json").write_text(json.dumps({
                "files": files, "peak_mib": peak, "state": state, "seconds": round(time.monotonic() - begin, 1)}))
            os._exit(0)
        os.waitpid(child, 0)
        self.results["memory"] = json.loads((self.work / "memory.json").read_text())
        self.say("memory %r" % self.results["memory"])

    def limit(self):
        """Bytes that all workers send together, against the limit that was set."""
        make_tree(self.source, self.options.files, self.options.mean, min(FOLDERS, self.options.files // 10))
        found = []
        for mib in self.options.limits:
            target, name = self.fresh(), "limit-%d" % mib
            shutil.rmtree(self.work / "state" / "bulk" / name, ignore_errors=True)
            url = self.daemon.url(target)
            self._task(self.source, url, name, bwlimit_kib_per_s=mib * 1024, state="started")
            self._when(name, url, lambda progress, mib=mib: progress.get("sent_bytes", 0) > mib << 20)
            before = throttle_bytes(self.targets / target)
            begin = self._task(self.source, url, name, state="status")["progress"]
            time.sleep(self.options.limit_seconds)
            end = self._task(self.source, url, name, state="status")["progress"]
            arrived = throttle_bytes(self.targets / target) - before
            self._task(self.source, url, name, state="stopped")
            rate = (end["sent_bytes"] - begin["sent_bytes"]) / (end["at"] - begin["at"]) / (1 << 20)
            found.append({"limit_mib_per_s": mib, "sent_mib_per_s": round(rate, 2),
                          "off_percent": round(100 * (rate / mib - 1), 1),
                          "arrived_mib_per_s": round(arrived / self.options.limit_seconds / (1 << 20), 2)})
        self.results["bwlimit"] = found
        self.say("bwlimit %r" % found)

    def _when(self, name, url, until):
        for _attempt in range(600):
            if until(self._task(self.source, url, name, state="status")["progress"]):
                return
            time.sleep(0.1)
        raise SystemExit("the limited copy does not come along")

    def close(self):
        self.daemon.stop()
        shutil.rmtree(self.targets, ignore_errors=True)
        shutil.rmtree(self.work / "state", ignore_errors=True)
        shutil.rmtree(self.work / "fpsync", ignore_errors=True)


def throttle_bytes(folder):
    """Bytes of file contents below a folder."""
    return sum(os.path.getsize(os.path.join(place, name)) for place, _folders, names in os.walk(folder)
               for name in names if os.path.exists(os.path.join(place, name)))


def verdicts(results):
    """(what, wanted, seen, whether reached) of every target of the project."""
    middle = {name: statistics.median(values) for name, values in results.get("bulk", {}).items()}
    rows = []
    if middle:
        ours = middle["ours"]
        limit = max(middle["limit: read, 16 readers"], middle["limit: create, 1 writer"])
        for name, factor in (("rsync -aPvz --delete", 2.0), ("fpsync -n 8", 1.0), ("xargs -P8", 1.0)):
            if name in middle:
                rows.append(("bulk copy against %s" % name, "> %.1f times as fast" % factor,
                             "%.2f times" % (middle[name] / ours), middle[name] / ours >= factor))
        rows.append(("bulk copy against the machine's limit", "<= 2.0 times", "%.2f times" % (ours / limit),
                     ours / limit <= 2))
    for heat in ("cold", "warm") if "rerun" in results else ():
        ours, theirs = (statistics.median(results["rerun"]["%s, %s" % (name, heat)]) for name in ("ours", "rsync -a"))
        rows.append(("rerun with nothing to do, %s" % heat, "faster than rsync -a (%.2f s)" % theirs, "%.2f s" % ours,
                     ours < theirs))
    if "delta" in results:
        ours, theirs = (statistics.median(results["delta"][name]) for name in ("ours", "rsync -a --delete"))
        rows.append(("delta of %(paths)d paths in %(tree)d" % results["delta"], "< 1 s", "%.2f s" % ours, ours < 1))
        rows.append(("the same against a full pass", "> 10 times as fast", "%.1f times" % (theirs / ours),
                     theirs / ours >= 10))
    if "memory" in results:
        peak = results["memory"]["peak_mib"]
        rows.append(("peak memory with %d files" % results["memory"]["files"], "< 200 MB", "%d MiB" % peak, peak < 190))
    for entry in results.get("bwlimit", ()):
        rows.append(("limit of %d MiB/s" % entry["limit_mib_per_s"], "within 10 %", "%+.1f %%" % entry["off_percent"],
                     abs(entry["off_percent"]) <= 10))
    return rows


def table(results):
    """The results as Markdown."""
    lines = ["| what | seconds, each round | median |", "|---|---|---|"]
    for group in ("bulk", "rerun"):
        for name, values in results.get(group, {}).items():
            lines.append("| %s: %s | %s | %.2f |" % (group, name, " / ".join("%.1f" % value for value in values),
                                                  statistics.median(values)))
    for name in ("ours", "rsync -a --delete"):
        values = results.get("delta", {}).get(name, [])
        if values:
            lines.append("| delta: %s | %s | %.2f |" % (name, " / ".join("%.2f" % value for value in values),
                                                     statistics.median(values)))
    lines += ["", "| target | wanted | seen | |", "|---|---|---|---|"]
    lines += ["| %s | %s | %s | %s |" % (what, wanted, seen, "reached" if fine else "**missed**")
              for what, wanted, seen, fine in verdicts(results)]
    return "\n".join(lines) + "\n"


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small trees and one round, to see that it runs")
    parser.add_argument("--files", type=int, default=120000)
    parser.add_argument("--mean", type=int, default=20480, help="mean bytes of a file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, help="of ours; as many as it takes by itself without it")
    parser.add_argument("--read-ahead", type=int, default=16)
    parser.add_argument("--delta-files", type=int, default=200000)
    parser.add_argument("--memory-files", type=int, default=1000000)
    parser.add_argument("--limits", type=lambda text: [int(word) for word in text.split(",")], default=[5, 20, 50])
    parser.add_argument("--limit-seconds", type=float, default=15)
    parser.add_argument("--only", type=lambda text: text.split(","),
                        default=["bulk", "rescan", "delta", "memory", "limit"])
    options = parser.parse_args(argv)
    if options.quick:
        options.files, options.rounds, options.delta_files, options.memory_files = 2000, 1, 4000, 20000
        options.limits, options.limit_seconds, options.workers = [4], 3, 4
    return options


def main(argv=None):
    options = parse(argv)
    bench = Bench(options)
    try:
        for name in options.only:
            getattr(bench, name)()
        text = table(bench.results)
        stem = "storage-quick" if options.quick else "storage"
        bench.results["verdicts"] = [list(row) for row in verdicts(bench.results)]
        (BENCH / (stem + ".json")).write_text(json.dumps(bench.results, indent=1) + "\n")
        (BENCH / (stem + ".md")).write_text(text)
        print(text, flush=True)
        bench.say("removing the copies, which takes as long as making them")
    finally:
        bench.close()


if __name__ == "__main__":
    main()
