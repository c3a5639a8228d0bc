#!/usr/bin/python3 -IS
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rsync guard: what lsyncd (or a timer) calls instead of rsync.

Called through a link LINK whose settings stand beside it in LINK.json; takes rsync's own arguments. It
- refuses to run while the sentinel of the source is missing: an unmounted source must never wipe the target;
- caps deletions, drops --ignore-errors (a source that cannot be read must not look like deleted files);
- reads the bandwidth limit from a file at each start;
- compares times of what changed to the nanosecond where both rsyncs can: two changes within a second are two;
- mends the patterns of lsyncd, which lose names with "]" or with a backslash beside a wildcard;
- keeps `touched`, `dirty`, `hardlinks` (NUL-separated, relative to the source), `inodes` (of what `hardlinks` named,
  for the names that stay when one goes) and `runs.jsonl`;
- answers with a status that lsyncd understands: 0 ok, 5 again, 1, 2 and 25 die.

Standard library of Python 3.6, few imports: it starts once for every batch of changes.
"""

import fcntl
import json
import os
import re
import signal
import stat
import sys
import time

# What rsync 3.5.0 with -H says, with status 2, when all links of a file vanished while it ran: no reason to die.
LINKS_VANISHED = b"Invalid packet at end of run"
OK, SYNTAX, PROTOCOL, AGAIN, PARTIAL, VANISHED, CAPPED = 0, 1, 2, 5, 23, 24, 25
EXACT_TIMES, EXACT_SINCE = b"--modify-window=-1", (3, 1, 3)
# How an rsync ends that was given an option that the other side does not know.
NOT_UNDERSTOOD = (1, 2, 4, 10, 12)
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SHORT = re.compile(rb"-[A-Za-z]+\Z")
FULL_STALL = 45  # a full run may be idle so many times longer: while the other side looks through a tree that is there
WHOLE_TREE = b"./"  # in `dirty`: it is not known which path failed
LOG_LIMIT_BYTES = 1 << 20
DEFAULTS = {
    "sentinel": None,
    "sentinel_content": None,
    "max_delete": None,
    "bwlimit_file": None,
    "password_file": None,
    "rsync": None,
    "partial_retries": 3,
    "full_retries": 1,
    "retry_interval": 30,
    "exclude": [],
    "touched_limit_bytes": 1 << 28,
    "stall_seconds": 40,
}


PATHS = ("state_dir", "sentinel", "bwlimit_file", "password_file", "rsync")


class Refused(Exception):
    """rsync must not run now. status: what lsyncd is told."""

    def __init__(self, message, status=AGAIN):
        super().__init__(message)
        self.status = status


# ---------------------------------------------------------------- settings and files


def read_bytes(path, missing=b""):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return missing


def raw(text):
    """Text of the settings as bytes. os.fsencode() is no help here: to Python 3.6 in the C locale it is ASCII."""
    return text.encode("utf-8", "surrogateescape")


def load_settings(link):
    """Settings of the sync from LINK.json. Raises Refused when they cannot be used."""
    path = link + ".json"
    try:
        settings = dict(DEFAULTS)
        settings.update(json.loads(read_bytes(path, None).decode("utf-8")))
        settings["source"] = raw(settings["source"].rstrip("/") or "/")
        for name in PATHS:
            settings[name] = raw(settings[name]) if settings[name] else None
        settings["exclude"] = [raw(pattern) for pattern in settings["exclude"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused("guard settings %s are missing or cannot be used: %s" % (path, error)) from error
    return settings


def check_sentinel(settings):
    """The sentinel is there, is a plain file and says what it should. Raises Refused."""
    path, wanted = settings["sentinel"], settings["sentinel_content"]
    if not path:
        return
    try:
        status = os.lstat(path)
        found = read_bytes(path, None) if stat.S_ISREG(status.st_mode) else None
    except OSError as error:
        what = (os.fsdecode(path), error.strerror)
        raise Refused("sentinel %s cannot be read: %s. Is the source mounted?" % what) from error
    if found is None:
        raise Refused("sentinel %s is missing or no plain file. Is the source mounted?" % os.fsdecode(path))
    if wanted is not None and found.rstrip(b"\n") != raw(wanted).rstrip(b"\n"):
        what = os.fsdecode(path)
        raise Refused("sentinel %s has other content than this migration wrote. Is another disk mounted there?" % what)


def bwlimit(settings):
    """KiB/s from the limit file, 0 without one. A file that is no number is told and ignored."""
    path = settings["bwlimit_file"]
    text = read_bytes(path).strip() if path else b""
    if text and not text.isdigit():
        sys.stderr.write("rsync-guard: %s is no number of KiB/s, no limit used\n" % os.fsdecode(path))
        return 0
    return int(text or 0)


class State:
    """Files of one sync in its state folder; every change is made under one lock and is durable."""

    def __init__(self, settings):
        self.folder = settings["state_dir"]
        self.limit = settings["touched_limit_bytes"]
        os.makedirs(self.folder, 0o700, exist_ok=True)
        self.lock = os.open(self.path(b".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def path(self, name):
        return os.path.join(self.folder, name)

    def __enter__(self):
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_error):
        fcntl.flock(self.lock, fcntl.LOCK_UN)

    def append(self, name, data):
        handle = os.open(self.path(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while data:
                data = data[os.write(handle, data):]
            os.fsync(handle)
            return os.fstat(handle).st_size
        finally:
            os.close(handle)

    def replace(self, name, data):
        temporary = self.path(name + b".new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, self.path(name))

    def add_paths(self, name, paths, always=True):
        """Append paths to a NUL-separated list; sort it uniquely when it grows beyond the limit.

        always: also past the limit. A full run may list a whole tree: it stops there and leaves `name.overflow`,
        which says that the list is not complete.
        """
        if not paths:
            return
        with self:
            if not always and os.path.exists(self.path(name + b".overflow")):
                return
            size = self.append(name, b"\0".join(paths) + b"\0")
            floor = int(read_bytes(self.path(name + b".compacted")).strip() or 0)
            if size > max(self.limit, 2 * floor):
                self.compact(name, always)

    def compact(self, name, always):
        unsorted, ordered = self.path(name), self.path(name + b".sorted")
        command = [b"sort", b"-z", b"-u", b"-S", b"32M", b"-T", self.folder, b"-o", ordered, unsorted]
        if spawn_and_wait(command) == 0:
            size = os.path.getsize(ordered)
            self.replace(name + b".compacted", b"%d\n" % size)  # first: it tells readers that offsets mean nothing now
            os.rename(ordered, unsorted)
            if size > self.limit and not always:
                self.replace(name + b".overflow", b"")

    def paths(self, name):
        return set(filter(None, read_bytes(self.path(name)).split(b"\0")))

    def change_dirty(self, removed, added):
        """Take paths off `dirty` (removed None: all of them) and put others there."""
        with self:
            before = self.paths(b"dirty")
            after = (set() if removed is None else before - set(removed)) | set(added)
            if after != before:
                self.replace(b"dirty", b"".join(path + b"\0" for path in sorted(after)))

    def log(self, name, data):
        """Append to a log that keeps at most two files of LOG_LIMIT_BYTES."""
        with self:
            if self.append(name, data) > LOG_LIMIT_BYTES:
                os.rename(self.path(name), self.path(name + b".1"))

    def count(self, name, number):
        """Set a counter file."""
        with self:
            if self.counted(name) != number:
                self.replace(name, b"%d\n" % number)

    def counted(self, name):
        text = read_bytes(self.path(name)).strip()
        return int(text) if text.isdigit() else 0


# ---------------------------------------------------------------- the lists of lsyncd


ESCAPED = re.compile(rb"\\([?*\[\]])")


class Entry:
    """One element of lsyncd's list. path: relative to the source; directory, deleted: what the element says."""

    def __init__(self, raw, patterns):
        self.deleted = patterns and raw.endswith(b"/***")
        if self.deleted:
            raw = raw[:-3]
        self.directory = raw.endswith(b"/")
        self.path = (ESCAPED.sub(rb"\1", raw) if patterns else raw).strip(b"/")

    def pattern(self):
        """The rsync include pattern that means exactly this path, anchored at the root of the transfer."""
        return include_pattern(self.path, (b"/***" if self.deleted else b"/") if self.directory else b"")


