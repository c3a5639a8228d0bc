# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module bulk_copy does with its options: look at them, begin or reach a job, tell how it stands."""

import os
import stat

from ansible_collections.seamless.migration.plugins.module_utils.rsync import (
    binary,
    bulk,
    deal,
    delta,
    fpart,
    job,
    patterns,
)
from ansible_collections.seamless.migration.plugins.module_utils.rsync.binary import RsyncError

HOME = job.HOME
STATES = ("done", "started", "paused", "running", "stopped", "status")
_DIFF_LINES = 2000
_NOTHING = {"files": 0, "bytes": 0, "created": 0, "deleted": 0, "vanished": 0, "failures": [], "seconds": 0.0,
            "bytes_per_s": 0}
# Options that go into the spec of a job as they are.
_PLAIN = ("read_ahead", "exclude", "xattrs", "acls", "sparse", "delete", "max_delete", "sentinel", "frozen",
          "password_file", "rsh", "nice", "ionice_class", "ionice_level", "io_timeout", "retry_for",
          "partition_files", "partitioner", "rescan", "dest_free_bytes", "dest_free_inodes", "mode", "lease")
# (option, least, most)
_RANGES = (("workers", 1, 64), ("read_ahead", 0, 256), ("nice", 0, 19), ("ionice_level", 0, 7),
           ("io_timeout", 1, 86400), ("retry_for", 0, 10**7), ("partition_files", 1, 10**7), ("max_delete", -1, 10**12),
           ("bwlimit_kib_per_s", 0, 10**9), ("dest_free_bytes", 0, 10**20), ("dest_free_inodes", 0, 10**20),
           ("timeout", 1, 10**7), ("lease", 0, 10**7))


