# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's MySQL hosts: what they are, what they are given, what the playbooks are told about them."""

import io
import json
import re
import stat
import tarfile

import pytest
from labkit import furnish, hosts, image, inventory, machine, mysql, mysql_data, network, rds, state
from labkit.run import LabError

HOSTS = ("mysql_old", "mysql_new", "mysql_replica_old", "mysql_rds_new")


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "BUILD", tmp_path)
    monkeypatch.setattr(machine, "RUNTIME", tmp_path / "run")
    (tmp_path / "one").mkdir()
    made = state.Lab("one")
    made.subnet = "10.77.3.0/24"
    for host in HOSTS:
        made.hosts[host] = network.address(made.subnet, made.next_number(host))
        (made.folder / "hosts" / host).mkdir(parents=True)
    made.save()
    return state.Lab("one")


def test_servers_have_groups_by_side(lab):
    groups = inventory.build(lab)["all"]["children"]
    assert list(groups["mysql_source"]["hosts"]) == ["mysql_old"]
    assert list(groups["mysql_target"]["hosts"]) == ["mysql_new", "mysql_rds_new"]
    assert list(groups["mysql_replicas"]["hosts"]) == ["mysql_replica_old"]


def test_server_ids_and_hardware_addresses_differ(lab):
    assert len({mysql.server_id(lab, host) for host in HOSTS}) == len(HOSTS)
    assert network.hardware("10.77.3.61") == "02:00:0a:4d:03:3d"


def test_passwords_are_made_once_and_only_root_reads_them(lab):
    first = mysql.Secrets(lab).read()
    assert mysql.Secrets(lab).read() == first
    assert len(set(first.values())) == len(first)
    mysql.write_variables(lab)
    for name in ("mysql-secrets.json", "mysql.yml"):
        assert stat.S_IMODE((lab.folder / name).stat().st_mode) == 0o600


def test_the_playbooks_are_told_both_sides_and_the_replicas(lab):
    mysql.write_variables(lab)
    text = (lab.folder / "mysql.yml").read_text(encoding="utf-8")
    found = json.loads(text.split("\n", 1)[1])
    migration = found["migration_mysql"]
    assert migration["source"]["login_host"] == "10.77.3.61"
    assert migration["target"]["login_user"] == "migration_admin"
    assert [(entry["name"], entry["behind"]) for entry in migration["replicas"]] == [("mysql_replica_old", "source")]
    assert found["lab_mysql"]["mysql_rds_new"]["login_user"] == "admin"


def bundled(lab, host, gtid=True):
    keys = lab.folder / "hosts" / host
    for name in ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"):
        (keys / name).write_text("key", encoding="ascii")
    lab.key.with_suffix(".pub").write_text("public", encoding="ascii")
    return tarfile.open(fileobj=io.BytesIO(furnish.bundle(lab, host, gtid)))


def test_a_server_listens_on_its_own_address_with_a_key_that_others_cannot_read(lab):
    archive = bundled(lab, "mysql_old")
    text = archive.extractfile("etc/mysql/mysql.conf.d/zz-lab.cnf").read().decode()
    assert "bind_address = 10.77.3.61,127.0.0.1" in text
    assert "server_id = 61" in text
    assert "gtid_mode" not in text
    assert archive.getmember("etc/mysql/tls/server-key.pem").mode == 0o600


def test_a_server_can_be_made_without_gtids(lab):
    text = bundled(lab, "mysql_old", gtid=False).extractfile("etc/mysql/mysql.conf.d/zz-lab.cnf").read()
    assert b"gtid_mode = OFF" in text


def test_only_a_server_of_rds_forgets_persisted_variables(lab):
    for host, forgets in (("mysql_rds_new", True), ("mysql_new", False)):
        text = bundled(lab, host).extractfile("etc/mysql/mysql.conf.d/zz-lab.cnf").read()
        assert (b"persisted_globals_load = OFF" in text) is forgets


