# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stories of NFS clients share: looks at the hosts."""

import time

import testinfra
from migration_story import HERE, Run

CLIENTS = {"nfs_client1": "4.2", "nfs_client2": "3"}
WRITER, HOLDER = "lab-nfs-writer-1.service", "lab-holder.service"
TOP = "/mnt/files"
LINE = "%s:/srv/files\t/mnt/files  nfs\tvers=%s,hard,noauto  0 0   # web files\n"
TRY_LOCK = "import fcntl; fcntl.lockf(open('/mnt/files/held/%s/fcntl', 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def hosts():
    inventory = str(HERE / "inventory")
    names = ("nfs_old", "nfs_new", *CLIENTS)
    return {name: testinfra.get_host("ansible://" + name, ansible_inventory=inventory) for name in names}


def refused(gate, said, extra=None):
    """Run a cutover that a gate has to stop before anything is touched."""
    run = Run("storage_cutover", extra=extra)
    assert run.end() != 0
    assert run.gate(gate) == {"failed"} or "failed" in run.gate(gate), run.output()[-3000:]
    assert said in run.output(), run.output()[-3000:]
    assert not run.saw("window_opened")


def source(host):
    return host.check_output("findmnt -n -o SOURCE %s" % TOP)


def writes_on(host, within=60):
    """Whether the writer of a client gets on."""
    count = "cat /var/lib/lab/writers/*.jsonl | grep -c '\"event\": \"ok\"'"
    before, end = int(host.check_output(count)), time.monotonic() + within
    while time.monotonic() < end:
        time.sleep(1)
        if int(host.check_output(count)) > before + 2:
            return True
    return False


def held(host):
    """Wait until the holder of a client has what it wants."""
    end = time.monotonic() + 60
    last = "journalctl -u %s -o cat | tail -n 3" % HOLDER
    while "holding" not in host.check_output(last):
        assert time.monotonic() < end
        time.sleep(0.5)


def served_by(everybody, name, left):
    """Every client has that server by its version, its services run, and the other server takes nothing."""
    for client, version in CLIENTS.items():
        host = everybody[client]
        assert source(host) == name.replace("_", "-") + ":/srv/files"
        assert "vers=" + version in host.check_output("findmnt -n -o OPTIONS %s" % TOP)
        assert LINE % (name.replace("_", "-"), version) in host.file("/etc/fstab").content_string
        for unit in (WRITER, HOLDER):
            assert host.service(unit).is_running
        assert writes_on(host)
    tried = everybody[left].run("touch /srv/files/not-here")
    assert tried.rc != 0 and "Read-only file system" in tried.stderr


def locks_are_honoured(everybody):
    """A lock that one client holds keeps the other one out."""
    for name, other in (("nfs_client1", "nfs_client2"), ("nfs_client2", "nfs_client1")):
        held(everybody[name])
        everybody[other].check_output("ls %s/held/%s/fcntl" % (TOP, name))
        # As the user of the service: root is nobody behind this export.
        tried = everybody[other].run('runuser -u files -- python3 -c "%s"' % (TRY_LOCK % name))
        assert "BlockingIOError" in tried.stderr
