# SPDX-License-Identifier: GPL-3.0-or-later
"""What an NFS server knows of itself, read from the files of a kernel that was looked at."""

import os
import time
from pathlib import Path

import pytest
import yaml
from ansible_collections.seamless.migration.plugins.module_utils.host import nfsd
from ansible_collections.seamless.migration.plugins.module_utils.nfs import server_view
from ansible_collections.seamless.migration.plugins.modules import nfs_info

INFO = """clientid: 0xf4c174aa6b087d08
address: "10.77.5.141:843"
status: confirmed
seconds from last renew: 7
name: "Linux NFSv4.2 nfs-client1"
minor version: 2
callback state: UP
"""
STATES = (
    '- 0x1: { type: open, access: rw, deny: --, superblock: "62:00:131074", filename: "held/open", owner: "o:" }\n'
    '- 0x2: { type: open, access: r-, deny: --, superblock: "62:00:131075", filename: "data/a, b", owner: "o:" }\n'
    '- 0x3: { type: lock, superblock: "62:00:131074", filename: "held/fcntl", owner: "lock id:" }\n'
)
ETAB = (
    "/srv/files\t10.77.5.0/24(rw,sync,wdelay,no_subtree_check,fsid=11)\n"
    "/srv/other\tapp9(ro,sync,no_subtree_check)\n"
    "/srv/named\t*.example.com(ro,sync,no_subtree_check)\n"
)
RIGHTS = (
    "/srv/files\t*(ro,sec=sys,ro)\n"
    "/srv/files\t10.77.5.0/24(rw,root_squash,all_squash,anonuid=-2,anongid=7,sec=sys,rw,root_squash,all_squash)\n"
    "/srv/files\t10.77.5.199(rw,no_root_squash,no_all_squash,sec=sys,rw,no_root_squash,no_all_squash)\n"
    "/srv/both\t*(rw,sec=krb5,rw,no_root_squash,no_all_squash,sec=sys,ro,root_squash,no_all_squash)\n"
)
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 00000000:0801 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 79054D0A:0801 8E054D0A:0345 01 00000000:00000000 00:00000000 00000000     0
   2: 79054D0A:0016 01054D0A:D345 01 00000000:00000000 00:00000000 00000000     0
   3: 0100007F:0801 0100007F:0345 01 00000000:00000000 00:00000000 00000000     0
