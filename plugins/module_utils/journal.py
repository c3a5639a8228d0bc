# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a migration: an append-only record on the controller, a lock for its runs, and what it says by now.

One event a line, as JSON: at (UTC, milliseconds), migration, stage, step, host, event, data. A line counts once it
ends with a newline and has reached the disk; the rest of a line whose writer was killed is cut at the next write and
is never read.
"""

import calendar
import contextlib
import errno
import fcntl
import json
import os
import re
import time

EVENTS = (
    "started",
    "done",
    "skipped",
    "failed",
    "undone",
    "committed",
    "window_opened",
    "window_closed",
    "measured",
    "gate",
    "fault",
    "lock",
    "note",
)
SIDES = ("source", "target")
# What ends a step that was started.
ENDS = ("done", "skipped", "failed", "undone", "committed")
MASK = "********"
ID = re.compile(r"\A[A-Za-z0-9_-][A-Za-z0-9_.-]*\Z")

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_SECRET_WORD = re.compile(r"\A(pass|passwd|passwords?|passphrase|pwd|secrets?|tokens?|credentials?)\Z")
# A key that opens nothing.
_HARMLESS_KEY = re.compile(r"\A(primary|foreign|public|sort|unique|index|partition|without|missing)\Z")
_URL_PASSWORD = re.compile(r"(\w+://[^/\s:@]*):[^/\s@]+@")


class JournalError(Exception):
    """The journal or its lock cannot be used, or somebody else holds the lock."""


def now():
    """The time as ISO 8601 in UTC with milliseconds, as str."""
    moment = time.time()
    return "%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)), int(moment * 1000) % 1000)


def seconds_between(earlier, later):
    """Seconds from one time of the journal to another, as float."""

    def _epoch(text):
        whole, _dot, rest = text.rstrip("Z").partition(".")
        return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + (rest or "0"))

    return round(_epoch(later) - _epoch(earlier), 3)


# --- secrets -----------------------------------------------------------------------------------------------------


def is_secret(name):
    """Whether a key of this name holds a secret. name: str."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in ("file", "path"):
        return False
    if any(_SECRET_WORD.match(word) for word in words):
        return True
    return words[-1] in ("key", "keys") and not any(_HARMLESS_KEY.match(word) for word in words)


