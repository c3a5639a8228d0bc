# SPDX-License-Identifier: GPL-3.0-or-later
"""Undo a freeze from its record, whoever made it and wherever it was killed; and the thaw program built on that.

This module, `freeze_state`, `freeze_mounts`, `freeze_services`, `freeze_watch` and `host` are packed into
/usr/local/lib/seamless-migration/storage-thaw, so that a host can be opened without the controller.
"""

import argparse
import os
import signal
import sys
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError, data, write
from ansible_collections.seamless.migration.plugins.module_utils.storage import (
    freeze_mounts,
    freeze_services,
    freeze_watch,
)
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import (
    LIVE,
    Busy,
    FreezeError,
    Lock,
    Paths,
    load,
    process_started,
    remove_quietly,
    save,
)


def end_transfers(state):
    """End the rsync processes of a killed run: those that bring lists to the other side. Returns their pids."""
    urls = [os.fsencode(record["dest_url"]).rstrip(b"/") for record in state["trees"] if record.get("dest_url")]
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open("/proc/%s/cmdline" % name, "rb") as stream:
                    words = stream.read().split(b"\0")
            except OSError:
                continue
            listed = any(word.startswith(b"--files-from=") for word in words)
            if listed and os.path.basename(words[0]) == b"rsync" and any(word.rstrip(b"/") in urls for word in words):
                os.kill(int(name), signal.SIGTERM)
                found.append(int(name))
    return found


def _open_tree(record):
    if record.get("closed"):
        tree = freeze_mounts.Tree(record["path"], record["private"])
        if record.get("file_system"):
            freeze_mounts.stage(tree)  # the private door is the handle of the file system
            freeze_mounts.set_file_system_read_only(tree, False)
        freeze_mounts.set_read_only(tree, False, record.get("read_only_before", []))
    record["closed"] = False
    record["file_system"] = False


def _remove_canaries(state):
    for record in state["trees"]:
        for name in record.get("canaries", []):
            remove_quietly(os.path.join(record["path"], name))
        record["canaries"] = []


def _restore_throttles(state):
    for path, content in sorted(state.get("throttles", {}).items()):
        if content is None:
            remove_quietly(path)
        else:
            write(path, data(content))
    state["throttles"] = {}


def _run_hooks(state):
    for argv in state.get("on_undo", []):
        command.run(argv, timeout=state.get("hook_timeout", 10))


def _thaw_plan(state, start_writers, start_live_sync):
    """What an undo starts: dict with writers and live_sync. An undo that was begun goes on as it was begun."""
    begun = state.get("thaw") if state["state"] == "thawing" else None
    if begun:
        return begun
    writers = state.get("active_before", []) if start_writers is None else start_writers
    return {"writers": writers, "live_sync": state.get("live_sync_stopped", []) if start_live_sync else []}


def _watch_again(state, units, at_boot):
    """Start live sync and wait, not for long, until it watches the trees.

    Where that is not seen, `unwatched_since` is noted: what is deleted before it watches may stay on the other side
    until both sides are compared.
    """
    watchers = state.get("watchers", [])
    log_marks = freeze_watch.marks(watchers)
    watched = not (units and watchers)
    try:
        freeze_services.start_later(units)
        watched = watched or (not at_boot and freeze_watch.wait(watchers, log_marks))
    finally:
        if not watched:
            state["unwatched_since"] = time.time()


def undo(paths, state, start_writers=None, start_live_sync=True, at_boot=False):
    """Open this side again: live sync as it was, read-write, writers started, in that order.

    paths: Paths. state: the record, changed and saved on the way. start_writers: list of units, None for those that
    ran before. start_live_sync: whether a live sync that ran before is started. at_boot: units are asked for and not
    waited for. Returns list of what could not be undone (empty: all is as before). Once the tree is open every part is
    tried, whatever happened to the others. Idempotent.
    """
    start = freeze_services.start_later if at_boot else freeze_services.start
    problems = []

    def attempt(what, work, *arguments):
        try:
            work(*arguments)
        except (OSError, FreezeError, FileError, command.CommandError) as error:
            problems.append("Failed to %s: %s" % (what, error))

    thaw = _thaw_plan(state, start_writers, start_live_sync)
    state.update(state="thawing", thaw=thaw)
    save(paths, state)
    end_transfers(state)
    attempt("unblock the writers", freeze_services.unblock, paths)
    attempt("restore the bandwidth limit", _restore_throttles, state)
    attempt("start %s" % ", ".join(thaw["live_sync"]), _watch_again, state, thaw["live_sync"], at_boot)
    before = len(problems)
    for record in state["trees"]:
        attempt("make %s writable" % record["path"], _open_tree, record)
    if len(problems) > before:
        save(paths, state)
        return problems  # a tree that stays read-only is no place for writers
    attempt("remove the canaries", _remove_canaries, state)
    attempt("start %s" % ", ".join(thaw["writers"]), start, thaw["writers"])
    attempt("start %s" % ", ".join(thaw["live_sync"]), start, thaw["live_sync"])
    attempt("run the hook on_undo", _run_hooks, state)
    if not problems:
        state.update(state="thawed", thawed_at=time.time(), live_sync_stopped=[], active_before=[], thaw=None)
    save(paths, state)
    return problems


