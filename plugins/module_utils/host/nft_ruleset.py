# SPDX-License-Identifier: GPL-3.0-or-later
"""Read an nftables ruleset (`nft -j list ruleset`) and judge what it does to a new connection to a port."""

import ipaddress
import json
import re
import socket

from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_common import (
    FirewallError,
    contains,
    overlaps,
)

YES, MAYBE, NO = "yes", "maybe", "no"
_NOT = {YES: NO, NO: YES, MAYBE: MAYBE}
# Statements that do not decide whether a rule applies (libnftables-json(5)); all others make it uncertain.
_NEUTRAL = {"counter", "log", "mangle", "notrack", "ct helper", "ct timeout", "ct expectation", "flow", "dup"}
_VERDICTS = {"accept": "accept", "drop": "deny", "reject": "deny", "queue": "deny", "return": "return"}
_PROTOCOLS = {6: "tcp", 17: "udp", "6": "tcp", "17": "udp"}
_OTHERS = ("tcp", "udp", "icmp", "icmpv6", "igmp", "sctp", "dccp", "esp", "ah")
_HEADER = re.compile(r"^table (\S+) (\S+) \{")
_HANDLE = re.compile(r"^\s*(.*\S)\s+# handle (\d+)$")


class Probe:
    """A new connection: protocol, ports (first, last), asker (ip network, None for everybody)."""

    def __init__(self, protocol, ports, asker):
        self.protocol = protocol
        self.ports = ports
        self.asker = asker


def _any(answers):
    answers = list(answers)
    return YES if YES in answers else MAYBE if MAYBE in answers else NO


def _values(right):
    """The right side of a match as a list of single values."""
    if isinstance(right, dict) and "set" in right:
        return right["set"]
    return right if isinstance(right, list) else [right]


def _port_answer(ports, value):
    if isinstance(value, dict) and "range" in value:
        first, last = value["range"]
    elif isinstance(value, (int, str)) and not str(value).startswith("@"):
        first = last = value
    else:
        return MAYBE
    try:
        first, last = [int(p) if str(p).isdigit() else socket.getservbyname(p) for p in (first, last)]
    except OSError:
        return MAYBE
    if first <= ports[0] and ports[1] <= last:
        return YES
    return MAYBE if first <= ports[1] and ports[0] <= last else NO


