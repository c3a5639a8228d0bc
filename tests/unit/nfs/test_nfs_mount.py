# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import time

import pytest
import yaml
from ansible_collections.seamless.migration.plugins.module_utils.host.services import ServiceError
from ansible_collections.seamless.migration.plugins.module_utils.nfs import mount_plan, mounts
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.mount_switch import Switch
from ansible_collections.seamless.migration.plugins.module_utils.nfs.other_mounts import Other
from ansible_collections.seamless.migration.plugins.modules import nfs_mount
from fake_nfs_client import ADDRESSES, FakeClient, holder

POINT = "/mnt/files"
FSTAB = "# kept\nold:/srv/files\t/mnt/files nfs vers=4.2,hard,weird=1 0 0  # ours\n/dev/sda1 / ext4 defaults 0 1"


def options(**changes):
    params = {name: option.get("default") for name, option in nfs_mount.argument_spec().items()}
    params.update({"path": POINT, "server": "new", "export": "/srv/files", "state": "switched"})
    params.update({"unmount_timeout": 1, "mount_timeout": 2, "check_timeout": 3})
    return dict(params, **changes)


def lookup(server, timeout):
    assert timeout
    if server not in ADDRESSES:
        raise NfsError("server %s has no address here" % server)
    return [ADDRESSES[server]]


class Client:
    def __init__(self, root):
        self.host = FakeClient(root)
        self.host.write_fstab(FSTAB)
        self.host.add("old:/srv/files", POINT)

    def plan(self, **changes):
        return mount_plan.plan(options(**changes), root=self.host.root, lookup=lookup)

    def switch(self, **changes):
        plan = self.plan(**changes)
        switch = Switch(plan, self.host)
        if plan.differs:
            switch.run()
        return switch

    def settle(self, **changes):
        first = self.switch(**changes)
        assert not self.plan(**changes).differs
        return first

    def as_before(self):
        assert self.host.sources() == {POINT: "old:/srv/files"}
        assert self.host.fstab() == FSTAB
        assert self.host.services.up == {"app.service": True}


@pytest.fixture
def client(tmp_path):
    return Client(tmp_path)


# -- the way there


def test_the_server_is_switched_in_one_go_and_the_line_in_fstab_is_edited_in_place(client):
    switch = client.settle(stop_units=["app.service"], canary_folder="tmp", canary_user="nobody")
    assert client.host.log == [
        "connect 10.0.0.2:2049",
        "rehearse new:/srv/files",
        "stop app.service",
        "unmount /mnt/files",
        "mount new:/srv/files",
        "canary /mnt/files/tmp nobody",
        "start app.service",
        "daemon-reload",
    ]
    assert client.host.fstab() == FSTAB.replace("old:", "new:")
    result = switch.result()
    assert result["source"] == "new:/srv/files"
    assert result["address"] == "10.0.0.2"
    assert result["stopped_units"] == ["app.service"]
    assert result["checks"]["canary"] == ["write", "lock", "read", "remove"]
    assert result["window_s"] >= 0
    assert result["was"] == {"source": "old:/srv/files", "own_address": "10.0.0.9"}
    assert result["wanted"] == {"source": "new:/srv/files", "own_address": "10.0.1.9"}
    json.dumps(result)


def test_systemd_reads_fstab_first_where_it_has_not_seen_the_new_mount(client):
    client.host.blind = True
    client.settle(stop_units=["app.service"])
    assert client.host.log[-2:] == ["daemon-reload", "start app.service"]
    assert client.host.log.count("daemon-reload") == 1


def test_systemd_reads_fstab_too_when_a_unit_does_not_start(client):
    def fails(unit):
        raise ServiceError("Failed to start " + unit)

    client.host.services.start = fails
    with pytest.raises(NfsError, match="Failed to start app.service"):
        client.switch(stop_units=["app.service"])
    assert client.host.log[-1] == "daemon-reload"


def test_options_that_nobody_knows_stay_in_fstab_and_reach_the_mount(client):
    client.settle()
    assert mounts.at(POINT, client.host.mounts()).option("weird") == "1"


