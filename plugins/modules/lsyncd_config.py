#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: lsyncd_config
short_description: Render the whole configuration of lsyncd
version_added: 0.1.0
description:
  - Renders the configuration of lsyncd from typed settings and syncs, and owns the whole file.
  - Knows which keys each lsyncd from 2.1.0 to 2.3.1 takes, because lsyncd ends at a key that it does not know.
  - Quotes every string so that no name can end it, and lets a Lua parser read the result before it replaces
    anything.
  - Gives each sync with O(syncs[].guard) the rsync guard as its binary. The guard refuses an unmounted source,
    caps deletions, reads the
    bandwidth limit at each start and remembers what was touched and what failed.
  - Reports the inotify limits that the trees need against those that the kernel has. It changes no limit.
  - Never restarts lsyncd, because each start copies every tree again.
author:
  - The seamless.migration authors (@seamless-migration)
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.files
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description:
      - The configuration file.
      - Without it, V(/etc/lsyncd/lsyncd.conf.lua) on Debian and its like, V(/etc/lsyncd.conf) on Enterprise Linux.
    type: path
  state:
    description:
      - V(present) writes the configuration and the settings of the guards.
      - V(absent) removes what V(present) wrote. A configuration that this module did not write stays, unless
        O(force) is set.
    type: str
    choices: [present, absent]
    default: present
  settings:
    description: What goes into C(settings{}).
    type: dict
    default: {}
    suboptions:
      log_file:
        description: Absolute path of the log. It is needed to know of overflows and retries.
        type: path
        default: /var/log/lsyncd.log
      pid_file:
        description:
          - Absolute path of the file with the process id. Leave it out where the service gives it on the
            command line.
        type: path
      status_file:
        description: Absolute path of the status file.
        type: path
        default: /var/run/lsyncd.status
      status_interval:
        description:
          - Least number of seconds between two writes of the status file.
          - The file names every watched directory, about 100 MB for a million of them. Raise the interval there.
        type: int
        default: 10
      log_facility:
        description: Facility for syslog, used without a log file only.
        type: str
      log_ident:
        description: Name in syslog.
        type: str
      inotify_mode:
        description:
          - Which events count as a change of a file.
          - With V(CloseWrite), lsyncd's own default, a file that is held open, such as a log, is carried when
            it is closed.
        type: str
        choices: [CloseWrite, Modify, CloseWrite or Modify]
      insist:
        description:
          - Whether lsyncd goes on trying when a target cannot be reached at its start, instead of ending.
          - lsyncd 2.2.0 and 2.2.1 cannot take it from a file.
        type: bool
        default: true
      max_processes:
        description: Greatest number of rsync processes of all syncs together. It overrides the one of each sync.
        type: int
      max_delays:
        description:
          - Number of collected changes at which a sync starts without waiting for its delay. It overrides the
            one of each sync.
        type: int
      nodaemon:
        description: Whether lsyncd stays in the foreground.
        type: bool
      onepass:
        description: Whether lsyncd ends after the first copy. Known to 2.2.4 and later.
        type: bool
  syncs:
    description: The trees to keep equal. None may lie within another.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the sync, of letters, digits, V(-) and V(_). The settings and the state of its guard carry
            it.
        type: str
        required: true
      mode:
        description:
          - V(rsync) for a local directory or a module of an rsync daemon, V(rsyncssh) for SSH.
          - V(rsyncssh) without a guard moves by C(mv) on the target, which the guard cannot see. With a guard,
            moves go through rsync.
        type: str
        choices: [rsync, rsyncssh]
        default: rsync
      source:
        description: Absolute path of the tree.
        type: path
        required: true
      target:
        description:
          - Where to, with O(syncs[].mode=rsync). For a daemon, such as V(rsync://migration@10.0.0.2:873/data/).
        type: str
      host:
        description: Target host with O(syncs[].mode=rsyncssh), with C(user@) before it where needed.
        type: str
      targetdir:
        description: Directory on O(syncs[].host).
        type: str
      delay:
        description: Seconds for which changes are collected.
        type: int
        default: 15
      delete:
        description:
          - V(true) deletes at start-up and while running, V(startup) and V(running) at one of them, V(false) never.
          - lsyncd's own default is V(true); here it is V(false), so that nothing is deleted before a comparison
            was clean.
        type: str
        choices: ["true", "false", startup, running]
        default: "false"
      exclude:
        description: Patterns that are neither watched nor carried.
        type: list
        elements: str
        default: []
      exclude_from:
        description: File with such patterns.
        type: path
      max_processes:
        description: Greatest number of rsync processes of this sync.
        type: int
      max_delays:
        description: Number of collected changes at which it starts without waiting for O(syncs[].delay).
        type: int
      batch_size_limit:
        description: Size in bytes from which a file is carried by a process of its own. Known to 2.3.0 and later.
        type: int
      init:
        description:
          - Whether lsyncd copies everything at its start. With V(false), what changed before is lost, and a
            warning says so.
        type: bool
      password_file:
        description: File with the password for the rsync daemon, mode 0600. A password itself is never taken.
        type: path
      rsync:
        description:
          - Keys of lsyncd's C(rsync{}) table, such as C(xattrs), C(acls), C(hard_links), C(timeout), C(_extra).
          - C(archive) is true and C(_extra) is V([--numeric-ids]) unless given.
        type: dict
        default: {}
      ssh:
        description: How ssh is called, with O(syncs[].mode=rsyncssh).
        type: dict
        suboptions:
          binary:
            description: The ssh program.
            type: path
          port:
            description: Port of the SSH server.
            type: int
          identity_file:
            description: File with the private key. Known to 2.1.6 and later.
            type: path
          options:
            description: What is given to ssh by C(-o). Known to 2.1.6 and later.
            type: dict
          _extra:
            description: More arguments.
            type: list
            elements: str
      guard:
        description: Calls rsync through the guard. V({}) takes all defaults.
        type: dict
        suboptions:
          sentinel:
            description: File that must be there. By default C(.seamless-sentinel) in the source.
            type: path
          sentinel_content:
            description: What it must say; newlines at its end do not count.
            type: str
          max_delete:
            description: Greatest number of deletions in one run of rsync. None without it.
            type: int
          bwlimit_file:
            description:
              - File with KiB/s, read at each start of rsync. V(0), an empty file and no file mean no limit.
            type: path
          state_dir:
            description: Where the guard keeps C(touched), C(dirty), C(hardlinks) and C(runs.jsonl).
            type: path
          rsync:
            description: The rsync program to call.
            type: path
          partial_retries:
            description:
              - How often a list of changes that was carried in part is tried again before lsyncd goes on with
                the rest.
            type: int
          full_retries:
            description: The same for the copy of everything at start-up.
            type: int
          retry_interval:
            description: Least number of seconds between two tries of what failed.
            type: int
  version:
    description:
      - The version of lsyncd whose keys are used.
      - V(auto) asks the lsyncd that is installed; where there is none, 2.2.3 is assumed, and a warning says so.
    type: str
    default: auto
  force:
    description: Whether a configuration that this module did not write may be replaced or removed.
    type: bool
    default: false
  backup:
    description: Whether to keep a copy of the configuration before it is replaced or removed.
    type: bool
    default: false
  count_directories:
    description:
      - Whether to count the directories of the trees, for RV(limits). It takes about a minute for a million of
        them.
    type: bool
    default: true
  guard_program:
    description: The installed guard.
    type: path
    default: /usr/local/lib/seamless-migration/rsync-guard
  guard_folder:
    description: Folder of the guards' settings and of the links by which they are called.
    type: path
    default: /etc/seamless-migration/guard
notes:
  - Restart lsyncd to make it read the configuration, but not at a cutover, because each start copies every tree
    again.
seealso:
  - module: seamless.migration.lsyncd_info
"""

EXAMPLES = r"""
- name: Carry a tree to a module of an rsync daemon, with the guard, without deleting yet
  seamless.migration.lsyncd_config:
    settings:
      status_interval: 1
    syncs:
      - name: data
        source: /srv/files
        target: rsync://migration@10.0.0.2:873/data/
        password_file: /etc/seamless-migration/rsync.password
        delay: 1
        delete: "false"
        rsync:
          acls: true
          xattrs: true
        guard:
          sentinel_content: files2026 data
          max_delete: 10000
          bwlimit_file: /etc/seamless-migration/bwlimit

- name: Carry a tree by SSH, keeping a copy of the configuration that was there
  seamless.migration.lsyncd_config:
    force: true
    backup: true
    syncs:
      - name: home
        mode: rsyncssh
        source: /home
        host: new.example.com
        targetdir: /home
        ssh:
          port: 2222

- name: Take it away
  seamless.migration.lsyncd_config:
    state: absent
"""

RETURN = r"""
path:
  description: The configuration file.
  type: str
  returned: success
  sample: /etc/lsyncd/lsyncd.conf.lua
version:
  description: The version of lsyncd whose keys were used.
  type: str
  returned: success
  sample: 2.2.3
validated_by:
  description: The Lua program that read the configuration, null where no Lua is at hand or O(state=absent).
  type: str
  returned: success
  sample: luac
backup_file:
  description: The copy of the old configuration.
  type: str
  returned: when O(backup) is set and there was a configuration that changed
limits:
  description:
    - C(directories) of all sources, C(needed_watches), the kernel's C(max_user_watches), C(max_queued_events)
      and C(max_user_instances),
      what they should be as C(needed_user_watches), C(needed_queued_events) and C(needed_user_instances),
      whether they are C(sufficient),
      and the names of those that are too C(short).
  type: dict
  returned: with O(state=present)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError, native
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd import plan
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.errors import LsyncdError
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.tables import dotted

SETTINGS = {
    "log_file": {"type": "path", "default": "/var/log/lsyncd.log"},
    "pid_file": {"type": "path"},
    "status_file": {"type": "path", "default": "/var/run/lsyncd.status"},
    "status_interval": {"type": "int", "default": 10},
    "log_facility": {"type": "str"},
    "log_ident": {"type": "str"},
    "inotify_mode": {"type": "str", "choices": ["CloseWrite", "Modify", "CloseWrite or Modify"]},
    "insist": {"type": "bool", "default": True},
    "max_processes": {"type": "int"},
    "max_delays": {"type": "int"},
    "nodaemon": {"type": "bool"},
    "onepass": {"type": "bool"},
}
SSH = {
    "binary": {"type": "path"},
    "port": {"type": "int"},
    "identity_file": {"type": "path"},
    "options": {"type": "dict"},
    "_extra": {"type": "list", "elements": "str"},
}
GUARD = {
    "sentinel": {"type": "path"},
    "sentinel_content": {"type": "str"},
    "max_delete": {"type": "int"},
    "bwlimit_file": {"type": "path"},
    "state_dir": {"type": "path"},
    "rsync": {"type": "path"},
    "partial_retries": {"type": "int"},
    "full_retries": {"type": "int"},
    "retry_interval": {"type": "int"},
}
SYNC = {
    "name": {"type": "str", "required": True},
    "mode": {"type": "str", "choices": ["rsync", "rsyncssh"], "default": "rsync"},
    "source": {"type": "path", "required": True},
    "target": {"type": "str"},
    "host": {"type": "str"},
    "targetdir": {"type": "str"},
    "delay": {"type": "int", "default": 15},
    "delete": {"type": "str", "choices": ["true", "false", "startup", "running"], "default": "false"},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "exclude_from": {"type": "path"},
    "max_processes": {"type": "int"},
    "max_delays": {"type": "int"},
    "batch_size_limit": {"type": "int"},
    "init": {"type": "bool"},
    "password_file": {"type": "path", "no_log": False},
    "rsync": {"type": "dict", "default": {}},
    "ssh": {"type": "dict", "options": SSH},
    "guard": {"type": "dict", "options": GUARD},
}


def argument_spec():
    return {
        "path": {"type": "path"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "settings": {"type": "dict", "options": SETTINGS, "default": {}},
        "syncs": {"type": "list", "elements": "dict", "options": SYNC, "default": []},
        "version": {"type": "str", "default": "auto"},
        "force": {"type": "bool", "default": False},
        "backup": {"type": "bool", "default": False},
        "count_directories": {"type": "bool", "default": True},
        "guard_program": {"type": "path", "default": "/usr/local/lib/seamless-migration/rsync-guard"},
        "guard_folder": {"type": "path", "default": "/etc/seamless-migration/guard"},
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = native(module.params)
    try:
        change = plan.make(params, module.check_mode)
        result = {"path": change.path, "version": dotted(change.version), "validated_by": change.validated_by}
        if params["state"] == "present":
            result["limits"] = plan.inotify_limits(params["syncs"], params["count_directories"])
        if change.differs and not module.check_mode:
            copy = change.apply(params["backup"])
            if copy:
                result["backup_file"] = copy
    except (LsyncdError, FileError) as error:
        module.fail_json(msg="Failed to configure lsyncd: %s" % error)
    for warning in change.warnings:
        module.warn(warning)
    module.exit_json(changed=change.differs, diff=change.diff(), **result)


if __name__ == "__main__":
    main()