def value_network(value):
    """An address, prefix or text of nft's JSON -> ip network, or None (ranges, named sets)."""
    try:
        if isinstance(value, dict) and "prefix" in value:
            return ipaddress.ip_network("%s/%d" % (value["prefix"]["addr"], value["prefix"]["len"]), strict=False)
        return ipaddress.ip_network(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _address_answer(asker, value):
    network = value_network(value)
    if asker is None or network is None:
        return MAYBE
    if contains(network, asker):
        return YES
    return MAYBE if overlaps(network, asker) else NO


def _address_family_answer(probe, payload, right):
    """A match on a field of the IP header."""
    version = 4 if payload["protocol"] == "ip" else 6
    if probe.asker is not None and probe.asker.version != version:
        return NO
    if payload["field"] == "saddr":
        return _any(_address_answer(probe.asker, value) for value in _values(right))
    if payload["field"] in ("protocol", "nexthdr"):
        return _any(_protocol_answer(probe, value) for value in _values(right))
    return MAYBE


def _payload_answer(probe, payload, right):
    protocol, field = payload.get("protocol"), payload.get("field")
    if protocol in ("ip", "ip6"):
        return _address_family_answer(probe, payload, right)
    if protocol in ("th", probe.protocol):
        return _any(_port_answer(probe.ports, value) for value in _values(right)) if field == "dport" else MAYBE
    return NO if protocol in _OTHERS else MAYBE


def _protocol_answer(probe, value):
    return YES if _PROTOCOLS.get(value, value) == probe.protocol else NO


def _meta_answer(probe, key, right):
    if key == "l4proto":
        return _any(_protocol_answer(probe, value) for value in _values(right))
    if key in ("iif", "iifname") and _values(right) == ["lo"]:
        return NO
    if key in ("nfproto", "protocol") and probe.asker is not None:
        mine = ("ipv4", "ip") if probe.asker.version == 4 else ("ipv6", "ip6")
        return _any(YES if value in mine else NO for value in _values(right))
    return MAYBE


def match_answer(probe, left, right):
    """Whether left == right holds for every packet of the probe: YES, NO, or MAYBE."""
    if not isinstance(left, dict):
        return MAYBE
    if "payload" in left:
        return _payload_answer(probe, left["payload"], right)
    if "meta" in left:
        return _meta_answer(probe, left["meta"].get("key"), right)
    if "ct" in left and left["ct"].get("key") == "state":
        return YES if "new" in _values(right) else NO
    return MAYBE


def _pair(mapping):
    """The name and the value of a dict of one item, which is how nft writes a statement or a verdict."""
    return next(iter(mapping.items()))


class Ruleset:
    """A parsed ruleset. chains: {(family, table, name): chain dict with a list `rules`}, in the kernel's order."""

    def __init__(self, text):
        self.chains = {}
        try:
            items = json.loads(text)["nftables"]
        except (ValueError, KeyError, TypeError) as error:
            raise FirewallError(
                "Failed to read the nftables ruleset: `nft -j list ruleset` gave no JSON (%s). "
                "nft 0.9 or later, built with JSON, is needed." % error
            ) from error
        for item in items:
            if "chain" in item:
                chain = item["chain"]
                self.chains[chain["family"], chain["table"], chain["name"]] = dict(chain, rules=[])
        for item in items:
            if "rule" in item:
                rule = item["rule"]
                self.chains[rule["family"], rule["table"], rule["chain"]]["rules"].append(rule)

    def input_chains(self):
        """Keys of the chains that see what comes in for this host."""
        return [
            key
            for key, chain in self.chains.items()
            if chain.get("hook") == "input" and chain.get("type") == "filter" and key[0] in ("ip", "ip6", "inet")
        ]

    def judge(self, key, probe, skip=lambda rule: False):
        """What an input chain does to the probe.

        key: of a base chain. skip: rules that are left out. Returns (verdict, place, doubts): verdict accept or deny,
        place: the rule of this chain that decided, or that left the chain by goto or return before its policy denied
        (None: the policy, at the end), doubts: rules that may deny before.
        """
        judgement = _Judgement(self.chains, key[:2], probe, skip)
        verdict, place = judgement.walk(key[2], 0)
        if verdict is None:
            verdict = "deny" if self.chains[key].get("policy") == "drop" else "accept"
            place = place if verdict == "deny" else None
        return verdict, place, judgement.doubts


class _Judgement:
    """One walk of a probe through the chains of a table. doubts: rules that may have denied it on the way."""

    def __init__(self, chains, table, probe, skip):
        self.chains = chains
        self.table = table
        self.probe = probe
        self.skip = skip
        self.doubts = []

    def walk(self, name, depth):
        """(accept, deny or None, the rule of this chain that decided)."""
        chain = self.chains.get(self.table + (name,))
        if chain is None or depth > 16:
            return None, None
        for rule in chain["rules"]:
            if self.skip(rule):
                continue
            for action, certainty in self._outcomes(rule, depth):
                if certainty == YES and action == "return":
                    return None, rule
                if certainty == YES:
                    return action, rule
                if action == "deny":
                    self.doubts.append(rule)
        return None, None

    def _outcomes(self, rule, depth):
        """Pairs (action, certainty) that this rule can lead to."""
        certainty = YES
        for statement in rule.get("expr", []):
            name, value = _pair(statement)
            if name == "match":
                certainty = self._match(value, certainty)
                if certainty == NO:
                    return
            elif name == "vmap":
                yield from self._vmap(value, certainty, depth)
            elif name in _VERDICTS or name in ("jump", "goto"):
                yield from self._verdict((name, value), certainty, depth)
            elif name not in _NEUTRAL:
                certainty = MAYBE

    def _match(self, value, certainty):
        answer = match_answer(self.probe, value["left"], value["right"])
        if value["op"] == "!=":
            answer = _NOT[answer]
        elif value["op"] not in ("==", "in"):
            answer = MAYBE
        return NO if answer == NO else MAYBE if MAYBE in (answer, certainty) else YES

    def _verdict(self, verdict, certainty, depth):
        name, value = verdict
        if name in _VERDICTS:
            yield _VERDICTS[name], certainty
            return
        action, _unused = self.walk(value["target"], depth + 1)
        if action is not None:
            yield action, certainty
        elif name == "goto":
            yield "return", certainty

    def _vmap(self, value, certainty, depth):
        data = value.get("data")
        if not isinstance(data, dict) or "set" not in data:
            yield "deny", MAYBE  # a named map: its content is not looked up
            return
        for element, verdict in data["set"]:
            answer = match_answer(self.probe, value["key"], element)
            if answer == NO or "continue" in verdict:
                continue
            sure = YES if (answer, certainty) == (YES, YES) else MAYBE
            yield from self._verdict(_pair(verdict), sure, depth)


def rule_texts(text):
    """`nft -a list ruleset` -> {(family, table, handle): rule as nft writes it}."""
    found = {}
    table = None
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            table = header.groups()
        handle = _HANDLE.match(line)
        if handle and table and not handle.group(1).endswith("{"):
            found[table + (int(handle.group(2)),)] = handle.group(1)
    return found
