#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mysql_switchover
short_description: Switch the writes from one MySQL server to another, or back
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - The critical section of a MySQL migration, in one process with its connections already open.
  - It checks the gates, waits until the target follows closely, fences the source, reads its final GTID set twice,
    waits until the target has executed it, proves that nothing is missing or too much, records the commit, opens the
    target, writes a canary there, runs the hooks of the operator, and waits until the canary is back on the source.
  - A server is never opened without a reading over a new connection, with its C(server_uuid) checked, that the other
    one is fenced. Fences outlast a restart. In doubt both servers stay fenced.
  - Whatever fails before the commit is put back. After the commit it only goes forward.
  - A run that was killed is run again with the same options. It puts back what did not commit and starts anew, or
    goes on after the commit.
  - The way back is the same with O(source) and O(target) exchanged and O(direction=back). It refuses when the channel
    to the old server is broken.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.mysql.endpoints
attributes:
  check_mode:
    support: full
    details:
      - The same as O(dry_run).
  diff_mode:
    support: full
    details:
      - Shows who takes the writes before and after, and the plan.
  idempotent:
    support: full
options:
  migration:
    description:
      - Name of the migration. Letters, digits, C(_), C(-) and C(.).
    type: str
    required: true
  journal_path:
    description:
      - The journal of the migration, a file with one JSON event a line, on the host where this module runs. Each event
        is on the disk before what it tells is done.
      - A run that was killed can only be finished with the journal that it wrote.
    type: path
    required: true
  state:
    description:
      - V(switched) makes the target take the writes.
      - V(opened) opens the target of a read-only window, see O(strategy).
      - V(read) looks and changes nothing.
    type: str
    choices: [switched, opened, read]
    default: switched
  direction:
    description:
      - V(forward) for the cutover, V(back) for the rollback. It decides what the journal says about who
        takes the writes.
    type: str
    choices: [forward, back]
    default: forward
  strategy:
    description:
      - V(switchover) has the shortest window and one writer at any time.
      - V(read_only_window) stops after the commit with both servers fenced, until O(state=opened).
      - V(bridge) opens the target before the source is fenced, so that nobody ever has to wait. Both take writes until
        the hook C(switch) has ended, and what is written on both can conflict. Needs O(accept_conflicts).
    type: str
    choices: [switchover, read_only_window, bridge]
    default: switchover
  accept_conflicts:
    description:
      - Whether it is accepted that V(bridge) may lead to conflicting writes.
    type: bool
    default: false
  forward_channel:
    description:
      - Name of the channel on the target that follows the source. It is removed last.
    type: str
    default: ""
  reverse_channel:
    description:
      - Name of the channel on the source that follows the target. It keeps the way back open.
    type: str
    default: ""
  dry_run:
    description:
      - Prove everything up to the window, change nothing, and time the fence's statement on the target, which
        stays fenced.
    type: bool
    default: false
  force:
    description:
      - Names of gates that may fail, each of which is recorded. The gates C(gtid), C(server_ids), C(target_fenced),
        C(source_open), C(forward_channel), C(purge_distance) and C(errant) cannot be forced.
      - V(reverse_channel) gives up the way back.
      - V(peer_unreachable) opens one server although the other cannot be asked whether it is fenced. Power the other
        one off first.
    type: list
    elements: str
    default: []
  budget_ms:
    description:
      - Milliseconds from the fence to the commit. Longer, and everything is put back.
    type: int
    default: 10000
  lag_limit_ms:
    description:
      - The window opens when the target executes what the source has within this many milliseconds.
    type: int
    default: 200
  lag_samples:
    description:
      - How many samples in a row have to be below O(lag_limit_ms).
    type: int
    default: 5
  lag_timeout:
    description:
      - Seconds to wait for that.
    type: int
    default: 60
  lock_wait:
    description:
      - Seconds that the fence waits for running statements. New writes wait as long.
    type: int
    default: 2
  long_transactions:
    description:
      - What happens to transactions and statements that run longer than O(long_transaction_s), and to whatever is in
        the way of the fence. V(wait) waits for them, V(kill) ends their connections, V(fail) stops.
      - Transactions that were prepared by XA are never ended.
    type: str
    choices: [wait, kill, fail]
    default: wait
  long_transaction_s:
    description:
      - Seconds after which a transaction or a statement counts as long.
    type: int
    default: 1
  long_transactions_timeout:
    description:
      - Seconds to wait for their end.
    type: int
    default: 30
  blocker_grace_ms:
    description:
      - With V(kill), milliseconds that a statement in the way of the fence has to end by itself.
    type: int
    default: 200
  fast_apply:
    description:
      - Let the target flush less to its disk while it catches up (C(innodb_flush_log_at_trx_commit), C(sync_binlog)).
        Put back before the commit, or by the next run. Not on RDS, and not by V(bridge).
    type: bool
    default: true
  hooks:
    description:
      - Commands of the operator, each as argument vector.
    type: dict
    default: {}
    suboptions:
      pause:
        description: Before the window; holds traffic in a proxy, for example.
        type: list
        elements: list
        default: []
      resume:
        description: After C(switch), and when a switchover is put back, if C(pause) was run.
        type: list
        elements: list
        default: []
      switch:
        description: After the first write on the target; leads traffic there. Tried three times.
        type: list
        elements: list
        default: []
      read_only:
        description:
          - For servers where no statement and no procedure sets C(read_only), as RDS. Sets it in the parameter group of
            the instance whose endpoint is in the environment variable E(SEAMLESS_HOST), to the value of
            E(SEAMLESS_READ_ONLY), V(0) or V(1).
          - The module waits until the server reads so. Raise O(budget_ms) and O(hook_timeout) to what that takes there.
        type: list
        elements: list
        default: []
  hook_timeout:
    description:
      - Seconds after which a hook is killed with its process group.
    type: int
    default: 10
  reach_timeout:
    description:
      - Seconds to wait for a server that does not answer, where its answer decides what may be opened.
    type: int
    default: 60
  canary_timeout:
    description:
      - Seconds to wait for the canary to be back on the source.
    type: int
    default: 30
  retention_hours:
    description:
      - Hours for which both servers have to keep their binary logs.
    type: int
    default: 24
  fence_exempt:
    description:
      - Accounts of administrators that may have privileges which lead through a fence.
    type: list
    elements: str
    default: []
  schemas:
    description:
      - Schemas that move, all of the user's when empty. The gates look at their tables.
    type: list
    elements: str
    default: []
