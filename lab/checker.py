# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what a migration lost: replays the writers' logs and compares the outcome with a listing of the tree.

Paths are percent-encoded everywhere, as in the logs and listings, so that any bytes are shown and compared.
"""

import json

# The upload service makes files and directories with these, as the user of the service.
FILE_MODE, FOLDER_MODE, OWNER = 0o644, 0o755, 2000
# Directory times are left out: the service changes directories while they are copied.
COMPARED = {
    "file": ("mode", "uid", "gid", "size", "sha256", "mtime_ns", "xattrs"),
    "dir": ("mode", "uid", "gid", "xattrs"),
    "link": ("target", "uid", "gid", "mtime_ns"),
}
OTHER_TYPES = ("mode", "uid", "gid", "device")


class Replay:
    """The tree that one writer's acknowledged operations make.

    ``entries`` maps a path to a dictionary of what is expected there. Hard links share one dictionary.
    ``either`` maps a path that an unknown operation touched to what is accepted there; None stands for nothing.
    """

    def __init__(self, name):
        self.name = name
        self.entries = {}
        self.either = {}
        self.acknowledged = []  # (time, server) of each
        self.retried = 0
        self.refused = []
        self._open = {}

    def feed(self, lines):
        """Take the lines of a log, in order, to their end."""
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # the last line of a writer that was killed while it wrote it
            self._take(record)
        for record in self._open.values():
            self._accept_either(record)
        return self

    def _take(self, record):
        event = record["event"]
        if event == "start":
            parts = record["prefix"].strip("/").split("/")
            self._roots = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        elif event == "sent":
            self._open[record["seq"]] = record
        elif event == "ok":
            if not self.acknowledged:
                self.entries.update({root: _folder() for root in self._roots})
            self.apply(self._open.pop(record["seq"]))
            self.acknowledged.append((record["at"], record["server"]))
            self.retried += "tries" in record
        elif event == "refused":
            sent = self._open.pop(record["seq"])
            self.refused.append({"path": sent["path"], "op": sent["op"], "status": record["status"]})

    def apply(self, record):
        """Do an operation to the expected tree."""
        path, operation = record["path"], record["op"]
        if operation in ("put", "append"):
            known = self.entries.setdefault(path, _file())
            known.update(sha256=record["sha256"], size=record["size"])
        elif operation == "mkdir":
            self.entries[path] = _folder()
        elif operation == "symlink":
            self.entries[path] = {"type": "link", "target": record["target"], "uid": OWNER, "gid": OWNER}
        elif operation == "link" and path in self.entries:
            self.entries[record["to"]] = self.entries[path]
        elif operation == "chmod" and path in self.entries:
            self.entries[path]["mode"] = record["mode"]
        elif operation == "delete":
            for name in self._below(path):
                del self.entries[name]
        elif operation == "rename":
            # The target of a rename is replaced.
            moved = {record["to"] + name[len(path) :]: self.entries.pop(name) for name in self._below(path)}
            self.entries.update(moved)

    def _below(self, path):
        inside = path + "/"
        return [name for name in self.entries if name == path or name.startswith(inside)]

    def _accept_either(self, record):
        before = {name: dict(entry) for name, entry in self.entries.items()}
        self.apply(record)
        for name in set(before) | set(self.entries):
            if before.get(name) != self.entries.get(name):
                accepted = [before.get(name), self.entries.get(name)]
                if record["op"] in ("put", "append"):
                    # Written in place: a part of the new content may be there, under any of its names.
                    accepted.append({"type": "file"})
                self.either[name] = accepted


def _file():
    return {"type": "file", "mode": FILE_MODE, "uid": OWNER, "gid": OWNER, "sha256": None, "size": 0}


def _folder():
    return {"type": "dir", "mode": FOLDER_MODE, "uid": OWNER, "gid": OWNER}


def read_listing(lines):
    """Path -> entry of a listing made by guest/tree_listing.py."""
    return {entry["path"]: entry for entry in map(json.loads, lines)}


def differing(expected, actual):
    """Names of what differs between an expected and an actual entry; only what is expected is compared."""
    if expected["type"] != actual["type"]:
        return ["type"]
    fields = COMPARED.get(expected["type"], OTHER_TYPES)
    if "mtime_ns" not in expected:
        # From a replay, which knows no times and no extended attributes. A listing leaves those out that are not set.
        fields = [field for field in fields if field in expected]
    return [field for field in fields if expected.get(field) != actual.get(field)]


def _link_groups(expected):
    """Lists of paths that must be one file."""
    groups = {}
    for path, entry in expected.items():
        if entry["type"] == "file":
            # Entries of a listing name their file; entries of a replay are the same object.
            groups.setdefault(entry.get("inode") or ("replayed", id(entry)), []).append(path)
    return list(groups.values())


def _broken_links(expected, actual, either):
    """Paths whose hard links are not as expected, with the reason."""
    found = {}
    owner = {}
    for group in _link_groups(expected):
        there = [path for path in group if path in actual and path not in either]
        inodes = {actual[path].get("inode") or path for path in there}
        if len(inodes) > 1:
            found.update({path: ["hard links are not one file"] for path in there})
        for inode in inodes:
            first = owner.setdefault(inode, there[0])
            if first != there[0]:
                found[there[0]] = ["one file with " + first]
    return found


def compare(expected, actual, either=None):
    """Compare trees.

    :param expected: path -> entry
    :param actual: path -> entry
    :param either: path -> accepted entries, for paths whose state is not known
    :return: dictionary with lost (paths), different (path -> what differs), extra (paths), sorted
    """
    either = either or {}
    lost, different = [], {}
    for path, entry in expected.items():
        if path in either:
            continue
        if path not in actual:
            lost.append(path)
            continue
        fields = differing(entry, actual[path])
        if fields:
            different[path] = fields
    for path, accepted in either.items():
        found = actual.get(path)
        if not any(_accepts(entry, found) for entry in accepted):
            different[path] = ["neither the state before nor the one after an unknown operation"]
    for path, why in _broken_links(expected, actual, either).items():
        different.setdefault(path, why)
    extra = [path for path in actual if path not in expected and path not in either]
    return {"lost": sorted(lost), "different": dict(sorted(different.items())), "extra": sorted(extra)}


def _accepts(entry, found):
    if entry is None or found is None:
        return entry is None and found is None
    return not differing(entry, found)


def windows(acknowledged):
    """The times in which the service went from one server to another.

    :param acknowledged: for each writer its list of (time, server), in order
    :return: list of dictionaries, one for each switch: from, to, last_old, first_new (epoch seconds), overall_s (from
        the last operation of any writer that the old server acknowledged to the first of the new one; negative when
        both accepted at the same time), longest_s (the longest that one writer waited), writers (how many saw it)
    """
    switches = []
    for events in acknowledged:
        number = 0
        for before, after in zip(events, events[1:]):
            if before[1] == after[1]:
                continue
            if number == len(switches):
                switches.append([])
            switches[number].append((before, after))
            number += 1
    found = []
    for pairs in switches:
        last_old, first_new = max(before[0] for before, _ in pairs), min(after[0] for _, after in pairs)
        found.append(
            {
                "from": pairs[0][0][1],
                "to": pairs[0][1][1],
                "last_old": last_old,
                "first_new": first_new,
                "overall_s": round(first_new - last_old, 3),
                "longest_s": round(max(after[0] - before[0] for before, after in pairs), 3),
                "writers": len(pairs),
            }
        )
    return found


def _by_writer(replays, family):
    """For each writer its (time, server) of all its logs, in order."""
    found = {}
    for replay in replays:
        found.setdefault(family(replay.name), []).extend(replay.acknowledged)
    return [sorted(found[name]) for name in sorted(found)]


def verdict(logs, listing, manifest=(), family=str):
    """Judge a tree.

    :param logs: dictionary of writer's name -> lines of its log
    :param listing: lines of the listing of the tree that is judged
    :param manifest: lines of a listing of what was there before the writers began, and must still be
    :param family: tells from the name of a log whose it is: a writer that was started again begins a new one
    :return: dictionary: ok, acknowledged, retried, unknown, refused, files, bytes, lost, different, extra (counts),
        paths (the same with the paths), windows, two_servers_at_once, window_s (the longest wait of a writer at the
        last switch; None without a switch)
    """
    replays = [Replay(name).feed(lines) for name, lines in sorted(logs.items())]
    expected, either = read_listing(manifest), {}
    for replay in replays:
        expected.update(replay.entries)
        either.update(replay.either)
    actual = read_listing(listing)
    found = compare(expected, actual, either)
    switches = windows(_by_writer(replays, family))
    refused = [dict(entry, writer=replay.name) for replay in replays for entry in replay.refused]
    regular = [entry for entry in actual.values() if entry["type"] == "file"]
    overlap = any(switch["overall_s"] < 0 for switch in switches)
    return {
        "ok": not (found["lost"] or found["different"] or found["extra"] or refused or overlap),
        "acknowledged": sum(len(replay.acknowledged) for replay in replays),
        "retried": sum(replay.retried for replay in replays),
        "unknown": len(either),
        "refused": len(refused),
        "files": len(regular),
        "bytes": sum(entry["size"] for entry in regular),
        "lost": len(found["lost"]),
        "different": len(found["different"]),
        "extra": len(found["extra"]),
        "two_servers_at_once": overlap,
        "windows": switches,
        "window_s": switches[-1]["longest_s"] if switches else None,
        "paths": dict(found, refused=refused),
    }
