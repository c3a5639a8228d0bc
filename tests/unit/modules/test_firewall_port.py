# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import shutil
import subprocess

import pytest
import yaml
from ansible_collections.seamless.migration.plugins.module_utils.host import firewall
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_common import (
    FirewallError,
    Request,
    parse_ports,
    parse_sources,
)
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_firewalld import (
    Firewalld,
    item_text,
    parse_rich,
)
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall_ufw import parse_tuple
from ansible_collections.seamless.migration.plugins.modules import firewall_port
from fake_firewalls import FakeFirewalld, FakeUfw, Namespace
from hypothesis import given
from hypothesis import strategies as st

NET = "10.77.0.0/24"
RICH = 'rule family="ipv4" source address="10.77.0.0/24" port port="873" protocol="tcp" accept'


@pytest.fixture(autouse=True)
def one_interface(monkeypatch):
    """firewalld is asked about this interface whatever the machine of the test has."""
    original = Firewalld.__init__
    monkeypatch.setattr(Firewalld, "__init__", lambda self, run, which: original(self, run, which, lambda: ["eth0"]))


def params(**changes):
    base = {"port": "873", "protocol": "tcp", "sources": [], "zone": None, "state": "present", "backend": "auto"}
    return dict(base, **changes)


class Host:
    """Runs the module's logic against a fake or a namespace."""

    def __init__(self, tmp_path, machine):
        self.root = str(tmp_path)
        self.machine = machine

    def plan(self, **changes):
        return firewall.manage(params(**changes), run=self.machine.run, which=self.machine.which, root=self.root)

    def do(self, **changes):
        change = self.plan(**changes)
        if change.differs:
            change.apply()
        else:
            change.check()
        return change

    def settle(self, **changes):
        """Run twice: the second run changes nothing, and shows what the first left."""
        first = self.do(**changes)
        second = self.do(**changes)
        assert not second.differs, second.plan.commands
        assert second.effective == first.effective == first.plan.after
        return first


# -- options


@pytest.mark.parametrize("value", ["0", "65536", "10-5", "a", "", "1-", "80,443", "8 0", "-1", "1-2-3"])
def test_a_port_that_is_none_is_refused_and_shown(value):
    with pytest.raises(FirewallError, match="option port: %r" % value):
        parse_ports(value)


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_ports_and_ranges_are_read(one, other):
    first, last = sorted((one, other))
    assert parse_ports("%d-%d" % (first, last)) == (first, last)
    assert parse_ports(str(one)) == (one, one)


@pytest.mark.parametrize("value", ["files.lab", "10.77.0.5/24", "10.0.0.0/33", "", "0.0.0.0/0", "::/0"])
def test_a_source_that_is_no_limited_network_is_refused_and_shown(value):
    with pytest.raises(FirewallError) as caught:
        parse_sources([value])
    assert repr(value) in str(caught.value)


def test_documentation_and_argument_spec_agree():
    options = yaml.safe_load(firewall_port.DOCUMENTATION)["options"]
    spec = firewall_port.argument_spec()
    assert set(options) == set(spec)
    for name, option in options.items():
        for key in ("type", "default", "choices", "elements"):
            assert option.get(key) == spec[name].get(key), (name, key)


# -- firewalld


@pytest.fixture
def firewalld(tmp_path):
    return Host(tmp_path, FakeFirewalld())


def test_a_closed_port_is_opened_now_and_permanently(firewalld):
    change = firewalld.settle()
    for layer in ("runtime", "permanent"):
        assert firewalld.machine.layers[layer]["public"]["ports"] == ["873/tcp"]
    assert change.result()["zones"] == ["public"]
    assert change.effective == ["public permanent: port 873/tcp", "public runtime: port 873/tcp"]


def test_a_plan_changes_nothing_and_shows_what_would_be(firewalld):
    change = firewalld.plan()
    assert firewalld.machine.calls == []
    assert change.diff()[0]["before"] == ""
    assert "public runtime: port 873/tcp\n" in change.diff()[0]["after"]
    assert not os.path.exists(firewalld.root + "/var/lib/seamless-migration/firewall.json")