def masked(value, secrets=()):
    """A copy of value that JSON takes and that holds no secret.

    What stands under a key that looks like a secret becomes MASK (booleans and null stay: they say whether there is
    one), so does every occurrence of one of `secrets` (list of str) and a password within an URL.
    """
    if isinstance(value, dict):
        return {str(key): _masked_item(str(key), item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [masked(item, secrets) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, MASK)
    return _URL_PASSWORD.sub(r"\1:%s@" % MASK, text)


def _masked_item(key, item, secrets):
    if is_secret(key) and item is not None and not isinstance(item, bool):
        return MASK
    return masked(item, secrets)


# --- files -------------------------------------------------------------------------------------------------------


def check_id(what, value):
    """Raises JournalError when value cannot be part of a file's name. what: the option that it came from."""
    if not ID.match(value or ""):
        raise JournalError(
            "%s is %r: only letters, digits, '_', '-' and '.' are allowed, and no '.' at its start" % (what, value)
        )


def make_folder(path):
    """Make the folder path (0700) and what is missing above it. Raises JournalError."""
    if not os.path.isabs(path):
        raise JournalError("state_dir is %r. Give an absolute path on the controller" % path)
    try:
        _make_folder(path)
    except OSError as error:
        raise JournalError(
            "Failed to make the folder %s: %s. Choose another state_dir" % (path, error.strerror)
        ) from error


def _make_folder(path):
    if os.path.isdir(path):
        return
    _make_folder(os.path.dirname(path))
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        if error.errno != errno.EEXIST or not os.path.isdir(path):  # another worker was faster
            raise
    _sync_folder(os.path.dirname(path))


def _sync_folder(path):
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(path):
    """Open path for reading and writing (0600, made when missing) and keep every other process out meanwhile."""
    new = not os.path.exists(path)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if new:
            _sync_folder(os.path.dirname(path))
        yield handle
    finally:
        os.close(handle)


def _write_all(handle, content, offset):
    while content:
        written = os.pwrite(handle, content, offset)
        content = content[written:]
        offset += written


def _event(line):
    """The event in a line (bytes), or None when there is none."""
    try:
        event = json.loads(line.decode("utf-8", "surrogateescape"))
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event and "at" in event else None


def _end_of_whole_lines(handle):
    """(size of the part that ends with a newline, what follows it), of an open file."""
    size = os.fstat(handle).st_size
    rest = b""
    position = size
    while position > 0:
        step = min(65536, position)
        position -= step
        block = os.pread(handle, step, position)
        found = block.rfind(b"\n")
        if found >= 0:
            return position + found + 1, block[found + 1 :] + rest
        rest = block + rest
    return 0, rest


# --- the journal -------------------------------------------------------------------------------------------------


class Journal:
    """The events of one migration. path: the file; folders are made at the first write."""

    def __init__(self, path, migration=None):
        self.path = path
        self.migration = migration or os.path.splitext(os.path.basename(path))[0]

    @classmethod
    def of(cls, state_dir, migration):
        """The journal of a migration under state_dir. Raises JournalError for a name that cannot be a file's."""
        check_id("migration", migration)
        return cls(os.path.join(state_dir, migration + ".jsonl"), migration)

    def append(self, event, data=None, secrets=(), **where):
        """Write one event and wait until it is on the disk.

        event: one of EVENTS. data: dict, see masked(). secrets: list of str. where: stage, step and host, each str or
        None. Returns the event as dict. Raises JournalError.
        """
        if event not in EVENTS:
            raise JournalError("event is %r. Give one of %s" % (event, ", ".join(EVENTS)))
        make_folder(os.path.dirname(self.path))
        try:
            with _locked(self.path) as handle:
                end, rest = _end_of_whole_lines(handle)
                record = {
                    "at": now(),
                    "migration": self.migration,
                    "stage": where.get("stage"),
                    "step": where.get("step"),
                    "host": where.get("host"),
                    "event": event,
                    "data": masked(data or {}, secrets),
                }
                line = json.dumps(record, sort_keys=False).encode("ascii") + b"\n"
                if rest:
                    # Its writer was killed. A whole event lacks its newline only; a part of one never counted.
                    if _event(rest):
                        line = rest + b"\n" + line
                    os.ftruncate(handle, end)
                _write_all(handle, line, end)
                os.fsync(handle)
        except OSError as error:
            raise JournalError(
                "Failed to write the journal %s: %s. Nothing goes on without it" % (self.path, error.strerror)
            ) from error
        return record

    def read(self):
        """Yield the events as dicts, the oldest first. Lines that are no event are passed over. Raises JournalError."""
        try:
            with open(self.path, "rb") as stream:
                for line in stream:
                    event = _event(line) if line.endswith(b"\n") else None
                    if event:
                        yield event
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise JournalError("Failed to read the journal %s: %s" % (self.path, error.strerror)) from error

    def last(self, **wanted):
        """The newest event whose keys have these values, for example event="committed", or None."""
        found = None
        for event in self.read():
            if all(event.get(key) == value for key, value in wanted.items()):
                found = event
        return found

    def state(self):
        """What the journal says by now, see summary()."""
        return summary(self.read())

    def tail(self, count):
        """The newest `count` events, the oldest first, as list."""
        events = []
        for event in self.read():
            events.append(event)
            if len(events) > 2 * count:
                del events[:-count]
        return events[-count:] if count else []


def refuse_other_kind(record, stage):
    """Keep files and databases in journals of their own: who takes the writes, and whether a compare was clean, would
    else be taken from the other migration. record: Journal. stage: name, or None. Raises JournalError.
    """
    kinds = {name.partition("_")[0]: name for name in record.state()["stages"] if name}
    mine = (stage or "").partition("_")[0]
    other = kinds.get({"storage": "mysql", "mysql": "storage"}.get(mine))
    if other:
        raise JournalError(
            "Failed to begin %s: %s has stages of another kind of migration (%s). Give the one of the files and the "
            "one of the databases a migration_name each. Nothing was changed" % (stage, record.path, other)
        )


def side_of(event):
    """The side that takes the writes after an event "committed": what its data say, else source for a way back."""
    side = (event.get("data") or {}).get("side")
    if side in SIDES:
        return side
    return "source" if "rollback" in (event.get("stage") or "") else "target"


def summary(events):
    """Fold events (iterable of dicts, the oldest first) into what a playbook needs in order to go on.

    Returns a dict: stages (name -> state, started, ended, seconds, steps), side ("source" or "target": who takes the
    writes), committed (bool: that is the target), open (steps that were started and not ended, oldest first), window
    (the last one: state, opened, closed, seconds, stage), windows (their number), gates (name -> last state), measured
    (step, or stage without step -> at and data of the last measurement that speaks of no single host), events.
    """
    result = {
        "stages": {},
        "side": "source",
        "committed": False,
        "open": [],
        "window": {"state": "none", "opened": None, "closed": None, "seconds": None, "stage": None},
        "windows": 0,
        "gates": {},
        "measured": {},
        "events": 0,
    }
    opened = {}
    for event in events:
        result["events"] += 1
        kind = event["event"]
        if kind == "gate":
            data = event.get("data") or {}
            result["gates"][data.get("name")] = {"state": data.get("state"), "at": event["at"]}
        elif kind == "measured" and event.get("host") is None:
            result["measured"][event.get("step") or event.get("stage")] = {"at": event["at"], "data": event.get("data")}
        elif kind.startswith("window_"):
            _fold_window(result, event)
        elif kind == "started" or kind in ENDS:
            _fold_stage(result["stages"], opened, event)
            if kind == "committed":
                result["side"] = side_of(event)
            elif kind == "undone" and result["window"]["state"] == "open":
                _end_window(result["window"], "undone", event)
    result["committed"] = result["side"] == "target"
    result["open"] = sorted(opened.values(), key=lambda item: item["at"])
    return result


def _fold_window(result, event):
    if event["event"] == "window_opened":
        result["windows"] += 1
        result["window"] = {
            "state": "open",
            "opened": event["at"],
            "closed": None,
            "seconds": None,
            "stage": event.get("stage"),
        }
    elif result["window"]["state"] == "open":
        _end_window(result["window"], "closed", event)


def _end_window(window, state, event):
    window.update(state=state, closed=event["at"], seconds=seconds_between(window["opened"], event["at"]))


def _fold_stage(stages, opened, event):
    stage, step, host, kind = event.get("stage"), event.get("step"), event.get("host"), event["event"]
    name = stage or ""
    entry = stages.setdefault(name, {"state": None, "started": None, "ended": None, "seconds": None, "steps": {}})
    if step is None and host is None:
        part = entry
    else:
        part = entry["steps"].setdefault(
            step or "", {"state": None, "started": None, "ended": None, "seconds": None, "hosts": {}}
        )
        if host is not None:
            part["hosts"][host] = kind
        entry["state"] = entry["state"] or "started"
    if kind == "started":
        part.update(state="started", started=event["at"], ended=None, seconds=None)
        opened[(stage, step, host)] = {"stage": stage, "step": step, "host": host, "at": event["at"]}
        return
    if kind == "committed" and step is None:
        entry["committed"] = event["at"]  # the stage goes on after it: clients are still to be switched
        return
    opened.pop((stage, step, host), None)
    if step is None and host is None:
        for key in [key for key in opened if key[0] == stage]:
            del opened[key]
    part.update(state=kind, ended=event["at"])
    if part["started"]:
        part["seconds"] = seconds_between(part["started"], event["at"])


# --- the lock ----------------------------------------------------------------------------------------------------


def _boot_id():
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        return None


def process_start(pid):
    """When the process was started, in clock ticks since the boot, or None when there is none. A zombie is none."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])  # fields 3 and 22 of proc(5)


def owner_of(pid, **more):
    """What the lock says of the run whose main process is pid. more: playbook, user. Returns dict."""
    owner = {"pid": pid, "started": process_start(pid), "boot": _boot_id(), "host": os.uname().nodename, "since": now()}
    owner.update(more)
    return owner


def same_run(one, other):
    """Whether two owners are the same run."""
    return all(one.get(key) == other.get(key) for key in ("pid", "started", "boot", "host"))


def is_alive(owner):
    """Whether the run that this owner names still lives. One on another machine cannot be asked: it counts as alive."""
    if owner.get("host") != os.uname().nodename:
        return True
    if owner.get("boot") != _boot_id():
        return False
    return owner.get("started") is not None and process_start(owner["pid"]) == owner["started"]


class Lock:
    """Keeps a second run of a migration out. path: a file that stays; who holds it stands in it.

    taken: whether acquire() took it, and did not find that another worker of the same run has it by now.
    """

    def __init__(self, path):
        self.path = path
        self.taken = False

    @classmethod
    def of(cls, state_dir, migration):
        """The lock of a migration under state_dir. Raises JournalError for a name that cannot be a file's."""
        check_id("migration", migration)
        return cls(os.path.join(state_dir, migration + ".lock"))

    def owner(self):
        """Who holds it: dict, or None when nobody does. A dead run holds nothing. Raises JournalError."""
        try:
            with open(self.path, "rb") as stream:
                owner = self._parse(stream.read())
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise JournalError("Failed to read the lock %s: %s" % (self.path, error.strerror)) from error
        return owner if owner and is_alive(owner) else None

    @staticmethod
    def _parse(content):
        try:
            owner = json.loads(content.decode("utf-8"))
        except ValueError:
            return None  # empty: released; torn: whoever wrote it was killed before it had the lock
        return owner if isinstance(owner, dict) and isinstance(owner.get("pid"), int) else None

    def _read(self, handle):
        return self._parse(os.pread(handle, 65536, 0))

    def _store(self, handle, owner):
        os.ftruncate(handle, 0)
        if owner is not None:
            _write_all(handle, json.dumps(owner).encode("ascii") + b"\n", 0)
        os.fsync(handle)

    def acquire(self, owner):
        """Take the lock for owner, see owner_of().

        Returns None, or the dead owner from whom it was taken over. Taking it again for the same run is fine.
        Raises JournalError naming who holds it.
        """
        make_folder(os.path.dirname(self.path))
        try:
            with _locked(self.path) as handle:
                holder = self._read(handle)
                if holder and same_run(holder, owner):
                    return None
                if holder and is_alive(holder):
                    raise JournalError(self.refusal(holder))
                self._store(handle, owner)
                self.taken = True
                return holder
        except OSError as error:
            raise JournalError("Failed to take the lock %s: %s" % (self.path, error.strerror)) from error

    def release(self, owner):
        """Give the lock back. Returns whether owner held it; one that another run holds stays. Raises JournalError."""
        if not os.path.exists(self.path):
            return False
        try:
            with _locked(self.path) as handle:
                holder = self._read(handle)
                if not holder or not same_run(holder, owner):
                    return False
                self._store(handle, None)
                return True
        except OSError as error:
            raise JournalError("Failed to give back the lock %s: %s" % (self.path, error.strerror)) from error

    def refusal(self, holder):
        """The sentence that tells who holds the lock and what to do."""
        who = "%s, process %s on %s, run by %s, since %s" % (
            holder.get("playbook") or "another run",
            holder.get("pid"),
            holder.get("host"),
            holder.get("user") or "unknown",
            holder.get("since"),
        )
        if holder.get("host") == os.uname().nodename:
            advice = (
                "Wait until it has ended; if it hangs, end that process and start again: its lock is then taken over"
            )
        else:
            advice = (
                "Wait until it has ended. Whether it lives cannot be seen from %s; when you are sure that it is dead, "
                "remove %s and start again" % (os.uname().nodename, self.path)
            )
        return "Another run holds this migration: %s. %s" % (who, advice)
