# SPDX-License-Identifier: GPL-3.0-or-later
"""What all firewall backends share: the request, rules as values, and the memory of what was made here."""

import ipaddress
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import ledger

TAG = "seamless.migration"
LEDGER = "/var/lib/seamless-migration/firewall.json"
_PORT = re.compile(r"\A([0-9]{1,5})(?:-([0-9]{1,5}))?\Z")


class FirewallError(Exception):
    """The firewall could not be read or changed, or did not do what was written."""


def parse_ports(value):
    """"873" or "8000-8010" -> (first, last). Raises FirewallError."""
    found = _PORT.match(str(value).strip())
    first, last = (int(found.group(1)), int(found.group(2) or found.group(1))) if found else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise FirewallError(
            "Failed to use option port: %r is no port. Give a number from 1 to 65535, or a range such as 8000-8010."
            % (value,)
        )
    return first, last


def parse_sources(values):
    """List of network texts -> sorted list of ip networks without duplicates. Raises FirewallError."""
    networks = set()
    for value in values or []:
        try:
            network = ipaddress.ip_network(value.strip())
        except ValueError as error:
            raise FirewallError(
                "Failed to use option sources: %r is no network: %s. "
                "Give addresses or networks such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64." % (value, error)
            ) from error
        if network.prefixlen == 0:
            raise FirewallError(
                "Failed to use option sources: %r means everybody. Leave sources out to open the port to everybody."
                % (value,)
            )
        networks.add(network)
    return sorted(networks, key=lambda network: (network.version, network))


def network_text(network):
    """An ip network as administrators write it: a single host without its prefix length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


class Request:
    """What the user asked for.

    ports: (first, last). protocol: tcp or udp. sources: list of ip networks, empty for everybody. zone: str or None.
    state: present or absent.
    """

    def __init__(self, ports, protocol="tcp", sources=(), zone=None, state="present"):
        self.ports = ports
        self.protocol = protocol
        self.sources = list(sources)
        self.zone = zone
        self.state = state

    @classmethod
    def of(cls, params):
        """From module parameters. Raises FirewallError for values that make no sense."""
        return cls(
            parse_ports(params["port"]),
            params["protocol"],
            parse_sources(params["sources"]),
            params["zone"],
            params["state"],
        )

    def port_text(self, separator="-"):
        first, last = self.ports
        return str(first) if first == last else "%d%s%d" % (first, separator, last)

    @property
    def name(self):
        """For example 873/tcp."""
        return "%s/%s" % (self.port_text(), self.protocol)

    @property
    def askers(self):
        """Whose traffic is asked about: the networks, or [None] for everybody."""
        return self.sources or [None]

    def concerns(self, network):
        """Whether a rule that was made for this network (None: everybody) is meant by this request."""
        return not self.sources or network in self.sources


class Rule:
    """One rule of a firewall as far as it can be judged here.

    action: accept, deny, or maybe (has conditions that are not understood). protocol: tcp, udp or None for any.
    ports: (first, last) or None for any. source: ip network or None for any. text: as the firewall shows it.
    """

    def __init__(self, action, *, protocol=None, ports=None, source=None, text=""):
        self.action = action
        self.protocol = protocol
        self.ports = ports
        self.source = source
        self.text = text

    def covers(self, request, asker):
        """Whether every packet of the request from asker (network, or None for everybody) meets this rule."""
        return (
            self.protocol in (None, request.protocol)
            and (self.ports is None or (self.ports[0] <= request.ports[0] and request.ports[1] <= self.ports[1]))
            and (self.source is None or (asker is not None and contains(self.source, asker)))
        )

    def touches(self, request, asker):
        """Whether some packet of the request from asker meets this rule."""
        return (
            self.protocol in (None, request.protocol)
            and (self.ports is None or (self.ports[0] <= request.ports[1] and request.ports[0] <= self.ports[1]))
            and (self.source is None or asker is None or overlaps(self.source, asker))
        )


def contains(outer, inner):
    """Whether ip network outer contains inner (subnet_of came with Python 3.7)."""
    return outer.version == inner.version and (
        outer.network_address <= inner.network_address and inner.broadcast_address <= outer.broadcast_address
    )


def overlaps(one, other):
    return one.version == other.version and one.overlaps(other)


class Ledger(ledger.Ledger):
    """The memory of the rules that were made here, so that exactly they can be removed.

    entries: list of dicts with at least backend, port (873/tcp), source (network text or None).
    """

    says = "which firewall rules were made"
    otherwise = "remove it and close the ports by hand"
    error = FirewallError

    def made(self, backend, request):
        """Entries of this backend for the request's port."""
        return [e for e in self.entries if e["backend"] == backend and e["port"] == request.name]

    def replace(self, old, new):
        """Take out the entries old and put in new; writes the file when that changes it."""
        entries = [e for e in self.entries if e not in old]
        self.write(entries + [e for e in new if e not in entries])


class Plan:
    """What will be done and what will be there then.

    before, after: lists of texts of the rules that concern the request. commands: list of argv. warnings: list of
    str. made, forgotten: ledger entries to add and to take out. details: what the backend's apply and verify need.
    """

    def __init__(self, backend):
        self.backend = backend
        self.before = []
        self.after = []
        self.commands = []
        self.warnings = []
        self.made = []
        self.forgotten = []
        self.persistent = True
        self.zones = []
        self.details = {}

    @property
    def differs(self):
        return bool(self.commands or self.details.get("files"))
