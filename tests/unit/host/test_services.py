# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError, Result
from ansible_collections.seamless.migration.plugins.module_utils.host.services import ServiceError, Services


class Programs:
    def __init__(self, *names, rc=0, says=""):
        self.names = names
        self.says = says
        self.rc = rc
        self.calls = []

    def which(self, name):
        return "/bin/" + name if name in self.names else None

    def run(self, argv, ok=(0,), **_unused):
        self.calls.append(argv)
        if ok is not None and self.rc not in ok:
            raise CommandError("it broke")
        return Result(argv, self.rc, self.says, "")


@pytest.fixture
def systemd(tmp_path):
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    return str(tmp_path)


def services(programs, root):
    return Services(programs.run, programs.which, root)


def test_systemd_is_used_where_it_runs(systemd):
    programs = Programs("systemctl", "service")
    one = services(programs, systemd)
    one.start("rsync")
    one.enable("rsync")
    assert one.running("rsync") and one.enabled("rsync")
    assert [call[:2] for call in programs.calls] == [
        ["/bin/systemctl", verb] for verb in ("start", "enable", "is-active", "is-enabled")
    ]
    assert all(call[-2:] == ["--", "rsync"] for call in programs.calls)


@pytest.mark.parametrize(
    ("program", "argv"),
    [("update-rc.d", ["/bin/update-rc.d", "nfs", "enable"]), ("chkconfig", ["/bin/chkconfig", "nfs", "on"])],
)
def test_sysv_is_used_without_it_in_the_way_of_the_distribution(tmp_path, program, argv):
    programs = Programs("service", "systemctl", program)
    one = services(programs, str(tmp_path))
    one.stop("nfs")
    one.enable("nfs")
    assert programs.calls == [["/bin/service", "nfs", "stop"], argv]


def test_sysv_links_tell_what_starts_at_boot(tmp_path):
    (tmp_path / "etc/rc2.d").mkdir(parents=True)
    (tmp_path / "etc/rc2.d/S20nfs").touch()
    (tmp_path / "etc/rc2.d/K20lsyncd").touch()
    one = services(Programs(), str(tmp_path))
    assert one.enabled("nfs")
    assert not one.enabled("lsyncd")
    assert not one.enabled("fs")


def test_systemd_is_asked_once_for_all_services(systemd):
    said = "\n\n".join(
        "LoadState=%s\nActiveState=%s" % pair
        for pair in (("loaded", "active"), ("loaded", "failed"), ("not-found", "inactive"), ("loaded", "activating"))
    )
    programs = Programs("systemctl", says=said + "\n")
    found = services(programs, systemd).look(["app", "bad", "none", "again"])
    assert found == {"app": "runs", "bad": "rests", "none": "unknown", "again": "runs"}
    assert [call[-5:] for call in programs.calls] == [["--", "app", "bad", "none", "again"]]
    with pytest.raises(ServiceError, match="tells of 4 of 1"):
        services(programs, systemd).look(["app"])
    assert services(Programs("systemctl"), systemd).look([]) == {}
    with pytest.raises(ServiceError, match="is no name"):
        services(programs, systemd).look(["app", "/srv"])


def test_sysv_scripts_are_looked_at_one_by_one(tmp_path):
    (tmp_path / "etc/init.d").mkdir(parents=True)
    (tmp_path / "etc/init.d/app").touch()
    for rc, state in ((0, "runs"), (3, "rests")):
        one = services(Programs("service", rc=rc), str(tmp_path))
        assert one.look(["app", "none"]) == {"app": state, "none": "unknown"}


def test_a_service_that_does_not_start_is_told_with_its_cause(systemd):
    with pytest.raises(ServiceError, match="Failed to start rsync: it broke"):
        services(Programs("systemctl", rc=1), systemd).start("rsync")
    assert not services(Programs("systemctl", rc=3), systemd).running("rsync")


def test_a_missing_program_and_a_bad_name_are_told(tmp_path):
    with pytest.raises(ServiceError, match="update-rc.d or chkconfig is not on this host"):
        services(Programs("service"), str(tmp_path)).enable("nfs")
    for name in ("", "--now", "../x"):
        with pytest.raises(ServiceError, match="is no name"):
            services(Programs("service"), str(tmp_path)).start(name)
