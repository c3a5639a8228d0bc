#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: nfs_lock
short_description: Manage the lock service of NFS version 3
version_added: 0.1.0
description:
  - Starts or stops the lock service under the name that it has here, C(nfslock), C(nfs-lock), C(rpc-statd) or
    C(nfs-common), with systemd and with init scripts, and fixes its ports and those of its companions.
  - Does nothing where only NFS version 4 is used, and says so. Version 4 has its locks built in.
  - Refuses to stop the service while locks are held, and names holder and file.
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
  state:
    description:
      - V(started) starts it when it is needed. It is not enabled under systemd, because the NFS server and
        C(mount.nfs) start it themselves.
      - V(stopped) stops it, until something needs it again.
      - V(disabled) stops it and keeps it from being started. Under systemd the unit is masked.
    type: str
    choices: [started, stopped, disabled]
    default: started
  statd_port:
    description:
      - Port of rpc.statd.
    type: int
  lockd_port:
    description:
      - TCP port of lockd.
    type: int
  lockd_udp_port:
    description:
      - UDP port of lockd. That of TCP when it is not given.
    type: int
  mountd_port:
    description:
      - Port of rpc.mountd.
    type: int
  allow_held_locks:
    description:
      - Whether to stop the service although locks are held.
    type: bool
    default: false
notes:
  - A well-known recipe stops or kills C(nfslock) before a server is switched. It releases no lock. The locks are kept
    by the kernel, and end when the process that holds them ends or its mount goes. Stopping the service only keeps
    clients from being told when a server restarts, and then they lose their locks without a word.
  - With NFS version 4 stopping it has no effect at all.
  - It helps in one case, on old kernels, where a restarted client or server left a stale state in
    C(/var/lib/nfs/sm), so that locks of processes that are gone stay held. Then stop the service on both sides, with
    O(allow_held_locks=true), and start it again.
  - Ports are written to C(/etc/nfs.conf), or to C(/etc/sysconfig/nfs) where that is what the system reads. Open them
    with M(seamless.migration.firewall_port) as RV(ports) lists them.
"""

EXAMPLES = r"""
- name: Fix the ports of NFSv3 for the firewall
  seamless.migration.nfs_lock:
    statd_port: 32765
    lockd_port: 32768
    mountd_port: 20048
  register: nfs_lock

- name: Open them
  seamless.migration.firewall_port:
    port: "{{ item.port }}"
    protocol: "{{ item.protocol }}"
    sources: [192.0.2.0/24]
  loop: "{{ nfs_lock.ports }}"

- name: Have it no longer, because all clients use version 4
  seamless.migration.nfs_lock:
    state: disabled
"""

RETURN = r"""
service:
  description: The name that the lock service has here. Empty when nothing was to be done.
  returned: success
  type: str
  sample: rpc-statd
init:
  description: What starts services here, C(systemd) or C(sysv).
  returned: success
  type: str
needed:
  description: Whether this host has to do with NFS version 2 or 3.
  returned: success
  type: bool
reason:
  description: Why RV(needed) is as it is.
  returned: success
  type: str
  sample: The NFS server here serves version 4 only, which needs no lock service.
steps:
  description: What was done, or would be in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [configure, start]
held:
  description: Locks that were held although the service was stopped.
  returned: success
  type: list
  elements: dict
  contains:
    side:
      description: C(client) for a process of this host, C(server) for clients of this server.
      type: str
    pid:
      description: The process that the kernel notes.
      type: int
    holder:
      description: Who holds it.
      type: str
    file:
      description: The file.
      type: str
ports:
  description: What clients have to reach, when ports are fixed.
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: Whose port it is.
      type: str
    port:
      description: The port.
      type: int
    protocol:
      description: C(tcp) or C(udp).
      type: str
restart_needed:
  description: Services that listen on their new port only after a restart, C(mountd) and C(lockd). Both come with the
    NFS server. Restart that long before a cutover, because of its grace period.
  returned: success
  type: list
  elements: str
config_file:
  description: The file that has the ports. Empty without ports.
  returned: success
  type: str
  sample: /etc/nfs.conf
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError, printable
from ansible_collections.seamless.migration.plugins.module_utils.host.services import ServiceError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError
from ansible_collections.seamless.migration.plugins.module_utils.nfs.lock_service import plan


def argument_spec():
    return {
        "state": {"type": "str", "choices": ["started", "stopped", "disabled"], "default": "started"},
        "statd_port": {"type": "int"},
        "lockd_port": {"type": "int"},
        "lockd_udp_port": {"type": "int"},
        "mountd_port": {"type": "int"},
        "allow_held_locks": {"type": "bool", "default": False},
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        change = plan(module.params)
        if change.differs and not module.check_mode:
            change.apply()
    except (NfsError, CommandError, FileError, ServiceError) as error:
        verb = {"started": "start", "stopped": "stop", "disabled": "disable"}[module.params["state"]]
        module.fail_json(msg="Failed to %s the lock service of NFS: %s." % (verb, str(error).rstrip(".")))
    if change.idle:
        module.warn("The lock service was left as it is. %s" % change.reason)
    module.exit_json(changed=change.differs, diff=change.diff(), **printable(change.result()))


if __name__ == "__main__":
    main()
