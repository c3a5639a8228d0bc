#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: batch_job
short_description: Pause, resume and move cron jobs and systemd timers
version_added: 0.1.0
description:
  - Pauses jobs that must not run while data moves, and brings back exactly what it paused, byte for byte.
  - Knows the crontabs of users, C(/etc/crontab), the files of C(/etc/cron.d), the scripts of C(/etc/cron.hourly),
    C(daily), C(weekly) and C(monthly), and the timers of systemd.
  - Waits for a job that runs at the moment, or says that it runs.
  - Returns what a job is, so that the same module can install it on another host.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.attributes.files
attributes:
  check_mode:
    support: full
    details:
      - Does not wait for a running job in check mode.
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - The seamless.migration authors (@seamless-migration)
options:
  kind:
    description:
      - What the job is. V(cron) is the crontab of O(user), V(cron.d) is C(/etc/cron.d) and C(/etc/crontab),
        V(periodic) is a script of C(/etc/cron.daily) and its like, V(timer) is a timer of systemd.
      - Needed unless O(state=present).
    type: str
    choices: [cron, cron.d, periodic, timer]
  name:
    description:
      - With O(kind=cron.d) a file of C(/etc/cron.d), or V(/etc/crontab). Without it, all of them are looked through
        for O(match).
      - With O(kind=periodic) the name of the script, with O(kind=timer) that of the timer.
    type: str
  user:
    description:
      - With O(kind=cron) the owner of the crontab. With O(kind=cron.d) only entries that run as this user are meant.
    type: str
  match:
    description:
      - Only jobs with this text in their command are meant. Without it, all that the other options choose.
    type: str
  regexp:
    description:
      - Whether O(match) is a regular expression of Python, searched in the command.
    type: bool
    default: false
  period:
    description:
      - With O(kind=periodic), which folder the script is in. Without it, all four are looked at.
    type: str
    choices: [hourly, daily, weekly, monthly]
  state:
    description:
      - With V(paused) the job does not start, also not after a restart of the host.
      - With V(active) it goes on as it was. Only what this module paused is resumed. What an administrator edited
        meanwhile is kept, and a warning tells of it.
      - With V(present) the jobs of O(definition) are installed and active.
      - With V(absent) the job is taken out. A timer is taken out only if V(present) installed it.
    type: str
    choices: [paused, active, present, absent]
    default: paused
  definition:
    description:
      - With O(state=present), jobs to install, as RV(definition) of another run gave them. They say themselves what
        they are and whose. The options that choose jobs are not looked at.
      - A file with the same name and another content is never replaced.
    type: list
    elements: dict
  wait:
    description:
      - With O(state=paused), how long to wait, in seconds, for jobs that run at the moment to end.
      - What still runs then is returned in RV(running) with a warning. It is not killed.
    type: int
    default: 0
  required:
    description:
      - Whether it is a failure when no job matches.
    type: bool
    default: true
notes:
  - Entries of crontabs are paused by a mark in front of the line that makes it a comment, scripts by a leading dot in
    their name, timers by a drop-in with a condition that never holds. What was paused is remembered in
    C(/var/lib/seamless-migration/batch_jobs.json).
  - A timer with C(Persistent=true) that missed a run while it was paused runs as soon as it is resumed.
  - Jobs of at and batch, and services that a timer started before it was paused, are left alone.
seealso:
  - module: seamless.migration.firewall_port
"""

EXAMPLES = r"""
- name: Pause the clean-up in root's crontab and wait for it to end
  seamless.migration.batch_job:
    kind: cron
    user: root
    match: /usr/local/bin/cleanup
    wait: 600

- name: Pause all entries of a file in /etc/cron.d
  seamless.migration.batch_job:
    kind: cron.d
    name: backup
  register: backup

- name: Pause a timer
  seamless.migration.batch_job:
    kind: timer
    name: thumbnails.timer

- name: Let it go on
  seamless.migration.batch_job:
    kind: timer
    name: thumbnails.timer
    state: active

- name: Install on the new server what was paused on the old one
  seamless.migration.batch_job:
    state: present
    definition: "{{ backup.definition }}"
"""

RETURN = r"""
jobs:
  description: The jobs that were meant, with the state that they have now (in check mode, would have).
  returned: success
  type: list
  elements: dict
  sample:
    - kind: cron
      where: /var/spool/cron/crontabs/root
      user: root
      schedule: "*/5 * * * *"
      command: /usr/local/bin/cleanup
      state: paused
definition:
  description: What O(state=present) needs to install the jobs on another host.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: cron
      user: root
      line: "*/5 * * * * /usr/local/bin/cleanup"
      environment: ["MAILTO=admin"]
running:
  description: Processes of the jobs that run at the moment, after the wait.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: The number of the process.
      type: int
    command:
      description: What it runs.
      type: str
  sample:
    - pid: 4711
      command: /bin/sh -c /usr/local/bin/cleanup
waited:
  description: How long, in seconds, running jobs were waited for.
  returned: success
  type: float
  sample: 2.5
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.batch_jobs import (
    JobError,
    manage,
    wait_until_idle,
)
from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError, printable
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import (
    OptionError,
    refuse_control_characters,
)


def argument_spec():
    return {
        "kind": {"type": "str", "choices": ["cron", "cron.d", "periodic", "timer"]},
        "name": {"type": "str"},
        "user": {"type": "str"},
        "match": {"type": "str"},
        "regexp": {"type": "bool", "default": False},
        "period": {"type": "str", "choices": ["hourly", "daily", "weekly", "monthly"]},
        "state": {"type": "str", "choices": ["paused", "active", "present", "absent"], "default": "paused"},
        "definition": {"type": "list", "elements": "dict"},
        "wait": {"type": "int", "default": 0},
        "required": {"type": "bool", "default": True},
    }


def check_options(params):
    """Unit files have several lines; nothing else has. Raises OptionError."""
    refuse_control_characters(params, allow=("definition",))
    for number, definition in enumerate(params["definition"] or []):
        name = "definition[%d]" % number
        refuse_control_characters({name: {k: v for k, v in definition.items() if k != "files"}}, tabs=(name,))
    if params["wait"] < 0:
        raise OptionError("Failed to use option wait: %d is no time. Give seconds from 0." % params["wait"])


def main():
    module = AnsibleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_if=[("state", "present", ("definition",))],
    )
    verb = {"paused": "pause", "active": "resume", "present": "install", "absent": "remove"}[module.params["state"]]
    try:
        check_options(module.params)
        change = manage(module.params)
        if not module.check_mode:
            (change.apply if change.differs else change.settle)()
        seconds = module.params["wait"] if module.params["state"] == "paused" and not module.check_mode else 0
        running, waited = wait_until_idle(change.running, seconds)
    except (JobError, OptionError) as error:
        module.fail_json(msg=printable(str(error)))
    except (CommandError, FileError, OSError) as error:
        module.fail_json(msg=printable("Failed to %s the job: %s. Mend that, then run again." % (verb, error)))
    for warning in change.plan.warnings:
        module.warn(printable(warning))
    if running and module.params["state"] == "paused":
        module.warn(
            "Still running after %s s: %s. Wait for the end, give a longer wait, or end it yourself."
            % (waited, "; ".join("%(command)s (pid %(pid)s)" % one for one in printable(running)))
        )
    module.exit_json(
        changed=change.differs,
        diff=printable(change.diff()),
        jobs=printable(change.plan.jobs),
        definition=change.plan.definition,
        running=printable(running),
        waited=waited,
    )


if __name__ == "__main__":
    main()
