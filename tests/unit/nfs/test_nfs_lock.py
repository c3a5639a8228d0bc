# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
from pathlib import Path

import pytest
import yaml
from ansible_collections.seamless.migration.plugins.module_utils.nfs import lock_config, lock_service, locks
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.modules import nfs_lock
from hypothesis import given, settings
from hypothesis import strategies as st

CONF = """# kept
[general]
pipefs-directory=/run/rpc_pipefs
#
[lockd]
# port=0
[ Statd ]
 Port = 0  # any
[nfsd]
# vers3=y
"""


def options(**changes):
    return dict({name: option.get("default") for name, option in nfs_lock.argument_spec().items()}, **changes)


class FakeServices:
    def __init__(self, init):
        self.init = init
        self.up = False
        self.at_boot = True
        self.log = []

    def running(self, name):
        assert name
        return self.up

    def enabled(self, name):
        assert name
        return self.at_boot

    def start(self, name):
        self.log.append("start " + name)
        self.up = True

    def stop(self, name):
        self.log.append("stop " + name)
        self.up = False

    def enable(self, name):
        self.log.append("enable " + name)
        self.at_boot = True

    def disable(self, name):
        self.log.append("disable " + name)
        self.at_boot = False


class Host:
    def __init__(self, root, init="systemd", name="rpc-statd"):
        self.root = Path(root)
        self.services = FakeServices(init)
        self.has_nfsconf = False
        self.write("proc/self/mountinfo", "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n")
        self.write("usr/lib/systemd/system/%s.service" % name if init == "systemd" else "etc/init.d/" + name, "")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def mount(self, version, device="0:45", extra=""):
        line = "2 1 %s / /mnt/v%s rw - %s old:/x rw,vers=%s%s,addr=10.0.0.1\n"
        kind = "nfs4" if version.startswith("4") else "nfs"
        with open(str(self.root / "proc/self/mountinfo"), "a", encoding="ascii") as stream:
            stream.write(line % (device, version, kind, version, extra))

    def process(self, pid, name, lock=""):
        self.write("proc/%d/comm" % pid, name + "\n")
        self.write("proc/%d/fdinfo/3" % pid, "pos:\t0\nlock:\t%s\n" % lock)
        (self.root / ("proc/%d/fd" % pid)).mkdir()
        os.symlink("/mnt/v3/mail box", str(self.root / ("proc/%d/fd/3" % pid)))

    def run(self, argv):
        self.services.log.append(" ".join(argv[1:]))
        link = self.root / "etc/systemd/system" / argv[-1]
        link.parent.mkdir(parents=True, exist_ok=True)
        if argv[1] == "mask":
            os.symlink("/dev/null", str(link))
        else:
            link.unlink()

    def which(self, name):
        return "/bin/" + name if name != "nfsconf" or self.has_nfsconf else None

    def plan(self, **changes):
        return lock_service.plan(
            options(**changes), root=str(self.root), services=self.services, run=self.run, which=self.which
        )

    def settle(self, **changes):
        change = self.plan(**changes)
        change.apply()
        again = self.plan(**changes)
        assert again.steps == []
        return change


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


# -- names and states


@pytest.mark.parametrize(
    ("init", "name"),
    [
        ("systemd", "rpc-statd"),
        ("systemd", "nfs-lock"),
        ("systemd", "nfslock"),
        ("sysv", "nfslock"),
        ("sysv", "nfs-common"),
    ],
)
def test_the_service_is_found_under_each_of_its_names(tmp_path, init, name):
    host = Host(tmp_path, init, name)
    assert host.settle().name == name
    assert host.services.log == ["start " + name]


def test_where_an_old_name_is_a_link_the_new_one_is_taken(host):
    os.symlink("rpc-statd.service", str(host.root / "usr/lib/systemd/system/nfs-lock.service"))
    assert host.plan().name == "rpc-statd"


