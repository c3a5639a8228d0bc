# SPDX-License-Identifier: GPL-3.0-or-later
import os
import stat

import pytest
import yaml
from ansible_collections.seamless.migration.plugins.module_utils.rsync import daemon_check, daemon_plan
from ansible_collections.seamless.migration.plugins.modules import rsyncd_info, rsyncd_module
from daemon_servers import rsync_daemon
from rsyncd_case import run

ADMIN = "# by hand\nlog file = /dev/null\n\n[theirs]\npath = /tmp\n"
SECRET = "Open-Sesame"


class Host:
    """The files of a daemon in a folder of the test."""

    def __init__(self, folder, capsys):
        self.capsys = capsys
        self.config = folder / "rsyncd.conf"
        self.tree = folder / "tree"
        self.tree.mkdir()
        self.ours = folder / "ours"
        self.secrets = self.ours / "rsyncd.secrets"

    def do(self, check=False, diff=False, **options):
        options = dict({"config_file": str(self.config)}, **options)
        return run(rsyncd_module, self.capsys, check, diff, **options)

    def data(self, **options):
        return self.do(**dict({"name": "data", "path": str(self.tree)}, **options))


@pytest.fixture
def host(tmp_path, capsys, monkeypatch):
    host = Host(tmp_path, capsys)
    monkeypatch.setattr(daemon_plan, "SECRETS_FOLDER", str(host.ours))
    monkeypatch.setattr(daemon_plan, "SECRETS_FILE", str(host.secrets))
    host.config.write_text(ADMIN)
    return host


def mode(path):
    return stat.S_IMODE(os.stat(str(path)).st_mode)


def test_a_module_is_written_once_with_safe_values(host):
    told = host.data(hosts_allow=["192.0.2.10"], secrets={"migration": SECRET}, uid="root", gid="root")
    assert told["changed"] and told["validated"] and not told["restart_needed"]
    assert host.config.read_text() == ADMIN + (
        "\n[data]\npath = %s\nread only = yes\nlist = no\nuid = root\ngid = root\nuse chroot = yes\n"
        "hosts allow = 192.0.2.10\nhosts deny = *\nauth users = migration\nsecrets file = %s\n"
        % (host.tree, host.secrets)
    )
    assert host.secrets.read_text() == "migration:%s\n" % SECRET
    assert (mode(host.secrets), mode(host.ours)) == (0o600, 0o700)
    before = (host.config.read_bytes(), host.config.stat().st_mtime_ns)
    again = host.data(hosts_allow=["192.0.2.10"], secrets={"migration": SECRET}, uid="root", gid="root")
    assert not again["changed"] and before == (host.config.read_bytes(), host.config.stat().st_mtime_ns)


def test_check_mode_tells_and_writes_nothing(host):
    told = host.data(check=True, diff=True, secrets={"migration": SECRET})
    assert told["changed"] and host.config.read_text() == ADMIN and not host.secrets.exists()
    assert told["diff"][0]["before"] == ADMIN and "[data]" in told["diff"][0]["after"]
    done = host.data(diff=True, secrets={"migration": SECRET})
    assert done["diff"] == told["diff"]


def test_a_new_secret_changes_one_line_and_shows_nothing(host):
    host.data(secrets={"migration": SECRET})
    host.secrets.write_text("other:word\n" + host.secrets.read_text())
    told = host.data(diff=True, secrets={"migration": "Another-One"})
    assert host.secrets.read_text() == "other:word\nmigration:Another-One\n"
    assert told["users"] == ["migration"] and told["changed"]
    assert not any(word in str(told) for word in (SECRET, "Another-One", "word"))


def test_a_secrets_file_that_others_may_read_is_closed(host):
    host.data(secrets={"migration": SECRET})
    os.chmod(str(host.secrets), 0o644)
    assert host.data(secrets={"migration": SECRET})["changed"] and mode(host.secrets) == 0o600


def test_secrets_are_there_before_the_configuration_that_names_them(host, monkeypatch):
    written = []
    real = daemon_plan.files.write
    monkeypatch.setattr(
        daemon_plan.files, "write", lambda path, *rest, **more: written.append(path) or real(path, *rest, **more)
    )
    host.data(secrets={"migration": SECRET}, validate=False)
    assert written == [str(host.secrets), str(host.config)]


