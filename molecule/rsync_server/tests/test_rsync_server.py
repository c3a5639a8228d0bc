# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the new server from both sides, in whichever act the story is."""

import os
import pathlib

import pytest
import testinfra

testinfra_hosts = ["ansible://storage_source"]

MODE = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "mode").read_text("utf-8")
SECRET = "seen-by-nobody"
THEIRS = (
    "# kept by hand since 2009\n  ; do not sort\nMax  Verbosity=2\n",
    "\n[ Their Backups ]\n\tpath = /tmp\n\tREAD only = true\n# end of theirs, no newline follows",
)
UNITS = {"service": "rsync.service", "socket": "rsync.socket", "xinetd": "xinetd.service"}
served = pytest.mark.skipif(MODE == "retired", reason="for the acts in which trees are served")
first = pytest.mark.skipif(MODE != "service", reason="the same however the daemon was started")
retired = pytest.mark.skipif(MODE != "retired", reason="for the last act")


@pytest.fixture
def new(host):
    return testinfra.get_host("ansible://files_new", ansible_inventory=host.backend.ansible_inventory)


@pytest.fixture
def ask(host, new):
    address = new.ansible.get_variables()["ansible_host"]

    def ask(from_host=host, **options):
        options = dict({"host": address, "module": "data", "user": "migration", "password": SECRET}, **options)
        words = " ".join("%s='%s'" % pair for pair in options.items())
        return from_host.ansible("seamless.migration.rsyncd_info", words, check=False)

    return ask


@pytest.fixture
def send(host, new):
    """Transfers /srv/sent of the old server as rsync's users do. Returns the result of the command."""
    address = new.ansible.get_variables()["ansible_host"]

    def send(module, secret=SECRET):
        host.run("umask 077; printf %s > /root/password", secret)
        target = "rsync://migration@%s/%s/sent/" % (address, module)
        return host.run("rsync -aHAX --numeric-ids --password-file=/root/password /srv/sent/ %s", target)

    host.check_output("mkdir -p /srv/sent && echo %s > '/srv/sent/a b' && chown 4321:8765 '/srv/sent/a b'", MODE)
    host.check_output("ln -sfn /srv/files/x /srv/sent/link")
    return send


@served
def test_an_authenticated_transfer_keeps_owners_and_links(new, send):
    result = send("data")
    assert result.rc == 0, result.stderr
    there = new.file("/srv/files/sent/a b")
    assert there.content_string.strip() == MODE
    assert (there.uid, there.gid) == (4321, 8765)
    assert new.file("/srv/files/sent/link").linked_to == "/srv/files/x"


@first
def test_a_wrong_secret_is_refused_and_told(ask, send):
    assert send("data", "guessed").rc == 5
    told = ask(password="guessed")
    assert told["status"] == "auth_failed" and "secrets file" in told["advice"]


@served
def test_the_right_secret_is_ok(ask):
    told = ask()
    assert told["status"] == "ok" and told["protocol"] >= 31
    assert ask(module="mounted")["status"] == "ok"


@first
def test_a_module_without_a_password_asks_for_one(host, ask, new):
    address = new.ansible.get_variables()["ansible_host"]
    told = host.ansible("seamless.migration.rsyncd_info", "host=%s module=data" % address, check=False)
    assert told["status"] == "auth_required"


@served
def test_a_host_that_is_not_allowed_is_denied(ask, new):
    told = ask(from_host=new, module_known="true")
    assert told["status"] == "denied" and told["source_address"] in told["advice"]


@first
def test_a_wrong_name_is_unknown(ask):
    assert ask(module="dada")["status"] == "unknown_module"


@served
def test_a_tree_that_is_not_mounted_is_not_written_to(new, send):
    assert send("mounted").rc == 0
    # The daemon's process of the last transfer leaves the tree a moment after its client was told.
    new.check_output("for _ in $(seq 100); do umount '/srv/mounted tree' && exit; sleep 0.1; done; exit 1")
    try:
        result = send("mounted")
        assert result.rc == 4 and "pre-xfer exec" in result.stderr + result.stdout
        assert new.check_output("ls -A '/srv/mounted tree'") == ""
    finally:
        new.check_output("mount -t tmpfs tmpfs '/srv/mounted tree'")


@served
def test_exactly_one_way_of_serving_runs_and_comes_back_after_a_restart(new):
    for mode, unit in UNITS.items():
        service = new.service(unit)
        assert service.is_running == (mode == MODE), unit
        assert (service.exists and service.is_enabled) == (mode == MODE), unit
    assert new.file("/etc/xinetd.d/rsync").exists == (MODE == "xinetd")
    assert new.file("/etc/systemd/system/rsync.socket").exists == (MODE == "socket")


@served
def test_secrets_are_of_root_alone_and_not_in_the_configuration(new):
    secrets = new.file("/etc/seamless-migration/rsyncd.secrets")
    assert secrets.mode == 0o600 and secrets.user == "root" and SECRET in secrets.content_string
    assert new.file("/etc/seamless-migration").mode == 0o700
    assert SECRET not in new.file("/etc/rsyncd.conf").content_string


def test_what_others_wrote_is_kept(new):
    config = new.file("/etc/rsyncd.conf")
    assert config.mode == 0o640
    for part in THEIRS:
        assert part in config.content_string
    if MODE in ("socket", "xinetd"):
        assert "# looked at after the service\n" in config.content_string
        assert config.content_string.count("max verbosity = 3") == {"socket": 1, "xinetd": 2}[MODE]


@served
def test_the_port_is_open_for_the_old_server_only(host, new):
    old = host.ansible.get_variables()["ansible_host"]
    rules = new.check_output("firewall-cmd --permanent --list-rich-rules")
    assert 'source address="%s"' % old in rules and rules.count("873") == 1
    assert "873" not in new.check_output("firewall-cmd --list-ports")


@retired
def test_the_port_is_closed_and_the_modules_are_gone(ask, new):
    assert ask()["status"] == "filtered"
    assert "873" not in new.check_output("firewall-cmd --permanent --list-rich-rules")
    config = new.file("/etc/rsyncd.conf").content_string
    assert "/srv" not in config and "reverse lookup = no" in config
    assert not new.file("/etc/seamless-migration/rsyncd.secrets").exists


@retired
def test_the_daemon_that_serves_others_goes_on(new):
    told = new.ansible("seamless.migration.rsyncd_info", "host=127.0.0.1", check=False)
    assert told["status"] in ("ok", "denied")
    assert new.service("xinetd.service").is_enabled
