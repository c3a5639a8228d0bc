# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates before a switchover: those of the whole migration, and those that only hold at this moment."""

from ansible_collections.seamless.migration.plugins.module_utils.mysql import gtid, guardrails
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.guardrail_facts import facts

# What no operator may wave through: without these there are two writers, or rows are lost.
NEVER_FORCED = ("gtid", "server_ids", "target_fenced", "source_open", "forward_channel", "purge_distance", "errant")
# On the way back the older server is the target by intention; its channel ran all the time, which is the proof.
ONLY_FORWARD = ("versions", "way_back")


def judge(gates, force):
    """Turn findings into gates. gates: list of {"name", "ok", "evidence", "advice"}. force: names.

    Returns list of {"name", "state" (ok, failed or forced), "evidence", "advice"}.
    """
    judged = []
    for gate in gates:
        state = "ok" if gate["ok"] else "failed"
        if state == "failed" and gate["name"] in force and gate["name"] not in NEVER_FORCED:
            state = "forced"
        judged.append(dict(name=gate["name"], state=state, evidence=gate["evidence"], advice=gate["advice"]))
    return judged


def failure(gates):
    """The sentence for gates that failed, or None."""
    failed = [gate for gate in gates if gate["state"] == "failed"]
    if not failed:
        return None
    told = [
        "%s (%s). %s" % (gate["name"], "; ".join(gate["evidence"].get("problems", [])[:3]) or "failed", gate["advice"])
        for gate in failed
    ]
    return "%d gate(s) failed: %s" % (len(failed), " - ".join(told))


def auto_increment(source, target):
    """On a bridge both sides have to choose numbers that the other one never does."""
    names = ("auto_increment_increment", "auto_increment_offset")
    values = {side.role: {name: int(side.variable(name)) for name in names} for side in (source, target)}
    problems = [
        "auto_increment_increment is %d on the %s" % (one["auto_increment_increment"], role)
        for role, one in sorted(values.items())
        if one["auto_increment_increment"] < 2
    ]
    if values["source"]["auto_increment_offset"] == values["target"]["auto_increment_offset"]:
        problems.append("auto_increment_offset is %d on both" % values["source"]["auto_increment_offset"])
    return guardrails.gate("auto_increment", problems, "Run mysql_bridge, which sets them", values)


def of_this_moment(source, target, channel, bridge=False):
    """Gates that need both connections. source, target: Side. channel: name of the forward channel on the target."""
    applied = target.executed()
    gates = []
    problem = target.channel_problem(channel, source.uuid)
    gates.append(guardrails.gate("forward_channel", [problem] if problem else [], "Mend the channel"))
    state = source.reading()
    problems = [] if not (state["read_only"] or state["super_read_only"]) else ["the source is read-only"]
    gates.append(
        guardrails.gate("source_open", problems, "Open it with mysql_read_only, or find out who fenced it", dict(state))
    )
    with target.fresh() as session:
        state = target.reading(session)
        problems = [] if state["fenced"] or bridge else ["the target is not fenced"]
        if not problems and not bridge and target.forgot_fence(session):
            problems.append("the fence of the target would not outlast a restart")
    gates.append(guardrails.gate("target_fenced", problems, "Fence it with mysql_read_only", dict(state)))
    # The target's set was read first, so that what the source does meanwhile cannot look errant.
    extra = "" if bridge else source.lacks(applied)
    gates.append(guardrails.errant(extra))
    gates.append(guardrails.purge_distance(gtid.subtract(source.main, gtid.purged(source.main), applied)))
    if bridge:
        gates.append(auto_increment(source, target))
    return gates


def of_the_migration(source, target, options):
    """The gates that preflight has too. options: what guardrails.findings() wants. Returns list of gates."""
    known = [facts(side.server, side.main, options.get("schemas", ())) for side in (source, target)]
    for one in known:
        one.setdefault("known_replicas", [])
    own = [name for name in (side.server.options.get("login_user") for side in (source, target)) if name]
    channel = target.channel(options["forward_channel"]) or {}
    details = {
        "phase": "replicating",
        "retention_hours": options["retention_hours"],
        "fence_exempt": options["fence_exempt"],
        "own_users": own,
        "ssl": channel.get("source_ssl_allowed") == "Yes",
        "public_key": bool(channel.get("get_source_public_key")),
        "own_channels": {
            "source": {"name": options["reverse_channel"]},
            "target": {"name": options["forward_channel"]},
        },
        "errant": "",
        "missing": "",
    }
    return guardrails.findings(known[0], known[1], details)


def check(source, target, options):
    """All gates, judged. options: of the switchover. Returns list; raises MySQLMigrationError when one failed."""
    bridge = options["strategy"] == "bridge"
    now = of_this_moment(source, target, options["forward_channel"], bridge)
    names = [gate["name"] for gate in now]
    skipped = ONLY_FORWARD if options["direction"] == "back" else ()
    more = [
        gate
        for gate in of_the_migration(source, target, options)
        if gate["name"] not in names and gate["name"] not in skipped
    ]
    judged = judge(now + more, options["force"])
    problem = failure(judged)
    if problem:
        error = MySQLMigrationError(problem)
        error.gates = judged
        raise error
    return judged
