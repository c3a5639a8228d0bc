#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_seed
short_description: Fill an empty server of MySQL from another one, so that it can follow it
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Copies what the source has to the target while the source is in use, and leaves the target with the GTID set that
    belongs to the data, so that replication by auto position goes on from there.
  - V(clone) copies the data files by the plugin C(clone), which it installs and removes as needed. It is by far the
    fastest, needs the same series of MySQL on both sides and a source that is not fenced, and replaces the accounts of
    the target.
  - V(dump) joins C(mysqldump) and C(mysql) by a pipe. They run on the host of the module. Nothing of the dump is ever
    kept anywhere. Accounts are not copied.
  - V(none) is for a snapshot that was restored in another way. It only checks that replication can go on from it.
  - A target that follows from the source already is left as it is.
  - The target is closed to everybody but administrators while it is filled, and fenced (super_read_only, over a restart
    too) when it is. Events are put to sleep there (DISABLED ON REPLICA) before the scheduler may run.
  - A load that breaks off leaves a schema C(seamless_migration_seed) on the target, and no GTID set. The next run
    clears away what it had loaded and begins anew.
  - A seed by clone that is killed leaves the plugin and an account for it behind, whose name begins with
    C(seamless_clone_). The next run takes both away on both servers, whatever its method, before it goes on; V(none)
    only on the source.
  - The seed runs in a process of its own. It survives the end of the play and of the connection; running the task again
    looks on at it. An action plugin of the same name shows the progress.
  - Clone needs BACKUP_ADMIN and CREATE USER on the source, CLONE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN and
    PERSIST_RO_VARIABLES_ADMIN on the target, and INSERT and DELETE on C(mysql.plugin) on both.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.mysql.endpoints
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The names of the target's schemas, not what is in them.
  idempotent:
    support: full
  action:
    description: Shows progress on the controller's screen while the seed runs on the host.
    support: full
options:
  method:
    description:
      - How to copy.
    type: str
    choices: [clone, dump, none]
    required: true
  schemas:
    description:
      - Schemas to copy. All that are not the server's own when empty. Clone copies all of them.
    type: list
    elements: str
    default: []
  overwrite:
    description:
      - Names of schemas of the target that may be lost. A target with any other data is refused.
      - A target that follows from the source already is filled again when this is given.
    type: list
    elements: str
    default: []
  donor_host:
    description:
      - Name or address at which the target reaches the source, for clone. That of O(source) by default.
    type: str
  donor_port:
    description:
      - The port there.
    type: int
  dump_options:
    description:
      - More options for C(mysqldump), as C(--ignore-table=shop.cache).
    type: list
    elements: str
    default: []
  mysqldump_path:
    description:
      - The program C(mysqldump) of MySQL, at least as new as the source.
    type: str
    default: mysqldump
  mysql_path:
    description:
      - The program C(mysql).
    type: str
    default: mysql
  bwlimit_kib_per_s:
    description:
      - Limit of what flows between C(mysqldump) and C(mysql), in KiB a second; V(0) is none.
    type: int
    default: 0
  lock_wait:
    description:
      - Seconds after which C(mysqldump) gives up to hold the tables of the source still for the moment in which it
        begins. Longer queries let it wait, and others wait behind it.
      - It needs a C(mysqldump) with C(--init-command).
    type: int
    default: 10
  timeout:
    description:
      - Seconds for the target's restart at the end of a clone.
    type: int
    default: 1800
  state:
    description:
      - V(done) fills the target and waits for the end. V(started) does not wait. V(status) only asks.
      - V(cleared) copies nothing. It removes what a clone that was killed left behind, on those of the servers that
        take writes.
    type: str
    choices: [done, started, status, cleared]
    default: done
  job:
    description:
      - Name of the seed, for its state under O(state_dir). Made from the target's address by default.
    type: str
  state_dir:
    description:
      - Folder for the state of all seeds on the host of the module, made (0700) when it is missing.
    type: path
    default: ~/.seamless-migration/mysql-seed
requirements:
  - C(mysqldump) and C(mysql) of MySQL on the host of the module, for O(method=dump)
seealso:
  - module: seamless.migration.mysql_replica
  - module: seamless.migration.mysql_compare
"""

EXAMPLES = r"""
- name: Fill the new server by clone
  seamless.migration.mysql_seed:
    source:
      login_host: db-old.example.com
      login_user: migration_admin
      login_password: "{{ vault_old }}"
    target:
      login_host: db-new.example.com
      login_user: migration_admin
      login_password: "{{ vault_new }}"
    method: clone

- name: Load two schemas from a dump, in place of an older copy
  seamless.migration.mysql_seed:
    source: "{{ database_old }}"
    target: "{{ database_new }}"
    method: dump
    schemas: [shop, stock]
    overwrite: [shop]
    bwlimit_kib_per_s: 51200

- name: Check a restored snapshot
  seamless.migration.mysql_seed:
    source: "{{ database_old }}"
    target: "{{ database_new }}"
    method: none
"""

RETURN = r"""
state:
  description: V(done), V(running), V(failed), V(interrupted) when its process was killed, or V(absent).
  returned: success, except in check mode
  type: str
job:
  description: Name of the seed.
  returned: success, except in check mode
  type: str
progress:
  description: How far it is, with C(phase), C(bytes), and where it is known C(bytes_total).
  returned: while it runs
  type: dict
  sample: {phase: FILE COPY, bytes: 104857600, bytes_total: 2147483648}
