# SPDX-License-Identifier: GPL-3.0-or-later
"""The guardrails of a MySQL migration: each a named gate, decided from what was read on both servers.

findings() decides and touches nothing; guardrail_facts reads. Two phases: `before` (the target may be empty and nothing
replicates) and `replicating` (the channel from source to target runs; what only then can be known is checked as well).
"""

from ansible_collections.seamless.migration.plugins.module_utils.mysql.fence import LINES
from ansible_collections.seamless.migration.plugins.module_utils.mysql.receivers import followed, is_ours

PHASES = ("before", "replicating")
# Replication goes from one long-term series to itself and to the next one, through the innovation releases between.
SERIES = ((5, 7), (8, 0), (8, 4), (9, 7))
# Accounts that belong to the server or to the provider, in every version.
SYSTEM_USERS = ("mysql.sys", "mysql.session", "mysql.infoschema", "rdsadmin", "rdsrepladmin", "rdstopmgr")
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
# Administrators that every server has for itself.
LOCAL_USERS = ("root", "debian-sys-maint")
FENCE_PRIVILEGES = ("SUPER", "CONNECTION_ADMIN")
SHOWN = 20


def gate(name, problems, advice, evidence=None):
    """One gate: ok when there are no problems (list of str). Returns {"name", "ok", "evidence", "advice"}."""
    shown = dict(evidence or {})
    shown["problems"] = problems[:SHOWN]
    if len(problems) > SHOWN:
        shown["more_problems"] = len(problems) - SHOWN
    return {"name": name, "ok": not problems, "evidence": shown, "advice": advice}


def findings(source, target, options):
    """Decide every guardrail.

    source, target: facts of both servers, see guardrail_facts.facts().
    options: {"phase", "retention_hours" (wanted), "fence_exempt" (accounts that may write through a fence), "own_users"
    (of the migration), "ssl" and "public_key" (how the channel connects), "replicas" (list of what look_at_replica
    told), "channels" (whether both must run by now), "own_channels" (by side, the channel there that is the
    migration's: {"name", "source_host", "source_port"}), "errant", "missing" (GTID sets as text, empty where nothing
    replicates yet)}.
    Returns a list of gates, see gate().
    """
    gates = [
        versions(source, target),
        way_back(source, target),
        gtid(source, target, options["phase"]),
        row_format(source, target),
        log_replica_updates(source, target),
        server_ids(source, target),
        filters(source, target),
        delay(source, target),
        foreign_channels(source, target, options.get("own_channels", {}), options["own_users"]),
        retention(source, target, options["retention_hours"], options["phase"]),
        primary_keys(source),
        engines(source),
        definers(source, target, options["phase"]),
        sql_mode(source, target),
        time_zone(source, target),
        character_set_server(source, target),
        lower_case_table_names(source, target),
        fence_writers(source, target, options["own_users"] + options["fence_exempt"]),
        fence_lasts(source),
        prepared_xa(source),
        performance_schema(source, target),
        transport(source, target, options),
        replicas(source, target, options.get("replicas", [])),
    ]
    if options["phase"] == "replicating":
        gates += [
            accounts(source, target, options["own_users"]),
            target_fenced(target),
            events(target),
            purge_distance(options["missing"]),
            errant(options["errant"]),
        ]
    if options.get("channels"):
        gates += [channel("forward_channel", target, source), channel("reverse_channel", source, target)]
    return gates


def _both(source, target):
    return (("source", source), ("target", target))


def _values(source, target, *names):
    return {side: {name: facts["variables"].get(name) for name in names} for side, facts in _both(source, target)}


def is_on(value):
    """Whether a variable's value (str, int or None) means on."""
    return str(value).upper() in ("ON", "1", "TRUE", "YES")


def position(version):
    """Where a version (tuple of int) stands among the long-term series: even numbers are a series itself, odd ones the
    innovation releases before the next. (8, 0, 40) -> 2, (8, 2, 0) -> 3."""
    for number, series in enumerate(SERIES):
        if version[:2] == series:
            return 2 * number
        if version[:2] < series:
            return 2 * number - 1
    return 2 * len(SERIES) - 1


