# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports in a plain nftables ruleset: rules with a comment tag, before what denies, saved for the next boot."""

import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_common import (
    TAG,
    FirewallError,
    Plan,
    network_text,
)
from ansible_collections.seamless.migration.plugins.module_utils.host.nft_ruleset import (
    Probe,
    Ruleset,
    rule_texts,
    value_network,
)

BACKEND = "nftables"
# What nftables.service loads, and where a file of ours beside it stands. The first that exists is taken.
PERSISTENCE = (
    ("/etc/nftables.conf", "/etc/nftables.d/seamless-migration.nft"),  # Debian, Ubuntu, Arch
    ("/etc/sysconfig/nftables.conf", "/etc/nftables/seamless-migration.nft"),  # EL, Fedora
)
_HEADER = "# Rules of the collection seamless.migration; each goes when its port is closed by firewall_port.\n"
_SAVED = re.compile(r'^insert rule (\S+) (\S+) (\S+) (.*comment "%s [^"]+")$' % re.escape(TAG))


def tag(request):
    return "%s %s" % (TAG, request.name)


def statement(request, network):
    """The rule as nft reads it."""
    words = []
    if network is not None:
        words += ["ip" if network.version == 4 else "ip6", "saddr", network_text(network)]
    words += [request.protocol, "dport", request.port_text(), "accept", "comment", '"%s"' % tag(request)]
    return " ".join(words)


def rule_network(rule):
    """The network that one of our rules is limited to, or None. rule: dict of nft's JSON."""
    for part in rule.get("expr", []):
        left = part.get("match", {}).get("left", {})
        if isinstance(left, dict) and left.get("payload", {}).get("field") == "saddr":
            return value_network(part["match"]["right"])
    return None


def _applies(key, asker):
    return asker is None or key[0] == "inet" or (key[0] == "ip") == (asker.version == 4)


