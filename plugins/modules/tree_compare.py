#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: tree_compare
short_description: Prove that two directory trees are equal
version_added: 0.1.0
author:
  - The seamless.migration authors (@seamless-migration)
description:
  - Compares the tree at O(path) with another one entry by entry and says what is lost, different or extra there.
  - Compared are type, size, mtime to the nanosecond, mode, owner and group by number, ACLs, extended attributes, link
    targets, device numbers, and which names are hard links of one file; content as O(level) says. Holes in files
    are not compared, nor are sizes of directories and the mtime of the root.
  - Each side writes a manifest of its tree, sorted by path, with parallel workers and bounded memory; the manifests are
    then merged. With O(state=manifest) that is done on both hosts at the same time, with O(state=compared) on the
    source, which fetches the target's through its rsync daemon.
  - Entries of the root whose names begin with C(.seamless-) are left out on both sides.
  - What cannot be read on one of the sides is a finding of its kind, not silence.
extends_documentation_fragment:
  - seamless.migration.attributes
  - seamless.migration.job
attributes:
  check_mode:
    support: full
    details:
      - In check mode the options and the root are checked, a root that is not there yet is a warning. No manifest is
        made, nothing is compared, O(job) is passed over, and RV(equal) is null.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing but its own files.
  idempotent:
    support: full
    details:
      - RV(ignore:changed) is always V(false). The trees are read only; the files that this module writes (O(manifest),
        O(hash_cache), O(differences_file), O(differing_file),
        O(unsettled_file)) are evidence, not configuration.
