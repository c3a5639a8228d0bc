# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports in ufw: rules with a comment tag, before the first rule that denies. ufw keeps them over a restart itself."""

import binascii
import ipaddress
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_common import (
    TAG,
    FirewallError,
    Plan,
    Rule,
    network_text,
)

BACKEND = "ufw"
# (IP version, where ufw keeps the rules of that version: since 0.36, before)
_FILES = ((4, ("/etc/ufw/user.rules", "/lib/ufw/user.rules")), (6, ("/etc/ufw/user6.rules", "/lib/ufw/user6.rules")))
_TUPLE = re.compile(r"^### tuple ### (.*)$", re.M)
_ACTIONS = {"allow": "accept", "deny": "deny", "reject": "deny"}  # `limit` accepts, but not always
_CHAINS = {4: ("iptables", "ufw-user-input"), 6: ("ip6tables", "ufw6-user-input")}


def tag(request):
    return "%s %s" % (TAG, request.name)


def _ports(text):
    """ufw's port column -> list of (first, last), or [None] for any."""
    if text == "any":
        return [None]
    pairs = []
    for part in text.split(","):
        first, _unused, last = part.partition(":")
        pairs.append((int(first), int(last or first)))
    return pairs


def parse_tuple(line):
    """One `### tuple ###` line of user.rules -> (list of Rule, comment). None for rules about other traffic.

    Its form: ACTION PROTOCOL DPORT DST SPORT SRC [DAPP SAPP] DIRECTION [comment=HEX] (ufw, src/backend_iptables.py).
    """
    words = line.split()
    comment = ""
    if words and words[-1].startswith("comment="):
        comment = files.text(binascii.unhexlify(words.pop()[len("comment=") :]))
    if len(words) not in (7, 9):
        return None
    action, protocol, dport, dst, sport, src = words[:6]
    direction = words[-1]
    if action.startswith("route:") or not direction.startswith("in"):
        return None
    anywhere = ("0.0.0.0/0", "::/0", "any")
    judged = _ACTIONS.get(action.split("_")[0], "maybe")
    if dst not in anywhere or sport != "any" or direction != "in":
        judged = "maybe"
    try:
        source = None if src in anywhere else ipaddress.ip_network(src, strict=False)
        ports = _ports(dport)
    except ValueError:
        return [Rule("maybe", text=line)], comment
    rules = [
        Rule(judged, protocol=None if protocol == "any" else protocol, ports=pair, source=source, text=" ".join(words))
        for pair in ports
    ]
    return rules, comment


class Entry:
    """One rule of ufw in its place. number: as `ufw insert` counts them, within the version."""

    def __init__(self, version, number, rules, comment):
        self.version = version
        self.number = number
        self.rules = rules
        self.comment = comment