# --- versions ----------------------------------------------------------------------------------------------------


def versions(source, target):
    """Replication goes to the same or the next series (the manual, "Replication Compatibility")."""
    problems = []
    older, newer = position(source["version"]), position(target["version"])
    if source["version"] < (5, 7, 6):
        problems.append("the source is %s: GTIDs can be turned on online from 5.7.6 on" % source["version_text"])
    if target["version"][:2] < source["version"][:2]:
        problems.append(
            "the target (%s) is older than the source (%s)" % (target["version_text"], source["version_text"])
        )
    elif newer > older - older % 2 + 2:
        problems.append(
            "from %s to %s goes over more than one series" % (source["version_text"], target["version_text"])
        )
    evidence = {"source": source["version_text"], "target": target["version_text"]}
    return gate(
        "versions",
        problems,
        "Choose a target of the same or of the next long-term series (%s)"
        % ", ".join("%d.%d" % series for series in SERIES),
        evidence,
    )


def way_back(source, target):
    """Changes of a newer server may be more than an older one understands; then there is no rollback with the data."""
    problems = []
    if target["version"][:2] > source["version"][:2]:
        problems.append(
            "the target (%s) is of a newer series than the source (%s): replication back is not supported "
            "by MySQL and may stop" % (target["version_text"], source["version_text"])
        )
    return gate(
        "way_back",
        problems,
        "Force this gate when you accept that the rollback may fail once the new server has written what the "
        "old one does not know; try the bridge and the rollback on a copy first",
    )


# --- replication -------------------------------------------------------------------------------------------------


def gtid(source, target, phase):
    problems = []
    for side, facts in _both(source, target):
        mode = str(facts["variables"].get("gtid_mode", "OFF"))
        if mode == "ON" and str(facts["variables"].get("enforce_gtid_consistency")) in ("ON", "1"):
            continue
        # mysql_prepare turns it on where SQL can; on RDS the parameter group does.
        if phase == "before" and facts["platform"] != "rds":
            continue
        problems.append("gtid_mode is %s on the %s" % (mode, side))
    advice = "Run mysql_prepare; on RDS set gtid-mode and enforce_gtid_consistency to ON in the parameter group"
    return gate("gtid", problems, advice, _values(source, target, "gtid_mode", "enforce_gtid_consistency"))


def row_format(source, target):
    problems = []
    for side, facts in _both(source, target):
        variables = facts["variables"]
        if not is_on(variables.get("log_bin", "OFF")):
            problems.append("the binary log is off on the %s" % side)
        for name, wanted in (("binlog_format", "ROW"), ("binlog_row_image", "FULL")):
            if str(variables.get(name, wanted)).upper() != wanted:
                problems.append("%s is %s on the %s" % (name, variables[name], side))
        if variables.get("binlog_row_value_options"):
            problems.append("binlog_row_value_options is %s on the %s" % (variables["binlog_row_value_options"], side))
    return gate(
        "row_format",
        problems,
        "Set log_bin, binlog_format=ROW, binlog_row_image=FULL and binlog_row_value_options='' there; on RDS the "
        "binary log is on while automated backups are",
        _values(source, target, "log_bin", "binlog_format", "binlog_row_image"),
    )


def log_replica_updates(source, target):
    problems = [
        "the %s does not log what it replicates" % side
        for side, facts in _both(source, target)
        if not is_on(facts["variables"].get("log_replica_updates", facts["variables"].get("log_slave_updates")))
    ]
    return gate(
        "log_replica_updates",
        problems,
        "Set log_replica_updates=ON there and restart: without it there is no way back and no further replica",
    )


