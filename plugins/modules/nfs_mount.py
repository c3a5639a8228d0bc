#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: nfs_mount
short_description: Mount an NFS export, or move a mounted path to another server
version_added: 0.1.0
description:
  - Moves a path from one NFS server to another in one step. File handles of one server mean nothing to another, so the
    path has to be unmounted and mounted. A remount, as other modules do it, leaves the old server mounted.
  - Before anything is touched, it is seen that the new server answers, that the export can be mounted there, and that
    nobody uses the path but the units in O(stop_units).
  - Then the units are stopped, the path is unmounted, its line in C(/etc/fstab) is edited in place, the new export is
    mounted and checked with a canary that is written, locked, read and removed, and the units are started again.
  - When one of these fails, all of it is put back. When the run is interrupted, the next one goes on where it was.
  - Everything that asks an NFS server has a bound, so that a server that does not answer does not hang the module.
  - A path that autofs or a systemd unit of the administrator mounts is refused, with what to change instead.
extends_documentation_fragment:
  - seamless.migration.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - O(state=held) is a change each time, because the dead-man is armed anew.
author:
  - The seamless.migration authors (@seamless-migration)
options:
  path:
    description:
      - Where it is mounted.
    type: str
    required: true
  server:
    description:
      - Name or address of the server. Required with O(state=mounted), O(state=switched) and O(state=rehearsed).
      - A mount keeps the address that a name had when it was mounted. When the name has another address by now, the
        path counts as mounted from another server.
    type: str
  export:
    description:
      - Path on the server. Required with O(state=mounted), O(state=switched) and O(state=rehearsed).
    type: str
  state:
    description:
      - With V(mounted), a path that is mounted from another server is an error.
      - With V(switched), it is moved to this server. A path where nothing is mounted is mounted.
      - With V(unmounted), the path is unmounted and C(/etc/fstab) stays as it is. O(stop_units) stay stopped.
      - With V(held), O(stop_units) are stopped and the mount stays as it is, so that nobody writes while the servers
        change their roles. The next run with V(switched), V(mounted) or V(resumed) starts them again.
      - With V(resumed), what V(held) has stopped is started again, whatever is mounted. The mount stays as it is.
      - With V(rehearsed), nothing is changed. It fails for every reason for which V(switched) would fail before it
        touches anything, a mount of the new export elsewhere included. With O(check=write) the canary is written,
        locked, read and removed through the mount that is there, by O(canary_user) in O(canary_folder), because the new
        server may take no writes yet.
    type: str
    choices: [mounted, unmounted, switched, held, resumed, rehearsed]
    default: mounted
  options:
    description:
      - Mount options. Without them, those of the line in C(/etc/fstab), else those of the mount that is there.
      - Options of a mount that comes from the right server already are not changed.
    type: list
    elements: str
  fstype:
    description:
      - Type of the mount. Without it, that of the line in C(/etc/fstab), else that of the mount that is there, else
        C(nfs).
    type: str
    choices: [nfs, nfs4]
  deadman:
    description:
      - Seconds after which the host itself starts the units that O(state=held) stopped, when no later run did. 0 is
        never.
    type: int
    default: 0
  boot:
    description:
      - Whether to keep C(/etc/fstab) in step. A path that has no line there gets one only when it was not mounted.
    type: bool
    default: true
  stop_units:
    description:
      - Services that use the path. Those that run are stopped in this order, and started in the opposite one.
    type: list
    elements: str
    default: []
  start_units:
    description:
      - Whether the units that were stopped are started at the end. Say no where a unit uses several paths, and start it
        with O(state=resumed) for each of them when all are switched. When the switch fails and was put back, they are
        started all the same.
    type: bool
    default: true
  end_processes:
    description:
      - Whether to end processes that still use the path after that, first politely, then by force.
    type: bool
    default: false
  lazy:
    description:
      - What to do when the path is still in use. V(never) fails and puts all back.
      - V(read_only) detaches the path if a write through it is refused because the old export is read-only or gone.
        Otherwise it fails, because the processes would go on writing to the old server unseen.
      - V(fenced) detaches it without that test. Say it only when you know that the old export takes no writes.
    type: str
    choices: [never, read_only, fenced]
    default: never
  known_mounts:
    description:
      - Where the same files are mounted elsewhere and that is looked after, as paths and as patterns of the units whose
        processes have them there, for example V(docker-*.scope).
      - The switch reaches only this path, and what the kernel keeps in step with it. A bind mount, a second mount and
        the mount of a container would stay on the old server, so V(rehearsed), and V(switched) with O(rehearse), fail
        where there is one that is not named here and not in O(stop_units).
    type: list
    elements: str
    default: []
  force:
    description:
      - Whether to unmount a path whose server does not answer. What the server did not yet take is lost.
    type: bool
    default: false
  rehearse:
    description:
      - Whether to mount the new export elsewhere for a moment, before anything is touched.
    type: bool
    default: true
  check:
    description:
      - How the new mount is checked. V(write) uses a canary, V(read) only asks for sizes and the first name. A mount
        with the option C(ro) is never written to.
    type: str
    choices: [write, read, none]
    default: write
  canary_folder:
    description:
      - Folder below the path for the canary.
    type: str
    default: ""
  canary_user:
    description:
      - User who writes the canary, where the server squashes root.
    type: str
  unmount_timeout:
    description:
      - Seconds for stopping a unit, for ending processes, and for an unmount.
    type: int
    default: 30
  mount_timeout:
    description:
      - Seconds for a mount.
    type: int
    default: 30
  check_timeout:
    description:
      - Seconds for each question to a server.
    type: int
    default: 20
