# SPDX-License-Identifier: GPL-3.0-or-later
"""Has live sync carried everything? lsyncd's "0 delays" is not the answer; a canary that arrived is part of it.

Four parts, all of which must hold in one attempt (reference: lsyncd's sources and its issues 461, 475, 678):
1. a canary written into each source arrives at its target;
2. a complete status file, written after that, shows no delays and no start-up;
3. the log has no overflow, start-up, retry or failure since the canary was written;
4. as many directories are watched as there are; while people write, no fewer but for the changes on their way.
With a guard: nothing is dirty, no limit of deletions was reached.
"""

import binascii
import collections
import contextlib
import os
import tempfile
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd import guard, limits, status
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.errors import LsyncdError

PREFIX = ".seamless-canary-"
_CLEANING = 5  # seconds for one look at a target while the canaries are taken away
NAMED = {
    "missing": "lsyncd's log cannot be read",
    "rotated": "lsyncd's log was rotated meanwhile",
    "overflow": "the inotify queue overflowed, lsyncd copies everything again",
    "startup": "lsyncd started or was reset meanwhile",
    "retrying": "a transfer failed and is tried again",
    "failed": "a transfer failed",
    "ended": "lsyncd was told to end, or ended itself",
}

Canary = collections.namedtuple("Canary", "root name content written")


def write_canary(root):
    """Write a file of unique name and content into the tree `root`, as one event for lsyncd. Returns Canary."""
    name = PREFIX + binascii.hexlify(os.urandom(8)).decode("ascii")
    content = binascii.hexlify(os.urandom(16)) + b"\n"
    path = os.path.join(root, name)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise LsyncdError("the canary %s cannot be written: %s" % (path, error.strerror)) from error
    return Canary(root, name, content, time.time())


def remove_canary(canary):
    """Take the canary off its source. Returns whether it was there."""
    try:
        os.unlink(os.path.join(canary.root, canary.name))
    except OSError:
        return False
    return True


class LocalTarget:
    """The target's tree as a directory of this machine."""

    def __init__(self, path):
        self.path = path

    def content(self, name, _seconds=None):
        try:
            with open(os.path.join(self.path, name), "rb") as stream:
                return stream.read()
        except OSError:
            return None

    def remove(self, name, _seconds=None):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.path, name))


class RsyncTarget:
    """The target's tree reached by rsync: rsync://user@host:port/module, or host:path by SSH.

    url: without a file name. password_file: of the daemon's user. rsh: argument vector of the remote shell, no word
    of it with a blank. timeout: seconds for one look.
    """

    def __init__(self, url, password_file=None, rsh=None, timeout=15):
        self.url = url.rstrip("/") + "/"
        self.timeout = timeout
        self.options = ["-s"]
        if password_file:
            self.options.append("--password-file=%s" % password_file)
        if rsh:
            self.options.append("--rsh=%s" % " ".join(rsh))

    def content(self, name, seconds=None):
        """Content of the file in the target's root, None when it is not there. seconds: bound of the look, when it is
        to be shorter than usual. Raises LsyncdError for other causes."""
        with tempfile.TemporaryDirectory(prefix="seamless-canary-") as folder:
            argv = ["rsync", "-t"] + self.options + ["--", self.url + name, folder + "/"]
            result = self._run(argv, (0, 23, 24), seconds)
            path = os.path.join(folder, name)
            if not os.path.exists(path):
                if result.rc == 0 or "No such file" in result.stderr or "vanished" in result.stderr:
                    return None
                raise LsyncdError("the canary cannot be read at %s: %s" % (self.url, result.cause()))
            with open(path, "rb") as stream:
                return stream.read()

    def remove(self, name, seconds=None):
        """Delete exactly this name in the target's root."""
        with tempfile.TemporaryDirectory(prefix="seamless-canary-") as folder:
            rules = ["--include=/" + name, "--exclude=*"]
            argv = ["rsync", "-rO", "--delete"] + rules + self.options + ["--", folder + "/", self.url]
            self._run(argv, (0, 23, 24), seconds)

    def _run(self, argv, ok, seconds):
        limit = self.timeout if seconds is None else max(1.0, min(self.timeout, seconds))
        try:
            return command.run(argv[:1] + ["--timeout=%d" % max(1, int(limit))] + argv[1:], timeout=limit + 1, ok=ok)
        except command.CommandError as error:
            cause = error.result.cause() if error.result else str(error)
            raise LsyncdError("the target %s cannot be reached: %s" % (self.url, cause)) from error


def canary_arrived(canary, target, seconds=None):
    """Whether the target has the canary with its content. Raises LsyncdError when the target cannot be asked."""
    return target.content(canary.name, seconds) == canary.content


