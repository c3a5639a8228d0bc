# SPDX-License-Identifier: GPL-3.0-or-later
"""The example of an ops repo does on real hosts what its README says, part by part: nothing runs that was not named.

The tests are one story and go on where the one before ended.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://storage_source"]
ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
HERE = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
OPS = HERE / "ops"
JOBS = "/etc/cron.d/lab-backup"
PAUSED = "#seamless.migration paused# "


def play(*words, fails=False, **environment):
    """Run ansible-playbook in the ops repo as its people do. Returns what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    clean.update(
        ANSIBLE_COLLECTIONS_PATH=str(ROOT / "build" / "collections"), ANSIBLE_HOME=str(HERE / "ansible"),
        ANSIBLE_NOCOLOR="1", VAULT_PASSWORD="example-password", **environment,
    )  # fmt: skip
    program = str(Path(sys.executable).parent / "ansible-playbook")
    done = subprocess.run([program, *words], check=False, capture_output=True, text=True, cwd=OPS, env=clean)
    assert (done.returncode != 0) == fails, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def events():
    path = OPS / "migration" / "files2026.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def ended():
    """The stages that are done, in their order."""
    return [e["stage"] for e in events() if e["event"] == "done" and e["step"] is None and e["host"] is None]


@pytest.fixture(name="lab")
def _lab(host):
    def on(name):
        return host.get_host("ansible://%s?ansible_inventory=%s" % (name, host.backend.ansible_inventory))

    return on


@pytest.fixture(scope="module", autouse=True)
def ops():
    """The example as it is in docs/, with the hosts of the lab in its inventory."""
    shutil.rmtree(OPS, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "examples" / "ops", OPS)
    shutil.copy(HERE / "inventory" / "lab.yml", OPS / "inventory.yml")
    shutil.copy(ROOT / "molecule" / "site_playbook" / "files" / "roles.yml", OPS / "roles.yml")


def test_without_tags_the_site_playbook_does_nothing_of_the_migration(lab):
    assert "See that this is a host of ours" in play("site.yml")
    assert events() == []
    for name in ("files_old", "files_new"):
        assert not lab(name).file("/etc/seamless-migration").exists


def test_a_role_is_run_by_its_tag_on_the_hosts_of_the_limit_alone(lab):
    assert "no hosts matched" in play("site.yml", "--tags", "pause", "--limit", "files_new")
    assert not lab("files_old").file(JOBS).contains(PAUSED)
    play("site.yml", "--tags", "pause", "--limit", "files_old")
    assert lab("files_old").file(JOBS).contains(PAUSED)
    assert not lab("files_new").file("/var/lib/seamless-migration").exists
    assert ended() == []


def test_roles_decide_together_where_each_host_runs_at_its_own_pace(lab):
    play("roles.yml", "--tags", "look")
    gates = {e["data"]["name"]: e["data"]["state"] for e in events() if e["event"] == "gate"}
    assert {"source_trees", "space", "accounts", "clocks", "writers", "service_name"} <= set(gates)
    assert set(gates.values()) == {"ok"}
    assert not lab("files_new").file("/etc/seamless-migration").exists  # serve has another tag


def test_a_role_that_needs_both_sides_says_so_when_one_is_left_out():
    told = play("roles.yml", "--tags", "look", "--limit", "files_old", fails=True)
    assert "need both storage hosts, and files_new" in " ".join(told.split())


def test_a_role_in_a_free_play_is_limited_to_its_hosts(lab):
    play("roles.yml", "--tags", "serve", "--limit", "files_new")
    listening = "ss -Hltn sport = :873"
    assert lab("files_new").check_output(listening) != ""
    assert lab("files_old").check_output(listening) == ""


def test_everything_up_to_the_switch_runs_by_its_tag_whatever_strategy_is_set(lab):
    play("site.yml", "--tags", "migrate", ANSIBLE_STRATEGY="free")
    assert ended() == [
        "storage_preflight", "storage_prepare", "storage_copy", "storage_sync", "storage_verify",
    ]  # fmt: skip
    count = "find /srv/files -type f ! -name '.seamless-*' | wc -l"
    there = lab("files_new").check_output(count)
    assert int(there) >= 300 and there == lab("files_old").check_output(count)


def test_a_switch_that_leaves_out_a_client_does_not_begin(lab):
    told = play("site.yml", "--tags", "cutover", "--limit", "files_old,files_new", fails=True)
    assert "it needs app1 too" in " ".join(told.split())
    assert lab("files_old").run("touch /srv/files/open && rm /srv/files/open").rc == 0


def test_the_switch_runs_by_its_tag_with_the_hook_of_the_team_and_ends_with_the_report(lab):
    play("site.yml", "--tags", "cutover", ANSIBLE_STRATEGY="free")
    assert ended()[-1] == "storage_cutover"
    assert "move to a new server" in lab("files_old").file("/etc/motd").content_string
    assert lab("files_old").run("touch /srv/files/closed").rc != 0
    assert lab("files_new").run("touch /srv/files/open && rm /srv/files/open").rc == 0
    address = lab("app1").check_output("getent hosts files.lab").split()[0]
    assert address in lab("files_new").check_output("hostname -I").split()
    assert "The target takes the writes" in (OPS / "migration" / "files2026-report.html").read_text("utf-8")