method:
  description: The method.
  returned: when done, and in check mode
  type: str
schemas:
  description: The schemas that are copied.
  returned: when done, and in check mode
  type: list
  elements: str
dropped:
  description: The schemas of the target that are lost for it.
  returned: when done, and in check mode
  type: list
  elements: str
already:
  description: Whether the target followed from the source before.
  returned: when done, and in check mode
  type: bool
gtid_executed:
  description: The GTID set of the target, from which replication goes on.
  returned: when done
  type: str
bytes:
  description: Bytes that were copied. In check mode about how many.
  returned: when done, and in check mode
  type: int
seconds:
  description: How long it took.
  returned: when done
  type: float
fenced:
  description: Whether the target is fenced now. On RDS, whether read_only is on.
  returned: when it was filled
  type: bool
accounts:
  description: What became of the accounts of the target.
  returned: when it was filled
  type: str
login:
  description: Whose login is valid on the target now, V(target) or V(source).
  returned: when it was filled
  type: str
events_disabled:
  description: Events that sleep on the target until the cutover.
  returned: when done
  type: list
  elements: str
missing_definers:
  description: Definers of views, routines, triggers and events that the target has no account for. They fail when used.
  returned: when done
  type: list
  elements: str
notes:
  description: What is worth knowing before anybody relies on the target. Given as warnings too.
  returned: when done, and in check mode
  type: list
  elements: str
cleared:
  description: From which servers something was removed that a clone had left, V(source) or V(target).
  returned: with O(state=cleared)
  type: list
  elements: str
queries:
  description: The statements that were run on both servers, with secrets masked.
  returned: when done, in check mode, and with O(state=cleared)
  type: list
  elements: str
"""

import hashlib
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.job import Job
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import endpoint_spec, run_module
from ansible_collections.seamless.migration.plugins.module_utils.mysql.seed_work import METHODS, Work

_HOME = "~/.seamless-migration/mysql-seed"


def argument_spec():
    """The options of the module."""
    names = {"type": "list", "elements": "str", "default": []}
    return {
        "source": {"type": "dict", "required": True, "options": endpoint_spec()},
        "target": {"type": "dict", "required": True, "options": endpoint_spec()},
        "method": {"type": "str", "choices": list(METHODS), "required": True},
        "schemas": names,
        "overwrite": names,
        "donor_host": {"type": "str"},
        "donor_port": {"type": "int"},
        "dump_options": names,
        "mysqldump_path": {"type": "str", "default": "mysqldump"},
        "mysql_path": {"type": "str", "default": "mysql"},
        "bwlimit_kib_per_s": {"type": "int", "default": 0},
        "lock_wait": {"type": "int", "default": 10},
        "timeout": {"type": "int", "default": 1800},
        "state": {"type": "str", "choices": ["done", "started", "status", "cleared"], "default": "done"},
        "job": {"type": "str"},
        "state_dir": {"type": "path", "default": _HOME},
    }


def job_of(params):
    """The job that these options mean."""
    target = params["target"]
    where = target["login_unix_socket"] or "%s_%s" % (target["login_host"] or "localhost", target["login_port"] or 3306)
    name = params["job"] or re.sub(r"[^A-Za-z0-9_.-]", "_", where).lstrip(".")
    return Job(params["state_dir"], name, MySQLMigrationError)


def identity(params):
    """What must be the same for a task to look on at a seed that runs already."""
    source = params["source"]
    parts = [params["method"], params["schemas"]]
    parts += [source[name] for name in ("login_host", "login_port", "login_unix_socket")]
    return hashlib.sha256(repr(parts).encode("utf-8")).hexdigest()


def seed(job, params):
    """Do it in this process. Returns the result."""
    work = Work(params, job.tell)
    result = work.run()
    result["queries"] = work.queries()
    return result


def begin(job, params):
    """Begin the seed in a process of its own, unless it runs already."""
    if job.take():
        job.detach(lambda: seed(job, params), identity(params))
    elif job.read().get("identity") != identity(params):
        raise MySQLMigrationError("Failed to seed: another seed of this target, %s, runs in %s. Wait until it ends."
                                  % (job.name, job.folder))


def told(job):
    """What the job says of itself, as a result of the module."""
    value = job.read()
    result = {"state": value["state"], "job": job.name, "changed": False, "queries": []}
    if value["state"] == "done":
        result.update(value["result"])
    for name in ("progress", "msg", "code", "server_text"):
        if name in value:
            result[name] = value[name]
    return result


def work(module):
    """Returns the result of the module."""
    params = module.params
    if params["state"] == "cleared":
        if job_of(params).read()["state"] == "running":
            raise MySQLMigrationError("Failed to clear: the seed %s runs. Wait until it ends." % job_of(params).name)
        clearing = Work(params)
        return dict(clearing.clear(module.check_mode), queries=clearing.queries())
    if module.check_mode and params["state"] != "status":
        looking = Work(params)
        return dict(looking.look(), queries=looking.queries())
    job = job_of(params)
    job.open()
    if params["state"] == "done":
        if not job.take():
            raise MySQLMigrationError("Failed to seed: a seed of this target, %s, runs. Ask for its state." % job.name)
        return dict(seed(job, params), state="done", job=job.name)
    if params["state"] == "started":
        begin(job, params)
    return told(job)


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)

    def told_of():
        result = work(module)
        for note in result.get("notes", []):
            module.warn(note)
        return result

    run_module(module, told_of)


if __name__ == "__main__":
    main()