def procedures(profile):
    return set(re.findall(r"PROCEDURE mysql\.(rds_\w+)", rds.statements(profile, "admin", "secret")))


def test_the_profile_says_which_names_a_server_of_rds_has():
    old, new, both = procedures("8.0"), procedures("8.4"), procedures("both")
    assert "rds_set_external_master_with_auto_position" in old - new
    assert "rds_set_external_source_with_auto_position" in new - old
    assert both == old | new
    assert "rds_start_replication_for_channel" in old & new


def test_a_procedure_to_fence_is_there_only_where_the_profile_says_so():
    assert "rds_set_read_only" not in procedures("8.4")
    assert "rds_set_read_only" in procedures("8.4+read_only")


def test_arguments_reach_the_inner_procedure_in_their_order():
    text = rds.statements("8.0", "admin", "secret")
    call = "CALL mysql.rds_set_external_source_with_auto_position_for_channel("
    assert call + "p_host, p_port, p_user, p_password, p_ssl, p_delay, '');" in text


def test_the_administrator_of_rds_may_do_little():
    granted = rds.ADMIN.split("GRANT ", 1)[1]
    for privilege in ("SUPER", "CONNECTION_ADMIN", "REPLICATION_SLAVE_ADMIN", "SYSTEM_VARIABLES_ADMIN", "RELOAD"):
        assert privilege not in granted


@pytest.mark.parametrize("text", ["", "9", "8.0+more", "8.0,8.4"])
def test_a_profile_that_there_is_not_is_refused(text):
    with pytest.raises(LabError, match="profile"):
        rds.check_profile(text)


@pytest.mark.parametrize("name, value", [("a;b", "1"), ("read_only", "1; DROP"), ("read_only", "'x'")])
def test_a_parameter_cannot_carry_sql(lab, name, value):
    with pytest.raises(LabError, match="Not a parameter"):
        mysql.set_parameter(lab, "mysql_rds_new", name, value)


def test_a_plain_server_has_no_parameter_group(lab):
    with pytest.raises(LabError, match="plain"):
        mysql.set_parameter(lab, "mysql_old", "read_only", "1")


def test_the_route_is_replaced_in_one_step_and_knows_its_hosts(lab):
    mysql_data.set_route(lab, "mysql_old")
    mysql_data.set_route(lab, "mysql_new")
    assert mysql_data.route(lab).readlink().name == "mysql_new"
    with pytest.raises(LabError):
        mysql_data.set_route(lab, "nowhere")


def test_an_image_has_another_name_when_its_recipe_changes():
    one = image.Recipe("x", "sid", ["a"], "true\n")
    assert one.tag() == image.Recipe("x", "sid", ["a"], "true\n").tag()
    for other in (("x", "sid", ["a", "b"], "true\n"), ("x", "trixie", ["a"], "true\n"), ("x", "sid", ["a"], "false\n")):
        assert image.Recipe(*other).tag() != one.tag()


@pytest.mark.parametrize("pure, systemd", [(True, ["--systemd=always"]), (False, ["--systemd=false"])])
def test_modern_systemd_gets_its_own_part_of_cgroup_v2_only_where_it_needs_one(lab, monkeypatch, pure, systemd):
    monkeypatch.setattr(machine, "cgroup_is_pure_v2", lambda: pure)
    monkeypatch.setattr(machine, "unified_cgroup", lambda: "/somewhere")
    arguments = hosts._modern_systemd(lab, "mysql_old")
    assert arguments[:1] == systemd
    assert any("LAB_CGROUP=" in part for part in arguments) is not pure


def test_a_machine_without_cgroup_v2_is_told_so(lab, monkeypatch):
    monkeypatch.setattr(machine, "unified_cgroup", lambda: None)
    with pytest.raises(LabError, match="cgroup v2"):
        hosts._modern_systemd(lab, "mysql_old")
