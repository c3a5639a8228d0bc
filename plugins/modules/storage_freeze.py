#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: storage_freeze
short_description: Freeze, drain, commit or open the side of a storage migration that is left
version_added: 0.1.0
author: The seamless.migration authors (@seamless-migration)
description:
  - Runs on the storage host that is left, the source at the cutover, the target at a rollback after the commit.
  - With O(state=frozen) it does the whole critical section in one process. It arms a dead-man, notes which files are
    open
    for writing, stops the writers and blocks their return, makes the trees read-only for everybody, lifts the
    bandwidth limit,
    waits until canaries have arrived on the other side, stops live sync, brings over what is listed, and compares
    exactly that.
  - Whatever fails on the way is undone in reverse order, and the module fails with the original cause.
  - Without a commit (O(state=committed)) within O(deadman) seconds the host opens itself again, with or without a
    controller.
  - Everything that would have to be undone is on disk before it is done, so that a killed run can be run again or
    thawed.
  - Each mount has its own read-only flag. A tree that is no mount point is bind-mounted on itself when it is staged.
    Mount
    namespaces of services and containers are visited too.
requirements:
  - rsync 3.1 or newer
  - systemd, which closes or opens this host again after a boot, also where no O(writers) are given
  - the capability CAP_SYS_ADMIN
extends_documentation_fragment:
  - seamless.migration.attributes
attributes:
  check_mode:
    support: full
    details:
      - Returns RV(plan), RV(open_files) and the window that was predicted when the host was staged.
  diff_mode:
    support: full
    details:
      - Shows the state before and after, and the plan.
  idempotent:
    support: full
    details:
      - O(state=staged) measures anew on each run without that being a change.
      - O(state=frozen) on a host that this run has drained re-arms the dead-man and proves the lists again, which is
        a change.