def test_absent_removes_what_present_made_and_nothing_else(firewalld):
    firewalld.machine.both("public", "ports", "22/tcp")
    firewalld.machine.both("public", "services", "ssh")
    before = json.dumps(firewalld.machine.layers)
    firewalld.settle(sources=[NET, "2001:db8::/64"])
    assert json.dumps(firewalld.machine.layers) != before
    firewalld.settle(state="absent")
    assert json.dumps(firewalld.machine.layers) == before


def test_the_rule_of_the_administrator_survives_present_and_absent(firewalld):
    firewalld.machine.both("public", "ports", "873/tcp")
    assert not firewalld.do().differs
    change = firewalld.settle(state="absent")
    assert not change.differs
    assert firewalld.machine.layers["runtime"]["public"]["ports"] == ["873/tcp"]
    assert "open anyway" in change.plan.warnings[0]


def test_a_wide_rule_of_the_administrator_is_told_when_sources_are_given(firewalld):
    firewalld.machine.both("public", "services", "rsyncd")
    change = firewalld.settle(sources=[NET])
    assert "open anyway" in change.plan.warnings[0]
    assert "service rsyncd (873/tcp)" in change.plan.warnings[0]
    assert firewalld.machine.layers["permanent"]["public"]["services"] == ["rsyncd"]


def test_our_own_rules_are_no_reason_for_a_warning(firewalld):
    firewalld.settle()
    assert firewalld.do(state="absent").plan.warnings == []
    firewalld.settle(sources=[NET])
    assert firewalld.do(sources=[NET]).plan.warnings == []


def test_changed_sources_replace_those_that_were_made_here(firewalld):
    firewalld.machine.both("public", "rich", RICH.replace("10.77", "10.99"))
    firewalld.settle(sources=[NET, "192.0.2.7"])
    firewalld.settle(sources=["192.0.2.8"])
    rich = firewalld.machine.layers["permanent"]["public"]["rich"]
    assert rich == [RICH.replace("10.77", "10.99"), RICH.replace(NET, "192.0.2.8")]


def test_absent_with_sources_leaves_the_others(firewalld):
    firewalld.settle(sources=[NET, "192.0.2.7"])
    firewalld.settle(sources=["192.0.2.7"], state="absent")
    assert firewalld.machine.layers["runtime"]["public"]["rich"] == [RICH]


def test_a_permanent_rule_of_the_administrator_stays_at_runtime_too(firewalld):
    firewalld.machine.layers["permanent"]["public"]["ports"].append("873/tcp")
    firewalld.settle()
    assert firewalld.machine.layers["runtime"]["public"]["ports"] == ["873/tcp"]
    assert not firewalld.do(state="absent").differs
    assert firewalld.machine.layers["runtime"]["public"]["ports"] == ["873/tcp"]


def test_an_unknown_zone_is_an_error_before_any_change(firewalld):
    with pytest.raises(FirewallError, match="no such zone. Give one of internal, public, trusted"):
        firewalld.do(zone="nowhere")
    assert firewalld.machine.calls == []


def test_a_zone_that_waits_for_a_reload_is_told_as_such(firewalld):
    firewalld.machine.layers["permanent"]["new"] = FakeFirewalld._zone("new")
    with pytest.raises(FirewallError, match="--reload"):
        firewalld.do(zone="new")
    assert firewalld.machine.calls == []


def test_a_network_bound_to_a_zone_is_opened_in_that_zone(firewalld):
    firewalld.machine.both("internal", "sources", "10.0.0.0/8")
    assert firewalld.settle(sources=[NET]).plan.zones == ["internal"]


def test_a_network_that_is_bound_in_part_is_opened_in_both_zones(firewalld):
    firewalld.machine.both("internal", "sources", "10.77.0.128/25")
    assert firewalld.settle(sources=[NET]).plan.zones == ["internal", "public"]


def test_a_network_behind_an_interface_is_opened_in_its_zone(firewalld):
    firewalld.machine.interfaces["eth1"] = "internal"
    firewalld.machine.routes["10.77.0.0"] = "eth1"
    assert firewalld.settle(sources=[NET]).plan.zones == ["internal"]