class Sync:
    """What is looked at of one sync. excludes: compiled patterns; state_dir: of its guard, or None."""

    def __init__(self, name, source, target, state_dir=None, excludes=()):
        self.name = name
        self.source = os.path.realpath(source)
        self.target = target
        self.state_dir = state_dir
        self.excludes = excludes

    def guard_reasons(self):
        """What the guard of this sync has against convergence."""
        if not self.state_dir:
            return []
        found = guard.summary(self.state_dir)
        reasons = []
        if found["halted"]:
            reasons.append("sync %s: the limit of deletions was reached, the guard runs nothing" % self.name)
        if found["dirty"]:
            names = ", ".join(found["dirty_paths"])
            reasons.append("sync %s: %d paths failed: %s" % (self.name, found["dirty"], names))
        if (found["last_run"] or {}).get("mode") == "refused":
            reasons.append("sync %s: the guard refuses: %s" % (self.name, found["last_run"].get("reason", "")))
        return reasons


class Daemon:
    """The files of one lsyncd, and what they say against convergence.

    pid_file: its process id; without one, the lsyncd that has the path `config` among its arguments is looked for.
    allowed_delays: number of delays that do not count, for a tree that is written to without pause.
    """

    def __init__(self, status_file, log_file, pid_file=None, config=None, allowed_delays=0):
        self.status_file, self.log_file = status_file, log_file
        self.pid_file, self.config = pid_file, config
        self.allowed_delays = allowed_delays
        self.log = None

    def mark(self):
        self.log = status.Log(self.log_file)

    def alive(self):
        return status.daemon_pid(self.pid_file, self.config) is not None

    def trigger(self, _sync):
        """The canary itself is the event."""

    def report(self):
        """The status file and the time at which it was written. Returns (Report, seconds since 1970)."""
        try:
            with open(self.status_file, "rb") as stream:
                return status.parse(stream.read()), os.fstat(stream.fileno()).st_mtime
        except OSError as error:
            raise LsyncdError("the status file %s cannot be read: %s" % (self.status_file, error.strerror)) from error

    def log_reasons(self):
        return ["%s: %s" % (NAMED[kind], line) for kind, line in sorted(self.log.since().items())]

    def status_reasons(self, syncs, after):
        """What the status file has against convergence, if it was written later than `after`."""
        report, written = self.report()
        if written <= after:
            return ["the status file was not written since the canary arrived"]
        if not report.complete:
            return ["the status file is not complete"]
        reasons = []
        for sync in syncs:
            found = report.sync(sync.source)
            if found is None:
                reasons.append("sync %s: the running lsyncd does not know %s" % (sync.name, sync.source))
            elif found["initializing"]:
                reasons.append("sync %s: the start-up copy is not finished" % sync.name)
            elif found["delays"] > self.allowed_delays:
                reasons.append("sync %s: %d delays are left" % (sync.name, found["delays"]))
        return reasons

    def watch_reasons(self, syncs):
        """Watched directories against those that exist."""
        counted = sum(limits.directories(sync.source, sync.excludes) for sync in syncs)
        report = self.report()[0]
        watching = report.watching
        if watching == counted:
            return []
        if self.allowed_delays and watching is not None:
            # Directories come and go: each change on its way may be one that is not watched yet, or not any more.
            under_way = sum((report.sync(sync.source) or {"delays": 0})["delays"] for sync in syncs)
            if watching + under_way >= counted:
                return []
        return ["%s directories are watched, but %d exist" % (watching, counted)]


class Periodic:
    """Live sync by a timer: nothing watches, so the last runs of the guards speak instead of a daemon.

    start: called with a sync to run its job now, or None to wait for the timer.
    """

    def __init__(self, start=None):
        self.start = start
        self.marked = 0.0
        self.started = {}

    def mark(self):
        self.marked = time.time()
        self.started = {}

    def alive(self):
        return True

    def log_reasons(self):
        return []

    def trigger(self, sync):
        """Start the job of a sync now and then: one that runs already has begun before the canary was written."""
        if self.start and time.time() - self.started.get(sync.name, 0) > 2:
            self.started[sync.name] = time.time()
            self.start(sync)

    def status_reasons(self, syncs, _after):
        """A full run meets the canary long before it is finished: the whole run must lie after the mark."""
        reasons = []
        for sync in syncs:
            last = guard.summary(sync.state_dir)["last_run"] if sync.state_dir else None
            if not last or last.get("started", 0) < self.marked:
                reasons.append("sync %s: no run since the canary was written has ended" % sync.name)
            elif last.get("rc") not in (0, 24):
                reasons.append("sync %s: its last run ended with status %s" % (sync.name, last.get("rc")))
            if reasons:
                self.trigger(sync)
        return reasons

    def watch_reasons(self, _syncs):
        return []