options:
  migration:
    description: Name of the migration. One freeze exists for each name on a host.
    type: str
    required: true
  run_id:
    description:
      - Name of this run of the cutover. A freeze is committed only by the run that made it.
      - Keep it when a killed cutover is run again.
    type: str
    required: true
  state:
    description:
      - V(staged) does everything slow ahead of the window (drop-ins, bind mounts, the thaw program) and predicts the
        window.
      - V(frozen) freezes and drains. RV(state) is then V(drained).
      - V(committed) makes a drained freeze permanent over reboots, and takes the dead-man away.
      - V(thawed) opens this side again. After a commit it needs O(other_side_frozen) and O(other_side_run).
      - V(held) stops and blocks the writers, for the target before the cutover. The tree stays writable for the copy,
        and for everybody unless O(hold_read_only) is set.
        A side that has taken over since is left alone. One that was left, as the target is after the way back, stays
        V(committed), which is stricter; writers and trees that are new since are blocked and staged.
      - V(absent) removes what V(staged) laid. It refuses while this side is closed.
      - V(read) changes nothing.
    type: str
    choices: [staged, frozen, committed, thawed, held, absent, read]
    default: read
  trees:
    description: The trees that are frozen together.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the tree.
        type: str
        required: true
      path:
        description: Absolute path of the tree on this host.
        type: str
        required: true
      private_path:
        description:
          - Where the migration itself can still write to a frozen tree, for the reverse live sync.
          - O(private_path_root) and the name of the tree by default.
        type: str
      dest_url:
        description:
          - The tree on the other side, as C(rsync://USER@HOST:PORT/MODULE/). Without it nothing is brought over.
        type: str
        default: ''
      password_file:
        description: File with the password of the rsync daemon on the other side.
        type: path
      require_mountpoint:
        description: Refuse when the path is not a mount point.
        type: bool
        default: false
      sentinel:
        description: File in the root of the tree that proves that it is the tree that is meant. Empty for none.
        type: str
        default: .seamless-sentinel
      exclude:
        description: Patterns of rsync that are not brought over.
        type: list
        elements: str
        default: []
      live_sync:
        description: What carries changes to the other side.
        type: dict
        default: {}
        suboptions:
          method:
            description:
              - With V(lsyncd) the last changes come from lists, in a time that does not depend on the size of the tree.
              - With V(periodic) and V(none) one full pass over the tree is made in the window.
            type: str
            choices: [lsyncd, periodic, none]
            default: none
          service:
            description: Units that are stopped after the drain, and kept from starting while this side is closed.
            type: list
            elements: str
            default: []
          pidfile:
            description: The pidfile of lsyncd.
            type: path
          status_file:
            description: The status file of lsyncd.
            type: path
          log_file:
            description: The log of lsyncd.
            type: path
          log_mark:
            description:
              - Size of the log in bytes when all was last known to be well. By default the size when the host was
                staged.
            type: int
          guard_state_dir:
            description: Folder with the lists of the rsync guard.
            type: path
          touched_since:
            description:
              - Size in bytes of the list C(touched) of the guard at the last clean compare. Without it the whole
                list counts.
            type: int
          bwlimit_file:
            description:
              - File from which the guard reads the bandwidth limit. It is set to 0 for the drain and restored by an
                undo.
            type: path
  writers:
    description: Systemd units that write to the trees.
    type: list
    elements: str
    default: []
  commands:
    description: Argument vectors that are run at points of the window. One that fails undoes the freeze.
    type: dict
    default: {}
    suboptions:
      before_stop:
        description: Before the writers are stopped.
        type: list
        elements: list
        default: []
      after_stop:
        description: After the writers were stopped.
        type: list
        elements: list
        default: []
      after_read_only:
        description: After the trees became read-only.
        type: list
        elements: list
        default: []
      after_drain:
        description: After live sync was stopped.
        type: list
        elements: list
        default: []
      on_undo:
        description: At the end of an undo, also by the dead-man.
        type: list
        elements: list
        default: []
  budget:
    description: Seconds from the stop of the writers to the commit. What takes longer is undone.
    type: int
    default: 60
  deadman:
    description: Seconds after which the host opens itself again without a commit. Must be more than O(budget).
    type: int
    default: 180
  drain_timeout:
    description: Seconds that the canaries may take.
    type: int
    default: 30
  stop_timeout:
    description: Seconds that all writers together may take to stop.
    type: int
    default: 20
  sync_stop_timeout:
    description: Seconds that live sync and its transfers may take to end by themselves before they are killed.
    type: int
    default: 10
  hook_timeout:
    description: Seconds that one command of O(commands) may take.
    type: int
    default: 10
  read_only:
    description:
      - V(auto) and V(bind) set the read-only flag of every mount of the tree.
      - V(remount) closes the whole file system as well, until the commit. Nothing else may write to that file system.
      - V(none) relies on the writers being stopped.
    type: str
    choices: [auto, bind, remount, none]
    default: auto
  private_path_root:
    description: Folder, closed to everybody but root, in which trees are mounted writable for the migration itself.
    type: path
    default: /run/seamless-migration/private
  extra_paths_files:
    description: NUL-separated lists of further paths to bring over, as a dictionary of tree name and list of files.
    type: dict
    default: {}
  kill_holders:
    description:
      - End processes that still hold files open for writing after the writers were stopped, instead of refusing.
    type: bool
    default: false
  approach:
    description:
      - Whether to let everything arrive once before the writers are stopped, so that less is left for the window. Where
        those who write were stopped before this module runs, it only makes the window longer.
    type: bool
    default: true
  nfs_stragglers:
    description:
      - Addresses of clients of the NFS server of this host that could not be told to stop. What they hold open here is
        taken from them before the trees become read-only, because a client that is dead would hold it on.
    type: list
    elements: str
    default: []
  hold_read_only:
    description:
      - Whether O(state=held) makes the trees read-only too, for everybody but the migration. Where the trees are
        exported by NFS, nobody can then write here before O(state=thawed), and nothing has to be exported anew for it.
    type: bool
    default: false
  take_over:
    description: Go on with a freeze that another run began and did not commit.
    type: bool
    default: false
  verify:
    description: Compare everything that was brought over by content.
    type: bool
    default: true
  max_delta:
    description: Most paths that may have to be brought over in the window. 0 is no limit.
    type: int
    default: 0
  max_delete:
    description: Most deletions on the other side that the last copy may make. 0 is no limit.
    type: int
    default: 0
  start_writers:
    description: Whether O(state=thawed) starts the writers. Those that ran before the freeze, or all after V(held).
    type: bool
    default: true
  start_live_sync:
    description:
      - Whether O(state=thawed) starts the live sync that ran before. By default it does before a commit only. After
        one it would
        carry the files of this side over those of the other.
    type: bool
  other_side_frozen:
    description: The other side is known to be closed. Never set it without having looked.
    type: bool
    default: false
  other_side_run:
    description: The run that closed the other side, kept as evidence.
    type: str
    default: ''
notes:
  - The kernel's NFS server honours the flag of the mount that is exported. A tree within an export of a folder above
    it is not
    protected when the export was made before the host was staged, so run C(exportfs -f) after staging.
  - An operator on the host opens a frozen, uncommitted side with C(/usr/local/lib/seamless-migration/storage-thaw
    now MIGRATION).
"""

EXAMPLES = r"""
- name: Leave the source
  module_defaults:
    seamless.migration.storage_freeze:
      migration: files2026
      run_id: cutover-1
      writers: [upload.service]
      trees:
        - name: data
          path: /srv/files
          dest_url: rsync://migration@192.0.2.20:873/data/
          password_file: /etc/seamless-migration/rsync.password
          live_sync:
            method: lsyncd
            service: [lsyncd.service]
            pidfile: /run/lsyncd.pid
            log_file: /var/log/lsyncd/lsyncd.log
            guard_state_dir: /var/lib/seamless-migration/guard/data
      budget: 60
      deadman: 180
  block:
    - name: Do everything slow ahead of the window, and predict it
      seamless.migration.storage_freeze:
        state: staged

    - name: Freeze, drain and prove the source
      seamless.migration.storage_freeze:
        state: frozen

    - name: Leave the source for good
      seamless.migration.storage_freeze:
        state: committed

- name: Open the source again after a rollback has frozen the target
  seamless.migration.storage_freeze:
    migration: files2026
    run_id: rollback-1
    state: thawed
    other_side_frozen: true
    other_side_run: rollback-1
"""

RETURN = r"""
state:
  description: State of the freeze, one of none, staged, freezing, drained, committed, thawing, thawed, held.
  returned: always
  type: str
run_id:
  description: The run that froze this side last.
  returned: always
  type: str
steps:
  description: What was done, in order.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Name of the step., type: str}
    at: {description: "When it began, seconds since 1970 by the clock of the host.", type: float}
    ms: {description: Milliseconds that it took., type: float}
    ok: {description: Whether it succeeded., type: bool}
    detail: {description: What came of it., type: str}
