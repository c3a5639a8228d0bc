# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a tree: every entry with what is known of it, sorted by path, in a file.

A file of pairs (see pairs): the first has an empty key and the header as JSON, the last an empty key and the totals.
"""

import array
import bisect
import heapq
import json
import os
import re
import shutil
import stat
import tempfile
import time

from . import pairs
from .cache import Cache
from .entry import CONTENT, GROUP, NONE, UNSTABLE, content_hash, describe, digest, is_gone, replace, unreadable
from .errors import TreeError
from .patterns import Excludes, relative
from .pool import FINISH, Pool

FORMAT = 1
# How content was chosen: a required hash must be there on both sides, one of a sample may miss on one of them.
REQUIRED, SAMPLED = b"h", b"s"
LEVELS = ("metadata", "touched", "sample", "full")
# A worker comes back with what is left of a directory after so many entries, so that others can help.
_SHARE = 1000
_BATCH = 200
_MEMORY_BYTES = 96 << 20
_FOLDER = re.compile(r"\Atree-(\d+)-")


class Plan:
    """What a manifest holds, the same on both sides.

    level: one of LEVELS. exclude: rsync patterns. files_from: path of a NUL list relative to the root: level touched
    looks at nothing else, level sample also hashes the content of these. seed, sample: level sample hashes the
    `sample` files whose names hash lowest with the seed, the same ones on both sides. changed_since_ns: level sample
    also hashes what has an mtime, with by_ctime also a ctime, since then.
    """

    def __init__(self, level="metadata", exclude=(), files_from=None, **more):
        self.level = level
        self.exclude = list(exclude)
        self.files_from = files_from
        self.seed = more.pop("seed", "")
        sample = more.pop("sample", 3000)
        self.sample = sample if level == "sample" else 0
        self.changed_since_ns = more.pop("changed_since_ns", None)
        self.by_ctime = more.pop("by_ctime", False)
        self.xattrs = more.pop("xattrs", True)
        self.one_file_system = more.pop("one_file_system", False)
        self.workers = more.pop("workers", 4)
        self.cache = more.pop("cache", None)
        if more:
            raise TypeError("unknown options: %s" % ", ".join(sorted(more)))
        self.excludes = Excludes(self.exclude)

    def header(self):
        """What both sides must have in common, as dict."""
        return {
            "format": FORMAT,
            "level": self.level,
            "exclude": self.exclude,
            "seed": self.seed,
            "sample": self.sample,
            "changed_since_ns": self.changed_since_ns if self.level == "sample" else None,
            "xattrs": self.xattrs,
            "one_file_system": self.one_file_system,
        }


def check_root(root, require_mountpoint=False, may_be_empty=False):
    """Raise TreeError unless root (str) is a directory that can be a tree. An empty one is an unmounted one."""
    if not os.path.isabs(root):
        raise TreeError("%s is no absolute path. Give one" % root)
    try:
        status = os.stat(root)
    except OSError as error:
        raise TreeError("%s: %s. Is it mounted, is the path right?" % (root, error.strerror)) from error
    if not stat.S_ISDIR(status.st_mode):
        raise TreeError("%s is not a directory. Give the root of a tree" % root)
    if require_mountpoint and not os.path.ismount(root):
        raise TreeError("%s is not a mount point, as it is required to be. Mount it first" % root)
    if not may_be_empty:
        with os.scandir(root) as found:
            if not any(not name.name.startswith(".seamless-") for name in found):
                raise TreeError(
                    "%s is empty. An unmounted file system looks like that; mount it, or allow an empty tree" % root
                )


# --- worker ------------------------------------------------------------------------------------------------------


class _Listed:
    """Which paths stand in a list, in 8 bytes each."""

    def __init__(self, paths=()):
        self._hashes = array.array("Q", sorted(_number(path) for path in paths))

    def __contains__(self, path):
        number = _number(path)
        place = bisect.bisect_left(self._hashes, number)
        return place < len(self._hashes) and self._hashes[place] == number


def _number(path, seed=b""):
    return int(digest(seed, path), 16)


class _Worker:
    def __init__(self, number, root, plan, listed, folder):
        self._root = os.fsencode(root)
        self._plan = plan
        self._listed = listed
        self._seed = plan.seed.encode("utf-8")
        self._device = os.stat(root).st_dev
        self._cache = Cache(plan.cache, readonly=True) if plan.cache else None
        prefix = os.path.join(folder, "w%d" % number)
        memory = _MEMORY_BYTES // plan.workers
        self._main = pairs.Sorter(prefix + ".main", memory * 3 // 4)
        self._links = pairs.Sorter(prefix + ".links", memory // 8)
        self._hashes = pairs.Sorter(prefix + ".hashes", memory // 8)
        self._lowest = []
        self._totals = {"entries": 0, "files": 0, "bytes": 0, "hashed": 0, "hashed_bytes": 0, "reused": 0}

    def __call__(self, message):
        kind, payload = message[:1], message[1:]
        if kind == FINISH:
            return self._finish()
        if kind == b"s":
            return b"\0".join(b"%d\0%s" % (-number, path) for number, path in self._lowest)
        before = dict(self._totals)
        left = self._work(kind, payload.split(b"\0"))
        done = [self._totals[name] - before[name] for name in ("entries", "hashed_bytes")]
        return b"\0".join([b"%d %d" % tuple(done)] + left)

    def _work(self, kind, paths):
        """Do the paths. Returns the directories that are left."""
        if kind == b"d":
            return self._walk(paths)
        for path in paths:
            if kind == b"h":
                self._sampled(path)
            else:
                self._listed_entry(path)
        return []

    def _finish(self):
        files = {
            "main": self._main.spill(),
            "links": self._links.spill(),
            "hashes": self._hashes.spill(),
        }
        return json.dumps({"files": files, "totals": self._totals}).encode("ascii")

    def _full(self, path):
        return self._root if path == b"." else self._root + b"/" + path

    def _walk(self, folders):
        """Take in what the folders hold. Returns those below that somebody else may take."""
        seen = 0
        while folders and seen < _SHARE:
            folder = folders.pop()
            try:
                names = os.listdir(self._full(folder))
            except OSError as error:
                if is_gone(error) and folder != b".":
                    continue
                self._main.add(folder, unreadable(error))
                continue
            for name in names:
                seen += 1
                path = name if folder == b"." else folder + b"/" + name
                if self._take(path):
                    folders.append(path)
        return folders

    def _take(self, path):
        """Take one entry in. Returns whether it is a directory to go into."""
        full = self._full(path)
        try:
            status = os.lstat(full)
            directory = stat.S_ISDIR(status.st_mode)
            if self._plan.excludes.match(path, directory):
                return False
            self._add(path, full, status)
        except OSError as error:
            if not is_gone(error):
                self._main.add(path, unreadable(error))
            return False
        return directory and not (self._plan.one_file_system and status.st_dev != self._device)

    def _listed_entry(self, path):
        full = self._full(path)
        try:
            status = os.lstat(full)
            if path == b"." or not self._plan.excludes.match_below(path, stat.S_ISDIR(status.st_mode)):
                self._add(path, full, status)
        except OSError as error:
            if not is_gone(error):
                self._main.add(path, unreadable(error))

    def _add(self, path, full, status):
        value = describe(full, status, self._plan.xattrs)
        self._totals["entries"] += 1
        if stat.S_ISREG(status.st_mode):
            self._totals["files"] += 1
            self._totals["bytes"] += status.st_size
            if self._wants_content(path, status):
                value = replace(value, CONTENT, self._content(full, status, REQUIRED))
            elif self._plan.sample and status.st_size:
                self._offer(path)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            self._links.add(b"%x:%x:%s" % (status.st_dev, status.st_ino, path), NONE)
        self._main.add(path, value)

    def _wants_content(self, path, status):
        plan = self._plan
        if plan.level in ("full", "touched"):
            return True
        if plan.level != "sample":
            return False
        if plan.changed_since_ns is not None:
            newest = max(status.st_mtime_ns, status.st_ctime_ns if plan.by_ctime else 0)
            if newest >= plan.changed_since_ns:
                return True
        return self._listed is not None and path in self._listed

    def _offer(self, path):
        item = (-_number(path, self._seed), path)
        if len(self._lowest) < self._plan.sample:
            heapq.heappush(self._lowest, item)
        elif item > self._lowest[0]:
            heapq.heapreplace(self._lowest, item)

    def _content(self, full, status, kind):
        known = self._cache.get(status) if self._cache else None
        if known:
            self._totals["reused"] += 1
            return kind + known
        hashed = content_hash(full)
        self._totals["hashed"] += 1
        self._totals["hashed_bytes"] += status.st_size
        return UNSTABLE if hashed == UNSTABLE else kind + hashed

    def _sampled(self, path):
        full = self._full(path)
        try:
            status = os.lstat(full)
            if stat.S_ISREG(status.st_mode):
                self._hashes.add(path, self._content(full, status, SAMPLED))
        except OSError as error:
            if not is_gone(error):
                self._hashes.add(path, unreadable(error))


# --- the whole ---------------------------------------------------------------------------------------------------


class _Stack:
    """Directories to do, the newest first, so that there are few of them."""

    def __init__(self):
        self._folders = [b"."]

    def pop(self):
        return b"d" + self._folders.pop() if self._folders else None

    def left(self, folders):
        self._folders += folders


class _Batches:
    """Paths to do, many in a message."""

    def __init__(self, kind, paths):
        self._kind = kind
        self._paths = iter(paths)

    def pop(self):
        batch = [path for path, _index in zip(self._paths, range(_BATCH))]
        return self._kind + b"\0".join(batch) if batch else None

    def left(self, folders):
        pass


class _Told:
    """Adds up what the workers have done, and tells it. tell: function of a dict."""

    def __init__(self, root, tell):
        self._tell = tell
        self._entries = self._hashed = 0
        self._total = _used_inodes(root)

    def run(self, pool, jobs):
        """Have the pool do the jobs."""

        def answered(message):
            done, *folders = message.split(b"\0")
            self._entries, self._hashed = (
                old + int(new) for old, new in zip((self._entries, self._hashed), done.split())
            )
            jobs.left(folders)
            self._tell(
                {
                    "phase": "reading",
                    "entries": self._entries,
                    "entries_total": self._total,
                    "hashed_bytes": self._hashed,
                }
            )

        pool.run(jobs, answered)


def _used_inodes(root):
    """About how many entries a tree has that is a whole file system; None when it is not, or that does not count."""
    if not os.path.ismount(root):
        return None
    found = os.statvfs(root)
    return found.f_files - found.f_ffree or None


def listed_paths(path, prefix):
    """Yield the paths (bytes, relative) of a NUL list in order, each once. Raises TreeError."""
    sorter = pairs.Sorter(prefix, _MEMORY_BYTES // 4)
    try:
        with open(path, "rb") as stream:
            rest = b""
            for block in iter(lambda: stream.read(1 << 18), b""):
                names = (rest + block).split(b"\0")
                rest = names.pop()
                for name in names:
                    if name:
                        sorter.add(relative(name), b"")
            if rest:
                sorter.add(relative(rest), b"")
    except OSError as error:
        raise TreeError("The list %s cannot be read: %s" % (path, error.strerror)) from error
    for name, _nothing in pairs.unique(sorter.sorted()):
        yield name


def work_folder(parent):
    """Make a folder for intermediate files under parent (made when missing, 0700). Raises TreeError."""
    try:
        os.makedirs(parent, 0o700, exist_ok=True)
        _remove_orphans(parent)
        return tempfile.mkdtemp(prefix="tree-%d-" % os.getpid(), dir=parent)
    except OSError as error:
        raise TreeError("The folder %s cannot be used: %s. Choose another work_dir" % (parent, error)) from error


def _remove_orphans(parent):
    """Remove the folders of runs that were killed."""
    for name in os.listdir(parent):
        found = _FOLDER.match(name)
        if found and not os.path.exists("/proc/%s" % found.group(1)):
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)


def remove(path):
    """Remove the manifest at path, and what runs that were killed left of it. Raises TreeError."""
    folder, base = os.path.split(path)
    part = re.compile(re.escape(base) + r"(\.\d+\.tmp)?\Z")
    try:
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if part.match(name):
                os.unlink(os.path.join(folder, name))
    except OSError as error:
        raise TreeError("%s cannot be removed: %s" % (path, error.strerror)) from error


def make(root, plan, path, work_dir, tell=lambda progress: None):
    """Write the manifest of the tree root (str) to the file path, atomically.

    plan: Plan. work_dir: folder for intermediate files. tell: function of a dict, for progress. Returns dict with
    header and totals. Raises TreeError.
    """
    folder = work_folder(work_dir)
    temporary = "%s.%d.tmp" % (path, os.getpid())
    try:
        if os.path.lexists(temporary):  # of a run with the same number that was killed
            os.unlink(temporary)
        header = dict(plan.header(), root=root, host=os.uname().nodename, started_ns=int(time.time() * 1e9))
        files, totals = _gather(root, plan, folder, _Told(root, tell))
        lines = pairs.unique(pairs.merged(files["main"], os.path.join(folder, "main")))
        lines = _patched(lines, _leaders(files["links"], folder), GROUP)
        lines = _patched(lines, pairs.merged(files["hashes"], os.path.join(folder, "hashes")), CONTENT)
        pairs.write_file(temporary, _framed(header, lines, totals))
        if plan.cache:
            totals["cache"] = Cache(plan.cache).update(root, temporary)
        os.rename(temporary, path)
        return {"header": header, "totals": totals}
    except OSError as error:
        raise TreeError("The manifest %s cannot be written: %s" % (path, error.strerror)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if os.path.exists(temporary):
            os.unlink(temporary)


def _gather(root, plan, folder, told):
    """Have the workers look at everything. Returns (files of pairs by kind, totals)."""
    listed = None
    names = os.path.join(folder, "list")
    if plan.files_from and plan.level == "sample":
        listed = _Listed(listed_paths(plan.files_from, names))
    with Pool(plan.workers, lambda number: _Worker(number, root, plan, listed, folder)) as pool:
        jobs = _Batches(b"l", listed_paths(plan.files_from, names)) if plan.level == "touched" else _Stack()
        told.run(pool, jobs)
        if plan.level != "touched":
            told.run(pool, _Batches(b"l", [b"."]))
        if plan.sample:
            told.run(pool, _Batches(b"h", _lowest(pool.each(b"s"), plan.sample)))
        files, totals = {"main": [], "links": [], "hashes": []}, {}
        for answer in pool.each(FINISH):
            part = json.loads(answer.decode("ascii"))
            for kind in files:
                files[kind] += part["files"][kind]
            for name, number in part["totals"].items():
                totals[name] = totals.get(name, 0) + number
        return files, totals


def _lowest(answers, count):
    chosen = []
    for answer in answers:
        fields = iter(answer.split(b"\0") if answer else ())
        chosen += [(int(number), path) for number, path in zip(fields, fields)]
    return [path for _number_, path in heapq.nsmallest(count, chosen)]


def _leaders(files, folder):
    """Yield (path, leader) for the names of every file that has more than one in the tree."""
    sorter = pairs.Sorter(os.path.join(folder, "leaders"), _MEMORY_BYTES // 4)
    group, first, leader = None, None, None
    for key, _nothing in pairs.unique(pairs.merged(files, os.path.join(folder, "links"))):
        device, inode, path = key.split(b":", 2)
        if (device, inode) != group:
            group, first, leader = (device, inode), path, None
            continue
        if leader is None:
            leader = digest(first)
            sorter.add(first, leader)
        sorter.add(path, leader)
    return sorter.sorted()


def _patched(lines, patches, index):
    """Yield lines, with the field at index replaced where patches (in the same order) have one."""
    patches = iter(patches)
    patch = next(patches, None)
    for path, value in lines:
        while patch and patch[0] < path:
            patch = next(patches, None)
        if patch and patch[0] == path:
            yield path, patch[1] if patch[1][:1] == b"?" else replace(value, index, patch[1])
        else:
            yield path, value


def _framed(header, lines, totals):
    yield b"", json.dumps(header).encode("ascii")
    count = 0
    for pair in lines:
        count += 1
        yield pair
    totals["entries"] = count
    yield b"", json.dumps(totals).encode("ascii")


class Manifest:
    """A manifest file, read once from its beginning. header: dict. totals: dict, after the last entry."""

    def __init__(self, path):
        self.path = path
        self.totals = None
        self._pairs = pairs.read_file(path)
        first = next(self._pairs, None)
        try:
            self.header = json.loads(first[1].decode("ascii")) if first and first[0] == b"" else {}
        except ValueError:
            self.header = {}
        if self.header.get("format") != FORMAT:
            raise TreeError("%s is no manifest of this version. Make it again" % path)

    def entries(self):
        """Yield (path, value). Raises TreeError when the end is missing."""
        for path, value in self._pairs:
            if path == b"":
                self.totals = json.loads(value.decode("ascii"))
                return
            yield path, value
        raise TreeError("%s has no end. It was cut; make or fetch it again" % self.path)