notes:
  - Connections of all clients of the source are ended once it is fenced, whoever they belong to.
  - The canary is a row in C(seamless_migration.canary), which is made on the source and stays until the migration is
    retired.
  - On RDS no statement sets C(read_only), see O(hooks.read_only). M(seamless.migration.mysql_read_only) tells which
    parameter it is.
seealso:
  - module: seamless.migration.mysql_read_only
  - module: seamless.migration.mysql_replica
  - module: seamless.migration.mysql_replication_info
"""

EXAMPLES = r"""
- name: Prove that the switchover would work
  seamless.migration.mysql_switchover:
    migration: shop2026
    journal_path: /srv/ops/migration/shop2026.jsonl
    source: "{{ old_server }}"
    target: "{{ new_server }}"
    dry_run: true

- name: Switch the writes to the new server
  seamless.migration.mysql_switchover:
    migration: shop2026
    journal_path: /srv/ops/migration/shop2026.jsonl
    source: "{{ old_server }}"
    target: "{{ new_server }}"
    reverse_channel: way_back
    long_transactions: kill
    hooks:
      pause: [[/usr/local/bin/proxy, pause, shop]]
      switch: [[/usr/local/bin/proxy, backend, shop, new.example.com]]
      resume: [[/usr/local/bin/proxy, resume, shop]]

- name: Go back to the old server
  seamless.migration.mysql_switchover:
    migration: shop2026
    journal_path: /srv/ops/migration/shop2026.jsonl
    direction: back
    source: "{{ new_server }}"
    target: "{{ old_server }}"
    forward_channel: way_back
"""

RETURN = r"""
state:
  description:
    - Who takes writes, read over new connections at the end. V(source_open), V(target_open), V(both_fenced),
      V(both_open), or V(unknown) when a server does not answer.
  returned: always
  type: str
committed:
  description: Whether the last run in the journal is committed.
  returned: always
  type: bool
complete:
  description: Whether nothing of the last run is left to do. Run again when it is not.
  returned: always
  type: bool
run:
  description: Name of the run.
  returned: always
  type: str
phase:
  description: V(none), V(begun), V(window), V(committed), V(undone) or V(done).
  returned: always
  type: str
recovered:
  description: What became of an earlier run that was killed. V(put_back), V(forward), or empty.
  returned: always
  type: str
steps:
  description: What was done.
  returned: always
  type: list
  elements: dict
  contains:
    n: {description: Number of the step., type: int}
    name: {description: Name of the step., type: str}
    at: {description: "When it began, in seconds since 1970.", type: float}
    ms: {description: Milliseconds that it took., type: float}
    ok: {description: Whether it succeeded., type: bool}
    evidence: {description: "What was seen, or C(failure).", type: dict}
gates:
  description: Each gate with its C(name), C(state) (V(ok), V(failed) or V(forced)), C(evidence) and C(advice).
  returned: always
  type: list
  elements: dict
window_ms:
  description: Milliseconds from the fence to the first write on the target. Null when there was no window.
  returned: always
  type: float
gtid:
  description: The final GTID set of the source.
  returned: always
  type: str
plan:
  description: What would be done.
  returned: always
  type: list
  elements: str