notes:
  - Only processes that can be seen in C(/proc) count as users, those of containers included.
  - Units with O(stop_units) that an interrupted run had stopped are remembered in
    C(/var/lib/seamless-migration/nfs_mount).
"""

EXAMPLES = r"""
- name: Mount the files
  seamless.migration.nfs_mount:
    path: /srv/files
    server: files-old.example.com
    export: /srv/files
    options: [vers=4.2, hard]

- name: Move them to the new server
  seamless.migration.nfs_mount:
    path: /srv/files
    server: files-new.example.com
    export: /srv/files
    state: switched
    stop_units: [php-fpm.service, upload.service]
    canary_folder: tmp
    canary_user: www-data
  register: switched

- name: Say how long it took
  ansible.builtin.debug:
    msg: "Nobody could write for {{ switched.window_s }} s"
"""

RETURN = r"""
path:
  description: The path, without symbolic links.
  returned: success
  type: str
action:
  description: What was done, or would be in check mode.
  returned: success
  type: str
  sample: switch
source:
  description: What is mounted there now. Empty when nothing is.
  returned: success
  type: str
  sample: files-new.example.com:/srv/files
address:
  description: Address of the server of the mount that is there now.
  returned: success
  type: str
  sample: 192.0.2.31
nfs_version:
  description: Version of the protocol of the mount that is there now.
  returned: success
  type: str
  sample: "4.2"
options:
  description: Options of the mount that is there now.
  returned: success
  type: list
  elements: str
steps:
  description: What was done, or would be in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [stop upload.service, unmount /srv/files, write /etc/fstab]
was:
  description: What was mounted there before. Empty when nothing was.
  returned: success
  type: dict
  contains: &server
    source:
      description: Server and export.
      type: str
    own_address:
      description: The address from which this host speaks to that server, empty when there is no way to it.
      type: str
wanted:
  description: What O(server) and O(export) ask for. Empty where they are not needed.
  returned: success
  type: dict
  contains: *server
users:
  description: Who used the path before. In check mode too.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: The process.
      type: int
    command:
      description: Its command line.
      type: str
    unit:
      description: The systemd unit that it belongs to.
      type: str
    how:
      description: One of C(open), C(lock), C(cwd), C(root), C(exe), C(mapped).
      type: str
    path:
      description: The file or directory.
      type: str
other_mounts:
  description: Where the same files are mounted elsewhere and would stay on the old server. In check mode too.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Where, as the process names it.
      type: str
    pid:
      description: A process that has it there; 0 for a mount of the host itself.
      type: int
    command:
      description: Its command line.
      type: str
    unit:
      description: The systemd unit that it belongs to.
      type: str
ended:
  description: The users that were ended by O(end_processes).
  returned: success
  type: list
  elements: dict
stopped_units:
  description:
    - The units that were stopped, and started again unless O(state=unmounted), O(state=held) or O(start_units=false).
  returned: success
  type: list
  elements: str
checks:
  description: What the check found. C(bytes_total), C(bytes_free), and the steps of the canary in C(canary).
  returned: success
  type: dict
window_s:
  description: Seconds from the first stop to the end of the check.
  returned: success
  type: float
  sample: 0.412
stopped_s:
  description: Seconds for which the units were stopped, from the first stop, by an earlier O(state=held) too.
  returned: success
  type: float
  sample: 4.2
"""

import signal

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError, printable
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import (
    OptionError,
    refuse_control_characters,
)
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.mount_plan import plan
from ansible_collections.seamless.migration.plugins.module_utils.nfs.mount_switch import Switch

WHAT = {
    "mounted": "mount", "unmounted": "unmount", "switched": "switch", "held": "hold", "resumed": "resume",
    "rehearsed": "rehearse",
}  # fmt: skip


def argument_spec():
    return {
        "path": {"type": "str", "required": True},
        "server": {"type": "str"},
        "export": {"type": "str"},
        "state": {"type": "str", "choices": list(WHAT), "default": "mounted"},
        "options": {"type": "list", "elements": "str"},
        "fstype": {"type": "str", "choices": ["nfs", "nfs4"]},
        "deadman": {"type": "int", "default": 0},
        "boot": {"type": "bool", "default": True},
        "stop_units": {"type": "list", "elements": "str", "default": []},
        "start_units": {"type": "bool", "default": True},
        "end_processes": {"type": "bool", "default": False},
        "lazy": {"type": "str", "choices": ["never", "read_only", "fenced"], "default": "never"},
        "known_mounts": {"type": "list", "elements": "str", "default": []},
        "force": {"type": "bool", "default": False},
        "rehearse": {"type": "bool", "default": True},
        "check": {"type": "str", "choices": ["write", "read", "none"], "default": "write"},
        "canary_folder": {"type": "str", "default": ""},
        "canary_user": {"type": "str"},
        "unmount_timeout": {"type": "int", "default": 30},
        "mount_timeout": {"type": "int", "default": 30},
        "check_timeout": {"type": "int", "default": 20},
    }


def main():
    module = AnsibleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_if=[("state", state, ("server", "export")) for state in ("mounted", "switched", "rehearsed")],
    )
    # A controller that goes away must not leave the path unmounted.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    params = module.params
    what = WHAT[params["state"]]
    try:
        refuse_control_characters(params)
        change = plan(params)
        switch = Switch(change)
        if module.check_mode:
            switch.look()
        elif change.works:
            switch.run()
        result = switch.result()
    except OptionError as error:
        module.fail_json(msg=str(error))
    except (NfsError, FileError) as error:
        module.fail_json(msg="Failed to %s %s: %s." % (what, params["path"], str(error).rstrip(".")))
    for warning in switch.warnings:
        module.warn(printable(warning))
    module.exit_json(changed=change.differs, diff=change.diff(), **printable(result))


if __name__ == "__main__":
    main()