def server_ids(source, target):
    problems = []
    ids = [int(facts["variables"].get("server_id") or 0) for facts in (source, target)]
    if ids[0] == ids[1]:
        problems.append("both servers have server_id %d" % ids[0])
    problems += ["server_id is 0 on the %s" % side for side, number in zip(("source", "target"), ids) if not number]
    if source["uuid"] == target["uuid"]:
        problems.append("both servers have server_uuid %s" % source["uuid"])
    return gate(
        "server_ids",
        problems,
        "Set different server_id values; equal server_uuid values come from a copied data directory: remove its "
        "auto.cnf and restart, or both endpoints lead to one server",
        {"server_ids": ids, "server_uuids": [source["uuid"], target["uuid"]]},
    )


def filters(source, target):
    problems = ["%s has %s" % (side, text) for side, facts in _both(source, target) for text in facts["filters"]]
    return gate(
        "filters",
        problems,
        "Remove the filters: filtered transactions count as applied, so nothing would show that rows are missing",
    )


def delay(source, target):
    problems = []
    for side, facts in _both(source, target):
        for channel in facts["channels"]:
            if channel.get("delay"):
                problems.append("channel '%s' of the %s is delayed by %d s" % (channel["name"], side, channel["delay"]))
    return gate("delay", problems, "Set the delay to 0: the drain would wait it out")


def foreign_channels(source, target, own_channels, own_users):
    """The channels that the migration is to use must not belong to somebody else, whom they would be taken from."""
    problems = []
    uuids = (source["uuid"], target["uuid"])
    for side, facts in _both(source, target):
        own = own_channels.get(side) or {}
        at = (own["source_host"], own.get("source_port") or 3306) if own.get("source_host") else None
        for one in facts["channels"]:
            if one["name"] == (own.get("name") or "") and not is_ours(one, uuids, at, own_users):
                problems.append("channel '%s' of the %s follows %s" % (one["name"], side, followed(one)))
    return gate(
        "foreign_channels",
        problems,
        "Give the migration a channel of another name (mysql_replication_forward_channel for the one of the target, "
        "mysql_replication_reverse_channel for the one of the source, as inventory variables), or remove the channel "
        "there when nobody needs it any more (mysql_replica with state: absent)",
    )


def channel(name, follower, leader):
    """Whether one server follows the other at this moment."""
    found = [one for one in follower["channels"] if one["source_uuid"] == leader["uuid"]]
    problems = ["there is no channel from %s" % leader["uuid"]] if not found else []
    problems += ["channel '%s' does not run" % one["name"] for one in found if not one["running"]]
    return gate(name, problems, "Run mysql_replicate, and read what it says about the channel")


def retention(source, target, wanted_hours, phase):
    """The source's log must last as long as the seed and the way back take. mysql_prepare raises it."""
    hours = {side: facts["retention_hours"] for side, facts in _both(source, target)}
    problems = []
    if phase == "replicating":
        problems = [
            "the %s keeps binary logs for %s" % (side, "%d hours" % kept if kept is not None else "no given time")
            for side, kept in sorted(hours.items())
            if kept is None or 0 < kept < wanted_hours
        ]
    return gate(
        "retention",
        problems,
        "Run mysql_prepare again, or lower migration_mysql.binlog_retention_hours",
        {"hours": hours, "wanted_hours": wanted_hours},
    )


def purge_distance(missing):
    problems = []
    if missing:
        problems.append("the source has purged transactions that the target lacks: %s" % missing)
    return gate(
        "purge_distance", problems, "Seed the target again, after raising the retention of the source's binary log"
    )


def errant(extra):
    problems = ["the target has transactions that the source never had: %s" % extra] if extra else []
    return gate(
        "errant",
        problems,
        "Find what wrote to the target. Seed it again, or, when the change does not matter, inject empty "
        "transactions for these GTIDs on the source",
    )


def target_fenced(target):
    variables = target["variables"]
    problems = []
    if not is_on(variables.get("read_only")):
        problems.append("the target takes writes")
    elif not is_on(variables.get("super_read_only")) and target["platform"] != "rds":
        problems.append("the target takes writes of administrators")
    return gate(
        "target_fenced",
        problems,
        "Run mysql_replicate again, and keep applications away from the target",
        _values(target, target, "read_only", "super_read_only")["target"],
    )


