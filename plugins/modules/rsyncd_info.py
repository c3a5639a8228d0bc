#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: rsyncd_info
short_description: Ask an rsync daemon whether it would serve this host, and what to mend if not
version_added: 0.1.0
description:
  - Talks the protocol of the rsync daemon, up to the point where a transfer would begin, and says in one word what it
    found, with a sentence
    that tells the operator what to mend.
  - Needs no rsync on the host that it runs on. Run it on the host that will be the client, because firewalls and
    C(hosts allow) look at that one.
  - Transfers nothing. A daemon whose module has C(early exec) or C(post-xfer exec) runs these commands, as for any
    client.
author:
  - The seamless.migration authors (@seamless-migration)
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.info_module
options:
  host:
    description: Name or address of the daemon's host.
    type: str
    default: 127.0.0.1
  port:
    description: TCP port of the daemon.
    type: int
    default: 873
  module:
    description: Module to ask for. Without it the daemon is asked for its list of modules.
    type: str
  user:
    description: User for a module that has C(auth users).
    type: str
  password:
    description: Password of O(user). It does not travel; the daemon's challenge is answered with a digest.
    type: str
  timeout:
    description: Seconds for everything together, name look-up included.
    type: int
    default: 10
  source_address:
    description: Address of this host to come from. The kernel chooses when it is not given.
    type: str
  module_known:
    description:
      - Whether it is known that the daemon has the module. rsync answers C(Unknown module) also to an address that it
        does not allow, when the
        module is not listed; with V(true) that answer is reported as V(denied).
    type: bool
    default: false
  require:
    description: Statuses that are wanted. The task fails with the advice on any other. Without it no status is a
      failure.
    type: list
    elements: str
    choices: [ok, refused, filtered, unreachable, denied, auth_required, auth_failed, unknown_module, not_rsync, busy,
      error]
seealso:
  - module: seamless.migration.rsyncd_module
  - module: seamless.migration.firewall_port
"""

EXAMPLES = r"""
- name: Ask the new server from the old one
  seamless.migration.rsyncd_info:
    host: "{{ migration_target_address }}"
    module: data
    user: migration
    password: "{{ migration_rsync_secret }}"
    require: ok

- name: Look which modules a daemon lists
  seamless.migration.rsyncd_info:
    host: files-new.example.com
  register: daemon
"""

RETURN = r"""
status:
  description:
    - V(ok) the daemon serves the module, or listed its modules.
    - V(refused) nothing listens there.
    - V(filtered) a firewall rejects the connection.
    - V(unreachable) no answer, no route, no machine or no such name.
    - V(denied) the daemon does not serve this address.
    - V(auth_required) the module asks for a user, and none was given.
    - V(auth_failed) user or password are wrong.
    - V(unknown_module) the daemon has no such module, or hides it from this address.
    - V(not_rsync) something else answers on the port.
    - V(busy) the module has all its connections in use.
    - V(error) the daemon reports another error, see RV(message), or does not go on.
  returned: success
  type: str
advice:
  description: What to mend, empty when RV(status) is V(ok).
  returned: success
  type: str
message:
  description: The daemon's own words when it refuses.
  returned: success
  type: str
  sample: "@ERROR: auth failed on module data"
protocol:
  description: The daemon's protocol number, null when it sent none.
  returned: success
  type: int
  sample: 32
greeting:
  description: The line with which the daemon greets.
  returned: success
  type: str
  sample: "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4"
digests:
  description: Digests that the daemon offers for passwords. Empty for a daemon older than 3.2.7.
  returned: success
  type: list
  elements: str
motd:
  description: The daemon's message of the day.
  returned: success
  type: str
modules:
  description: Modules that the daemon lists, when they were asked for (no O(module), or an unknown one).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the module.
      type: str
    comment:
      description: Its comment.
      type: str
latency_ms:
  description: Milliseconds until the connection stood, null when it did not.
  returned: success
  type: float
source_address:
  description: Address that this host came from; where the daemon named the address that it saw, that one.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_protocol import (
    STATUSES,
    Probe,
    ProbeError,
)


def main():
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 873},
            "module": {"type": "str"},
            "user": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "timeout": {"type": "int", "default": 10},
            "source_address": {"type": "str"},
            "module_known": {"type": "bool", "default": False},
            "require": {"type": "list", "elements": "str", "choices": list(STATUSES)},
        },
        supports_check_mode=True,
    )
    params = dict(module.params)
    require = params.pop("require")
    try:
        result = Probe(**params).run()
    except ProbeError as error:
        module.fail_json(msg="Failed to ask %s port %d: %s." % (params["host"], params["port"], error))
    if require and result["status"] not in require:
        module.fail_json(
            msg="Failed to find %s port %d %s: it is %s. %s"
            % (params["host"], params["port"], " or ".join(require), result["status"], result["advice"]),
            **result,
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
