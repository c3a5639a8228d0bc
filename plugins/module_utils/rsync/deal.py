# SPDX-License-Identifier: GPL-3.0-or-later
"""Deal the lists of a tree over several hosts that all mount it, and keep the books of who has copied what.

The source cuts its tree into lists, which lie in the tree itself, where every worker sees them. A worker copies what
files contain; the source does the rest in the end: what a worker does not see over the network (extended attributes,
ACLs), what has no contents (directories, symbolic links, devices), and every list that nobody has copied. So a list
that is dealt to a worker that dies is never lost, only late.

A list that was dealt before is never written in place again: a worker that nobody can reach may still be writing.
"""

import contextlib
import heapq
import os
import shutil
import tempfile
import time

from ansible_collections.seamless.migration.plugins.module_utils.rsync import partitions
from ansible_collections.seamless.migration.plugins.module_utils.rsync.binary import RsyncError
from ansible_collections.seamless.migration.plugins.module_utils.rsync.job import Job

FOLDER = ".seamless-lists"
_DEALT = (partitions.PLAIN, partitions.ATTRIBUTES, partitions.SPARSE, partitions.LINKS)
ENDED_ILL = ("failed", "stopped")
_MOST_TIMES = 3             # deals of one list; after that the source copies it, and tells what is wrong with it
_MOST_LISTS = 5000          # lists that one worker is dealt at once
_COST_OF_A_FILE = 16 << 10  # bytes that take as long as a file itself
_FEW = 16                   # lists for each worker that are dealt at once: another round would cost more than it evens
_LEAST_SECONDS = 60         # a round does not take less, where there is so much left


def make_folder(src, job):
    """Make the folder for the lists in the tree, readable by root only. Returns its path. Raises OSError."""
    top = os.path.join(src, FOLDER)
    with contextlib.suppress(FileExistsError):
        os.mkdir(top, 0o700)
    return tempfile.mkdtemp(prefix=job.name + "-", dir=top)     # a name that no client has looked up before


def clear(src, job):
    """Remove the lists of a job from the tree."""
    top = os.path.join(src, FOLDER)
    if os.path.isdir(top):
        for entry in os.listdir(top):
            if entry.rpartition("-")[0] == job.name:
                shutil.rmtree(os.path.join(top, entry))
        with contextlib.suppress(OSError):
            os.rmdir(top)                   # unless another copy has its lists there


def totals(job, run):
    """What workers have copied of a job's run: dict of files, bytes, seconds, and `again`, the files that the source
    looks at once more. run: dict as the job keeps it."""
    kept = job.read("deals", {})
    if not kept or kept["begin"] != run["begin"]:
        return {"files": 0, "bytes": 0, "seconds": 0.0, "again": 0}
    return {name: kept[name] for name in ("files", "bytes", "seconds", "again")}


