# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes over to the other side in the window: the listed paths, the proof of them, and the canaries."""

import os
import time
import uuid
from concurrent import futures

from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.rsync import binary, delta, exit_codes, output
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError

PREFIX = ".seamless-canary-"
TOGETHER = 4  # trees that are worked on at once
VANISHED = 24
NOT_THERE = 23  # exit status of rsync when the listed file is missing


def for_each(trees, work):
    """Run work(tree) for several trees at once. Returns their results in order; raises the first exception."""
    with futures.ThreadPoolExecutor(max_workers=TOGETHER) as pool:
        return [job.result() for job in [pool.submit(work, tree) for tree in trees]]


def options(tree, seconds):
    """rsync options for a tree (dict of the module's option `trees`). seconds: silence after which rsync gives up."""
    return binary.Options(
        exclude=tree.get("exclude") or [],
        password_file=tree.get("password_file"),
        io_timeout=max(2, int(seconds)),
    )


def bring(tree, path_list, seconds, *, max_delete=None, dry_run=False, live=False):
    """Copy and delete exactly the paths of a NUL list. Returns delta.DeltaResult. Raises FreezeError.

    live: writers are at work, so that a file may vanish.
    """
    try:
        return delta.run_delta(
            tree["path"],
            tree["dest_url"],
            path_list,
            options(tree, seconds),
            frozen=not (dry_run or live),
            sentinel=tree.get("sentinel") or None,
            max_delete=max_delete,
            dry_run=dry_run,
            timeout=seconds,
        )
    except binary.RsyncError as error:
        raise FreezeError(str(error)) from error


def differences_or_raise(tree, path_list, seconds):
    """Compare exactly the paths of a NUL list by content. Returns list of delta.Difference. Raises RsyncError."""
    return delta.verify_list(
        tree["path"], tree["dest_url"], path_list, options=options(tree, seconds), timeout=seconds
    )


def differences(tree, path_list, seconds):
    """The same for a frozen tree. Raises FreezeError."""
    try:
        return differences_or_raise(tree, path_list, seconds)
    except binary.RsyncError as error:
        raise FreezeError(str(error)) from error


def doubtful(tree, path_list, seconds):
    """Paths of a NUL list that are not proven equal while writers are at work.

    Returns list of bytes, or None when the comparison itself failed, so that nothing is proven.
    """
    try:
        found = [entry.path for entry in differences_or_raise(tree, path_list, seconds)]
    except binary.RsyncError as error:
        done = error.result
        if getattr(done, "rc", None) != VANISHED or done.failed:
            return None
        # The tree's own directory is compared last, and was not compared here.
        found = ["."] + [entry.path for entry in done.changes] + [entry["path"] for entry in done.vanished]
    return None if None in found else [os.fsencode(path) for path in found]


def whole(tree, seconds, *, max_delete=None, dry_run=False):
    """One full pass over a tree that has no live sync with lists.

    dry_run: change nothing. Returns list of output.Change, in a dry run what still differs by size, time or attributes.
    Raises FreezeError.
    """
    try:
        rsync = binary.suited(binary.find(), tree["dest_url"], options(tree, seconds))
        binary.read_sentinel(tree["path"], tree.get("sentinel") or None)
        argv = [rsync.path] + binary.arguments(rsync, options(tree, seconds), tree["dest_url"])
        argv += ["-r", "--delete-delay", "--force", "--out-format=%s" % output.OUT_FORMAT, "--exclude=%s" % binary.OURS]
        argv += ["--max-delete=%d" % max_delete] if max_delete is not None else []
        argv += ["--dry-run"] if dry_run else []
        argv += ["--", binary.with_slash(tree["path"]), binary.with_slash(tree["dest_url"])]
        result = command.run(argv, timeout=seconds, ok=None)
    except (binary.RsyncError, command.CommandError) as error:
        raise FreezeError(str(error)) from error
    verdict = exit_codes.judge(result.rc, result.stderr, True)
    if not verdict.fine:
        raise FreezeError("The last pass over %s failed: %s" % (tree["path"], verdict.sentence()))
    return output.parse_changes(result.stdout)


def canary_name():
    """A name that no other canary has."""
    return PREFIX + uuid.uuid4().hex[:16]


def put_canary(folder, name):
    """Write a canary into a folder. Raises FreezeError."""
    try:
        with open(os.path.join(folder, name), "w") as stream:
            stream.write(name + "\n")
    except OSError as error:
        raise FreezeError("A canary cannot be written to %s: %s" % (folder, error.strerror)) from error


def _remote(tree, words, seconds):
    argv = ["rsync", "--timeout=%d" % max(2, int(seconds))]
    if binary.is_daemon(tree["dest_url"]):
        argv.append("--contimeout=%d" % max(2, int(seconds)))
        if tree.get("password_file"):
            argv.append("--password-file=%s" % tree["password_file"])
    return command.run(argv + words, timeout=seconds + 1, ok=None)


def arrived(tree, name, seconds=10):
    """Whether the canary is on the other side. Returns (bool, reason when rsync could not tell)."""
    try:
        result = _remote(tree, ["--list-only", "--", binary.with_slash(tree["dest_url"]) + name], seconds)
    except command.CommandError as error:
        return False, str(error)
    if result.rc in (0, NOT_THERE):
        return result.rc == 0, ""
    return False, result.cause()


def reachable(tree, seconds=10):
    """Ask the other side for the top of the tree. Returns seconds that it took. Raises FreezeError."""
    begin = time.monotonic()
    try:
        # A list of the top alone: `.` with --dirs would list what is in it.
        result = _remote(
            tree, ["--list-only", "--dirs", "--exclude=/*", "--", binary.with_slash(tree["dest_url"])], seconds
        )
    except command.CommandError as error:
        raise FreezeError(str(error)) from error
    if result.rc != 0:
        raise FreezeError("%s does not answer: %s. rsyncd_info tells what to mend" % (tree["dest_url"], result.cause()))
    return time.monotonic() - begin


def settle_top(tree, seconds):
    """Remove canaries from the other side, and give its top directory the attributes that the top has here.

    The canaries, made and removed, have changed its time on both sides. Lists leave the top out for that reason.
    Raises FreezeError.
    """
    try:
        rsync = binary.suited(binary.find(), tree["dest_url"], options(tree, seconds))
        argv = [rsync.path] + binary.arguments(rsync, options(tree, seconds), tree["dest_url"])
        argv += ["--dirs", "--delete", "--include=/%s*" % PREFIX, "--exclude=/*"]
        argv += ["--", binary.with_slash(tree["path"]), binary.with_slash(tree["dest_url"])]
        command.run(argv, timeout=seconds)
    except (binary.RsyncError, command.CommandError) as error:
        raise FreezeError("the canaries cannot be removed from %s: %s" % (tree["dest_url"], error)) from error