def test_several_units_are_started_in_the_opposite_order_and_stopped_ones_stay_stopped(tmp_path):
    client = Client(tmp_path)
    client.host.services.up = {"a.service": True, "b.service": False, "c.service": True}
    client.settle(stop_units=["a.service", "b.service", "c.service"])
    assert [line for line in client.host.log if "service" in line] == [
        "stop a.service", "stop c.service", "start c.service", "start a.service"
    ]  # fmt: skip


def test_a_mount_without_a_line_in_fstab_keeps_its_options_and_gets_no_line(client):
    client.host.write_fstab("# none\n")
    switch = client.settle()
    assert client.host.fstab() == "# none\n"
    assert "gets none" in switch.warnings[0]
    assert mounts.at(POINT, client.host.mounts()).options[:3] == ["rw", "rw", "vers=4.2"]


def test_a_name_that_means_another_server_by_now_is_switched(client):
    client.host.show(client.host.lines()[:1])
    client.host.add("files.lab:/srv/files", POINT, address="10.0.0.1")
    client.host.write_fstab("files.lab:/srv/files /mnt/files nfs hard 0 0\n")
    client.settle(server="files.lab")
    assert mounts.at(POINT, client.host.mounts()).address == "10.0.0.2"


def test_a_mount_from_the_right_address_under_another_name_is_left_alone(client):
    client.host.show(client.host.lines()[:1])
    client.host.add("files.lab:/srv/files/", POINT)
    client.host.write_fstab("new:/srv/files /mnt/files nfs hard 0 0\n")
    assert not client.plan(server="new").differs


def test_version_three_is_switched_the_same_way(client):
    client.host.show(client.host.lines()[:1])
    client.host.add("old:/srv/files", POINT, "vers=3,mountaddr=10.0.0.1,mountvers=3,local_lock=none", "nfs")
    client.host.write_fstab("")
    client.settle()
    found = mounts.at(POINT, client.host.mounts())
    assert found.version == "3"
    assert found.option("mountaddr") is None


def test_a_path_with_a_blank_is_found_and_written_with_its_escape(client):
    client.host.show(client.host.lines()[:1])
    client.host.add("old:/srv/files", "/mnt/my files")
    client.host.write_fstab("old:/srv/files /mnt/my\\040files nfs hard 0 0\n")
    client.settle(path="/mnt/my files")
    assert client.host.fstab() == "new:/srv/files /mnt/my\\040files nfs hard 0 0\n"