options:
  path:
    description:
      - Root of the tree on this host, as absolute path.
      - One that does not exist or is empty is an error, because an unmounted file system looks like that.
    type: path
    required: true
  state:
    description:
      - V(compared) compares O(path) with O(dest), or with O(dest_manifest).
      - V(manifest) writes a manifest of O(path) to the file O(manifest).
      - V(absent) removes the file O(manifest).
    type: str
    choices: [compared, manifest, absent]
    default: compared
  dest:
    description:
      - The other tree. An absolute path on this host, or the URL of an rsync daemon,
        C(rsync://user@host:port/module/path/).
      - The daemon is asked about single paths only, by dry runs of C(rsync) that change nothing.
    type: str
  dest_manifest:
    description:
      - Manifest of the other tree. A name without slash is fetched from the root of O(dest) through the daemon, a path
        is a file on this host.
      - Needed with a daemon, except for O(level=touched).
    type: str
  manifest:
    description:
      - The file to write with O(state=manifest), or a manifest of O(path) that was made before with O(state=compared),
        which otherwise makes one and removes it.
      - A name without slash is in the root of the tree, and begins with C(.seamless-).
    type: str
  level:
    description:
      - V(metadata) compares everything but content.
      - V(touched) compares only the entries in O(files_from), their content too. Directories in it are not gone into.
      - V(sample) compares metadata of everything, and the content of O(sample) files chosen by O(seed), of what changed
        since O(changed_since), and of O(files_from).
      - V(full) compares the content of everything.
      - Both sides need the same O(level), O(exclude), O(seed), O(sample), O(changed_since), O(xattrs) and
        O(one_file_system).
    type: str
    choices: [metadata, touched, sample, full]
    default: metadata
  files_from:
    description:
      - File with paths relative to the root, each ended by NUL.
    type: path
  exclude:
    description:
      - Patterns of C(rsync) for what is left out. Taken are names, C(*), C(**), C(?), C([...]), a slash at the start,
        within and at the end, and C(name/***), with the meaning that C(rsync) gives them. Others are refused.
    type: list
    elements: str
    default: []
  sample:
    description:
      - How many files to choose with O(level=sample). When 3000 of them are equal, less than 0.1 % of all files
        differ, with a confidence of 95 %.
      - The files are those whose names hash lowest with the O(seed), so that both sides choose the same ones.
    type: int
    default: 3000
  seed:
    description:
      - Chooses the sample. Another seed looks at other files.
    type: str
    default: ""
  changed_since:
    description:
      - With O(level=sample) also compare the content of files with an mtime since then; what the source's ctime says
        is compared too where O(dest) is given. Seconds since 1970, or a time in UTC like V(2026-05-01T12:00:00Z).
    type: str
  xattrs:
    description:
      - Whether to compare ACLs and extended attributes. Those that a host gives by its own policy (SELinux, IMA) never
        are.
    type: bool
    default: true
  one_file_system:
    description:
      - Whether to stay out of other file systems that are mounted within the tree.
    type: bool
    default: false
  ignore:
    description:
      - Attributes in which the trees may differ, for file systems that cannot keep them.
    type: list
    elements: str
    choices: [mtime, directory_mtime, link_mtime, mode, owner, group, acl, xattr, hard_links]
    default: []
  mtime_granularity_ns:
    description:
      - Times of files that are less than this apart are equal. V(1000000000) for file systems that keep full
        seconds.
    type: int
    default: 1
  other_mtime_granularity_ns:
    description:
      - The same for directories, links and special files. C(rsync) leaves their times when they are in the right
        second, unless it runs with C(--modify-window=-1).
    type: int
    default: 1000000000
  live:
    description:
      - Whether the trees are written to meanwhile.
      - Then what differs is looked at again after O(recheck_delay). It counts when it still differs, and neither side
        was changed since its pass began; otherwise it is V(unsettled), which is no difference.
    type: bool
    default: false
  recheck_delay:
    description:
      - Seconds to wait before what differs is looked at again with O(live). Longer than the live sync needs.
    type: int
    default: 20
  hash_cache:
    description:
      - File that keeps hashes of content between runs, by device, inode, size, mtime and ctime of the files, so that
        nothing is read twice.
      - It does not see a disk that changes bits by itself. Without this option everything is read.
    type: path
  differences_file:
    description:
      - File for everything that differs, as JSON lines. Made 0600, and replaced at each run.
    type: path
  differing_file:
    description:
      - File for the paths of everything that differs, each ended by NUL, as M(seamless.migration.bulk_copy) takes
        it in order to mend exactly that. Made 0600, and replaced at each run.
    type: path
  unsettled_file:
    description:
      - File for the paths that are V(unsettled), each ended by NUL. Made 0600, and replaced at each run.
    type: path
  password_file:
    description:
      - File with the password for the daemon, for C(rsync --password-file).
    type: path
  timeout:
    description:
      - Seconds that one question to the daemon may take, about up to 5000 paths. Give less where nobody can write.
    type: int
    default: 3600
  require_mountpoint:
    description:
      - Whether O(path) must be a mount point.
    type: bool
    default: false
  allow_empty:
    description:
      - Whether a tree may be empty.
    type: bool
    default: false
  workers:
    description:
      - How many processes read the tree.
    type: int
    default: 4
  work_dir:
    description:
      - Folder for intermediate files, made (0700) when it is missing. A million entries need about 300 MB in it.
    type: path
    default: /var/lib/seamless-migration/tree
requirements:
  - rsync, where O(dest) is a daemon
  - Python's sqlite3, for O(hash_cache)
seealso:
  - module: seamless.migration.bulk_copy
  - module: seamless.migration.lsyncd_info
"""

EXAMPLES = r"""
- name: Compare two folders of this host, every byte
  seamless.migration.tree_compare:
    path: /srv/files
    dest: /mnt/copy
    level: full
  register: compared

- name: Write the manifests, on both hosts at once
  seamless.migration.tree_compare:
    path: /srv/files
    state: manifest
    manifest: .seamless-manifest-verify
    level: sample
    seed: "{{ migration_name }}"

- name: Compare while both are in use
  seamless.migration.tree_compare:
    path: /srv/files
    manifest: .seamless-manifest-verify
    dest: rsync://migration@files-new:873/data/
    dest_manifest: .seamless-manifest-verify
    password_file: /etc/seamless-migration/rsync.secret
    level: sample
    seed: "{{ migration_name }}"
    live: true
    differences_file: /var/lib/seamless-migration/verify/data.jsonl
  register: compared

- name: Compare what was touched, in the window
  seamless.migration.tree_compare:
    path: /srv/files
    dest: rsync://migration@files-new:873/data/
    password_file: /etc/seamless-migration/rsync.secret
    level: touched
    files_from: /var/lib/seamless-migration/guard/data/touched
  register: compared

- name: Remove the manifests
  seamless.migration.tree_compare:
    path: /srv/files
    state: absent
    manifest: .seamless-manifest-verify
"""

RETURN = r"""
equal:
  description: Whether nothing is lost, different, extra, unreadable or unproven. Null in check mode.
  returned: with O(state=compared)
  type: bool
counts:
  description: How much was compared, and what was found.
  returned: with O(state=compared), except in check mode
  type: dict
  contains:
    entries:
      description: Entries of the tree at O(path), or of the list.
      type: int
    files:
      description: Regular files among them.
      type: int
    bytes:
      description: Their size.
      type: int
    compared_files:
      description: Files of which the content was compared.
      type: int
    compared_bytes:
      description: Their size.
      type: int
    lost:
      description: Entries that the other tree has not.
      type: int
    different:
      description: Entries that differ.
      type: int
    extra:
      description: Entries that only the other tree has.
      type: int
    unreadable:
      description: Entries that could not be read on one of the sides.
      type: int
    unsettled:
      description: With O(live), entries that differ and were changed since the pass began.
      type: int
    unproven:
      description: Files of which the content should have been compared, but one side could not be asked.
      type: int
  sample: {entries: 20010, files: 20000, bytes: 81920000, compared_files: 3000, compared_bytes: 12288000, lost: 0,
    different: 1, extra: 0, unreadable: 0, unsettled: 2, unproven: 0}
differences:
  description: The first 100 differences. What is no UTF-8 in a path is written as C(\\xNN).
  returned: with O(state=compared), except in check mode
  type: list
  elements: dict
  contains:
    path:
      description: Path relative to the root.
      type: str
    kind:
      description: V(lost), V(different), V(extra), V(unreadable) or V(unproven).
      type: str
    attributes:
      description:
        - What differs, of V(type), V(size), V(mtime), V(mode), V(owner), V(group), V(device), V(hard_links), V(acl),
          V(xattr), V(link) and V(content). The type of what is lost or extra, the side of what is unreadable.
      type: list
      elements: str
  sample: [{path: a/b, kind: different, attributes: [mode, owner]}]
differences_file:
  description: Where all differences are.
  returned: when O(differences_file) is given, except in check mode
  type: str
seconds:
  description: How long it took.
  returned: with O(state=compared), except in check mode
  type: float
manifest:
  description: The manifest.
  returned: with O(state=manifest) and O(state=absent)
  type: str
  sample: /srv/files/.seamless-manifest-verify
totals:
  description: What the manifest holds.
  returned: with O(state=manifest), except in check mode
  type: dict
  sample: {entries: 20010, files: 20000, bytes: 81920000, hashed: 3000, hashed_bytes: 12288000, reused: 0}
progress:
  description: How far the job is.
  returned: with O(job), while it runs
  type: dict
  sample: {phase: reading, entries: 120000, entries_total: 200000, hashed_bytes: 0}
state:
  description: V(running), or V(done).
  returned: with O(job)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.seamless.migration.plugins.module_utils.host.files import native, printable
from ansible_collections.seamless.migration.plugins.module_utils.host.job import LEASE_S, LOOK_S, Job, begin_or_look
from ansible_collections.seamless.migration.plugins.module_utils.tree import options
from ansible_collections.seamless.migration.plugins.module_utils.tree.compare import IGNORABLE
from ansible_collections.seamless.migration.plugins.module_utils.tree.errors import TreeError
from ansible_collections.seamless.migration.plugins.module_utils.tree.manifest import LEVELS, remove


def argument_spec():
    return {
        "path": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["compared", "manifest", "absent"], "default": "compared"},
        "dest": {"type": "str"},
        "dest_manifest": {"type": "str"},
        "manifest": {"type": "str"},
        "level": {"type": "str", "choices": list(LEVELS), "default": "metadata"},
        "files_from": {"type": "path"},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "sample": {"type": "int", "default": 3000},
        "seed": {"type": "str", "default": "", "no_log": False},
        "changed_since": {"type": "str"},
        "xattrs": {"type": "bool", "default": True},
        "one_file_system": {"type": "bool", "default": False},
        "ignore": {"type": "list", "elements": "str", "choices": list(IGNORABLE), "default": []},
        "mtime_granularity_ns": {"type": "int", "default": 1},
        "other_mtime_granularity_ns": {"type": "int", "default": 1000000000},
        "live": {"type": "bool", "default": False},
        "recheck_delay": {"type": "int", "default": 20},
        "hash_cache": {"type": "path"},
        "differences_file": {"type": "path"},
        "differing_file": {"type": "path"},
        "unsettled_file": {"type": "path"},
        "password_file": {"type": "path", "no_log": False},
        "timeout": {"type": "int", "default": 3600},
        "require_mountpoint": {"type": "bool", "default": False},
        "allow_empty": {"type": "bool", "default": False},
        "workers": {"type": "int", "default": 4},
        "work_dir": {"type": "path", "default": "/var/lib/seamless-migration/tree"},
        "job": {"type": "str"},
    }


def look(module, params):
    """What would be done, in check mode. Returns the result."""
    result = {"equal": None} if params["state"] == "compared" else {}
    if params.get("manifest"):
        result["manifest"] = options.in_root(params["path"], params["manifest"], "manifest")
    try:
        options.roots(params)
    except TreeError as error:
        module.warn("Nothing could be compared by now: %s" % error)
    return result


def work(params):
    """Do it. Returns the result."""
    if params["state"] == "absent":
        path = options.in_root(params["path"], params["manifest"], "manifest")
        remove(path)
        return {"manifest": path}
    options.roots(params)
    if not params["job"]:
        return compare(params)
    job = Job(params["work_dir"], params["job"], TreeError)
    return begin_or_look(job, lambda: compare(params, job.tell), LOOK_S, LEASE_S)


def compare(params, tell=lambda progress: None):
    """Compare, or make the manifest. tell: function of a dict, for progress. Returns the result."""
    if params["state"] == "manifest":
        return options.manifest(params, tell)
    result = options.compared(params, tell)
    if params["differences_file"]:
        result["differences_file"] = params["differences_file"]
    return result


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = native(module.params)
    try:
        options.check(params)
        options.plan(params)
        result = look(module, params) if module.check_mode else work(params)
    except TreeError as error:
        verb = {"compared": "compare", "manifest": "make the manifest of", "absent": "remove the manifest of"}
        what = (verb[params["state"]], params["path"], error)
        module.fail_json(msg=printable("Failed to %s the tree %s: %s" % what))
    module.exit_json(changed=False, **printable(result))


if __name__ == "__main__":
    main()
