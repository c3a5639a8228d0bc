# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring exactly the listed paths of a tree to the other side, and prove exactly the listed paths equal.

The list is a file of NUL-separated paths relative to the tree; a path that is gone on the source is deleted on the
destination. Nothing else is read: the time does not depend on the size of the tree.
"""

import os
import stat
import tempfile
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files, walking
from ansible_collections.seamless.migration.plugins.module_utils.rsync import binary, exit_codes, output
from ansible_collections.seamless.migration.plugins.module_utils.rsync.binary import Options, RsyncError

_CACHE = 50000          # directories remembered while a list is prepared
_BLOCK = 1 << 20


def read_list(path):
    """Entries of a NUL-separated list, one by one, as bytes. path: str. Empty entries are left out."""
    rest = b""
    with open(path, "rb") as stream:
        while True:
            block = stream.read(_BLOCK)
            if not block:
                break
            words = (rest + block).split(b"\0")
            rest = words.pop()
            for word in words:
                if word:
                    yield word
    if rest:
        yield rest


def normalise(path):
    """A path of a list without leading, doubled or closing slashes and `.`; b"." is the tree itself. bytes -> bytes.

    Raises RsyncError for a path with `..`, which could lead out of the tree.
    """
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise RsyncError("Failed to read the list: %r leads out of the tree. Remove the `..`." % files.text(path))
    return b"/".join(parts) or b"."


def is_ours(path):
    """Whether path (bytes, normalised) is a file of the migration itself in the root of the tree."""
    return path.split(b"/", 1)[0].startswith(b".seamless-")


class Prepared:
    """A list made fit for rsync. path: file; count, missing: int; root: whether the tree itself is listed."""

    def __init__(self, path):
        self.path = path
        self.count = 0
        self.missing = 0
        self.root = False
        self.inodes = {}          # (dev, inode) -> [names in the list, link count]


class _Tree:
    """What the source has at a path, with a bounded memory of directories."""

    def __init__(self, src):
        self.root = os.fsencode(src)
        self.known = {}

    def _is_directory(self, path):
        if path not in self.known:
            if len(self.known) >= _CACHE:
                self.known.clear()
            status = self.lstat(path)
            self.known[path] = status is not None and stat.S_ISDIR(status.st_mode)
        return self.known[path]

    def lstat(self, path):
        try:
            return os.lstat(os.path.join(self.root, path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def settle(self, path):
        """The path that rsync has to be told for `path`, and its status there (None: gone).

        Below an ancestor that is gone or is no directory any more, that ancestor stands for all: rsync would say 24
        (vanished) or 23 (not a directory) for the path itself, or follow a symbolic link out of the tree.
        """
        parts = path.split(b"/")
        for depth in range(1, len(parts)):
            ancestor = b"/".join(parts[:depth])
            if not self._is_directory(ancestor):
                return ancestor, self.lstat(ancestor)
        return path, self.lstat(path)


def _count_link(prepared, status):
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        entry = prepared.inodes.setdefault((status.st_dev, status.st_ino), [0, status.st_nlink])
        entry[0] += 1


class _Clock:
    """The time that one delta has in all, walks and rsyncs together. timeout: seconds. what: for the message."""

    def __init__(self, timeout, what):
        self.end = time.monotonic() + timeout
        self.timeout = timeout
        self.what = what

    def left(self):
        """Seconds. Raises RsyncError when there are none."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise RsyncError("Failed to %s: it was not done after %.1f s. Give it more time, then run again."
                             % (self.what, self.timeout))
        return left


def prepare(src, paths_file, folder, clock, parents=True):
    """Write the list that rsync gets.

    src: path of the tree. paths_file: NUL list. folder: where the new list is written. clock: _Clock. parents: list the
    parent of what is gone too, so that its times come right after the deletion. Returns Prepared. Raises RsyncError.
    """
    handle, name = tempfile.mkstemp(prefix="list-", dir=folder)
    prepared = Prepared(name)
    tree = _Tree(src)
    last = None
    with os.fdopen(handle, "wb") as stream:
        for raw in walking.watched(read_list(paths_file), clock.left):
            path = normalise(raw)
            if is_ours(path):
                continue
            if path == b".":
                prepared.root = True
                continue
            path, status = tree.settle(path)
            if path == last:
                continue
            last = path
            stream.write(path + b"\0")
            prepared.count += 1
            parent = os.path.dirname(path)
            prepared.root = prepared.root or (parents and not parent)
            if status is None:
                prepared.missing += 1
                if parents and parent:
                    stream.write(parent + b"\0")
            else:
                _count_link(prepared, status)
    return prepared


