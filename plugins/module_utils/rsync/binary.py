# SPDX-License-Identifier: GPL-3.0-or-later
"""The rsync program on this host: where it is, how old it is, and the options that every one of our runs shares."""

import os
import re
import tempfile

from ansible_collections.seamless.migration.plugins.module_utils.host import command

# Version in which each option came (rsync's NEWS).
SINCE = {
    "modify_window_ns": (3, 1, 3),    # --modify-window=-1 compares nanoseconds
    "delete_missing_args": (3, 1, 0),
    "open_noatime": (3, 2, 3),
}
# Versions in which an option is there but wrong.
BROKEN = {
    "delete_missing_args": ((3, 4, 3),),   # RsyncProject/rsync#910, mended in 3.4.4
}
# How an rsync ends that was given an option that the other side does not know: a daemon before 3.1.3 closes the
# connection, and over SSH it is a syntax error or a protocol that ends early.
NOT_UNDERSTOOD = (1, 2, 4, 10, 12)
# What suited() was told: a window has no time to ask again.
_SUITED = {}  # type: dict
# Files of the migration itself, in the root of a tree: never copied, never deleted.
OURS = "/.seamless-*"


class RsyncError(Exception):
    """A copy cannot be done, or was not done whole. result: what was done so far, or None. verdict: Verdict or None."""

    def __init__(self, message, result=None, verdict=None):
        super().__init__(message)
        self.result = result
        self.verdict = verdict


class Rsync:
    """An rsync program. path: str; version: tuple of int; lacking: features that the other side does not have."""

    def __init__(self, path, version, lacking=()):
        self.path = path
        self.version = version
        self.lacking = frozenset(lacking)

    def can(self, feature):
        """Whether this version has the feature of the table SINCE, unbroken, and the other side takes it."""
        return (self.version >= SINCE[feature] and self.version not in BROKEN.get(feature, ())
                and feature not in self.lacking)


def find(path=None):
    """The rsync at path, else the one in PATH. Returns Rsync. Raises RsyncError when there is none or it is too old."""
    path = path or command.which("rsync")
    if path is None:
        raise RsyncError("Failed to find rsync: it is not installed. Install the package rsync.")
    try:
        result = command.run([path, "--version"], timeout=20)
    except command.CommandError as error:
        raise RsyncError("Failed to run rsync: %s." % error) from error
    match = re.search(r"version v?(\d+)\.(\d+)\.(\d+)", result.stdout)
    if not match:
        raise RsyncError("Failed to read the version of %s: %r." % (path, result.stdout[:80]))
    version = tuple(int(number) for number in match.groups())
    if version < (3, 1, 0):
        raise RsyncError("Failed to use %s: it is %d.%d.%d. Install 3.1.0 or newer." % ((path,) + version))
    return Rsync(path, version)


class Options:
    """What is kept and how the other side is reached; the same for every rsync of one copy.

    hard_links, xattrs, acls, sparse, whole_file, checksum: bool. exclude: rsync patterns. password_file: str, for a
    daemon. rsh: str as for rsync -e. bwlimit_kib_per_s: int, 0 is none. io_timeout: seconds of silence after which
    rsync gives up.
    """

    def __init__(self, *, hard_links=True, xattrs=True, acls=True, sparse=False, whole_file=True, checksum=False,
                 exclude=(), password_file=None, rsh=None, bwlimit_kib_per_s=0, io_timeout=60):
        self.hard_links = hard_links
        self.xattrs = xattrs
        self.acls = acls
        self.sparse = sparse
        self.whole_file = whole_file
        self.checksum = checksum
        self.exclude = tuple(exclude)
        self.password_file = password_file
        self.rsh = rsh
        self.bwlimit_kib_per_s = bwlimit_kib_per_s
        self.io_timeout = io_timeout


def is_daemon(dest):
    """Whether dest is a module of an rsync daemon (rsync://host/module/path or host::module/path)."""
    return dest.startswith("rsync://") or "::" in dest.split("/", 1)[0]


