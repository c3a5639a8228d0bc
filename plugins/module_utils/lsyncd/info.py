# SPDX-License-Identifier: GPL-3.0-or-later
"""Put together what can be known of a running live sync: from the configuration, and from what the caller says."""

import json
import os

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd import (
    config,
    convergence,
    excludes,
    guard,
    limits,
    status,
)
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.errors import LsyncdError

RECENT_LOG_BYTES = 1 << 20


class Subject:
    """One lsyncd, or one set of timers: where its files are, and its syncs as plain dicts."""

    def __init__(self, params):
        self.params = params
        self.periodic = params["method"] == "periodic"
        self.config = params["config"] or config.place().config
        found = config.read_rendered(files.read(self.config, missing=b"") or b"")
        self.status_file = params["status_file"] or found["settings"].get("statusFile")
        self.log_file = params["log_file"] or found["settings"].get("logfile")
        self.pid_file = params["pid_file"] or found["settings"].get("pidfile")
        self.syncs = [self._merged(sync, found["syncs"]) for sync in params["syncs"] or found["syncs"]]
        self._check()

    def _merged(self, given, rendered):
        """A sync as the caller gave it, completed by the configuration."""
        same = [sync for sync in rendered if sync["name"] == given["name"]]
        sync = dict(same[0] if same else {})
        sync.update((name, item) for name, item in given.items() if item is not None)
        if not sync.get("target") and sync.get("targetdir"):
            sync["target"] = "%s:%s" % (sync["host"], sync["targetdir"])
        link = sync.get("binary") or guard.link(sync["name"], self.params["guard_folder"])
        content = files.read(link + ".json")
        if content is not None:
            settings = json.loads(content.decode("utf-8"))
            sync.setdefault("state_dir", settings["state_dir"])
            sync.setdefault("source", settings["source"])
        return sync

    def _check(self):
        if not self.syncs:
            raise LsyncdError("%s has no syncs of ours. Name them in syncs" % self.config)
        for sync in self.syncs:
            for name in ("source", "target"):
                if not sync.get(name):
                    raise LsyncdError("sync %s has no %s. Give it in syncs" % (sync["name"], name))
        for name in () if self.periodic else ("status_file", "log_file"):
            if not getattr(self, name):
                raise LsyncdError("%s is not known. Give it, or a config that sets it" % name)

    def target(self, sync):
        """How to look at the target of a sync."""
        where = sync.get("look_at") or sync["target"]
        if where.startswith("/"):
            return convergence.LocalTarget(where)
        return convergence.RsyncTarget(where, sync.get("password_file"), sync.get("rsh"))

    def watched(self):
        """The syncs as convergence wants them."""
        return [
            convergence.Sync(
                sync["name"],
                sync["source"],
                self.target(sync),
                sync.get("state_dir"),
                excludes.compile_all(sync.get("exclude") or []),
            )
            for sync in self.syncs
        ]

    def daemon(self):
        if self.periodic:
            units = {sync["name"]: sync.get("unit") for sync in self.syncs}
            return convergence.Periodic(lambda sync: start_unit(units[sync.name]))
        return convergence.Daemon(
            self.status_file, self.log_file, self.pid_file, self.config, self.params["allowed_delays"]
        )

    def look(self):
        """Everything that can be read without writing a canary. Returns dict."""
        result = {"syncs": [], "reasons": [], "overflow": False, "log": {}, "dirty": 0}
        report = None if self.periodic else self._look_at_daemon(result)
        for sync, watched in zip(self.syncs, self.watched()):
            entry = {"name": sync["name"], "source": watched.source, "guard": None}
            entry.update((report.sync(watched.source) if report else None) or {})
            entry["name"] = sync["name"]
            if sync.get("state_dir"):
                entry["guard"] = guard.summary(sync["state_dir"])
                result["dirty"] += entry["guard"]["dirty"]
            result["reasons"] += watched.guard_reasons()
            result["syncs"].append(entry)
        return result

    def _look_at_daemon(self, result):
        daemon = self.daemon()
        pid = status.daemon_pid(self.pid_file, self.config)
        result.update(pid=pid, alive=pid is not None, report_date=None, watching=None, directories=None)
        if pid is None:
            result["reasons"].append("lsyncd does not run")
        result["log"] = status.bad_lines(_tail(self.log_file))
        result["overflow"] = "overflow" in result["log"]
        try:
            report, written = daemon.report()
        except LsyncdError as error:
            result["reasons"].append(str(error))
            return None
        result.update(report_date=report.date, watching=report.watching, report_complete=report.complete)
        result["reasons"] += daemon.status_reasons(self.watched(), written - 1)
        if self.params["count_directories"]:
            result["directories"] = sum(limits.directories(sync.source, sync.excludes) for sync in self.watched())
            if result["directories"] != report.watching:
                result["reasons"].append(
                    "%s directories are watched, but %d exist" % (report.watching, result["directories"])
                )
        return report

    def wait(self):
        """The convergence test. Returns convergence.Verdict."""
        return convergence.converged(
            self.daemon(), self.watched(), self.params["timeout"], clean=self.params["clean_targets"]
        )


def start_unit(unit):
    """Start a job of systemd without waiting for it."""
    if unit:
        try:
            command.run(["systemctl", "start", "--no-block", "--", unit], timeout=20)
        except command.CommandError as error:
            raise LsyncdError("the job %s cannot be started: %s" % (unit, error)) from error


def _tail(path):
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - RECENT_LOG_BYTES))
            return stream.read()
    except OSError:
        return b""