"""
KNOWN = {"app9": ["10.77.5.199"], "10.77.5.141": ["web1.example.com"], "gone.example.com": []}


@pytest.fixture
def server(tmp_path):
    def put(path, text):
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    put("proc/fs/nfsd/threads", "8\n")
    put("proc/fs/nfsd/versions", "+3 +4 -4.0 +4.1 +4.2\n")
    put("proc/fs/nfsd/v4_end_grace", "Y\n")
    put("proc/fs/lockd/nlm_end_grace", "Y\n\0")
    put("proc/fs/nfsd/clients/3/info", INFO)
    put("proc/fs/nfsd/clients/3/states", STATES)
    put("proc/fs/nfsd/clients/3/ctl", "")
    put("proc/net/rpc/nfsd.fh/flush", "")
    put("var/lib/nfs/etab", ETAB)
    put("var/lib/nfs/rmtab", "10.77.5.142:/srv/files:0x00000001\ngone.example.com:/srv/files:0x00000001\nbroken\n")
    put("proc/net/tcp", TCP)
    put("proc/self/mountinfo", "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n")
    return str(tmp_path)


def names():
    return server_view.Names(ask=lambda name: KNOWN.get(name, []))


class Told(server_view.Names):
    def names_of(self, address):
        return KNOWN.get(address, [])


def view(server):
    return server_view.view(server, Told(ask=lambda name: KNOWN.get(name, [])))


def test_each_client_is_seen_by_whatever_knows_it(server):
    found = {client["address"]: client for client in view(server)["clients"]}
    assert sorted(found) == ["10.77.5.141", "10.77.5.142", "gone.example.com"]
    assert found["10.77.5.141"]["seen"] == ["version 4"]
    assert found["10.77.5.141"]["versions"] == ["4.2"]
    assert found["10.77.5.141"]["paths"] == ["/srv/files", "/srv/named"]
    assert found["10.77.5.142"]["seen"] == ["connection", "rmtab"]
    assert found["10.77.5.142"]["paths"] == ["/srv/files"]
    assert found["gone.example.com"]["seen"] == ["rmtab"]


def test_exports_are_told_with_what_matters_for_a_move(server):
    exports = {export["path"]: export for export in view(server)["exports"]}
    assert exports["/srv/files"] == {
        "path": "/srv/files", "client": "10.77.5.0/24", "read_only": False, "fsid": "11",
    }  # fmt: skip
    assert exports["/srv/other"]["read_only"]


def test_locks_are_taken_once_both_grace_periods_are_over(server):
    assert view(server)["takes_locks"]
    Path(server, "proc/fs/lockd/nlm_end_grace").write_text("N\n\0")
    assert not view(server)["takes_locks"]
    assert view(server)["grace"] == {"v4": True, "v3": False}


def test_a_host_without_a_server_has_none(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    found = server_view.view(str(tmp_path), names())
    assert not found["running"] and not found["takes_locks"] and found["clients"] == []


@pytest.mark.parametrize(
    "spec, covered",
    [
        ("*", True), ("@web", True), ("10.77.5.0/24", True), ("10.77.6.0/24", False), ("10.77.5.199", True),
        ("app9", True), ("app8", False), ("2001:db8::/32", False),
    ],
)  # fmt: skip
def test_a_client_of_an_export_covers_an_address(spec, covered):
    assert server_view.covers(spec, "10.77.5.199", names()) is covered


@pytest.mark.parametrize(
    "host, path, client, rights",
    [
        ("10.77.5.199", "/srv/files", "10.77.5.199", "sec=sys rw no_root_squash"),
        ("::ffff:10.77.5.199", "/srv/files", "10.77.5.199", "sec=sys rw no_root_squash"),
        ("10.77.5.7", "/srv/files", "10.77.5.0/24", "sec=sys rw all_squash anonuid=4294967294 anongid=7"),
        ("10.0.0.1", "/srv/files", "*", "sec=sys ro root_squash anonuid=65534 anongid=65534"),
        ("10.0.0.1", "/srv/both", "*", "sec=krb5 krb5:rw krb5:no_root_squash sec=sys sys:ro sys:root_squash"
         " anonuid=65534 anongid=65534"),
    ],
)  # fmt: skip
def test_what_a_host_may_do_is_told_by_the_line_that_counts_for_it(server, host, path, client, rights):
    Path(server, "var/lib/nfs/etab").write_text(RIGHTS)
    found = [entry for entry in server_view.rights([host], server, names()) if entry["path"] == path]
    assert found == [{"host": host, "path": path, "client": client, "rights": rights.split()}]


@pytest.mark.parametrize(
    "text, address",
    [
        ("79054D0A:0801", ("10.77.5.121", 2049)),
        ("0000000000000000FFFF00008E054D0A:0801", ("10.77.5.142", 2049)),
        ("B80D0120000000000000000001000000:0801", ("2001:db8::1", 2049)),
    ],
)
def test_connections_are_read_as_the_kernel_writes_them(text, address):
    assert server_view.endpoint(text) == address


def test_who_writes_through_the_server_is_told(server):
    assert nfsd.told(server) == "NFS client 10.77.5.141 writes held/open"
    assert [state["type"] for state in nfsd.clients(server)[0].states()] == ["open", "open", "lock"]
    assert nfsd.clients(server)[0].renewed_s == 7


def test_a_client_that_is_expired_is_told_to_the_kernel_and_others_are_not(server):
    assert nfsd.expire(["10.77.5.142"], server) == []
    assert Path(server, "proc/fs/nfsd/clients/3/ctl").read_text() == ""
    assert nfsd.expire(["10.77.5.141"], server) == ["held/open of 10.77.5.141"]
    assert Path(server, "proc/fs/nfsd/clients/3/ctl").read_text() == "expire\n"


@pytest.mark.parametrize(
    "host", ["::ffff:10.77.5.141", "[::ffff:a4d:58d]", "app1.example.com", "APP1"],
)  # fmt: skip
def test_a_client_is_expired_by_whatever_means_its_address(server, host):
    def ask(name, port):
        assert name.lower().startswith("app1")
        return [(10, 1, 6, "", ("::ffff:10.77.5.141", 0, 0, 0)), (2, 1, 6, "", ("10.77.5.141", 0))]

    assert nfsd.expire([host], server, ask) == ["held/open of 10.77.5.141"]
    assert Path(server, "proc/fs/nfsd/clients/3/ctl").read_text() == "expire\n"


def test_a_client_of_ipv6_is_expired_however_its_address_is_spelled(server):
    info = Path(server, "proc/fs/nfsd/clients/3/info")
    info.write_text(info.read_text().replace("10.77.5.141:843", "[2001:db8:0:0::1]:843"))
    assert nfsd.expire(["2001:DB8::1"], server) == ["held/open of 2001:db8::1"]


def test_a_name_that_means_nothing_or_has_no_answer_is_told_and_holds_up_nothing(server):
    def ask(name, port):
        if name == "slow":
            time.sleep(60)
        raise OSError("Name or service not known")

    begun = time.monotonic()
    assert nfsd.addresses_of(["10.77.5.141", "gone", "slow"], 0.2, ask) == ({"10.77.5.141"}, ["gone", "slow"])
    assert time.monotonic() - begun < 20
    assert nfsd.expire(["gone"], server, ask) == ["gone has no address here, and keeps what it holds"]


def test_files_that_are_kept_open_are_let_go(server, tmp_path):
    nfsd.flush(server)
    assert Path(server, "proc/net/rpc/nfsd.fh/flush").read_text().strip().isdigit()
    nfsd.flush(str(tmp_path / "nothing"))
    assert not os.path.exists(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    "text, address",
    [("192.0.2.1:843", "192.0.2.1"), ("[2001:db8::1]:843", "2001:db8::1"), ("[::ffff:192.0.2.1]:1", "192.0.2.1")],
)
def test_endpoints_are_read(text, address):
    assert nfsd.address_of('"%s"' % text) == address


def test_the_module_returns_what_it_documents(server):
    documented = yaml.safe_load(nfs_info.RETURN)
    found = view(server)
    assert set(found) == set(documented)
    found["rights"] = server_view.view(server, names(), hosts=["10.77.5.7"])["rights"]
    for key in ("exports", "clients", "rights"):
        assert set(found[key][0]) == set(documented[key]["contains"])
