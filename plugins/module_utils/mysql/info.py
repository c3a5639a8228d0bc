# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to know about a server and its replication, with the same keys on every version.

Seconds_Behind_Source is not among what is trusted: it was seen to be 0 while the network was cut and while the receiver
had given up. Lag is measured by a heartbeat, by the GTIDs that are missing, and by the time stamps of the applier.
"""

import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql import fence, gtid
from ansible_collections.seamless.migration.plugins.module_utils.mysql.dialect import Dialect
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError, told
from ansible_collections.seamless.migration.plugins.module_utils.mysql.retention import hours as retention_hours
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import Quoted, identifier

# below this the needed transactions are near to being purged
DANGER_HOURS = 24.0
_DENIED = (1044, 1142, 1143, 1227, 1370)


def picture(server, session, peer=None, heartbeat=None, samples=1):
    """All that mysql_replication_info returns.

    peer: session of the source that this server follows, or of whatever server it is to be compared with. heartbeat:
    "schema.table" that the source writes the time (UTC) to, in a column ts. samples: how often lag is measured, a
    second apart. Returns identity, read_only, gtid, binary_log, channels, replicas, lag, errant, missing, purge.
    """
    server.identify(session)
    words = Dialect.for_server(server)
    found = {
        "identity": identity(server, session),
        "read_only": dict(fence.state(session), **fence.persistence(session)),
        "gtid": gtid_state(session),
        "binary_log": binary_log(server, session, words),
        "channels": channels(session, words),
        "replicas": replicas(session, words),
        "errant": None,
        "missing": None,
        "purge": None,
    }
    if peer is not None:
        peer.server.identify(peer)
        found.update(compared(session, peer))
        found["purge"] = purge(session, peer)
    found["lag"] = lag(session, found["channels"], peer, heartbeat, samples)
    return found


def identity(server, session):
    """Who the server is."""
    row = session.row("SELECT @@hostname AS hostname, @@port AS port")
    return {
        "hostname": row["hostname"],
        "port": int(row["port"]),
        "version": ".".join(str(number) for number in server.version),
        "version_text": server.version_text,
        "flavour": server.flavour,
        "platform": server.platform,
        "server_uuid": server.uuid,
        "server_id": server.server_id,
    }


def gtid_state(session):
    """Mode and sets."""
    row = session.row(
        "SELECT @@GLOBAL.gtid_mode AS mode, @@GLOBAL.enforce_gtid_consistency AS enforce_consistency,"
        " @@GLOBAL.gtid_executed AS executed, @@GLOBAL.gtid_purged AS purged"
    )
    sets = {name: (row[name] or "").replace("\n", "") for name in ("executed", "purged")}
    numbers = {"0": "OFF", "1": "ON", "2": "WARN"}
    enforce = str(row["enforce_consistency"])
    return dict(sets, mode=row["mode"], enforce_consistency=numbers.get(enforce, enforce))


def binary_log(server, session, words):
    """How the server writes and keeps its binary log. retention_hours: None when it keeps all, or (RDS) none."""
    row = session.row(
        "SELECT @@GLOBAL.log_bin AS enabled, @@GLOBAL.binlog_format AS format, @@GLOBAL.binlog_row_image AS row_image,"
        " @@GLOBAL.%s AS log_replica_updates" % words.variable("log_replica_updates")
    )
    seconds = retention(session)
    found = {
        "enabled": bool(int(row["enabled"])),
        "format": row["format"],
        "row_image": row["row_image"],
        "log_replica_updates": bool(int(row["log_replica_updates"])),
        "retention_hours": None if seconds is None else round(seconds / 3600.0, 3),
        "kept_until_purged_by_hand": seconds is None and server.platform != "rds",
    }
    if server.platform == "rds" and seconds is None:
        found["retention_hours"] = 0.0
    return found


def retention(session):
    """Seconds for which binary logs are kept; None when they are never purged, on RDS when they are not kept at all."""
    hours = retention_hours(session.server, session)
    return int(hours * 3600) if hours else None


def channels(session, words):
    """All channels, normalised, each with `workers` and `errors`."""
    found = []
    for channel in words.channels(session):
        if channel["source_host"]:
            channel["workers"] = workers(session, channel["channel_name"] or "")
            channel["errors"] = _errors(channel)
            channel["running"] = channel["replica_io_running"] == channel["replica_sql_running"] == "Yes"
            found.append(channel)
    return found


def workers(session, channel):
    """What the threads of the applier do, with times in UTC as text; empty before 8.0."""
    if session.server.version < (8, 0, 0):
        return []
    rows = session.rows(
        "SELECT WORKER_ID AS id, SERVICE_STATE AS state, LAST_ERROR_NUMBER AS error, LAST_ERROR_MESSAGE AS message,"
        " LAST_APPLIED_TRANSACTION AS last, APPLYING_TRANSACTION AS applying,"
        " CAST(LAST_APPLIED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP AS CHAR) AS last_commit,"
        " CAST(APPLYING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP AS CHAR) AS applying_commit"
        " FROM performance_schema.replication_applier_status_by_worker WHERE CHANNEL_NAME = %s",
        (channel,),
    )
    for row in rows:
        for name in ("last_commit", "applying_commit"):
            row[name] = None if not row[name] or row[name].startswith("0000") else row[name]
        row["id"], row["error"] = int(row["id"]), int(row["error"])
    return rows


def _errors(channel):
    """Errors of a channel as sentences; those of the workers instead of "coordinator stopped because of workers"."""
    found = []
    if channel["last_io_errno"]:
        found.append((channel["last_io_errno"], channel["last_io_error"]))
    of_workers = [(one["error"], one["message"]) for one in channel["workers"] if one["error"]]
    if of_workers:
        found += of_workers
    elif channel["last_sql_errno"]:
        found.append((channel["last_sql_errno"], channel["last_sql_error"]))
    return [told(code, text) for code, text in found]


def replicas(session, words):
    """The replicas that are connected: host, user, and where the account may see them server_id and server_uuid."""
    dumps = session.rows(
        "SELECT PROCESSLIST_ID AS id, PROCESSLIST_USER AS user, PROCESSLIST_HOST AS host"
        " FROM performance_schema.threads WHERE PROCESSLIST_COMMAND LIKE 'Binlog Dump%' ORDER BY PROCESSLIST_ID"
    )
    try:
        shown = session.rows(words.statement("show_replicas"))
    except MySQLMigrationError as error:
        if error.code not in _DENIED:
            raise
        shown = []
    named = [{name.lower().replace("slave", "replica"): value for name, value in row.items()} for row in shown]
    return {
        "connections": [dict(row, host=(row["host"] or "").split(":")[0]) for row in dumps],
        "registered": [
            {
                "server_id": int(row["server_id"]),
                "server_uuid": row.get("replica_uuid") or "",
                "host": row.get("host") or "",
                "port": int(row.get("port") or 0),
            }
            for row in named
        ],
    }


def compared(session, peer):
    """Errant transactions (here and not at the peer) and missing ones (there and not here).

    This server is read first: what it has by then, the peer has too, unless it is errant.
    """
    mine = gtid.executed(session)
    theirs = gtid.executed(peer)
    errant = gtid.subtract(session, mine, theirs)
    missing = gtid.subtract(session, theirs, mine)
    return {
        "errant": {"gtid_set": errant, "transactions": gtid.count(errant)},
        "missing": {"gtid_set": missing, "transactions": gtid.count(missing)},
    }


def purge(session, peer):
    """How near the transactions that this server still needs are to being purged on the peer.

    danger: some are gone already (missing has them), or will be within a day, or RDS keeps no logs. transactions_left:
    how many the peer would purge before the first that is needed. hours_left: when that comes, None for never; by the
    age of what was applied last (estimate "age"), otherwise by the rate at which the peer purges, which is what it has
    divided by the time for which it keeps it (estimate "rate").
    """
    mine = gtid.executed(session)
    purged = gtid.purged(peer)
    gone = gtid.subtract(session, purged, mine)
    kept = gtid.count(gtid.subtract(peer, gtid.executed(peer), purged))
    logs = _logs(peer)
    before, through = (0, 0) if gone else _around_needed(session, peer, logs, mine)
    seconds = retention(peer)
    hours, estimate = _hours_left(gone, through / float(kept) if kept and through is not None else 1.0, seconds)
    if estimate == "rate":
        age = _age_of_applied(session, peer)
        hours, estimate = (hours, estimate) if age is None else (max(0.0, seconds / 3600.0 - age), "age")
    if peer.server.platform == "rds" and seconds is None:
        hours, estimate = 0.0, "not kept"
    return {
        "danger": bool(gone) or (hours is not None and hours < DANGER_HOURS),
        "missing": gone,
        "transactions_left": before,
        "transactions_kept": kept,
        "hours_left": None if hours is None else round(hours, 2),
        "estimate": estimate,
        "retention_hours": None if seconds is None else round(seconds / 3600.0, 3),
        "binary_logs": len(logs),
        "bytes_kept": sum(size for _name, size in logs),
    }


def _logs(peer):
    """The binary logs of a server: [(name, bytes)], the oldest first; empty where the account may not see them."""
    try:
        return [(row["Log_name"], int(row["File_size"])) for row in peer.rows("SHOW BINARY LOGS")]
    except MySQLMigrationError as error:
        if error.code in _DENIED + (1381,):
            return []
        raise


def _previous_set(peer, name):
    """The GTIDs that were executed before a binary log began, as it says itself."""
    for row in peer.rows("SHOW BINLOG EVENTS IN %s LIMIT 3", (name,)):
        if row["Event_type"] == "Previous_gtids":
            return (row["Info"] or "").replace("\n", "").strip()
    return ""


def _around_needed(session, peer, logs, mine):
    """How many transactions stand in the logs before the one that this server must read next, and how many through its
    end (None for the log that is being written).

    It is the last log that begins with nothing but what this server has. Looked for by halves: logs may be many.
    """
    first, last = 0, len(logs) - 1
    if last < 0:
        return 0, None
    while first < last:
        middle = (first + last + 1) // 2
        if gtid.is_subset(session, _previous_set(peer, logs[middle][0]), mine):
            first = middle
        else:
            last = middle - 1
    purged = gtid.purged(peer)
    before = gtid.count(gtid.subtract(peer, _previous_set(peer, logs[first][0]), purged))
    if first == len(logs) - 1:
        return before, None
    return before, gtid.count(gtid.subtract(peer, _previous_set(peer, logs[first + 1][0]), purged))


def _hours_left(gone, share, seconds):
    """(hours, how they were found) until the needed log is purged. share: how much of what is kept is older."""
    if gone:
        return 0.0, "gone"
    if seconds is None:
        return None, "kept"
    # a log is purged as a whole, its time counted from its end: the one that is being written has all of it
    return seconds / 3600.0 * min(1.0, share), "rate"


def _age_of_applied(session, peer):
    """Hours since the commit, on the peer, of what this server applied last; None where it cannot be known."""
    words = Dialect.for_server(session.server)
    found = words.channels(session)
    names = [one["channel_name"] or "" for one in found if (one["source_uuid"] or "").lower() == peer.server.uuid]
    ages = [age for age in (_applier_ms(session, peer, name) for name in names) if age is not None]
    return min(ages) / 3600000.0 if ages else None


def lag(session, found, peer=None, heartbeat=None, samples=1):
    """How far this server is behind, measured `samples` times, a second apart.

    Returns {"ms", "basis", "samples", "missing_transactions", "heartbeat_ms", "applier_ms"}: ms is by the best of what
    is known: heartbeat, then missing GTIDs (none missing: 0), then the applier's time stamps, which also age while
    nothing is written; None when nothing is known. The values are those of the last sample, `samples` has ms of all.
    """
    measured = []
    for number in range(max(1, samples)):
        if number:
            time.sleep(1)
        measured.append(_lag_once(session, found, peer, heartbeat))
    return dict(measured[-1], samples=[one["ms"] for one in measured])


def _lag_once(session, found, peer, heartbeat):
    beat = _heartbeat_ms(session, peer, heartbeat) if heartbeat else None
    missing = compared(session, peer)["missing"]["transactions"] if peer is not None else None
    applier = [_applier_ms(session, peer, channel["channel_name"] or "") for channel in found]
    known = [value for value in applier if value is not None]
    applier_ms = max(known) if known else None
    if beat is not None:
        ms, basis = beat, "heartbeat"
    elif missing == 0:
        ms, basis = 0.0, "gtid"
    else:
        ms, basis = applier_ms, "applier" if applier_ms is not None else "unknown"
    return {
        "ms": ms,
        "basis": basis,
        "missing_transactions": missing,
        "heartbeat_ms": beat,
        "applier_ms": applier_ms,
    }


def _now(session, peer):
    """The time by the clock of who wrote the time stamps, as text."""
    return (peer or session).value("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)")


def _heartbeat_ms(session, peer, heartbeat):
    """Age of the newest heartbeat, by the clock of the server that wrote it."""
    table = ".".join(identifier(part) for part in heartbeat.split(".", 1))
    micros = session.value(
        "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(ts), %s) FROM %s", (_now(session, peer), Quoted(table))
    )
    return None if micros is None else round(max(0, int(micros)) / 1000.0, 3)


def _applier_ms(session, peer, channel):
    """Age of what is applied at the moment, else of what was applied last: an upper bound that grows while idle."""
    if session.server.version < (8, 0, 0):
        return None
    rows = workers(session, channel)
    applying = [row["applying_commit"] for row in rows if row["applying_commit"]]
    last = [row["last_commit"] for row in rows if row["last_commit"]]
    stamp = min(applying) if applying else max(last) if last else None
    if stamp is None:
        return None
    micros = session.value("SELECT TIMESTAMPDIFF(MICROSECOND, %s, %s)", (stamp, _now(session, peer)))
    return round(max(0, int(micros)) / 1000.0, 3)
