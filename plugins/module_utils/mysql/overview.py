# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules of a MySQL migration returned, in a few lines for somebody who reads along."""


def guardrails(found):
    """What mysql_guardrails returned, in a few lines for a reader. found: its result (dict). Returns list of str."""
    lines = []
    gates = {one["name"]: one for one in found["gates"]}
    behind = gates.get("replicas", {"evidence": {}})["evidence"]
    for side in ("source", "target"):
        one = found["servers"][side]
        lines.append(
            "%s: %s %s, %d tables in %s, %.1f GiB"
            % (
                side,
                one["platform"],
                one["version"],
                one["tables"],
                ", ".join(one["schemas"]) or "no schema",
                one["bytes"] / 1024.0**3,
            )
        )
        lines += ["%s: followed by %s" % (side, name) for name in behind.get(side, [])]
    failed = [one["name"] for one in found["gates"] if not one["ok"]]
    lines.append("gates that do not hold: %s" % (", ".join(failed) or "none"))
    return lines


def switchover(found, back=False):
    """What mysql_switchover returned. found: its result (dict). back: it was the way back. Returns list of str."""
    lines = ["%d %s: %s" % (step["n"], step["name"], _outcome(step)) for step in found.get("steps", [])]
    lines += ["would be done: %s" % line for line in found.get("plan", [])]
    if found.get("window_ms") is not None:
        lines.append("nobody could write for %.0f ms" % found["window_ms"])
    sides = {"left": "target" if back else "source", "other": "source" if back else "target"}
    takes = TAKES.get(found.get("state"), "nobody can tell who takes the writes: a server does not answer")
    return lines + [takes.format(**sides)]


def _outcome(step):
    return "%.0f ms%s" % (step["ms"], "" if step["ok"] else ", failed")


TAKES = {
    "source_open": "the {left} takes the writes",
    "target_open": "the {other} takes the writes",
    "both_fenced": "nobody takes the writes: both servers are closed",
    "both_open": "both servers take writes",
}
