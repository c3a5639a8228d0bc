#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: rsyncd_module
short_description: Manage one module of an rsync daemon, its secrets, and the daemon's global keys
version_added: 0.1.0
description:
  - Edits one C([module]) section of C(rsyncd.conf), and the global keys, and keeps every other byte of the file. That
    covers comments, order,
    line ends, other modules, and keys of the same section that this module was not asked for.
  - Reads the file as rsync does. Names ignore case and blanks, C(&include) and C(&merge) are followed, and two
    sections that rsync would
    merge are known as one module.
  - Refuses what rsync would log and ignore, such as unknown keys, keys that are newer than the installed rsync, bad
    booleans and malformed networks.
  - Asks the installed rsync to read the new file, and to enter the module, before the file is put in place.
  - The daemon reads the file at each connection, so nothing is restarted. RV(restart_needed) says when a changed
    global key needs a restart.
  - A C(%NAME%) in a value is replaced by rsync from the environment of the daemon where that has such a variable, and
    stays as it is elsewhere.
author:
  - The seamless.migration authors (@seamless-migration)
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.files
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  config_file:
    description: The configuration file of the daemon.
    type: path
    default: /etc/rsyncd.conf
  name:
    description:
      - Name of the module as clients ask for it. Required unless only O(globals) is given.
    type: str
  state:
    description: Whether the module is there.
    type: str
    choices: [present, absent]
    default: present
  path:
    description: Absolute path of the tree. Required with O(state=present).
    type: str
  comment:
    description: Text that the module list shows. An empty string removes it.
    type: str
  read_only:
    description: Whether clients may only read.
    type: bool
    default: true
  list:
    description:
      - Whether the module shows in the module list. With V(false) rsync also answers an address that it does not allow
        with C(Unknown module).
    type: bool
    default: false
  uid:
    description: User that transfers run as. rsync takes C(nobody) where nothing says otherwise; V(root) is needed to
      keep owners.
    type: str
  gid:
    description: Group or groups that transfers run as, as for O(uid).
    type: str
  use_chroot:
    description: Whether rsync locks itself into O(path).
    type: bool
    default: true
  numeric_ids:
    description: Whether owners are kept by number. rsync does so by itself when it uses chroot.
    type: bool
  munge_symlinks:
    description:
      - Whether rsync rewrites symbolic links to C(/rsyncd-munged/...) so that they cannot be followed.
      - Has to be said when O(use_chroot=false) or when O(path) has a C(/./), because rsync rewrites links there by
        default.
    type: bool
  hosts_allow:
    description:
      - Addresses, networks and names that may use the module. An empty list removes the key, and then everybody may.
    type: list
    elements: str
  hosts_deny:
    description:
      - Addresses, networks and names that may not.
      - V(*) when O(hosts_allow) has entries and this is not given.
    type: list
    elements: str
  auth_users:
    description:
      - Users that may use the module, as V(user), V(user:rw), V(user:ro), V(user:deny) or with C(@group). An empty
        list removes the key.
      - The users of O(secrets) when this is not given.
    type: list
    elements: str
  secrets:
    description:
      - Passwords by user. They are written to O(secrets_file), which belongs to root with mode 0600, before the
        configuration that refers to it.
      - Lines of other users in that file are kept.
    type: dict
  secrets_file:
    description:
      - File with the passwords. When not given and O(secrets) is, the file that the section names already, or else
        C(/etc/seamless-migration/rsyncd.secrets).
    type: str
  max_connections:
    description: Number of connections at once, 0 for no bound, a negative one to close the module.
    type: int
  timeout:
    description: Seconds after which rsync ends a client that sends nothing.
    type: int
  refuse_options:
    description: Options of rsync that clients may not use.
    type: list
    elements: str
  exclude:
    description: Patterns of names that the module hides and protects. rsync splits the value at blanks, so a pattern
      cannot have one.
    type: list
    elements: str
  filter:
    description: Filter rules such as V(- /.snapshot).
    type: list
    elements: str
  temp_dir:
    description: Directory for files that are being received, inside the chroot.
    type: str
  incoming_chmod:
    description: Changes to the permissions of files that come in, as for C(rsync --chmod).
    type: str
  pre_xfer_exec:
    description: Command that runs before each transfer; a failure refuses the transfer.
    type: str
  extra:
    description: Further keys of the section by name. A value that is empty or null removes the key.
    type: dict
  globals:
    description:
      - Keys of the global part by name, among them defaults for all modules. A value that is empty or null removes the
        key.
      - A new key is written before the first module.
    type: dict
  exclusive:
    description: Whether to remove keys of the section that are not asked for here.
    type: bool
    default: false
  require_path:
    description: Whether to fail when O(path) is no directory.
    type: bool
    default: true
  require_mountpoint:
    description:
      - Whether to fail when O(path) is no mount point, and to have rsync check that again before each transfer
        (C(pre-xfer exec)), so that
        a transfer cannot fill the file system below an unmounted tree.
    type: bool
    default: false
  backup:
    description: Whether to keep a copy of the configuration file before a change.
    type: bool
    default: false
  validate:
    description: Whether to let the installed rsync read the new file before it is put in place. Skipped where rsync is
      not installed.
    type: bool
    default: true