window_ms:
  description:
    - Milliseconds from the stop of the writers until everything was proven, or until now. 0 when nothing is frozen.
  returned: always
  type: float
frozen_at:
  description: When the window opened, seconds since 1970.
  returned: always
  type: float
paths_in_delta:
  description: Paths in the lists of the last copy.
  returned: always
  type: int
lists:
  description: For each tree how many paths each source added to the list, and their total.
  returned: always
  type: dict
undone:
  description: Whether everything was put back as it was.
  returned: always
  type: bool
deadman_unit:
  description: The transient unit that opens this host again; empty when a plain process does.
  returned: always
  type: str
deadman_at:
  description: When the dead-man opens this host, seconds since 1970. 0 when it is not armed.
  returned: always
  type: float
predicted_window_s:
  description: Seconds that the window should take, from what was measured when the host was staged.
  returned: always
  type: float
private_paths:
  description: For each tree the path by which the migration can write to it while it is frozen.
  returned: always
  type: dict
open_files:
  description: Who holds a way to write to the trees.
  returned: always
  type: list
  elements: dict
  contains:
    pid: {description: Process., type: int}
    name: {description: Name of the process., type: str}
    how: {description: "V(open), V(mapped), or V(bypass), a directory held since before staging.", type: str}
    tree: {description: Name of the tree., type: str}
    path: {description: Path within the tree., type: str}
active_before:
  description: Writers that ran before the freeze.
  returned: always
  type: list
  elements: str
thawed_by:
  description: Who opened this side again, when it was opened before a commit.
  returned: always
  type: str
unwatched_since:
  description:
    - When this side was opened again without live sync being seen to watch it, seconds since 1970. What was deleted
      here then may still be on the other side. 0 when that never happened, when a commit followed, or when a whole pass
      of live sync that deletes has followed.
  returned: always
  type: float
plan:
  description: What would be done.
  returned: in check mode
  type: list
  elements: str