def include_pattern(path, suffix=b""):
    """path as an rsync pattern; rsync(1): a backslash escapes only in a pattern that has a wildcard."""
    if not path:
        return b"/"
    wild = b"*" in suffix or any(char in path for char in (b"*", b"?", b"["))
    if wild:
        path = re.sub(rb"([\\?*\[])", rb"\\\1", path)
    return b"/" + path + suffix


def retry_patterns(paths):
    """The list that carries the paths, directories with all that is in them, and the directories above them.

    What is in them is on it whatever they are here: at the target a file may find a folder in its place, and what is in
    that makes way only where the list does not exclude it.
    """
    patterns = []
    for path in paths:
        parent = os.path.dirname(path)
        while parent:
            patterns.append(include_pattern(parent, b"/"))
            parent = os.path.dirname(parent)
        patterns += [include_pattern(path), include_pattern(path, b"/***")]
    return [b"/"] + patterns


def is_directory(source, path):
    try:
        return stat.S_ISDIR(os.lstat(os.path.join(source, path)).st_mode)
    except OSError:
        return False


def linked(source, paths):
    """Those of paths that are regular files with more than one name, and the numbers of their inodes, as bytes."""
    found, inodes = [], []
    for path in paths:
        try:
            status = os.lstat(os.path.join(source, path))
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            found.append(path)
            inodes.append(b"%d" % status.st_ino)
    return found, inodes