def test_for_everybody_the_only_zone_with_interfaces_is_taken(firewalld):
    firewalld.machine.interfaces["eth0"] = "internal"
    assert firewalld.settle().plan.zones == ["internal"]


def test_firewalld_that_is_not_running_gets_the_permanent_rule(tmp_path):
    host = Host(tmp_path, FakeFirewalld(running=False))
    change = host.settle(backend="firewalld", sources=[NET])
    assert host.machine.layers["permanent"]["public"]["rich"] == [RICH]
    assert host.machine.layers["runtime"]["public"]["rich"] == []
    assert change.plan.commands[0][0] == "firewall-offline-cmd"
    host.settle(backend="firewalld", state="absent")
    assert host.machine.layers["permanent"]["public"]["rich"] == []


def test_what_was_opened_while_firewalld_stood_still_is_closed_when_it_runs(tmp_path):
    host = Host(tmp_path, FakeFirewalld(running=False))
    host.settle(backend="firewalld", sources=[NET])
    host.machine.running = True
    host.machine.layers["runtime"] = json.loads(json.dumps(host.machine.layers["permanent"]))
    assert host.plan(state="absent").plan.warnings == []
    host.settle(state="absent")
    assert [layer["public"]["rich"] for layer in host.machine.layers.values()] == [[], []]


def test_a_port_rule_that_opened_the_whole_protocol_is_noticed(tmp_path):
    host = Host(tmp_path, FakeFirewalld(lie=lambda kind, value: ("protocol", value.partition("/")[2])))
    with pytest.raises(FirewallError, match="protocol tcp"):
        host.do()


def test_a_rule_that_was_not_written_is_noticed(tmp_path):
    host = Host(tmp_path, FakeFirewalld(lie=lambda kind, value: (kind, "874/tcp")))
    with pytest.raises(FirewallError, match="instead of"):
        host.do()


def test_a_rich_rule_that_denies_makes_it_fail(firewalld):
    firewalld.machine.both("public", "rich", 'rule family="ipv4" source address="10.0.0.0/8" drop')
    with pytest.raises(FirewallError, match="denied by rule family"):
        firewalld.do(sources=[NET])


@given(
    st.ip_addresses().map(str),
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.sampled_from(["tcp", "udp"]),
)
def test_a_rich_rule_that_is_written_reads_back_the_same(address, one, other, protocol):
    request = Request((min(one, other), max(one, other)), protocol, parse_sources([address]))
    rule = parse_rich(item_text(request, request.sources[0])[1])
    assert (rule.action, rule.protocol, rule.ports) == ("accept", protocol, request.ports)
    assert rule.source == request.sources[0]


@pytest.mark.parametrize(
    "text",
    [
        'rule family="ipv4" source address="10.0.0.0/8" port port="873" protocol="tcp" log prefix="x" accept',
        'rule priority="-5" family="ipv4" source address="10.0.0.0/8" drop',
        'rule family="ipv4" source NOT address="10.0.0.0/8" drop',
        'rule service name="rsyncd" accept limit value="1/m"',
        'rule family="ipv4" source ipset="blocked" drop',
        'rule "',
    ],
)
def test_a_rich_rule_that_is_not_understood_is_never_taken_for_a_plain_one(text):
    assert parse_rich(text).action == "maybe"


def test_a_broken_memory_is_told_and_nothing_changed(firewalld):
    folder = os.path.join(firewalld.root, "var/lib/seamless-migration")
    os.makedirs(folder)
    with open(os.path.join(folder, "firewall.json"), "w") as stream:
        stream.write("{")
    with pytest.raises(FirewallError, match="firewall.json"):
        firewalld.do()
    assert firewalld.machine.calls == []


# -- nftables, the real one in a network namespace

needs_namespace = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("nft") or subprocess.call(["unshare", "-n", "true"]) != 0,
    reason="skipped: a network namespace with nft needs root and the package nftables",
)
RULESET = """
table inet filter {
  set banned { type ipv4_addr; elements = { 198.51.100.1 }; }
  chain services {
    tcp dport 22 accept
  }
  chain input {
    type filter hook input priority 0; policy accept;
    iifname "lo" accept
    ct state vmap { established : accept, related : accept, invalid : drop }
    ip saddr @banned drop
    jump services
    meta l4proto { icmp, ipv6-icmp } accept
    counter reject
    tcp dport 9999 accept
  }
}
table ip nat {
  chain post { type nat hook postrouting priority 100;
}
}
"""


