# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what rsync prints: itemized changes, statistics, messages about paths. Names of any bytes come through whole."""

import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files

# Before each itemized line, so that no message of rsync is taken for one.
MARK = "=i="
OUT_FORMAT = MARK + "%i %n"

_ESCAPE = re.compile(r"\\#([0-7]{3})")
_STATISTIC = re.compile(r"^(Number of files|Number of created files|Number of deleted files"
                        r"|Number of regular files transferred|Total file size|Total transferred file size"
                        r"|Literal data|Total bytes sent): ([0-9,]+)")
_REGULAR = re.compile(r"^Number of files: [0-9,]+ \(reg: ([0-9,]+)")
_QUOTED = re.compile(r'"(.*)"')
# A folder on the way became a file, or a link, after the list was made: what was in it is gone. Only what the sending
# side says counts; the same words of the receiving one are about the target. Releases before 3.2 name no side.
_GONE = re.compile(r'^rsync: (?:\[sender\] )?(?:link_stat|readlink_stat|send_files failed to open)[ (]?"'
                   r".*[Nn]ot a directory \(20\)$")
_SUMMARY = re.compile(r"^rsync (error|warning): .*\(code \d+\) at ")


def unescape(text):
    r"""Undo rsync's \#ooo (a byte in octal; a backslash that would look like one is \#134). str -> str, bytes that
    are not UTF-8 as surrogate escapes. Source: rsync's log.c, filtered_fwrite()."""
    raw = _ESCAPE.sub(lambda match: chr(int(match.group(1), 8) & 255), text.encode("utf-8", "surrogateescape")
                      .decode("latin-1"))
    return files.text(raw.encode("latin-1"))


class Change:
    """One itemized line. flags: the 11 characters of rsync's %i; path: str, a directory's without its slash."""

    def __init__(self, flags, path):
        self.flags = flags
        self.path = path

    @property
    def kind(self):
        """missing (on the destination), extra (there only), content, metadata or link."""
        if self.flags.startswith("*deleting"):
            return "extra"
        if "+" in self.flags:
            return "missing"
        if self.flags[0] in "<>c" or "s" in self.flags[3:4] or "c" in self.flags[2:3]:
            return "content"
        return "link" if self.flags[0] == "h" else "metadata"

    @property
    def is_directory(self):
        return self.flags[1:2] == "d"


def parse_changes(stdout):
    """Changes of a run with --out-format=OUT_FORMAT. stdout: str. Returns a list of Change."""
    changes = []
    for line in stdout.split("\n"):
        if line.startswith(MARK):
            flags, name = line[len(MARK):len(MARK) + 11], line[len(MARK) + 12:]
            name = unescape(name)
            changes.append(Change(flags.strip(), name[:-1] if name.endswith("/") and len(name) > 1 else name))
    return changes


def parse_stats(stdout):
    """Numbers of a run with --stats. stdout: str. Returns dict of rsync's own words (and "Regular files", all that were
    looked at) -> int; absent ones are absent."""
    numbers = {}
    for line in stdout.split("\n"):
        match = _STATISTIC.match(line)
        if match:
            numbers[match.group(1)] = int(match.group(2).replace(",", ""))
            regular = _REGULAR.match(line)
            if regular:
                numbers["Regular files"] = int(regular.group(1).replace(",", ""))
    return numbers


class Complaint:
    """One line that rsync said about a path. path: str or None; reason: str; vanished: whether the source has no such
    path any more."""

    def __init__(self, path, reason, vanished):
        self.path = path
        self.reason = reason
        self.vanished = vanished


def _relative(path, root):
    root = root.rstrip("/") + "/"
    return path[len(root):] if path.startswith(root) else path


def parse_complaints(stderr, root):
    """What rsync said on stderr, without its closing summary. stderr: str. root: str, path of the source, cut from the
    front of the paths. Returns a list of Complaint."""
    complaints = []
    for line in stderr.split("\n"):
        if not line.strip() or _SUMMARY.match(line):
            continue
        match = _QUOTED.search(line)
        path = _relative(unescape(match.group(1)), root) if match else None
        gone = line.startswith("file has vanished") or _GONE.match(line.strip()) is not None
        complaints.append(Complaint(path, line.strip(), gone))
    return complaints


def status_of(rc, complaints):
    """The exit status to judge by.

    rsync ends with 23, and not with 24, when a folder on the way to what vanished became a file. complaints: list of
    Complaint, all that it said.
    """
    return 24 if rc == 23 and complaints and all(complaint.vanished for complaint in complaints) else rc