def _is_due(state, run_id, number):
    """Whether the dead-man of this arming still stands between a frozen host and nobody."""
    armed = state.get("deadman") or {}
    return state["state"] in LIVE and state["run_id"] == run_id and number in (armed.get("number"), armed.get("next"))


def fire(paths, run_id, number, patience=20.0):
    """The dead-man's deed: open this side when run run_id has frozen it and never committed.

    number: of the arming; a later arming makes this one void. A process that still holds the lock has `patience`
    seconds to end; it is killed then, because it was told to give up long ago. Returns what was done, a sentence.
    """
    lock = Lock(paths, "dead-man of " + run_id)
    try:
        lock.acquire(wait=patience)
    except Busy:
        holder = lock.holder()
        alive = holder.get("pid") and process_started(holder["pid"]) == holder.get("started")
        if alive and _is_due(load(paths), run_id, number):
            os.kill(holder["pid"], signal.SIGKILL)
        lock.acquire(wait=patience)
    with lock:
        state = load(paths)
        if not _is_due(state, run_id, number):
            return "nothing to do: state %s, run %s" % (state["state"], state["run_id"])
        state["thawed_by"] = "the dead-man, because run %s did not commit in time" % run_id
        problems = undo(paths, state)
        return "; ".join(problems) or "thawed: run %s did not commit in time" % run_id


def _open_doors(state):
    """Mount the doors through which the migration writes, and the rsync daemon serves: a boot has taken them away."""
    for record in state["trees"]:
        if record.get("doored", True):
            freeze_mounts.stage(freeze_mounts.Tree(record["path"], record["private"]))


def _close_again(state):
    """Flags of mounts do not outlive a boot."""
    for record in state["trees"]:
        if record.get("closed"):
            freeze_mounts.set_read_only(freeze_mounts.Tree(record["path"], record["private"]), True)


def settle(paths):
    """After a boot: a committed side is closed again, one that was only frozen is opened. Returns a sentence."""
    with Lock(paths, "boot").acquire(wait=30):
        state = load(paths)
        if state["state"] == "committed":
            freeze_services.block(paths)
            _open_doors(state)
            _close_again(state)
            return "closed: this side was left by run %s" % state["run_id"]
        if state["state"] in LIVE:
            for record in state["trees"]:
                record["closed"] = False  # flags of mounts do not outlive a boot
            state["thawed_by"] = "the boot of this host before the commit"
            # What is started is ordered after this very unit: asked for, but not waited for.
            problems = undo(paths, state, at_boot=True)
            _open_doors(state)
            return "; ".join(problems) or "opened: the freeze of run %s was never committed" % state["run_id"]
        _open_doors(state)
        if state["state"] == "held":
            _close_again(state)
        return "the migration has its doors again: state %s" % state["state"]


def by_hand(paths):
    """An operator at the host, without the controller: open what is frozen but not committed. Returns a sentence."""
    with Lock(paths, "operator").acquire(wait=5):
        state = load(paths)
        if state["state"] == "committed":
            raise FreezeError(
                "this side was left by run %s, the other side may be writing. Use storage_rollback" % state["run_id"]
            )
        if state["state"] not in LIVE:
            return "nothing to do: state %s" % state["state"]
        state["thawed_by"] = "an operator at this host"
        return "; ".join(undo(paths, state)) or "thawed"


def main(arguments=None):
    """Entry of the program storage-thaw. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="storage-thaw", description="Open a storage host that a migration has frozen."
    )
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)
    parser.add_argument("action", choices=["deadman", "boot", "now"])
    parser.add_argument("migration")
    parser.add_argument("run_id", nargs="?", default="", help=argparse.SUPPRESS)
    parser.add_argument("number", nargs="?", default=0, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    paths = Paths(options.migration, options.root)
    try:
        if options.action == "deadman":
            said = fire(paths, options.run_id, options.number)
        else:
            said = settle(paths) if options.action == "boot" else by_hand(paths)
    except (FreezeError, OSError) as error:
        sys.stderr.write("Failed to thaw %s: %s\n" % (options.migration, error))
        return 1
    sys.stdout.write(said + "\n")
    return 0