@pytest.fixture
def kernel():
    made = []

    def make(ruleset=RULESET):
        made.append(Namespace(ruleset))
        return made[-1]

    yield make
    for namespace in made:
        namespace.close()


def chain(namespace):
    text = namespace.text()
    return [line.strip() for line in text[text.index("chain input") :].split("}\n\ttable")[0].splitlines()]


@needs_namespace
def test_nft_rules_come_before_the_rule_that_denies_and_after_the_rest(tmp_path, kernel):
    host = Host(tmp_path, kernel())
    before = host.machine.text()
    change = host.settle(sources=[NET, "2001:db8::/64"])
    lines = chain(host.machine)
    mine = [n for n, line in enumerate(lines) if "seamless.migration" in line]
    reject = next(n for n, line in enumerate(lines) if "reject" in line)
    banned = next(n for n, line in enumerate(lines) if "@banned" in line)
    assert banned < mine[0] < mine[1] < reject
    assert lines[mine[0]] == 'ip saddr 10.77.0.0/24 tcp dport 873 accept comment "seamless.migration 873/tcp"'
    assert any("@banned" in warning for warning in change.plan.warnings)
    host.settle(state="absent")
    assert host.machine.text() == before


@needs_namespace
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("port", ["873", "8000-8010"])
def test_nft_with_a_policy_that_drops_gets_a_rule_at_the_end(tmp_path, kernel, port, protocol):
    host = Host(tmp_path, kernel("table ip6 f {\nchain i {\ntype filter hook input priority 0; policy drop;\n}\n}\n"))
    before = host.machine.text()
    change = host.settle(port=port, protocol=protocol)
    assert "%s dport %s accept" % (protocol, port) in host.machine.text()
    assert "seamless.migration %s/%s" % (port, protocol) in change.effective[0]
    host.settle(port=port, protocol=protocol, state="absent")
    assert host.machine.text() == before


@needs_namespace
def test_nft_rules_of_the_administrator_stay_and_are_told(tmp_path, kernel):
    host = Host(tmp_path, kernel(RULESET.replace("tcp dport 22", "tcp dport { 22, 800-900 }")))
    before = host.machine.text()
    change = host.settle(sources=[NET])
    assert not change.differs
    assert "open anyway" in change.plan.warnings[0]
    change = host.settle(state="absent")
    assert "open anyway" in change.plan.warnings[0]
    assert host.machine.text() == before


@needs_namespace
def test_nft_changed_sources_replace_the_old_ones(tmp_path, kernel):
    host = Host(tmp_path, kernel())
    host.settle(sources=[NET, "192.0.2.7"])
    host.settle(sources=["192.0.2.8"])
    mine = [line for line in chain(host.machine) if "seamless" in line]
    assert mine == ['ip saddr 192.0.2.8 tcp dport 873 accept comment "seamless.migration 873/tcp"']


@needs_namespace
def test_nft_absent_with_sources_leaves_the_others(tmp_path, kernel):
    host = Host(tmp_path, kernel())
    host.settle(sources=[NET, "192.0.2.7"])
    host.settle(sources=["192.0.2.7"], state="absent")
    mine = [line for line in chain(host.machine) if "seamless" in line]
    assert mine == ['ip saddr 10.77.0.0/24 tcp dport 873 accept comment "seamless.migration 873/tcp"']


