# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports in firewalld zones: runtime and permanent through firewall-cmd, permanent only through firewall-offline-cmd."""

import ipaddress
import os
import re
import shlex

from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_common import (
    FirewallError,
    Plan,
    Rule,
    contains,
    network_text,
    overlaps,
)

BACKEND = "firewalld"
_LISTS = ("interfaces", "sources", "services", "ports", "protocols")


def parse_zones(text):
    """The output of --list-all-zones -> {name: dict of parse_zone}. A zone starts at the left margin."""
    blocks = {}
    name = None
    for line in text.splitlines():
        if line and not line[0].isspace():
            name = line.split()[0]
            blocks[name] = []
        if name:
            blocks[name].append(line)
    return {name: parse_zone("\n".join(lines)) for name, lines in blocks.items()}


def parse_zone(text):
    """One zone as firewall-cmd shows it -> dict: target (str), lists of _LISTS, rich (list of str)."""
    zone = {key: [] for key in _LISTS}
    zone["target"] = "default"
    zone["rich"] = []
    rich = False
    for line in text.splitlines()[1:]:
        if rich and line.strip().startswith("rule"):
            zone["rich"].append(line.strip())
            continue
        key, _unused, value = line.strip().partition(":")
        rich = key == "rich rules"
        if key in _LISTS:
            zone[key] = value.split()
        elif key == "target":
            zone["target"] = value.strip()
    return zone


def _port_range(text):
    first, _unused, last = text.partition("-")
    return int(first), int(last or first)


def port_rule(text, origin=None):
    """ "873/tcp" -> Rule."""
    ports, _unused, protocol = text.partition("/")
    return Rule("accept", protocol=protocol, ports=_port_range(ports), text=origin or "port %s" % text)


def parse_rich(text):
    """A rich rule -> Rule. What has elements that are not understood here becomes a rule that `maybe` applies."""
    unknown = Rule("maybe", text=text)
    try:
        words = shlex.split(text)
    except ValueError:
        return unknown
    rule = {"element": []}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            rule["element"].append(key)
        else:
            rule[key] = value
    elements = tuple(rule["element"])
    action = elements[-1] if elements else ""
    known = {"element", "family", "address", "port", "protocol", "type"}
    if action not in ("accept", "drop", "reject") or set(rule) - known or rule.get("address", "").startswith("@"):
        return unknown
    if set(elements[:-1]) - {"source", "port", "protocol"}:
        return unknown
    return _rich_rule(rule, action, text) or unknown


def _rich_rule(rule, action, text):
    source = None
    try:
        if "address" in rule:
            source = ipaddress.ip_network(rule["address"], strict=False)
        elif rule.get("family"):
            source = ipaddress.ip_network("0.0.0.0/0" if rule["family"] == "ipv4" else "::/0")
        ports = _port_range(rule["port"]) if "port" in rule else None
    except ValueError:
        return None
    return Rule(
        "accept" if action == "accept" else "deny", protocol=rule.get("protocol"), ports=ports, source=source, text=text
    )


def item_text(request, network):
    """What is put into a zone: ("port", "873/tcp") or ("rich-rule", "rule ...")."""
    if network is None:
        return "port", request.name
    return "rich-rule", 'rule family="ipv%d" source address="%s" port port="%s" protocol="%s" accept' % (
        network.version,
        network_text(network),
        request.port_text(),
        request.protocol,
    )


def _same(kind, item, zone):
    """Whether the zone (dict of parse_zone) has the item, however it is written there."""
    if kind == "port":
        return item in zone["ports"]
    wanted = parse_rich(item)
    for text in zone["rich"]:
        rule = parse_rich(text)
        if rule.action == wanted.action and (rule.protocol, rule.ports, rule.source) == (
            wanted.protocol,
            wanted.ports,
            wanted.source,
        ):
            return True
    return False


