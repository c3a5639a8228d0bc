#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: lsyncd_info
short_description: Tell whether live sync has carried everything
version_added: 0.1.0
description:
  - Reads what lsyncd and the rsync guard tell of each sync.
  - With O(wait=true), proves that the targets have everything that was written before. A canary is written into
    each
    source and must arrive at its target; a complete status file written after that must show no delays; the log
    must
    have no overflow, start-up, retry or failure meanwhile; as many directories must be watched as there are;
    and the
    guard must know of no path that failed.
  - lsyncd's own "0 delays" is no proof, because lsyncd counts a transfer that failed in part as done.
  - Works for live sync by a timer as well, where the last whole run of the guard speaks instead of the daemon.
author:
  - The seamless.migration authors (@seamless-migration)
extends_documentation_fragment:
  - seamless.migration.attributes
attributes:
  check_mode:
    support: partial
    details:
      - In check mode no canary is written, and RV(converged) is never true.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing that stays.
  idempotent:
    support: full
    details:
      - The canaries of O(wait=true) are removed on both sides.
options:
  config:
    description:
      - The configuration of lsyncd. What M(seamless.migration.lsyncd_config) wrote there completes the other
        options.
      - Without it, the place where this system has it.
    type: path
  method:
    description: Whether lsyncd carries the changes, or a timer that runs the guard.
    type: str
    choices: [lsyncd, periodic]
    default: lsyncd
  status_file:
    description: The status file of lsyncd.
    type: path
  log_file:
    description: The log of lsyncd.
    type: path
  pid_file:
    description: The file with the process id of lsyncd. Without it, the process is looked for by O(config).
    type: path
  syncs:
    description: The syncs to look at. Without them, all of O(config).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the sync.
        type: str
        required: true
      source:
        description: Path of the tree.
        type: path
      target:
        description:
          - Where the canary is looked for. A module of an rsync daemon, a local directory, or V(host:directory)
            by SSH.
          - By default the target of the sync.
        type: str
      password_file:
        description: File with the password for the rsync daemon.
        type: path
      rsh:
        description: The remote shell as a list of words, for a target by SSH.
        type: list
        elements: str
      state_dir:
        description: Where the guard keeps its lists. By default as the settings of the guard say.
        type: path
      exclude:
        description: Patterns that the sync leaves out, so that the directories that they name are not counted.
        type: list
        elements: str
      unit:
        description:
          - Systemd service that makes one run, with O(method=periodic). It is started instead of waiting for
            its timer.
        type: str
  wait:
    description: Whether to wait until the targets have everything, proven by canaries.
    type: bool
    default: false
  timeout:
    description: Greatest number of seconds to wait.
    type: int
    default: 120
  must_converge:
    description: Whether it is a failure when the time is over. Without it, RV(converged) and RV(reasons) tell.
    type: bool
    default: true
  allowed_delays:
    description:
      - Number of delays of a sync that do not count.
      - Use V(0) where nobody writes. A tree that is written to without pause always has some.
    type: int
    default: 0
  clean_targets:
    description: Whether to remove the canaries from the targets where live sync does not delete.
    type: bool
    default: true
  count_directories:
    description: Whether to count the directories without O(wait) as well.
    type: bool
    default: false
  guard_folder:
    description: Folder of the guards' settings.
    type: path
    default: /etc/seamless-migration/guard
seealso:
  - module: seamless.migration.lsyncd_config
"""

EXAMPLES = r"""
- name: Look at live sync
  seamless.migration.lsyncd_info:
  register: live

- name: Wait until the target has everything, on a tree that is written to
  seamless.migration.lsyncd_info:
    wait: true
    timeout: 300
    allowed_delays: 1000

- name: The same for live sync by a timer
  seamless.migration.lsyncd_info:
    method: periodic
    wait: true
    syncs:
      - name: data
        source: /srv/files
        target: rsync://migration@10.0.0.2:873/data/
        password_file: /etc/seamless-migration/rsync.password
        unit: seamless-live-sync-data.service
