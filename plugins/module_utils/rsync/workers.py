# SPDX-License-Identifier: GPL-3.0-or-later
"""One rsync over one list: how it is called for each kind of list, and what came of it."""

import os
import signal
import subprocess

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.rsync import (
    binary,
    exit_codes,
    output,
    partitions,
    stall,
)

# Kinds of work that are no list of the walk.
TREES = "t"             # whole subtrees, compared and copied
SHALLOW = "h"           # the entries of directories, not what is below them
ROOT = "r"              # the attributes of the tree's own directory
DELETE = "x"            # deletion of what the source does not have, and nothing else

_BIG = 256 << 20        # bytes per file from which a second try goes on in the middle of the file
_MOST_OUTPUT = 4 << 20  # bytes of an rsync's words that are read back
_LAST_WORDS = 10        # seconds that an rsync has to end itself
_TIMED_OUT = 30         # exit status of an rsync that saw by itself that nothing moved


class Plan:
    """What holds for every rsync of a run.

    fresh: the destination had nothing, so that nobody can read, or share by a hard link, what is written in place.
    resumed: files of an earlier try may be there half. frozen, attributes (xattrs, ACLs wanted), sparse: bool.
    itemize: keep the list of changes.
    """

    def __init__(self, rsync, src, dest, options, *, fresh=False, resumed=False, frozen=False, itemize=False,
                 max_delete=None):
        self.rsync = rsync
        self.src = binary.with_slash(src)
        self.dest = binary.with_slash(dest)
        self.options = options
        self.fresh = fresh
        self.resumed = resumed
        self.frozen = frozen
        self.itemize = itemize
        self.max_delete = max_delete


def _options_for(plan, kind):
    """binary.Options for one kind of list: no attribute is looked for where the walk saw none."""
    wanted = dict(vars(plan.options))
    if kind in (TREES, SHALLOW) or (plan.fresh and kind in (partitions.PLAIN, partitions.SPARSE)):
        wanted["xattrs"] = wanted["acls"] = False
    wanted["hard_links"] = kind == partitions.LINKS and plan.options.hard_links
    wanted["sparse"] = plan.options.sparse and kind in (partitions.SPARSE, partitions.LINKS, TREES, SHALLOW)
    if kind not in (TREES, SHALLOW, DELETE):
        wanted["exclude"] = ()
    return binary.Options(**wanted)


def _whole_lists(plan, kind, path):
    if kind == TREES:
        return ["-r", "--from0", "--files-from=%s" % path, "--ignore-missing-args", "--force"]
    if kind == SHALLOW:
        return ["--dirs", "--from0", "--files-from=%s" % path, "--ignore-missing-args", "--force"]
    if kind == ROOT:
        return ["--dirs", "--filter=- /*"]
    words = ["-r", "--existing", "--ignore-existing", "--delete", "--force"]
    return words + (["--max-delete=%d" % plan.max_delete] if plan.max_delete is not None else [])


def _lists(plan, partition, path, attempt):
    words = ["--dirs", "--from0", "--files-from=%s" % path, "--force"]
    if not plan.frozen:
        words.append("--ignore-missing-args")
    again = plan.resumed or attempt > 1
    in_place = plan.fresh and partition.kind in (partitions.PLAIN, partitions.ATTRIBUTES)
    big = partition.count and partition.bytes // partition.count >= _BIG
    if in_place and (not again or big):
        words.append("--inplace")
        if again:
            words.append("--no-whole-file")
    return words