class Firewalld:
    """firewalld of this host. run, which: as in host.command; interfaces: callable, names of network interfaces."""

    name = BACKEND

    def __init__(self, run, which, interfaces=None):
        self._run = run
        self._interfaces = interfaces or (lambda: sorted(n for n in os.listdir("/sys/class/net") if n != "lo"))
        self._ip = which("ip")
        online = which("firewall-cmd")
        self._offline = which("firewall-offline-cmd")
        self._cache = {}
        self._online = None
        answer = run([online, "--list-all-zones"], ok=None) if online else None
        if answer is not None and answer.rc == 0:
            self._online = online
            self._cache["runtime"] = parse_zones(answer.stdout)

    @property
    def installed(self):
        return bool(self._online or self._offline)

    @property
    def running(self):
        return bool(self._online)

    @property
    def layers(self):
        return ("runtime", "permanent") if self._online else ("permanent",)

    def _argv(self, layer, *words):
        if not self._online:
            return [self._offline] + list(words)
        return [self._online] + (["--permanent"] if layer == "permanent" else []) + list(words)

    def _ask(self, layer, *words):
        return self._run(self._argv(layer, *words)).stdout

    def zones(self, layer):
        """All zones of a layer, by one call: firewall-cmd takes a second to start."""
        if layer not in self._cache:
            self._cache[layer] = parse_zones(self._ask(layer, "--list-all-zones"))
        return self._cache[layer]

    def zone(self, layer, name):
        return self.zones(layer)[name]

    def zone_names(self, layer):
        return sorted(self.zones(layer))

    # -- which zone does the traffic arrive in

    def zones_for(self, request, warnings):
        """Pairs (zone, network or None) in which rules are needed. Raises FirewallError for an unknown zone."""
        known = self.zone_names(self.layers[0])
        if request.zone:
            self._require_zone(request.zone, known)
            return [(request.zone, asker) for asker in request.askers]
        if not request.sources:
            return [(self._zone_of_everybody(warnings), None)]
        pairs = []
        for source in request.sources:
            pairs += [(zone, source) for zone in self._zones_of_source(source, known, warnings)]
        return pairs

    def _require_zone(self, zone, known):
        permanent = self.zone_names("permanent")
        if zone not in known and zone in permanent:
            raise FirewallError(
                "Failed to use zone %s: it is permanent but not loaded. Run `firewall-cmd --reload` first." % zone
            )
        if zone not in known:
            raise FirewallError(
                "Failed to use zone %s: firewalld has no such zone. Give one of %s, or leave zone out."
                % (zone, ", ".join(known))
            )
        if zone not in permanent:
            raise FirewallError(
                "Failed to use zone %s: it is loaded but not permanent. Run `firewall-cmd --runtime-to-permanent`, "
                "or give another zone." % zone
            )

    def _default_zone(self):
        if "default" not in self._cache:
            self._cache["default"] = self._ask("runtime", "--get-default-zone").strip()
        return self._cache["default"]

    def _zone_of_interface(self, interface, default):
        for name, zone in sorted(self.zones(self.layers[0]).items()):
            if interface in zone["interfaces"]:
                return name
        return default

    def _zone_of_everybody(self, warnings):
        default = self._default_zone()
        zones = {}
        for interface in self._interfaces():
            zones.setdefault(self._zone_of_interface(interface, default), []).append(interface)
        chosen = default
        if zones and default not in zones:
            if len(zones) > 1:
                raise FirewallError(
                    "Failed to choose a zone: no interface is in the default zone %s, they are in %s. Give zone."
                    % (default, ", ".join(sorted(zones)))
                )
            chosen = next(iter(zones))
        others = ["%s (%s)" % (zone, ", ".join(zones[zone])) for zone in sorted(zones) if zone != chosen]
        if others:
            warnings.append(
                "The port is opened in zone %s only; it stays as it is in zone %s. Give zone for these."
                % (chosen, "; ".join(others))
            )
        return chosen

    def _zones_of_source(self, source, known, warnings):
        """firewalld looks at source bindings first, then at interfaces, then takes the default zone."""
        zones = []
        for name in known:
            for binding in self.zone(self.layers[0], name)["sources"]:
                try:
                    network = ipaddress.ip_network(binding, strict=False)
                except ValueError:
                    warnings.append(
                        "Zone %s is bound to the source %s: whether %s arrives there cannot be told. Give zone if so."
                        % (name, binding, network_text(source))
                    )
                    continue
                if contains(network, source):
                    return [name]
                if overlaps(network, source):
                    zones.append(name)
        return zones + [self._zone_of_route(source)]

    def _zone_of_route(self, source):
        default = self._default_zone()
        if not self._ip:
            return default
        result = self._run([self._ip, "-o", "route", "get", str(source.network_address)], ok=None)
        device = re.search(r"\bdev (\S+)", result.stdout)
        if result.rc != 0 or not device or device.group(1) == "lo":
            return default
        return self._zone_of_interface(device.group(1), default)

    # -- rules of a zone

    def rules(self, layer, name):
        """All rules of a zone that can let traffic in or keep it out, as list of Rule."""
        zone = self.zone(layer, name)
        rules = [port_rule(port) for port in zone["ports"]]
        rules += [Rule("accept", protocol=p, text="protocol %s" % p) for p in zone["protocols"]]
        rules += [parse_rich(text) for text in zone["rich"]]
        for service in zone["services"]:
            rules += self._service_rules(layer, service)
        if zone["target"] == "ACCEPT":
            rules.append(Rule("accept", text="target ACCEPT"))
        return rules

    def _service_rules(self, layer, service):
        key = "service " + service
        if key not in self._cache:
            text = self._run(self._argv(layer, "--info-service=%s" % service), ok=None).stdout
            found = re.search(r"^\s*ports:(.*)$", text, re.M)
            self._cache[key] = found.group(1).split() if found else []
        return [port_rule(port, "service %s (%s)" % (service, port)) for port in self._cache[key]]

    def _state(self, pairs, request):
        """Texts of all rules that concern the request, one line a rule, for diff and result."""
        lines = []
        for layer in self.layers:
            for zone in sorted({zone for zone, _unused in pairs}):
                for rule in self.rules(layer, zone):
                    if any(rule.touches(request, asker) for asker in request.askers):
                        lines.append("%s %s: %s" % (zone, layer, rule.text))
        return sorted(lines)

    # -- plan, apply, verify

    def plan(self, request, ledger):
        plan = Plan(self.name)
        made = [
            entry
            for entry in ledger.made(self.name, request)
            if not request.zone or entry["zone"] == request.zone
        ]
        if request.state == "present":
            pairs = self.zones_for(request, plan.warnings)
        else:
            if request.zone:
                self._require_zone(request.zone, self.zone_names(self.layers[0]))
            pairs = []
        wanted = [
            {"backend": self.name, "port": request.name, "zone": zone, "layer": layer,
             "source": network_text(asker) if asker else None}
            for zone, asker in pairs
            for layer in self.layers
        ]
        kept = {(entry["zone"], entry["source"]) for entry in wanted}
        gone = [entry for entry in made if (entry["zone"], entry["source"]) not in kept]
        if request.state == "absent":
            gone = [entry for entry in gone if request.concerns(_network(entry))]
        plan.forgotten = list(gone)
        plan.zones = sorted({zone for zone, _unused in pairs} | {entry["zone"] for entry in gone})
        shown = [(zone, None) for zone in plan.zones or ([request.zone] if request.zone else [self._default_zone()])]
        plan.before = self._state(shown, request)
        after = list(plan.before)
        for entry in wanted:
            self._plan_add(plan, entry, request, after)
        for pair in sorted({(entry["zone"], entry["source"] or "") for entry in gone}):
            self._plan_remove(plan, pair, request, gone, after)
        plan.after = sorted(after)
        plan.details.update(shown=shown, pairs=pairs)
        plan.warnings += self._open_anyway(request, ledger, shown)
        return plan

    def _plan_add(self, plan, entry, request, after):
        kind, item = item_text(request, _network(entry))
        if _same(kind, item, self.zone(entry["layer"], entry["zone"])):
            return
        plan.commands.append(self._argv(entry["layer"], "--zone=%s" % entry["zone"], "--add-%s=%s" % (kind, item)))
        plan.made.append(entry)
        after.append(_line(entry, kind, item))

    def _plan_remove(self, plan, pair, request, gone, after):
        """Take the rule for one zone and source out of each layer, but not where it is the administrator's.

        What is ours in the permanent layer has got into the runtime one at the latest with firewalld's next start.
        """
        zone, source = pair[0], pair[1] or None
        ours = {entry["layer"] for entry in gone if (entry["zone"], entry["source"]) == (zone, source)}
        there = {}
        for layer in self.layers:
            entry = {"zone": zone, "layer": layer, "source": source}
            kind, item = item_text(request, _network(entry))
            there[layer] = zone in self.zones(layer) and _same(kind, item, self.zone(layer, zone))
        if "permanent" not in ours and there["permanent"]:
            return  # the administrator's permanent rule wants it at runtime too
        for layer in self.layers:
            if not there[layer]:
                continue  # an administrator took it out before us
            plan.commands.append(self._argv(layer, "--zone=%s" % zone, "--remove-%s=%s" % (kind, item)))
            line = _line({"zone": zone, "layer": layer}, kind, item)
            if line in after:
                after.remove(line)

    def _open_anyway(self, request, ledger, shown):
        """Warnings about rules that are not ours and let the port through to more than asked for."""
        ours = {
            "%s %s: %s" % (e["zone"], self.layers[0], _item_line(request, e)) for e in ledger.made(self.name, request)
        }
        found = []
        for zone, _unused in shown:
            for rule in self.rules(self.layers[0], zone):
                line = "%s %s: %s" % (zone, self.layers[0], rule.text)
                wide = rule.source is None or request.state == "absent"
                asked = request.state == "present" and not request.sources
                if rule.action == "accept" and rule.touches(request, None) and wide and not asked and line not in ours:
                    found.append("zone %s: %s" % (zone, rule.text))
        if not found:
            return []
        return [
            "Port %s is open anyway by what was not made by this module and stays: %s."
            % (request.name, "; ".join(found))
        ]

    def apply(self, plan):
        for argv in plan.commands:
            self._run(argv)

    def verify(self, request, plan):
        """Reads everything again. Returns the effective rules; raises FirewallError when they are not as planned."""
        for layer in self.layers:
            self._cache.pop(layer, None)
        state = self._state(plan.details["shown"], request)
        if state != plan.after:
            raise FirewallError(
                "Failed to change port %s: firewalld now has %s instead of %s. Look at `firewall-cmd --list-all-zones`."
                % (request.name, state, plan.after)
            )
        if request.state == "present":
            for zone, asker in plan.details["pairs"]:
                for layer in self.layers:
                    self._require_effective(request, asker, zone, layer)
        return state

    def _require_effective(self, request, asker, zone, layer):
        rules = self.rules(layer, zone)
        denied = [r.text for r in rules if r.action == "deny" and r.touches(request, asker)]
        accepted = [r for r in rules if r.action == "accept" and r.covers(request, asker)]
        if denied or not accepted:
            raise FirewallError(
                "Failed to open port %s in zone %s (%s) for %s: %s. Remove what denies it, or give another zone."
                % (
                    request.name,
                    zone,
                    layer,
                    network_text(asker) if asker else "everybody",
                    "it is denied by %s" % "; ".join(denied) if denied else "no rule accepts it",
                )
            )


def _network(entry):
    return ipaddress.ip_network(entry["source"]) if entry["source"] else None


def _item_line(request, entry):
    kind, item = item_text(request, _network(entry))
    return "port %s" % item if kind == "port" else item


def _line(entry, kind, item):
    return "%s %s: %s" % (entry["zone"], entry["layer"], "port %s" % item if kind == "port" else item)


def enabled(run, which):
    """Whether firewalld starts at boot."""
    systemctl = which("systemctl")
    if not systemctl:
        return False
    try:
        return run([systemctl, "is-enabled", "--quiet", "firewalld.service"], ok=None).rc == 0
    except CommandError:
        return False