def test_a_line_in_fstab_that_says_the_path_through_a_link_is_edited(client, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    client.host.show(client.host.lines()[:1])
    client.host.add("old:/srv/files", str(tmp_path / "real/files"))
    line = "%%s:/srv/files %s nfs hard,weird=1 0 0\n" % (tmp_path / "link/files")
    client.host.write_fstab(line % "old")
    switch = client.settle(path=str(tmp_path / "link/files"))
    assert client.host.fstab() == line % "new"
    assert switch.warnings == []


def test_links_that_a_dead_server_has_hold_up_nothing(client, monkeypatch):
    def hang(path, seen):
        time.sleep(60)

    assert mount_plan.places_of(["/etc"], [], 20) == {"/etc": "/etc"}
    monkeypatch.setattr(mount_plan, "place_of", hang)
    assert mount_plan.places_of(["/mnt/dead/x"], [], 0.2) == {}


def test_mounting_where_nothing_is_mounted_adds_a_line(client):
    client.host.show(client.host.lines()[:1])
    client.host.write_fstab("# none")
    client.settle(state="mounted", options=["vers=3", "hard"])
    assert client.host.fstab() == "# none\nnew:/srv/files /mnt/files nfs vers=3,hard 0 0\n"
    assert "mkdir /mnt/files" in client.host.log


def test_mounting_does_not_change_the_server_of_a_mounted_path(client):
    with pytest.raises(NfsError, match="Say state: switched"):
        client.plan(state="mounted")


def test_unmounting_keeps_fstab_and_leaves_units_stopped(client):
    client.settle(state="unmounted", server=None, export=None, stop_units=["app.service"])
    assert client.host.sources() == {}
    assert client.host.fstab() == FSTAB
    assert client.host.services.up == {"app.service": False}


def test_a_read_only_mount_is_not_written_to(client):
    switch = client.settle(options=["ro", "hard"])
    assert switch.checks["canary"] == []
    assert "nfs ro,hard 0 0" in client.host.fstab()


def test_file_systems_that_the_kernel_mounted_below_go_and_come_with_it(client):
    client.host.add("old:/srv/files/sub", "/mnt/files/sub")
    client.switch()
    assert client.host.sources() == {POINT: "new:/srv/files"}


def test_check_mode_tells_the_steps_and_the_users_and_touches_nothing(client):
    client.host.busy = [holder("app.service")]
    plan = client.plan(stop_units=["app.service"])
    switch = Switch(plan, client.host)
    switch.look()
    assert plan.steps() == [
        "mount new:/srv/files elsewhere and look at it", "stop app.service", "unmount /mnt/files", "write /etc/fstab",
        "mount new:/srv/files at /mnt/files", "check the mount", "start app.service",
    ]  # fmt: skip
    assert switch.result()["users"][0]["unit"] == "app.service"
    assert [part["after"] for part in plan.diff()][0] == "new:/srv/files at /mnt/files\n"
    assert client.host.log == []
    client.as_before()


# -- who uses it


@pytest.mark.parametrize(
    ("how", "words"),
    [("open", "has open"), ("lock", "holds a lock on"), ("cwd", "has its working directory at")],
)
def test_a_user_outside_the_given_units_is_named_and_nothing_is_touched(client, how, words):
    client.host.busy = [holder(how=how)]
    with pytest.raises(NfsError, match=r"tail -f \(pid 4711\) %s /mnt/files/log.* Nothing was touched" % words):
        client.switch(stop_units=["app.service"])
    assert "stop app.service" not in client.host.log
    client.as_before()


def test_a_user_who_stays_when_its_unit_has_stopped_puts_all_back(client):
    client.host.busy = [holder("app.service")]
    client.host.holders = lambda mount, timeout: list(client.host.busy)
    with pytest.raises(NfsError, match="in use: tail -f.*Everything was put back"):
        client.switch(stop_units=["app.service"])
    client.as_before()


def test_users_are_ended_when_that_is_asked_for_by_force_when_they_stay(client):
    client.host.busy = [holder()]
    client.host.stubborn = True
    switch = client.settle(end_processes=True)
    assert [line for line in client.host.log if "signal" in line] == ["signal 15 to [4711]", "signal 9 to [4711]"]
    assert [user.pid for user in switch.ended] == [4711]


def test_a_kernel_user_that_no_process_shows_is_told(client):
    def unmount(point, timeout):
        client.host.busy = []
        from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError

        raise CommandError("umount: %s: target is busy after %d s" % (point, timeout))

    client.host.unmount = unmount
    with pytest.raises(NfsError, match=r"NFS server, loop device, swap.*Everything was put back"):
        client.switch(rehearse=False)
    client.as_before()


# -- lazy


def test_lazily_only_once_the_old_export_takes_no_writes(client):
    client.host.busy = [holder()]
    with pytest.raises(NfsError, match="still takes writes.*Everything was put back"):
        client.switch(lazy="read_only", stop_units=["app.service"])
    client.as_before()
    client.host.read_only = {"old"}
    switch = client.settle(lazy="read_only")
    assert "detach /mnt/files" in client.host.log
    assert "Still on the old server until they end: tail -f" in switch.warnings[0]


def test_lazily_without_the_test_when_the_caller_vouches(client):
    client.host.busy = [holder()]
    client.settle(lazy="fenced")
    assert client.host.sources() == {POINT: "new:/srv/files"}


def test_lazy_is_not_used_when_nobody_is_in_the_way(client):
    client.settle(lazy="fenced")
    assert "unmount /mnt/files" in client.host.log


# -- faults


def test_an_old_server_that_does_not_answer_fails_before_anything_is_touched(client):
    client.host.down = {"old"}
    with pytest.raises(
        NfsError, match="old server old:/srv/files does not answer. Say force: true.*Nothing was touched"
    ):
        client.switch(stop_units=["app.service"])
    client.as_before()


def test_an_old_server_that_does_not_answer_is_left_by_force_when_that_is_asked_for(client):
    client.host.down = {"old"}
    client.settle(force=True, stop_units=["app.service"])
    assert "force /mnt/files" in client.host.log
    assert client.host.services.up == {"app.service": True}


def test_a_dead_server_that_is_waited_for_after_the_path_is_free_keeps_nobody(client):
    client.host.down = {"old"}
    client.host.slow_goodbye = True
    client.settle(force=True, stop_units=["app.service"])
    assert client.host.sources() == {POINT: "new:/srv/files"}


def test_a_path_that_even_force_does_not_free_puts_all_back(client):
    client.host.down = {"old"}
    client.host.stuck = True
    with pytest.raises(NfsError, match="umount of /mnt/files had no answer.*Everything was put back"):
        client.switch(force=True, stop_units=["app.service"])
    client.as_before()


def test_a_closed_port_of_the_new_server_is_found_before_anything_is_touched(client):
    client.host.closed = {"new"}
    with pytest.raises(NfsError, match="10.0.0.2 port 2049.*Connection refused.*firewall_port.*Nothing was touched"):
        client.switch(stop_units=["app.service"])
    client.as_before()


def test_an_export_that_is_missing_on_the_new_server_is_found_before_anything_is_touched(client):
    client.host.exports.remove(("new", "/srv/files"))
    with pytest.raises(NfsError, match="No such file or directory.*Nothing was touched"):
        client.switch(stop_units=["app.service"])
    assert "stop app.service" not in client.host.log
    assert os.listdir(client.host.root + "/run/seamless-migration") == []
    client.as_before()


def test_without_a_rehearsal_the_missing_export_puts_all_back(client):
    client.host.exports.remove(("new", "/srv/files"))
    with pytest.raises(NfsError, match="No such file or directory.*Everything was put back"):
        client.switch(rehearse=False, stop_units=["app.service"])
    assert client.host.log[-3:] == ["mount new:/srv/files", "mount old:/srv/files", "start app.service"]
    client.as_before()


def test_a_grace_period_that_is_not_over_puts_all_back(client):
    client.host.in_grace = {"new"}
    with pytest.raises(NfsError, match="grace period.*Everything was put back"):
        client.switch(stop_units=["app.service"])
    client.as_before()


def test_a_unit_that_does_not_stop_puts_all_back(client):
    client.host.services.broken = {"app.service"}
    client.host.services.start = lambda unit: client.host.services.up.update({unit: True})
    with pytest.raises(NfsError, match="Failed to stop app.service.*Everything was put back"):
        client.switch(stop_units=["app.service"])
    client.as_before()


def test_a_unit_that_does_not_come_back_is_told_apart_from_a_path_that_does_not(client):
    client.host.services.broken = {"app.service"}
    with pytest.raises(NfsError, match="Not put back: units .*The path is mounted as before"):
        client.switch(stop_units=["app.service"])
    assert client.host.sources() == {POINT: "old:/srv/files"}


def test_when_the_old_server_dies_meanwhile_units_stay_stopped_and_the_next_run_finishes(client):
    client.host.in_grace = {"new"}
    plan = client.plan(stop_units=["app.service"])
    switch = Switch(plan, client.host)
    original = client.host.canary

    def dies(folder, user, timeout):
        client.host.down = {"old"}
        return original(folder, user, timeout)

    client.host.canary = dies
    with pytest.raises(NfsError, match="Not put back: mount, units .*run again"):
        switch.run()
    assert client.host.services.up == {"app.service": False}
    assert client.host.fstab() == FSTAB
    client.host.in_grace = set()
    client.settle(stop_units=["app.service"])
    assert client.host.services.up == {"app.service": True}
    assert client.host.fstab() == FSTAB.replace("old:", "new:")


@pytest.mark.parametrize("moment", ["unmount /mnt/files", "mount new:/srv/files", "canary /mnt/files None"])
@pytest.mark.parametrize("in_fstab", [True, False])
def test_a_run_that_was_killed_is_finished_by_the_next(client, moment, in_fstab):
    if not in_fstab:
        client.host.write_fstab("")
    client.host.dies_at = moment
    with pytest.raises(KeyboardInterrupt):
        client.switch(stop_units=["app.service"])
    client.host.dies_at = None
    client.settle(stop_units=["app.service"])
    assert client.host.sources() == {POINT: "new:/srv/files"}
    assert client.host.services.up == {"app.service": True}
    assert client.host.fstab() == (FSTAB.replace("old:", "new:") if in_fstab else "")
    assert mounts.at(POINT, client.host.mounts()).version == "4.2"


def test_a_unit_that_does_not_start_is_an_error_and_the_next_run_starts_it(client):
    services = client.host.services
    start = services.start

    def fails(unit):
        services.broken = {unit}
        start(unit)

    services.start = fails
    with pytest.raises(NfsError, match="Failed to start app.service.*is mounted from new:/srv/files as asked"):
        client.switch(stop_units=["app.service"])
    services.start, services.broken = start, set()
    client.settle(stop_units=["app.service"])
    assert services.up == {"app.service": True}


# -- who else mounts there


def test_autofs_is_recognised_and_told(client):
    client.host.show(client.host.lines()[:1] + ["2 1 0:50 / /mnt rw - autofs /etc/auto.mnt rw,fd=5"])
    with pytest.raises(NfsError, match=r"autofs \(/etc/auto.mnt at /mnt\).*Change its map"):
        client.plan()


def test_an_automount_of_systemd_is_recognised_and_told(client):
    client.host.show(client.host.lines()[:1] + ["2 1 0:50 / /mnt/files rw - autofs systemd-1 rw,fd=5"])
    with pytest.raises(NfsError, match="systemd unit mnt-files.automount"):
        client.plan()


def test_a_mount_unit_of_the_administrator_is_recognised_and_told(client):
    folder = os.path.join(client.host.root, "etc/systemd/system")
    os.makedirs(folder)
    with open(os.path.join(folder, "mnt-files.mount"), "w", encoding="ascii"):
        pass
    with pytest.raises(NfsError, match="Change What= there"):
        client.plan()


@pytest.mark.parametrize(
    ("path", "unit"),
    [("/srv/my files", "srv-my\\x20files.mount"), ("/a-b/.c", "a\\x2db-.c.mount"), ("/.hid", "\\x2ehid.mount"),
     ("/é", "\\xc3\\xa9.mount")],
)  # fmt: skip
def test_units_are_named_as_systemd_does(path, unit):
    assert mounts.unit_name(path, ".mount") == unit


# -- what is refused


@pytest.mark.parametrize(
    ("fstab", "message"),
    [
        ("old:/a /mnt/files nfs x 0 0\nold:/b /mnt/files/ nfs x 0 0\n", "lines 1 and 2"),
        ("/dev/sdb1 /mnt/files ext4 x 0 0\n", "file system of type ext4"),
    ],
)
def test_an_fstab_that_says_something_else_is_refused(client, fstab, message):
    client.host.write_fstab(fstab)
    with pytest.raises(NfsError, match=message):
        client.plan()


def test_a_path_that_is_no_nfs_mount_is_refused(client):
    client.host.show(client.host.lines()[:1] + ["2 1 8:2 / /mnt/files rw - ext4 /dev/sdb1 rw"])
    with pytest.raises(NfsError, match="type ext4 mounted"):
        client.plan()


@pytest.mark.parametrize("in_fstab", [True, False])
def test_a_mount_of_its_own_below_is_refused(client, in_fstab):
    if in_fstab:
        client.host.add("old:/sub", "/mnt/files/sub")
        client.host.write_fstab(FSTAB + "\nold:/sub /mnt/files/sub nfs hard 0 0\n")
    else:
        client.host.show(client.host.lines() + ["3 2 8:2 / /mnt/files/sub rw - ext4 /dev/sdb1 rw"])
    with pytest.raises(NfsError, match="/mnt/files/sub is a mount of its own below"):
        client.plan()


def test_a_mount_of_the_same_server_below_that_the_kernel_has_not_made_is_refused(client):
    client.host.add("old:/srv/other", "/mnt/files/sub")
    for state in ("rehearsed", "switched"):
        with pytest.raises(NfsError, match="/mnt/files/sub is a mount of its own below"):
            client.plan(state=state)


@pytest.mark.parametrize("state", ["rehearsed", "switched"])
def test_what_would_stay_on_the_old_server_is_named_and_nothing_is_touched(client, state):
    client.host.elsewhere = [Other("/mnt/second"), Other("/data", 7, "web", "docker-1.scope")]
    plan = client.plan(state=state)
    with pytest.raises(NfsError, match=r"/mnt/second; /data as web \(pid 7, of docker-1.scope\).*Nothing was touched"):
        Switch(plan, client.host).run()
    client.as_before()
    client.switch(state=state, known_mounts=["/mnt/second", "docker-*.scope"])


def test_in_the_window_nobody_looks_for_what_would_stay(client):
    client.host.elsewhere = [Other("/mnt/second")]
    client.settle(rehearse=False)


@pytest.mark.parametrize(("state", "warned"), [("switched", True), ("mounted", False)])
def test_check_mode_tells_what_would_stay(client, state, warned):
    client.host.elsewhere = [Other("/mnt/second")]
    switch = Switch(client.plan(state=state, server="new" if warned else "old"), client.host)
    switch.look()
    assert switch.result()["other_mounts"] == [{"path": "/mnt/second", "pid": 0, "command": "", "unit": ""}]
    assert bool(switch.warnings) is warned


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "mnt"}, "absolute path"),
        ({"path": "/"}, "absolute path below /"),
        ({"server": "new:/srv"}, "is no name or address"),
        ({"server": "[fe80::1]"}, "IPv6 address without brackets"),
        ({"server": ""}, "is no name or address"),
        ({"export": "srv"}, "is no absolute path"),
        ({"options": ["vers=4, hard"]}, "one option an item"),
        ({"canary_folder": "../x"}, "folder below the path"),
        ({"canary_user": "no-such-user"}, "is no user of this host"),
        ({"server": "nowhere"}, "has no address here"),
    ],
)
def test_bad_options_are_refused(client, changes, message):
    with pytest.raises(NfsError, match=message):
        client.plan(**changes)


