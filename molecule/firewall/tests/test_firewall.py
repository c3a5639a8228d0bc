# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the kernel's rules and at the wire, then closes the ports again. The order matters."""

import subprocess
from pathlib import Path

import pytest
import testinfra

SCENARIO = Path(__file__).resolve().parents[1]
CHAIN = "nft list chain inet site incoming"
ZONES = "firewall-cmd --list-all-zones"


@pytest.fixture(scope="module")
def inventory(request):
    return request.config.getoption("--ansible-inventory")


@pytest.fixture(scope="module")
def old(inventory):
    return testinfra.get_host("ansible://files_old", ansible_inventory=inventory)


@pytest.fixture(scope="module")
def new(inventory):
    return testinfra.get_host("ansible://files_new", ansible_inventory=inventory)


@pytest.fixture(scope="module")
def playbook(inventory):
    def play(name):
        argv = ["ansible-playbook", "-i", inventory, str(SCENARIO / name)]
        return subprocess.run(argv, check=False, capture_output=True, text=True)

    return play


def address(host):
    return host.ansible.get_variables()["ansible_host"]


def greeting(host, target, source=None):
    """What an rsync daemon says to this host, or nothing."""
    bind = "s.bind(('%s', 0)); " % source if source else ""
    code = "import socket; s = socket.socket(); s.settimeout(3); %ss.connect(('%s', 873)); print(s.recv(8).decode())"
    return host.run('python3 -c "%s"' % (code % (bind, target))).stdout.strip()


def test_each_reaches_the_daemon_of_the_other(old, new):
    assert greeting(old, address(new)) == "@RSYNCD:"
    assert greeting(new, address(old)) == "@RSYNCD:"


def test_another_address_is_still_kept_out(old, new):
    for host, target in ((old, new), (new, old)):
        other = address(host).rsplit(".", 1)[0] + (".%d" % (200 + int(address(host).rsplit(".", 1)[1]) % 50))
        device = host.check_output("ip -o -4 addr show | grep '%s/' | cut -d' ' -f2" % address(host))
        host.check_output("ip addr add %s/24 dev %s" % (other, device))
        try:
            assert greeting(host, address(target), other) == ""
        finally:
            host.run("ip addr del %s/24 dev %s" % (other, device))


def test_nft_rules_stand_between_what_the_administrator_accepts_and_rejects(old):
    lines = [line.strip() for line in old.check_output(CHAIN).splitlines()]
    mine = [number for number, line in enumerate(lines) if "seamless.migration" in line]
    assert len(mine) == 3
    reject = next(number for number, line in enumerate(lines) if "reject" in line)
    assert lines.index("ip saddr 198.51.100.0/24 drop") < min(mine)
    assert max(mine) < reject


def test_nft_rules_come_back_at_boot(old):
    rules = sorted(line for line in old.check_output(CHAIN).splitlines() if "seamless.migration" in line)
    old.check_output("systemctl restart nftables")
    assert sorted(line for line in old.check_output(CHAIN).splitlines() if "seamless.migration" in line) == rules


def test_firewalld_rules_come_back_with_a_reload(new):
    rules = new.check_output("firewall-cmd --list-rich-rules")
    assert rules.count("accept") == 3
    new.check_output("firewall-cmd --reload")
    assert new.check_output("firewall-cmd --list-rich-rules") == rules
    assert new.check_output("firewall-cmd --list-ports") == "8080/tcp"


def test_closed_again_all_is_as_it_was(old, new, playbook):
    played = playbook("close.yml")
    assert played.returncode == 0, played.stdout
    assert greeting(old, address(new)) == greeting(new, address(old)) == ""
    assert old.run("cmp /etc/nftables.conf /root/nftables.conf.before").rc == 0
    assert not old.file("/etc/nftables.d/seamless-migration.nft").exists
    assert "seamless" not in old.check_output("nft list ruleset")
    assert new.check_output(ZONES).split() == new.file("/root/rules.before").content_string.split()
    assert "changed=0" in playbook("close.yml").stdout