def is_local(dest):
    """Whether dest is a path on this host."""
    return dest.startswith("/")


def arguments(rsync, options, dest):
    """Options that every run shares: attributes, numeric ids, nanoseconds, secrets by file. Returns a list of str."""
    flags = "-lptgoD"
    for wanted, letter in ((options.hard_links, "H"), (options.acls, "A"), (options.xattrs, "X"), (options.sparse, "S"),
                           (options.whole_file, "W"), (options.checksum, "c")):
        flags += letter if wanted else ""
    words = [flags, "--numeric-ids", "--no-human-readable", "--timeout=%d" % options.io_timeout]
    if rsync.can("modify_window_ns"):
        words.append("--modify-window=-1")
    if options.bwlimit_kib_per_s:
        words.append("--bwlimit=%d" % options.bwlimit_kib_per_s)
    if is_daemon(dest):
        words.append("--contimeout=%d" % min(30, options.io_timeout))
        if options.password_file:
            words.append("--password-file=%s" % options.password_file)
    elif not is_local(dest) and options.rsh:
        words += ["-e", options.rsh]
    words.extend("--exclude=%s" % pattern for pattern in options.exclude)
    return words


def with_slash(path):
    """path with exactly one slash at its end: the contents, not the directory."""
    return path.rstrip("/") + "/"


def check_text(name, value):
    """Refuse control characters in the option `name`. Raises RsyncError naming option and value."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise RsyncError("Failed to use the option %s: %r has a newline or another control character. Remove it."
                         % (name, value))


def read_sentinel(src, sentinel):
    """Look whether src is what it should be before anything is deleted on the other side.

    src: path of the tree. sentinel: name of a file in it, or None for none. Raises RsyncError when src is missing, not
    a directory, empty, or without the sentinel: an unmounted source looks like an empty one.
    """
    try:
        with os.scandir(src) as entries:
            empty = next(entries, None) is None
    except OSError as error:
        raise RsyncError("Failed to copy %s: %s. Mount or correct the source; nothing was changed on the target."
                         % (src, error.strerror)) from error
    if empty:
        raise RsyncError("Failed to copy %s: it is empty, perhaps not mounted. Mount it; nothing was changed on the"
                         " target." % src)
    if sentinel and not os.path.isfile(os.path.join(src, sentinel)):
        raise RsyncError("Failed to copy %s: its sentinel %s is missing, so this may not be the tree that is meant (not"
                         " mounted?). Mount it, or write the sentinel; nothing was changed on the target."
                         % (src, sentinel))


def suited(rsync, dest, options):
    """rsync with what the one behind dest can do as well, which may be older. options: Options.

    It is asked once in the life of this process, with nothing to send, dry. What cannot be asked is told by the run
    itself. Returns Rsync.
    """
    if not dest or is_local(dest) or not rsync.can("modify_window_ns"):
        return rsync
    if (rsync.path, dest) not in _SUITED:
        found = _suited(rsync, dest, options)
        if found is None:
            return rsync
        _SUITED[rsync.path, dest] = found
    return _SUITED[rsync.path, dest]


def _suited(rsync, dest, options):
    """The same, or None where nothing answers."""
    status = _asked(rsync, dest, options)
    if status == 0:
        return rsync
    older = Rsync(rsync.path, rsync.version, ["modify_window_ns"])
    return older if status in NOT_UNDERSTOOD and _asked(older, dest, options) == 0 else None


def _asked(rsync, dest, options):
    """Exit status of an rsync that sends an empty directory to dest, dry; None where it gave no answer in time."""
    with tempfile.TemporaryDirectory(prefix="seamless-ask-") as empty:
        argv = [rsync.path] + arguments(rsync, options, dest) + ["--dry-run", "--dirs", "--"]
        try:
            return command.run(argv + [with_slash(empty), with_slash(dest)], timeout=options.io_timeout, ok=None).rc
        except command.CommandError:
            return None
