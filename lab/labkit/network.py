# SPDX-License-Identifier: GPL-3.0-or-later
"""One private network for each lab, cut out of 10.77.0.0/16."""

import hashlib
import ipaddress
import json
import shlex

from .machine import machine_lock
from .paths import CHECKOUT_LABEL, LABEL, PREFIX
from .podman import podman, podman_json
from .run import LabError, run

RANGE = ipaddress.ip_network("10.77.0.0/16")


def _taken():
    """Networks inside the range that this machine knows already, by route or in podman's list."""
    texts = [route.get("dst", "") for route in json.loads(run(["ip", "-j", "-4", "route"]).stdout or "[]")]
    names = [network["name"] for network in podman_json("network", "ls", "--format", "json")]
    for network in podman_json("network", "inspect", *names) if names else []:
        texts += [subnet["subnet"] for subnet in network.get("subnets") or []]
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            continue  # "default", or an IPv6 range
    return [network for network in found if network.version == 4 and network.prefixlen > 0]


def create(name):
    """Make the network of a lab, or find it; returns the subnet as text.

    :raises LabError: when no subnet is free.
    """
    network = PREFIX + name
    with machine_lock("network"):
        if podman("network", "exists", network, check=False).returncode == 0:
            return podman_json("network", "inspect", network)[0]["subnets"][0]["subnet"]
        # What an earlier lab of this name left, with another subnet, would hide its hosts' addresses from each other.
        _drop_chains("nat", _chain(network))
        taken = _taken()
        for subnet in RANGE.subnets(new_prefix=24):
            if not any(subnet.overlaps(other) for other in taken):
                # No name server of podman's: the hosts find each other by /etc/hosts, as the demo wants to edit it.
                podman(
                    "network", "create", "--disable-dns", "--label", "%s=%s" % (LABEL, name),
                    "--label", CHECKOUT_LABEL, "--subnet", str(subnet), network,
                )  # fmt: skip
                return str(subnet)
    raise LabError("No free subnet in %s. Take labs down: lab list, lab down" % RANGE)


def remove(name):
    podman("network", "rm", "--force", PREFIX + name, check=False)


def remove_leftovers():
    """Remove the packet filter chains that netavark leaves behind after its last network.

    Does nothing while any container of the machine runs with a network of podman's.
    """
    if podman_json("ps", "--format", "json"):
        return
    for table in ("nat", "filter"):
        _drop_chains(table, "NETAVARK")


def _chain(network):
    """The chain in which netavark hides a network's addresses when they go out (its create_network_hash)."""
    return "NETAVARK-" + hashlib.sha512(network.encode()).hexdigest()[:13].upper()


def _drop_chains(table, name):
    """Remove packet filter chains whose name begins so, and every rule that names one."""
    listed = run(["iptables", "-t", table, "-S"], check=False).stdout.splitlines()
    for line in listed:
        if line.startswith("-A") and name in line:
            run(["iptables", "-t", table, "-D"] + shlex.split(line)[1:], check=False)
    for verb in ("-F", "-X"):
        for line in listed:
            if line.startswith("-N NETAVARK") and line.split()[1].startswith(name):
                run(["iptables", "-t", table, verb, line.split()[1]], check=False)


def address(subnet, number):
    """Address of the host with this number in the subnet, as text."""
    return str(ipaddress.ip_network(subnet)[number])


def hardware(address):
    """Hardware address that belongs to an address, so that a host that is powered on again is found at once."""
    return "02:00:" + ":".join("%02x" % number for number in ipaddress.ip_address(address).packed)


def keep_bridge_address(name, subnet):
    """Fix the hardware address of a lab's bridge.

    Left alone it is the lowest of its cables', changes when a host is powered off or on, and every other host then
    talks to nobody until it asks again, half a minute later.
    """
    bridge = podman_json("network", "inspect", PREFIX + name)[0]["network_interface"]
    run(["ip", "link", "set", bridge, "address", hardware(address(subnet, 1))])