def shown(text):
    """A text that may have undecodable bytes, for JSON and screens."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _entries(failed):
    return [{"path": None if entry["path"] is None else shown(entry["path"]), "reason": shown(entry["reason"])}
            for entry in failed[:100]]


def told(error):
    """What a failure tells of what was done: of a delta, of a job, or of nothing. error: RsyncError."""
    if isinstance(error, _Failed):
        return error.answer
    return dict(_of_delta(error.result), state="failed") if isinstance(error.result, delta.DeltaResult) else {}


def _of_delta(result):
    facts = result.as_dict()
    return {"files": facts["files"], "bytes": facts["bytes"], "created": facts["created"], "deleted": facts["deleted"],
            "vanished": len(facts["vanished"]), "failures": _entries(facts["failed"] + facts["vanished"]),
            "seconds": round(facts["seconds"], 3), "rc": facts["rc"]}


def check(params):
    """Refuse what cannot be right, before anything is touched. params: dict of the module. Raises RsyncError."""
    for name in ("src", "dest", "job", "files_from", "sentinel", "password_file", "rsh", "state_dir"):
        binary.check_text(name, params[name] or "")
    for name, least, most in _RANGES:
        if params[name] is not None and not least <= params[name] <= most:
            raise RsyncError("Failed to use the option %s: %d is not within %d to %d."
                             % (name, params[name], least, most))
    for pattern in params["exclude"]:
        patterns.check(pattern)
    if params["sentinel"] and "/" in params["sentinel"]:
        raise RsyncError("Failed to use the option sentinel: %r is not a name in the root of src." % params["sentinel"])
    if params["delete"] and not params["sentinel"]:
        raise RsyncError("Failed to use the option delete: it needs the option sentinel, the name of a file in the root"
                         " of src, because an unmounted source looks like an empty one.")
    if params["src"] is not None and params["dest"] is not None:
        _check_ends(params["src"], params["dest"])
    if params["mode"] == "lists" and params["state"] in ("done", "started"):
        _check_deal(params["deal"])


def _check_deal(dealt):
    if not dealt:
        raise RsyncError("Failed to use the option mode: lists needs the option deal, as bulk_deal returns it.")
    parts = dealt["folder"].split("/")
    if len(parts) != 2 or parts[0] != deal.FOLDER or parts[1] in ("", ".", ".."):
        raise RsyncError("Failed to use the option deal: %r is no folder of lists." % dealt["folder"])
    for entry in dealt["lists"]:
        if not (isinstance(entry, list) and len(entry) == 5 and isinstance(entry[0], int) and entry[0] >= 0):
            raise RsyncError("Failed to use the option deal: %r is no list that bulk_deal dealt." % (entry,))


def _check_ends(src, dest):
    if not src.startswith("/"):
        raise RsyncError("Failed to use the option src: %r is not an absolute path." % src)
    if not dest or dest.startswith("-") or not (binary.is_local(dest) or ":" in dest):
        raise RsyncError("Failed to use the option dest: %r is no absolute path, rsync:// address or host:path." % dest)
    if dest.startswith("rsync://") and not dest[8:].partition("/")[2].strip("/"):
        raise RsyncError("Failed to use the option dest: %r names no module. Write rsync://host/module/." % dest)
    if binary.is_local(dest):
        here, there = os.path.realpath(src) + "/", os.path.realpath(dest) + "/"
        if here.startswith(there) or there.startswith(here):
            raise RsyncError("Failed to use the option dest: %s and %s lie in each other." % (src, dest))


class Task:
    """One call of the module. params: dict of the module; check_mode: change nothing."""

    def __init__(self, params, check_mode=False):
        self.params = params
        self.check_mode = check_mode
        check(params)
        self.job = None
        if params["mode"] != "delta":
            self.job = job.Job(self._name(), params["state_dir"])

    def _name(self):
        params = self.params
        if params["job"]:
            return params["job"]
        if not (params["src"] and params["dest"]):
            raise RsyncError("Failed to find the copy: give the option job, or src and dest.")
        return job.name_for(params["src"], params["dest"])

    def perform(self):
        """Returns the module's result as dict. Raises RsyncError."""
        if self.params["mode"] == "delta":
            return self._delta()
        return getattr(self, "_" + self.params["state"])()

    # --- mode delta ---

    def _options(self):
        params = self.params
        return binary.Options(hard_links=params["hard_links"] != "false", xattrs=params["xattrs"], acls=params["acls"],
                              sparse=False, exclude=(), password_file=params["password_file"], rsh=params["rsh"],
                              bwlimit_kib_per_s=params["bwlimit_kib_per_s"] or 0, io_timeout=params["io_timeout"])

    def _delta(self):
        params = self.params
        most = params["max_delete"] if params["max_delete"] >= 0 else None
        if not os.path.isfile(params["files_from"]):
            raise RsyncError("Failed to use the option files_from: there is no file %s." % params["files_from"])
        self._check_password()
        result = delta.run_delta(params["src"], params["dest"], params["files_from"], self._options(),
                                 frozen=params["frozen"], sentinel=params["sentinel"], max_delete=most,
                                 dry_run=self.check_mode, itemize=True, timeout=params["timeout"])
        answer = dict(_NOTHING, **_of_delta(result))
        answer.update(state="done", changed=result.changed, bytes_per_s=_per_second(result.bytes, result.seconds),
                      listed=result.listed, diff=_diff(result.changes))
        answer.pop("rc")
        return answer

    # --- mode full ---

    def _done(self):
        answer = self._started()
        if self.check_mode:
            return answer
        self.job.wait(lambda progress: progress.get("state") in job.ENDED, float("inf"))
        answer = self._told()
        if answer["state"] != "done":
            raise _Failed(answer)
        return answer

    def _started(self):
        if self.job.busy():
            return self._attach()
        spec = self._spec()
        if self.check_mode:
            return self._would(spec) if spec["mode"] == "full" else self._would_deal(spec)
        binary.read_sentinel(spec["src"], spec["sentinel"])
        self._check_password()
        fpart.crawler(spec["partitioner"])
        spec["fresh"] = self._is_fresh(spec)
        return self._begin(spec)

    def _is_fresh(self, spec):
        """Whether the target is empty. One that was copied to before is not asked again."""
        if spec["mode"] == "lists":
            return spec["deal"]["fresh"]
        complete = self.job.read("complete", {}).get("spec", {})
        if complete and all(complete.get(name) == spec[name] for name in bulk.IDENTITY):
            return False
        return bulk.is_fresh(binary.find(spec["rsync_path"]), bulk.options_of(spec), spec["dest"])

    def _spec(self):
        params = self.params
        spec = dict(bulk.DEFAULTS, **{name: params[name] for name in _PLAIN})
        spec.update(src=params["src"], dest=params["dest"], hard_links=params["hard_links"] != "false",
                    bwlimit_kib_per_s=params["bwlimit_kib_per_s"] or 0,
                    workers=params["workers"] or bulk.workers_for(len(os.sched_getaffinity(0))))
        if spec["mode"] == "lists":     # a mount over the network does not show attributes as they are
            spec.update(deal=params["deal"], xattrs=False, acls=False, delete=False)
        return spec

    def _begin(self, spec):
        self.job.make()
        if not self.job.lock():
            return self._attach()
        run = self.job.read("run")
        before = self.job.read("spec", {})
        if run and any(before.get(name) != spec[name] for name in bulk.IDENTITY):
            self.job.forget("run", "done")          # the unfinished run was of something else
        self.job.forget("crash")
        self.job.write("seen", {})
        self.job.write("spec", spec)
        self.job.write("control", {"bwlimit_kib_per_s": spec["bwlimit_kib_per_s"]})
        limit = spec["bwlimit_kib_per_s"]
        self.job.write("progress", {"state": "starting", "message": "", "limit_kib_per_s": limit})
        bulk.detach(self.job)
        answer = self._told()
        answer["changed"] = True
        return answer

    def _attach(self):
        spec = self.job.read("spec", {})
        for name in ("src", "dest"):
            if self.params[name] and spec.get(name) and self.params[name].rstrip("/") != spec[name].rstrip("/"):
                raise RsyncError("Failed to begin the copy %s: the job copies %s to %s now. Give another job name, or"
                                 " stop it first." % (self.job.name, spec["src"], spec["dest"]))
        if self._does(spec) != self._does(self.params):
            raise RsyncError("Failed to begin the copy %s: the job runs already, and does something else (mode=%s)."
                             " Wait for its end, or end it with state=stopped." % (self.job.name, spec.get("mode")))
        changed = self._limit()
        answer = self._told()
        answer["changed"] = changed
        return answer

    @staticmethod
    def _does(spec):
        """What a job does, of a spec or of the options."""
        return spec.get("mode", "full"), (spec.get("deal") or {}).get("id")

    def _limit(self):
        """Give a running copy the limit that was asked for. Returns whether that is new."""
        limit = self.params["bwlimit_kib_per_s"]
        if limit is None or self.job.read("control", {}).get("bwlimit_kib_per_s") == limit:
            return False
        return True if self.check_mode else self.job.wish(bwlimit_kib_per_s=limit)

    def _would(self, spec):
        """Check mode: what a copy would do.

        What an earlier task would have prepared may not be there yet: the sentinel, the secret, rsync itself, the
        daemon. Then the source alone is looked at, with a warning that says so.
        """
        binary.read_sentinel(spec["src"], None)
        warnings = []
        try:
            binary.read_sentinel(spec["src"], spec["sentinel"])
        except RsyncError as error:
            warnings.append(shown(str(error)))
        try:
            self._check_password()
            bulk.is_fresh(binary.find(spec["rsync_path"]), bulk.options_of(spec), spec["dest"])
            numbers, changes = bulk.count_dry(spec)
        except RsyncError as error:
            warnings.append("The target cannot be looked at yet, so all of the source is counted. %s"
                            % shown(str(error)))
            numbers, changes = bulk.count_source(spec), []
        answer = dict(_NOTHING, job=self.job.name, state="absent", failures_count=0, progress={})
        answer.update(files=numbers.get("Number of regular files transferred", 0),
                      bytes=numbers.get("Total transferred file size", 0),
                      created=numbers.get("Number of created files", 0),
                      deleted=numbers.get("Number of deleted files", 0), changed=bool(changes or warnings),
                      diff=_diff(changes), warnings=warnings)
        answer["files_skipped"] = numbers.get("Regular files", 0) - answer["files"]
        return answer

    def _would_deal(self, spec):
        """Check mode: what is left to cut, or to copy of a deal."""
        run = self.job.read("run", {})
        left = not run.get("walked")
        if spec["mode"] == "lists":
            known = {entry[0] for entry in self.job.lines("done")} if run.get("deal") == spec["deal"]["id"] else set()
            left = any(entry[0] not in known for entry in spec["deal"]["lists"])
        return dict(self._told(), changed=left, diff=_diff([]))

    def _paused(self):
        return self._steer(True, "paused")

    def _running(self):
        self._need()
        if not self.job.busy():
            return self._go_on()
        return self._steer(False, "running")

    def _steer(self, paused, state):
        self._need()
        if not self.job.busy():
            raise RsyncError("Failed to set the copy %s to %s: it does not run. Begin it first."
                             % (self.job.name, state))
        control = self.job.read("control", {})
        limited = self._limit()
        changed = bool(control.get("paused")) != paused
        if changed and not self.check_mode:
            self.job.wish(paused=paused)
            self._wait_for(state)
        answer = self._told()
        answer["changed"] = changed or limited
        return answer

    def _wait_for(self, state):
        ends = (state,) + job.ENDED
        if not self.job.wait(lambda progress: progress.get("state") in ends, self.params["timeout"]):
            raise RsyncError("Failed to set the copy %s to %s: it did not happen within %d s."
                             % (self.job.name, state, self.params["timeout"]))

    def _go_on(self):
        """Start a copy again that was stopped, failed or was killed. A finished one stays finished."""
        answer = self._told()
        answer["changed"] = answer["state"] != "done"
        if self.check_mode or not answer["changed"]:
            return answer
        spec = self.job.read("spec")
        if self.params["bwlimit_kib_per_s"] is not None:
            spec["bwlimit_kib_per_s"] = self.params["bwlimit_kib_per_s"]
        binary.read_sentinel(spec["src"], spec["sentinel"])
        spec["fresh"] = self._is_fresh(spec)
        return self._begin(spec)

    def _stopped(self):
        if self.params["mode"] == "lists" and not self.job.exists():
            return dict(self._told(), changed=False)        # this worker was never dealt anything
        self._need()
        changed = self.job.busy()
        if changed and not self.check_mode:
            self.job.wish(stop=True)
            if not self.job.wait(lambda _progress: not self.job.running(), self.params["timeout"]):
                raise RsyncError("Failed to stop the copy %s within %d s." % (self.job.name, self.params["timeout"]))
        answer = self._told()
        answer["changed"] = changed
        return answer

    def _status(self):
        if self.job.exists() and not self.check_mode:
            self.job.write("seen", {})
        return dict(self._told(), changed=False)

    def _need(self):
        if not self.job.exists():
            raise RsyncError("Failed to find the copy %s under %s: it was never begun on this host."
                             % (self.job.name, os.path.dirname(self.job.folder)))

    def _check_password(self):
        path = self.params["password_file"]
        if path is None:
            return
        try:
            status = os.stat(path)
        except OSError as error:
            raise RsyncError("Failed to use the option password_file: %s: %s." % (path, error.strerror)) from error
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise RsyncError("Failed to use the option password_file: %s is not a file with mode 0600." % path)

    def _told(self):
        """How the job stands, as the module's result."""
        progress = self.job.progress() if self.job.exists() else {}
        answer = dict(_NOTHING, job=self.job.name, state=progress.get("state", "absent"))
        for name in ("files", "bytes", "created", "deleted", "vanished", "seconds"):
            answer[name] = progress.get(name, 0)
        answer["files_skipped"] = max(0, progress.get("seen", 0) - answer["files"])
        answer["failures_count"] = progress.get("failed", 0)
        answer["failures"] = _entries(self.job.lines("failed", 100)) if answer["failures_count"] else []
        if answer["failures"]:
            answer["failures_file"] = self.job.path("failed")
        answer["bytes_per_s"] = _per_second(answer["bytes"], answer["seconds"])
        answer["progress"] = {name: value for name, value in progress.items() if name != "message"}
        answer["message"] = shown(progress.get("message", ""))
        answer["changed"] = any(progress.get(name) for name in ("files", "created", "deleted", "changes"))
        if self.params["mode"] == "lists" and answer["state"] in job.ENDED:
            answer["deal"] = self.job.read("run", {}).get("deal")
            answer["lists_done"] = [entry[0] for entry in self.job.lines("done")]
        return answer


class _Failed(RsyncError):
    """A job that ended, but not well. answer: the module's result."""

    def __init__(self, answer):
        super().__init__(answer["message"] or "Failed to copy: the job %s is %s." % (answer["job"], answer["state"]))
        self.answer = answer


def _per_second(size, seconds):
    return int(size / seconds) if seconds else 0


def _diff(changes):
    lines = ["%s %s" % (change.flags, shown(change.path)) for change in changes[:_DIFF_LINES]]
    if len(changes) > _DIFF_LINES:
        lines.append("... and %d more" % (len(changes) - _DIFF_LINES))
    return {"before": "", "after": "".join(line + "\n" for line in lines)}