# ---------------------------------------------------------------- what rsync says


OCTAL = re.compile(rb"\\#([0-3][0-7]{2})")
TEMPORARY = re.compile(rb"^\.(.+)\.[A-Za-z0-9]{6}$", re.S)
HARMLESS = (b"rsync error:", b"rsync warning:", b"file has vanished:", b"rsync: [generator] warning:", b"skipping ")


def unescape(name):
    """Undo rsync's display of names: a byte that is not printable is shown as backslash, hash, three octal digits."""
    return OCTAL.sub(lambda match: bytes([int(match.group(1), 8)]), name)


def transferred(line):
    """The path in one line of our --out-format, or None for any other line of rsync."""
    if not line.startswith(b"@@ ") or len(line) < 16:
        return None
    path = unescape(line[3:].partition(b" |")[2]).strip(b"/")
    return None if path in (b"", b".") else path


def failed_path(name, module, source, target):
    """A name in an error message as a path relative to the source, or None."""
    for root in (source, target):
        if root and name.startswith(root + b"/"):
            name = name[len(root) + 1:]
            break
    else:
        if name.startswith(b"/") and not module:
            return None
        name = name.strip(b"/")
    folder, base = os.path.split(name)
    match = TEMPORARY.match(base)
    if match and not os.path.lexists(os.path.join(source, name)):
        name = os.path.join(folder, match.group(1))
    return name.strip(b"/") or None


def failed_paths(stderr, source, target):
    """Paths that rsync complained of, and whether every complaint was understood. Returns (set, bool)."""
    paths, understood = set(), True
    for line in stderr.splitlines():
        if not line.strip() or line.startswith(HARMLESS):
            continue
        start, end = line.find(b'"'), line.rfind(b'"')
        names = line[start + 1:end].split(b'" -> "') if 0 <= start < end else []
        found = [failed_path(unescape(name), line[end + 1:].startswith(b" (in "), source, target) for name in names]
        if not found or None in found:
            understood = False
        paths.update(path for path in found if path)
    return paths, understood


# ---------------------------------------------------------------- running rsync


def find_rsync(settings):
    usual = [b"/usr/bin/rsync", b"/usr/local/bin/rsync", b"/bin/rsync"]
    for path in [settings["rsync"]] if settings["rsync"] else usual:
        if os.access(path, os.X_OK):
            return path
    raise Refused("rsync is not installed in the places where the guard looks. Install it, or set its path")


def compares_exactly(rsync):
    """Whether this rsync can compare times to the nanosecond; an older one would carry everything for ever."""
    readable, writable = os.pipe()
    pid = spawn([rsync, b"--version"], (None, writable, None))
    os.close(writable)
    with os.fdopen(readable, "rb") as stream:
        found = re.search(rb"version (\d+)\.(\d+)\.(\d+)", stream.read())
    os.waitpid(pid, 0)
    return found is not None and tuple(int(number) for number in found.groups()) >= EXACT_SINCE


