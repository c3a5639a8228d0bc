#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: firewall_port
short_description: Open or close a port in whatever filters on the host
version_added: 0.1.0
description:
  - Opens or closes a port, for everybody or for given networks only, now and after a restart.
  - Works with firewalld (running, or only enabled), with ufw, and with a plain nftables ruleset.
  - Reads the rules again after the change, and fails when they are not what was asked for.
  - Rules that were not made by this module stay. O(state=absent) removes exactly what O(state=present) made.
  - Changes nothing where nothing filters, and says so.
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
  port:
    description:
      - A port, or a range such as V(8000-8010).
    type: str
    default: "873"
  protocol:
    description:
      - The transport protocol.
    type: str
    choices: [tcp, udp]
    default: tcp
  sources:
    description:
      - Addresses and networks, IPv4 or IPv6, that the port is opened for. Without them it is opened for everybody.
      - Networks that are no longer listed are taken out, as far as this module put them in.
      - With O(state=absent), only the rules for these networks are removed. Without them, all that this module made
        for the port.
    type: list
    elements: str
    default: []
  zone:
    description:
      - The firewalld zone. Others know no zones and ignore it.
      - Without it, the zone is chosen in which the traffic arrives. For O(sources), that is the zone bound to them,
        else the zone of the interface that leads to them; for everybody, it is the default zone, unless all interfaces
        are in one other zone.
      - A zone that does not exist is an error before anything is changed.
    type: str
  state:
    description:
      - Whether the port is to be open.
    type: str
    choices: [present, absent]
    default: present
  backend:
    description:
      - What to write the rules to. V(auto) takes what filters on this host.
      - With V(none) nothing is changed.
    type: str
    choices: [auto, firewalld, ufw, nftables, none]
    default: auto
notes:
  - In firewalld, a network is put in as a rich rule. What was made is remembered in
    C(/var/lib/seamless-migration/firewall.json).
  - In ufw and nftables, the rules carry the comment C(seamless.migration) and the port.
  - In nftables, a rule is inserted before the first rule of the input chain that denies the traffic. Rules that deny
    only some of it, such as a list of blocked addresses, stay in front. Where C(nftables.service) is enabled, the rule
    is saved in a file that is included from the configuration of that service. At boot it comes first in its chain.
  - Rules of iptables are not supported, and the module fails where they deny the traffic.
"""

EXAMPLES = r"""
- name: Open the port of the rsync daemon for the old server only
  seamless.migration.firewall_port:
    port: "873"
    sources:
      - 192.0.2.10

- name: Open a range for everybody in a zone
  seamless.migration.firewall_port:
    port: "8000-8010"
    zone: internal

- name: Close it again, leaving what others opened
  seamless.migration.firewall_port:
    port: "873"
    state: absent
"""

RETURN = r"""
backend:
  description: What the rules were written to.
  returned: success
  type: str
  sample: firewalld
filtering:
  description: Whether anything filters on this host.
  returned: success
  type: bool
  sample: true
zones:
  description: The firewalld zones that have, or had, the rules. Empty with other backends.
  returned: success
  type: list
  elements: str
  sample: [public]
effective:
  description: The rules that concern the port, as read back after the change. In check mode, as they would be.
  returned: success
  type: list
  elements: str
  sample:
    - 'public permanent: rule family="ipv4" source address="192.0.2.10" port port="873" protocol="tcp" accept'
commands:
  description: The commands that were run, or would be run in check mode.
  returned: success
  type: list
  elements: list
  sample:
    - [/usr/bin/firewall-cmd, --zone=public, --add-port=873/tcp]
persistent:
  description: Whether the rules are there after a restart.
  returned: success
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError
from ansible_collections.seamless.migration.plugins.module_utils.host.firewall import FirewallError, manage
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import (
    OptionError,
    refuse_control_characters,
)


def argument_spec():
    return {
        "port": {"type": "str", "default": "873"},
        "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
        "sources": {"type": "list", "elements": "str", "default": []},
        "zone": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "backend": {
            "type": "str",
            "choices": ["auto", "firewalld", "ufw", "nftables", "none"],
            "default": "auto",
        },
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        refuse_control_characters(module.params)
        change = manage(module.params)
        if change.differs and not module.check_mode:
            change.apply()
        elif not change.differs:
            change.check()
    except (FirewallError, OptionError) as error:
        module.fail_json(msg=str(error))
    except (CommandError, FileError) as error:
        module.fail_json(
            msg="Failed to change port %s/%s in the firewall: %s. Mend that, then run again."
            % (module.params["port"], module.params["protocol"], error)
        )
    for warning in change.plan.warnings:
        module.warn(warning)
    module.exit_json(changed=change.differs, diff=change.diff(), **change.result())


if __name__ == "__main__":
    main()