def test_another_administrators_edit_is_kept(host):
    host.data(uid="root")
    edited = (
        host.config.read_text().replace("read only = yes", "read only = yes\n# slow disks\nmax verbosity = 2")
        + "\n[late]\npath = /tmp\n"
    )
    host.config.write_text(edited)
    assert not host.data(uid="root")["changed"]
    assert host.data(uid="nobody")["changed"]
    assert host.config.read_text() == edited.replace("uid = root", "uid = nobody")


def test_absent_brings_back_the_file_and_takes_only_our_secrets(host):
    host.data(secrets={"migration": SECRET, "shared": SECRET})
    host.do(name="second", path=str(host.tree), auth_users=["shared"], secrets_file=str(host.secrets))
    both = host.config.read_text()
    told = host.do(name="data", state="absent")
    assert told["changed"] and told["users"] == ["migration"]
    assert host.secrets.read_text() == "shared:%s\n" % SECRET and "[second]" in both
    assert host.do(name="second", state="absent")["changed"]
    assert host.config.read_text() == ADMIN and not host.secrets.exists()
    assert not host.do(name="data", state="absent")["changed"]


def test_a_missing_configuration_file_is_made(host):
    host.config.unlink()
    assert host.data()["changed"] and host.config.read_text().startswith("[data]\n    path = ")
    assert mode(host.config) == 0o644


def test_global_keys_say_when_a_restart_is_needed(host):
    told = host.do(globals={"reverse lookup": False, "port": 8730})
    assert (
        told["restart_needed"] and "log file = /dev/null\nreverse lookup = no\nport = 8730\n" in host.config.read_text()
    )
    assert not host.do(globals={"reverse lookup": False, "port": 8730})["changed"]
    assert host.do(globals={"reverse lookup": None, "port": ""})["restart_needed"]
    assert host.config.read_text() == ADMIN


def test_a_backup_keeps_what_was_there(host):
    told = host.data(backup=True)
    with open(told["backup_file"]) as stream:
        assert stream.read() == ADMIN


def test_empty_values_remove_keys(host):
    host.data(comment="x", timeout=9, extra={"log format": "%f"}, hosts_allow=["::1"])
    told = host.data(comment="", extra={"log format": ""}, hosts_allow=[], hosts_deny=[])
    assert set(told["settings"]) == {"path", "read only", "list", "use chroot", "timeout"}


def test_the_guard_refuses_an_unmounted_tree_before_and_at_each_transfer(host, monkeypatch):
    told = host.data(require_mountpoint=True)
    assert told["failed"] and "not a mount point" in told["msg"] and host.config.read_text() == ADMIN
    monkeypatch.setattr(daemon_plan.os.path, "ismount", lambda path: True)
    tree = host.tree.parent / "it's a tree"
    tree.mkdir()
    told = host.do(name="data", path=str(tree), require_mountpoint=True)
    assert told["settings"]["pre-xfer exec"].endswith("mountpoint -q '%s'" % str(tree).replace("'", "'\"'\"'"))
    told = host.do(name="data", path=str(tree), require_mountpoint=True, pre_xfer_exec="/usr/bin/true")
    assert told["settings"]["pre-xfer exec"].endswith(" || exit 1; /usr/bin/true")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "/no/such/tree"}, "/no/such/tree is no directory"),
        ({"path": "tree"}, "absolute path"),
        ({"path": "/srv/%HOME%"}, "require_path"),
        ({"path": "/tmp\nuid = root"}, "path"),
        ({"name": "a\nb"}, "control character"),
        ({"comment": "a\nread only = no"}, "comment"),
        ({"uid": "root\n"}, "uid"),
        ({"hosts_allow": ["10.0.0.300"]}, "hosts_allow"),
        ({"hosts_allow": ["10.0.0.0/33"]}, "hosts_allow"),
        ({"hosts_allow": ["files/24"]}, "hosts_allow"),
        ({"hosts_allow": ["a b"]}, "hosts allow"),
        ({"auth_users": ["a:rx"], "secrets": {"a": "b"}}, "a:rx"),
        ({"auth_users": ["migration"]}, "no secrets"),
        ({"auth_users": ["else"], "secrets": {"migration": SECRET}}, "'else' has no line"),
        ({"secrets": {"migration": ""}}, "is empty"),
        ({"secrets": {"migration": SECRET + "\nroot:x"}}, "control character"),
        ({"secrets": {"a:b": SECRET}}, "separates"),
        ({"secrets_file": "secrets", "secrets": {"a": SECRET}}, "secrets_file"),
        ({"exclude": ["a b"]}, "blanks"),
        ({"extra": {"hosts alow": "x"}}, "hosts allow"),
        ({"extra": {"read only": "no"}}, "read_only"),
        ({"extra": {"port": "874"}}, "globals"),
        ({"extra": {"fake super": "nah"}}, "fake super"),
        ({"globals": {"prot": 1}}, "'port'"),
        ({"use_chroot": False}, "munge_symlinks"),
        ({"uid": "no-such-user"}, "invalid uid"),
    ],
)
def test_bad_input_is_refused_before_anything_is_touched(host, options, words):
    told = host.data(**options)
    assert told["failed"] and words in told["msg"], told["msg"]
    assert SECRET not in str(told)
    assert host.config.read_text() == ADMIN and not host.secrets.exists()


