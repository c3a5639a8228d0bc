# SPDX-License-Identifier: GPL-3.0-or-later
"""What all kinds of batch jobs share: the selection, the memory of what was paused, and changes as values."""

import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files, ledger

LEDGER = "/var/lib/seamless-migration/batch_jobs.json"


class JobError(Exception):
    """A batch job could not be found, paused, resumed, installed or removed."""


class Selection:
    """Which jobs are meant.

    kind: cron, cron.d, periodic or timer. name: file, script or unit. user: str or None. match: text or regular
    expression (regexp: bool) that is looked for in the command. period: hourly, daily, weekly, monthly or None.
    """

    def __init__(self, kind, *, name=None, user=None, match=None, regexp=False, period=None):
        self.kind = kind
        self.name = name
        self.user = user
        self.match = match
        self.period = period
        try:
            self._pattern = re.compile(match if regexp else re.escape(match)) if match else None
        except re.error as error:
            raise JobError(
                "Failed to use option match: %r is no regular expression: %s. Mend it, or leave regexp out."
                % (match, error)
            ) from error

    def takes(self, text):
        """Whether a job with this command is meant."""
        return self._pattern is None or bool(self._pattern.search(text))

    def __str__(self):
        parts = [(key, getattr(self, key)) for key in ("name", "user", "period", "match")]
        return "%s job with %s" % (self.kind, ", ".join("%s %r" % pair for pair in parts if pair[1]) or "any name")


class Ledger(ledger.Ledger):
    """The memory of what was paused and installed. entries: list of dicts with `what` (paused, made) and `kind`."""

    says = "which jobs were paused"
    otherwise = "move it away and resume by hand what is marked in the crontabs"
    error = JobError


class Host:
    """Where the jobs are: programs, paths below root (for tests), and the process list."""

    def __init__(self, run=None, which=None, root=""):
        self.run = run or command.run
        self.which = which or command.which
        self.root = root

    def path(self, name):
        return self.root + name

    def exists(self, name):
        return os.path.lexists(self.path(name))

    def is_debian(self):
        return self.exists("/etc/debian_version")


class Plan:
    """What will be done. jobs: list of dicts for the result; definition: list of dicts; warnings: list of str."""

    def __init__(self):
        self.jobs = []
        self.definition = []
        self.warnings = []
        self.edits = {}  # path -> (bytes or None before, bytes or None after, mode or None)
        self.renames = []  # (from, to)
        self.first = []  # (argv, stdin), run before edits and renames
        self.commands = []  # (argv, stdin), run after them
        self.remember = []
        self.forget = []
        self.shown = []  # (header, before, after) of what is no file

    @property
    def differs(self):
        return bool(self.edits or self.renames or self.first or self.commands)

    def edit(self, path, before, after, mode=None):
        if before != after:
            self.edits[path] = (before, after, mode)

    def entries(self, known, finished):
        """The ledger's entries with what is remembered, and without what is forgotten once that is finished."""
        entries = known.entries + [entry for entry in self.remember if entry not in known.entries]
        return [entry for entry in entries if entry not in self.forget] if finished else entries

    def apply(self, host, known):
        """Remember, write, forget: a run that is killed in between has not lost what it paused."""
        known.write(self.entries(known, finished=False))
        for argv, stdin in self.first:
            host.run(argv, stdin=stdin, timeout=120)
        for path, (_unused, after, mode) in sorted(self.edits.items()):
            if after is None:
                files.remove(path)
                continue
            if not os.path.isdir(os.path.dirname(path)):
                os.makedirs(os.path.dirname(path), 0o755)
            files.write(path, after, mode=mode)
        for old, new in self.renames:
            os.rename(old, new)
            files.fsync_directory(os.path.dirname(new))
        for argv, stdin in self.commands:
            host.run(argv, stdin=stdin, timeout=120)
        known.write(self.entries(known, finished=True))

    def diff(self):
        diffs = []
        for path, (before, after, _unused) in sorted(self.edits.items()):
            diffs.append(_pair(path if before is not None else "/dev/null", path if after is not None else "/dev/null",
                               files.text(before or b""), files.text(after or b"")))
        diffs += [_pair(old, new, old + "\n", new + "\n") for old, new in self.renames]
        diffs += [_pair(header, header, before, after) for header, before, after in self.shown]
        return diffs


def _pair(before_header, after_header, before, after):
    return {"before_header": before_header, "after_header": after_header, "before": before, "after": after}