@needs_namespace
@pytest.mark.parametrize(
    ("rule", "opened"),
    [
        ("tcp dport vmap { 873 : accept }", False),
        ("tcp dport vmap { 873 : continue, 22 : accept }", True),
        ("meta l4proto tcp accept", False),
        ("meta l4proto udp accept", True),
        ("tcp dport != 22 accept", False),
        ("tcp dport { 1-1000 } accept", False),
        ("limit rate 5/second tcp dport 873 accept", True),
        ('iifname "eth1" tcp dport 873 accept', True),
        ("ip saddr 10.0.0.0/8 tcp dport 873 accept", False),
        ("ip6 saddr fe80::/10 accept", True),
        ("th dport 873 accept", False),
        ("jump site", True),
        ("goto site", True),
    ],
)
def test_an_nft_rule_is_added_only_where_what_is_there_does_not_surely_accept(tmp_path, kernel, rule, opened):
    policy = "type filter hook input priority 0; policy drop;"
    script = "table inet f {\nchain site {\ntcp dport 22 accept\n}\nchain i {\n%s\n%s\n}\n}\n" % (policy, rule)
    host = Host(tmp_path, kernel(script))
    assert host.settle(sources=[NET]).differs == opened


@needs_namespace
def test_an_nft_rule_that_was_moved_behind_what_denies_is_put_before_it_again(tmp_path, kernel):
    host = Host(tmp_path, kernel())
    host.settle()
    host.machine.nft("insert rule inet filter input tcp dport 873 drop")
    assert host.settle().differs
    mine = [n for n, line in enumerate(chain(host.machine)) if "873" in line]
    assert "accept" in chain(host.machine)[mine[0]]


@needs_namespace
def test_an_empty_ruleset_filters_nothing_and_nothing_is_changed(tmp_path, kernel):
    host = Host(tmp_path, kernel(""))
    change = host.settle()
    assert (change.result()["backend"], change.result()["filtering"], change.differs) == ("none", False, False)
    assert "Nothing filters" in change.plan.warnings[0]


@needs_namespace
def test_a_chain_of_iptables_is_not_touched(tmp_path, kernel):
    text = "table ip filter {\nchain INPUT {\ntype filter hook input priority 0; policy drop;\n}\n}\n"
    host = Host(tmp_path, kernel(text))
    before = host.machine.text()
    with pytest.raises(FirewallError, match="iptables"):
        host.do()
    assert host.machine.text() == before


def boot(tmp_path, content="flush ruleset\n" + RULESET):
    configuration = tmp_path / "etc/nftables.conf"
    configuration.parent.mkdir()
    configuration.write_text(content)
    return configuration, tmp_path / "etc/nftables.d/seamless-migration.nft"


@needs_namespace
def test_nft_rules_are_saved_load_at_boot_and_go_without_a_trace(tmp_path, kernel, monkeypatch):
    configuration, ours = boot(tmp_path)
    host = Host(tmp_path, kernel())
    original = host.machine.run

    def run(argv, **keywords):  # the include names the path on the real host
        if argv[-2:] == ["-f", str(configuration)]:
            text = configuration.read_text().replace('include "/', 'include "%s/' % tmp_path)
            return original(argv[:-1] + ["-"], stdin=text.encode(), **keywords)
        return original(argv, **keywords)

    monkeypatch.setattr(host.machine, "run", run)
    before = configuration.read_text()
    change = host.plan(sources=[NET])
    assert [d["after_header"] for d in change.diff()[1:]] == [str(configuration), str(ours)]
    assert configuration.read_text() == before
    change = host.settle(sources=[NET])
    host.settle(port="8000-8010")
    assert change.plan.persistent
    live = sorted(line for line in chain(host.machine) if "seamless" in line)
    host.machine.run([host.machine.which("nft"), "-f", str(configuration)])
    assert sorted(line for line in chain(host.machine) if "seamless" in line) == live
    assert not host.do(sources=[NET]).differs
    host.settle(state="absent")
    assert "873" not in ours.read_text()
    host.settle(port="8000-8010", state="absent")
    assert configuration.read_text() == before
    assert not ours.exists()


@needs_namespace
def test_a_configuration_that_nft_refuses_is_put_back_and_nothing_changes(tmp_path, kernel):
    configuration, ours = boot(tmp_path, "flush ruleset\ntable inet {\n")
    host = Host(tmp_path, kernel())
    before = host.machine.text()
    with pytest.raises(FirewallError, match="Nothing was changed"):
        host.do()
    assert (host.machine.text(), configuration.read_text()) == (before, "flush ruleset\ntable inet {\n")
    assert not ours.exists()