def test_a_host_without_the_service_is_told_what_to_install(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    with pytest.raises(NfsError, match="looked for rpc-statd, nfs-lock, nfslock"):
        lock_service.find_name("systemd", str(tmp_path))


def test_stopping_does_not_keep_it_from_being_started_again(host):
    host.services.up = True
    host.settle(state="stopped")
    assert host.services.log == ["stop rpc-statd"]


def test_disabling_masks_the_unit_because_a_mount_would_start_it_and_starting_unmasks_it(host):
    host.services.up = True
    host.settle(state="disabled")
    host.settle(state="started")
    assert host.services.log == [
        "stop rpc-statd", "mask rpc-statd.service", "unmask rpc-statd.service", "start rpc-statd"
    ]  # fmt: skip


def test_an_init_script_is_switched_off_and_on(tmp_path):
    host = Host(tmp_path, "sysv", "nfslock")
    host.settle(state="disabled")
    host.settle(state="started")
    assert host.services.log == ["disable nfslock", "enable nfslock", "start nfslock"]


# -- whether it is needed


def test_a_client_of_version_four_only_needs_none_and_that_is_said(host):
    host.mount("4.2")
    change = host.settle(statd_port=1)
    assert change.idle
    assert change.reason == "All NFS mounts here are of version 4, which needs no lock service."
    assert change.result()["ports"] == []
    assert host.services.log == []


@pytest.mark.parametrize(
    ("versions", "conf", "expected"),
    [
        ("-2 +3 +4 +4.1 +4.2\n", "", True),
        ("-3 +4 +4.1 +4.2\n", "", False),
        (None, "[nfsd]\nvers3 = no\n", False),
        (None, "[nfsd]\nvers3 = y\n", True),
        (None, "", True),
    ],
)
def test_a_server_says_by_its_versions_whether_it_needs_one(host, versions, conf, expected):
    if versions is not None:
        host.write("proc/fs/nfsd/versions", versions)
    host.write("etc/nfs.conf", conf)
    assert lock_service.needed(str(host.root))[0] is expected


def test_a_mount_of_version_three_needs_one_whatever_else_is_there(host):
    host.mount("4.2", "0:44")
    host.mount("3")
    host.write("proc/fs/nfsd/versions", "-3 +4\n")
    assert lock_service.needed(str(host.root)) == (True, "/mnt/v3 is mounted with NFS version 3.")


def test_a_mount_without_locks_needs_none(host):
    host.mount("3", extra=",local_lock=all")
    assert not lock_service.needed(str(host.root))[0]


def test_a_service_that_is_not_needed_can_still_be_stopped(host):
    host.mount("4.2")
    host.services.up = True
    assert host.settle(state="disabled").steps == ["stop", "bar"]


# -- held locks


def test_a_lock_that_a_process_holds_on_a_mount_is_named_with_its_file(host):
    host.services.up = True
    host.mount("3")
    host.process(77, "mailer", "1: POSIX  ADVISORY  WRITE 77 00:2d:11393 0 EOF")
    host.write("proc/locks", "1: POSIX  ADVISORY  WRITE 77 00:2d:11393 0 EOF\n")
    for state in ("stopped", "disabled"):
        with pytest.raises(NfsError, match=r"mailer \(pid 77\) holds a lock on /mnt/v3/mail box.*allow_held_locks"):
            host.plan(state=state)
    change = host.settle(state="stopped", allow_held_locks=True)
    assert json.loads(json.dumps(change.result()))["held"][0]["side"] == "client"


def test_locks_that_clients_hold_on_this_server_are_named(host, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "spool").write_text("")
    inode = (tree / "spool").stat().st_ino
    host.services.up = True
    host.write("proc/self/mountinfo", "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n")
    host.write("var/lib/nfs/etab", "%s\tweb1(rw,sync)\n" % tree)
    host.write("var/lib/nfs/sm/web1", "")
    host.process(1603, "lockd")
    host.write("proc/locks", "4: POSIX  ADVISORY  WRITE 1603 08:01:%d 0 EOF\n" % inode)
    with pytest.raises(NfsError, match=r"an NFSv3 client \(one of: web1\) holds a lock on %s/spool" % tree):
        host.plan(state="stopped")
    host.write("proc/locks", "4: POSIX  ADVISORY  WRITE 99999 08:01:999999999 0 EOF\n")
    with pytest.raises(NfsError, match="a lock on inode 999999999 of /"):
        host.plan(state="stopped")


def test_locks_of_version_four_of_local_files_and_waiting_ones_do_not_count(host):
    host.services.up = True
    host.mount("4.2", "0:46")
    host.mount("3")
    host.process(5, "local")
    host.write(
        "proc/locks",
        "1: FLOCK  ADVISORY  WRITE 5 08:01:1 0 EOF\n1: -> POSIX  ADVISORY  WRITE 5 00:2d:1 0 EOF\n"
        "2: POSIX  ADVISORY  WRITE 5 00:2e:7 0 EOF\n3: LEASE  ACTIVE    READ 5 00:2d:9 0 EOF\n",
    )
    assert host.plan(state="stopped").held == []


def test_a_lock_whose_file_is_not_found_is_told_by_its_number(host):
    host.mount("3")
    host.write("proc/locks", "1: FLOCK  ADVISORY  WRITE 78 00:2d:5 0 EOF\n")
    assert str(locks.held(str(host.root))[0]) == "? (pid 78) holds a lock on inode 5 below /mnt/v3"


def test_many_locks_are_told_shortly():
    many = [locks.Lock("client", number, "p", "/f") for number in range(7)]
    assert locks.told(many).endswith("and 2 more")


# -- ports


def test_ports_go_into_nfs_conf_and_all_else_is_kept(host):
    host.write("etc/nfs.conf", CONF)
    host.services.up = True
    change = host.settle(statd_port=32765, lockd_port=32768, mountd_port=20048)
    expected = CONF.replace("# port=0\n", "# port=0\n").replace(" Port = 0 ", " Port = 32765 ")
    expected = expected.replace("[lockd]\n", "[lockd]\nudp-port=32768\nport=32768\n") + "[mountd]\nport=20048\n"
    written = (host.root / "etc/nfs.conf").read_text()
    assert sorted(written.split("\n")) == sorted(expected.split("\n"))
    assert host.services.log == ["stop rpc-statd", "start rpc-statd"]
    assert change.result()["restart_needed"] == ["mountd"]
    assert {(entry["service"], entry["port"], entry["protocol"]) for entry in change.open_ports()} == {
        ("rpcbind", 111, "tcp"), ("rpcbind", 111, "udp"), ("statd", 32765, "tcp"), ("statd", 32765, "udp"),
        ("lockd", 32768, "tcp"), ("lockd", 32768, "udp"), ("mountd", 20048, "tcp"), ("mountd", 20048, "udp"),
    }  # fmt: skip


def test_a_running_nfs_server_keeps_the_port_of_lockd_until_its_restart(host):
    host.write("etc/nfs.conf", "")
    host.write("proc/fs/nfsd/versions", "+3 +4\n")
    assert host.settle(lockd_port=32768, lockd_udp_port=32769).result()["restart_needed"] == ["lockd"]


def test_an_older_system_has_them_in_sysconfig(host):
    host.write("etc/sysconfig/nfs", '#MOUNTD_PORT=892\nSTATD_PORT="662" # kept\nexport LOCKD_UDPPORT=1')
    host.settle(statd_port=32765, lockd_port=32768, mountd_port=20048)
    assert (host.root / "etc/sysconfig/nfs").read_text() == (
        "#MOUNTD_PORT=892\nSTATD_PORT=32765 # kept\nexport LOCKD_UDPPORT=32768\nLOCKD_TCPPORT=32768\n"
        "MOUNTD_PORT=20048\n"
    )


def test_a_system_with_neither_file_is_told(host):
    with pytest.raises(NfsError, match="neither /etc/nfs.conf nor /etc/sysconfig/nfs"):
        host.plan(statd_port=32765)
    host.has_nfsconf = True
    (host.root / "etc").mkdir()
    host.settle(statd_port=32765)
    assert (host.root / "etc/nfs.conf").read_text() == "[statd]\nport=32765\n"


def test_a_drop_in_that_would_win_is_named(host):
    host.write("etc/nfs.conf", "")
    host.write("etc/nfs.conf.d/ours.conf", "[statd]\nport=9\n")
    host.write("etc/nfs.conf.d/note.txt", "[statd]\nport=8\n")
    with pytest.raises(NfsError, match=r"nfs\.conf\.d/ours\.conf says port=9 in \[statd\]"):
        host.plan(statd_port=32765)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"statd_port": 0}, "0 is no port"),
        ({"mountd_port": 65536}, "65536 is no port"),
        ({"statd_port": 5, "lockd_port": 5}, "have the same port 5"),
    ],
)
def test_ports_that_cannot_be_are_refused(host, changes, message):
    with pytest.raises(NfsError, match=message):
        host.plan(**changes)


