# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins for the programs of firewalld and ufw, and a network namespace of its own for the real nft."""

import os
import signal
import subprocess

from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError, Result

INFO = """{name}
  target: {target}
  icmp-block-inversion: no
  interfaces: {interfaces}
  sources: {sources}
  services: {services}
  ports: {ports}
  protocols: {protocols}
  forward: yes
  masquerade: no
  forward-ports: 
  source-ports: 
  icmp-blocks: 
  rich rules: 
{rich}"""  # noqa: W291 - the program prints them


class FakeFirewalld:
    """Answers firewall-cmd, firewall-offline-cmd and `ip route get`; keeps zones as firewalld 1.3 shows them."""

    def __init__(self, running=True, zones=("public", "internal", "trusted"), lie=None):
        self.running = running
        self.layers = {layer: {name: self._zone(name) for name in zones} for layer in ("runtime", "permanent")}
        self.services = {"ssh": "22/tcp", "rsyncd": "873/tcp 873/udp"}
        self.interfaces = {}
        self.routes = {}
        self.lie = lie  # what an option is turned into before it is carried out
        self.calls = []

    @staticmethod
    def _zone(name):
        zone = {key: [] for key in ("interfaces", "sources", "services", "ports", "protocols", "rich")}
        zone["target"] = "ACCEPT" if name == "trusted" else "default"
        return zone

    def both(self, zone, key, value):
        for layer in self.layers.values():
            layer[zone][key].append(value)

    @staticmethod
    def which(name):
        return {"firewall-cmd": "firewall-cmd", "firewall-offline-cmd": "firewall-offline-cmd", "ip": "ip"}.get(name)

    def run(self, argv, ok=(0,), **_unused):
        out, rc = self._answer(argv)
        result = Result(argv, rc, out, "")
        if ok is not None and rc not in ok:
            raise CommandError("%s: exit status %d" % (" ".join(argv), rc), result)
        return result

    def _answer(self, argv):
        if argv[0] == "ip":
            device = self.routes.get(argv[-1], "eth0")
            return "%s dev %s src 10.0.0.1 uid 0" % (argv[-1], device), 0
        words = argv[1:]
        if argv[0] == "firewall-cmd" and not self.running:
            return "not running", 252
        layer = "permanent" if "--permanent" in words or argv[0] == "firewall-offline-cmd" else "runtime"
        zones = self.layers[layer]
        words = [word for word in words if word != "--permanent"]
        option, _unused, value = words[-1].partition("=")
        if option.startswith(("--add-", "--remove-")):
            self.calls.append(argv)
            self._change(zones[words[0].partition("=")[2]], option, value)
            return "success\n", 0
        return self._look(zones, option, value)

    def _change(self, zone, option, value):
        kind, verb = option.rpartition("-")[2], option.split("-")[2]
        if self.lie:
            kind, value = self.lie(kind, value)
        items = zone[{"port": "ports", "rule": "rich", "protocol": "protocols"}[kind]]
        if verb == "add":
            items.append(value)
        else:
            items.remove(value)

    def _look(self, zones, option, value):
        if option == "--get-default-zone":
            return "public\n", 0
        if option == "--info-service":
            return "%s\n  ports: %s\n" % (value, self.services.get(value, "")), 0
        assert option == "--list-all-zones", option
        return "\n".join(self._show(name, dict(zones[name])) for name in zones), 0

    def _show(self, name, zone):
        zone["interfaces"] = [interface for interface, zone in self.interfaces.items() if zone == name]
        rich = "".join("\t%s\n" % rule for rule in zone.pop("rich"))
        target = zone.pop("target")
        return INFO.format(name=name, target=target, rich=rich, **{k: " ".join(v) for k, v in zone.items()})