def test_the_documentation_has_the_options_of_the_module():
    documented = yaml.safe_load(nfs_mount.DOCUMENTATION)["options"]
    spec = nfs_mount.argument_spec()
    assert set(documented) == set(spec)
    for name, option in spec.items():
        assert documented[name].get("default") == option.get("default"), name
        assert documented[name].get("choices") == option.get("choices"), name
        assert documented[name].get("elements") == option.get("elements"), name
    yaml.safe_load(nfs_mount.EXAMPLES)
    yaml.safe_load(nfs_mount.RETURN)


# -- before and instead of a switch


def test_held_units_are_stopped_with_a_deadman_and_started_by_the_switch(client):
    held = client.switch(state="held", stop_units=["app.service"], deadman=90)
    assert client.host.log == ["stop app.service"]
    assert list(client.host.armed.values()) == [["app.service"]]
    assert client.host.sources() == {POINT: "old:/srv/files"}
    assert held.result()["stopped_units"] == ["app.service"]
    again = client.switch(state="held", stop_units=["app.service"], deadman=90)
    assert again.result()["stopped_units"] == ["app.service"]
    switch = client.switch(stop_units=["app.service"], rehearse=False)
    assert client.host.services.up == {"app.service": True}
    assert client.host.armed == {}
    assert client.host.sources() == {POINT: "new:/srv/files"}
    assert switch.result()["stopped_s"] > 0


