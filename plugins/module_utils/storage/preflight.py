# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates of the storage preflight: decisions from facts, without touching a host."""

OLDEST_RSYNC = (3, 1)
# rsync 3.4.3 breaks --delete-missing-args (RsyncProject/rsync#910), which the final delta needs; 3.4.4 mends it.
BROKEN_RSYNC = {(3, 4, 3)}


def gate(name, problems, advice, evidence=None):
    """One gate: ok when there are no problems. Returns {"name", "ok", "evidence", "advice"}."""
    shown = dict(evidence or {})
    shown["problems"] = problems
    return {"name": name, "ok": not problems, "evidence": shown, "advice": advice}


def preflight_gates(source, target, trees, options):
    """Decide every gate of the preflight.

    source, target: what storage_info returned on the two hosts ({"host", "trees"}), trees in the order of `trees`.
    trees: migration_trees. options: {"writers", "clock_tolerance" (seconds), "reserve_percent", "clock_slack"
    (seconds that lay between the two readings)}. Returns a list of gates, see gate().
    """
    pairs = list(zip(trees, source["trees"], target["trees"]))
    return [
        source_trees(pairs),
        target_trees(pairs),
        space(pairs, options["reserve_percent"]),
        inodes(pairs),
        rsync_versions(source["host"], target["host"]),
        accounts(source["host"], target["host"]),
        clocks(source["host"], target["host"], options["clock_tolerance"], options["clock_slack"]),
        writers(source["host"], target["host"], options["writers"]),
    ]


def source_trees(pairs):
    problems = []
    for tree, facts, _target in pairs:
        if not facts["exists"]:
            problems.append("%s does not exist on the source" % tree["source"])
        elif tree.get("require_mountpoint") and not facts["mountpoint"]:
            problems.append("%s is not mounted on the source" % tree["source"])
        elif facts["empty"]:
            problems.append("%s is empty on the source: not mounted?" % tree["source"])
    return gate("source_trees", problems, "Mount the tree, or correct its path in migration_trees")


def target_trees(pairs):
    problems = []
    for tree, _source, facts in pairs:
        if facts["read_only"] and (facts["exists"] or not tree.get("require_mountpoint")):
            problems.append("%s is read-only on the target" % tree["target"])
        if tree.get("require_mountpoint") and not (facts["exists"] and facts["mountpoint"]):
            problems.append("%s is not mounted on the target" % tree["target"])
    return gate("target_trees", problems, "Mount the file system of the new tree, writable")


def _device(facts):
    """What tells file systems apart. A journal may have facts from before they told the device."""
    return facts.get("device", facts["path"])


def _together(items, facts_of):
    """Items by the file system that facts_of(item) tell of: list of lists."""
    found = {}
    for item in items:
        found.setdefault(_device(facts_of(item)), []).append(item)
    return list(found.values())


def _by_file_system(pairs):
    """The trees that come to lie together on one file system of the target: list of lists of pairs."""
    return _together(pairs, lambda pair: pair[2])


def _needed(group, count, used):
    """How much of something the trees of a group take together.

    count: function of the facts of a tree, None where it was not counted whole. used: name of the fact of how much the
    whole file system of the source uses, which then stands for all of its trees.
    """
    total = 0
    for sources in _together((source for _tree, source, _target in group), lambda source: source):
        counts = [count(facts) for facts in sources]
        total += sources[0][used] if None in counts else sum(counts)
    return total


def _bytes(facts):
    counts = facts.get("counts")
    return counts["bytes"] if counts and counts["complete"] else None


def _entries(facts):
    counts = facts.get("counts")
    return counts["files"] + counts["directories"] if counts and counts["complete"] else None


def _already(group, count):
    """What is on the target already, from an earlier copy."""
    return sum(count(target) or 0 for _tree, _source, target in group)


def _names(group):
    return ", ".join(tree["name"] for tree, _source, _target in group)