class Namespace:
    """A network namespace with a ruleset of its own, for the real nft (needs root)."""

    def __init__(self, ruleset=""):
        self._process = subprocess.Popen(["unshare", "-n", "sleep", "300"])
        while os.readlink("/proc/%d/ns/net" % self._process.pid) == os.readlink("/proc/self/ns/net"):
            pass
        self.enabled = True
        if ruleset:
            self.nft(ruleset)

    def close(self):
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @staticmethod
    def which(name):
        return {"nft": command.which("nft"), "systemctl": "systemctl"}.get(name)

    def run(self, argv, **keywords):
        if argv[0] == "systemctl":
            return Result(argv, 0 if self.enabled and "nftables.service" in argv else 1, "", "")
        return command.run(["nsenter", "-t", str(self._process.pid), "-n"] + argv, **keywords)

    def nft(self, script):
        self.run([command.which("nft"), "-f", "-"], stdin=script.encode())

    def text(self):
        return self.run([command.which("nft"), "list", "ruleset"]).stdout


class FakeUfw:
    """Answers ufw as 0.36 does, writing user.rules below root, and iptables -S of ufw's chains."""

    def __init__(self, root, active=True, default="deny", ipv6=True):
        self.root = root
        self.active = active
        self.default = default
        self.rules = {4: [], 6: []}
        self.calls = []
        self.kernel = True
        (root / "etc/ufw").mkdir(parents=True)
        (root / "etc/default").mkdir(parents=True)
        (root / "etc/default/ufw").write_text("IPV6=%s\n" % ("yes" if ipv6 else "no"))
        self.ipv6 = ipv6
        self.save()

    def save(self):
        for version, name in ((4, "user.rules"), (6, "user6.rules")):
            text = "*filter\n### RULES ###\n" + "".join("\n### tuple ### %s\n-A x\n" % r for r in self.rules[version])
            (self.root / "etc/ufw" / name).write_text(text)

    @staticmethod
    def which(name):
        return {"ufw": "ufw", "iptables": "iptables", "ip6tables": "ip6tables"}.get(name)

    def run(self, argv, **_unused):
        if argv[0] in ("iptables", "ip6tables"):
            return Result(argv, 0, self._kernel(4 if argv[0] == "iptables" else 6), "")
        if argv[1:2] == ["status"]:
            status = "Status: active\nDefault: %s (incoming), allow (outgoing)\n" % self.default
            return Result(argv, 0, status if self.active else "Status: inactive\n", "")
        self.calls.append(argv)
        self._change(argv[1:])
        self.save()
        return Result(argv, 0, "Rule added\n", "")

    def _change(self, words):
        verb = words.pop(0) if words[0] in ("delete", "prepend") else None
        action, _unused, protocol, _unused, source, _unused, _unused, _unused, port = words[:9]
        comment = " comment=%s" % words[10].encode().hex() if len(words) > 9 else ""
        for version in (4, 6) if source == "any" and self.ipv6 else (4,) if ":" not in source else (6,):
            anywhere = "0.0.0.0/0" if version == 4 else "::/0"
            body = " ".join([action, protocol, port, anywhere, "any", anywhere if source == "any" else source, "in"])
            same = [rule for rule in self.rules[version] if rule.split(" comment=")[0] == body]
            for rule in same:
                self.rules[version].remove(rule)
            if verb != "delete":
                self.rules[version].insert(0 if verb else len(self.rules[version]), body + comment)

    def _kernel(self, version):
        lines = []
        for rule in self.rules[version] if self.kernel else []:
            action, protocol, port, _unused, _unused, source = rule.split()[:6]
            source = "" if source.endswith("/0") else "-s %s " % (source if "/" in source else source + "/32")
            target = "ACCEPT" if action == "allow" else "DROP"
            match = "multiport --dports" if ":" in port else "%s --dport" % protocol
            matches = "-p %s -m %s %s" % (protocol, match, port)
            lines.append("-A ufw-user-input %s%s -j %s" % (source, matches, target))
        return "\n".join(lines)