def test_no_deadman_is_left_that_would_start_units_while_nothing_is_mounted(client):
    client.switch(state="held", stop_units=["app.service"], deadman=90)
    client.host.dies_at = "mount new:/srv/files"
    with pytest.raises(KeyboardInterrupt):
        client.switch(stop_units=["app.service"], rehearse=False)
    assert client.host.armed == {} and client.host.sources() == {}
    client.host.dies_at = None
    client.settle(stop_units=["app.service"], rehearse=False)
    assert client.host.services.up == {"app.service": True}


@pytest.mark.parametrize("changes", [{"state": "mounted", "server": "old"}, {"state": "resumed", "server": None}])
def test_held_units_go_on_where_they_were(client, changes):
    client.switch(state="held", stop_units=["app.service"], deadman=90)
    client.switch(**changes)
    client.as_before()
    assert client.host.armed == {}
    assert not client.plan(**changes).differs


def test_a_unit_that_cannot_be_stopped_is_told_and_the_others_go_on(client):
    client.host.services.up["bad.service"] = True
    client.host.services.broken.add("bad.service")
    with pytest.raises(NfsError, match="Failed to stop bad.service"):
        client.switch(state="held", stop_units=["app.service", "bad.service"])
    assert client.host.services.up["app.service"]


def test_a_user_of_no_unit_keeps_a_hold_from_beginning(client):
    client.host.busy = [holder("other.service")]
    with pytest.raises(NfsError, match=r"in use.*Nothing was touched"):
        client.switch(state="held", stop_units=["app.service"])
    assert client.host.services.up == {"app.service": True}