def _lacking(group, needed, already, free, what):
    """What is to be told of the trees of a group when there is no room for them: a list of one sentence, or empty."""
    if needed <= free + already:
        return []
    who = _names(group) + (" needs" if len(group) == 1 else " together need")
    return ["%s %d %s, %d are free" % (who, needed - already, what, free)]


def space(pairs, reserve_percent):
    problems, evidence = [], {}
    for group in _by_file_system([pair for pair in pairs if _comparable(*pair)]):
        free, already = group[0][2]["free_bytes"], _already(group, _bytes)
        needed = _needed(group, _bytes, "used_bytes") * (100 + reserve_percent) // 100
        evidence[_names(group)] = {"needed_bytes": needed, "free_bytes": free, "there_bytes": already}
        problems += _lacking(group, needed, already, free, "bytes")
    return gate("space", problems, "Enlarge the target's file system, or exclude what need not move", evidence)


def _comparable(tree, source, target):
    """Whether the file system is known that will take the tree: one that is still to be mounted is not."""
    return source["exists"] and (target["exists"] or not tree.get("require_mountpoint"))


def inodes(pairs):
    problems, evidence = [], {}
    limited = [pair for pair in pairs if _comparable(*pair) and pair[2]["inodes_limited"]]
    for group in _by_file_system(limited):
        free, already = group[0][2]["free_inodes"], _already(group, _entries)
        needed = _needed(group, _entries, "used_inodes")
        evidence[_names(group)] = {"needed": needed, "free": free, "there": already}
        problems += _lacking(group, needed, already, free, "inodes")
    return gate("inodes", problems, "Make the target's file system with more inodes (mkfs -N)", evidence)


def version_tuple(text):
    """'3.5.0' -> (3, 5, 0)."""
    return tuple(int(part) for part in text.split("."))


def rsync_versions(source, target):
    problems = []
    for side, host in (("source", source), ("target", target)):
        if host["rsync"] is None:
            continue  # storage_prepare installs it
        version = version_tuple(host["rsync"])
        if version < OLDEST_RSYNC:
            problems.append("rsync %s on the %s is older than 3.1" % (host["rsync"], side))
        if version in BROKEN_RSYNC:
            problems.append("rsync %s on the %s loses deletions (--delete-missing-args)" % (host["rsync"], side))
        missing = [name for name, built in sorted(host["rsync_features"].items()) if not built]
        if missing:
            problems.append("rsync on the %s was built without %s" % (side, ", ".join(missing)))
    evidence = {"source": source["rsync"], "target": target["rsync"]}
    return gate("rsync_versions", problems, "Install another rsync there", evidence)


def accounts(source, target):
    """Owners move by number; an account whose number differs would own other people's files."""
    problems = []
    for kind in ("users", "groups"):
        for name, number in sorted(source[kind].items()):
            other = target[kind].get(name)
            if number >= 1000 and other is not None and other != number and name not in ("nobody", "nogroup"):
                problems.append("%s %s is %d on the source and %d on the target" % (kind[:-1], name, number, other))
    return gate("accounts", problems, "Give the accounts equal numbers; ownership moves by number")


def clocks(source, target, tolerance, slack):
    """The clocks were read at most `slack` seconds after each other: that much says nothing."""
    apart = max(0.0, abs(source["clock"] - target["clock"]) - slack)
    problems = ["the clocks are at least %.1f s apart" % apart] if apart > tolerance else []
    evidence = {"seconds": round(apart, 3), "read_within": round(slack, 3)}
    return gate("clocks", problems, "Let both hosts take their time from the same server", evidence)


def writers(source, target, names):
    problems = []
    for side, host in (("source", source), ("target", target)):
        for name in names:
            if host["units"] and not host["units"].get(name, {}).get("exists"):
                problems.append("there is no unit %s on the %s" % (name, side))
    return gate("writers", problems, "Install the unit there, or correct migration_writers")
