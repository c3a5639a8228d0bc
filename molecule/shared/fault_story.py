# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stories of faults in a storage migration share: where a fault leads to, and looks at the hosts."""

import json
import time

from migration_story import lab, play, until_nobody_can_write, verdict

RECORD = "/var/lib/seamless-migration/freeze/faults.json"


def operations():
    return sum(int(line.split()[-2]) for line in lab("writers", "status").splitlines() if "operations" in line)


def writers_go_on(within=30):
    """Whether writers get new answers."""
    before, end = operations(), time.monotonic() + within
    while time.monotonic() < end:
        time.sleep(1)
        if operations() > before + 5:
            return True
    return False


def nothing_is_lost(host, folder):
    return bool(verdict(host, folder))


def state_of(host):
    return json.loads(host.file(RECORD).content_string)["state"]


def goes_forward(host, folder):
    """The next cutover ends the move."""
    play("storage_cutover")
    was_left(host, folder)


def was_left(host, folder):
    """The target serves what everybody has written, the source takes nothing any more."""
    assert other(host).service("upload").is_running
    assert not host.service("upload").is_running
    assert "Read-only file system" in host.run("touch /srv/files/new").stderr
    assert writers_go_on()
    assert nothing_is_lost("files_new", folder)


def goes_back(host, folder):
    """The rollback lets the source serve again, with everything that was written anywhere."""
    play("storage_rollback")
    assert host.service("upload").is_running
    assert writers_go_on()
    assert nothing_is_lost("files_old", folder)


def other(host):
    """The target, from the source."""
    return host.get_host("ansible://files_new?ansible_inventory=%s" % host.backend.ansible_inventory)


def kill_while_nobody_can_write(run):
    until_nobody_can_write("files_old", RECORD)
    run.kill()
