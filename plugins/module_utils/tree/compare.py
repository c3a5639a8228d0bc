# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare two trees by their manifests, and settle what differs while they live."""

import copy
import json
import os
import shutil
import stat
import time

from . import pairs
from .daemon import Daemon
from .entry import NAMES, NONE, UNSTABLE, content_hash, describe, differing, is_gone, parse
from .errors import TreeError
from .manifest import REQUIRED, Manifest, listed_paths, make, work_folder

IGNORABLE = ("mtime", "directory_mtime", "link_mtime", "mode", "owner", "group", "acl", "xattr", "hard_links")
SHOWN = 100
_TOLD_EVERY = 10000
SECOND_NS = 1000000000
_BATCH = 5000
_ROOT = b"."
LOST, DIFFERENT, EXTRA, UNREADABLE, UNSETTLED = "lost", "different", "extra", "unreadable", "unsettled"
# No differences yet: the content, or everything, has to be compared in another way.
_CONTENT, _LOOK = "content", "look"
_OPEN = (_CONTENT, _LOOK)
_COMMON = ("level", "exclude", "seed", "sample", "changed_since_ns", "xattrs", "one_file_system")


class Rules:
    """How to compare.

    ignore: of IGNORABLE. granularity_ns: times less than this apart are equal, of files; other_granularity_ns: of the
    rest, for which rsync leaves a time that is in the right second (without --modify-window=-1).
    """

    def __init__(self, ignore=(), granularity_ns=1, other_granularity_ns=SECOND_NS):
        self.ignore = frozenset(ignore)
        self._granularity_ns = granularity_ns
        self._other_granularity_ns = other_granularity_ns

    def granularity_ns(self, kind):
        """Times of entries of this type (as in Entry) that are less than this apart are equal."""
        return self._granularity_ns if kind == b"f" else self._other_granularity_ns

    def skips_time(self, path, kind):
        """Whether the mtime of an entry of this type (as in Entry) is not compared."""
        # Our own names in the root come and go, and its mtime with them.
        return path == _ROOT or {b"d": "directory_mtime", b"l": "link_mtime"}.get(kind, "mtime") in self.ignore

    def differing(self, path, one, other):
        """Attributes in which two entries differ, without content."""
        found = differing(one, other, self.ignore, self.granularity_ns(one.type))
        return [name for name in found if not (name == "mtime" and self.skips_time(path, one.type))]


class Candidate:
    """What a first look found. kind: see above. changing: whether one of the sides changed since its pass began."""

    def __init__(self, path, kind, attributes=(), changing=False, both_files=False):
        self.path = path
        self.kind = kind
        self.attributes = list(attributes)
        self.changing = changing
        self.both_files = both_files

    def dump(self):
        return json.dumps([self.kind, self.attributes, self.changing, self.both_files]).encode("ascii")

    @classmethod
    def load(cls, path, value):
        return cls(path, *json.loads(value.decode("ascii")))


# --- the first look ----------------------------------------------------------------------------------------------


def check_alike(source, dest):
    """Raise TreeError unless both headers say that the manifests were made in the same way."""
    for name in _COMMON:
        if source.get(name) != dest.get(name):
            raise TreeError(
                "the manifests were made with different options: %s is %r on the source and %r on the target. "
                "Make both with the same" % (name, source.get(name), dest.get(name))
            )


