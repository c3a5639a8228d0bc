#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: migration_plan
short_description: Write what a migration will do, for people to review
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Writes a plan on the controller, as one HTML file that stands alone and as Markdown.
  - It has what moves, the hosts as they were seen, the stages in their order with commands, gates and undo, how long
    each will take by what was measured in this migration, the gates as they would be decided now, and what is not
    known.
  - It decides nothing and records nothing. It runs on the controller and opens no connection to the host; what is to be
    known of the hosts is handed to it.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.controller
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - A page is long, and the Markdown file can be kept in a repository.
  idempotent:
    support: full
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
  dest:
    description:
      - Files on the controller to write, without C(.html) and C(.md). By default C(<state_dir>/<migration>-plan).
    type: path
  storage:
    description:
      - What is to move of storage, and how, by the names of the inputs without C(migration_).
    type: dict
    suboptions:
      trees:
        description:
          - Trees that move.
        type: list
        elements: dict
        required: true
      source:
        description:
          - Host of the inventory that is left.
        type: str
        default: ""
      target:
        description:
          - Host of the inventory that is moved to.
        type: str
        default: ""
      clients:
        description:
          - Hosts of the inventory that use the storage.
        type: list
        elements: str
        default: []
      storage_workers:
        description:
          - Hosts of the inventory that copy together with the source.
        type: list
        elements: str
        default: []
      workers:
        description:
          - Parallel rsync processes of the first copy. With 0, one more than the source has cores, 16 at most.
        type: int
        default: 0
      bwlimit_kib_per_s:
        description:
          - Limit of the copy in KiB a second; 0 is none.
        type: int
        default: 0
      rsync_port:
        description:
          - Port of the rsync daemons.
        type: int
        default: 873
      writers:
        description:
          - Systemd units that write to the trees.
        type: list
        elements: str
        default: []
      freeze_budget:
        description:
          - Seconds that the window may take.
        type: int
        default: 60
      service_name:
        description:
          - Name in the hosts files of the clients that is switched.
        type: str
        default: ""
      live_sync_method:
        description:
          - How later changes are carried.
        type: str
        default: lsyncd
      verify_level:
        description:
          - How much the comparison reads.
        type: str
        default: sample
      batch_jobs:
        description:
          - Jobs that rest while the trees move.
        type: list
        elements: dict
        default: []
      hooks:
        description:
          - Task files of the user by the name of their hook.
        type: dict
        default: {}
      nfs:
        description:
          - What is exported by NFS and which clients mount it, as C(migration_nfs).
        type: dict
        default: {}
      looks:
        description:
          - By name of the host, what M(seamless.migration.storage_info) returned there. What failed is not known.
        type: dict
        default: {}
  mysql:
    description:
      - The servers and how they move, as C(migration_mysql). Secrets in it are masked.
    type: dict
    default: {}
  mysql_look:
    description:
      - What M(seamless.migration.mysql_guardrails) returned. What failed is not known.
    type: dict
    default: {}
  force_gates:
    description:
      - Names of gates that would be passed though they do not hold.
    type: list
    elements: str
    default: []
seealso:
  - module: seamless.migration.migration_report
"""

EXAMPLES = r"""
- name: Write the plan of the migration
  seamless.migration.migration_plan:
    migration: "{{ migration_name }}"
    state_dir: "{{ migration_state_dir }}"
    storage:
      trees: "{{ migration_trees }}"
      source: files-old
      target: files-new
  run_once: true
"""

RETURN = r"""
html:
  description: The plan as a page.
  returned: success
  type: str
  sample: /srv/ops/inventory/migration/files2026-plan.html
markdown:
  description: The plan as Markdown.
  returned: success
  type: str
  sample: /srv/ops/inventory/migration/files2026-plan.md
unknown:
  description: What the plan does not know, in sentences.
  returned: success
  type: list
  elements: str
"""

# The action plugin of this name does the work; this file is its documentation.
