# SPDX-License-Identifier: GPL-3.0-or-later
"""The rsync guard of a sync: its settings, the link it is called by, and what it has written."""

import json
import os

from ansible_collections.seamless.migration.plugins.module_utils.host import files

FOLDER = "/etc/seamless-migration/guard"
STATE = "/var/lib/seamless-migration/guard"
OPTIONS = ("sentinel", "sentinel_content", "max_delete", "bwlimit_file", "password_file", "rsync",
           "partial_retries", "full_retries", "retry_interval")


def link(name, folder=FOLDER):
    """Path by which lsyncd calls the guard of a sync."""
    return os.path.join(folder, name)


def settings(sync):
    """The JSON settings of the guard of one sync, as bytes. sync: dict of options with `guard`."""
    given = sync["guard"]
    content = {name: given[name] for name in OPTIONS if given.get(name) is not None}
    source = os.path.realpath(sync["source"])
    content.setdefault("sentinel", os.path.join(source, ".seamless-sentinel"))
    if sync.get("password_file"):
        content.setdefault("password_file", sync["password_file"])
    content["source"] = source
    content["exclude"] = list(sync.get("exclude") or []) + ["/.seamless-sentinel", "/.seamless-manifest*"]
    content["state_dir"] = given.get("state_dir") or os.path.join(STATE, sync["name"])
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode("utf-8")


def paths(state_dir, name):
    """Paths in one of the guard's NUL-separated lists (`touched`, `dirty`, `hardlinks`), each once, in order."""
    content = files.read(os.path.join(state_dir, name), missing=b"")
    return sorted(set(content.split(b"\0")) - {b""})


def runs(state_dir, count=20):
    """The last runs of the guard, oldest first. Returns list of dict."""
    content = files.read(os.path.join(state_dir, "runs.jsonl"), missing=b"")
    if not content:
        content = files.read(os.path.join(state_dir, "runs.jsonl.1"), missing=b"")
    found = []
    for line in content.splitlines()[-count:]:
        try:
            found.append(json.loads(line.decode("utf-8")))
        except ValueError:
            continue  # a line cut by a crash
    return found


def summary(state_dir, first=20):
    """What a gate needs to know. Returns dict: dirty (number), dirty_paths, halted, touched_complete, last_run."""
    dirty = paths(state_dir, "dirty")
    last = runs(state_dir, 1)
    return {
        "state_dir": state_dir,
        "dirty": len(dirty),
        "dirty_paths": [path.decode("utf-8", "backslashreplace") for path in dirty[:first]],
        "halted": os.path.exists(os.path.join(state_dir, "halted")),
        "touched_complete": not os.path.exists(os.path.join(state_dir, "touched.overflow")),
        "last_run": last[0] if last else None,
    }