queries:
  description: Statements that were run, secrets masked.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.seamless.migration.plugins.module_utils.journal import check_id
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.options import check_options, endpoint_spec
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import LIBRARY_ERROR
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover import Switchover
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_open import TWO_WRITERS
from ansible_collections.seamless.migration.plugins.module_utils.mysql.switchover_steps import FAILURES

VECTORS = {"type": "list", "elements": "list", "default": []}
STRINGS = {"type": "list", "elements": "str", "default": []}
# option -> (default, least, most)
NUMBERS = {
    "budget_ms": (10000, 100, 3600000),
    "lag_limit_ms": (200, 1, 3600000),
    "lag_samples": (5, 1, 1000),
    "lag_timeout": (60, 1, 86400),
    "lock_wait": (2, 1, 3600),
    "long_transaction_s": (1, 0, 86400),
    "long_transactions_timeout": (30, 0, 86400),
    "blocker_grace_ms": (200, 0, 60000),
    "hook_timeout": (10, 1, 3600),
    "reach_timeout": (60, 0, 86400),
    "canary_timeout": (30, 1, 86400),
    "retention_hours": (24, 0, 8760),
}

ARGUMENTS = {
    "migration": {"type": "str", "required": True},
    "journal_path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["switched", "opened", "read"], "default": "switched"},
    "direction": {"type": "str", "choices": ["forward", "back"], "default": "forward"},
    "strategy": {"type": "str", "choices": ["switchover", "read_only_window", "bridge"], "default": "switchover"},
    "accept_conflicts": {"type": "bool", "default": False},
    "source": {"type": "dict", "required": True, "options": endpoint_spec()},
    "target": {"type": "dict", "required": True, "options": endpoint_spec()},
    "forward_channel": {"type": "str", "default": ""},
    "reverse_channel": {"type": "str", "default": ""},
    "dry_run": {"type": "bool", "default": False},
    "force": STRINGS,
    "long_transactions": {"type": "str", "choices": ["wait", "kill", "fail"], "default": "wait"},
    "fast_apply": {"type": "bool", "default": True},
    "hooks": {
        "type": "dict",
        "default": {},
        "options": {"pause": VECTORS, "resume": VECTORS, "switch": VECTORS, "read_only": VECTORS},
    },
    "fence_exempt": STRINGS,
    "schemas": STRINGS,
}
ARGUMENTS.update({name: {"type": "int", "default": values[0]} for name, values in NUMBERS.items()})

AFTER = {"source_open": "the source", "target_open": "the target", "both_fenced": "nobody", "both_open": "both"}


def check(params):
    """Refuse what cannot be meant, before anything is connected to. Raises MySQLMigrationError or JournalError."""
    check_options(params)
    for side in ("source", "target"):
        check_options(params[side])
    check_id("migration", params["migration"])
    for name, (_default, least, most) in NUMBERS.items():
        if not least <= params[name] <= most:
            raise MySQLMigrationError(
                "Option %s is %s. Give a number from %d to %d" % (name, params[name], least, most)
            )
    if TWO_WRITERS in params["force"]:
        raise MySQLMigrationError("Option force has %s, which is no gate. Leave it out" % TWO_WRITERS)
    for name, vectors in params["hooks"].items():
        if not all(argv and all(isinstance(word, str) for word in argv) for argv in vectors or []):
            raise MySQLMigrationError(
                "Option hooks.%s has to be a list of commands, each a list of words such as [[/bin/echo, hello]]" % name
            )
    if params["strategy"] == "bridge" and not params["accept_conflicts"]:
        raise MySQLMigrationError(
            "The strategy bridge lets both servers take writes for a while, which can conflict. Set accept_conflicts "
            "to true when that is accepted, or choose another strategy"
        )


def finish(module, result, dry):
    """Turn warnings and states into what Ansible shows."""
    for warning in result.pop("warnings", []):
        module.warn(warning)
    plan = "".join("plan: %s\n" % line for line in result["plan"])
    before = result.pop("before", result["state"])
    after = "target_open" if dry and result["plan"] else result["state"]
    result["diff"] = {
        "before": "writes: %s\n" % AFTER.get(before, before),
        "after": "writes: %s\n%s" % (AFTER.get(after, after), plan),
    }


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("PyMySQL"), exception=LIBRARY_ERROR)
    params = module.params
    params["hooks"] = {name: vectors or [] for name, vectors in (params["hooks"] or {}).items()}
    dry = (module.check_mode or params["dry_run"]) and params["state"] != "read"
    switchover = None
    try:
        check(params)
        switchover = Switchover(params)
        result = switchover.would() if dry else getattr(switchover, params["state"])()
    except FAILURES as error:
        known = switchover.failed() if switchover else {}
        for warning in known.pop("warnings", []):
            module.warn(warning)
        known["code"] = getattr(error, "code", 0)
        what = ("rehearse" if dry else "switch", params["migration"], str(error).rstrip("."))
        module.fail_json(msg="Failed to %s %s: %s." % what, **known)
    finish(module, result, dry)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
