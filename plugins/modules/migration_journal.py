#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: migration_journal
short_description: Record the events of a migration, and keep a second run out
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Appends one event to the journal of a migration on the controller, the file C(<state_dir>/<migration>.jsonl),
    and waits until it is on the disk.
  - Reads the journal when no O(event) is given, and returns what it says by now, so that a playbook that was
    killed knows where to go on.
  - Takes and gives back the lock of the migration, C(<state_dir>/<migration>.lock), so that two runs never work
    on one migration.
  - Runs on the controller and opens no connection to the host, so that it may stand where nobody can write.
  - An event that was being written when the controller was killed is cut off at the next write; it never breaks
    reading.
  - Secrets are not recorded. What stands under a key that looks like a secret (C(password), C(secret), C(token),
    C(key) and the like) is masked,
    so are the values of variables of such names that start with C(migration_) or C(ansible_), and passwords in URLs.
    Of a task with C(no_log) no data are recorded at all.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.controller
attributes:
  check_mode:
    support: full
    details:
      - Nothing is written in check mode, and a lock that somebody else holds is a warning.
  diff_mode:
    support: N/A
    details:
      - To record an event changes no host.
  idempotent:
    support: N/A
    details:
      - Each run appends an event. RV(ignore:changed) is always V(false), because to record an event changes no host.
options:
  migration:
    description:
      - Name of the migration. Letters, digits, C(_), C(-) and C(.).
    type: str
    required: true
  state_dir:
    description:
      - Folder of the journal on the controller, as absolute path. It is made (0700) when it is missing. Files in
        it are 0600.
    type: path
    required: true
  event:
    description:
      - What happened. Without it, or with V(read), the journal is read.
      - V(started), V(done), V(skipped), V(failed) and V(undone) belong to a O(stage), or a O(step) of it, with a
        O(host) if it was one host's.
      - V(committed) is the point from which it only goes forward; see O(side).
      - V(window_opened) and V(window_closed) bound the time in which nobody can write.
      - V(measured) carries numbers in O(data), of the measurement that O(step) names, V(note) anything else.
      - V(fault) is something that failed, with C(task) and C(cause) in O(data).
    type: str
    choices:
      [read, started, done, skipped, failed, undone, committed, window_opened, window_closed, measured, fault, note]
  stage:
    description:
      - Stage of the migration, the playbook's name for example.
    type: str
  step:
    description:
      - Step of the stage. An event without step and host speaks of the whole stage.
    type: str
  host:
    description:
      - Host that the event speaks of. Without it the event speaks of the migration as a whole.
    type: str
  side:
    description:
      - Which side takes the writes after O(event=committed).
      - By default V(source) in a stage that has C(rollback) in its name, else V(target).
    type: str
    choices: [source, target]
  data:
    description:
      - What is recorded with the event.
    type: dict
    default: {}
  lock:
    description:
      - V(acquire) takes the lock of the migration for this run of C(ansible-playbook), before anything else is done.
        When a living run holds it, the task fails and tells which. The lock of a run that died is taken over.
        To take it twice is fine.
      - V(release) gives it back, after everything else is done. The lock of another run stays.
      - V(held) fails unless this run holds it.
      - The lock ends with the process that took it, even when that is killed. It belongs to the process, so a
        playbook and those that it imports share it.
      - A run on another controller that shares O(state_dir) counts as living, for nobody can look.
    type: str
    choices: [acquire, release, held]
  count:
    description:
      - How many of the newest events to return when the journal is read.
    type: int
    default: 20
seealso:
  - module: seamless.migration.migration_gate
"""

EXAMPLES = r"""
- name: Keep a second run out and see what was done so far
  seamless.migration.migration_journal:
    migration: "{{ migration_name }}"
    state_dir: "{{ migration_state_dir }}"
    lock: acquire
  run_once: true
  register: journal

- name: Stop when this migration is over
  ansible.builtin.assert:
    that: not journal.summary.committed
    fail_msg: The clients use the target already
  run_once: true

- name: Record that the window opens
  seamless.migration.migration_journal:
    migration: "{{ migration_name }}"
    state_dir: "{{ migration_state_dir }}"
    stage: storage_cutover
    event: window_opened
  run_once: true

- name: Record the commit
  seamless.migration.migration_journal:
    migration: "{{ migration_name }}"
    state_dir: "{{ migration_state_dir }}"
    stage: storage_cutover
    event: committed
    side: target
    data:
      files: 1024
  run_once: true

- name: Let the next run in
  seamless.migration.migration_journal:
    migration: "{{ migration_name }}"
    state_dir: "{{ migration_state_dir }}"
    lock: release
  run_once: true
"""

RETURN = r"""
path:
  description: The journal.
  returned: success
  type: str
  sample: /srv/ops/inventory/migration/files2026.jsonl
event:
  description: The event as it was recorded, or as it would be in check mode.
  returned: when an event is given
  type: dict
  sample:
    at: "2026-05-01T12:00:00.123Z"
    migration: files2026
    stage: storage_cutover
    step: null
    host: null
    event: committed
    data: {side: target}
events:
  description: The newest events, the oldest of them first.
  returned: when the journal is read
  type: list
  elements: dict
summary:
  description: What the journal says by now.
  returned: when the journal is read
  type: dict
  contains:
    committed:
      description: Whether the target takes the writes.
      type: bool
    side:
      description: Which side takes the writes, V(source) or V(target).
      type: str
    stages:
      description:
        - By stage its C(state) (C(started), C(done), C(skipped), C(failed), C(undone)), C(started), C(ended),
          C(seconds), C(committed) when it was,
          and C(steps), each with the same keys and C(hosts), the last event of each host.
      type: dict
    open:
      description:
        - What was started and not ended, with C(stage), C(step), C(host) and C(at). Whoever holds the lock knows
          that a run was killed there.
      type: list
      elements: dict
    window:
      description:
        - The last window, with C(state) (C(none), C(open) or C(closed)), C(opened), C(closed), C(seconds) and
          C(stage).
      type: dict
    windows:
      description: How many windows there were.
      type: int
    gates:
      description: By gate its last C(state) and when that was.
      type: dict
    measured:
      description:
        - By step, or by stage where there was no step, C(at) and C(data) of the last event V(measured) that spoke of no
          single host.
      type: dict
    events:
      description: How many events there are.
      type: int
lock:
  description: The lock of the migration.
  returned: when O(lock) is given or the journal is read
  type: dict
  contains:
    held:
      description: Whether this run holds it.
      type: bool
    owner:
      description: The living run that holds it, with C(pid), C(host), C(user), C(playbook) and C(since), or null.
      type: dict
    taken_over:
      description: The dead run that held it before, or null.
      type: dict
"""

# The action plugin of this name does the work; this file is its documentation.
