# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a mount_plan.Plan in one go: stop, unmount, fstab, mount, check, start; on failure all put back."""

import ctypes
import os
import socket
import tempfile
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files
from ansible_collections.seamless.migration.plugins.module_utils.host.services import ServiceError, Services
from ansible_collections.seamless.migration.plugins.module_utils.nfs import holders, mount_check, mounts, other_mounts
from ansible_collections.seamless.migration.plugins.module_utils.nfs.bounded import ChildError, HangError, bounded
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.mount_plan import FSTAB, MOUNTINFO, PORT

REHEARSAL_FOLDER = "/run/seamless-migration"
FORCE, DETACH, NOFOLLOW = 1, 2, 8
LEAVING = ("switch", "unmount", "hold", "rehearse")  # actions that stop who uses the path, or will
# For fstab only: mount(8) would go to the background with it.
_NOT_FOR_NOW = ("bg",)
FAILURES = (NfsError, command.CommandError, ServiceError, files.FileError, OSError)


def _umount2(point, flags):
    """umount2(2): unlike umount(8) it does not look at the mount, so a dead server does not hang it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(point), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


class Host:
    """What is done to the machine. Tests put another one in its place. root: prefix of files."""

    def __init__(self, root=""):
        self.root = root
        self.services = Services()

    def mounts(self):
        return mounts.read(self.root + MOUNTINFO)

    def mount(self, source, point, kind, options, timeout):
        program = command.which("mount")
        if command.which("mount.nfs") is None:
            raise NfsError("mount.nfs is not on this host. Install the NFS client (nfs-utils, nfs-common)")
        words = [word for word in options if word not in _NOT_FOR_NOW] + ["retry=0"]
        command.run([program, "-t", kind, "-o", ",".join(words), source, point], timeout=timeout)

    def unmount(self, point, timeout):
        command.run([command.which("umount"), point], timeout=timeout)

    def detach(self, point, flags, timeout):
        bounded(lambda: _umount2(point, flags | NOFOLLOW), timeout, "umount of %s" % point)

    def connect(self, address, port, timeout):
        socket.create_connection((address, port), timeout).close()

    def own_address(self, peer):
        """The address from which this host speaks to another one; "" when it cannot. Nothing is sent."""
        try:
            with socket.socket(socket.AF_INET6 if ":" in peer else socket.AF_INET, socket.SOCK_DGRAM) as asked:
                asked.connect((peer, PORT))
                return asked.getsockname()[0]
        except OSError:
            return ""

    def holders(self, mount, timeout):
        found = bounded(lambda: [entry.as_dict() for entry in holders.find(mount)], timeout, "the search in /proc")
        return holders.from_dicts(found)

    def other_mounts(self, leaving, units, timeout):
        def look():
            return [other.as_dict() for other in other_mounts.find(leaving, self.mounts(), units)]

        return other_mounts.from_dicts(bounded(look, timeout, "the search in /proc"))

    def end(self, pids, number):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def answers(self, path, timeout):
        return mount_check.answers(path, timeout)

    def canary(self, folder, user, timeout):
        return mount_check.canary(folder, user, timeout)

    def takes_no_writes(self, folder, timeout):
        return mount_check.takes_no_writes(folder, timeout)

    def arm(self, name, units, seconds):
        """Let systemd start units in `seconds`, whoever has died until then. name: of the transient unit."""
        self.disarm(name)
        words = ["--quiet", "--collect", "--unit=" + name, "--on-active=%d" % seconds]
        words += ["--timer-property=AccuracySec=100ms", "--", command.which("systemctl"), "start", "--"]
        command.run([command.which("systemd-run")] + words + units, timeout=15)

    def disarm(self, name):
        command.run([command.which("systemctl"), "stop", "--", name + ".timer"], timeout=15, ok=None)

    def reload_units(self):
        if self.services.init == "systemd":
            command.run([command.which("systemctl"), "daemon-reload"], timeout=60)

    def seen_by_init(self, point, source):
        """Whether a unit that needs the mount would find it: systemd has seen that source mounted there.

        Else it would mount what the line in fstab said before.
        """
        if self.services.init != "systemd":
            return True
        words = [command.which("systemctl"), "show", "-p", "ActiveState,What", "--", point]
        told = command.run(words, timeout=15, ok=None).stdout.splitlines()
        return "ActiveState=active" in told and "What=" + source in told

    def make_folder(self, path):
        os.makedirs(path, 0o755)


class Switch:
    """The run of a plan. After run(): stopped, users (list of holders.Holder), checks, window_s, warnings."""

    def __init__(self, plan, host=None):
        self.plan = plan
        self.params = plan.params
        self.host = host or Host(plan.root)
        self.memory = plan.memory
        self.stopped = []
        self.users = []
        self.others = []
        self.ended = []
        self.checks = {}
        self.window_s = 0.0
        self.stopped_s = 0.0
        self.how = ""
        self.warnings = list(plan.warnings)
        self._undo = []
        self._running = []

    # -- the way there

    def run(self):
        """Do it. Raises NfsError after everything was put back, saying so, or saying what could not be."""
        begun = time.monotonic()
        try:
            self._before()
            begun = time.monotonic()
            self._during()
        except FAILURES as error:
            raise NfsError(self._put_back(error)) from error
        self.window_s = round(time.monotonic() - begun, 3)
        self._after()

    def look(self):
        """For check mode: who uses the path. Nothing is touched and no server is asked."""
        if self.plan.current is not None and self.plan.action in LEAVING:
            self.users = self.host.holders(self.plan.current, self.params["check_timeout"])
        self._look_elsewhere()
        if self.others and self.plan.action in LEAVING:
            self.warnings.append(self._told_elsewhere() + ".")

    def _before(self):
        """Everything that can fail without harm."""
        action = self.plan.action
        if action in ("switch", "mount", "rehearse"):
            self._reach()
        if action in LEAVING:
            known = self.host.services.look(self.params["stop_units"])
            self._refuse_unknown_units(known)
            if self.plan.current is not None:
                self.users = self.host.holders(self.plan.current, self.params["check_timeout"])
                self._refuse_users(self._strangers())
            self._running = [unit for unit in self.params["stop_units"] if known[unit] == "runs"]
        if self.plan.current is not None and action in ("switch", "unmount", "rehearse"):
            self.how = self._way_out()
        if action == "rehearse" or (action == "switch" and self.params["rehearse"]):
            self._look_elsewhere()
            if self.others:
                raise NfsError(self._told_elsewhere())
            self._rehearse()
        if self.plan.tries_canary and self.how == "plain":
            self._try_canary()

    @staticmethod
    def _refuse_unknown_units(known):
        """A name that is no unit would be a user that nobody stops."""
        for unit in known:
            if known[unit] == "unknown":
                raise NfsError("%s is no service of this host. Correct stop_units" % unit)

    def _during(self):
        action = self.plan.action
        if action == "hold":
            self._hold()
            return
        if action == "rehearse":
            return
        if action in ("switch", "unmount"):
            self._disarm()
            self._stop()
            self._unmount()
        if self.plan.fstab_differs:
            self._undo.append(("fstab", lambda: self._write_fstab(self.plan.fstab_before)))
            self._write_fstab(self.plan.fstab_after)
        if action in ("switch", "mount"):
            self._mount()
            self._check()

    def _after(self):
        """Start what was stopped. That comes before systemd reads fstab again, which can take seconds."""
        self._undo = []
        late = self.plan.fstab_differs and self.stopped and self._seen()
        if self.plan.fstab_differs and not late:
            self._reload()
        try:
            self._let_go_on()
        finally:
            if late:
                self._reload()

    def _seen(self):
        try:
            return self.host.seen_by_init(self.plan.path, self.plan.source)
        except FAILURES:
            return False

    def _reload(self):
        try:
            self.host.reload_units()
        except FAILURES as error:
            self.warnings.append("systemd could not be told of the new %s: %s." % (FSTAB, error))

    def _let_go_on(self):
        if self.plan.action in ("hold", "rehearse"):
            return
        if self.plan.state == "unmounted":
            self.memory.forget()
            return
        if not self.plan.starts:
            return
        since = self.memory.since
        try:
            self._start()
        except FAILURES as error:
            raise NfsError(
                "%s. %s is mounted from %s as asked; the next run starts what is missing"
                % (str(error).rstrip("."), self.plan.path, self.plan.source)
            ) from error
        self.stopped_s = round(max(0.0, time.time() - since), 3) if since else 0.0

    def _hold(self):
        """Stop who writes; the mount stays. The dead-man stands before the first of them stops."""
        units = [unit for unit in self.memory.units if unit not in self._running] + self._running
        arms = bool(self.params["deadman"] and units) and self.host.services.init == "systemd"
        if arms:
            self.memory.armed = True
        self.memory.keep(self.plan, units)
        if arms:
            self.host.arm(self._deadman, units, self.params["deadman"])
        elif self.params["deadman"] and units:
            self.warnings.append("Without systemd nothing starts %s again but the next run." % ", ".join(units))
        self._stop()
        if self.plan.current is not None:
            self._refuse_users(self._left_users())

    def _disarm(self):
        """Nothing may start units while the path is not mounted. From here on only this run, or the next, does."""
        if self.memory.armed:
            self.host.disarm(self._deadman)
            self.memory.armed = False

    @property
    def _deadman(self):
        return "seamless-mount-" + os.path.basename(self.memory.file).partition(".")[0]

    def _reach(self):
        """Whether somebody listens at the new server."""
        words = dict(word.partition("=")[::2] for word in self.plan.options)
        port = int(words["port"]) if words.get("port", "").isdigit() else PORT
        if words.get("proto", "tcp").startswith(("udp", "rdma")):
            return
        failed = None
        for address in self.plan.addresses:
            try:
                self.host.connect(address, port, self.params["check_timeout"])
                return
            except OSError as error:
                failed = "%s port %d: %s" % (address, port, error)
        raise NfsError(
            "nobody answers at %s. Start the NFS server there, and open its port (firewall_port)"
            % (failed or "the server")
        )

    def _rehearse(self):
        """Mount the new export elsewhere for a moment: port, export and rights are proven while all still runs."""
        folder = self.host.root + REHEARSAL_FOLDER
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o700)
        place = tempfile.mkdtemp(prefix="nfs-", dir=folder)
        try:
            self.host.mount(self.plan.source, place, self.plan.kind, self.plan.options, self.params["mount_timeout"])
            try:
                self.host.answers(place, self.params["check_timeout"])
            finally:
                self.host.unmount(place, self.params["unmount_timeout"])
        finally:
            os.rmdir(place)

    def _try_canary(self):
        """Write the canary where it still can be: the new server takes no writes yet, and would refuse everybody.

        So a user who may not write there, or a folder that is missing, is found while all still runs.
        """
        try:
            self._canary()
        except NfsError as error:
            raise NfsError(
                "The canary of the switch was tried through the mount that is there: %s" % str(error).rstrip(".")
            ) from error

    def _canary(self):
        folder = os.path.join(self.plan.path, self.params["canary_folder"])
        return self.host.canary(folder, self.params["canary_user"], self.params["check_timeout"])

    def _way_out(self):
        """How the old mount can be left: plain, or force where its server does not answer and that was allowed."""
        try:
            self.host.answers(self.plan.path, self.params["check_timeout"])
            return "plain"
        except ChildError:
            return "plain"  # an answer, if no good one: a stale handle unmounts well
        except HangError as error:
            if self.params["force"]:
                return "force"
            raise NfsError(
                "%s: the old server %s does not answer. Say force: true to unmount all the same; what it did not yet "
                "take is lost" % (error, self.plan.current.source)
            ) from error

    # -- who uses it

    @property
    def _units(self):
        return {unit if "." in unit else unit + ".service" for unit in self.params["stop_units"]}

    def _strangers(self):
        """Users that do not belong to a unit that will be stopped."""
        return [user for user in self.users if user.unit not in self._units]

    def _look_elsewhere(self):
        """Find mounts of the same files that this switch does not reach."""
        if self.plan.current is not None:
            leaving = [self.plan.current] + self.plan.inner
            found = self.host.other_mounts(leaving, self._units, self.params["check_timeout"])
            self.others = [other for other in found if not other.is_known(self.params["known_mounts"])]

    def _told_elsewhere(self):
        return (
            "What %s has is mounted elsewhere too and would stay on the old server there: %s. Unmount it, name its "
            "unit in stop_units, or name the path or the unit in known_mounts when it is looked after"
            % (self.plan.path, holders.told(self.others))
        )

    @property
    def _lazy(self):
        return self.params["lazy"] != "never"

    def _refuse_users(self, users):
        if users and not self._lazy and not self.params["end_processes"]:
            raise NfsError(
                "%s is in use: %s. Name their units in stop_units, end them, or say end_processes: true"
                % (self.plan.path, holders.told(users))
            )

    def _stop(self):
        earlier = [unit for unit in self.memory.units if unit not in self._running]
        self.memory.keep(self.plan, earlier + self._running)
        self.stopped = earlier
        self._undo.append(("units", self._start))
        for unit in self._running:
            self.stopped.append(unit)
            self.host.services.stop(unit, self.params["unmount_timeout"])

    def _left_users(self):
        """Who is still there after the units ended, processes ended where that was asked for."""
        end = time.monotonic() + self.params["unmount_timeout"]
        left = self.users
        for number in (15, 9):
            if self._running or number == 9:  # else nothing has changed since the look before
                left = self.host.holders(self.plan.current, self.params["check_timeout"])
            if not left or not self.params["end_processes"]:
                break
            pids = sorted({user.pid for user in left})
            self.ended += [user for user in left if user.pid not in {known.pid for known in self.ended}]
            self.host.end(pids, number)
            patience = min(end, time.monotonic() + 2)
            while left and time.monotonic() < patience:
                time.sleep(0.05)
                left = self.host.holders(self.plan.current, self.params["check_timeout"])
        return left

    # -- leaving the old server

    def _unmount(self):
        left = self._left_users()
        self._refuse_users(left)
        points = [mount.point for mount in self.plan.inner + [self.plan.current]]
        self._undo.append(("mount", self._mount_old))
        if left and self._lazy:
            self._leave_lazily(points, left)
        else:
            for point in points:
                self._unmount_one(point)
        still = mounts.at(self.plan.path, self.host.mounts())
        if still is not None:
            raise NfsError("%s is still mounted, from %s. Look who mounted it twice" % (self.plan.path, still.source))

    def _unmount_one(self, point):
        if self.how == "force":
            self._detach(point, FORCE)
            return
        try:
            self.host.unmount(point, self.params["unmount_timeout"])
        except command.CommandError as error:
            left = self.host.holders(self.plan.current, self.params["check_timeout"])
            users = holders.told(left) or "no process has it open; the kernel may (NFS server, loop device, swap)"
            raise NfsError("%s. Users: %s" % (error, users)) from error

    def _leave_lazily(self, points, left):
        """Detach although somebody still has files open there, once nothing can be written through them any more."""
        folder = os.path.join(self.plan.path, self.params["canary_folder"])
        if self.params["lazy"] == "read_only" and not self.host.takes_no_writes(folder, self.params["check_timeout"]):
            raise NfsError(
                "%s is in use: %s. The old export still takes writes, so these would go on writing to the old server "
                "unseen. Make it read-only there first" % (self.plan.path, holders.told(left))
            )
        for point in points:
            self._detach(point, DETACH)
        self.warnings.append("Still on the old server until they end: %s." % holders.told(left))

    def _detach(self, point, flags):
        """umount2(2). The kernel may go on waiting to say goodbye to a dead server when the path is free already."""
        try:
            self.host.detach(point, flags, min(self.params["unmount_timeout"], self.params["check_timeout"]))
        except HangError:
            if mounts.at(point, self.host.mounts()) is not None:
                raise

    # -- coming to the new one

    def _write_fstab(self, text):
        files.write(self.host.root + FSTAB, files.data(text))

    def _mount(self):
        if self.plan.creates:
            self.host.make_folder(self.plan.path)
        timeout = self.params["mount_timeout"]
        self._undo.append(("new mount", self._unmount_new))
        self.host.mount(self.plan.source, self.plan.path, self.plan.kind, self.plan.options, timeout)
        found = mounts.at(self.plan.path, self.host.mounts())
        if found is None or not found.is_nfs:
            raise NfsError("mount ended without %s being mounted at %s" % (self.plan.source, self.plan.path))
        if found.address and not any(mounts.same_address(found.address, address) for address in self.plan.addresses):
            raise NfsError("%s came to %s, which is not %s" % (self.plan.path, found.address, self.params["server"]))

    def _check(self):
        timeout = self.params["check_timeout"]
        if self.params["check"] == "none":
            return
        self.checks = self.host.answers(self.plan.path, timeout)
        self.checks["canary"] = []
        if self.plan.has_canary:
            self.checks["canary"] = self._canary()

    def _start(self):
        """Start what was stopped, last stopped first. Raises ServiceError for the first that does not."""
        failed = None
        self.stopped = self.stopped or self.memory.units
        self._disarm()
        for unit in reversed(self.stopped):
            try:
                self.host.services.start(unit)
            except FAILURES as error:
                failed = failed or error
        if failed:
            raise failed
        self.memory.forget()

    # -- the way back

    def _unmount_new(self):
        if mounts.at(self.plan.path, self.host.mounts()) is not None:
            self._detach(self.plan.path, DETACH)

    def _mount_old(self):
        old = self.plan.current
        if mounts.at(old.point, self.host.mounts()) is None:
            timeout = self.params["mount_timeout"]
            self.host.mount(old.source, old.point, old.kind, old.options_to_mount(), timeout)

    def _put_back(self, error):
        """Undo what was done, last first. Returns the message: the cause, and what is not as before."""
        cause = str(error).rstrip(".")
        if not self._undo:
            return "%s. Nothing was touched" % cause
        for position, (what, action) in enumerate(reversed(self._undo)):
            try:
                action()
            except FAILURES as trouble:
                left = [name for name, _action in list(reversed(self._undo))[position:]]
                told = "%s. Not put back: %s (%s: %s)" % (cause, ", ".join(left), what, str(trouble).rstrip("."))
                if what == "units":
                    return told + ". The path is mounted as before: start them, or run again"
                return told + ". Units stay stopped, so that nothing is written to the empty directory: run again"
        return "%s. Everything was put back" % cause

    def _server(self, source, address):
        """A server for the result: what is mounted from it, and the address of this host that it sees."""
        return {"source": source, "own_address": self.host.own_address(address) if address else ""}

    def result(self):
        plan = self.plan
        found = mounts.at(plan.path, self.host.mounts())
        return {
            "path": plan.path,
            "action": plan.action,
            "source": found.source if found else "",
            "address": found.address if found else "",
            "nfs_version": found.version if found else "",
            "options": found.options_to_mount() if found else [],
            "steps": plan.steps(),
            "was": self._server(plan.current.source, plan.current.address) if plan.current else {},
            "wanted": self._server(plan.source, plan.addresses[0]) if plan.addresses else {},
            "users": [user.as_dict() for user in self.users],
            "other_mounts": [other.as_dict() for other in self.others],
            "ended": [user.as_dict() for user in self.ended],
            "stopped_units": self.stopped,
            "checks": self.checks,
            "window_s": self.window_s,
            "stopped_s": self.stopped_s,
        }
