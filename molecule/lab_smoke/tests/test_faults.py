# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own commands do to the hosts what they say."""

import json
import os
import subprocess
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://files_old"]
PROJECT = Path(__file__).resolve().parents[3]


def lab(verb, *arguments, check=True):
    name = "mol-" + os.environ["MOLECULE_SCENARIO_NAME"]
    argv = [str(PROJECT / "lab" / "lab"), verb, "--name", name, *arguments]
    return subprocess.run(argv, check=check, capture_output=True, text=True)


@pytest.fixture
def pinged(host):
    return lambda: host.run("ping -c1 -W1 files_new").rc == 0


def test_a_host_with_its_cable_pulled_is_out_of_reach_until_it_is_mended(host, pinged):
    assert pinged()
    lab("cut", "files_new")
    try:
        assert not pinged()
    finally:
        lab("mend", "files_new")
    assert host.run("ping -c1 -w5 files_new").rc == 0


def test_a_host_that_was_killed_comes_back_with_its_data_and_its_service(host):
    host.run_test("touch /srv/files/before")
    lab("kill", "files_old")
    lab("start", "files_old")
    assert lab("ssh", "files_old", "ls /srv/files/before").stdout == "/srv/files/before\n"
    assert lab("ssh", "files_old", "systemctl is-active upload").stdout == "active\n"
    lab("ssh", "files_old", "rm /srv/files/before")


def test_the_verdict_is_clean_where_the_writers_wrote_and_names_what_is_missing_elsewhere(tmp_path):
    lab("seed", "--files", "500")
    lab("writers", "start", "--per-host", "2", "--rate", "100")
    refused = lab("verdict", "--host", "files_old", check=False)
    assert refused.returncode == 1 and "Writers are at work" in refused.stderr
    lab("ssh", "app1", "sleep 3")
    lab("writers", "stop")
    report = tmp_path / "old.json"
    lab("verdict", "--host", "files_old", "--json", str(report))
    found = json.loads(report.read_text())
    assert found["ok"] and found["acknowledged"] > 50 and found["files"] > 500
    report = tmp_path / "new.json"
    assert lab("verdict", "--host", "files_new", "--json", str(report), check=False).returncode == 3
    found = json.loads(report.read_text())
    assert found["lost"] > 500 and "data/names/with%20blank" in found["paths"]["lost"]