def pace(partition, kib_per_s, running):
    """The limit that one rsync is given of its own, in KiB/s: twice its share, so that all together cannot run far
    ahead between two looks of the throttle, and yet use what others leave. running: rsyncs beside this one. A list of
    few large files has none, because a raised limit ends those that have."""
    big = partition.count and partition.bytes // partition.count >= _BIG
    return 0 if big or not kib_per_s else min(kib_per_s, max(1, 2 * kib_per_s // (running + 1)))


def leave_unused(paces, kib_per_s):
    """Whether rsyncs with these limits of their own cannot use the limit of all, because the others have ended."""
    return bool(kib_per_s and paces) and 0 not in paces and 4 * sum(paces) < 3 * kib_per_s


def vector(plan, partition, path, attempt=1, *, dry_run=False, kib_per_s=0):
    """The argument vector of the rsync for a list. partition: Partition; path: its file; kib_per_s: limit of this
    rsync, 0 for none. Returns a list of str."""
    options = binary.Options(**dict(vars(_options_for(plan, partition.kind)), bwlimit_kib_per_s=kib_per_s))
    argv = [plan.rsync.path] + binary.arguments(plan.rsync, options, plan.dest)
    if partition.kind in (TREES, SHALLOW, ROOT, DELETE):
        argv += _whole_lists(plan, partition.kind, path)
    else:
        argv += _lists(plan, partition, path, attempt)
    argv.append("--stats")
    if plan.itemize or dry_run:
        argv.append("--out-format=%s" % output.OUT_FORMAT)
    if dry_run:
        argv.append("--dry-run")
    return argv + ["--", plan.src, plan.dest]


class Outcome:
    """What one rsync did. verdict: exit_codes.Verdict; numbers: its statistics; complaints: list of
    output.Complaint; changes: number of itemized lines; sent: bytes it sent in all, or None."""

    def __init__(self, verdict, numbers, complaints, changes):
        self.verdict = verdict
        self.numbers = numbers
        self.complaints = complaints
        self.changes = changes
        self.sent = numbers.get("Total bytes sent")


class Worker:
    """A running rsync. partition, attempt as given; words: file name without suffix for what it says; pace: its own
    limit in KiB/s, 0 for none; limit: the one of all by which that was chosen."""

    def __init__(self, argv, partition, attempt, words, *, pace=0, limit=0):
        self.pace = pace
        self.limit = limit
        self.stall = None
        self.stood = None       # when it was ended because it stood still
        self.partition = partition
        self.attempt = attempt
        self.words = words
        with open(words + ".out", "wb") as out, open(words + ".err", "wb") as err:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                            env=dict(os.environ, LC_ALL="C", LANGUAGE="C"), start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def poll(self):
        """Exit status, or None while it runs."""
        return self.process.poll()

    def end(self):
        """Ask it to end, stopped or not; it leaves no temporary files behind."""
        for number in (signal.SIGTERM, signal.SIGCONT):
            if self.process.poll() is None:
                self.process.send_signal(number)

    def watch(self, now, io_timeout):
        """End it when it stands still. now: seconds that it was let run; io_timeout: seconds."""
        bytes_moved = stall.moved(self.pid)
        if bytes_moved is None:
            return
        if self.stall is None:
            self.stall = stall.Stall(io_timeout, self.partition.kind not in (TREES, SHALLOW, ROOT, DELETE), now)
        if self.stood is not None:
            if now - self.stood > _LAST_WORDS:
                self.process.kill()
        elif self.stall.stands(now, *bytes_moved):
            self.stood = now
            self.end()

    def wait(self, timeout):
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def outcome(self, src, frozen):
        """Read what it said, and forget it. Returns Outcome."""
        whole = os.path.getsize(self.words + ".err") <= _MOST_OUTPUT
        out, err = self._read(".out"), self._read(".err")
        changes = out.count("\n" + output.MARK) + out.startswith(output.MARK)
        complaints = output.parse_complaints(err, src)
        status = self.process.returncode if self.stood is None else _TIMED_OUT
        status = output.status_of(status, complaints) if whole else status
        return Outcome(exit_codes.judge(status, err, frozen), output.parse_stats(out), complaints, changes)

    def write_changed(self, path):
        """Write the itemized paths as a NUL list. Returns how many. Read line by line: there may be millions."""
        count = 0
        with open(self.words + ".out", "rb") as words, open(path, "wb") as stream:
            for raw in words:
                for change in output.parse_changes(raw.decode("utf-8", "surrogateescape").rstrip("\n")):
                    if change.kind != "extra" and change.path != ".":
                        stream.write(files.data(change.path) + b"\0")
                        count += 1
        return count

    def _read(self, suffix):
        """The end of a file of words: the statistics stand at the end, and so does the reason."""
        with open(self.words + suffix, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _MOST_OUTPUT))
            text = stream.read().decode("utf-8", "surrogateescape")
        os.unlink(self.words + suffix)
        return text
