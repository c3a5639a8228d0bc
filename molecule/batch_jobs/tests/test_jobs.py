# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the two hosts after the jobs were moved, then takes them back and looks again. The order matters."""

import subprocess
import time
from pathlib import Path

import pytest
import testinfra

SCENARIO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def inventory(request):
    return request.config.getoption("--ansible-inventory")


@pytest.fixture(scope="module")
def old(inventory):
    return testinfra.get_host("ansible://files_old", ansible_inventory=inventory)


@pytest.fixture(scope="module")
def new(inventory):
    return testinfra.get_host("ansible://files_new", ansible_inventory=inventory)


@pytest.fixture(scope="module")
def playbook(inventory):
    def play(name):
        argv = ["ansible-playbook", "-i", inventory, str(SCENARIO / name)]
        return subprocess.run(argv, check=False, capture_output=True, text=True)

    return play


def timer(host, unit):
    return host.check_output("systemctl show -p ActiveState --value " + unit)


def test_the_running_job_was_waited_for(old):
    lines = old.file("/var/log/slow-report.log").content_string.split()
    assert lines.count("start") == lines.count("end") >= 1


def test_nothing_starts_on_the_old_server_for_more_than_a_minute(old):
    logs = "cat /var/log/slow-report.log /var/log/lab-jobs.log 2>/dev/null | wc -l"
    before = old.check_output(logs)
    time.sleep(70)
    assert old.check_output(logs) == before
    assert timer(old, "lab-rotate.timer") == "inactive"
    assert old.check_output("run-parts --test /etc/cron.hourly") == ""


def test_a_restart_does_not_bring_the_timer_back(old):
    old.check_output("systemctl daemon-reload")
    old.run("systemctl start lab-rotate.timer")
    assert timer(old, "lab-rotate.timer") == "inactive"


def test_other_files_are_as_they_were(old):
    lines = old.run("sha256sum --check /root/before.sha256").stdout.splitlines()
    assert sorted(line.split(":")[0] for line in lines if "OK" not in line) == [
        "/etc/cron.d/lab-backup",
        "/etc/cron.d/slow-report",
        "/etc/cron.hourly/lab-prune",
        "/var/spool/cron/crontabs/files",
    ]


def test_the_new_server_runs_them_and_only_them(new):
    assert new.check_output("crontab -u files -l").splitlines() == ['MAILTO=""', "* * * * * /usr/local/bin/lab-expire"]
    assert "*/2 * * * * root /usr/local/sbin/lab-backup" in new.file("/etc/cron.d/lab-backup").content_string
    assert new.check_output("run-parts --test /etc/cron.hourly") == "/etc/cron.hourly/lab-prune"
    assert timer(new, "lab-rotate.timer") == "active"
    assert not new.file("/etc/cron.d/slow-report").exists
    ran = new.file("/var/log/jobs.log").content_string.split()
    assert {"/usr/local/bin/lab-expire", "/usr/local/sbin/lab-rotate"} <= set(ran)


def test_taken_back_they_run_on_the_old_server_as_they_were_and_no_longer_on_the_new(old, new, playbook):
    played = playbook("way_back.yml")
    assert played.returncode == 0, played.stdout
    assert old.run("sha256sum --check --quiet /root/before.sha256").rc == 0
    assert timer(old, "lab-rotate.timer") == "active"
    assert timer(new, "lab-rotate.timer") == "inactive"
    assert new.check_output("crontab -u files -l | grep -cv ^#seamless") == "1"
    assert new.check_output("run-parts --test /etc/cron.hourly") == ""
    assert old.check_output("cat /var/lib/seamless-migration/batch_jobs.json").count("paused") == 0
    again = playbook("way_back.yml")
    assert "changed=0" in again.stdout, again.stdout


def test_cron_runs_them_again_on_the_old_server(old):
    before = old.file("/var/log/slow-report.log").content_string.count("start")
    time.sleep(65)
    assert old.file("/var/log/slow-report.log").content_string.count("start") > before
