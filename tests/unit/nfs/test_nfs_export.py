# SPDX-License-Identifier: GPL-3.0-or-later
import json

import pytest
import yaml
from ansible_collections.seamless.migration.plugins.module_utils.nfs import export_plan
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.modules import nfs_export
from fake_nfs_server import FakeServer


def options(**changes):
    spec = nfs_export.argument_spec()
    params = {name: option.get("default") for name, option in spec.items()}
    params.update({"path": "/srv/files", "client": "web1", "require_path": False})
    return dict(params, **changes)


class Host:
    def __init__(self, root):
        self.server = FakeServer(root)

    def plan(self, **changes):
        server = self.server
        return export_plan.plan(
            options(**changes), root=str(server.root), run=server.run, which=server.which, names=server.names
        )

    def do(self, **changes):
        change = self.plan(**changes)
        if change.differs:
            change.apply()
        return change

    def settle(self, **changes):
        first = self.do(**changes)
        second = self.plan(**changes)
        assert not second.differs, (second.before, second.after, self.server.table())
        return first


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path / "root")


def test_the_defaults_are_safe_and_the_export_has_a_file_of_its_own(host):
    change = host.settle()
    line = "/srv/files web1(ro,sync,no_subtree_check,root_squash,no_all_squash)\n"
    own = host.server.root / change.file.replace(str(host.server.root) + "/", "")
    assert own.parent.name == "exports.d"
    assert own.read_text() == export_plan.HEADER + line
    assert change.result()["entry"] + "\n" == line
    assert change.result()["exported"]
    assert host.server.commands == [["exportfs", "-r"]]


def test_all_options_reach_the_line():
    words = export_plan.words_of(
        options(
            read_only=False, sync=False, subtree_check=True, squash="all", anonuid=99, anongid=-2, fsid="0x11",
            sec=["krb5p", "sys"], crossmnt=True, secure=False, write_delay=False, require_mountpoint=True,
            extra=["no_acl", "pnfs"],
        )
    )  # fmt: skip
    assert ",".join(words) == (
        "sec=krb5p:sys,rw,async,subtree_check,insecure,crossmnt,no_wdelay,root_squash,all_squash,anonuid=99,anongid=-2,"
        "fsid=0x11,mountpoint,no_acl,pnfs"
    )


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("rw", "'rw' has an option of its own"),
        ("no_root_squash", "has an option of its own"),
        ("sec=sys", "has an option of its own"),
        ("no such", "has a blank"),
        ("acl)", "a bracket"),
        ("no_such", "is no option of an export"),
        ("anonuid=me", "has no valid value"),
    ],
)
def test_further_options_are_checked(extra, message):
    with pytest.raises(NfsError, match=message):
        export_plan.words_of(options(extra=[extra]))


def test_two_clients_of_one_path_have_two_files_and_one_goes_without_the_other(host):
    host.settle(client="web1")
    host.settle(client="web2", read_only=False)
    assert host.plan(client="web1").result()["clients"] == ["web1", "web2"]
    host.settle(client="web1", state="absent")
    assert list(host.server.table()) == [("/srv/files", "web2")]
    assert len(host.server.files()) == 1


def test_etc_exports_is_edited_in_place_and_given_back_byte_for_byte(host):
    admin = "# mine\n/srv/a \\\n  b(ro)\n/srv/c  d(ro)"
    host.server.write(admin)
    host.settle(file="/etc/exports")
    assert host.server.read().startswith(admin + "\n/srv/files web1(ro,")
    host.settle(file="/etc/exports", read_only=False)
    assert host.server.read().startswith(admin + "\n/srv/files web1(rw,")
    host.settle(file="/etc/exports", state="absent")
    assert host.server.read() == admin + "\n"


def test_a_path_with_a_blank_is_escaped(host):
    host.settle(path="/srv/my files", squash="none")
    assert ("/srv/my\\040files", "web1") in host.server.table()


