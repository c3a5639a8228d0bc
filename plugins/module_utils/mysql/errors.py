# SPDX-License-Identifier: GPL-3.0-or-later
"""The exception of this package, and what the numbers of MySQL's errors mean to somebody who migrates."""

import re


class MySQLMigrationError(Exception):
    """Something could not be done: "<cause>. <What to do>".

    code: the number of the server's (or the client library's) error, 0 when there is none.
    server_text: its text, without secrets.
    """

    def __init__(self, message, code=0, server_text=""):
        super(MySQLMigrationError, self).__init__(message)
        self.code = code
        self.server_text = server_text


# (number, pattern that the text must have, what it means, what to do). The first that fits counts. The meanings of the
# numbers of replication (13114 and so on) were measured on 9.7; 5.7 says 1236 where 8.0 and later say 13114.
_TABLE = (
    (
        (1236, 13114),
        r"purged|not in the (old|current)|has been purged|log file.*not find",
        "The source no longer has binary logs that this replica needs",
        "Seed the replica again, or restore the missing transactions; then keep the logs longer "
        "(binlog_expire_logs_seconds, on RDS 'binlog retention hours')",
    ),
    (
        (1236, 13114),
        r"more GTIDs than the (source|master)",
        "The replica has transactions of the source that the source does not have: one of them was reset or restored",
        "Find out which of the two has the right data, and seed the other one from it",
    ),
    (
        (1236, 13114),
        r"max_allowed_packet|exceeded max",
        "A transaction in the binary log is larger than a packet may be",
        "Raise max_allowed_packet on the source and replica_max_allowed_packet on the replica",
    ),
    (
        (1236, 13114),
        "",
        "The source cannot send its binary log to this replica",
        "Read the text above, and the error log of the source",
    ),
    (
        (2003, 2026),
        r"certificate verify failed|CERTIFICATE_VERIFY_FAILED|certificate",
        "The certificate of the server is not signed by the given authority, or is not for this name",
        "Give the certificate of the authority that signed it, and the name that the certificate is for",
    ),
    ((2003,), r"111|refused", "Nothing listens there", "Check host, port, bind-address and whether mysqld runs"),
    (
        (2003, 2002, 2005),
        "",
        "The server cannot be reached",
        "Check host, port, bind-address, the firewall between the two, and whether mysqld runs",
    ),
    (
        (2061, 1045),
        r"requires? secure connection|caching_sha2",
        "caching_sha2_password sends the password only through TLS or encrypted with the server's public key",
        "Set source_ssl: true, or get_source_public_key: true where the network is trusted",
    ),
    (
        (2026, 3159, 1045),
        r"SSL|TLS|require_secure_transport|secure transport",
        "The encrypted connection could not be made, or the server asks for one",
        "Check that both have TLS, the certificate of the authority, and the names of files",
    ),
    (
        (1044, 1045, 1698),
        "",
        "User, password or the host that the account may come from are wrong",
        "Check the account on the server: SELECT user, host, plugin FROM mysql.user",
    ),
    (
        (1129,),
        "",
        "The server blocks this host after too many failed connections",
        "Run FLUSH HOSTS or TRUNCATE performance_schema.host_cache there, once the cause is mended",
    ),
    ((1040,), "", "The server has no connection left", "Raise max_connections, or end idle clients"),
    ((1227, 1142, 1370, 1143), "", "The account lacks a privilege", "Grant what the text names"),
    ((1290,), r"super-read-only|read-only", "The server is fenced", "Open it first, or write to the other server"),
    (
        (1205,),
        "",
        "Something held a lock for longer than the wait that was allowed",
        "Find it in performance_schema.metadata_locks and information_schema.innodb_trx; "
        "wait for it, or let it be ended",
    ),
    ((1192,), "", "The session holds locks or has a transaction open", "End it first"),
    (
        (1062, 1022),
        "",
        "A row that was to be inserted is there already: the two servers have diverged",
        "Compare the row on both, keep the right one, then start the channel again; on a bridge look at auto_increment",
    ),
    (
        (1032,),
        "",
        "A row that was to be changed or deleted is not there: the two servers have diverged",
        "Compare the table on both and mend it, or seed again; then start the channel again",
    ),
    ((1146, 1049), "", "A table or schema is missing on the replica", "Seed again, or look for a replication filter"),
    ((1449,), "", "The definer of a trigger, view or routine does not exist there", "Create the account"),
    (
        (1782,),
        "",
        "A transaction without GTID reached a server that takes only those with one",
        "Set gtid_mode back to ON_PERMISSIVE there, start the applier, and go on when it has applied them all",
    ),
    ((1788, 3111, 1779), "", "gtid_mode moves only one step at a time", "Use mysql_gtid, which goes step by step"),
    (
        (1777,),
        "",
        "Auto-position needs gtid_mode ON on this server",
        "Bring both servers to gtid_mode ON with mysql_gtid first",
    ),
    ((1786, 1785, 1787), "", "A statement cannot be written with a GTID", "Change the application; see the error log"),
    (
        (1872, 1201),
        "",
        "The server cannot read its own record of the channel",
        "Look into its error log, then remove the channel and make it again",
    ),
    ((1200,), "", "The server has no such channel", "Make it first, with state: present"),
    ((1198, 3081, 3021, 3017), "", "The channel runs", "Stop it first"),
    ((1593,), "", "The replica stopped with a fatal error", "Read the text above and the server's error log"),
    ((1772,), "", "That is no GTID set", "Give it as the server writes it: uuid:1-5,uuid:7"),
    (
        (3546,),
        "",
        "The GTID set overlaps with what the server has executed",
        "Give only what is missing, or clear the target first",
    ),
    ((1840,), "", "gtid_purged can only be set on a server that executed nothing", "Reset its binary logs first"),
    ((3032,), "", "The source is in offline mode", "SET GLOBAL offline_mode = OFF there"),
    ((3056,), "", "A password for replication has at most 32 characters", "Choose a shorter one"),
    (
        (13117,),
        r"UUID|uuid",
        "Both servers have the same server_uuid: one was copied from the other with its auto.cnf",
        "Stop the copy, remove auto.cnf from its data directory, start it",
    ),
    (
        (13117, 1593),
        r"server.?id",
        "Both servers have the same server_id",
        "SET PERSIST server_id to another number on one of them",
    ),
    (
        (13117,),
        r"GTID_MODE|gtid_mode",
        "The two servers have GTID modes that do not go together",
        "Bring both to gtid_mode ON with mysql_gtid",
    ),
    ((13117,), "", "The receiver stopped with a fatal error", "Read the text above"),
    ((13120,), "", "The source refused the registration or the request", "GRANT REPLICATION SLAVE to the account"),
    ((1053,), "", "The server is shutting down", "Start it if nobody else does, and run again when it is up"),
    (
        (2006, 2013, 4031),
        "",
        "The connection broke, or the server did not answer in time",
        "Look whether mysqld still runs; then run again",
    ),
    ((1094,), "", "That connection is gone already", "Nothing needs to be done"),
    ((1095,), "", "The account may not end that connection", "Grant CONNECTION_ADMIN, for system accounts SYSTEM_USER"),
    ((1317, 3024), "", "The statement was ended", "Find out who ended it, then run again"),
    (
        (1644,),
        "",
        "A procedure of RDS refused",
        "Do what its text says",
    ),
    ((1305,), "", "The server has no such procedure or function", "Check its version, and what RDS offers for it"),
    ((1193,), "", "The server has no such variable", "Check its version"),
    ((1064,), "", "The server does not understand the statement", "Report this with the server's version"),
    (
        (1399, 1397, 1401, 1402),
        "",
        "Something about a prepared XA transaction is not as it should be",
        "Look at XA RECOVER, and commit or roll back what is left there",
    ),
)


def explain(code, text=""):
    """What an error means and what to do.

    code: number of the error. text: the server's text, for numbers with several meanings. Returns (meaning, advice),
    both without a full stop at the end; two empty strings for an error that is not known.
    """
    for codes, pattern, meaning, advice in _TABLE:
        if code in codes and re.search(pattern, text or "", re.IGNORECASE):
            return meaning, advice
    return "", ""


def told(code, text):
    """An error of a server as a sentence: "text (1045). Meaning. Advice." Returns str."""
    meaning, advice = explain(code, text)
    parts = ["%s (%d)" % (str(text).strip().rstrip("."), code) if code else str(text).strip().rstrip(".")]
    return ". ".join(parts + [part for part in (meaning, advice) if part]) + "."


def server_error(doing, code, text):
    """The exception for an error that a server or the client library reported.

    doing: what failed, as in "connect to source 10.0.0.1 port 3306". Returns a MySQLMigrationError.
    """
    return MySQLMigrationError("Failed to %s: %s" % (doing, told(code, text)), code=code, server_text=str(text))
