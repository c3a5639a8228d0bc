# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine of a bulk copy: lists in, rsyncs out, one limit over all of them, every step written down.

It runs detached from whoever started it. Killed anywhere and started again it goes on: lists that were copied are not
looked at again, and rsync itself skips what is there of the others.
"""

import collections
import contextlib
import os
import shutil
import subprocess
import threading
import time
import traceback

from ansible_collections.seamless.migration.plugins.module_utils.host import command, detached
from ansible_collections.seamless.migration.plugins.module_utils.rsync import (
    binary,
    deal,
    delta,
    exit_codes,
    fpart,
    output,
    partitions,
    patterns,
    readahead,
    rescan,
    throttle,
    workers,
)
from ansible_collections.seamless.migration.plugins.module_utils.rsync.binary import RsyncError

_LOOK = 0.02                # seconds between two looks at the workers
_HEAD_START = 0.5           # seconds in which a small tree is counted before the first byte is copied
_LONGEST_BACKOFF = 60
_TRIES_OF_A_LIST = 3        # for single files that cannot be transferred
_STOPPED_AT_MOST = 20       # seconds a paused rsync is kept, before the other side's timeout ends it anyway
_RATE_WINDOW = 15           # seconds over which the rate is taken
_AHEAD_BYTES = 256 << 20
_CHANGED = 90000000         # number of the first list that a comparison made

DEFAULTS = {
    "workers": 1, "read_ahead": 16, "bwlimit_kib_per_s": 0, "exclude": [], "hard_links": True, "xattrs": True,
    "acls": True, "sparse": True, "delete": False, "max_delete": 1000, "sentinel": None, "frozen": False, "nice": 0,
    "ionice_class": None, "ionice_level": 4, "password_file": None, "rsh": None, "io_timeout": 60, "retry_for": 900,
    "dest_free_bytes": None, "dest_free_inodes": None, "partition_files": 2000, "partition_bytes": 256 << 20,
    "rescan": "quick", "rsync_path": None, "partitioner": "auto", "mode": "full", "deal": None, "lease": 0,
}
# A change of one of these makes an unfinished run useless.
IDENTITY = ("src", "dest", "exclude", "hard_links", "xattrs", "acls")


def workers_for(cores):
    """How many rsyncs a host with so many cores is given by default: one waits while the others work. More of them took
    longer on two cores (docs/bench-storage.md)."""
    return min(16, cores + 1)


def options_of(spec):
    """binary.Options of a spec."""
    return binary.Options(hard_links=spec["hard_links"], xattrs=spec["xattrs"], acls=spec["acls"],
                          sparse=spec["sparse"], exclude=[binary.OURS] + list(spec["exclude"]),
                          password_file=spec["password_file"], rsh=spec["rsh"], io_timeout=spec["io_timeout"])


def is_fresh(rsync, options, dest):
    """Whether dest has nothing in it. Raises RsyncError when it cannot be reached, with what to do."""
    if binary.is_local(dest):
        return _is_fresh_here(dest)
    words = [word for word in binary.arguments(rsync, options, dest) if word.startswith(("--timeout", "--contimeout",
             "--password", "-e"))]
    if options.rsh:
        words += [options.rsh] if words and words[-1] == "-e" else []
    argv = [rsync.path, "--list-only", "--exclude=%s" % binary.OURS, "--exclude=/lost+found", "--exclude=/*/*"]
    result = command.run(argv + words + ["--", binary.with_slash(dest)], timeout=options.io_timeout + 60, ok=None)
    if result.rc == 0:
        return len(result.stdout.strip("\n").split("\n")) <= 1
    if result.rc in (23, 3, 12) and "No such file or directory" in result.stderr and "chdir" not in result.stderr:
        return True
    if "is write only" in result.stderr + result.stdout:
        return False
    verdict = exit_codes.judge(result.rc, result.stderr + result.stdout)
    raise RsyncError("Failed to reach %s: %s rsync said: %s" % (dest, verdict.sentence(), _reason(result)),
                     verdict=verdict)


def _reason(result):
    """The line in which rsync says why, not the one in which it says that it ends."""
    lines = [line for line in (result.stderr + "\n" + result.stdout).split("\n") if line.strip()]
    named = [line for line in lines if "@ERROR" in line or "failed" in line.lower()]
    return (named or lines or ["nothing"])[0].strip()


def _is_fresh_here(dest):
    parent = os.path.dirname(dest.rstrip("/")) or "/"
    if not os.path.isdir(parent):
        raise RsyncError("Failed to reach %s: %s does not exist. Create or mount it." % (dest, parent))
    if not os.path.exists(dest):
        return True
    if not os.path.isdir(dest):
        raise RsyncError("Failed to reach %s: it is not a directory." % dest)
    with os.scandir(dest) as entries:
        return all(entry.name.startswith(".seamless-") or entry.name == "lost+found" for entry in entries)


def free_of(spec):
    """(bytes, inodes) free on the target, None for what cannot be told."""
    space, inodes = spec["dest_free_bytes"], spec["dest_free_inodes"]
    if binary.is_local(spec["dest"]):
        place = spec["dest"] if os.path.isdir(spec["dest"]) else os.path.dirname(spec["dest"].rstrip("/")) or "/"
        status = os.statvfs(place)
        space = status.f_bavail * status.f_frsize if space is None else space
        if inodes is None and status.f_files:
            inodes = status.f_favail
    return space, inodes


class Stop(Exception):
    """The run ends here. state: failed or stopped."""

    def __init__(self, state, message):
        super().__init__(message)
        self.state = state


class Engine:
    """One run of a job. The job's lock must be held."""

    def __init__(self, job):
        self.job = job
        self.spec = dict(DEFAULTS, **job.read("spec"))
        self.options = options_of(self.spec)
        self.patterns = patterns.Patterns(self.spec["exclude"])
        self.rsync = binary.suited(binary.find(self.spec["rsync_path"]), self.spec["dest"], self.options)
        self.control = job.read("control", {})
        self.throttle = throttle.Throttle(self.spec["bwlimit_kib_per_s"])
        self.ahead = None
        self.plan = None
        self.walk = None
        self.run = {}
        self.todo = collections.deque()         # partitions not yet started
        self.later = []                         # (not before, partition, attempt)
        self.last = []                          # partitions for the end: directories, or what a comparison cannot see
        self.holding = False
        self.gathering = self.spec["mode"] == "cut"
        self.again = set()                      # lists of a deal that somebody may have copied in part
        self.changed_lists = 0
        self.running = []
        self.found_lock = threading.Lock()
        self.done_numbers = set()
        self.failures = 0                       # connections in a row that failed
        self.failing_since = None
        self.not_before = 0.0
        self.begin = time.time()
        self.paused_at = None
        self.samples = collections.deque()
        self.reported = 0.0
        self.looked = 0.0
        self.count = {name: 0 for name in (
            "files_total", "bytes_total", "files_done", "bytes_done", "files", "bytes", "seen", "created", "deleted",
            "changes", "vanished", "failed", "retries", "lists_total", "lists_done", "sent_bytes")}
        self.phase = "checking"

    # --- the run ---

    def execute(self):
        """Run to the end. Every way out leaves a progress file that says which. Returns the state."""
        state, message = "failed", ""
        try:
            self._prepare()
            self.throttle.start()
            self._copy()
            state = "done"
            if self.count["failed"]:
                first = self.job.lines("failed", 1)[0]
                state, message = "failed", "Failed to copy %d paths of %s: first %s (%s). All stand in %s." % (
                    self.count["failed"], self.spec["src"], first["path"], first["reason"], self.job.path("failed"))
        except Stop as stop:
            state, message = stop.state, str(stop)
        except (RsyncError, command.CommandError) as error:
            message = str(error)
        except OSError as error:
            message = "Failed to go on with the copy: %s. Mend it, then run again: it goes on." % error
        except Exception:
            message = "Failed to go on with the copy: %s" % traceback.format_exc()
        finally:
            self._end_workers()
        whole = state == "done" or (state == "failed" and self.count["failed"] and self.phase == "finishing")
        if whole and self.spec["mode"] == "full":
            self._complete(state)
        self._report(state, message)
        return state

    def _prepare(self):
        os.nice(self.spec["nice"])
        self._ionice()
        spec = self.spec
        binary.read_sentinel(spec["src"], spec["sentinel"])
        self.run = self.job.read("run", {})
        if spec["mode"] == "lists":
            self._take_deal()
        elif not self.run.get("walked"):
            self._begin_anew()
        else:
            self._go_on()
        again = bool(self.run.get("tries"))
        self.run["tries"] = self.run.get("tries", 0) + 1
        self.job.write("run", self.run)
        self.plan = workers.Plan(self.rsync, spec["src"], spec["dest"], self.options, fresh=self.run["fresh"],
                                 resumed=again, frozen=spec["frozen"], itemize=not self.run["fresh"])
        known = self.run if self.run["walked"] else self.job.read("complete", {})
        for name in ("files_total", "bytes_total"):
            self.count[name] = known.get(name, 0)
        for number, files, size in self.job.lines("done"):
            self.done_numbers.add(number)
            self.count["files_done"] += files
            self.count["bytes_done"] += size
            self.count["lists_done"] += 1
        shutil.rmtree(self.job.path("words"), ignore_errors=True)
        os.makedirs(self.job.path("words"), 0o700)
        self.free = free_of(spec)

    def _begin_anew(self):
        self.run = {"fresh": self.spec["fresh"], "begin": time.time(), "walked": False, "kind": self._kind()}
        self.job.forget("done", "failed", "unreadable", "deals")
        self.job.empty_lists()
        deal.clear(self.spec["src"], self.job)
        if self.gathering and self.run["kind"] != "rescan":
            self.run["lists"] = deal.make_folder(self.spec["src"], self.job)
            self.job.lists = self.run["lists"]
        self.job.write("run", self.run)

    def _go_on(self):
        """Go on with the lists of a walk that came to its end."""
        self.job.lists = self.run.get("lists") or self.job.lists
        self.job.forget("failed")
        if self.gathering:
            return
        for entry in self.job.lines("unreadable"):
            self._fail(entry["path"], entry["reason"])
        by_workers = deal.totals(self.job, self.run)
        self.begin -= by_workers["seconds"]
        for name in ("files", "bytes"):
            self.count[name] += by_workers[name]
        self.count["seen"] += max(0, by_workers["files"] - by_workers["again"])

    def _take_deal(self):
        """Copy the lists of a deal, or go on with them."""
        dealt = self.spec["deal"]
        if self.run.get("deal") != dealt["id"]:
            self.run = {"fresh": dealt["fresh"], "begin": time.time(), "walked": True, "kind": "lists",
                        "deal": dealt["id"], "files_total": sum(entry[2] for entry in dealt["lists"]),
                        "bytes_total": sum(entry[3] for entry in dealt["lists"])}
            self.job.forget("done")
        self.job.forget("failed")
        self.again = {entry[0] for entry in dealt["lists"] if entry[4]}
        self.job.lists = os.path.join(self.spec["src"], dealt["folder"])
        if not os.path.isdir(self.job.lists):
            raise RsyncError("Failed to find the lists of %s at %s. Mount the tree of the source there."
                             % (self.job.name, self.job.lists))

    def _kind(self):
        """rescan, when this tree was copied whole before, else copy."""
        complete = self.job.read("complete", {})
        same = complete and all(complete["spec"].get(name) == self.spec[name] for name in IDENTITY)
        return "rescan" if same and self.spec["rescan"] == "quick" and rescan.can_look() else "copy"

    def _ionice(self):
        program = command.which("ionice")
        numbers = {"realtime": "1", "best-effort": "2", "idle": "3"}
        if self.spec["ionice_class"] and program:
            argv = [program, "-c", numbers[self.spec["ionice_class"]], "-p", str(os.getpid())]
            if self.spec["ionice_class"] != "idle":
                argv[3:3] = ["-n", str(self.spec["ionice_level"])]
            command.run(argv, timeout=20)

    def _copy(self):
        if self.spec["mode"] == "cut":
            self._cut()
        elif self.spec["mode"] == "lists":
            self._copy_deal()
        else:
            self._copy_all()

    def _cut(self):
        """Make the tree on the target, and cut the source's into lists. A tree that was copied before is only compared,
        which is nothing to deal."""
        if self.run["kind"] == "rescan" or self.run["walked"]:
            return
        self._single(workers.ROOT, "reaching the target")
        self.phase = "cutting"
        self._walk()

    def _copy_deal(self):
        self.phase = "copying"
        self._start_ahead()
        for entry in self.spec["deal"]["lists"]:
            self._found(partitions.Partition(*entry[:4]))
        self.run_until_empty(lambda: False)

    def _copy_all(self):
        if self.run["kind"] != "rescan":
            self._single(workers.ROOT, "reaching the target")
        self.phase = "copying"
        if self.run["kind"] == "rescan" and not self.run["walked"]:
            self._compare()
        elif self.run["walked"]:
            for partition in [] if self.run.get("cleared") else partitions.read_index(self.job.lists):
                self._found(partition)
            self.run_until_empty(lambda: False)
        else:
            self._walk()
        if self.spec["delete"]:
            self._delete()
        self.phase = "finishing"
        self.todo.extend(self.last)
        self.last = []
        self.run_until_empty(lambda: False)
        if self.run.get("lists"):
            self.run["cleared"] = True
            self.job.write("run", self.run)
            deal.clear(self.spec["src"], self.job)      # before the tree's own times are brought over
        changed = os.stat(self.spec["src"]).st_ctime >= self.run["begin"] - 2
        if self.run["kind"] != "rescan" or self.count["changes"] or changed:
            self._single(workers.ROOT, "finishing")

    def _store(self):
        return partitions.Store(self.job.lists, self.spec["partition_files"], self.spec["partition_bytes"], self._found)

    def _walk(self):
        """Cut the tree into lists and copy those that are ready meanwhile, unless others shall."""
        if not self.gathering:
            self._start_ahead()
        crawler = fpart.crawler(self.spec["partitioner"])
        self.walk = crawler(self.spec["src"], self._store(), self.patterns,
                            attributes=self.spec["xattrs"] or self.spec["acls"], hard_links=self.spec["hard_links"])
        self.walk.start()
        try:
            self.run_until_empty(self._walking)
        finally:
            self.walk.stop = True
            self.walk.join()
        for path, reason in self.walk.unreadable:
            self.job.append("unreadable", {"path": path, "reason": reason})
            if not self.gathering:
                self._fail(path, reason)
        self.run.update(walked=True, files_total=self.walk.files, bytes_total=self.walk.bytes)
        self.job.write("run", self.run)

    def _walking(self):
        """Whether lists may still come. Looks whether the target has room for what was counted so far."""
        if self.walk.error is not None:
            raise Stop("failed", "Failed to read %s: %s." % (self.spec["src"], self.walk.error))
        self.count["files_total"], self.count["bytes_total"] = self.walk.files, self.walk.bytes
        self._check_room()
        return not self.walk.finished

    def _check_room(self):
        if not self.run["fresh"]:
            return
        space, inodes = self.free
        advice = "Make room, or give the right dest_free_* values, then run again."
        if space is not None and self.walk.blocks_bytes > space:
            raise Stop("failed", "Failed to copy %s to %s: it needs at least %d bytes, free are %d. %s"
                       % (self.spec["src"], self.spec["dest"], self.walk.blocks_bytes, space, advice))
        if inodes is not None and self.walk.entries > inodes:
            raise Stop("failed", "Failed to copy %s to %s: it needs at least %d inodes, free are %d. %s"
                       % (self.spec["src"], self.spec["dest"], self.walk.entries, inodes, advice))

    def _compare(self):
        """Compare subtrees side by side with what the target has."""
        store = self._store()
        complete = self.job.read("complete")
        attributes = self.spec["xattrs"] or self.spec["acls"]
        look = rescan.Look(self.spec["src"], store, self.patterns, complete["begin"] - 2 if attributes else None)
        taker = threading.Thread(target=look.take, daemon=True)
        try:
            alone, below = rescan.subtrees(self.spec["src"], self.patterns, self.spec["workers"] * 4)
            rescan.write_units(store, alone, below, self.spec["workers"])
            self.holding = True
            taker.start()           # which ends the store
            self.run_until_empty(taker.is_alive)
        finally:
            if look.process.poll() is None:
                look.process.kill()

    def _delete(self):
        """Delete on the target what the source does not have: counted, then done, never from a doubtful source."""
        self.phase = "deleting"
        if not self.spec["sentinel"]:
            raise Stop("failed", "Failed to delete on the target: no sentinel was given. Set the option sentinel.")
        if self.count["failed"]:
            raise Stop("failed", "Failed to delete on the target: %d paths could not be copied, see %s. Mend them"
                       " first." % (self.count["failed"], self.job.path("failed")))
        binary.read_sentinel(self.spec["src"], self.spec["sentinel"])
        counted = self._single(workers.DELETE, "counting deletions", dry_run=True).numbers.get(
            "Number of deleted files", 0)
        most = self.spec["max_delete"]
        if most >= 0 and counted > most:
            raise Stop("failed", "Failed to delete on the target: it has %d paths that the source does not have,"
                       " max_delete is %d. Look whether so many are meant, then raise max_delete." % (counted, most))
        if counted:
            binary.read_sentinel(self.spec["src"], self.spec["sentinel"])
            self.plan.max_delete = counted
            done = self._single(workers.DELETE, "deleting")
            self.count["deleted"] += done.numbers.get("Number of deleted files", 0)

    def _single(self, kind, what, dry_run=False):
        """One rsync that is no list of the walk, tried again while the way is ill. Returns workers.Outcome."""
        partition = partitions.Partition(-1, kind, 0, 0)
        attempt = 0
        while True:
            attempt += 1
            self._wait_for_turn()
            argv = workers.vector(self.plan, partition, None, attempt, dry_run=dry_run)
            worker = workers.Worker(argv, partition, attempt, os.path.join(self.job.path("words"), "single"))
            self.running.append(worker)
            self.throttle.add(worker.pid)
            while worker.poll() is None:
                self._look()
                time.sleep(_LOOK)
            self.running.remove(worker)
            outcome = worker.outcome(self.plan.src, False)
            self.throttle.remove(worker.pid, outcome.sent)
            if outcome.verdict.fine:
                self.count["changes"] += 0 if dry_run else outcome.changes
                self._well()
                return outcome
            self._ill(outcome, what, attempt)

    # --- lists ---

    def _found(self, partition):
        """A list is ready. Called by the threads of the walk too."""
        with self.found_lock:
            self.count["lists_total"] += 1
            if self.gathering or partition.number in self.done_numbers:
                return
            if partition.kind == partitions.DIRECTORIES or (self.holding and partition.kind not in (
                    workers.TREES, workers.SHALLOW)):
                self.last.append(partition)
            else:
                self.todo.append(partition)
                if self.ahead is not None and partition.kind in (partitions.PLAIN, partitions.ATTRIBUTES):
                    self.ahead.add(partition, self._list(partition))

    def _list(self, partition):
        return os.path.join(self.job.lists, "%08d" % partition.number)

    def _start_ahead(self):
        if self.spec["read_ahead"]:
            limit = self.spec["bwlimit_kib_per_s"] * 1024 * 5
            self.ahead = readahead.ReadAhead(self.spec["src"], self.spec["read_ahead"],
                                             min(_AHEAD_BYTES, limit) if limit else _AHEAD_BYTES)

    def run_until_empty(self, more):
        """Work until there is no list left and more() says that none will come."""
        while True:
            coming = more()
            self._look()
            self._reap()
            self._start()
            if not (self.running or self.todo or self.later or coming):
                return
            time.sleep(_LOOK)

    def _start(self):
        now = time.time()
        if self.paused_at is not None or now < self.not_before:
            return
        if self.walk is not None and not self.walk.finished and now - self.begin < _HEAD_START:
            return
        while len(self.running) < self._slots():
            work = self._next(now)
            if work is None:
                return
            partition, attempt = work
            words = os.path.join(self.job.path("words"), "%d-%d" % (partition.number, attempt))
            limit = self.throttle.kib_per_s
            pace = workers.pace(partition, limit, len(self.running))
            argv = workers.vector(self.plan, partition, self._list(partition), attempt, kib_per_s=pace)
            worker = workers.Worker(argv, partition, attempt, words, pace=pace, limit=limit)
            self.throttle.add(worker.pid)
            self.running.append(worker)

    def _slots(self):
        """How many rsyncs at once: one, when the last connections failed, to see whether the way is well again."""
        return 1 if self.failures else self.spec["workers"]

    def _next(self, now):
        for entry in self.later:
            if entry[0] <= now:
                self.later.remove(entry)
                return entry[1], entry[2]
        with self.found_lock:
            if not self.todo:
                return None
            partition = self.todo[0]
            waits = (self.ahead is not None and self.running and partition.number not in self.ahead.ready
                     and partition.kind in (partitions.PLAIN, partitions.ATTRIBUTES))
            if waits:
                return None
            return self.todo.popleft(), 2 if partition.number in self.again else 1

    def _reap(self):
        for worker in list(self.running):
            if worker.poll() is None:
                continue
            self.running.remove(worker)
            if worker.partition.kind in (workers.TREES, workers.SHALLOW):
                self._remember_changed(worker)
            outcome = worker.outcome(self.plan.src, self.spec["frozen"])
            self.throttle.remove(worker.pid, outcome.sent)
            self._take(worker, outcome)

    def _remember_changed(self, worker):
        """What a comparison copied or mended gets its extended attributes and ACLs in the last pass: a comparison does
        not look at them."""
        if not (self.spec["xattrs"] or self.spec["acls"]):
            return
        number = _CHANGED + self.changed_lists
        self.changed_lists += 1
        partition = partitions.Partition(number, partitions.OTHER, 0, 0)
        partition.count = worker.write_changed(self._list(partition))
        if partition.count:
            self.last.append(partition)
            self.count["lists_total"] += 1

    def _take(self, worker, outcome):
        """Judge what one rsync did, and write it down."""
        numbers = outcome.numbers
        self.count["files"] += numbers.get("Number of regular files transferred", 0)
        self.count["bytes"] += numbers.get("Total transferred file size", 0)
        self.count["created"] += numbers.get("Number of created files", 0)
        self.count["seen"] += numbers.get("Regular files", 0)
        self.count["changes"] += outcome.changes
        self.count["vanished"] += sum(complaint.vanished for complaint in outcome.complaints)
        if outcome.verdict.fine:
            self._well()
            self._finish(worker.partition)
        elif outcome.verdict.action == exit_codes.REQUEUE and worker.attempt >= _TRIES_OF_A_LIST:
            told = [complaint for complaint in outcome.complaints
                    if complaint.path is not None and (self.spec["frozen"] or not complaint.vanished)]
            for complaint in told or outcome.complaints:
                self._fail(complaint.path, complaint.reason)
            if not outcome.complaints:
                self._fail(None, outcome.verdict.sentence())
            self._finish(worker.partition, False)
        else:
            self._ill(outcome, "copying", worker.attempt)
            wait = 2 ** worker.attempt if outcome.verdict.action == exit_codes.REQUEUE else 0
            self.later.append((time.time() + wait, worker.partition, worker.attempt + 1))

    def _finish(self, partition, done=True):
        if self.ahead is not None:
            self.ahead.release(partition.number)
        self.count["lists_done"] += 1
        self.count["files_done"] += 0 if partition.kind == partitions.DIRECTORIES else partition.count
        self.count["bytes_done"] += partition.bytes
        if done and partition.kind not in (workers.TREES, workers.SHALLOW):
            self.job.append("done", [partition.number, partition.count, partition.bytes])

    def _fail(self, path, reason):
        self.count["failed"] += 1
        self.job.append("failed", {"path": path, "reason": reason})

    # --- health ---

    def _well(self):
        self.failures = 0
        self.failing_since = None
        self.not_before = 0.0

    def _ill(self, outcome, what, attempt):
        """Wait, or raise Stop, as the verdict says."""
        verdict = outcome.verdict
        self.count["retries"] += 1
        reason = next((complaint.reason for complaint in outcome.complaints), "")
        message = "Failed while %s %s to %s: %s rsync said: %s" % (
            what, self.spec["src"], self.spec["dest"], verdict.sentence(), reason or "nothing")
        if verdict.action == exit_codes.STOP or (verdict.action == exit_codes.RETRY_ONCE and attempt > 1):
            raise Stop("failed", message)
        if verdict.action == exit_codes.REQUEUE:
            if what != "copying" and attempt >= _TRIES_OF_A_LIST:
                raise Stop("failed", message)
            return
        now = time.time()
        self.failing_since = self.failing_since or now
        if now - self.failing_since > self.spec["retry_for"]:
            raise Stop("failed", message + " It was tried for %d s." % self.spec["retry_for"])
        self.failures += 1
        self.not_before = now + min(_LONGEST_BACKOFF, 2 ** min(self.failures, 8) * 0.5)

    def _wait_for_turn(self):
        while time.time() < self.not_before or self.paused_at is not None:
            self._look()
            time.sleep(_LOOK * 5)

    def _look(self):
        """Every quarter of a second: the operator's wishes; every second: tell how far it is."""
        now = time.time()
        if now - self.looked < 0.25:
            return
        self.looked = now
        self.control = self.job.read("control", {})
        if self.spec["lease"] and now - self._last_seen() > self.spec["lease"]:
            raise Stop("stopped", "Stopped, because nobody has looked for %d s: others may have been given its lists."
                       " Run the playbook again." % self.spec["lease"])
        if self.control.get("stop"):
            raise Stop("stopped", "Stopped as asked. Run it again: it goes on.")
        paused = bool(self.control.get("paused"))
        limit = self.control.get("bwlimit_kib_per_s", self.spec["bwlimit_kib_per_s"])
        if paused != self.throttle.paused or limit != self.throttle.kib_per_s:
            self.throttle.set(limit, paused)
            self.reported = 0.0
            self._put_back([worker for worker in self.running if worker.pace and (not limit or limit > worker.limit)])
        if paused and self.paused_at is None:
            self.paused_at = now
        elif not paused:
            self.paused_at = None
        elif self.running and now - self.paused_at > _STOPPED_AT_MOST:
            self._put_back(self.running)
        if self._last_lists() and workers.leave_unused([worker.pace for worker in self.running], limit):
            self._put_back(self.running)
        ran = self.throttle.let_run(time.monotonic())
        for worker in self.running:
            worker.watch(ran, self.spec["io_timeout"])
        if now - self.reported >= 1:
            self._report("paused" if paused else "running", "")

    def _last_seen(self):
        try:
            return os.stat(self.job.path("seen")).st_mtime
        except FileNotFoundError:
            return self.begin

    def _last_lists(self):
        """Whether all lists that are left are being copied."""
        return self.phase == "copying" and not (self.todo or self.later) and self._counted()

    def _put_back(self, victims):
        """End rsyncs of a long pause, or with a limit of their own that is too low now. What they have copied stays,
        their lists come again."""
        listed = [worker for worker in victims if worker.partition.number >= 0 and worker.poll() is None]
        for worker in listed:
            self.throttle.remove(worker.pid)
            worker.end()
            worker.wait(10)
            self.running.remove(worker)
            worker.outcome(self.plan.src, False)
            self.later.append((0, worker.partition, max(2, worker.attempt)))

    def _end_workers(self):
        if self.walk is not None:
            self.walk.stop = True
        if self.throttle._thread.is_alive():
            self.throttle.set(0, False)
            self.throttle.stop()
        for worker in self.running:
            worker.end()
        for worker in self.running:
            worker.wait(10)
        if self.ahead is not None:
            self.ahead.close()

    # --- telling ---

    def _rate(self, now, done):
        self.samples.append((now, done))
        while len(self.samples) > 2 and now - self.samples[0][0] > _RATE_WINDOW:
            self.samples.popleft()
        span = now - self.samples[0][0]
        return (done - self.samples[0][1]) / span if span > 0 else 0.0

    def _report(self, state, message):
        now = time.time()
        self.reported = now
        count = dict(self.count)
        flying = sum(min(worker.partition.bytes, self.throttle.bytes_of(worker.pid)) for worker in self.running)
        bytes_now = count["bytes_done"] + flying
        rate = self._rate(now, bytes_now)
        left = count["bytes_total"] - bytes_now
        if self.run.get("kind") == "rescan":
            count["files_done"] = min(count["seen"], count["files_total"])
        ends = state not in ("running", "paused") or rate <= 0 or left <= 0
        count.update({
            "state": state, "message": message, "phase": self.phase, "kind": self.run.get("kind"),
            "fresh": bool(self.run.get("fresh")), "bytes_now": bytes_now, "bytes_per_s": round(rate),
            "eta_s": None if ends or not self._counted() else round(left / rate),
            "counted": self._counted(), "limit_kib_per_s": self.throttle.kib_per_s, "workers": len(self.running),
            "seconds": round(now - self.begin, 3), "at": now, "pid": os.getpid(), "sent_bytes": self.throttle.sent(),
        })
        self.job.write("progress", count)

    def _counted(self):
        return self.walk is None or self.walk.finished

    def _complete(self, state):
        """Remember a run that came to its end, so that the next one only compares."""
        if state == "done":
            self.job.write("complete", {
                "spec": {name: self.spec[name] for name in IDENTITY}, "begin": self.run["begin"],
                "files_total": self.count["files_total"], "bytes_total": self.count["bytes_total"]})
        self.job.forget("run", "done", "unreadable", "deals")
        self.job.empty_lists()


