# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change on this host so that lsyncd and its guards are configured as asked: read, decide, write."""

import os

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd import config, excludes, guard, limits, lua
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.errors import LsyncdError


class FileChange:
    """A file with its content before and after; None stands for no file."""

    def __init__(self, path, after, mode=None, folder_mode=0o755):
        self.path, self.after, self.mode, self.folder_mode = path, after, mode, folder_mode
        self.before = files.read(path)

    @property
    def differs(self):
        return self.before != self.after or self._mode_differs()

    def _mode_differs(self):
        if self.after is None or self.mode is None or self.before is None:
            return False
        return os.stat(self.path).st_mode & 0o7777 != self.mode

    def apply(self):
        if self.after is None:
            files.remove(self.path)
            return
        os.makedirs(os.path.dirname(self.path), mode=self.folder_mode, exist_ok=True)
        files.write(self.path, self.after, mode=self.mode)

    def diff(self):
        return _diff(self.path, files.text(self.before or b""), files.text(self.after or b""))


class LinkChange:
    """The link by which lsyncd calls the guard of one sync. after: what it points to, None: no link."""

    def __init__(self, path, after):
        self.path, self.after = path, after
        self.before = os.readlink(path) if os.path.islink(path) else None
        if self.before is None and os.path.lexists(path):
            raise LsyncdError("%s is in the way and no link. Remove it" % path)

    @property
    def differs(self):
        return self.before != self.after

    def apply(self):
        if self.after is None:
            os.unlink(self.path)
            return
        temporary = "%s.new-%d" % (self.path, os.getpid())
        os.symlink(self.after, temporary)
        os.rename(temporary, self.path)

    def diff(self):
        def line(target):
            return "link to %s\n" % target if target else ""

        return _diff(self.path, line(self.before), line(self.after))


def _diff(path, before, after):
    def printable(text):
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

    return {
        "before_header": path,
        "after_header": path,
        "before": printable(before),
        "after": printable(after),
    }


class Plan:
    """Changes in the order in which they are made, and what is told besides."""

    def __init__(self, path, version):
        self.path, self.version = path, version
        self.changes = []
        self.validated_by = None
        self.warnings = []

    @property
    def differs(self):
        return any(change.differs for change in self.changes)

    def diff(self):
        return [change.diff() for change in self.changes if change.differs]

    def apply(self, backup=False):
        """Make the changes. Returns the path of the copy of the old configuration, or None."""
        copy = None
        for change in self.changes:
            if not change.differs:
                continue
            try:
                if change.path == self.path and backup and change.before is not None:
                    copy = files.backup(change.path)
                change.apply()
            except OSError as error:
                raise LsyncdError("%s cannot be changed: %s" % (change.path, error.strerror)) from error
        return copy


def make(params, check_mode=False):
    """Decide from the module's options. Returns Plan. Raises LsyncdError."""
    config.refuse_control_characters(
        {name: params.get(name) for name in ("path", "version", "guard_program", "guard_folder")}, "options"
    )
    path = params["path"] or config.place().config
    if not path.startswith("/"):
        raise LsyncdError("path is %r, but should be absolute" % path)
    version = _version(params["version"])
    plan = Plan(path, version or config.tables.ASSUMED)
    if version is None:
        plan.warnings.append(
            "lsyncd is not installed: the keys were checked against %s" % config.tables.dotted(plan.version)
        )
    present = params["state"] == "present"
    for sync in params["syncs"]:
        if (sync.get("guard") or {}).get("sentinel_content"):
            sync["guard"]["sentinel_content"] = sync["guard"]["sentinel_content"].rstrip("\n")
    guarded = [sync for sync in params["syncs"] if sync.get("guard") is not None] if present else []
    content = _content(params, plan, guarded) if present else None
    _own(path, params["force"], present)
    _guards(params, plan, guarded, check_mode)
    plan.changes.append(FileChange(path, content, 0o644 if content is not None else None))
    return plan


def _version(word):
    if word == "auto":
        return config.installed_version()
    version = config.parse_version(word)
    if version is None or version < config.tables.OLDEST:
        raise LsyncdError("version is %r, but should be auto or a version from 2.1.0 on, such as 2.2.3" % word)
    return version


def _own(path, force, present):
    if not force and not config.ours(files.read(path)):
        raise LsyncdError(
            "%s was not written by this module. Set force to true to %s it, with backup to keep a copy"
            % (path, "replace" if present else "remove")
        )


def _content(params, plan, guarded):
    binaries = {sync["name"]: guard.link(sync["name"], params["guard_folder"]) for sync in guarded}
    content = config.render(params["settings"], params["syncs"], plan.version, binaries)
    plan.validated_by = lua.check(content)
    if plan.validated_by is None:
        plan.warnings.append("no Lua is at hand, the configuration was not read by its parser")
    for sync in params["syncs"]:
        if sync.get("init") is False:
            plan.warnings.append(
                "sync %s has init=false: what changes while lsyncd does not run is never carried" % sync["name"]
            )
        if not os.path.isdir(sync["source"]):
            plan.warnings.append("the source %s of sync %s is no directory yet" % (sync["source"], sync["name"]))
    return content


def _guards(params, plan, guarded, check_mode):
    folder, program = params["guard_folder"], params["guard_program"]
    if guarded and not check_mode and not os.access(program, os.X_OK):
        raise LsyncdError("the guard %s is not installed. The role live_sync installs it" % program)
    wanted = {sync["name"] for sync in guarded}
    for sync in guarded:
        link = guard.link(sync["name"], folder)
        plan.changes.append(FileChange(link + ".json", guard.settings(sync), 0o600, folder_mode=0o700))
        plan.changes.append(LinkChange(link, program))
    existing = config.read_rendered(files.read(plan.path, missing=b"") or b"")["syncs"]
    for sync in existing:
        link = guard.link(sync["name"], folder)
        if sync["name"] not in wanted and sync.get("binary") == link:
            plan.changes.append(FileChange(link + ".json", None))
            plan.changes.append(LinkChange(link, None))


def inotify_limits(syncs, count):
    """Limits report for all sources together. count: False leaves the directories uncounted."""
    counted = 0
    if count:
        for sync in syncs:
            if os.path.isdir(sync["source"]):
                counted += limits.directories(sync["source"], excludes.compile_all(sync.get("exclude") or []))
    return limits.report(counted)