# --- what the data are like --------------------------------------------------------------------------------------


def primary_keys(source):
    problems = [
        "%s has no primary key%s" % (table["name"], "" if not table["unique"] else " (but a unique key)")
        for table in source["tables"]
        if not table["primary_key"]
    ]
    return gate(
        "primary_keys",
        problems,
        "Add a primary key. Without one a change of many rows is applied by a scan for each, and the compare has "
        "no chunks",
        {"tables": len(source["tables"])},
    )


def engines(source):
    problems = [
        "%s is %s" % (table["name"], table["engine"]) for table in source["tables"] if table["engine"] != "InnoDB"
    ]
    return gate("engines", problems, "Run ALTER TABLE ... ENGINE=InnoDB: other engines have no transactions")


def _accounts(facts):
    return {"%s@%s" % (account["user"], account["host"]) for account in facts["accounts"]}


def definers(source, target, phase):
    """A definer that is missing is seen only when the object is used (error 1449)."""
    problems = []
    sides = [("source", source)] if phase == "before" else _both(source, target)
    for side, facts in sides:
        there = _accounts(facts)
        for account in sorted({item["definer"] for item in source["definers"]} - there):
            objects = [item["name"] for item in source["definers"] if item["definer"] == account]
            problems.append(
                "%s, definer of %s, does not exist on the %s"
                % (account, ", ".join(objects[:3]) + (" ..." if len(objects) > 3 else ""), side)
            )
    return gate(
        "definers", problems, "Create the account there, or change the definer", {"objects": len(source["definers"])}
    )


def accounts(source, target, own_users):
    there = _accounts(target)
    problems = [
        "%s does not exist on the target" % name
        for account in source["accounts"]
        for name in ["%s@%s" % (account["user"], account["host"])]
        if name not in there
        and account["user"] not in SYSTEM_USERS
        and account["user"] not in own_users
        and not (account["user"] in LOCAL_USERS and account["host"] in LOCAL_HOSTS)
    ]
    return gate(
        "accounts",
        problems,
        "Create it with its grants on the source once more: CREATE USER IF NOT EXISTS and GRANT change nothing "
        "there and reach the target by replication",
        {"source": len(source["accounts"])},
    )


def events(target):
    """An event that runs on the target writes rows that the source never had."""
    problems = []
    if is_on(target["variables"].get("event_scheduler")) and not is_on(target["variables"].get("super_read_only")):
        problems = ["event %s is enabled on the target" % name for name in target["events"]]
    return gate("events", problems, "Run mysql_replicate again: it closes the target, which stops events")


def prepared_xa(source):
    problems = ["%d prepared XA transactions on the source" % source["prepared_xa"]] if source["prepared_xa"] else []
    return gate(
        "prepared_xa",
        problems,
        "Let the transaction manager end them, or XA COMMIT / XA ROLLBACK by hand (XA RECOVER lists them): they "
        "can be committed through the fence",
    )


def performance_schema(source, target):
    """Without it the tables on clients, locks and replicas are there and empty: nothing would ever seem in the way."""
    problems = [
        "performance_schema is %s on the %s" % (facts["variables"]["performance_schema"], side)
        for side, facts in _both(source, target)
        if not is_on(facts["variables"].get("performance_schema", "ON"))
    ]
    return gate(
        "performance_schema",
        problems,
        "Set performance_schema = ON in the server's configuration (RDS: in its parameter group) and restart it, or "
        "force the gate when long transactions, open XA transactions and attached replicas are looked for by hand",
    )


# --- settings that change what a statement means -----------------------------------------------------------------


def _equal(source, target, variables, advice, normal=str):
    problems = []
    for variable in variables:
        values = [normal(facts["variables"].get(variable)) for facts in (source, target)]
        if values[0] != values[1]:
            problems.append("%s is %s on the source and %s on the target" % (variable, values[0], values[1]))
    return gate(variables[0], problems, advice, _values(source, target, *variables))