class Verdict:
    """converged; reasons when not; seconds that it took; latency: seconds until each canary was seen, by sync."""

    def __init__(self):
        self.reasons = []
        self.latency = {}
        self.seconds = 0.0

    @property
    def converged(self):
        return not self.reasons


def converged(daemon, syncs, timeout, poll=0.2, clean=True):
    """Wait until the four parts hold at once, or until timeout (seconds). Returns Verdict; canaries are removed.

    What cannot mend itself (lsyncd is dead, the limit of deletions was reached) ends the wait at once. clean: also
    remove the canaries from the targets, which live sync does by itself only where deletion is on.
    """
    verdict, start = Verdict(), time.time()
    deadline = start + timeout
    written = []
    try:
        while True:
            attempt = _Attempt(daemon, syncs, verdict)
            written += attempt.canaries
            attempt.run(deadline, poll)
            if verdict.converged or time.time() + poll >= deadline or not daemon.alive() or _halted(syncs):
                break
            for _sync, canary in attempt.canaries:
                remove_canary(canary)
            time.sleep(min(1.0, max(0.0, deadline - time.time())))
    finally:
        _remove(written, clean)
    verdict.seconds = round(time.time() - start, 3)
    return verdict


def _halted(syncs):
    return any(sync.state_dir and guard.summary(sync.state_dir)["halted"] for sync in syncs)


class _Attempt:
    """One try: a mark in the log, a canary a sync, then waiting for all parts."""

    def __init__(self, daemon, syncs, verdict):
        self.daemon, self.syncs, self.verdict = daemon, syncs, verdict
        daemon.mark()
        self.canaries = [(sync, write_canary(sync.source)) for sync in syncs]
        self.waiting = {sync.name: (sync, canary) for sync, canary in self.canaries}
        self.arrived = None
        self.poked, self.patience = time.time(), 0.5

    def run(self, deadline, poll):
        """Wait until everything holds, until the deadline, or until this try cannot count any more."""
        while True:
            lost = ([] if self.daemon.alive() else ["lsyncd does not run"]) + self.daemon.log_reasons()
            self.verdict.reasons = lost + self.reasons(deadline)
            if not self.verdict.reasons or lost or time.time() >= deadline or _halted(self.syncs):
                return
            time.sleep(poll)

    def reasons(self, deadline):
        """What is missing now; the dear parts are looked at only when the others hold."""
        reasons = _target_reasons(self.waiting, self.verdict, deadline)
        for sync, _canary in list(self.waiting.values()):
            self.daemon.trigger(sync)
        for sync in self.syncs:
            reasons += sync.guard_reasons()
        if not self.waiting:
            self.arrived = self.arrived or time.time()
            reasons += self.daemon.status_reasons(self.syncs, self.arrived)
            if reasons:
                self.poke()
        return reasons or self.daemon.watch_reasons(self.syncs) or self.daemon.log_reasons()

    def poke(self):
        """An idle lsyncd never writes its status again (issue 461): give it an event, ever more seldom."""
        if time.time() - max(self.poked, self.arrived) < self.patience:
            return
        self.poked, self.patience = time.time(), min(self.patience * 2, 60)
        for _sync, canary in self.canaries:
            with contextlib.suppress(OSError):
                with open(os.path.join(canary.root, canary.name), "r+b") as stream:
                    stream.write(canary.content)


def _target_reasons(waiting, verdict, deadline):
    """Ask the targets for the canaries that have not been seen; takes those that have arrived off `waiting`."""
    reasons = []
    for name, (sync, canary) in sorted(waiting.items()):
        try:
            if canary_arrived(canary, sync.target, deadline - time.time()):
                verdict.latency[name] = round(time.time() - canary.written, 3)
                del waiting[name]
            else:
                reasons.append("sync %s: the canary has not arrived" % name)
        except LsyncdError as error:
            reasons.append("sync %s: %s" % (name, error))
    return reasons


def _remove(written, clean):
    for _sync, canary in written:
        remove_canary(canary)
    lost = set()  # targets that cannot be reached: their canaries stay, and every comparison leaves them out
    for sync, canary in written if clean else []:
        try:
            if sync.name not in lost and sync.target.content(canary.name, _CLEANING) is not None:
                sync.target.remove(canary.name, _CLEANING)
        except LsyncdError:
            lost.add(sync.name)
