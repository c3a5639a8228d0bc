#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: migration_status
short_description: Tell how far a migration is
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Reads the journal of a migration on the controller and shows stages, the copy and the lag of each tree, replication
    channels, gates, the window and the last faults.
  - What was just seen on hosts can be handed to it. It is recorded as measurements first, which is how the lag over
    time comes into the report.
  - Takes no lock, so that it may run while another playbook works. It runs on the controller and opens no connection to
    the host.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.controller
attributes:
  check_mode:
    support: full
    details:
      - Nothing is recorded in check mode.
  diff_mode:
    support: N/A
    details:
      - To look changes no host.
  idempotent:
    support: N/A
    details:
      - Each run looks again. RV(ignore:changed) is always V(false).
options:
  migration:
    description:
      - Name of the migration.
    type: str
    required: true
  state_dir:
    description:
      - Folder of the journal on the controller, as absolute path.
    type: path
    required: true
  looks:
    description:
      - What was just seen on hosts.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description:
          - The host of the inventory.
        type: str
      copies:
        description:
          - Results of M(seamless.migration.bulk_copy) with V(state=status).
        type: list
        elements: dict
        default: []
      live_sync:
        description:
          - Result of M(seamless.migration.lsyncd_info).
        type: dict
        default: {}
      replication:
        description:
          - Result of M(seamless.migration.mysql_replication_info).
        type: dict
        default: {}
  format:
    description:
      - V(table) fits 100 columns, V(lines) has one fact a line, V(json) is one line.
      - V(auto) is V(table) on a terminal, else V(lines).
    type: str
    choices: [auto, table, lines, json]
    default: auto
seealso:
  - module: seamless.migration.migration_journal
"""

EXAMPLES = r"""
- name: Tell how far the migration is
  seamless.migration.migration_status:
    migration: "{{ migration_name }}"
    state_dir: "{{ migration_state_dir }}"
  run_once: true
"""

RETURN = r"""
status:
  description:
    - C(state) and C(sentence) tell how it stands, C(working) which playbook holds the lock. C(stages), C(trees),
      C(compares), C(channels), C(gates), C(faults) are lists, C(window) is the last window or null. C(at) is the time
      of the newest event.
  returned: success
  type: dict
  sample: {migration: files2026, state: In progress, working: storage_copy}
"""

# The action plugin of this name does the work; this file is its documentation.
