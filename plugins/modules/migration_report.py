#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: migration_report
short_description: Write the journal of a migration as a page that people can read
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Reads the journal of a migration on the controller and writes one HTML file that stands alone. It needs no network
    and no script, fits light and dark screens, and prints.
  - It shows how the migration ended, the timeline of stages, each window to the millisecond with its steps, every gate
    with its evidence, throughput and lag, what was verified, what was forced and by whom, and what failed.
  - The same journal always gives the same page, so that to write it again changes nothing.
  - Runs on the controller and opens no connection to the host.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.controller
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - A page is long, and its journal can be read.
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
      - File on the controller to write. By default C(<state_dir>/<migration>-report.html).
    type: path
seealso:
  - module: seamless.migration.migration_journal
"""

EXAMPLES = r"""
- name: Write the report of the migration
  seamless.migration.migration_report:
    migration: "{{ migration_name }}"
    state_dir: "{{ migration_state_dir }}"
  run_once: true
"""

RETURN = r"""
path:
  description: The page.
  returned: success
  type: str
  sample: /srv/ops/inventory/migration/files2026-report.html
bytes:
  description: Its size.
  returned: success
  type: int
  sample: 41577
verdict:
  description: How the migration stands, in a word or two.
  returned: success
  type: str
  sample: Moved
sentence:
  description: The same as a sentence.
  returned: success
  type: str
  sample: The target takes the writes since 2026-05-01 12:00:00 UTC.
"""

# The action plugin of this name does the work; this file is its documentation.