class Nftables:
    """The nftables ruleset of this host. run, which: as in host.command. root: prefix of paths, for tests."""

    name = BACKEND

    def __init__(self, run, which, root=""):
        self._run = run
        self._nft = which("nft")
        self._systemctl = which("systemctl")
        self._root = root
        self._ruleset = None

    @property
    def installed(self):
        return bool(self._nft)

    def ruleset(self, fresh=False):
        if fresh or self._ruleset is None:
            self._ruleset = Ruleset(self._run([self._nft, "-j", "list", "ruleset"]).stdout)
        return self._ruleset

    def filters(self, request):
        """Whether some input chain does anything but accept all that is asked about, or holds a rule of ours."""
        ruleset = self.ruleset()
        for key in ruleset.input_chains():
            if ruleset.chains[key]["rules"] or ruleset.chains[key].get("policy") == "drop":
                return True
        return bool(self._saved_lines(request))

    def refuse_iptables(self, request):
        """Raise FirewallError where the chain that denies belongs to iptables."""
        ruleset = self.ruleset()
        for key in ruleset.input_chains():
            if key[0] in ("ip", "ip6") and key[1:] == ("filter", "INPUT"):
                for asker in request.askers:
                    if _applies(key, asker) and ruleset.judge(key, self._probe(request, asker))[0] == "deny":
                        raise FirewallError(
                            "Failed to change port %s: the chain that denies it (%s filter INPUT) is managed by "
                            "iptables, which is not supported. Open the port with what wrote those rules."
                            % (request.name, key[0])
                        )

    @staticmethod
    def _probe(request, asker):
        return Probe(request.protocol, request.ports, asker)

    # -- plan

    def plan(self, request, ledger):
        del ledger  # the comment of a rule says that it is ours
        plan = Plan(self.name)
        ruleset = self.ruleset()
        keys = [key for key in ruleset.input_chains() if key[1:] != ("filter", "INPUT") or key[0] == "inet"]
        plan.zones = [" ".join(key) for key in keys]
        expected = {}
        saved = []
        for key in keys:
            rules, lines = self._plan_chain(plan, ruleset, key, request)
            expected[key] = rules
            saved += lines
        plan.before = self._effective(request, ruleset)
        plan.details.update(
            expected=expected,
            foreign=self._foreign(ruleset, request),
            files=self._plan_files(plan, request, saved),
        )
        plan.after = sorted(
            " ".join(key) + ": " + statement(request, network) for key in keys for network in expected[key]
        ) + [line for line in plan.before if '"%s"' % tag(request) not in line]
        plan.after.sort()
        if request.state == "absent" or request.sources:
            plan.warnings += self._open_anyway(ruleset, keys, request)
        return plan

    def _ours(self, ruleset, key, request):
        return [rule for rule in ruleset.chains[key]["rules"] if rule.get("comment") == tag(request)]

    def _plan_chain(self, plan, ruleset, key, request):
        """Plan what one chain needs. Returns (networks of our rules afterwards, lines to save)."""
        ours = self._ours(ruleset, key, request)
        if request.state == "absent":
            gone = [rule for rule in ours if request.concerns(rule_network(rule))]
            plan.commands += [self._delete(key, rule) for rule in gone]
            kept = [rule_network(rule) for rule in ours if rule not in gone]
            return kept, [self._saved_line(key, request, network) for network in kept]
        askers = [asker for asker in request.askers if _applies(key, asker)]
        kept = []
        for rule in ours:
            network = rule_network(rule)
            verdict, _unused, _unused = ruleset.judge(key, self._probe(request, network))
            if network in askers and network not in kept and verdict == "accept":
                kept.append(network)
            else:
                plan.commands.append(self._delete(key, rule))
        for asker in askers:
            if asker in kept:
                continue
            verdict, place, doubts = ruleset.judge(key, self._probe(request, asker), lambda rule: rule in ours)
            if verdict == "accept":
                continue
            plan.commands.append(self._insert(key, place, request, asker))
            kept.append(asker)
            if doubts:
                texts = "; ".join(self._text(key, rule) for rule in doubts)
                plan.warnings.append("Some traffic to port %s may still be denied by: %s" % (request.name, texts))
        return kept, [self._saved_line(key, request, network) for network in kept]

    def _text(self, key, rule):
        texts = rule_texts(self._run([self._nft, "-a", "list", "ruleset"]).stdout)
        return texts.get((key[0], key[1], rule["handle"]), "handle %d" % rule["handle"])

    def _delete(self, key, rule):
        return [self._nft, "delete", "rule"] + list(key) + ["handle", str(rule["handle"])]

    def _insert(self, key, place, request, network):
        where = ["add", "rule"] + list(key)
        if place is not None:
            where = ["insert", "rule"] + list(key) + ["handle", str(place["handle"])]
        return [self._nft] + where + [statement(request, network)]

    def _foreign(self, ruleset, request):
        """Everything that is not ours, to see afterwards that it is still there."""
        return [
            (key, rule["handle"])
            for key, chain in sorted(ruleset.chains.items())
            for rule in chain["rules"]
            if rule.get("comment") != tag(request)
        ]

    def _effective(self, request, ruleset):
        """Texts of our rules, and of the rules that decide for those who ask."""
        texts = None
        lines = set()
        for key in ruleset.input_chains():
            rules = self._ours(ruleset, key, request)
            for asker in request.askers:
                verdict, place, _unused = ruleset.judge(key, self._probe(request, asker))
                if verdict == "accept" and place is not None and place not in rules:
                    rules = rules + [place]
            for rule in rules:
                texts = texts or rule_texts(self._run([self._nft, "-a", "list", "ruleset"]).stdout)
                text = texts.get((key[0], key[1], rule["handle"]), "handle %d" % rule["handle"])
                lines.add("%s: %s" % (" ".join(key), text))
        return sorted(lines)

    def _open_anyway(self, ruleset, keys, request):
        probe = self._probe(request, None)
        verdicts = [ruleset.judge(key, probe, lambda rule: rule.get("comment") == tag(request)) for key in keys]
        if any(verdict != "accept" for verdict, _unused, _unused in verdicts):
            return []
        texts = [self._text(key, v[1]) if v[1] else "policy accept" for key, v in zip(keys, verdicts)]
        return [
            "Port %s is open anyway by what was not made by this module and stays: %s."
            % (request.name, "; ".join(texts) or "no input chain")
        ]

    # -- what is loaded at boot

    def _paths(self):
        for configuration, ours in PERSISTENCE:
            if os.path.exists(self._root + configuration):
                return self._root + configuration, self._root + ours
        return None, None

    def _loaded_at_boot(self):
        if not self._systemctl:
            return False
        return self._run([self._systemctl, "is-enabled", "--quiet", "nftables.service"], ok=None).rc == 0

    @staticmethod
    def _saved_line(key, request, network):
        # At boot the rule goes to the top of its chain: a position counted from the rules of today would make
        # the whole ruleset fail to load once the administrator takes one of them out.
        return "insert rule %s %s" % (" ".join(key), statement(request, network))

    def _saved_lines(self, request=None):
        path = self._paths()[1]
        content = files.text(files.read(path, b"")) if path else ""
        ending = 'comment "%s"' % tag(request) if request else ""
        return [line for line in content.splitlines() if _SAVED.match(line) and line.endswith(ending)]

    def _plan_files(self, plan, request, wanted):
        """{path: (content before, content after)} of the files that change; content None: no file."""
        configuration, path = self._paths()
        others = [line for line in self._saved_lines() if line not in self._saved_lines(request)]
        lines = sorted(others + wanted)
        if configuration is None or (wanted and not self._loaded_at_boot()):
            plan.persistent = not wanted
            if wanted:
                plan.warnings.append(
                    "The rules are in the kernel only and go with the next restart: nftables.service does not load "
                    "%s at boot. Enable it, or put the rules where this host loads its ruleset from."
                    % (configuration or " or ".join(pair[0] for pair in PERSISTENCE))
                )
            return {}
        found = {}
        include = 'include "%s"\n' % path[len(self._root):]
        content = None
        if lines:
            content = _HEADER
            for line in lines:
                family, table, chain = line.split()[2:5]
                content += "add table %s %s\nadd chain %s %s %s\n%s\n" % (family, table, family, table, chain, line)
        before = files.read(path)
        if before != (files.data(content) if content else None):
            found[path] = (before, files.data(content) if content else None)
        main = files.text(files.read(configuration, b""))
        after = main
        if lines and include not in main:
            after = main + ("" if main.endswith("\n") or not main else "\n") + include
        elif not lines:
            after = main.replace(include, "")
        if after != main:
            found[configuration] = (files.data(main), files.data(after))
        return found

    # -- apply, verify

    def apply(self, plan):
        changes = plan.details["files"]
        try:
            self._write_files(changes, new=True)
            if plan.commands:
                script = "\n".join(" ".join(argv[1:]) for argv in plan.commands) + "\n"
                self._run([self._nft, "-f", "-"], stdin=files.data(script))
        except (CommandError, files.FileError) as error:
            self._write_files(changes, new=False)
            raise FirewallError(
                "Failed to change the nftables ruleset: %s. Nothing was changed; see that `nft -c -f` accepts the "
                "configuration that is loaded at boot." % error
            ) from error

    def _write_files(self, changes, new):
        # Our own file comes first when rules are added and last when it goes, so that no include ever misses it.
        for path in sorted(changes, key=lambda name: (changes[name][new] is None, not name.endswith(".nft"))):
            content = changes[path][1 if new else 0]
            if content is None:
                files.remove(path)
                continue
            if not os.path.isdir(os.path.dirname(path)):
                os.makedirs(os.path.dirname(path), 0o755)
            files.write(path, content)
        if new and changes:
            self._run([self._nft, "-c", "-f", self._paths()[0]])

    def verify(self, request, plan):
        """Reads the ruleset again. Returns the effective rules; raises FirewallError when they are not as planned."""
        ruleset = self.ruleset(fresh=True)
        if self._foreign(ruleset, request) != plan.details["foreign"]:
            raise FirewallError(
                "Failed to change port %s: other rules than ours changed meanwhile. Compare `nft list ruleset` with "
                "what should be there, then run again." % request.name
            )
        for key, networks in plan.details["expected"].items():
            found = [rule_network(rule) for rule in self._ours(ruleset, key, request)]
            if sorted(map(str, found)) != sorted(map(str, networks)):
                raise FirewallError(
                    "Failed to change port %s: chain %s has our rules for %s instead of %s. Look at `nft list ruleset`."
                    % (request.name, " ".join(key), found, networks)
                )
            if request.state == "present":
                self._require_effective(request, ruleset, key)
        return self._effective(request, ruleset)

    def _require_effective(self, request, ruleset, key):
        for asker in request.askers:
            if not _applies(key, asker):
                continue
            verdict, place, _unused = ruleset.judge(key, self._probe(request, asker))
            if verdict != "accept":
                cause = self._text(key, place) if place else "its policy"
                raise FirewallError(
                    "Failed to open port %s for %s: chain %s still denies it by %s. Remove what denies it."
                    % (request.name, network_text(asker) if asker else "everybody", " ".join(key), cause)
                )
