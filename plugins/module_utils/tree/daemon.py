# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask an rsync daemon about paths of its tree, without changing anything there: dry runs with lists.

A run with the list of what the source has says what would be sent, a run the other way says which of the rest exists.
Both read the list only; neither scans.
"""

import os
import re

from ..host.command import CommandError, run
from ..rsync import binary
from ..rsync.output import parse_complaints, status_of
from .errors import TreeError

_URL = re.compile(r"\Arsync://([^/@\s]+@)?(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]+)(:\d+)?/[^/\s]+(/.*)?\Z")
_ESCAPED = re.compile(rb"\\#([0-3][0-7][0-7])")
# The position of each letter in an itemized line, see rsync(1), --itemize-changes.
_ATTRIBUTES = {
    "c": "content",
    "s": "size",
    "t": "mtime",
    "T": "mtime",
    "p": "mode",
    "o": "owner",
    "g": "group",
    "a": "acl",
    "x": "xattr",
}
_TYPES = {b"f": b"f", b"d": b"d", b"L": b"l"}
_PARTIAL, _VANISHED = 23, 24
# Seconds for a connection, and for silence: rsync is silent while it reads a large file for --checksum.
_CONNECT_TIMEOUT, _SILENCE = 15, 600


def check_url(url):
    """Raise TreeError unless url is one of an rsync daemon."""
    if not _URL.match(url):
        raise TreeError("%r is no URL of an rsync daemon. Give rsync://[user@]host[:port]/module/[path/]" % url)


def unescaped(name):
    r"""A name (bytes) as rsync prints it, with \#ooo for what cannot be printed, as it is."""
    return _ESCAPED.sub(lambda found: bytes([int(found.group(1), 8)]), name)


def itemized(output):
    """Parse the output of --out-format='%i %n' (bytes).

    Returns dict: path (bytes, without "/" at its end) -> (type as in Entry, list of attributes); the attribute is
    "missing" for what the receiver has not.
    """
    found = {}
    for line in output.split(b"\n"):
        flags, blank, name = line[:11], line[11:12], line[12:]
        if blank != b" " or flags[:1] not in (b"<", b">", b"c", b"h", b".") or flags[1:2] not in b"fdLDS":
            continue
        found[unescaped(name).rstrip(b"/") or b"."] = (
            _TYPES.get(flags[1:2], b"?"),
            _attributes(flags.decode("ascii", "replace")),
        )
    return found


def _attributes(flags):
    if "+" in flags:
        return ["missing"]
    attributes = [_ATTRIBUTES[letter] for letter in flags[2:] if letter in _ATTRIBUTES]
    if flags[0] == "h":
        attributes.append("hard_links")
    if flags[0] == "c" and flags[1] == "L":
        attributes.append("link")
    return attributes


def _cause(error):
    """What rsync said went wrong, without the line that only gives its status where there are others."""
    lines = error.result.stderr.strip().splitlines() if error.result else []
    told = [line for line in lines if not line.startswith("rsync error:")] or lines
    return "; ".join(told[:3]) or str(error)


class Daemon:
    """The tree behind url.

    password_file: path for --password-file, or None. folder: for lists and answers. extended: which of "acl" and
    "xattr" to ask about. timeout: seconds for one question.
    """

    def __init__(self, url, password_file, folder, extended=("acl", "xattr"), *, timeout=3600):
        check_url(url)
        self._url = url if url.endswith("/") else url + "/"
        self._options = ["--password-file=%s" % password_file] if password_file else []
        self._options += ["--contimeout=%d" % _CONNECT_TIMEOUT, "--timeout=%d" % min(_SILENCE, timeout)]
        self._folder = folder
        self._timeout = timeout
        self._asked = ["-nlptgoDH", "--numeric-ids", "-8", "--from0", "--out-format=%i %n"]
        self._asked += (["-A"] if "acl" in extended else []) + (["-X"] if "xattr" in extended else [])
        self._password_file = password_file
        self._rsync = None

    def _run(self, argv, ok=(0,)):
        try:
            return run(["rsync"] + argv, timeout=self._timeout, ok=ok)
        except CommandError as error:
            raise TreeError(self._refusal(error)) from error

    def _refusal(self, error):
        return "%s cannot be asked: %s. rsyncd_info tells what is wrong with a daemon" % (self._url, _cause(error))

    def _ask(self, argv, root):
        """Ask about a list of paths, of which some may be gone on the sending side. root: str, the path of its tree.

        Returns what was answered, bytes. Raises TreeError.
        """
        answer = self._run(argv, ok=(0, _PARTIAL, _VANISHED))
        if status_of(answer.rc, parse_complaints(answer.stderr, root)) == _PARTIAL:
            raise TreeError(self._refusal(CommandError(answer.cause(), answer)))
        return answer.stdout.encode("utf-8", "surrogateescape")

    @property
    def exact_times(self):
        """Whether times can be compared to the nanosecond: this rsync can, and the one behind the daemon."""
        if self._rsync is None:
            plain = binary.Options(hard_links=False, acls=False, xattrs=False, password_file=self._password_file,
                                   io_timeout=min(_SILENCE, self._timeout))
            try:
                self._rsync = binary.suited(binary.find(), self._url, plain)
            except binary.RsyncError as error:
                raise TreeError(str(error)) from error
        return self._rsync.can("modify_window_ns")

    def fetch(self, name, path):
        """Copy the file `name` (str) from the root of the tree to path. Raises TreeError."""
        self._run(["-W"] + self._options + ["--", self._url + name, path])

    def _empty(self):
        path = os.path.join(self._folder, "empty", "")
        os.makedirs(path, 0o700, exist_ok=True)
        return path

    def _listed(self, paths):
        path = os.path.join(self._folder, "ask")
        with open(path, "wb") as stream:
            stream.write(b"".join(name + b"\0" for name in paths))
        return path

    def differing(self, root, paths, exact_times=True):
        """What a transfer of these entries of root (str) would change there.

        paths: list of bytes, relative, in root; those that go meanwhile are left out. exact_times: to the nanosecond
        instead of the second, where rsync can. Content is compared. Returns dict as itemized() does, of what
        differs only.
        """
        answer = self._ask(
            self._asked
            + ["--checksum", "--ignore-missing-args", "--force"]  # or it fails where a folder has to make way
            + (["--modify-window=-1"] if exact_times and self.exact_times else [])
            + self._options
            + ["--files-from=%s" % self._listed(paths), "--", os.path.join(root, ""), self._url],
            root,
        )
        wanted = set(paths)
        found = itemized(answer)
        return {path: item for path, item in found.items() if path in wanted and item[1]}

    def existing(self, paths):
        """Those of the paths (list of bytes) that exist there, as set."""
        answer = self._ask(
            ["-nlptgoD", "--numeric-ids", "-8", "--from0", "--ignore-missing-args", "--out-format=%i %n"]
            + self._options
            + ["--files-from=%s" % self._listed(paths), "--", self._url, self._empty()],
            "/",
        )
        return set(itemized(answer)).intersection(paths)