class Books:
    """Who has copied what of a job of the source. The job's lock must be held. keep: write down what changes."""

    def __init__(self, job, keep=True):
        self.job = job
        self.keep = keep
        self.run = job.read("run", {}) or {"kind": "rescan" if job.read("complete") else None, "begin": time.time()}
        if not self.run.get("walked") and self.run["kind"] != "rescan":
            raise RsyncError("Failed to deal the copy %s: its tree is not cut into lists. Run bulk_copy with mode=cut"
                             " first." % job.name)
        spec = job.read("spec")
        self.src = spec["src"]
        self.with_attributes = spec["xattrs"] or spec["acls"]
        dealt = not self.run.get("cleared") and self.run.get("lists")
        self.lists = {part.number: part for part in partitions.read_index(self.run["lists"])} if dealt else {}
        self.done = {entry[0] for entry in job.lines("done")}
        self.kept = job.read("deals", {})
        if self.kept.get("begin") != self.run["begin"]:
            self.kept = {"begin": self.run["begin"], "round": 0, "times": {}, "content": [], "rates": {}, "taken": [],
                         "files": 0, "bytes": 0, "seconds": 0.0, "again": 0}
        self.content = set(self.kept["content"])

    # --- what came back ---

    def take(self, results):
        """Write down what workers say of their deals. results: list of dict with worker, deal, lists_done, files,
        bytes, seconds. What is of another run, or known already, changes nothing. Returns whether anything is new."""
        before = (len(self.done), len(self.content))
        ours = [result for result in results if self._is_ours(result.get("deal"))]
        self.kept["seconds"] += max([result["seconds"] for result in ours
                                     if result["deal"] not in self.kept["taken"]] or [0.0])
        for result in ours:
            self._take(result)
        new = (len(self.done), len(self.content)) != before
        if new:
            self._keep()
        return new

    def _is_ours(self, name):
        return bool(name) and name.rpartition("-")[0].rpartition("-")[0] == self._token()

    def _token(self):
        return os.path.basename(self.run.get("lists") or "")

    def _take(self, result):
        fresh = [number for number in result["lists_done"]
                 if number in self.lists and number not in self.done and number not in self.content]
        whole = [self.lists[number] for number in fresh if self._is_whole(self.lists[number])]
        if self.keep:
            self.job.append_all("done", [[part.number, part.count, part.bytes] for part in whole])
        self.done.update(part.number for part in whole)
        self.content.update(number for number in fresh if not self._is_whole(self.lists[number]))
        if result["deal"] not in self.kept["taken"]:
            self.kept["taken"].append(result["deal"])
            self.kept["files"] += result["files"]
            self.kept["bytes"] += result["bytes"]
            if fresh and result["seconds"] > 0:
                self.kept["rates"][result["worker"]] = sum(map(self._cost, fresh)) / result["seconds"]

    def _is_whole(self, part):
        """Whether nothing is left to do of a list that a worker has copied."""
        return not self.with_attributes or (self.run["fresh"] and part.kind in (partitions.PLAIN, partitions.SPARSE))

    def _cost(self, number):
        return self.lists[number].bytes + self.lists[number].count * _COST_OF_A_FILE

    # --- what is given out ---

    def left(self):
        """Numbers of the lists that may still be dealt, in the order of the walk."""
        return [number for number, part in sorted(self.lists.items())
                if part.kind in _DEALT and number not in self.done and number not in self.content
                and self.kept["times"].get(str(number), 0) < _MOST_TIMES]

    def deal(self, workers, limit=0):
        """Deal lists to workers. workers: list of names. limit: KiB/s of all together, 0 for none.

        Returns {worker: {"deal": what bulk_copy takes, "bwlimit_kib_per_s": its share}} of those that are dealt any.
        """
        left = self.left()
        if not left or not workers:
            return {}
        hands = self._dealt(self._this_round(left, workers), workers)
        self.kept["round"] += 1
        found = {}
        for worker, numbers in hands.items():
            found[worker] = {"deal": self._hand(worker, numbers),
                             "bwlimit_kib_per_s": max(1, limit // len(hands)) if limit else 0}
            for number in numbers:
                self.kept["times"][str(number)] = self.kept["times"].get(str(number), 0) + 1
        self._keep()
        return found

    def _this_round(self, left, workers):
        """Half of what is left, so that nobody waits long for the slowest one; less while nobody was measured."""
        if len(left) <= _FEW * len(workers):
            return left
        rates = [self.kept["rates"].get(worker) for worker in workers]
        total = sum(map(self._cost, left))
        most = max(total / 2, sum(rates) * _LEAST_SECONDS) if all(rates) else total / 4
        picked, cost = [], 0
        for number in left[:_MOST_LISTS * len(workers)]:
            if cost >= most and len(picked) >= len(workers):
                break
            picked.append(number)
            cost += self._cost(number)
        return picked

    def _dealt(self, numbers, workers):
        """Each list to who would be done first, by what was measured of each. Returns {worker: list of numbers}."""
        known = [self.kept["rates"][worker] for worker in workers if self.kept["rates"].get(worker)]
        usual = sum(known) / len(known) if known else 1.0
        loads = [(0.0, place, worker) for place, worker in enumerate(workers)]
        hands = {}
        for number in numbers:
            load, place, worker = heapq.heappop(loads)
            hands.setdefault(worker, []).append(number)
            rate = self.kept["rates"].get(worker) or usual
            heapq.heappush(loads, (load + self._cost(number) / rate, place, worker))
        return hands

    def _hand(self, worker, numbers):
        lists = [self.lists[number].as_list() + [str(number) in self.kept["times"]] for number in numbers]
        return {"id": "%s-%d-%s" % (self._token(), self.kept["round"], worker.replace("-", "_")), "job": self.job.name,
                "folder": os.path.relpath(self.run["lists"], self.src), "fresh": bool(self.run["fresh"]),
                "lists": lists}

    def _keep(self):
        self.kept["content"] = sorted(self.content)
        self.kept["again"] = sum(self.lists[number].count for number in self.content)
        if self.keep:
            self.job.write("deals", self.kept)

    def told(self):
        """How far the lists are, as dict."""
        copied = [part for number, part in self.lists.items() if number in self.done or number in self.content]
        return {"round": self.kept["round"], "lists_left": len(self.left()),
                "files_done": sum(part.count for part in copied if part.kind != partitions.DIRECTORIES),
                "bytes_done": sum(part.bytes for part in copied), "files_total": self.run.get("files_total", 0),
                "bytes_total": self.run.get("bytes_total", 0), "files": self.kept["files"],
                "bytes": self.kept["bytes"], "seconds": round(self.kept["seconds"], 3)}


def able(workers, results):
    """The workers that may be dealt lists again: not those that were lost, or failed without copying a single list.

    workers: list of names. results: list of dict with worker, state, lists_done.
    """
    unfit = {result["worker"] for result in results if result["state"] == "lost"
             or (result["state"] in ENDED_ILL and not result["lists_done"])}
    return [worker for worker in workers if worker not in unfit]


def perform(params, check_mode=False):
    """One call of the module bulk_deal. params: its options as dict. Returns its result. Raises RsyncError, OSError."""
    if params["bwlimit_kib_per_s"] < 0:
        raise RsyncError("Failed to use the option bwlimit_kib_per_s: %d is less than 0." % params["bwlimit_kib_per_s"])
    workers = able(params["workers"], params["results"])
    job = Job(params["job"], params["state_dir"])
    if not job.exists():
        raise RsyncError("Failed to find the copy %s under %s: run bulk_copy with mode=cut first."
                         % (job.name, params["state_dir"]))
    if job.busy() or not job.lock():
        raise RsyncError("Failed to deal the copy %s: it runs on this host now. Wait for its end, or end it with"
                         " bulk_copy and state=stopped." % job.name)
    try:
        books = Books(job, keep=not check_mode)
        changed = books.take(params["results"])
        deals = books.deal(workers, params["bwlimit_kib_per_s"])
        return dict(books.told(), deals=deals, workers=workers, changed=changed or bool(deals))
    finally:
        job.unlock()
