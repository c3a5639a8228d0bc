# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate says that both sides are equal when they are, and names the reason each time that they are not."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import testinfra

testinfra_hosts = ["ansible://storage_source"]
PROJECT = Path(__file__).resolve().parents[3]
GUARD = "/var/lib/seamless-migration/guard/data"


def lab(verb, *arguments):
    name = "mol-" + os.environ["MOLECULE_SCENARIO_NAME"]
    subprocess.run([str(PROJECT / "lab" / "lab"), verb, "--name", name, *arguments], check=True, capture_output=True)


@pytest.fixture
def target(host):
    return testinfra.get_host("ansible://files_new", ansible_inventory=host.backend.ansible_runner.inventory_file)


@pytest.fixture
def gate(host):
    def ask(timeout=60, **options):
        options = dict({"wait": True, "timeout": timeout, "must_converge": False}, **options)
        return host.ansible("seamless.migration.lsyncd_info", json.dumps(options), check=False)

    return ask


@contextlib.contextmanager
def writers(host):
    """Writers that create, overwrite, rename and delete on the source without pause."""
    script = (
        "cd /srv/files; i=0; while :; do i=$((i+1)); d=folder$((i % 5)); echo $i > $d/w$((i % 200)); "
        "mv $d/w$((i % 200)) $d/r$((i % 70)); rm -f $d/r$(((i + 35) % 70)); sleep 0.01; done"
    )
    unit = "mol-writer-%d" % time.time()
    host.check_output("systemd-run --unit %s sh -c %s" % (unit, json.dumps(script).replace("$", "\\$")))
    try:
        yield
    finally:
        host.check_output("systemctl stop %s" % unit)


def restart(host):
    """lsyncd lets its last rsync finish after it was told to end, and takes its pidfile away only then."""
    host.check_output(
        "pid=$(cat /var/run/lsyncd.pid); systemctl stop lsyncd; "
        "timeout 60 sh -c \"while kill -0 $pid; do sleep 0.1; done\" 2>&1; systemctl start lsyncd"
    )


def same(host, target):
    """Names, contents and modes of both trees, without what belongs to the migration."""
    command = (
        "cd /srv/files && find . -name '.seamless-*' -prune -o -name lost+found -prune -o -type f -print0 | sort -z | "
        "xargs -0r sha256sum | sha256sum; "
        "find . -name '.seamless-*' -prune -o -name lost+found -prune -o -printf '%m %U %p\\0' | sort -z | sha256sum"
    )
    return host.check_output(command) == target.check_output(command)


def test_changes_under_writers_arrive_and_the_trees_are_equal_afterwards(host, target, gate):
    with writers(host):
        time.sleep(4)
        assert gate(allowed_delays=1000)["reasons"] == []
    assert gate()["converged"] is True
    assert same(host, target)
    assert int(host.check_output("grep -zc ^folder0/ %s/touched", GUARD)) > 0


def test_hostile_names_moved_folders_and_deletions_arrive(host, target, gate):
    script = (
        "import os;r=b'/srv/files/folder1/';"
        "[open(r+n,'wb').close() for n in (b'a]',b'b\\\\b[1]',b'new\\nline',b'bad\\xff',b'q*?',b'- m',"
        "b\"it's\",b'$(id)')]"
    )
    host.check_output("mkdir -p /srv/files/folder1; python3 -c %s" % json.dumps(script).replace("$", "\\$"))
    host.check_output("mkdir -p /srv/files/folder2/deep/er && echo x > /srv/files/folder2/deep/er/file")
    assert gate()["reasons"] == []
    assert same(host, target)
    assert target.run("ls -b /srv/files/folder1").stdout.count("\n") >= 8
    host.check_output("mv /srv/files/folder2/deep /srv/files/folder3/moved && rm -rf /srv/files/folder1")
    assert gate()["reasons"] == []
    assert same(host, target)
    host.check_output("mkdir /srv/files/folder1")


def test_a_cut_link_closes_the_gate_and_thirty_seconds_later_nothing_is_lost(host, target, gate):
    with writers(host):
        lab("cut", "files_new")
        cut = time.time()
        try:
            verdict = gate(timeout=15, allowed_delays=1000, clean_targets=False)
            time.sleep(max(0, cut + 30 - time.time()))
        finally:
            lab("mend", "files_new")
        assert verdict["converged"] is False
        assert "reached" in " ".join(verdict["reasons"]) or "tried again" in " ".join(verdict["reasons"])
    assert gate(timeout=90)["reasons"] == []
    assert same(host, target)


def test_a_restart_of_the_rsync_daemon_loses_nothing(host, target, gate):
    with writers(host):
        time.sleep(1)
        target.check_output("systemctl stop rsync")
        time.sleep(3)
        target.check_output("systemctl start rsync")
    assert gate(timeout=90)["reasons"] == []
    assert same(host, target)


