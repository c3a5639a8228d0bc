# SPDX-License-Identifier: GPL-3.0-or-later
"""Open or close one port in whatever filters on this host: firewalld, ufw, nftables, or nothing."""

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files, firewall_firewalld
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_common import (
    LEDGER,
    FirewallError,
    Ledger,
    Plan,
    Request,
)
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_firewalld import Firewalld
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_nftables import Nftables
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_ufw import Ufw

__all__ = ["Change", "FirewallError", "Request", "choose", "manage"]
_LEGACY_TABLES = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names")


class Nothing:
    """No firewall: nothing is changed."""

    name = "none"

    @staticmethod
    def plan(request, ledger):
        del request, ledger
        plan = Plan("none")
        plan.warnings = ["Nothing filters on this host: nothing was changed."]
        return plan

    def apply(self, plan):
        """Nothing to do."""

    @staticmethod
    def verify(request, plan):
        del request, plan
        return []


def _require(condition, name, what):
    if not condition:
        raise FirewallError(
            "Failed to use backend %s: %s. Leave backend out to take what filters on this host." % (name, what)
        )


def _refuse_legacy_iptables(run, which, root=""):
    """Tables of the old iptables interface are seen by no program of nftables."""
    for path, names in zip(_LEGACY_TABLES, (("iptables-legacy", "iptables"), ("ip6tables-legacy", "ip6tables"))):
        if b"filter" not in files.read(root + path, b"").split():
            continue
        program = which(names[0]) or which(names[1])
        text = run([program, "-S", "INPUT"], ok=None).stdout if program else ""
        if any(word in text for word in ("-P INPUT DROP", "-j DROP", "-j REJECT")):
            raise FirewallError(
                "Failed to change the firewall: this host filters with iptables, which is not supported. Open the port "
                "with what wrote those rules, and give backend: none here."
            )


def choose(name, request, *, run=None, which=None, root=""):
    """The backend to work with.

    name: auto, or one by name. request: Request. run, which: as in host.command. root: prefix of paths, for tests.
    Raises FirewallError when the named one is not there or what filters is not supported.
    """
    run = run or command.run
    which = which or command.which
    if name == "none":
        return Nothing()
    if name == "firewalld":
        backend = Firewalld(run, which)
        _require(backend.installed, name, "neither firewall-cmd (running) nor firewall-offline-cmd is on this host")
        return backend
    if name == "ufw":
        ufw = Ufw(run, which, root)
        _require(ufw.installed and ufw.active, name, "ufw is not installed or not active")
        return ufw
    if name == "nftables":
        nftables = Nftables(run, which, root)
        _require(nftables.installed, name, "nft is not on this host")
        nftables.refuse_iptables(request)
        return nftables
    return _detect(request, run, which, root)


def _detect(request, run, which, root):
    firewalld = Firewalld(run, which)
    if firewalld.running:
        return firewalld
    ufw = Ufw(run, which, root)
    if ufw.installed and ufw.active:
        return ufw
    nftables = Nftables(run, which, root)
    if nftables.installed and nftables.filters(request):
        nftables.refuse_iptables(request)
        return nftables
    _refuse_legacy_iptables(run, which, root)
    if firewalld.installed and firewall_firewalld.enabled(run, which):
        return firewalld
    return Nothing()


class Change:
    """What will happen, and what came of it. plan: Plan. effective: list of str after apply(), else as expected."""

    def __init__(self, backend, request, ledger, plan):
        self._backend = backend
        self._request = request
        self._ledger = ledger
        self.plan = plan
        self.effective = list(plan.after)

    @property
    def differs(self):
        return self.plan.differs

    def apply(self):
        """Write, remember, read again. Raises FirewallError or CommandError."""
        self._ledger.replace([], self.plan.made)  # before the change: a killed run must not forget what it made
        self._backend.apply(self.plan)
        self._ledger.replace(self.plan.forgotten, [])
        self.effective = self._backend.verify(self._request, self.plan)

    def check(self):
        """Where nothing has to be changed: see that the port is as asked."""
        self.effective = self._backend.verify(self._request, self.plan)

    def diff(self):
        def text(lines):
            return "".join(line + "\n" for line in lines)

        header = "port %s (%s)" % (self._request.name, self._backend.name)
        pair = {"before_header": header, "after_header": header}
        pair.update(before=text(self.plan.before), after=text(self.plan.after))
        diffs = [pair]
        for path, (before, after) in sorted(self.plan.details.get("files", {}).items()):
            one = {"before_header": path, "after_header": path}
            one.update(before=files.text(before or b""), after=files.text(after or b""))
            diffs.append(one)
        return diffs

    def result(self):
        return {
            "backend": self._backend.name,
            "zones": self.plan.zones if self._backend.name == "firewalld" else [],
            "effective": self.effective,
            "commands": self.plan.commands,
            "persistent": self.plan.persistent,
            "filtering": self._backend.name != "none",
        }


def manage(params, *, run=None, which=None, root=""):
    """Decide what the module parameters ask for. Returns Change; nothing was changed yet. Raises FirewallError."""
    request = Request.of(params)
    backend = choose(params["backend"], request, run=run, which=which, root=root)
    ledger = Ledger(root + LEDGER)
    return Change(backend, request, ledger, backend.plan(request, ledger))
