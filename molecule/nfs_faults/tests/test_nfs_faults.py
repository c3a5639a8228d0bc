# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found ahead of the window touches nothing, and a controller that dies in it is followed by another one."""

import signal
import time

import pytest
from migration_story import Run, play, verdict
from nfs_story import TOP, WRITER, hosts, refused, served_by, source, writes_on


@pytest.fixture(name="everybody", scope="module")
def _everybody():
    return hosts()


def test_a_client_that_is_not_in_the_inventory_is_found_by_the_look_before(everybody):
    client, old = everybody["nfs_client1"], everybody["nfs_old"]
    own = client.check_output("hostname -I").split()[0]
    other = own.rpartition(".")[0] + ".199"
    # A mount by an address of its own, which is gone by the time of the look: what rmtab has of it stays.
    server = old.check_output("hostname -I").split()[0]
    client.check_output("ip address add %s/24 dev vec0 && ip route replace %s dev vec0 src %s" % (other, server, other))
    try:
        client.check_output("mkdir -p /mnt/two && mount -o vers=3,nolock,nosharecache nfs-old:/srv/files /mnt/two")
    finally:
        client.run("umount -l /mnt/two; ip address del %s/24 dev vec0" % other)
    run = Run("storage_preflight")
    assert run.end() != 0
    assert run.gate("nfs_clients") == {"failed"}
    assert "%s uses /srv/files and is not in the inventory" % other in run.output()
    play("storage_preflight", {"migration_force_gates": ["nfs_clients"]})
    old.check_output("sed -i '/^%s:/d' /var/lib/nfs/rmtab" % other)


def test_a_process_that_no_unit_owns_is_named_before_anything_is_touched(everybody):
    client = everybody["nfs_client2"]
    client.check_output(
        "systemd-run --quiet --collect --unit stranger --property User=files python3 /usr/local/lib/lab/nfs_holder.py "
        "%s/held/stranger --only open cwd flock" % TOP
    )
    time.sleep(2)
    try:
        refused("nfs_rehearsal", "stranger.service")
    finally:
        client.check_output("systemctl stop stranger")
    assert source(client) == "nfs-old:/srv/files"
    assert client.service(WRITER).is_running


def test_a_new_server_that_is_closed_without_its_export_or_in_its_grace_period_is_found_before_the_window(everybody):
    new = everybody["nfs_new"]
    new.check_output("systemctl stop nfs-server")
    refused("nfs_server", "no NFS server runs there")
    # rpc.nfsd gives it to the kernel: for version 4, which skips it where no client could come back, and for lockd,
    # which takes 240 at most.
    new.check_output("printf '[nfsd]\\ngrace-time=240\\n' > /etc/nfs.conf.d/zz-long.conf; systemctl start nfs-server")
    refused("nfs_server", "a grace period is not over")
    new.check_output("rm /etc/nfs.conf.d/zz-long.conf; echo Y > /proc/fs/lockd/nlm_end_grace")
    new.check_output("mkdir /root/kept && mv /etc/exports.d/*.exports /root/kept/ && exportfs -r")
    refused("nfs_server", "/srv/files is not exported there")
    new.check_output("mv /root/kept/*.exports /etc/exports.d/ && exportfs -r")
    assert writes_on(everybody["nfs_client1"])


def test_a_controller_that_is_killed_in_the_switch_is_followed_by_one_that_ends_it(everybody, tmp_path):
    killed = Run("storage_cutover", at=("committed",), act=Run.kill)
    assert killed.end() == -signal.SIGKILL
    play("storage_cutover")
    served_by(everybody, "nfs_new", left="nfs_old")
    verdict("nfs_new", tmp_path)