def test_something_to_do_has_to_be_named(host):
    assert "neither name nor globals" in host.do()["msg"]
    assert "has no path" in host.do(name="data")["msg"]


def test_a_file_that_rsync_refuses_is_refused_with_its_line(host):
    host.config.write_text("[data\n")
    assert "line 1" in host.data()["msg"]


def test_lines_that_rsync_ignores_are_warned_of(host):
    host.config.write_text(ADMIN + "read only = nah\n")
    told = host.data()
    assert "'nah'" in told["ignored"][0] and told["changed"]


def test_a_host_without_rsync_goes_without_validation(host, monkeypatch):
    monkeypatch.setattr(daemon_check, "which", lambda name: None)
    told = host.data()
    assert told["changed"] and not told["validated"] and told["rsync_version"] == ""


def test_a_key_newer_than_the_installed_rsync_is_refused(host, monkeypatch):
    monkeypatch.setattr(daemon_check, "rsync_version", lambda: (3, 1, 2))
    assert "came with rsync 3.2.0" in host.data(extra={"early exec": "/bin/true"})["msg"]


def test_validation_runs_no_command_of_the_administrator(host):
    witness = host.tree / "witness"
    host.data(extra={"early exec": "touch %s" % witness, "post-xfer exec": "touch %s" % witness})
    assert not witness.exists()


def test_the_real_daemon_serves_what_was_written(host, capsys):
    host.data(hosts_allow=["127.0.0.1"], secrets={"migration": SECRET}, uid="root", gid="root", comment="ours")
    with rsync_daemon(host.config) as port:
        ask = {"port": port, "module": "data", "user": "migration"}
        assert run(rsyncd_info, capsys, password=SECRET, **ask)["status"] == "ok"
        assert run(rsyncd_info, capsys, password="wrong", **ask)["status"] == "auth_failed"
        failed = run(rsyncd_info, capsys, password="wrong", require=["ok"], **ask)
        assert failed["failed"] and "auth_failed" in failed["msg"] and "secrets file" in failed["msg"]
        # No restart: the daemon reads the file at each connection.
        host.data(hosts_allow=["192.0.2.1"], list=True)
        assert run(rsyncd_info, capsys, password=SECRET, **ask)["status"] == "denied"
        host.do(name="data", state="absent")
        assert run(rsyncd_info, capsys, password=SECRET, **ask)["status"] == "unknown_module"


def test_bad_options_of_the_probe_are_named(capsys):
    assert "control character" in run(rsyncd_info, capsys, module="a\nb")["msg"]


def test_every_option_is_documented_and_every_key_is_returned():
    spec = rsyncd_module.argument_spec()
    documented = yaml.safe_load(rsyncd_module.DOCUMENTATION)["options"]
    assert set(spec) == set(documented)
    for name, option in spec.items():
        for word in ("type", "default", "choices", "elements"):
            assert option.get(word) == documented[name].get(word), (name, word)
