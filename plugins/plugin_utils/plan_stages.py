# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a migration as a plan tells them: what each does, where, which gates it has, how it is undone.

A test holds the gates and the stages against the playbooks and the roles.
"""

from __future__ import annotations

STORAGE = (
    {
        "stage": "storage_preflight",
        "title": "Look before the move",
        "where": ("source", "target", "clients"),
        "does": ("Looks at both storage hosts and their clients and decides the gates.",),
        "changes": "Nothing.",
        "gates": (
            "source_trees",
            "target_trees",
            "space",
            "inodes",
            "rsync_versions",
            "accounts",
            "clocks",
            "writers",
            "service_name",
        ),
        "undo": "Nothing to undo.",
        "takes": "look",
    },
    {
        "stage": "storage_prepare",
        "title": "Prepare both sides",
        "where": ("source", "target"),
        "does": (
            "Pauses the batch jobs of the source and waits for those that run.",
            "Installs rsync where it is missing, writes the daemon's modules and its secret.",
            "Opens the port of the daemon for the other storage host, and for nobody else.",
            "Stages the freeze: mounts each tree a second time where only root may enter, holds the target's writers.",
        ),
        "changes": "Batch jobs, the configuration of the rsync daemon, the firewall, mounts. No data.",
        "gates": (),
        "undo": "storage_retire",
        "takes": "minutes",
    },
    {
        "stage": "storage_copy",
        "title": "Copy everything once",
        "where": ("source", "workers"),
        "does": (
            "Copies each tree with parallel rsync, throttled, while people go on writing.",
            "Can be stopped at any time; the same command goes on.",
        ),
        "changes": "The trees on the target.",
        "gates": (),
        "undo": "Delete the copy on the target.",
        "takes": "copy",
    },
    {
        "stage": "storage_sync",
        "title": "Keep both sides equal",
        "where": ("source",),
        "does": ("Live sync carries every later change to the target. Nothing is deleted there yet.",),
        "changes": "lsyncd on the source, the kernel's inotify limits where they are too low.",
        "gates": (),
        "undo": "storage_retire",
        "takes": "pass",
    },
    {
        "stage": "storage_verify",
        "title": "Prove that both sides are equal",
        "where": ("source", "target"),
        "does": (
            "Compares both trees while they are in use, mends what differs, lets live sync delete, compares again.",
        ),
        "changes": "What differs on the target.",
        "gates": ("compare_before_deletion", "compare_clean"),
        "undo": "None needed.",
        "takes": "verify",
    },
    {
        "stage": "storage_cutover",
        "title": "Switch",
        "where": ("source", "target", "clients"),
        "does": (
            "Freezes the source, lets everything arrive, copies the rest from lists, compares what was touched.",
            "Commits, opens the target, points the clients at it. Any error before the commit undoes the freeze.",
            "Carries every change back to the source from then on, and moves the batch jobs.",
        ),
        "changes": "Which server takes the writes.",
        "gates": ("compared", "converged", "way_back", "window"),
        "undo": "Undone by itself before the commit; storage_rollback after it, with what was written since.",
        "takes": "window",
    },
    {
        "stage": "storage_retire",
        "title": "Take down what only the migration needed",
        "where": ("source", "target"),
        "does": ("Ends live sync, the daemon's modules and the open port. The old data stay, and stay closed.",),
        "changes": "What storage_prepare and storage_sync made.",
        "gates": (),
        "undo": "None. From here there is no way back by this collection.",
        "takes": "minutes",
    },
)

MYSQL = (
    {
        "stage": "mysql_preflight",
        "title": "Look before the move",
        "where": ("mysql",),
        "does": ("Looks at both servers and the replicas behind them and decides the guardrails.",),
        "changes": "Nothing.",
        "gates": (),
        "undo": "Nothing to undo.",
        "takes": "look",
    },
    {
        "stage": "mysql_prepare",
        "title": "Prepare both servers",
        "where": ("mysql",),
        "does": ("Brings GTIDs on without a restart, makes the replication account, keeps binary logs long enough.",),
        "changes": "Settings and one account on both servers.",
        "gates": (),
        "undo": "mysql_retire",
        "takes": "minutes",
    },
    {
        "stage": "mysql_seed",
        "title": "Fill the target",
        "where": ("mysql",),
        "does": ("Fills the empty target, by clone or by dump, and keeps the point from which replication goes on.",),
        "changes": "The data of the target.",
        "gates": (),
        "undo": "Empty the target.",
        "takes": "seed",
    },
    {
        "stage": "mysql_replicate",
        "title": "Keep both servers equal",
        "where": ("mysql",),
        "does": ("Closes the target for everybody but replication, and replicates both ways.",),
        "changes": "Replication channels; the target becomes read-only.",
        "gates": (),
        "undo": "mysql_retire",
        "takes": "minutes",
    },
    {
        "stage": "mysql_verify",
        "title": "Prove that both servers are equal",
        "where": ("mysql",),
        "does": ("Compares every table in chunks while replication runs; what differs is settled at one GTID.",),
        "changes": "Nothing.",
        "gates": ("compare_clean",),
        "undo": "Nothing to undo.",
        "takes": "verify",
    },
    {
        "stage": "mysql_cutover",
        "title": "Switch",
        "where": ("mysql",),
        "does": (
            "Fences the source, waits until the target has everything, commits, opens the target: one process.",
            "Any error before the commit opens the source again.",
        ),
        "changes": "Which server takes the writes.",
        "gates": ("compare_fresh",),
        "undo": "Undone by itself before the commit; mysql_rollback after it, with what was written since.",
        "takes": "window",
    },
    {
        "stage": "mysql_retire",
        "title": "Take down what only the migration needed",
        "where": ("mysql",),
        "does": ("Removes the channels and the account of the migration.",),
        "changes": "What mysql_prepare and mysql_replicate made.",
        "gates": (),
        "undo": "None. From here there is no way back by this collection.",
        "takes": "minutes",
    },
)

# What each gate asks, in a sentence.
GATES = {
    "source_trees": "every tree exists on the source, is not empty, and is mounted where that is asked for",
    "target_trees": "the target's trees are writable, and mounted where that is asked for",
    "space": "the target has room for what the source has, and a reserve",
    "inodes": "the target can hold as many files",
    "rsync_versions": "rsync is recent enough on both and none of those that lose deletions",
    "accounts": "users and groups have equal numbers on both",
    "clocks": "the clocks agree",
    "writers": "the units that write exist on both",
    "service_name": "the clients have the service name in their hosts file",
    "compare_before_deletion": "nothing is lost or different, or it was mended",
    "compare_clean": "both sides are equal",
    "compared": "a clean comparison is not older than a day",
    "converged": "live sync has carried everything, proven by canaries",
    "way_back": "the daemon of the server that is left answers the other one",
    "window": "the predicted window is within the budget",
    "compare_fresh": "a clean comparison is not older than a day",
}
