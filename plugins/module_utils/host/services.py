# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, stop and enable services by whatever init system the host has: systemd, or SysV scripts."""

import os

from ansible_collections.seamless.migration.plugins.module_utils.host import command

# What to run for each verb; {0} is the name of the service. An alternative starts with the program that it needs.
# SysV: service(8) of sysvinit-utils and initscripts; update-rc.d(8) is Debian's, chkconfig(8) is EL's.
COMMANDS = {
    "systemd": {
        "start": (("systemctl", "start", "--", "{0}"),),
        "stop": (("systemctl", "stop", "--", "{0}"),),
        "restart": (("systemctl", "restart", "--", "{0}"),),
        "enable": (("systemctl", "enable", "--", "{0}"),),
        "disable": (("systemctl", "disable", "--", "{0}"),),
        "running": (("systemctl", "is-active", "--quiet", "--", "{0}"),),
        "look": (("systemctl", "show", "-p", "LoadState,ActiveState", "--", "{0}"),),
        "enabled": (("systemctl", "is-enabled", "--quiet", "--", "{0}"),),
    },
    "sysv": {
        "start": (("service", "{0}", "start"),),
        "stop": (("service", "{0}", "stop"),),
        "restart": (("service", "{0}", "restart"),),
        "enable": (("update-rc.d", "{0}", "enable"), ("chkconfig", "{0}", "on")),
        "disable": (("update-rc.d", "{0}", "disable"), ("chkconfig", "{0}", "off")),
        "running": (("service", "{0}", "status"),),
    },
}
# Where the links stand that start a service of SysV: Debian, EL.
_LINKS = ("/etc/rc2.d", "/etc/rc3.d", "/etc/rc.d/rc3.d")

_SCRIPTS = ("/etc/init.d", "/etc/rc.d/init.d")
# States of systemd in which a service is there, or comes or goes by itself (auto-restart is activating).
_UP = ("active", "reloading", "refreshing", "activating", "deactivating")


class ServiceError(Exception):
    """A service is not known here, or did not start or stop."""


class Services:
    """The services of this host. run, which: as in host.command; root: prefix of paths, for tests."""

    def __init__(self, run=None, which=None, root=""):
        self._run = run or command.run
        self._which = which or command.which
        self._root = root

    @property
    def init(self):
        """systemd where it is the init system that runs (sd_booted(3)), else sysv."""
        return "systemd" if os.path.isdir(self._root + "/run/systemd/system") else "sysv"

    def _argv(self, verb, name):
        if not name or name.startswith("-") or "/" in name:
            raise ServiceError("Failed to %s a service: %r is no name of one. Give its name only." % (verb, name))
        alternatives = COMMANDS[self.init][verb]
        for words in alternatives:
            program = self._which(words[0])
            if program:
                return [program] + [word.format(name) for word in words[1:]]
        needed = " or ".join(words[0] for words in alternatives)
        raise ServiceError("Failed to %s %s: %s is not on this host. Install it." % (verb, name, needed))

    def _do(self, verb, name, timeout):
        try:
            # A SysV script may leave a daemon behind that keeps the output open: only the script is waited for.
            self._run(self._argv(verb, name), timeout=timeout, leaves_daemon=self.init == "sysv")
        except command.CommandError as error:
            raise ServiceError("Failed to %s %s: %s. Look at its log." % (verb, name, error)) from error

    def running(self, name):
        """Whether the service runs."""
        return self._run(self._argv("running", name), ok=None).rc == 0

    def look(self, names):
        """Which of these services there are and run, with one question where the init system can answer it.

        Returns dict name -> "runs", "rests" or "unknown".
        """
        if self.init != "systemd":
            return {name: self._look_sysv(name) for name in names}
        if not names:
            return {}
        argv = self._argv("look", names[0]) + [self._argv("look", name)[-1] for name in names[1:]]
        blocks = self._run(argv, ok=None).stdout.strip().split("\n\n")
        if len(blocks) != len(names):
            raise ServiceError("systemctl show tells of %d of %d services" % (len(blocks), len(names)))
        found = {}
        for name, block in zip(names, blocks):
            words = dict(line.partition("=")[::2] for line in block.splitlines())
            up = words.get("ActiveState") in _UP
            found[name] = "unknown" if words.get("LoadState") == "not-found" else "runs" if up else "rests"
        return found

    def _look_sysv(self, name):
        argv = self._argv("running", name)  # refuses what is no name
        if not any(os.path.exists(os.path.join(self._root + folder, name)) for folder in _SCRIPTS):
            return "unknown"
        return "runs" if self._run(argv, ok=None).rc == 0 else "rests"

    def enabled(self, name):
        """Whether the service starts at boot."""
        if self.init == "systemd":
            return self._run(self._argv("enabled", name), ok=None).rc == 0
        for folder in _LINKS:
            path = self._root + folder
            links = os.listdir(path) if os.path.isdir(path) else []
            if any(link.startswith("S") and link[3:] == name for link in links):
                return True
        return False

    def start(self, name, timeout=120):
        self._do("start", name, timeout)

    def stop(self, name, timeout=120):
        self._do("stop", name, timeout)

    def restart(self, name, timeout=120):
        self._do("restart", name, timeout)

    def enable(self, name):
        self._do("enable", name, 60)

    def disable(self, name):
        self._do("disable", name, 60)