"""

import copy

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.files import native, printable
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import (
    OptionError,
    refuse_control_characters,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze import FAILURES, Freeze
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_options import (
    COMMANDS,
    complete,
)

STRINGS = {"type": "list", "elements": "str", "default": []}
VECTORS = {"type": "list", "elements": "list", "default": []}
LIVE_SYNC = {
    "method": {"type": "str", "choices": ["lsyncd", "periodic", "none"], "default": "none"},
    "service": STRINGS,
    "pidfile": {"type": "path"},
    "status_file": {"type": "path"},
    "log_file": {"type": "path"},
    "log_mark": {"type": "int"},
    "guard_state_dir": {"type": "path"},
    "touched_since": {"type": "int"},
    "bwlimit_file": {"type": "path"},
}

TREE = {
    "name": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "private_path": {"type": "str"},
    "dest_url": {"type": "str", "default": ""},
    "password_file": {"type": "path", "no_log": False},
    "require_mountpoint": {"type": "bool", "default": False},
    "sentinel": {"type": "str", "default": ".seamless-sentinel"},
    "exclude": STRINGS,
    "live_sync": {"type": "dict", "default": {}, "options": LIVE_SYNC},
}

ARGUMENTS = {
    "migration": {"type": "str", "required": True},
    "run_id": {"type": "str", "required": True},
    "state": {
        "type": "str",
        "choices": ["staged", "frozen", "committed", "thawed", "held", "absent", "read"],
        "default": "read",
    },
    "trees": {"type": "list", "elements": "dict", "default": [], "options": TREE},
    "writers": STRINGS,
    "commands": {"type": "dict", "default": {}, "options": {name: VECTORS for name in COMMANDS}},
    "budget": {"type": "int", "default": 60},
    "deadman": {"type": "int", "default": 180},
    "drain_timeout": {"type": "int", "default": 30},
    "stop_timeout": {"type": "int", "default": 20},
    "sync_stop_timeout": {"type": "int", "default": 10},
    "hook_timeout": {"type": "int", "default": 10},
    "read_only": {"type": "str", "choices": ["auto", "bind", "remount", "none"], "default": "auto"},
    "private_path_root": {"type": "path", "default": "/run/seamless-migration/private"},
    "extra_paths_files": {"type": "dict", "default": {}},
    "kill_holders": {"type": "bool", "default": False},
    "approach": {"type": "bool", "default": True},
    "nfs_stragglers": STRINGS,
    "hold_read_only": {"type": "bool", "default": False},
    "take_over": {"type": "bool", "default": False},
    "verify": {"type": "bool", "default": True},
    "max_delta": {"type": "int", "default": 0},
    "max_delete": {"type": "int", "default": 0},
    "start_writers": {"type": "bool", "default": True},
    "start_live_sync": {"type": "bool"},
    "other_side_frozen": {"type": "bool", "default": False},
    "other_side_run": {"type": "str", "default": ""},
}

VERBS = {
    "staged": "stage", "frozen": "freeze", "committed": "commit", "thawed": "thaw", "held": "hold",
    "absent": "clean up after", "read": "look at",
}


def finish(module, result):
    """Turn warnings and states into what Ansible shows."""
    for warning in result.pop("warnings", []):
        module.warn(printable(warning))
    lines = "".join(line + "\n" for line in result.get("plan", []))
    before, after = result.pop("before", ""), result.pop("after", "")
    result["diff"] = {"before": "state: %s\n" % before, "after": "state: %s\n%s" % (after, lines)}


def main():
    # A copy, because Ansible fills the defaults of nested options in where they stand.
    module = AnsibleModule(argument_spec=copy.deepcopy(ARGUMENTS), supports_check_mode=True)
    wanted = module.params["state"]
    freeze = None
    try:
        refuse_control_characters(module.params)
        freeze = Freeze(complete(native(module.params)))
        result = freeze.would() if module.check_mode else getattr(freeze, wanted)()
    except OptionError as error:
        module.fail_json(msg=str(error))
    except FAILURES as error:
        known = freeze.failed() if freeze else {}
        finish(module, known)
        what = (VERBS[wanted], module.params["migration"], str(error).rstrip("."))
        module.fail_json(msg=printable("Failed to %s %s: %s." % what), **printable(known))
    finish(module, result)
    module.exit_json(**printable(result))


if __name__ == "__main__":
    main()