seealso:
  - module: seamless.migration.rsyncd_info
"""

EXAMPLES = r"""
- name: Let the old server write into a tree of the new one
  seamless.migration.rsyncd_module:
    name: data
    path: /srv/files
    read_only: false
    uid: root
    gid: root
    hosts_allow:
      - 192.0.2.10
    secrets:
      migration: "{{ migration_rsync_secret }}"

- name: Log to a file and do not ask the name server about each client
  seamless.migration.rsyncd_module:
    globals:
      log file: /var/log/rsyncd.log
      reverse lookup: false

- name: Take the module and its password away
  seamless.migration.rsyncd_module:
    name: data
    state: absent
"""

RETURN = r"""
config_file:
  description: The configuration file.
  returned: success
  type: str
settings:
  description: Keys that the section of the module sets, by rsync's names.
  returned: success
  type: dict
  sample: {"path": "/srv/files", "read only": "no"}
modules:
  description: Names of all modules in the configuration, included files among them.
  returned: success
  type: list
  elements: str
secrets_file:
  description: The secrets file that the module refers to, empty when it has none.
  returned: success
  type: str
users:
  description: Users whose password was written or removed.
  returned: success
  type: list
  elements: str
ignored:
  description: Lines of the configuration that rsync ignores, each with its place and the reason.
  returned: success
  type: list
  elements: str
restart_needed:
  description: Whether a global key changed that the daemon reads only when it starts.
  returned: success
  type: bool
rsync_version:
  description: Version of the installed rsync, empty when there is none.
  returned: success
  type: str
validated:
  description: Whether rsync itself read the new file.
  returned: success
  type: bool
backup_file:
  description: Copy of the configuration file from before the change.
  returned: when O(backup) is true and the file changed
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import (
    OptionError,
    refuse_control_characters,
)
from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_keys import ConfigError
from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_plan import plan, validate


def argument_spec():
    names = {"type": "list", "elements": "str"}
    return {
        "config_file": {"type": "path", "default": "/etc/rsyncd.conf"},
        "name": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "path": {"type": "str"},
        "comment": {"type": "str"},
        "read_only": {"type": "bool", "default": True},
        "list": {"type": "bool", "default": False},
        "uid": {"type": "str"},
        "gid": {"type": "str"},
        "use_chroot": {"type": "bool", "default": True},
        "numeric_ids": {"type": "bool"},
        "munge_symlinks": {"type": "bool"},
        "hosts_allow": dict(names),
        "hosts_deny": dict(names),
        "auth_users": dict(names),
        "secrets": {"type": "dict", "no_log": True},
        "secrets_file": {"type": "str", "no_log": False},
        "max_connections": {"type": "int"},
        "timeout": {"type": "int"},
        "refuse_options": dict(names),
        "exclude": dict(names),
        "filter": dict(names),
        "temp_dir": {"type": "str"},
        "incoming_chmod": {"type": "str"},
        "pre_xfer_exec": {"type": "str"},
        "extra": {"type": "dict"},
        "globals": {"type": "dict"},
        "exclusive": {"type": "bool", "default": False},
        "require_path": {"type": "bool", "default": True},
        "require_mountpoint": {"type": "bool", "default": False},
        "backup": {"type": "bool", "default": False},
        "validate": {"type": "bool", "default": True},
    }


def check_options(module):
    params = module.params
    try:
        refuse_control_characters(params, secret=("secrets",))
    except OptionError as error:
        module.fail_json(msg=str(error))
    if params["name"] is None and not params["globals"]:
        module.fail_json(
            msg="Failed to edit %s: neither name nor globals is given. Say what to manage" % params["config_file"]
        )
    if params["name"] is not None and params["state"] == "present" and params["path"] is None:
        module.fail_json(
            msg="Failed to edit %s: module '%s' has no path. Give one" % (params["config_file"], params["name"])
        )


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    check_options(module)
    extra = {}
    try:
        change = plan(module.params)
        if change.config.differs and module.params["validate"] and not module.check_mode:
            validate(change)
        if change.differs and not module.check_mode:
            copy = change.apply()
            if copy:
                extra["backup_file"] = copy
        extra.update(change.result())
    except (ConfigError, FileError) as error:
        module.fail_json(msg="Failed to edit %s: %s." % (module.params["config_file"], str(error).rstrip(".")))
    for line in extra["ignored"]:
        module.warn(line)
    module.exit_json(changed=change.differs, diff=change.diff() if module._diff else [], **extra)


if __name__ == "__main__":
    main()