def scratch(folder, data=b""):
    """A nameless file in folder that holds data. Returns its descriptor."""
    path = os.path.join(folder, b".scratch-%d-%d" % (os.getpid(), time.time() * 1e6))
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    while data:
        data = data[os.write(handle, data):]
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def spawn(argv, descriptors=()):
    """Start argv with descriptors as its standard input, output and error (None: ours). Returns the process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        for number, handle in enumerate(descriptors):
            if handle is not None:
                os.dup2(handle, number)
        os.execvpe(argv[0], argv, dict(os.environ, LC_ALL="C"))
    finally:
        os._exit(127)


def exit_status(status):
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def spawn_and_wait(argv):
    return exit_status(os.waitpid(spawn(argv), 0)[1])


class Watch:
    """Ends an rsync that stands still.

    Its processes have been seen to wait for each other for ever on a tree that changes (rsync 3.5.0, with hard links).
    They keep each other company by 4 bytes a minute, so that rsync's own --timeout never comes.
    """

    def __init__(self, pid, seconds):
        self.pid, self.seconds = pid, seconds
        self.done, self.since = self.work(), time.monotonic()
        signal.signal(signal.SIGALRM, self.look)
        interval = max(0.1, min(10, seconds / 4.0))
        signal.setitimer(signal.ITIMER_REAL, interval, interval)

    def work(self):
        """What it has done so far: (bytes read and written, ticks of processor time, as reading a folder takes)."""
        fields = read_bytes("/proc/%d/io" % self.pid).split()
        moved = sum(int(value) for name, value in zip(fields[::2], fields[1::2]) if name in (b"rchar:", b"wchar:"))
        ticks = read_bytes("/proc/%d/stat" % self.pid).rpartition(b")")[2].split()[11:13]
        return moved, sum(int(number) for number in ticks)

    def look(self, _number, _frame):
        done = self.work()
        if done[0] - self.done[0] > 1024 or done[1] - self.done[1] > 2:
            self.done, self.since = done, time.monotonic()
        elif time.monotonic() - self.since > self.seconds:
            sys.stderr.write("rsync-guard: rsync stood still for %d s and is ended, to be tried again\n" % self.seconds)
            sys.stderr.flush()
            os.kill(self.pid, signal.SIGTERM)
            self.since = time.monotonic()

    def end(self):
        signal.setitimer(signal.ITIMER_REAL, 0)


class Run:
    """One call of rsync: its exit status, what it wrote to standard error, the paths that it names as done."""

    def __init__(self, argv, stdin, state_dir, stall_seconds):
        self.argv, self.stdin, self.state_dir, self.stall_seconds = argv, stdin, state_dir, stall_seconds
        self.rc, self.stderr = None, b""

    def execute(self, on_paths=None):
        """Run to the end. on_paths: called with lists of paths from rsync's own log while it runs."""
        stdin, stderr = scratch(self.state_dir, self.stdin), scratch(self.state_dir)
        readable, writable = os.pipe() if on_paths else (None, None)
        # Whoever is told to end before rsync is known would leave it behind.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        pid = spawn(self.argv, (stdin, writable, stderr))
        for number in ENDING:
            signal.signal(number, lambda _number, _frame: os.kill(pid, signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        watch = Watch(pid, self.stall_seconds)
        if on_paths:
            os.close(writable)
            read_paths(readable, on_paths)
        self.rc = exit_status(os.waitpid(pid, 0)[1])
        watch.end()
        os.lseek(stderr, 0, os.SEEK_SET)
        self.stderr = os.read(stderr, LOG_LIMIT_BYTES)
        os.close(stderr)
        os.close(stdin)
        return self


def read_paths(readable, on_paths):
    """Hand the paths in rsync's log on, at least every few seconds, without ever holding many of them."""
    paths, last = [], time.time()
    with os.fdopen(readable, "rb") as stream:
        for line in stream:
            path = transferred(line.rstrip(b"\n"))
            if path:
                paths.append(path)
            if len(paths) >= 1000 or (paths and time.time() - last > 2):
                on_paths(paths)
                paths, last = [], time.time()
    on_paths(paths)


# ---------------------------------------------------------------- the guard


class Guard:
    def __init__(self, settings, arguments):
        self.settings = settings
        self.source = settings["source"]
        self.state = State(settings)
        self.arguments = [os.fsencode(word) for word in arguments]
        self.started = time.time()
        self.files = 0

    def check(self):
        """Everything that must hold before rsync runs. Raises Refused."""
        if len(self.arguments) < 2 or (self.arguments[-2].rstrip(b"/") or b"/") != self.source:
            raise Refused("the guard was called for another source than %s" % os.fsdecode(self.source), SYNTAX)
        halted = self.state.path(b"halted")
        if os.path.exists(halted):
            raise Refused(
                "a run reached the limit of deletions. Look why so much was deleted on the source; if that is right, "
                "raise max_delete, remove %s and start again" % os.fsdecode(halted),
                CAPPED,
            )
        check_sentinel(self.settings)

    def command(self, first=(), links=True):
        """rsync's arguments as lsyncd gave them, without those that are dangerous, with ours; `first` before all.

        links: False takes -H away. A whole run with it was seen to stand still on a tree that changes, see Watch;
        `hardlinks` names the files that have several names, and the last copy joins them.
        """
        given = list(first) + [word for word in self.arguments[:-2] if word != b"--ignore-errors"]
        if not links:
            given = [word for word in given if word != b"--hard-links"]
            given = [word.replace(b"H", b"") if SHORT.match(word) else word for word in given]
        # A folder that is a file or a link now makes way for it, also where deletion is off.
        ours = [b"--force"]
        if self.settings["max_delete"] is not None and any(word.startswith(b"--del") for word in given):
            ours.append(b"--max-delete=%d" % int(self.settings["max_delete"]))
        limit = bwlimit(self.settings)
        if limit:
            ours.append(b"--bwlimit=%d" % limit)
        if self.settings["password_file"] and not any(word.startswith(b"--password-file") for word in given):
            ours.append(b"--password-file=" + self.settings["password_file"])
        return [find_rsync(self.settings)] + given + ours + self.arguments[-2:]

    def target_root(self):
        """The target as a folder of this machine, or None."""
        target = self.arguments[-1].rstrip(b"/")
        return target if target.startswith(b"/") else None

    def run(self):
        """Run rsync and keep the lists. Returns the status for lsyncd."""
        self.check()
        listed = [word for word in self.arguments if word in (b"--include-from=-", b"--files-from=-")]
        stdin = sys.stdin.buffer.read() if any(word.endswith(b"-") for word in self.arguments[:-2]) else b""
        run, status = self.run_list(stdin, listed[0]) if listed else self.run_full(stdin)
        if status == OK:
            self.look_again()
        if run.rc == CAPPED:
            self.state.log(b"halted", b"limit of deletions reached\n")
            self.say("the limit of %s deletions was reached, rsync stopped deleting" % self.settings["max_delete"])
        self.report(run, status, "list" if listed else "full")
        return status

    def look_again(self):
        """A source that was unmounted while rsync read it makes nothing of the run certain."""
        try:
            check_sentinel(self.settings)
        except Refused:
            self.state.change_dirty((), [WHOLE_TREE])
            raise

    def run_list(self, stdin, option):
        patterns = option == b"--include-from=-"
        separator = b"\0" if b"--from0" in self.arguments else b"\n"
        entries = [Entry(raw, patterns) for raw in stdin.split(separator) if raw]
        paths = [entry.path for entry in entries if entry.path]
        self.files = len(paths)
        self.state.add_paths(b"touched", paths)
        self.note_links(paths)
        if patterns:
            stdin = separator.join(entry.pattern() for entry in entries)
        run = self.carry(stdin)
        settled = {e.path for e in entries if e.path and (e.deleted or not is_directory(self.source, e.path))}
        status = self.judge(run, settled, set(paths), b"partial", self.settings["partial_retries"])
        if status == OK and patterns:
            self.retry_dirty(settled)
        return run, status

    def carry(self, stdin, first=()):
        """Run rsync for a list, with exact times where both sides can: `times` keeps what the first run has shown.

        A full run never does: to a file system that keeps whole seconds it would carry the whole tree each time.
        """
        known = read_bytes(self.state.path(b"times"))
        exact = known == b"exact\n" or (not known and compares_exactly(find_rsync(self.settings)))
        run = self.carry_once(stdin, [*first, EXACT_TIMES] if exact else first)
        if known:
            return run
        if exact and run.rc in NOT_UNDERSTOOD and LINKS_VANISHED not in run.stderr:
            exact, run = False, self.carry_once(stdin, first)
        if run.rc in (OK, PARTIAL, VANISHED):
            with self.state:
                self.state.replace(b"times", b"exact\n" if exact else b"seconds\n")
        return run

    def carry_once(self, stdin, first):
        return Run(self.command(first), stdin, self.state.folder, self.settings["stall_seconds"]).execute()

    def note_links(self, paths, always=True):
        names, inodes = linked(self.source, paths)
        self.state.add_paths(b"inodes", inodes, always)
        self.state.add_paths(b"hardlinks", names, always)

    def run_full(self, stdin):
        def on_paths(paths):
            self.files += len(paths)
            self.state.add_paths(b"touched", paths, always=False)
            self.note_links(paths, always=False)

        before = self.state.paths(b"dirty")
        command = self.command([b"--out-format=@@ %i |%n"], links=False)
        stall = self.settings["stall_seconds"] * FULL_STALL
        run = Run(command, stdin, self.state.folder, stall).execute(on_paths)
        status = self.judge(run, before, {WHOLE_TREE}, b"partial_full", self.settings["full_retries"])
        return run, status

    def judge(self, run, settled, suspects, counter, retries):
        """Update `dirty`, choose the status for lsyncd.

        settled: paths that a clean run takes off the list. suspects: paths that are dirty when rsync does not say
        which failed. A partial run is run again a few times; then lsyncd may go on with the rest, and `dirty` keeps
        what is missing until it has arrived.
        """
        if run.rc in (OK, VANISHED):
            self.state.change_dirty(settled, ())
            self.state.count(counter, 0)
            return OK
        if run.rc == PARTIAL:
            failed, understood = failed_paths(run.stderr, self.source, self.target_root())
            self.state.change_dirty(settled, failed if failed and understood else failed | suspects)
            number = self.state.counted(counter) + 1
            self.state.count(counter, number)
            return AGAIN if number <= retries else OK
        if run.rc == PROTOCOL and LINKS_VANISHED in run.stderr:
            return AGAIN
        if run.rc in (SYNTAX, PROTOCOL, CAPPED):
            return run.rc
        return AGAIN

    def retry_dirty(self, done):
        """Give what failed earlier another try, at most every retry_interval seconds."""
        last = self.state.counted(b"retried")
        paths = sorted(self.state.paths(b"dirty") - {WHOLE_TREE} - done)[:1000]
        if not paths or 0 <= time.time() - last < self.settings["retry_interval"]:
            return
        self.state.count(b"retried", int(time.time()))
        stdin = b"\0".join(retry_patterns(paths))
        excludes = [b"--exclude=" + pattern for pattern in self.settings["exclude"]]
        run = self.carry(stdin, excludes)
        if run.rc in (OK, VANISHED):
            self.state.change_dirty(paths, ())
        elif run.rc == PARTIAL:
            failed, understood = failed_paths(run.stderr, self.source, self.target_root())
            self.state.change_dirty(paths if understood and failed else (), failed)
        self.report(run, OK, "retry")

    def say(self, message):
        sys.stderr.write("rsync-guard: %s\n" % message)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime())
        self.state.log(b"errors.log", (stamp + message + "\n").encode("utf-8", "surrogateescape"))

    def report(self, run, status, mode, reason=""):
        if run is not None and run.stderr:
            sys.stderr.buffer.write(run.stderr)
            self.state.log(b"errors.log", run.stderr)
        record = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "started": round(self.started, 3),
            "mode": mode,
            "rc": None if run is None else run.rc,
            "mapped": status,
            "deletes": any(word.startswith(b"--del") for word in self.arguments),
            "files": self.files,
            "seconds": round(time.time() - self.started, 3),
        }
        if reason:
            record["reason"] = reason
        self.state.log(b"runs.jsonl", (json.dumps(record, sort_keys=True) + "\n").encode("utf-8"))


def main(argv):
    try:
        settings = load_settings(os.path.abspath(argv[0]))
        guard = Guard(settings, argv[1:])
    except (Refused, OSError) as error:
        sys.stderr.write("rsync-guard: %s\n" % error)
        return AGAIN
    try:
        return guard.run()
    except Refused as error:
        guard.say(str(error))
        guard.report(None, error.status, "refused", str(error))
        return error.status
    except OSError as error:
        guard.say("the guard cannot do its work: %s" % error)
        return AGAIN


if __name__ == "__main__":
    sys.exit(main(sys.argv))
