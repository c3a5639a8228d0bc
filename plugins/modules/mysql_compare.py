#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_compare
short_description: Prove that two servers of MySQL have the same data
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Compares tables in chunks along their key, on both servers at once, while replication runs and people write. The
    servers hash the rows; every byte of every column counts, whatever its collation, and so do NULL, blanks at the end
    and the last digit of a float.
  - A chunk that differs is looked at by row. The source is read, then its GTID set, then the target once it has
    executed that set, then the source again. Only what the source had all that time and the target has not counts as a
    difference.
  - Tables without a primary key, and without a unique one whose columns cannot be NULL, are compared as a whole.
  - Definitions of schemas, tables, views, routines, triggers and events are compared as well, without AUTO_INCREMENT,
    without the status of events and without what versions spell differently.
  - Takes no locks. Columns that are generated when they are read (VIRTUAL) are not compared.
  - It needs SELECT on the tables, REPLICATION CLIENT, SELECT on performance_schema, and for definitions SHOW VIEW,
    SHOW_ROUTINE, TRIGGER and EVENT.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.job
  - seamless.migration.attributes.info_module
  - seamless.migration.mysql.endpoints
options:
  schemas:
    description:
      - Schemas to compare. All that are not the server's own when empty.
    type: list
    elements: str
    default: []
  tables:
    description:
      - Compare only these, as C(schema.table).
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Leave these out, as C(schema.table), or C(schema.*) for all tables of a schema.
    type: list
    elements: str
    default: []
  definitions:
    description:
      - Whether definitions are compared.
    type: bool
    default: true
  floats:
    description:
      - How columns of type FLOAT are compared. V(exact) by every bit. V(shown) by the six digits that the server shows
        and that C(mysqldump) writes, so that a target that was loaded from a dump has no more of them.
    type: str
    choices: [exact, shown]
    default: exact
  workers:
    description:
      - How many chunks are compared at the same time, V(1) to V(64). Each takes one connection and at most one
        processor of each server.
    type: int
    default: 2
  chunk_ms:
    description:
      - What a chunk should take, in milliseconds. The number of rows follows from it.
    type: int
    default: 250
  chunk_rows:
    description:
      - Rows of a chunk, instead of a number that follows from O(chunk_ms).
    type: int
  max_lag_ms:
    description:
      - Pause while the target is more than this behind the source. V(0) never pauses.
    type: int
    default: 1000
  lag_timeout:
    description:
      - Seconds that a pause may last before the module fails.
    type: int
    default: 900
  settle_timeout:
    description:
      - Seconds to wait until the target has executed what the source had when a chunk differed. After them the rows are
        V(unsettled).
    type: int
    default: 60
  query_timeout:
    description:
      - Seconds that one statement may take. Tables without a key are read by one statement.
    type: int
    default: 3600
  max_differences:
    description:
      - Rows of one table after which the rest of it is not looked at.
    type: int
    default: 10000
  resume_file:
    description:
      - File from which an interrupted comparison goes on. Made 0600, kept up to date while it runs, and removed at its
        end. One of other servers or tables, or one that was left more than six hours ago, is not used.
    type: path
  differences_file:
    description:
      - File for the keys of all rows that differ, as JSON lines. Made 0600, and replaced at each run that does not go
        on with an earlier one.
    type: path
  state_dir:
    description:
      - Folder for jobs, made when it is missing.
    type: path
    default: ~/.seamless-migration/mysql-compare
seealso:
  - module: seamless.migration.mysql_seed
  - module: seamless.migration.mysql_switchover
"""

EXAMPLES = r"""
- name: Compare everything while replication runs
  seamless.migration.mysql_compare:
    source:
      login_host: db-old.example.com
      login_user: migration_admin
      login_password: "{{ vault_old }}"
    target:
      login_host: db-new.example.com
      login_user: migration_admin
      login_password: "{{ vault_new }}"
    workers: 4
    max_lag_ms: 500
    resume_file: /srv/ops/migration/compare.resume
    differences_file: /srv/ops/migration/compare.jsonl
  register: compared

- name: Compare one schema but its largest table
  seamless.migration.mysql_compare:
    source: "{{ database_old }}"
    target: "{{ database_new }}"
    schemas: [shop]
    exclude: [shop.page_views]
"""

RETURN = r"""
equal:
  description: Whether data and definitions are proven equal. Null in check mode.
  returned: success
  type: bool
data_equal:
  description: Whether the data of all tables are proven equal.
  returned: success, except in check mode
  type: bool
