# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: migration_input_errors
short_description: Say what is wrong with the inputs of a storage migration
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Takes the inputs of a storage migration and returns a list of sentences, empty when all is well.
  - No sentence holds the secret.
options:
  _input:
    description: >-
      The inputs C(name), C(trees), C(sources), C(targets), C(secret), C(port), C(freeze_budget) and C(hooks), and
      where clients mount the trees C(nfs) and C(nfs_mounts), the mounts of each client.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Check the inputs
  vars:
    inputs:
      name: files2026
      trees:
        - {name: data, source: /srv/files, target: /srv/files}
      sources: [files-old]
      targets: [files-new]
      secret: "{{ vaulted_secret }}"
      port: 873
      freeze_budget: 60
      hooks: {}
  ansible.builtin.assert:
    that: inputs | seamless.migration.migration_input_errors | length == 0
"""

RETURN = r"""
_value:
  description: What is wrong, a sentence each.
  type: list
  elements: str
"""

from ansible_collections.seamless.migration.plugins.module_utils.nfs import migration
from ansible_collections.seamless.migration.plugins.module_utils.storage.inputs import input_errors


def _filter(inputs):
    found = input_errors(inputs)
    return found + migration.input_errors(inputs.get("nfs", {}), inputs.get("nfs_mounts", {}), inputs["trees"])


class FilterModule:
    """Filters of the storage inputs."""

    def filters(self):
        return {"migration_input_errors": _filter}