def complete_links(src, prepared, clock):
    """Add the other names of every listed file that has more hard links than the list has names for.

    Without them the destination would get a second file instead of a link, and the other names would keep the old
    content. Reads directory entries of the whole tree, but only when such a file is listed. clock: _Clock. Returns the
    number of names added. Raises RsyncError when the time is over.
    """
    wanted = {key[1] for key, (named, links) in prepared.inodes.items() if named < links}
    if not wanted:
        return 0
    root = os.fsencode(src.rstrip("/"))
    added = 0
    with open(prepared.path, "ab") as stream:
        folders = [root]
        while folders:
            folder = folders.pop()
            try:
                entries = os.scandir(folder)
            except OSError:
                continue        # vanished, or rsync will say what is wrong
            with entries:
                for entry in walking.watched(entries, clock.left):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.inode() in wanted and not is_ours(entry.path[len(root) + 1:]):
                        stream.write(entry.path[len(root) + 1:] + b"\0")
                        added += 1
    return added


class DeltaResult:
    """What one delta did.

    listed, missing: paths in the list and those of them gone on the source. files, bytes: regular files transferred.
    created, deleted: objects on the destination. links_added: other names of hard-linked files. failed, vanished: list
    of {"path", "reason"}. changes: list of output.Change when asked for. seconds: float. rc: of the worst rsync.
    """

    def __init__(self):
        self.listed = self.missing = self.files = self.bytes = self.created = self.deleted = self.links_added = 0
        self.failed = []
        self.vanished = []
        self.changes = []
        self.seconds = 0.0
        self.rc = 0

    def add(self, result, src):
        """Take in one run's output. result: command.Result. Returns the exit status to judge by."""
        numbers = output.parse_stats(result.stdout)
        self.files += numbers.get("Number of regular files transferred", 0)
        self.bytes += numbers.get("Total transferred file size", 0)
        self.created += numbers.get("Number of created files", 0)
        self.deleted += numbers.get("Number of deleted files", 0)
        self.changes += output.parse_changes(result.stdout)
        complaints = output.parse_complaints(result.stderr, src)
        for complaint in complaints:
            entry = {"path": complaint.path, "reason": complaint.reason}
            (self.vanished if complaint.vanished else self.failed).append(entry)
        status = output.status_of(result.rc, complaints)
        self.rc = self.rc or status
        return status

    @property
    def changed(self):
        """Whether anything was (or in a dry run would be) changed on the destination; needs itemize."""
        return bool(self.changes)

    def as_dict(self):
        names = ("listed", "missing", "files", "bytes", "created", "deleted", "links_added", "failed", "vanished",
                 "seconds", "rc")
        return {name: getattr(self, name) for name in names}


class Difference:
    """One path that is not equal. kind: missing (on the destination), extra (only there), content, metadata or link;
    path: str relative to the tree, undecodable bytes as surrogate escapes; flags: rsync's itemized flags."""

    def __init__(self, kind, path, flags):
        self.kind = kind
        self.path = path
        self.flags = flags


class _Run:
    """One delta: the rsyncs it takes and where their words go."""

    def __init__(self, rsync, src, dest, options, clock):
        self.rsync = rsync
        self.src = binary.with_slash(src)
        self.dest = binary.with_slash(dest)
        self.options = options
        self.clock = clock

    def _run(self, words):
        argv = [self.rsync.path] + binary.arguments(self.rsync, self.options, self.dest) + words
        argv += ["--", self.src, self.dest]
        try:
            return command.run(argv, timeout=self.clock.left(), ok=None)
        except command.CommandError as error:
            raise RsyncError("Failed to copy the listed paths of %s to %s: %s. Look at both hosts, then run again."
                             % (self.src, self.dest, error), error.result) from error

    def listed(self, path, extra):
        return self._run(["--dirs", "--from0", "--files-from=%s" % path, "--delete-missing-args", "--force"] + extra)

    def root(self, extra):
        """The attributes of the tree's own directory, and nothing in it: in a list `.` would stand for its contents."""
        return self._run(["--dirs", "--filter=- /*"] + extra)


def _check(src, dest, rsync, options):
    for name, value in (("src", src), ("dest", dest), ("password_file", options.password_file or ""),
                        ("rsh", options.rsh or "")):
        binary.check_text(name, value)
    if not src.startswith("/"):
        raise RsyncError("Failed to use the option src: %r is not an absolute path." % src)
    if not rsync.can("delete_missing_args"):
        raise RsyncError("Failed to use rsync %d.%d.%d: its --delete-missing-args is broken. Install 3.4.4 or newer (or"
                         " 3.4.2 and older)." % rsync.version)