"""

RETURN = r"""
converged:
  description:
    - True when all parts of the proof held. False when something speaks against it. Null when nothing does, but
      without O(wait) there was no proof.
  type: bool
  returned: success
reasons:
  description: What speaks against convergence, in sentences.
  type: list
  elements: str
  returned: always
  sample: ["sync data: the canary has not arrived"]
syncs:
  description:
    - For each sync its C(name), C(source), number of C(delays), of them C(active), C(waiting) and C(blocked),
      whether it
      is C(initializing), the C(first) few delays, and what its C(guard) knows.
    - C(guard) has C(state_dir), number of C(dirty) paths and the first C(dirty_paths), C(halted) by the limit of
      deletions, C(touched_complete) and C(last_run).
  type: list
  elements: dict
  returned: always
alive:
  description: Whether lsyncd runs.
  type: bool
  returned: with O(method=lsyncd)
pid:
  description: Its process id.
  type: int
  returned: with O(method=lsyncd)
report_date:
  description: The date in the status file.
  type: str
  returned: with O(method=lsyncd)
report_complete:
  description: Whether the status file could be read whole.
  type: bool
  returned: when there is a status file
watching:
  description: Number of watched directories.
  type: int
  returned: with O(method=lsyncd)
directories:
  description: Number of directories that exist, null when they were not counted.
  type: int
  returned: with O(method=lsyncd)
log:
  description:
    - The last line of each kind of trouble (C(overflow), C(startup), C(retrying), C(failed), C(ended)) in the
      last MiB of the log.
  type: dict
  returned: always
overflow:
  description: Whether one of them is an overflow of the inotify queue.
  type: bool
  returned: always
dirty:
  description: Number of paths that failed, of all guards.
  type: int
  returned: always
latency:
  description: Seconds until the canary was seen, by name of the sync.
  type: dict
  returned: with O(wait=true)
seconds:
  description: Seconds that the proof took.
  type: float
  returned: with O(wait=true)
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError, native
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.config import refuse_control_characters
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.errors import LsyncdError
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.info import Subject

SYNC = {
    "name": {"type": "str", "required": True},
    "source": {"type": "path"},
    "target": {"type": "str"},
    "password_file": {"type": "path", "no_log": False},
    "rsh": {"type": "list", "elements": "str"},
    "state_dir": {"type": "path"},
    "exclude": {"type": "list", "elements": "str"},
    "unit": {"type": "str"},
}


def argument_spec():
    return {
        "config": {"type": "path"},
        "method": {"type": "str", "choices": ["lsyncd", "periodic"], "default": "lsyncd"},
        "status_file": {"type": "path"},
        "log_file": {"type": "path"},
        "pid_file": {"type": "path"},
        "syncs": {"type": "list", "elements": "dict", "options": SYNC, "default": []},
        "wait": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 120},
        "must_converge": {"type": "bool", "default": True},
        "allowed_delays": {"type": "int", "default": 0},
        "clean_targets": {"type": "bool", "default": True},
        "count_directories": {"type": "bool", "default": False},
        "guard_folder": {"type": "path", "default": "/etc/seamless-migration/guard"},
    }


def judge(module):
    """The module's answer as a dict; `msg` is in it when the wait was in vain."""
    refuse_control_characters(module.params, "options")
    subject = Subject(native(module.params))
    verdict = subject.wait() if module.params["wait"] and not module.check_mode else None
    result = subject.look()
    if verdict is None:
        result["converged"] = False if result["reasons"] else None
        return result
    result.update(
        converged=verdict.converged, reasons=verdict.reasons, latency=verdict.latency, seconds=verdict.seconds
    )
    if not verdict.converged and module.params["must_converge"]:
        result["msg"] = "Failed to see live sync converge within %d s: %s" % (
            module.params["timeout"], "; ".join(verdict.reasons)
        )
    return result


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = judge(module)
    except (LsyncdError, FileError) as error:
        module.fail_json(msg="Failed to look at live sync: %s" % error, reasons=[str(error)])
    if "msg" in result:
        module.fail_json(**result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
