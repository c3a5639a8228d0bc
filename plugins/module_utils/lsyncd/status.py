# SPDX-License-Identifier: GPL-3.0-or-later
"""What lsyncd tells of itself: its status file, its log, its process. Nothing here is proof of equal trees."""

import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files

DATE = re.compile(rb"^Lsyncd status report at (.+)$")
HEADER = re.compile(rb"^(\S+) source=(.*)$", re.S)
DELAYS = re.compile(rb"^There are (\d+) delays$")
ENTRY = re.compile(rb"^(active|wait|block|done) +([A-Z][A-Za-z]*) (.*)$", re.S)
WATCHING = re.compile(rb"^Inotify watching (\d+) directories$")
WATCH = re.compile(rb"^  \d+: ")


class Report:
    """One status file. complete: whether it was read whole; nothing else counts without."""

    def __init__(self):
        self.date = None
        self.syncs = []
        self.watching = None
        self.complete = False

    def sync(self, source):
        """The sync of a source directory, or None when there is none or more than one."""
        wanted = source.rstrip("/") + "/"
        found = [sync for sync in self.syncs if sync["source"] == wanted]
        return found[0] if len(found) == 1 else None


def parse(content):
    """Read a status file (bytes). lsyncd writes it in place, so that readers see halves of it. Returns Report.

    A name with a newline can look like any line of the file. Whatever does not add up makes the report incomplete: a
    file name can delay a verdict, but never make one.
    """
    report = Report()
    if not content.endswith(b"\n"):
        return report
    lines = content[:-1].split(b"\n")
    match = DATE.match(lines[0])
    if not match:
        return report
    report.date = files.text(match.group(1))
    report.watching, end = _watching(lines)
    if report.watching is None:
        return report
    whole = _syncs(lines[1:end], report.syncs)
    report.complete = whole and bool(report.syncs)
    return report


def _watching(lines):
    """(number of watched directories, line number of the trailer), or (None, 0) unless exactly one trailer fits."""
    fitting = []
    rows = 0
    for number in range(len(lines) - 1, -1, -1):
        match = WATCHING.match(lines[number])
        if match and int(match.group(1)) == rows:
            fitting.append((rows, number))
        rows += bool(WATCH.match(lines[number]))
    return fitting[0] if len(fitting) == 1 else (None, 0)


def _syncs(lines, syncs):
    whole = True
    position = 0
    while position < len(lines) - 1:
        header, delays = HEADER.match(lines[position]), DELAYS.match(lines[position + 1])
        if not (header and delays):
            position += 1
            continue
        position += 2
        start = position
        while position < len(lines) and lines[position] != b"Filtering:":
            position += 1
        entries = [match for match in map(ENTRY.match, lines[start:position]) if match]
        whole = whole and position < len(lines) and len(entries) == int(delays.group(1))
        syncs.append(_sync(header, int(delays.group(1)), entries))
    return whole


def _sync(header, delays, entries):
    states = [match.group(1) for match in entries]
    return {
        "name": files.text(header.group(1)),
        "source": files.text(header.group(2)),
        "delays": delays,
        "active": states.count(b"active"),
        "waiting": states.count(b"wait"),
        "blocked": states.count(b"block"),
        "initializing": any(match.group(2) in (b"Init", b"Blanket", b"Full") for match in entries),
        "first": [match.group(0).decode("utf-8", "backslashreplace") for match in entries[:5]],
    }


LOG_LINE = re.compile(rb"^(?:[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ )?[\d:]+(?: \d{4})? ([A-Z][A-Za-z]+): (.*)$")
BAD = (
    ("overflow", re.compile(rb"OVERFLOW in event queue")),
    ("startup", re.compile(rb"--- Startup ---|recursive (startup|full) rsync|--- HUP signal|resetting")),
    ("retrying", re.compile(rb"^Retrying ")),
    ("failed", re.compile(rb"exitcode(?::| =|) \"?-?[1-9]|Failure |Critical exitcode|Unknown exitcode")),
    ("ended", re.compile(rb"Terminating|signal, fading|out of inotify watches")),
)


NO_DIRECTORY = re.compile(rb"cannot open dir \[(.*?)(\]\.)?$")


class Log:
    """lsyncd's log from a mark on. A log that was rotated since the mark is told as `rotated`."""

    def __init__(self, path):
        self.path = path
        self.inode, self.offset = self._now()

    def _now(self):
        try:
            status = os.stat(self.path)
        except OSError:
            return None, 0
        return status.st_ino, status.st_size

    def since(self, limit_bytes=64 << 20):
        """What happened since the mark. Returns dict of kind -> last line; empty when nothing bad did."""
        inode, size = self._now()
        if inode is None:
            return {"missing": "%s is not there" % self.path}
        if self.inode is not None and (inode != self.inode or size < self.offset):
            return {"rotated": "%s was rotated or emptied" % self.path}
        with open(self.path, "rb") as stream:
            stream.seek(self.offset)
            return bad_lines(stream.read(limit_bytes))


def _went_away(message):
    """Whether an error of lsyncd is only that a directory was removed before lsyncd could look into it.

    On a tree where directories come and go there is one every few seconds. A line that a newline in the name has cut
    does not tell which directory it was, and is taken for that too; other ways of failing to open one leave it there.
    """
    match = NO_DIRECTORY.match(message)
    return bool(match) and (not match.group(2) or not os.path.isdir(match.group(1)))


def bad_lines(content):
    """The last line of each kind that speaks against convergence in a part of lsyncd's log (bytes). Returns dict."""
    found = {}
    for line in content.split(b"\n"):
        match = LOG_LINE.match(line)
        if not match:
            continue
        for kind, pattern in BAD:
            if pattern.search(match.group(2)):
                found[kind] = line.decode("utf-8", "backslashreplace")
        if match.group(1) == b"Error" and not _went_away(match.group(2)):
            found.setdefault("failed", line.decode("utf-8", "backslashreplace"))
    return found


def daemon_pid(pid_file=None, config=None, proc="/proc"):
    """Process id of the running lsyncd that pid_file names, else of one with the argument `config`. None without."""
    content = (files.read(pid_file, missing=b"") if pid_file else b"").strip()
    if content.isdigit() and _is_lsyncd(proc, content.decode()):
        return int(content)
    if not config:
        return None
    for name in os.listdir(proc):
        if name.isdigit() and _is_lsyncd(proc, name) and files.data(config) in _arguments(proc, name):
            return int(name)
    return None


def _arguments(proc, pid):
    return _read_quietly("%s/%s/cmdline" % (proc, pid)).split(b"\0")


def _is_lsyncd(proc, pid):
    return _read_quietly("%s/%s/comm" % (proc, pid)).strip() == b"lsyncd"


def _read_quietly(path):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""
