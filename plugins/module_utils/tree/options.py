# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of the module to a plan, checked before anything is touched."""

import calendar
import os
import re
import time

from .compare import Job, Rules
from .daemon import check_url
from .errors import TreeError
from .manifest import Plan, check_root, make

_SECONDS = re.compile(r"\A\d+(\.\d+)?\Z")
_ISO = re.compile(r"\A(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?Z\Z")
_ABSOLUTE = (
    "path",
    "files_from",
    "work_dir",
    "hash_cache",
    "differences_file",
    "differing_file",
    "unsettled_file",
    "password_file",
)
_LEAST = {
    "workers": 1,
    "sample": 1,
    "timeout": 1,
    "recheck_delay": 0,
    "mtime_granularity_ns": 1,
    "other_mtime_granularity_ns": 1,
}


def nanoseconds(text):
    """A time, as seconds since 1970 or as ISO 8601 in UTC with a Z, in nanoseconds. Raises TreeError."""
    if _SECONDS.match(text):
        return int(float(text) * 1000000000)
    found = _ISO.match(text)
    if not found:
        raise TreeError("changed_since is %r. Give seconds since 1970, or a time like 2026-05-01T12:00:00Z" % text)
    try:
        whole = calendar.timegm(time.strptime("T".join(found.group(1, 2)), "%Y-%m-%dT%H:%M:%S"))
    except ValueError as error:
        raise TreeError("changed_since is %r, which is no time: %s" % (text, error)) from error
    return whole * 1000000000 + int(float(found.group(3) or 0) * 1000000000)


def check(params):
    """Raise TreeError, naming option and value, for options that cannot be right. params: dict of the module's."""
    for name, value in sorted(params.items()):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
                raise TreeError("%s is %r: control characters are not allowed in it" % (name, text))
    for name in _ABSOLUTE:
        if params.get(name) and not os.path.isabs(params[name]):
            raise TreeError("%s is %r. Give an absolute path" % (name, params[name]))
    for name, least in sorted(_LEAST.items()):
        if params.get(name) is not None and params[name] < least:
            raise TreeError("%s is %s. Give at least %d" % (name, params[name], least))
    if params["level"] == "touched" and not params.get("files_from"):
        raise TreeError("level touched needs files_from, a list of paths. Give it, or another level")
    if params.get("files_from") and params["level"] not in ("touched", "sample"):
        raise TreeError("files_from belongs to level touched or sample, not to %s. Leave it out" % params["level"])
    _check_state(params)


def _check_state(params):
    dest = params.get("dest")
    if params["state"] != "compared":
        if not params.get("manifest"):
            raise TreeError("state %s needs manifest. Give the name of the file" % params["state"])
        return
    if not dest and not params.get("dest_manifest"):
        raise TreeError("there is nothing to compare with. Give dest or dest_manifest")
    if dest and "://" in dest:
        check_url(dest)
    elif dest and not os.path.isabs(dest):
        raise TreeError("dest is %r. Give an absolute path or the URL of an rsync daemon" % dest)
    elif dest and os.path.realpath(dest) == os.path.realpath(params["path"]):
        raise TreeError("dest is %r, the same as path: a tree is always equal to itself. Give the other tree" % dest)


def in_root(root, name, option):
    """The path of a manifest: one without a slash is in the root of the tree, and must be one of our names there."""
    path = os.path.join(root, name) if "/" not in name else name
    if not os.path.isabs(path):
        raise TreeError("%s is %r. Give an absolute path, or a name in the root of the tree" % (option, name))
    real = os.path.realpath(os.path.dirname(path))
    inside = (real + "/").startswith(os.path.realpath(root).rstrip("/") + "/")
    if inside and (real != os.path.realpath(root) or not os.path.basename(path).startswith(".seamless-")):
        raise TreeError(
            "%s is %r, which would be part of the tree. Within it only .seamless-NAME in its root is left out"
            % (option, name)
        )
    return path


def plan(params):
    """The Plan. Raises TreeError."""
    since = params.get("changed_since")
    return Plan(
        level=params["level"],
        exclude=params["exclude"],
        files_from=params.get("files_from"),
        seed=params["seed"],
        sample=params["sample"],
        changed_since_ns=nanoseconds(since) if since else None,
        xattrs=params["xattrs"],
        one_file_system=params["one_file_system"],
        workers=params["workers"],
        cache=params.get("hash_cache"),
    )


def roots(params):
    """Raise TreeError unless the roots that are here can be trees."""
    check_root(params["path"], params["require_mountpoint"], params["allow_empty"])
    dest = params.get("dest")
    if params["state"] == "compared" and dest and "://" not in dest and not params.get("dest_manifest"):
        check_root(dest, False, params["allow_empty"])


def manifest(params, tell=lambda progress: None):
    """Make the manifest. tell: function of a dict, for progress. Returns dict. Raises TreeError."""
    path = in_root(params["path"], params["manifest"], "manifest")
    made = make(params["path"], plan(params), path, params["work_dir"], tell)
    return {"manifest": path, "totals": made["totals"]}


def compared(params, tell=lambda progress: None):
    """Compare. tell: function of a dict, for progress. Returns dict. Raises TreeError."""
    job = Job(
        params["path"],
        plan(params),
        params.get("dest"),
        source_manifest=params.get("manifest") and in_root(params["path"], params["manifest"], "manifest"),
        dest_manifest=params.get("dest_manifest"),
        rules=Rules(params["ignore"], params["mtime_granularity_ns"], params["other_mtime_granularity_ns"]),
        live=params["live"],
        recheck_delay=params["recheck_delay"],
        work_dir=params["work_dir"],
        differences_file=params.get("differences_file"),
        differing_file=params.get("differing_file"),
        unsettled_file=params.get("unsettled_file"),
        password_file=params.get("password_file"),
        timeout=params["timeout"],
        tell=tell,
    )
    return job.run()
