#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: migration_gate
short_description: Let a migration go on only when a condition holds, and record it
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - A gate is a named condition that must hold before the next step. It is V(ok), V(failed) or V(forced), and
    stands in the journal with its evidence.
  - A gate that does not hold fails the task, unless its name is in O(force). Who forced it is recorded.
  - Runs on the controller and opens no connection to the host.
  - Secrets in the evidence are masked as by M(seamless.migration.migration_journal).
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.controller
attributes:
  check_mode:
    support: full
    details:
      - Nothing is recorded in check mode, and a gate that does not hold is a warning instead of a failure, so
        that a dry run shows all of them.
  diff_mode:
    support: N/A
    details:
      - To decide a gate changes no host.
  idempotent:
    support: N/A
    details:
      - Each run records the gate. RV(ignore:changed) is always V(false), because to decide a gate changes no host.
options:
  migration:
    description:
      - Name of the migration. Letters, digits, C(_), C(-) and C(.).
    type: str
    required: true
  state_dir:
    description:
      - Folder of the journal on the controller, as absolute path.
    type: path
    required: true
  name:
    description:
      - Name of the gate. Letters, digits, C(_), C(-) and C(.).
    type: str
    required: true
  that:
    description:
      - Whether the gate holds.
    type: bool
    required: true
  evidence:
    description:
      - What was seen that decides it.
    type: dict
    default: {}
  advice:
    description:
      - What to do when the gate does not hold.
    type: str
    default: ""
  force:
    description:
      - Names of the gates that may be passed though they do not hold, the user's C(migration_force_gates).
      - Names of other gates are no error here.
    type: list
    elements: str
    default: []
  stage:
    description:
      - Stage of the migration.
    type: str
  step:
    description:
      - Step of the stage.
    type: str
  host:
    description:
      - Host that the gate speaks of. Without it the gate speaks of the migration as a whole.
    type: str
seealso:
  - module: seamless.migration.migration_journal
"""

EXAMPLES = r"""
- name: Go on only when the trees are equal
  seamless.migration.migration_gate:
    migration: "{{ migration_name }}"
    state_dir: "{{ migration_state_dir }}"
    stage: storage_cutover
    name: trees_equal
    that: "{{ compared.equal }}"
    evidence: "{{ compared.counts }}"
    advice: Run storage_sync and storage_verify again
    force: "{{ migration_force_gates }}"
  run_once: true
"""

RETURN = r"""
state:
  description: What became of the gate.
  returned: always, unless an option is wrong
  type: str
  sample: ok
name:
  description: Its name.
  returned: always, unless an option is wrong
  type: str
  sample: trees_equal
evidence:
  description: What was recorded as evidence, secrets masked.
  returned: always, unless an option is wrong
  type: dict
forced_by:
  description: Who forced it, as user@controller.
  returned: when it was forced
  type: str
  sample: alice@ops1
path:
  description: The journal.
  returned: always, unless an option is wrong
  type: str
"""

# The action plugin of this name does the work; this file is its documentation.