@needs_namespace
def test_rules_that_a_restart_forgets_are_told(tmp_path, kernel):
    host = Host(tmp_path, kernel())
    host.machine.enabled = False
    boot(tmp_path)
    change = host.settle()
    assert not change.plan.persistent
    assert any("kernel only" in warning for warning in change.plan.warnings)


# -- ufw


@pytest.fixture
def ufw(tmp_path):
    return Host(tmp_path, FakeUfw(tmp_path))


def test_ufw_opens_for_both_versions_and_closes_again(ufw):
    ufw.machine.rules[4].append("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in")
    ufw.machine.save()
    before = json.dumps(ufw.machine.rules)
    change = ufw.settle()
    assert len(change.effective) == 2
    ufw.settle(state="absent")
    assert json.dumps(ufw.machine.rules) == before


def test_ufw_sources_are_limited_and_replaced(ufw):
    ufw.settle(sources=[NET], port="8000-8010", protocol="udp")
    assert ufw.machine.rules[4][0].startswith("allow udp 8000:8010 0.0.0.0/0 any 10.77.0.0/24 in comment=")
    ufw.settle(sources=["192.0.2.7", "2001:db8::/64"], port="8000-8010", protocol="udp")
    assert [rule.split()[5] for rule in ufw.machine.rules[4] + ufw.machine.rules[6]] == ["192.0.2.7", "2001:db8::/64"]


def test_ufw_rule_comes_before_one_that_denies(ufw):
    ufw.machine.rules[4].append("deny tcp any 0.0.0.0/0 any 0.0.0.0/0 in")
    ufw.machine.save()
    ufw.settle(sources=[NET])
    assert ufw.machine.rules[4][1].startswith("deny")


def test_ufw_rule_of_the_administrator_is_neither_taken_over_nor_removed(ufw):
    ufw.machine.rules[4].append("allow any 873 0.0.0.0/0 any 0.0.0.0/0 in")
    ufw.machine.rules[6].append("allow tcp 870:880 ::/0 any ::/0 rsync - in")
    ufw.machine.save()
    assert not ufw.settle().differs
    change = ufw.settle(state="absent")
    assert not change.differs
    assert "open anyway" in change.plan.warnings[0]


def test_a_ufw_rule_that_the_kernel_has_not_is_noticed(ufw):
    ufw.machine.kernel = False
    with pytest.raises(FirewallError, match="the kernel's chain"):
        ufw.do()


def test_inactive_ufw_filters_nothing(tmp_path):
    host = Host(tmp_path, FakeUfw(tmp_path, active=False))
    assert host.do().result()["backend"] == "none"
    with pytest.raises(FirewallError, match="not active"):
        host.do(backend="ufw")


@pytest.mark.parametrize(
    ("line", "action", "comment"),
    [
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", "accept", ""),
        ("allow_log tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", "accept", ""),
        ("limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", "maybe", ""),
        ("allow tcp 22 10.1.1.1 any 0.0.0.0/0 in", "maybe", ""),
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in_eth1", "maybe", ""),
        ("deny any any 0.0.0.0/0 any 10.0.0.0/8 in comment=6120622063", "deny", "a b c"),
    ],
)
def test_ufw_tuples_are_read(line, action, comment):
    rules, found = parse_tuple(line)
    assert (rules[0].action, found) == (action, comment)


@pytest.mark.parametrize(
    "line", ["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 out", "route:allow any any 0.0.0.0/0 any 1.2.3.4 in"]
)
def test_ufw_tuples_about_other_traffic_are_left_out(line):
    assert parse_tuple(line) is None


def test_old_iptables_that_denies_is_told_as_unsupported(tmp_path):
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/ip_tables_names").write_text("filter\n")

    class Machine:
        which = staticmethod({"iptables": "iptables"}.get)

        @staticmethod
        def run(argv, **_unused):
            return firewall.command.Result(argv, 0, "-P INPUT DROP\n", "")

    with pytest.raises(FirewallError, match="iptables, which is not supported"):
        Host(tmp_path, Machine).do()