def test_processes_are_ended_by_a_hold_when_that_is_asked(client):
    client.host.busy = [holder()]
    assert client.switch(state="held", stop_units=["app.service"], end_processes=True).result()["ended"]


@pytest.mark.parametrize("state", ["held", "rehearsed", "switched"])
def test_a_name_that_is_no_unit_is_told(client, state):
    with pytest.raises(NfsError, match="typo.service is no service"):
        client.switch(state=state, stop_units=["typo.service"]) if state != "rehearsed" else Switch(
            client.plan(state=state, stop_units=["typo.service"]), client.host
        ).run()
    client.as_before()


def rehearse(client, **changes):
    plan = client.plan(state="rehearsed", stop_units=["app.service"], **changes)
    assert plan.works and not plan.differs
    Switch(plan, client.host).run()


def test_a_rehearsal_changes_nothing(client):
    rehearse(client)
    assert client.host.log == ["connect 10.0.0.2:2049", "rehearse new:/srv/files", "canary /mnt/files None"]
    client.as_before()


def test_a_rehearsal_writes_the_canary_as_the_switch_will_through_the_mount_that_is_there(client):
    rehearse(client, canary_folder="tmp", canary_user="nobody")
    assert client.host.log[-1] == "canary /mnt/files/tmp nobody"
    client.host.squashed = {"old"}
    with pytest.raises(NfsError, match="tried through the mount that is there: .*Root may be squashed.*Nothing was"):
        rehearse(client)
    client.as_before()