def test_an_unmounted_source_leaves_the_target_intact(host, target, gate):
    """An empty file system mounted over the tree looks as the tree does when its disk is not mounted."""
    assert gate()["converged"] is True
    before = target.check_output("find /srv/files -type f | sort | sha256sum")
    host.check_output("systemctl stop upload")
    host.check_output("mount -t tmpfs none /srv/files")
    try:
        restart(host)
        for _look in range(10):
            time.sleep(0.5)
            looked = host.ansible("seamless.migration.lsyncd_info", "wait=false", check=False)
            if any("Is the source mounted?" in reason for reason in looked["reasons"]):
                break
        else:
            raise AssertionError(looked["reasons"])
        time.sleep(2)
        assert target.check_output("find /srv/files -type f | sort | sha256sum") == before
    finally:
        host.check_output("umount /srv/files")
        restart(host)
        host.check_output("systemctl start upload")
    assert gate(timeout=90)["reasons"] == []
    assert same(host, target)


def test_a_killed_lsyncd_closes_the_gate_at_once(host, gate):
    host.check_output("kill -9 $(cat /var/run/lsyncd.pid)")
    verdict = gate(timeout=60)
    assert "lsyncd does not run" in verdict["reasons"]
    assert verdict["seconds"] < 20
    host.check_output("systemctl restart lsyncd")
    assert gate(timeout=90)["reasons"] == []


def test_folders_without_a_watch_close_the_gate(host, gate):
    """Folders of a file system that is mounted later come without an event, as those beyond the limit of watches do."""
    host.check_output("mkdir /srv/files/folder0/late")
    assert gate()["reasons"] == []  # lsyncd has seen the folder: later it would find and watch what is mounted there
    host.check_output("mount -t tmpfs none /srv/files/folder0/late && mkdir /srv/files/folder0/late/one")
    try:
        reasons = gate(timeout=8)["reasons"]
    finally:
        host.check_output("umount /srv/files/folder0/late")
    assert any("directories are watched, but" in reason for reason in reasons), reasons
    host.check_output("rmdir /srv/files/folder0/late")
    assert gate()["reasons"] == []


def test_a_canary_held_back_and_an_overflow_close_the_gate_until_everything_was_copied_again(host, target, gate):
    """The limit of the queue counts from when lsyncd starts, so that it is low for that moment only."""
    limit = "/proc/sys/fs/inotify/max_queued_events"
    usual = host.check_output("cat %s" % limit)
    host.check_output("echo 2048 > %s" % limit)
    try:
        restart(host)
        time.sleep(1)
    finally:
        host.check_output("echo %s > %s" % (usual, limit))
    assert gate(timeout=90)["reasons"] == []
    host.check_output("kill -STOP $(cat /var/run/lsyncd.pid)")
    host.check_output("cd /srv/files/folder4 && for i in $(seq 3000); do echo $i > o$i; done")
    assert "sync data: the canary has not arrived" in gate(timeout=4)["reasons"]
    host.check_output("kill -CONT $(cat /var/run/lsyncd.pid)")
    assert gate(timeout=120)["reasons"] == []
    assert "OVERFLOW" in host.check_output("grep -a OVERFLOW /var/log/lsyncd.log")
    assert host.ansible("seamless.migration.lsyncd_info", "wait=false", check=False)["overflow"] is True
    assert same(host, target)


def test_the_throttle_counts_without_a_restart(host, gate):
    pid = host.check_output("cat /var/run/lsyncd.pid")
    host.check_output("echo 200 > /etc/seamless-migration/bwlimit")
    host.check_output("dd if=/dev/urandom of=/srv/files/folder0/big bs=1k count=1500 status=none")
    started = time.time()
    assert gate(timeout=60)["reasons"] == []
    assert time.time() - started > 5
    assert host.check_output("cat /var/run/lsyncd.pid") == pid
    host.check_output("echo 0 > /etc/seamless-migration/bwlimit; rm /srv/files/folder0/big")


def test_no_secret_is_in_arguments_or_readable_by_others(host):
    for path in ("/etc/seamless-migration/rsync.secret", "/etc/seamless-migration/guard/data.json"):
        assert host.file(path).mode == 0o600
    assert "a secret of the scenario" not in host.check_output("cat /etc/lsyncd/lsyncd.conf.lua")


def test_the_timer_carries_the_second_tree(host, target):
    host.check_output("echo more > /srv/slow/second")
    options = {
        "method": "periodic", "wait": True, "timeout": 60, "must_converge": False,
        "syncs": [{"name": "slow", "source": "/srv/slow", "target": "rsync://migration@files_new:873/slow/",
                   "password_file": "/etc/seamless-migration/rsync.secret", "unit": "seamless-live-sync-slow.service"}],
    }
    verdict = host.ansible("seamless.migration.lsyncd_info", json.dumps(options), check=False)
    assert verdict["reasons"] == []
    assert target.file("/srv/slow/second").content_string == "more\n"
    host.check_output("rm /srv/slow/.seamless-sentinel")
    verdict = host.ansible("seamless.migration.lsyncd_info", json.dumps(dict(options, timeout=15)), check=False)
    assert verdict["converged"] is False
    host.check_output("echo 'mol-live-sync slow' > /srv/slow/.seamless-sentinel")