def together(source, dest):
    """Yield (path, value of the source or None, value of the destination or None) of two streams in order."""
    source, dest = iter(source), iter(dest)
    one, other = next(source, None), next(dest, None)
    while one or other:
        if other is None or (one and one[0] < other[0]):
            yield one[0], one[1], None
            one = next(source, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(dest, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(source, None), next(dest, None)


class FirstLook:
    """Finds candidates in two manifests. counts: what was compared. tell: function of a dict, for progress."""

    def __init__(self, source, dest, rules, tell=lambda progress: None):
        check_alike(source.header, dest.header)
        self._tell = tell
        self._source = source
        self._dest = dest
        self._rules = rules
        self._started = (source.header["started_ns"], dest.header["started_ns"])
        self.counts = {"entries": 0, "files": 0, "bytes": 0, "compared_files": 0, "compared_bytes": 0}

    def candidates(self):
        """Yield Candidates, sorted by path."""
        for number, (path, *values) in enumerate(together(self._source.entries(), self._dest.entries())):
            if number % _TOLD_EVERY == 0:
                self._tell({"phase": "comparing", "entries": number, "entries_total": None, "hashed_bytes": 0})
            if self._same(*values):
                continue
            one, other = (value and parse(value) for value in values)
            if one:
                self._count(one)
            candidate = self._judge(path, one, other)
            if candidate:
                yield candidate

    def _same(self, one, other):
        """Whether two values are equal but for their ctimes, as nearly all are; counts it then."""
        if one is None or other is None:
            return False
        head = one.rpartition(b" ")[0]
        if head != other.rpartition(b" ")[0] or head[:1] == b"?" or head.endswith(UNSTABLE):
            return False
        self.counts["entries"] += 1
        if head[:1] == b"f":
            size = int(head.split(b" ", 2)[1])
            compared = not head.endswith(b" " + NONE)
            self.counts["files"] += 1
            self.counts["bytes"] += size
            self.counts["compared_files"] += compared
            self.counts["compared_bytes"] += size * compared
        return True

    def _count(self, entry):
        self.counts["entries"] += 1
        if entry.type == b"f":
            self.counts["files"] += 1
            self.counts["bytes"] += int(entry.size)

    def _changing(self, one, other):
        return any(
            entry is not None and int(entry.ctime_ns) >= started for entry, started in zip((one, other), self._started)
        )

    def _judge(self, path, one, other):
        if any(entry and entry.type == b"?" for entry in (one, other)):
            sides = [side for side, entry in (("source", one), ("dest", other)) if entry and entry.type == b"?"]
            return Candidate(path, UNREADABLE, sides)
        changing = self._changing(one, other)
        if other is None:
            return Candidate(path, LOST, [NAMES[one.type]], changing)
        if one is None:
            return Candidate(path, EXTRA, [NAMES[other.type]], changing)
        both_files = one.type == other.type == b"f"
        attributes = self._rules.differing(path, one, other)
        unknown = False
        if both_files:
            differs, unknown = self._content(one, other)
            if differs:
                attributes.append("content")
        if attributes:
            return Candidate(path, DIFFERENT, attributes, changing, both_files)
        return Candidate(path, _CONTENT, [], changing, True) if unknown else None

    def _content(self, one, other):
        """(whether the content differs, whether it is still to be compared)."""
        hashes = one.content, other.content
        if UNSTABLE in hashes:
            return False, True
        if NONE not in hashes:
            self.counts["compared_files"] += 1
            self.counts["compared_bytes"] += int(one.size)
            return hashes[0][1:] != hashes[1][1:], False
        return False, any(value[:1] == REQUIRED for value in hashes)


# --- the second look ---------------------------------------------------------------------------------------------


class LocalSide:
    """The other tree where it can be read like the first."""

    def __init__(self, source, dest, rules, xattrs=True):
        self._roots = os.fsencode(source), os.fsencode(dest)
        self._rules = rules
        self._xattrs = xattrs

    def _entry(self, root, path):
        full = root + b"/" + path
        try:
            return parse(describe(full, os.lstat(full), self._xattrs))
        except OSError as error:
            if is_gone(error):
                return None
            raise TreeError("%s cannot be read: %s" % (os.fsdecode(full), error.strerror)) from error

    def look(self, candidates):
        """What is true now: dict path -> (kind, attributes), or None where nothing differs."""
        return {candidate.path: self._judge(candidate) for candidate in candidates}

    def _judge(self, candidate):
        path = candidate.path
        one, other = (self._entry(root, path) for root in self._roots)
        if one is None or other is None:
            return None if one is other else (EXTRA if one is None else LOST, candidate.attributes)
        attributes = self._rules.differing(path, one, other)
        if "hard_links" in candidate.attributes and one.type == other.type:
            attributes.append("hard_links")
        if one.type == other.type == b"f" and one.size == other.size and self._content_differs(path):
            attributes.append("content")
        return (DIFFERENT, attributes) if attributes else None

    def _content_differs(self, path):
        try:
            hashes = [content_hash(root + b"/" + path) for root in self._roots]
        except OSError as error:
            if is_gone(error):
                return True
            raise TreeError("%s cannot be read: %s" % (os.fsdecode(path), error.strerror)) from error
        return UNSTABLE in hashes or hashes[0] != hashes[1]


class DaemonSide:
    """The other tree behind an rsync daemon."""

    def __init__(self, source, daemon, rules):
        self._source = source
        self._root = os.fsencode(source)
        self._daemon = daemon
        self._rules = rules

    def look(self, candidates):
        """What is true now: dict path -> (kind, attributes), or None where nothing differs."""
        here, missing = [], []
        for candidate in candidates:
            present = os.path.lexists(self._root + b"/" + candidate.path)
            (here if present else missing).append(candidate)
        result = {candidate.path: None for candidate in candidates}
        if here:
            result.update(self._present(here))
            for candidate in here:
                if not os.path.lexists(self._root + b"/" + candidate.path):  # it went while the daemon was asked
                    candidate.changing = True
                    missing.append(candidate)
                    result[candidate.path] = None
        if missing:
            there = self._daemon.existing([candidate.path for candidate in missing])
            result.update({path: (EXTRA, []) for path in there})
        return result

    def _present(self, candidates):
        found = self._daemon.differing(self._source, [candidate.path for candidate in candidates])
        self._soften(found)
        result = {}
        for candidate in candidates:
            kind, attributes = found.get(candidate.path, (None, []))
            if "missing" in attributes:
                truth = DIFFERENT if "type" in candidate.attributes else LOST
                result[candidate.path] = (truth, candidate.attributes if candidate.kind == truth else [])
                continue
            attributes = self._kept(candidate, kind, attributes)
            result[candidate.path] = (DIFFERENT, attributes) if attributes else None
        return result

    def _soften(self, found):
        """Take the times out of found that are wrong by less than a second where that is allowed."""
        doubtful = [
            path
            for path, (kind, attributes) in found.items()
            if "mtime" in attributes and self._rules.granularity_ns(kind) >= SECOND_NS
        ]
        if doubtful:
            again = self._daemon.differing(self._source, doubtful, exact_times=False)
            for path in doubtful:
                if "mtime" not in again.get(path, (None, []))[1]:
                    found[path][1].remove("mtime")

    def _kept(self, candidate, kind, attributes):
        kept = [name for name in attributes if name not in self._rules.ignore]
        if candidate.kind != _LOOK:
            # Manifests know times to the granularity that was asked for, and groups of links; a partial list does not
            # know the groups, nor an old rsync times so exact. What rsync finds equal by now was mended since.
            untold = ["hard_links"] if self._daemon.exact_times else ["hard_links", "mtime"]
            kept = [name for name in kept if name not in ("hard_links", "mtime") or name in candidate.attributes]
            kept += [name for name in untold if name in candidate.attributes and name not in kept]
        elif self._rules.skips_time(candidate.path, kind):
            kept = [name for name in kept if name != "mtime"]
        return kept


# --- the whole ---------------------------------------------------------------------------------------------------


class Findings:
    """Collects what differs. path: file for all of it as JSON lines; unsettled_path: NUL list of what is in motion."""

    def __init__(self, folder):
        self.counts = dict.fromkeys((LOST, DIFFERENT, EXTRA, UNREADABLE, UNSETTLED, "unproven"), 0)
        self.first = []
        self.files = {name: os.path.join(folder, name) for name in ("differences", "differing", "unsettled")}
        self._streams = {name: open(path, "wb") for name, path in self.files.items()}  # noqa: SIM115 until close()

    def add(self, path, kind, attributes):
        """kind: one of counts."""
        self.counts[kind] += 1
        if kind == UNSETTLED:
            self._streams["unsettled"].write(path + b"\0")
            return
        self._streams["differing"].write(path + b"\0")
        item = {"path": os.fsdecode(path), "kind": kind, "attributes": sorted(set(attributes))}
        self._streams["differences"].write(json.dumps(item).encode("ascii") + b"\n")
        if len(self.first) < SHOWN:
            item["path"] = printable(path)
            self.first.append(item)

    def close(self, **keep):
        """End it. keep: paths by name of `files`, where the file is to go; it replaces what is there."""
        for name, stream in self._streams.items():
            stream.close()
            if keep.get(name):
                _place(self.files[name], keep[name])


def printable(path):
    """A name (bytes) as text that any screen and JSON takes: what is no UTF-8 is written as \\xNN."""
    return path.decode("utf-8", "backslashreplace")


def _place(source, path):
    try:
        temporary = "%s.%d.tmp" % (path, os.getpid())
        shutil.copyfile(source, temporary)
        os.chmod(temporary, 0o600)
        os.rename(temporary, path)
    except OSError as error:
        raise TreeError("%s cannot be written: %s" % (path, error.strerror)) from error


class Job:
    """One comparison.

    source: root of the tree here. plan: Plan. dest: local root or URL of a daemon, or None. source_manifest,
    dest_manifest: files made before, or None; dest_manifest may be a name in the root behind the URL. live: whether
    the trees are written to meanwhile; recheck_delay: seconds until what differs is looked at again. work_dir,
    differences_file, differing_file, unsettled_file: paths. password_file: for the daemon; timeout: seconds for one
    question to it. tell: function of a dict, for progress.
    """

    def __init__(self, source, plan, dest=None, **more):
        self.source = source
        self.plan = plan
        self.dest = dest
        self.remote = dest is not None and "://" in dest
        self.source_manifest = more.get("source_manifest")
        self.dest_manifest = more.get("dest_manifest")
        self.rules = more.get("rules") or Rules()
        self.live = more.get("live", False)
        self.recheck_delay = more.get("recheck_delay", 20)
        self.work_dir = more["work_dir"]
        self.differences_file = more.get("differences_file")
        self.differing_file = more.get("differing_file")
        self.unsettled_file = more.get("unsettled_file")
        self.password_file = more.get("password_file")
        self.timeout = more.get("timeout", 3600)
        self.tell = more.get("tell", lambda progress: None)

    def run(self):
        """Compare. Returns dict. Raises TreeError."""
        folder = work_folder(self.work_dir)
        try:
            return _Comparison(self, folder).run()
        except OSError as error:
            raise TreeError("%s: %s" % (error.filename or self.work_dir, error.strerror)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _Comparison:
    def __init__(self, job, folder):
        self._job = job
        self._folder = folder
        self._daemon = None
        if job.remote:
            wanted = [name for name in ("acl", "xattr") if job.plan.xattrs and name not in job.rules.ignore]
            self._daemon = Daemon(job.dest, job.password_file, folder, wanted, timeout=job.timeout)
        self._findings = Findings(folder)
        self._counts = {}
        self._started_ns = int(time.time() * 1e9)

    def run(self):
        began = time.monotonic()
        job = self._job
        if self._daemon and not job.dest_manifest:
            candidates = self._still_differing(self._listed()) if job.live else self._listed()
            first_is_final = False
        else:
            candidates = self._manifests()
            first_is_final = not job.live
        spool = os.path.join(self._folder, "candidates")
        found = pairs.write_file(spool, ((item.path, item.dump()) for item in candidates))
        if found and job.live:
            job.tell({"phase": "waiting", "entries": 0, "entries_total": found, "hashed_bytes": 0})
            time.sleep(job.recheck_delay)
        looked = 0
        for batch in _batches(Candidate.load(path, value) for path, value in pairs.read_file(spool)):
            job.tell({"phase": "settling", "entries": looked, "entries_total": found, "hashed_bytes": 0})
            self._settle(batch, first_is_final)
            looked += len(batch)
        self._findings.close(
            differences=job.differences_file, differing=job.differing_file, unsettled=job.unsettled_file
        )
        return self._result(time.monotonic() - began)

    def _result(self, seconds):
        counts = dict(self._counts, **self._findings.counts)
        wrong = (LOST, DIFFERENT, EXTRA, UNREADABLE, "unproven")
        return {
            "equal": not any(counts[kind] for kind in wrong),
            "counts": counts,
            "differences": self._findings.first,
            "seconds": round(seconds, 3),
        }

    # The first look

    def _manifests(self):
        job = self._job
        dest_path = self._dest_manifest()
        source_path = job.source_manifest
        if not source_path:
            source_path = os.path.join(self._folder, "source")
            make(job.source, self._plan_here(), source_path, self._folder, job.tell)
        source = Manifest(source_path)
        self._started_ns = source.header["started_ns"]
        look = FirstLook(source, Manifest(dest_path), job.rules, job.tell)
        self._counts = look.counts
        return look.candidates()

    def _dest_manifest(self):
        job = self._job
        path = os.path.join(self._folder, "dest")
        if job.dest_manifest and self._daemon and "/" not in job.dest_manifest:
            self._daemon.fetch(job.dest_manifest, path)
            return path
        if job.dest_manifest:
            return job.dest_manifest
        make(job.dest, job.plan, path, self._folder, job.tell)
        return path

    def _plan_here(self):
        """The plan for the source: its ctimes tell too what changed, those of a copy only when it was made."""
        plan = copy.copy(self._job.plan)
        plan.by_ctime = self._job.dest is not None  # otherwise nothing could be asked about what only this side hashed
        return plan

    def _listed(self):
        """Without a manifest of the other side: each entry of a list is looked at there."""
        job = self._job
        if job.plan.level != "touched":
            raise TreeError("level %s needs dest_manifest, made on the target with state: manifest" % job.plan.level)
        root = os.fsencode(job.source)
        self._counts = {"entries": 0, "files": 0, "bytes": 0, "compared_files": 0, "compared_bytes": 0}
        for path in listed_paths(job.plan.files_from, os.path.join(self._folder, "list")):
            kinds, changing = (False, True), False
            try:
                status = os.lstat(root + b"/" + path)
            except OSError as error:
                if not is_gone(error):
                    yield Candidate(path, UNREADABLE, ["source"])
                    continue
            else:
                kinds = (stat.S_ISDIR(status.st_mode),)
                changing = status.st_ctime_ns >= self._started_ns
            if any(job.plan.excludes.match_below(path, directory) for directory in kinds):
                continue
            if len(kinds) == 1:
                self._count(status)
            yield Candidate(path, _LOOK, [], changing)

    def _still_differing(self, candidates):
        """Those of the candidates that differ at a look now: only for these it is worth to wait."""
        side = self._side()
        for batch in _batches(candidates):
            now = side.look([item for item in batch if item.kind == _LOOK])
            for item in batch:
                if item.kind != _LOOK or now[item.path]:
                    yield item

    def _count(self, status):
        self._counts["entries"] += 1
        if stat.S_ISREG(status.st_mode):
            for name, number in (("files", 1), ("bytes", status.st_size)):
                self._counts[name] += number
                self._counts["compared_" + name] += number

    # The second look

    def _settle(self, batch, first_is_final):
        again = []
        for item in batch:
            if item.kind == UNREADABLE or (first_is_final and item.kind not in _OPEN):
                self._findings.add(item.path, item.kind, item.attributes)
            else:
                again.append(item)
        if not again:
            return
        side = self._side()
        if side is None:
            for item in again:
                kind = "unproven" if item.kind in _OPEN else item.kind
                self._findings.add(item.path, UNSETTLED if self._job.live and item.changing else kind, item.attributes)
            return
        now = side.look(again)
        for item in again:
            self._judge(item, now[item.path])

    def _side(self):
        job = self._job
        if self._daemon:
            return DaemonSide(job.source, self._daemon, job.rules)
        return LocalSide(job.source, job.dest, job.rules, job.plan.xattrs) if job.dest else None

    def _judge(self, item, truth):
        if item.kind == _CONTENT and truth is None and item.both_files:
            self._counts["compared_files"] += 1
        if truth is None:
            return
        kind, attributes = truth
        if self._job.live and (item.changing or self._changed(item)):
            kind = UNSETTLED
        self._findings.add(item.path, kind, attributes)

    def _changed(self, item):
        """Whether the entry here changed since the pass began, so that its copy may still be under way."""
        try:
            status = os.lstat(os.fsencode(self._job.source) + b"/" + item.path)
        except OSError:
            return item.kind not in (EXTRA, _LOOK)  # it was here
        return status.st_ctime_ns >= self._started_ns


def _batches(items):
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