class Ufw:
    """ufw of this host. run, which: as in host.command. root: prefix of paths, for tests."""

    name = BACKEND

    def __init__(self, run, which, root=""):
        self._run = run
        self._which = which
        self._ufw = which("ufw")
        self._root = root
        self._status = None

    @property
    def installed(self):
        return bool(self._ufw)

    def status(self):
        if self._status is None:
            self._status = self._run([self._ufw, "status", "verbose"]).stdout if self._ufw else ""
        return self._status

    @property
    def active(self):
        return "Status: active" in self.status()

    def default_accepts(self):
        """Whether ufw lets in what no rule is about. Returns bool."""
        found = re.search(r"^Default: (\w+) \(incoming\)", self.status(), re.M)
        return bool(found) and found.group(1) == "allow"

    def entries(self):
        """All rules about incoming traffic, in order, IPv4 first."""
        found = []
        for version, paths in _FILES:
            content = None
            for path in paths:
                content = files.read(self._root + path) if content is None else content
            for number, line in enumerate(_TUPLE.findall(files.text(content or b"")), 1):
                parsed = parse_tuple(line)
                if parsed:
                    found.append(Entry(version, number, *parsed))
        return found

    def _versions(self, entries, asker):
        if asker is not None:
            return [asker.version]
        six = any(entry.version == 6 for entry in entries) or "(v6)" in self.status() or self._ipv6()
        return [4, 6] if six else [4]

    def _ipv6(self):
        content = files.text(files.read(self._root + "/etc/default/ufw", b""))
        return bool(re.search(r"^IPV6=[\"']?yes", content, re.M | re.I))

    def judge(self, entries, version, request, asker, skip=lambda entry: False):
        """(verdict, entry that decided or None for the default policy, texts of what may deny before)."""
        doubts = []
        for entry in entries:
            if entry.version != version or skip(entry):
                continue
            for rule in entry.rules:
                if rule.action in ("accept", "deny") and rule.covers(request, asker):
                    return rule.action, entry, doubts
                if rule.action != "accept" and rule.touches(request, asker):
                    doubts.append(rule.text)
        return ("accept" if self.default_accepts() else "deny"), None, doubts

    # -- plan

    @staticmethod
    def _ours(entries, request):
        return [entry for entry in entries if entry.comment == tag(request)]

    def _words(self, request, network):
        ports = request.port_text(":")
        source = "any" if network is None else network_text(network)
        return ["proto", request.protocol, "from", source, "to", "any", "port", ports]

    def _line(self, version, rule):
        return "ufw v%d: %s" % (version, rule.text)

    def plan(self, request, ledger):
        del ledger  # the comment of a rule says that it is ours
        plan = Plan(self.name)
        entries = self.entries()
        ours = self._ours(entries, request)
        networks = {_network(entry) for entry in ours}
        plan.details["foreign"] = self._foreign(entries, request)
        plan.before = self._effective(entries, request)
        if request.state == "absent":
            gone = [network for network in networks if request.concerns(network)]
        else:
            gone = [network for network in networks if network not in request.askers]
        for network in sorted(gone, key=str):
            plan.commands.append([self._ufw, "delete", "allow"] + self._words(request, network))
        kept = {network for network in networks if network not in gone}
        plan.details["adding"] = set()
        if request.state == "present":
            for asker in request.askers:
                self._plan_add(plan, entries, request, asker)
        kept |= plan.details["adding"]
        plan.details["expected"] = kept
        plan.after = self._after(plan, entries, request, kept)
        if request.state == "absent" or request.sources:
            plan.warnings += self._open_anyway(entries, request)
        return plan

    def _plan_add(self, plan, entries, request, asker):
        ours = self._ours(entries, request)
        needed = denied = False
        for version in self._versions(entries, asker):
            if self.judge(entries, version, request, asker)[0] == "accept":
                continue
            needed = True
            _unused, entry, doubts = self.judge(entries, version, request, asker, lambda item: item in ours)
            denied = denied or entry is not None
            plan.warnings += [
                "Some traffic to port %s may still be denied by: ufw %s" % (request.name, text) for text in doubts
            ]
        if not needed:
            return
        plan.details["adding"].add(asker)
        if any(_network(entry) == asker for entry in ours):
            plan.commands.append([self._ufw, "delete", "allow"] + self._words(request, asker))
        # A rule that denies comes first in ufw's list, so ours has to come before it.
        before = ["prepend"] if denied else []
        plan.commands.append([self._ufw] + before + ["allow"] + self._words(request, asker) + ["comment", tag(request)])

    def _after(self, plan, entries, request, kept):
        ours = self._ours(entries, request)
        gone = [entry for entry in ours if _network(entry) not in kept]
        drop = {self._line(entry.version, rule) for entry in gone for rule in entry.rules}
        lines = [line for line in plan.before if line not in drop]
        for asker in plan.details["adding"]:
            for version in self._versions(entries, asker):
                source = network_text(asker) if asker else ("0.0.0.0/0" if version == 4 else "::/0")
                anywhere = "0.0.0.0/0" if version == 4 else "::/0"
                words = ("allow", request.protocol, request.port_text(":"), anywhere, "any", source, "in")
                lines.append("ufw v%d: %s" % (version, " ".join(words)))
        return sorted(set(lines))

    @staticmethod
    def _foreign(entries, request):
        return [(e.version, e.comment, [r.text for r in e.rules]) for e in entries if e.comment != tag(request)]

    def _effective(self, entries, request):
        lines = set()
        for entry in self._ours(entries, request):
            lines.update(self._line(entry.version, rule) for rule in entry.rules)
        for asker in request.askers:
            for version in self._versions(entries, asker):
                verdict, entry, _unused = self.judge(entries, version, request, asker)
                if verdict == "accept" and entry is not None:
                    lines.update(self._line(entry.version, rule) for rule in entry.rules)
        return sorted(lines)

    def _open_anyway(self, entries, request):
        found = []
        for version in self._versions(entries, None):
            judged = self.judge(entries, version, request, None, lambda item: item.comment == tag(request))
            verdict, entry = judged[:2]
            if verdict == "accept":
                found.append(entry.rules[0].text if entry else "default allow (incoming)")
        if not found:
            return []
        return [
            "Port %s is open anyway by what was not made by this module and stays: %s."
            % (request.name, "; ".join(found))
        ]

    # -- apply, verify

    def apply(self, plan):
        for argv in plan.commands:
            self._run(argv)

    def verify(self, request, plan):
        """Reads ufw's rules and the kernel's again. Returns the effective rules; raises FirewallError."""
        self._status = None
        entries = self.entries()
        if self._foreign(entries, request) != plan.details["foreign"]:
            raise FirewallError(
                "Failed to change port %s: other rules than ours changed meanwhile. Compare `ufw status` with what "
                "should be there, then run again." % request.name
            )
        found = {_network(entry) for entry in self._ours(entries, request)}
        if found != plan.details["expected"]:
            raise FirewallError(
                "Failed to change port %s: ufw has our rules for %s instead of %s. Look at `ufw status`."
                % (request.name, sorted(map(str, found)), sorted(map(str, plan.details["expected"])))
            )
        if request.state == "present":
            self._require_effective(entries, request, plan)
        return self._effective(entries, request)

    def _require_effective(self, entries, request, plan):
        for asker in request.askers:
            for version in self._versions(entries, asker):
                verdict, entry, _unused = self.judge(entries, version, request, asker)
                if verdict != "accept":
                    raise FirewallError(
                        "Failed to open port %s for %s: ufw still denies it by %s. Remove what denies it."
                        % (
                            request.name,
                            network_text(asker) if asker else "everybody",
                            entry.rules[0].text if entry else "its default policy",
                        )
                    )
                if asker in plan.details["expected"]:
                    self._require_in_kernel(request, asker, version)

    def _require_in_kernel(self, request, asker, version):
        program, chain = _CHAINS[version]
        path = self._which(program)
        if path is None:
            return
        text = self._run([path, "-S", chain]).stdout
        # A range goes through `-m multiport --dports`.
        option = "--dport" if request.ports[0] == request.ports[1] else "--dports"
        wanted = ["-p %s" % request.protocol, "%s %s" % (option, request.port_text(":")), "-j ACCEPT"]
        if asker is not None:
            wanted.append("-s %s" % asker)
        if not any(all(re.search(re.escape(w) + r"(\s|$)", line) for w in wanted) for line in text.splitlines()):
            raise FirewallError(
                "Failed to open port %s: ufw has the rule, but the kernel's chain %s has not. Run `ufw reload`."
                % (request.name, chain)
            )


def _network(entry):
    return entry.rules[0].source
