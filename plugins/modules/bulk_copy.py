#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: bulk_copy
short_description: Copy a large tree with many rsyncs under one bandwidth limit
version_added: 0.1.0
description:
  - Copies a tree of any size to another place with several rsyncs side by side, each over one part of the tree,
    while files are
    read ahead by many threads. Runs on the host that has the source.
  - Hard links (also between parts), extended attributes, ACLs, owners by number, times in nanoseconds, sparse files,
    symbolic
    links, devices, fifos and empty directories are kept.
  - The copy runs in a process of its own on the host. It survives the end of the play, of the controller and of the
    connection;
    running the task again attaches to it. Killed, it goes on where it was when the task is run again.
  - Its bandwidth limit can be changed, and it can be paused, while it runs (O(state)).
  - A tree that was copied whole before is only compared, by several rsyncs side by side.
  - Nothing is deleted on the target unless O(delete) is set, and then only with the sentinel in place and within
    O(max_delete).
  - Names that start with C(.seamless-) in the root of the tree belong to the migration and are left out.
  - An action plugin of the same name shows the progress while the copy runs. Interrupting ansible-playbook does not
    end the copy;
    run the playbook again to look on, or use O(state=stopped).
options:
  src:
    description:
      - Absolute path of the tree.
      - Needed to begin a copy. With the other states O(job) is enough.
    type: path
  dest:
    description:
      - A path on this host, C(rsync://user@host:port/module/path), or C(host:path) for ssh.
    type: str
  job:
    description:
      - Name of the copy, for its state under C(/var/lib/seamless-migration/bulk).
      - By default made from O(src) and O(dest).
    type: str
  state:
    description:
      - V(done) begins or goes on with the copy and waits for its end; V(started) does not wait.
      - V(paused) stops the bytes of a running copy, V(running) lets them flow again (and starts a copy that was
        stopped).
        Both may set O(bwlimit_kib_per_s) at the same time.
      - V(stopped) ends a running copy so that it can go on later.
      - V(status) only looks.
    type: str
    default: done
    choices: [done, started, paused, running, stopped, status]
  mode:
    description:
      - V(full) copies the tree. V(delta) copies and deletes exactly the paths of O(files_from), and waits for the
        end.
      - V(cut) and V(lists) let several hosts copy one tree that all of them mount. V(cut) makes the tree on the target
        and cuts the source's into lists, which lie below C(.seamless-lists) in its root until it is copied;
        M(seamless.migration.bulk_deal) deals them; V(lists) copies those of O(deal) on a worker. V(full) on the source
        then does what is left, with the same O(job).
      - With V(lists) a copy that fails, or a host that is lost, does not fail the task, because others take over; see
        RV(state).
    type: str
    default: full
    choices: [full, delta, cut, lists]
  deal:
    description:
      - For O(mode=lists), what M(seamless.migration.bulk_deal) dealt to this host.
    type: dict
    suboptions:
      id:
        description: Name of the deal.
        type: str
        required: true
      job:
        description: Name of the copy on the source.
        type: str
        required: true
      folder:
        description: Where the lists are, relative to O(src).
        type: str
        required: true
      fresh:
        description: Whether the target was empty.
        type: bool
        required: true
      lists:
        description: The lists, each with number, kind, paths, bytes, and whether it was dealt before.
        type: list
        elements: list
        required: true
  lease:
    description:
      - Seconds after which the copy ends by itself when nobody asked for its RV(state); V(0) for never. With
        O(mode=lists), others are given the lists of a host that was not reached for so long.
    type: int
    default: 0
  files_from:
    description:
      - For O(mode=delta), a file of NUL-separated paths relative to O(src). What is gone on the source is deleted on
        the target.
    type: path
  workers:
    description:
      - How many rsyncs at once, V(1) to V(64).
      - By default one more than this host has cores, V(16) at most.
    type: int
  read_ahead:
    description:
      - How many threads read files ahead of the rsyncs, V(0) for none.
    type: int
    default: 16
  bwlimit_kib_per_s:
    description:
      - Limit of all rsyncs of this copy together, in KiB a second; V(0) is none. May be changed on a running copy.
    type: int
  exclude:
    description:
      - Patterns to leave out, as for C(rsync --exclude).
    type: list
    elements: str
    default: []
  hard_links:
    description:
      - Keep hard links. With V(auto), as with V(true), it costs nothing where there are none.
    type: str
    default: auto
    choices: [auto, 'true', 'false']
  xattrs:
    description:
      - Keep extended attributes.
    type: bool
    default: true
  acls:
    description:
      - Keep ACLs.
    type: bool
    default: true
  sparse:
    description:
      - Keep holes in files that have them.
    type: bool
    default: true
  delete:
    description:
      - Delete on the target what the source does not have, after everything was copied. Needs O(sentinel).
    type: bool
    default: false
  max_delete:
    description:
      - Delete nothing when more paths than this would be deleted; V(-1) is no limit.
    type: int
    default: 1000
  sentinel:
    description:
      - Name of a file in the root of the tree without which nothing is done, because an unmounted source looks like
        an empty one.
    type: str
  frozen:
    description:
      - Nobody may write to the source, so that a file that vanishes is a failure.
    type: bool
    default: false
  password_file:
    description:
      - File with the secret for an rsync daemon, readable by root only.
    type: path
  rsh:
    description:
      - The remote shell for C(host:path), as for C(rsync -e).
    type: str
    default: ssh -o BatchMode=yes -o ServerAliveInterval=15
  nice:
    description:
      - Niceness of the copy, V(0) to V(19).
    type: int
    default: 0
  ionice_class:
    description:
      - I/O class of the copy, for old disks that serve users at the same time.
    type: str
    choices: [best-effort, idle]
  ionice_level:
    description:
      - Priority within V(best-effort), V(0) to V(7), lowest.
    type: int
    default: 4
  io_timeout:
    description:
      - Seconds of silence after which an rsync gives up its connection, which is then tried again.
    type: int
    default: 60
  retry_for:
    description:
      - Seconds for which a broken connection is tried again before the copy fails. It can go on later all the same.
    type: int
    default: 900
  partition_files:
    description:
      - Most files of one part.
    type: int
    default: 2000
  partitioner:
    description:
      - What walks the tree and cuts it into parts. V(auto) takes V(fpart) where it is installed on this host, with live
        mode and C(-0), else V(walk), the one of this module, which walks with several threads.
      - Both lists are looked through for hard links, holes and attributes, and lead to the same copy.
    type: str
    default: auto
    choices: [auto, fpart, walk]
  rescan:
    description:
      - How a tree that was copied whole before is looked at. V(quick) compares it with rsyncs side by side; extended
        attributes and
        ACLs are compared for what changed on the source since then. V(full) compares everything of every path.
    type: str
    default: quick
    choices: [quick, full]
  dest_free_bytes:
    description:
      - Free bytes of the target's file system, where this host cannot ask for them (a daemon, ssh). Checked before
        the copy.
    type: int
  dest_free_inodes:
    description:
      - Free inodes of the target's file system, likewise.
    type: int
  timeout:
    description:
      - For O(state=paused), O(state=running) and O(state=stopped), seconds to wait until it is so.
        For O(mode=delta), seconds the delta may take.
    type: int
    default: 3600
  state_dir:
    description:
      - Folder for the state of all copies on this host.
    type: path
    default: /var/lib/seamless-migration/bulk
extends_documentation_fragment:
  - seamless.migration.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: linux
requirements:
  - rsync 3.1.0 or newer on both sides
  - Python 3.6 or newer
author:
  - The seamless.migration authors (@seamless-migration)
seealso:
  - module: seamless.migration.bulk_deal
  - module: seamless.migration.rsyncd_info
"""

EXAMPLES = r"""
- name: Copy the files to the new server's daemon, at most 50 MiB a second
  seamless.migration.bulk_copy:
    src: /srv/files
    dest: rsync://migration@files-new.example.org:873/data/
    password_file: /etc/seamless-migration/rsync.secret
    sentinel: .seamless-sentinel
    workers: 8
    bwlimit_kib_per_s: 51200
    nice: 10
    ionice_class: idle

- name: Begin, and look later
  seamless.migration.bulk_copy:
    src: /srv/files
    dest: /mnt/new/files
    job: files2026
    state: started

- name: Slow down a running copy in the morning
  seamless.migration.bulk_copy:
    job: files2026
    state: running
    bwlimit_kib_per_s: 10240

- name: Pause it
  seamless.migration.bulk_copy:
    job: files2026
    state: paused

- name: See how far it is
  seamless.migration.bulk_copy:
    job: files2026
    state: status
  register: copy

- name: Bring exactly the listed paths to the target
  seamless.migration.bulk_copy:
    src: /srv/files
    dest: rsync://migration@files-new.example.org:873/data/
    password_file: /etc/seamless-migration/rsync.secret
    sentinel: .seamless-sentinel
    mode: delta
    files_from: /var/lib/seamless-migration/changed
    frozen: true
"""

RETURN = r"""
deal:
  description: Name of the deal that was copied last.
  returned: for O(mode=lists), when it has ended
  type: str
  sample: data-k3hx81_q-2-worker1
part:
  description: What M(seamless.migration.bulk_deal) takes as one of its results.
  returned: for O(mode=lists)
  type: dict
  sample:
    worker: worker1
    state: done
    deal: data-k3hx81_q-2-worker1
    lists_done: [4, 5, 7]
    files: 6000
    bytes: 245760000
    seconds: 31.5
part_of:
  description: Name of the copy on the source.
  returned: for O(mode=lists), when there was a O(deal)
  type: str
  sample: data
lists_done:
  description: Numbers of its lists that were copied.
  returned: for O(mode=lists), when it has ended
  type: list
  elements: int
  sample: [4, 5, 7]
job:
  description: Name of the copy.
  returned: always, but for O(mode=delta)
  type: str
  sample: files-0a1b2c3d4e
state:
  description:
    - V(absent), V(starting), V(running), V(paused), V(stopped), V(failed) or V(done).
    - V(lost) with O(mode=lists) for a host that was not reached for O(lease) seconds.
  returned: always
  type: str
  sample: done
files:
  description: Regular files transferred.
  returned: always
  type: int
  sample: 120000
bytes:
  description: Bytes of their contents.
  returned: always
  type: int
  sample: 2415919104
created:
  description: Files, directories, links and others that were created on the target.
  returned: always
  type: int
  sample: 121200
deleted:
  description: Objects deleted on the target.
  returned: always
  type: int
  sample: 0
files_skipped:
  description: Regular files that were there already, and equal.
  returned: for O(mode=full)
  type: int
  sample: 0
vanished:
  description: Files that were deleted or renamed on the source while they were copied.
  returned: always
  type: int
  sample: 3
failures:
  description: The first 100 paths that could not be copied, with the reason that rsync gave.
  returned: always
  type: list
  elements: dict
  sample:
    - path: a/b
      reason: "rsync: [sender] send_files failed to open /srv/files/a/b: Permission denied (13)"
failures_count:
  description: How many there are in all.
  returned: for O(mode=full)
  type: int
  sample: 1
failures_file:
  description: File on the host with all of them, one JSON object a line.
  returned: when there are any, for O(mode=full)
  type: str
  sample: /var/lib/seamless-migration/bulk/files-0a1b2c3d4e/failed
seconds:
  description: How long the copy has taken, or takes so far.
  returned: always
  type: float
  sample: 1830.2
bytes_per_s:
  description: Contents transferred, by the time taken.
  returned: always
  type: int
  sample: 1320063
message:
  description: Why a copy failed or stopped, and what to do; empty otherwise.
  returned: for O(mode=full)
  type: str
  sample: ""
listed:
  description: Paths in the list.
  returned: for O(mode=delta)
  type: int
  sample: 1000
progress:
  description: The engine's own numbers, for O(state=status) and the progress line.
  returned: for O(mode=full)
  type: dict
  sample: {"phase": "copying", "files_done": 20000, "files_total": 120000, "bytes_now": 402653184, "eta_s": 40}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.files import native
from ansible_collections.seamless.migration.plugins.module_utils.rsync import bulk_task, fpart
from ansible_collections.seamless.migration.plugins.module_utils.rsync.binary import RsyncError


def argument_spec():
    return {
        "src": {"type": "path"},
        "dest": {"type": "str"},
        "job": {"type": "str"},
        "state": {"type": "str", "default": "done", "choices": list(bulk_task.STATES)},
        "mode": {"type": "str", "default": "full", "choices": ["full", "delta", "cut", "lists"]},
        "deal": {"type": "dict", "options": {
            "id": {"type": "str", "required": True},
            "job": {"type": "str", "required": True},
            "folder": {"type": "str", "required": True},
            "fresh": {"type": "bool", "required": True},
            "lists": {"type": "list", "elements": "list", "required": True},
        }},
        "lease": {"type": "int", "default": 0},
        "files_from": {"type": "path"},
        "workers": {"type": "int"},
        "read_ahead": {"type": "int", "default": 16},
        "bwlimit_kib_per_s": {"type": "int"},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "hard_links": {"type": "str", "default": "auto", "choices": ["auto", "true", "false"]},
        "xattrs": {"type": "bool", "default": True},
        "acls": {"type": "bool", "default": True},
        "sparse": {"type": "bool", "default": True},
        "delete": {"type": "bool", "default": False},
        "max_delete": {"type": "int", "default": 1000},
        "sentinel": {"type": "str"},
        "frozen": {"type": "bool", "default": False},
        "password_file": {"type": "path", "no_log": False},
        "rsh": {"type": "str", "default": "ssh -o BatchMode=yes -o ServerAliveInterval=15"},
        "nice": {"type": "int", "default": 0},
        "ionice_class": {"type": "str", "choices": ["best-effort", "idle"]},
        "ionice_level": {"type": "int", "default": 4},
        "io_timeout": {"type": "int", "default": 60},
        "retry_for": {"type": "int", "default": 900},
        "partition_files": {"type": "int", "default": 2000},
        "partitioner": {"type": "str", "default": "auto", "choices": list(fpart.CHOICES)},
        "rescan": {"type": "str", "default": "quick", "choices": ["quick", "full"]},
        "dest_free_bytes": {"type": "int"},
        "dest_free_inodes": {"type": "int"},
        "timeout": {"type": "int", "default": 3600},
        "state_dir": {"type": "path", "default": bulk_task.HOME},
    }


def main():
    module = AnsibleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_if=[
            ("state", "done", ("src", "dest")),
            ("state", "started", ("src", "dest")),
            ("mode", "delta", ("src", "dest", "files_from")),
        ],
    )
    try:
        outcome = bulk_task.Task(native(module.params), module.check_mode).perform()
    except RsyncError as error:
        module.fail_json(msg=bulk_task.shown(str(error)), **bulk_task.told(error))
    if not module._diff:
        outcome.pop("diff", None)
    for warning in outcome.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