def detach(job):
    """Run the engine of a job in a process of its own, which survives the module, its shell and its connection.

    The job's lock must be held; it goes over to the new process. Returns at once.
    """
    def crashed(text):
        with open(job.path("crash"), "w") as stream:
            stream.write(text)

    detached.detach(job.lock_handle, lambda: Engine(job).execute(), crashed)
    job.unlock()


def count_source(spec):
    """What a first copy would carry. spec: dict as in DEFAULTS. Returns numbers as output.parse_stats does."""
    excluded, root = patterns.Patterns(spec["exclude"]), os.fsencode(spec["src"])
    files = size = created = 0
    folders = [b""]
    while folders:
        folder = folders.pop()
        with contextlib.suppress(OSError), os.scandir(os.path.join(root, folder) if folder else root) as entries:
            for entry in entries:
                path = folder + b"/" + entry.name if folder else entry.name
                directory = entry.is_dir(follow_symlinks=False)
                if delta.is_ours(path) or excluded.match(path, directory):
                    continue
                created += 1
                if directory:
                    folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    files += 1
                    size += entry.stat(follow_symlinks=False).st_size
    return {"Number of regular files transferred": files, "Total transferred file size": size, "Regular files": files,
            "Number of created files": created}


def count_dry(spec):
    """What a full copy would do, without doing it. spec: dict as in DEFAULTS. Returns (numbers as output.parse_stats
    does, list of output.Change, 10,000 at most). Raises RsyncError."""
    options = options_of(spec)
    rsync = binary.suited(binary.find(spec["rsync_path"]), spec["dest"], options)
    words = binary.arguments(rsync, options, spec["dest"]) + ["-r", "--dry-run", "--stats",
                                                              "--out-format=%s" % output.OUT_FORMAT]
    words += ["--delete", "--force"] if spec["delete"] else []
    argv = [rsync.path] + words + ["--", binary.with_slash(spec["src"]), binary.with_slash(spec["dest"])]
    changes, tail = [], collections.deque(maxlen=60)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=dict(os.environ, LC_ALL="C")) as process:
        for raw in process.stdout:
            line = raw.decode("utf-8", "surrogateescape")
            if not line.startswith(output.MARK):
                tail.append(line)
            elif len(changes) < 10000:
                changes += output.parse_changes(line.rstrip("\n"))
    text = "".join(tail)
    verdict = exit_codes.judge(process.returncode, text)
    if not verdict.fine:
        what = (spec["src"], spec["dest"], verdict.sentence())
        raise RsyncError("Failed to look what a copy of %s to %s would do: %s" % what, verdict=verdict)
    numbers = output.parse_stats(text)
    return numbers, changes