def test_a_change_of_ports_does_not_stop_the_service_while_locks_are_held(host):
    host.write("etc/nfs.conf", "")
    host.services.up = True
    host.mount("3")
    host.write("proc/locks", "1: FLOCK  ADVISORY  WRITE 78 00:2d:5 0 EOF\n")
    with pytest.raises(NfsError, match="locks are held"):
        host.plan(statd_port=32765)


def test_the_diff_tells_the_service_and_the_file(host):
    host.write("etc/nfs.conf", "")
    parts = host.plan(statd_port=32765).diff()
    assert [part["after"] for part in parts] == ["running\n", "[statd]\nport=32765\n"]
    assert host.plan(state="disabled").diff()[0]["after"] == "stopped, kept from starting\n"


ROWS = ["", "# port=1", "[statd]", "[lockd]", "[ nfsd ]", "port=1", " Port = 2 ; x", "udp-port=3", "junk", "a = b # c"]
rows = st.lists(st.sampled_from(ROWS), max_size=10).map("\n".join)


@settings(deadline=None)
@given(rows, st.sampled_from(["statd", "lockd", "mountd"]), st.sampled_from(["port", "udp-port"]))
def test_a_value_that_is_set_reads_back_and_all_other_keys_keep_theirs(text, section, key):
    changed = lock_config.with_value(text, section, key, "32765")
    assert lock_config.value_in(changed, section, key) == "32765"
    for other in ("statd", "lockd", "nfsd", "mountd"):
        for name in ("port", "udp-port", "a"):
            if (other, name) != (section, key):
                assert lock_config.value_in(changed, other, name) == lock_config.value_in(text, other, name)
    assert lock_config.with_value(changed, section, key, "32765") == changed


def test_the_documentation_has_the_options_of_the_module():
    documented = yaml.safe_load(nfs_lock.DOCUMENTATION)["options"]
    spec = nfs_lock.argument_spec()
    assert set(documented) == set(spec)
    for name, option in spec.items():
        assert documented[name].get("default") == option.get("default"), name
        assert documented[name].get("choices") == option.get("choices"), name
    yaml.safe_load(nfs_lock.EXAMPLES)
    yaml.safe_load(nfs_lock.RETURN)