tables:
  description: The result of each table.
  returned: success
  type: list
  elements: dict
  contains:
    schema:
      description: Its schema.
      type: str
    table:
      description: Its name.
      type: str
    state:
      description:
        - V(equal), or V(different).
        - V(unsettled) when rows differed, but could not be looked at at one GTID set, see O(settle_timeout).
        - V(lost) or V(extra) when only one of the servers has the table.
        - V(not_comparable) when its columns are not the same.
        - V(planned) in check mode.
      type: str
    reason:
      description: Why, where it is not plain.
      type: str
    key:
      description: The columns along which it was read. Empty for a table that was compared as a whole.
      type: list
      elements: str
    rows:
      description: Rows of the source. In check mode about how many.
      type: int
    bytes:
      description: About how large the table is. Only in check mode.
      type: int
    rows_target:
      description: Rows of the target at the first look.
      type: int
    chunks:
      description: Chunks that were compared.
      type: int
    settled_chunks:
      description: Chunks that differed at the first look.
      type: int
    lost:
      description: Rows that the target has not.
      type: int
    extra:
      description: Rows that only the target has.
      type: int
    different:
      description: Rows with other values.
      type: int
    unsettled:
      description: Rows that could not be settled.
      type: int
definitions:
  description: Objects that are defined differently, each with C(schema), C(object), C(kind), C(source) and C(target).
  returned: success
  type: list
  elements: dict
  sample: [{schema: shop, object: view sales, kind: lost, source: SELECT 1, target: null}]
counts:
  description: Totals of the tables, and by C(tables_) and a state the number of tables in it.
  returned: success, except in check mode
  type: dict
  sample: {tables: 12, tables_equal: 11, tables_different: 1, rows: 120000, chunks: 31, different: 1, definitions: 0}
differences:
  description: The first 100 differences, each with C(schema), C(table), C(kind) and C(key).
  returned: success, except in check mode
  type: list
  elements: dict
  sample: [{schema: shop, table: orders, kind: different, key: {id: 42}}]
by_gtid:
  description: Whether both servers have GTIDs on, so that what differs was settled at one GTID set.
  returned: success
  type: bool
resumed:
  description: Whether an interrupted comparison was gone on with.
  returned: success, except in check mode
  type: bool
lag_ms_max:
  description: The longest that the target took to have what the source had.
  returned: success, except in check mode
  type: int
paused_seconds:
  description: How long the comparison waited for the target to catch up.
  returned: success, except in check mode
  type: float
seconds:
  description: How long it took.
  returned: success, except in check mode
  type: float
queries:
  description: The first 200 statements on each server.
  returned: always
  type: list
  elements: str
progress:
  description: How far the job is.
  returned: with O(job), while it runs
  type: dict
  sample: {table: shop.orders, rows: 120000, rows_total: 200000, tables: 3, tables_total: 12, seconds: 14.5}
state:
  description: V(running), or V(done).
  returned: with O(job)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.job import LEASE_S, LOOK_S, Job, begin_or_look
from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_work import Work
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import endpoint_spec, run_module


def argument_spec():
    """The options of the module."""
    names = {"type": "list", "elements": "str", "default": []}
    return {
        "source": {"type": "dict", "required": True, "options": endpoint_spec()},
        "target": {"type": "dict", "required": True, "options": endpoint_spec()},
        "schemas": names,
        "tables": names,
        "exclude": names,
        "definitions": {"type": "bool", "default": True},
        "floats": {"type": "str", "choices": ["exact", "shown"], "default": "exact"},
        "workers": {"type": "int", "default": 2},
        "chunk_ms": {"type": "int", "default": 250},
        "chunk_rows": {"type": "int"},
        "max_lag_ms": {"type": "int", "default": 1000},
        "lag_timeout": {"type": "int", "default": 900},
        "settle_timeout": {"type": "int", "default": 60},
        "query_timeout": {"type": "int", "default": 3600},
        "max_differences": {"type": "int", "default": 10000},
        "resume_file": {"type": "path"},
        "differences_file": {"type": "path"},
        "job": {"type": "str"},
        "state_dir": {"type": "path", "default": "~/.seamless-migration/mysql-compare"},
    }


def in_a_job(params):
    """Compare in a process of its own. Returns what is known by now."""
    job = Job(params["state_dir"], params["job"], MySQLMigrationError)

    def compare():
        work = Work(params)
        return dict(work.run(job.tell), queries=work.queries())

    return begin_or_look(job, compare, LOOK_S, LEASE_S)


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    works = []

    def compare():
        if module.params["job"] and not module.check_mode:
            return dict(in_a_job(module.params), changed=False)
        works.append(Work(module.params))
        found = works[0].plan() if module.check_mode else works[0].run()
        return dict(found, changed=False)

    run_module(module, compare, lambda: [statement for work in works for statement in work.queries()])


if __name__ == "__main__":
    main()
