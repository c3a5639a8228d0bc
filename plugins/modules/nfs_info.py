#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: nfs_info
short_description: Tell what an NFS server exports, who its clients are, and whether it takes locks
version_added: 0.1.0
description:
  - Reads the kernel's own files, the table of exports and the list of mounts of version 3. No mount is touched, so that
    a dead server hangs nothing.
  - No list of clients is complete. The kernel knows those of version 4 that it heard of lately. C(rmtab) has those that
    asked for a mount of version 3, and keeps some that are long gone. The connections show who is there now. What was
    seen how stands with each client.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.info_module
author:
  - The seamless.migration authors (@seamless-migration)
options:
  timeout:
    description:
      - Seconds for each look-up of a name.
    type: int
    default: 5
  hosts:
    description:
      - Addresses for which RV(rights) tells what the exports give them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look who uses the server
  seamless.migration.nfs_info:
  register: server

- name: Say it
  ansible.builtin.debug:
    msg: "{{ server.clients | map(attribute='address') }}"
"""

RETURN = r"""
running:
  description: Whether the kernel serves NFS.
  returned: success
  type: bool
versions:
  description: Versions of the protocol that it serves.
  returned: success
  type: list
  elements: str
  sample: ["3", "4", "4.1", "4.2"]
takes_locks:
  description: Whether it serves, and no grace period holds up the locks.
  returned: success
  type: bool
grace:
  description: Whether the grace period is over, for C(v3) and C(v4), where the kernel tells.
  returned: success
  type: dict
exports:
  description: What is exported now.
  returned: success
  type: list
  elements: dict
  contains:
    path: {description: The directory., type: str}
    client: {description: To whom., type: str}
    read_only: {description: Whether clients may only read., type: bool}
    fsid: {description: "Its C(fsid), empty when none was given.", type: str}
clients:
  description: Who uses the server, by all that is known.
  returned: success
  type: list
  elements: dict
  contains:
    address: {description: "Its address, or what stands in C(rmtab) when that has none.", type: str}
    name: {description: What it calls itself., type: str}
    versions: {description: Versions of the protocol., type: list, elements: str}
    seen: {description: "Where it was seen, of C(version 4), C(rmtab) and C(connection).", type: list, elements: str}
    paths: {description: What it has mounted or may have mounted., type: list, elements: str}
rights:
  description:
    - What the exports give to each of O(hosts). Of several clients of an export that mean it, the one that counts.
  returned: success
  type: list
  elements: dict
  contains:
    host: {description: The address., type: str}
    path: {description: The directory., type: str}
    client: {description: To whom it is exported., type: str}
    rights:
      description:
        - What decides who may do what, in the words of C(exports(5)). Where there are several security flavours, those
          of each begin with its name.
      type: list
      elements: str
      sample: [sec=sys, rw, root_squash, anonuid=65534, anongid=65534]
mounts:
  description: What this host has mounted by NFS itself.
  returned: success
  type: list
  elements: dict
  contains:
    path: {description: Where., type: str}
    source: {description: From what., type: str}
    address: {description: Address of the server., type: str}
    version: {description: Version of the protocol., type: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError, printable
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.server_view import Names, view


def main():
    module = AnsibleModule(
        argument_spec={
            "timeout": {"type": "int", "default": 5},
            "hosts": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        found = view(names=Names(module.params["timeout"]), hosts=module.params["hosts"])
    except (NfsError, FileError, OSError) as error:
        module.fail_json(msg="Failed to look at the NFS server: %s." % str(error).rstrip("."))
    module.exit_json(changed=False, **printable(found))


if __name__ == "__main__":
    main()