def test_a_broken_line_anywhere_is_named_and_nothing_is_touched(host):
    host.server.write("/a b(rw, sync)\n/c d(ro)\n", "exports.d/other.exports")
    for state in ("present", "absent"):
        with pytest.raises(NfsError, match=r"other\.exports line 1: 'b\(rw,' has a bracket"):
            host.plan(state=state)
    assert host.server.commands == []


def test_files_that_exportfs_does_not_read_do_not_matter(host):
    host.server.write("/a b(rw", "exports.d/note.txt")
    host.server.write("/a b(rw", "exports.d/.hidden.exports")
    assert host.plan().differs


def test_the_trap_of_the_blank_before_the_bracket_is_refused_on_our_path_and_told_on_others(host):
    host.server.write("/srv/files web9 (rw)\n")
    with pytest.raises(NfsError, match=r"everybody gets \(rw\)\. Write web9\(rw\)"):
        host.plan()
    change = host.plan(path="/srv/other")
    assert any("Write web9(rw)" in warning for warning in change.warnings)


def test_an_entry_for_the_same_in_another_file_is_refused_because_the_first_counts(host):
    host.server.write("/x y(ro)\n/srv/files WEB1(rw)\n")
    with pytest.raises(NfsError, match=r"in .*/etc/exports line 2 already"):
        host.plan()


def test_removing_ours_says_that_another_file_still_exports_it(host):
    host.settle()
    host.server.write("/srv/files web1(rw)\n")
    change = host.do(state="absent")
    assert "stays exported" in change.warnings[0]
    assert list(host.server.table()) == [("/srv/files", "web1")]


def test_a_path_reached_by_a_link_is_the_same_path(host, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "link").symlink_to("tree")
    host.server.write("%s web1(rw)\n" % (tmp_path / "tree"))
    with pytest.raises(NfsError, match="line 1 already"):
        host.plan(path=str(tmp_path / "link"))


def test_two_paths_with_one_fsid_are_refused(host):
    host.server.write("/srv/other web1(rw,fsid=0x11)\n/srv/files web9(ro,fsid=17)\n")
    with pytest.raises(NfsError, match="fsid 17 is that of /srv/other already"):
        host.plan(fsid="17")
    assert host.plan(fsid="18").differs


def test_a_refusal_of_exportfs_puts_the_file_back(host):
    host.settle()
    before = host.plan().before
    host.server.complaints = ["exportfs: /srv/files requires fsid= for NFS export"]
    with pytest.raises(NfsError, match=r"requires fsid= for NFS export\. .* was put back"):
        host.do(read_only=False)
    assert host.plan().before == before
    assert host.server.commands[-2:] == [["exportfs", "-r"], ["exportfs", "-r"]]


def test_a_new_file_that_exportfs_does_not_take_is_removed_again(host):
    host.server.ignored = {"web1"}
    host.server.complaints = ["exportfs: Failed to resolve web1"]
    with pytest.raises(NfsError, match=r"without /srv/files to web1 being as asked; exportfs says: .*resolve web1"):
        host.do()
    assert host.server.files() == []


def test_exports_of_others_that_exportfs_drops_put_the_file_back(host):
    host.server.write("/a b(ro,sync)\n")
    host.server.run(["exportfs", "-r"])
    host.server.loses = True
    with pytest.raises(NfsError, match="exportfs dropped /a to b, which the files still have"):
        host.do()
    assert [path.name for path in host.server.files()] == ["exports"]


def test_complaints_about_others_are_passed_on(host):
    host.server.complaints = ["exportfs: /srv/files2: No such file or directory", ""]
    assert host.do().warnings == ["exportfs: /srv/files2: No such file or directory"]


def test_a_remark_about_an_older_line_of_the_same_path_is_passed_on(host):
    """As nfs-utils makes it of each line that has neither word."""
    host.server.write("/srv/files 192.0.2.5(rw)\n")
    remark = (
        "exportfs: /etc/exports [1]: Neither 'subtree_check' or 'no_subtree_check' specified for export "
        '"192.0.2.5:/srv/files".'
    )
    host.server.complaints = [remark, "  Assuming default behaviour ('no_subtree_check')."]
    assert host.do().warnings[0] == remark
    assert set(host.server.table()) == {("/srv/files", "192.0.2.5"), ("/srv/files", "web1")}