@pytest.mark.parametrize("changes", [{"check": "read"}, {"check": "none"}, {"options": ["ro", "hard"]}])
def test_a_rehearsal_writes_nothing_where_the_switch_will_not(client, changes):
    client.host.squashed = {"old"}
    rehearse(client, **changes)
    client.as_before()


def test_a_rehearsal_writes_nothing_to_a_server_that_is_dead(client):
    client.host.down = {"old"}
    rehearse(client, force=True)
    assert not [line for line in client.host.log if line.startswith("canary")]


@pytest.mark.parametrize("fault", ["closed", "export", "user"])
def test_a_rehearsal_finds_what_would_stop_the_switch(client, fault):
    if fault == "closed":
        client.host.closed.add("new")
    elif fault == "export":
        client.host.exports.remove(("new", "/srv/files"))
    else:
        client.host.busy = [holder("other.service")]
    with pytest.raises(NfsError, match="Nothing was touched"):
        rehearse(client)
    client.as_before()


def test_a_client_that_has_the_new_server_already_has_nothing_to_rehearse(client):
    client.switch(stop_units=["app.service"])
    assert not client.plan(state="rehearsed").works


def test_a_unit_of_two_paths_starts_only_when_both_are_switched(tmp_path):
    client = Client(tmp_path)
    client.host.exports |= {("old", "/srv/two"), ("new", "/srv/two")}
    client.host.add("old:/srv/two", "/mnt/two")
    both = [{}, {"path": "/mnt/two", "export": "/srv/two"}]
    for changes in both:
        client.switch(state="held", stop_units=["app.service"], deadman=90, **changes)
    for changes in both:
        client.switch(stop_units=["app.service"], start_units=False, rehearse=False, **changes)
        assert client.host.services.up == {"app.service": False}
        assert client.host.armed == {}
    assert "start app.service" not in client.host.log
    assert not client.plan(start_units=False).differs
    resumed = [client.switch(state="resumed", server=None, **changes) for changes in both]
    assert client.host.services.up == {"app.service": True}
    assert client.host.log.count("start app.service") == 1
    assert resumed[0].result()["stopped_s"] > 0
    assert set(client.host.sources().values()) == {"new:/srv/files", "new:/srv/two"}


def test_a_switch_that_fails_starts_the_units_that_it_was_not_to_start(client):
    client.host.exports.remove(("new", "/srv/files"))
    with pytest.raises(NfsError, match="Everything was put back"):
        client.switch(stop_units=["app.service"], start_units=False, rehearse=False)
    client.as_before()