def _hold(src):
    """Keep the source from being unmounted while we work. Returns a file descriptor."""
    try:
        return os.open(src, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise RsyncError("Failed to open %s: %s." % (src, error.strerror)) from error


def run_delta(src, dest, paths_file, options=None, *, frozen=False, sentinel=".seamless-sentinel", max_delete=None,
              link_groups=True, dry_run=False, itemize=False, timeout=3600, rsync_path=None):
    """Copy and delete exactly the paths of a list.

    src: absolute path of the tree. dest: local path, rsync://user@host:port/module/path, host::module/path or
    host:path. paths_file: NUL-separated paths relative to src. options: binary.Options (with `sparse` off, hard links,
    xattrs and ACLs on by default). frozen: nobody may write to src, so a vanished file is a failure. sentinel: file
    that must be in the root of src, or None. max_delete: most deletions allowed, or None. link_groups: also bring the
    other names of listed hard-linked files. dry_run: change nothing. itemize: fill `changes`. timeout: seconds
    for all of it: the walks and each rsync.

    A directory in the list stands for itself, not for what is in it; one that is gone is deleted whole. A path below
    something that is gone, or that is no directory any more, stands for that. `/.seamless-*` is left out.

    Returns DeltaResult. Raises RsyncError (its `result` a DeltaResult, its `verdict` exit_codes.Verdict) for everything
    that is not a success: 24 only when frozen, 23 unless all that rsync says is what has vanished (output.status_of).
    """
    options = options or Options()
    rsync = binary.find(rsync_path)
    _check(src, dest, rsync, options)
    rsync = binary.suited(rsync, dest, options)
    binary.read_sentinel(src, sentinel)
    extra = ["--stats"]
    extra += ["--out-format=%s" % output.OUT_FORMAT] if itemize or dry_run else []
    extra += ["--dry-run"] if dry_run else []
    if max_delete is not None:
        extra.append("--max-delete=%d" % max_delete)
    if not rsync.can("modify_window_ns"):
        extra.append("--ignore-times")      # two writes within a second would look like one
    result = DeltaResult()
    begin = time.time()
    clock = _Clock(timeout, "copy the listed paths of %s to %s" % (src, dest))
    held = _hold(src)
    try:
        with tempfile.TemporaryDirectory(prefix="seamless-delta-") as folder:
            prepared = prepare(src, paths_file, folder, clock)
            result.listed, result.missing = prepared.count, prepared.missing
            if link_groups and options.hard_links:
                result.links_added = complete_links(src, prepared, clock)
            binary.read_sentinel(src, sentinel)
            _run_all(_Run(rsync, src, dest, options, clock), prepared, extra, result, frozen)
    except OSError as error:
        raise RsyncError("Failed to read the list %s: %s." % (paths_file, error), result) from error
    finally:
        os.close(held)
        result.seconds = time.time() - begin
    return result


def _run_all(run, prepared, extra, result, frozen):
    runs = []
    if prepared.count:
        runs.append(lambda: run.listed(prepared.path, extra))
    if prepared.root:
        runs.append(lambda: run.root(extra))
    for start in runs:
        done = start()
        verdict = exit_codes.judge(result.add(done, run.src), done.stderr, frozen)
        if not verdict.fine:
            raise RsyncError("Failed to copy %d listed paths of %s to %s: %s %s"
                             % (prepared.count, run.src, run.dest, verdict.sentence(), _first(result)), result, verdict)


def _first(result):
    """The first complaint, for the message."""
    entries = result.failed or result.vanished
    if not entries:
        return ""
    more = " (and %d more)" % (len(entries) - 1) if len(entries) > 1 else ""
    return "First: %s%s" % (entries[0]["reason"], more)


def verify_list(src, dest, paths_file, checksum=True, options=None, *, timeout=3600, rsync_path=None):
    """Compare exactly the paths of a list on both sides, changing nothing.

    Arguments as for run_delta. checksum: compare content, else size and time in nanoseconds. What is gone on the source
    and still there on the destination is `extra`, with everything below it. Returns a list of Difference, empty when
    all is equal. Raises RsyncError when a path could not be compared.
    """
    options = options or Options()
    rsync = binary.find(rsync_path)
    _check(src, dest, rsync, options)
    rsync = binary.suited(rsync, dest, options)
    binary.read_sentinel(src, None)
    comparing = Options(**dict(vars(options), checksum=checksum))
    extra = ["--dry-run", "--out-format=%s" % output.OUT_FORMAT, "--no-implied-dirs"]
    result = DeltaResult()
    clock = _Clock(timeout, "compare the listed paths of %s and %s" % (src, dest))
    held = _hold(src)
    try:
        with tempfile.TemporaryDirectory(prefix="seamless-verify-") as folder:
            prepared = prepare(src, paths_file, folder, clock, parents=False)
            _run_all(_Run(rsync, src, dest, comparing, clock), prepared, extra, result, True)
    except OSError as error:
        raise RsyncError("Failed to read the list %s: %s." % (paths_file, error), result) from error
    finally:
        os.close(held)
    return [Difference(change.kind, change.path, change.flags) for change in result.changes]
