#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: bulk_deal
short_description: Deal the lists of a large tree over several hosts that copy it together
version_added: 0.1.0
description:
  - Runs on the host that has the source, after M(seamless.migration.bulk_copy) with
    O(seamless.migration.bulk_copy#module:mode=cut).
  - Writes down which lists the workers have copied, and deals what is left to those that can take more. The lists of
    a worker that was lost, or that failed, are dealt to the others.
  - Deals in rounds, at most half of what is left of a large tree at once, and to each worker as much as it can copy in
    the same time by what was measured of it. A list that was dealt three times in vain is left to the source.
  - The role P(seamless.migration.bulk_copy#role) uses it where there is a group C(storage_workers).
options:
  job:
    description:
      - Name of the copy, as for M(seamless.migration.bulk_copy).
    type: str
    required: true
  workers:
    description:
      - Names of the hosts that can take lists.
    type: list
    elements: str
    default: []
  results:
    description:
      - The RV(seamless.migration.bulk_copy#module:part) that M(seamless.migration.bulk_copy) with
        O(seamless.migration.bulk_copy#module:mode=lists) returned on each worker.
      - A worker whose O(results[].state) is V(lost), or that failed without copying a single list, is dealt nothing.
    type: list
    elements: dict
    default: []
    suboptions:
      worker:
        description: Name of the host.
        type: str
        required: true
      state:
        description: State of its copy.
        type: str
        required: true
      deal:
        description: Name of the deal.
        type: str
      lists_done:
        description: Numbers of the lists that it has copied.
        type: list
        elements: int
        default: []
      files:
        description: Regular files that it transferred.
        type: int
        default: 0
      bytes:
        description: Bytes of their contents.
        type: int
        default: 0
      seconds:
        description: How long that took.
        type: float
        default: 0
  bwlimit_kib_per_s:
    description:
      - Limit of all workers together, in KiB a second; V(0) is none. Each worker of a round is given an equal share.
    type: int
    default: 0
  state_dir:
    description:
      - Folder for the state of all copies on this host.
    type: path
    default: /var/lib/seamless-migration/bulk
extends_documentation_fragment:
  - seamless.migration.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Each call deals lists, as long as there are any.
  platform:
    platforms: linux
requirements:
  - Python 3.6 or newer
author:
  - The seamless.migration authors (@seamless-migration)
seealso:
  - module: seamless.migration.bulk_copy
"""

EXAMPLES = r"""
- name: Deal the lists that nobody has copied yet
  seamless.migration.bulk_deal:
    job: data
    workers: [worker1, worker2]
    bwlimit_kib_per_s: 51200
  register: round

- name: Copy what this worker was dealt
  seamless.migration.bulk_copy:
    job: data.worker
    mode: lists
    src: /mnt/old/files
    dest: rsync://migration@files-new.example.org:873/data/
    password_file: /etc/seamless-migration/rsync.secret
    deal: "{{ round.deals[inventory_hostname].deal }}"
    bwlimit_kib_per_s: "{{ round.deals[inventory_hostname].bwlimit_kib_per_s }}"
    lease: 900
  when: inventory_hostname in round.deals
"""

RETURN = r"""
deals:
  description:
    - By worker what it was dealt, C(deal) and C(bwlimit_kib_per_s) as M(seamless.migration.bulk_copy) takes them.
    - Empty when nothing is left for workers, or nobody can take it.
  returned: success
  type: dict
  sample:
    worker1:
      bwlimit_kib_per_s: 25600
      deal:
        id: data-k3hx81_q-2-worker1
        job: data
        folder: .seamless-lists/data-k3hx81_q
        fresh: true
        lists: [[4, f, 2000, 81920000, false]]
workers:
  description: The workers that can take lists.
  returned: success
  type: list
  elements: str
  sample: [worker1]
round:
  description: How often lists were dealt so far.
  returned: success
  type: int
  sample: 2
lists_left:
  description: Lists that are left for workers after this round.
  returned: success
  type: int
  sample: 117
files_done:
  description: Files in the lists that were copied.
  returned: success
  type: int
  sample: 84000
bytes_done:
  description: Bytes of their contents.
  returned: success
  type: int
  sample: 3435973836
files_total:
  description: Files of the tree.
  returned: success
  type: int
  sample: 120000
bytes_total:
  description: Bytes of their contents.
  returned: success
  type: int
  sample: 4831838208
files:
  description: Regular files that the workers have transferred.
  returned: success
  type: int
  sample: 84000
bytes:
  description: Bytes of their contents.
  returned: success
  type: int
  sample: 3435973836
seconds:
  description: How long the workers have copied, all rounds together.
  returned: success
  type: float
  sample: 731.2
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.rsync import deal, job
from ansible_collections.seamless.migration.plugins.module_utils.rsync.binary import RsyncError


def argument_spec():
    return {
        "job": {"type": "str", "required": True},
        "workers": {"type": "list", "elements": "str", "default": []},
        "results": {"type": "list", "elements": "dict", "default": [], "options": {
            "worker": {"type": "str", "required": True},
            "state": {"type": "str", "required": True},
            "deal": {"type": "str"},
            "lists_done": {"type": "list", "elements": "int", "default": []},
            "files": {"type": "int", "default": 0},
            "bytes": {"type": "int", "default": 0},
            "seconds": {"type": "float", "default": 0},
        }},
        "bwlimit_kib_per_s": {"type": "int", "default": 0},
        "state_dir": {"type": "path", "default": job.HOME},
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        outcome = deal.perform(module.params, module.check_mode)
    except (RsyncError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
