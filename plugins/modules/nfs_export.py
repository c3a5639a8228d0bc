#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: nfs_export
short_description: Export one directory to one client over NFS
version_added: 0.1.0
description:
  - Manages one pair of a path and a client, in a file of its own below C(/etc/exports.d) or in C(/etc/exports). Every
    other byte of the file stays.
  - Reads all exports files as C(exportfs) does, before anything is written. One entry that C(exportfs) cannot read
    makes it drop all later entries of that file, so the module names file, line and cause, and refuses to go on.
  - Refuses a blank between a client and its bracket, which exports to everybody, and shows the correction.
  - Runs C(exportfs -r) and compares the table of exports with what was asked for. When they differ, the file is put
    back.
  - Exports that were made by hand, and are in no file, are kept.
extends_documentation_fragment:
  - seamless.migration.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - The seamless.migration authors (@seamless-migration)
options:
  path:
    description:
      - The directory. Blanks and other special characters are escaped by the module.
    type: str
    required: true
  client:
    description:
      - A host name, an address, a network (C(192.0.2.0/24), C(2001:db8::/64)), a pattern of names (C(*.example.com)), a
        C(@netgroup), or C(*) for everybody.
    type: str
    required: true
  state:
    description:
      - With V(absent) this one export is taken out of O(file) and is no longer exported. All others stay.
    type: str
    choices: [present, absent]
    default: present
  file:
    description:
      - The file to manage it in, C(/etc/exports) or a name below C(/etc/exports.d) that ends in C(.exports).
      - Without it, the export has a file of its own below C(/etc/exports.d), so that no error elsewhere can drop it.
    type: str
  read_only:
    description:
      - Whether the client may only read.
    type: bool
    default: true
  sync:
    description:
      - Whether the server answers only once data is on the disk. Without it, a crash of the server loses what was
        acknowledged.
    type: bool
    default: true
  subtree_check:
    description:
      - Whether the server checks that each file is below the path. It breaks files that are renamed while they are
        open.
    type: bool
    default: false
  squash:
    description:
      - Whose requests are done as the anonymous user. V(root) is root only, V(all) is everybody, V(none) is nobody.
    type: str
    choices: [root, all, none]
    default: root
  anonuid:
    description:
      - User id of the anonymous user.
    type: int
  anongid:
    description:
      - Group id of the anonymous user.
    type: int
  fsid:
    description:
      - Identity of the file system for clients. A number, a UUID, or V(root).
      - Two paths with the same one are refused. After a copy by files, the new server needs another one than the old,
        so that old file handles fail cleanly.
    type: str
  sec:
    description:
      - Security flavours in the order of preference. Without it, C(sys).
    type: list
    elements: str
    choices: [sys, krb5, krb5i, krb5p, none]
    default: []
  crossmnt:
    description:
      - Whether file systems mounted below the path are exported with it.
    type: bool
  secure:
    description:
      - Whether requests have to come from a port below 1024.
    type: bool
  write_delay:
    description:
      - Whether the server may wait a moment with a write, to join it with the next.
    type: bool
  require_mountpoint:
    description:
      - Whether to export the path only while something is mounted there, so that clients never see the empty directory
        below.
    type: bool
    default: false
  extra:
    description:
      - Further options, as in the manual page of exports.
    type: list
    elements: str
    default: []
  require_path:
    description:
      - Whether the path has to be there.
    type: bool
    default: true
  timeout:
    description:
      - Seconds that C(exportfs) may take. It looks up names.
    type: int
    default: 60
notes:
  - The same path may have any number of clients, each with a task of its own.
  - An entry for the same path and client in another file is an error, because C(exportfs) takes the first and ignores
    the other.
"""

EXAMPLES = r"""
- name: Export the files to the web servers, for writing
  seamless.migration.nfs_export:
    path: /srv/files
    client: 192.0.2.0/24
    read_only: false
    squash: none
    fsid: "17"

- name: Keep an entry in /etc/exports
  seamless.migration.nfs_export:
    path: /srv/archive
    client: "@backup"
    file: /etc/exports

- name: Take it back
  seamless.migration.nfs_export:
    path: /srv/files
    client: 192.0.2.0/24
    state: absent
"""

RETURN = r"""
file:
  description: The file that has the export, or had it.
  returned: success
  type: str
  sample: /etc/exports.d/seamless-srv-files-192.0.2.0-24-1f0c3c6e.exports
entry:
  description: The line for this path and client as the module would write it. Empty with O(state=absent).
  returned: success
  type: str
  sample: /srv/files 192.0.2.0/24(rw,sync,no_subtree_check,no_root_squash,no_all_squash,fsid=17)
exported:
  description: Whether the table of exports has this path and client. In check mode, whether it has it now.
  returned: success
  type: bool
clients:
  description: All clients that the path is exported to.
  returned: success
  type: list
  elements: str
  sample: [192.0.2.0/24]
commands:
  description: The commands that were run.
  returned: success
  type: list
  elements: list
  sample:
    - [/usr/sbin/exportfs, -r]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError, printable
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import (
    OptionError,
    refuse_control_characters,
)
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.export_plan import plan


def argument_spec():
    return {
        "path": {"type": "str", "required": True},
        "client": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "file": {"type": "str"},
        "read_only": {"type": "bool", "default": True},
        "sync": {"type": "bool", "default": True},
        "subtree_check": {"type": "bool", "default": False},
        "squash": {"type": "str", "choices": ["root", "all", "none"], "default": "root"},
        "anonuid": {"type": "int"},
        "anongid": {"type": "int"},
        "fsid": {"type": "str"},
        "sec": {
            "type": "list",
            "elements": "str",
            "choices": ["sys", "krb5", "krb5i", "krb5p", "none"],
            "default": [],
        },
        "crossmnt": {"type": "bool"},
        "secure": {"type": "bool"},
        "write_delay": {"type": "bool"},
        "require_mountpoint": {"type": "bool", "default": False},
        "extra": {"type": "list", "elements": "str", "default": []},
        "require_path": {"type": "bool", "default": True},
        "timeout": {"type": "int", "default": 60},
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        refuse_control_characters(params)
        change = plan(params)
        if change.differs and not module.check_mode:
            change.apply()
    except OptionError as error:
        module.fail_json(msg=str(error))
    except (NfsError, CommandError, FileError) as error:
        what = "export" if params["state"] == "present" else "un-export"
        cause = str(error).rstrip(".")
        module.fail_json(msg="Failed to %s %s to %s: %s." % (what, params["path"], params["client"], cause))
    for warning in change.warnings:
        module.warn(printable(warning))
    module.exit_json(changed=change.differs, diff=printable(change.diff()), **printable(change.result()))


if __name__ == "__main__":
    main()
