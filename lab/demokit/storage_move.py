# SPDX-License-Identifier: GPL-3.0-or-later
"""What both halves of the storage part do: the way there and back, and what the lab judges of it."""

import secrets
import time

from .common import fresh_state, verdict

STEPS = ("preflight", "prepare", "copy", "sync", "verify")


def inputs(state, tree=None, **more):
    """The variables of the migration, as a user would have them in the inventory's group_vars.

    :param state: folder for its journal
    :param tree: what is to be said of the tree beside its places
    """
    found = {
        "migration_name": "demo",
        "migration_state_dir": str(fresh_state(state)),
        "migration_trees": [dict({"name": "data", "source": "/srv/files", "target": "/srv/files"}, **(tree or {}))],
        "migration_rsync_secret": secrets.token_urlsafe(24),
    }
    return dict(found, **more)


def there_and_back(plays, lab_name, servers, pause):
    """Copy, switch and switch back while writers write.

    :param servers: the hosts that are left and moved to
    :param pause: seconds that writers write between the steps
    :return: the verdicts after the cutover and after the rollback
    """
    old, new = servers
    for name in STEPS:
        plays.run("storage_" + name)
    plays.run("storage_cutover")
    time.sleep(pause)
    there = verdict(lab_name, new)
    time.sleep(pause)
    plays.run("storage_rollback")
    time.sleep(pause)
    back = verdict(lab_name, old)
    plays.run("report")
    return there, back


def worst(there, back, names):
    """Numbers of the two verdicts, the worse one where they differ."""
    return {name: max(there[name], back[name]) for name in names}


def windows(there, back):
    """For how long somebody could not write: at the cutover, at the rollback, in seconds."""
    return round(there["windows"][0]["longest_s"], 3), round(back["windows"][-1]["longest_s"], 3)