def test_exports_made_by_hand_survive(host):
    host.server.fill({("/by/hand", "app"): "rw,sync"})
    change = host.settle()
    assert set(host.server.table()) == {("/by/hand", "app"), ("/srv/files", "web1")}
    assert "by hand" in change.warnings[0]
    host.settle(state="absent")
    assert list(host.server.table()) == [("/by/hand", "app")]
    assert host.server.commands == [
        ["exportfs", "-a"], ["exportfs", "-u", "web1:/srv/files"], ["exportfs", "-a"]
    ]  # fmt: skip


def test_an_ipv6_network_is_unexported_in_brackets(host):
    host.server.fill({("/by/hand", "app"): "rw,sync"})
    host.settle(client="2001:db8::/64")
    host.settle(client="2001:db8::/64", state="absent")
    assert ["exportfs", "-u", "[2001:db8::]/64:/srv/files"] in host.server.commands


def test_what_somebody_unexported_by_hand_is_exported_again(host):
    host.settle()
    host.server.fill({})
    change = host.settle()
    assert not change.file_differs
    assert list(host.server.table()) == [("/srv/files", "web1")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "srv/files"}, "path has to be an absolute path"),
        ({"path": "/no/such", "require_path": True}, "is no directory on this host"),
        ({"path": "/usr/bin", "require_path": True, "require_mountpoint": True}, "is not a mount point"),
        ({"file": "/etc/exports.d/mine"}, "is not read by exportfs"),
        ({"file": "/etc/exports.d/.mine.exports"}, "is not read by exportfs"),
        ({"client": "web1 (rw)"}, "would export to everybody"),
        ({"fsid": "seven"}, "has no valid value"),
    ],
)
def test_bad_options_are_refused_before_anything_is_touched(host, changes, message):
    with pytest.raises(NfsError, match=message):
        host.plan(**changes)
    assert host.server.files() == []


def test_a_host_without_exportfs_is_told_what_to_install(host):
    host.server.which = lambda name: None
    with pytest.raises(NfsError, match="Install the NFS server"):
        host.do()


def test_the_diff_shows_file_and_lines(host):
    diff = host.plan().diff()
    assert diff["before"] == ""
    assert diff["after"].endswith("web1(ro,sync,no_subtree_check,root_squash,no_all_squash)\n")
    json.dumps(diff)


def test_the_documentation_has_the_options_of_the_module():
    documented = yaml.safe_load(nfs_export.DOCUMENTATION)["options"]
    spec = nfs_export.argument_spec()
    assert set(documented) == set(spec)
    for name, option in spec.items():
        assert documented[name].get("default") == option.get("default"), name
        assert documented[name].get("choices") == option.get("choices"), name
    yaml.safe_load(nfs_export.EXAMPLES)
    yaml.safe_load(nfs_export.RETURN)


def test_a_host_that_exportfs_notes_under_its_canonical_name_is_known_again(host):
    host.server.canonical = {"web1": "web1.example.com", "app": "app.example.com"}
    host.server.write("/a app(ro,sync)\n")
    host.settle()
    assert set(host.server.table()) == {("/a", "app.example.com"), ("/srv/files", "web1.example.com")}
    assert host.plan().by_hand == []
    assert host.settle(read_only=False).result()["exported"]
    host.settle(state="absent")
    assert set(host.server.table()) == {("/a", "app.example.com")}


def test_only_hosts_have_other_names():
    assert export_plan.other_names("192.0.2.0/24") == export_plan.other_names("*") == set()
    assert export_plan.other_names("@net") == export_plan.other_names("*.example.com") == set()
    assert export_plan.other_names("no-such-host.invalid") == set()
    assert export_plan.other_names("localhost") == {"localhost"}
