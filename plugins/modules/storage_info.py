#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: storage_info
short_description: Tell what a storage host is and what lies in its trees
version_added: 0.1.0
description:
  - Reads what has to be known before a storage server is moved. It reads versions, the clock, accounts, kernel limits,
    file systems, free space and inodes, hard links, and files that are open for writing.
  - Changes nothing.
author:
  - The seamless.migration authors (@seamless-migration)
extends_documentation_fragment:
  - seamless.migration.attributes
attributes:
  check_mode:
    support: full
    details:
      - This module does not modify state.
  diff_mode:
    support: N/A
    details:
      - This module does not modify state.
  idempotent:
    support: full
    details:
      - This module does not modify state.
options:
  trees:
    description: Absolute paths of the trees to look at.
    type: list
    elements: str
    default: []
  units:
    description: Systemd units whose state is wanted, usually those that write to the trees.
    type: list
    elements: str
    default: []
  walk_seconds:
    description:
      - How long, in seconds, the files of one tree are counted at most; V(0) counts nothing.
      - A count that ran out of time says so in RV(trees[].counts.complete).
    type: int
    default: 0
  open_files:
    description: Whether to look for processes that have files of the trees open for writing.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Look at the tree that is to be moved
  seamless.migration.storage_info:
    trees:
      - /srv/files
    units:
      - upload.service
    walk_seconds: 60
    open_files: true
  register: facts
"""

RETURN = r"""
host:
  description:
    - Facts of the host. C(clock) is seconds since 1970; C(rsync), C(lsyncd) and C(python) are versions, null for
      what is not installed; C(users) and C(groups) map names to numbers; C(inotify) has the kernel's limits; C(units)
      the state of the units asked for.
  type: dict
  returned: always
trees:
  description:
    - One entry a tree, in the order asked for. C(counts) is there when O(walk_seconds) is set,
      C(open_files) when O(open_files) is.
    - Of a tree that does not exist the file system is told on which it would be made.
  type: list
  elements: dict
  returned: always
  contains:
    path:
      description: The path that was asked for.
      type: str
      returned: always
    exists:
      description: Whether it is a directory.
      type: bool
      returned: always
    is_link:
      description: Whether it is a symbolic link.
      type: bool
      returned: always
    empty:
      description: Whether nothing but the migration's own files lies in it.
      type: bool
      returned: when it exists
    mountpoint:
      description: Whether something is mounted exactly there.
      type: bool
      returned: when it exists
    mount:
      description: Where the file system that holds it is mounted.
      type: str
      returned: always
    device:
      description: Number of that file system; trees with the same number share its room.
      type: int
      returned: always
    fstype:
      description: Type of that file system.
      type: str
      returned: always
    options:
      description: Mount options of that file system, in order.
      type: list
      elements: str
      returned: always
    read_only:
      description: Whether it is mounted read-only.
      type: bool
      returned: always
    free_bytes:
      description: Bytes that can still be written by ordinary users.
      type: int
      returned: always
    used_bytes:
      description: Bytes in use on that file system.
      type: int
      returned: always
    free_inodes:
      description: Files that can still be made; means nothing where C(inodes_limited) is false.
      type: int
      returned: always
    used_inodes:
      description: Files that exist on that file system.
      type: int
      returned: always
    inodes_limited:
      description: Whether that file system has a limit of files.
      type: bool
      returned: always
    name_max:
      description: Longest name of a file in bytes.
      type: int
      returned: always
    counts:
      description: What lies in the tree, without the migration's own files.
      type: dict
      returned: when O(walk_seconds) is set
      contains:
        files:
          description: Number of entries that are no directories.
          type: int
          returned: always
        directories:
          description: Number of directories.
          type: int
          returned: always
        bytes:
          description: Sizes of the regular files together.
          type: int
          returned: always
        hard_linked:
          description: Number of regular files that have more than one name.
          type: int
          returned: always
        complete:
          description: Whether all was counted. False when time ran out or something could not be read.
          type: bool
          returned: always
    open_files:
      description: Processes that have files open for writing there.
      type: list
      elements: dict
      returned: when O(open_files) is true
      contains:
        pid:
          description: The process.
          type: int
          returned: always
        name:
          description: Its name.
          type: str
          returned: always
        path:
          description: The file, within the tree.
          type: str
          returned: always
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError
from ansible_collections.seamless.migration.plugins.module_utils.host.files import native, printable
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import (
    OptionError,
    refuse_control_characters,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.facts import (
    host_facts,
    open_for_writing,
    tree_facts,
)


def gather(params):
    """Everything that was asked for. Raises OptionError for a path that is not absolute, CommandError, OSError."""
    refuse_control_characters(params)
    for path in params["trees"]:
        if not os.path.isabs(path):
            raise OptionError("trees: %r is not an absolute path" % path)
    trees = []
    for path in params["trees"]:
        facts = tree_facts(path, params["walk_seconds"])
        if params["open_files"] and facts["exists"]:
            facts["open_files"] = open_for_writing(path)
        trees.append(facts)
    return {"host": host_facts(params["units"]), "trees": trees}


def main():
    module = AnsibleModule(
        argument_spec={
            "trees": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "walk_seconds": {"type": "int", "default": 0},
            "open_files": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **printable(gather(native(module.params))))
    except (OptionError, CommandError, OSError) as error:
        module.fail_json(msg="Failed to look at the storage host: %s." % error)


if __name__ == "__main__":
    main()