def sql_mode(source, target):
    # NO_AUTO_CREATE_USER exists up to 5.7 only and means nothing later.
    def words(value):
        return ",".join(sorted(set(str(value or "").split(",")) - {"", "NO_AUTO_CREATE_USER"}))

    return _equal(source, target, ["sql_mode"], "Give the target the source's sql_mode", words)


def time_zone(source, target):
    gates = _equal(source, target, ["time_zone"], "Give the target the source's time zone")
    zones = [str(facts["variables"].get("time_zone")).upper() for facts in (source, target)]
    offsets = [facts["utc_offset_s"] for facts in (source, target)]
    if zones == ["SYSTEM", "SYSTEM"] and offsets[0] != offsets[1]:
        gates["evidence"]["problems"].append("the system time zones are %d s apart" % abs(offsets[0] - offsets[1]))
        gates["ok"] = False
    gates["evidence"]["utc_offsets_s"] = offsets
    return gates


def character_set_server(source, target):
    return _equal(
        source,
        target,
        ["character_set_server", "collation_server"],
        "Give the target the source's character set and collation, or new tables would differ",
    )


def lower_case_table_names(source, target):
    return _equal(
        source,
        target,
        ["lower_case_table_names"],
        "It is chosen when a server is initialised: make the target anew with the source's value",
    )


# --- who can do what ---------------------------------------------------------------------------------------------


def fence_writers(source, target, exempt):
    """Accounts whose writes or whose SET could get through a fence."""
    problems = []
    for side, facts in _both(source, target):
        for grant in facts["fence_grants"]:
            user, host = grant["user"], grant["host"]
            if user in SYSTEM_USERS or user in exempt or "%s@%s" % (user, host) in exempt:
                continue
            if user in LOCAL_USERS and host in LOCAL_HOSTS:
                continue
            problems.append("%s@%s has %s on the %s" % (user, host, grant["privilege"], side))
    return gate(
        "fence_writers", problems, "Revoke it from applications; name administrators in migration_mysql.fence_exempt"
    )


def fence_lasts(source):
    """A server that is left must come up closed. 5.7 cannot persist that, and SQL cannot see what its file says."""
    problems = []
    if source["platform"] != "rds" and source["version"] < (8, 0, 0):
        problems.append(
            "the source is %s, which forgets at a restart that it was closed, and would take writes again beside the "
            "target" % source["version_text"]
        )
    return gate(
        "fence_lasts",
        problems,
        "Put the lines %s under [mysqld] into the my.cnf of the source, without a restart, before it is left, and take "
        "them out again before a rollback. Then force this gate" % LINES,
    )


def transport(source, target, options):
    problems = []
    for side, facts in _both(source, target):
        if options["ssl"] and not facts["tls"]:
            problems.append("replication is to use TLS, which the %s does not offer" % side)
        if not options["ssl"] and facts["platform"] == "rds":
            problems.append("the %s is RDS, which needs replication.ssl for caching_sha2_password" % side)
    if not options["ssl"] and not options["public_key"]:
        problems.append("replication has neither ssl nor get_public_key, so caching_sha2_password cannot log in")
    return gate(
        "transport",
        problems,
        "Turn TLS on there, or give migration_mysql.replication ssl: false and get_public_key: true where the network "
        "is trusted",
        {side: {"tls": facts["tls"]} for side, facts in _both(source, target)},
    )


def replicas(source, target, known):
    """Replicas behind both are shown; what they need is decided for those that the migration knows (list of dict)."""
    problems = ["%s: %s" % (replica["name"], text) for replica in known for text in replica["problems"]]
    named = {replica["uuid"] for replica in known} | {source["uuid"], target["uuid"]}
    evidence = {
        side: [replica["name"] for replica in known if replica["side"] == side]
        + ["not named: %s" % replica["text"] for replica in facts["replicas"] if replica["uuid"] not in named]
        for side, facts in _both(source, target)
    }
    return gate(
        "replicas",
        problems,
        "Mend the replica, or take it out of service and out of migration_mysql.replicas",
        evidence,
    )
