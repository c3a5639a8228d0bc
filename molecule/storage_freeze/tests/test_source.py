# SPDX-License-Identifier: GPL-3.0-or-later
"""The old server was left: nothing writes to it but the migration itself."""

import json

testinfra_hosts = ["ansible://storage_source"]
RECORD = "/var/lib/seamless-migration/freeze/mol-freeze.json"


def test_the_tree_refuses_every_write(host):
    assert "Read-only file system" in host.run("touch /srv/files/new").stderr


def test_root_may_write_by_the_private_path(host):
    # An existing file that no comparison looks at: a new one would change the time of the tree's own directory.
    assert host.run("touch -c /srv/files/.seamless-sentinel").rc == 1
    assert host.run("touch -c /run/seamless-migration/private/data/.seamless-sentinel").rc == 0
    assert host.file("/run/seamless-migration/private").mode == 0o700


def test_writers_and_live_sync_stay_down_even_when_started(host):
    for unit in ("upload.service", "lsyncd.service"):
        host.run("systemctl start " + unit)
        assert not host.service(unit).is_running


def test_no_dead_man_waits(host):
    assert "seamless-thaw" not in host.run("systemctl list-timers --all").stdout


def test_the_record_says_committed(host):
    assert json.loads(host.file(RECORD).content_string)["state"] == "committed"
    assert host.file(RECORD).mode == 0o600


def test_an_operator_cannot_open_it_by_the_thaw_program(host):
    done = host.run("/usr/local/lib/seamless-migration/storage-thaw now mol-freeze")
    assert done.rc == 1
    assert "storage_rollback" in done.stderr


def test_both_sides_are_equal(host):
    url = json.loads(host.file(RECORD).content_string)["trees"][0]["dest_url"]
    done = host.run(
        "rsync -rlptgoDHAXcn --delete -i --numeric-ids --modify-window=-1 --exclude=/.seamless-sentinel "
        "--password-file=/etc/seamless-migration/rsync.secret /srv/files/ %s", url
    )
    assert (done.rc, done.stdout) == (0, "")
