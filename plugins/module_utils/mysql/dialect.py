# SPDX-License-Identifier: GPL-3.0-or-later
"""How statements, columns and procedures are called by platform and version. Data, no branches.

Sources: the release notes of MySQL 8.0.22 and 8.0.23 (REPLICA, SOURCE), 8.2 and 8.4 (BINARY LOG STATUS; the old forms
gone), and of RDS for the names of its procedures in 8.0 and 8.4.
"""

import re

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

ANY = (0,)

# name -> {platform: ((since, statement), ...)}, the last whose version is reached counts. "*" stands for any platform.
STATEMENTS = {
    "show_replica_status": {"*": ((ANY, "SHOW SLAVE STATUS"), ((8, 0, 22), "SHOW REPLICA STATUS"))},
    "show_channel_status": {
        "*": ((ANY, "SHOW SLAVE STATUS FOR CHANNEL %s"), ((8, 0, 22), "SHOW REPLICA STATUS FOR CHANNEL %s"))
    },
    "show_replicas": {"*": ((ANY, "SHOW SLAVE HOSTS"), ((8, 0, 22), "SHOW REPLICAS"))},
    "start_replica": {"*": ((ANY, "START SLAVE FOR CHANNEL %s"), ((8, 0, 22), "START REPLICA FOR CHANNEL %s"))},
    "start_replica_until": {
        "*": (
            (ANY, "START SLAVE UNTIL SQL_AFTER_GTIDS = %s FOR CHANNEL %s"),
            ((8, 0, 22), "START REPLICA UNTIL SQL_AFTER_GTIDS = %s FOR CHANNEL %s"),
        )
    },
    "start_receiver": {
        "*": (
            (ANY, "START SLAVE IO_THREAD FOR CHANNEL %s"),
            ((8, 0, 22), "START REPLICA IO_THREAD FOR CHANNEL %s"),
        )
    },
    "start_applier": {
        "*": (
            (ANY, "START SLAVE SQL_THREAD FOR CHANNEL %s"),
            ((8, 0, 22), "START REPLICA SQL_THREAD FOR CHANNEL %s"),
        )
    },
    "stop_replica": {"*": ((ANY, "STOP SLAVE FOR CHANNEL %s"), ((8, 0, 22), "STOP REPLICA FOR CHANNEL %s"))},
    "stop_applier": {
        "*": ((ANY, "STOP SLAVE SQL_THREAD FOR CHANNEL %s"), ((8, 0, 22), "STOP REPLICA SQL_THREAD FOR CHANNEL %s"))
    },
    "stop_receiver": {
        "*": ((ANY, "STOP SLAVE IO_THREAD FOR CHANNEL %s"), ((8, 0, 22), "STOP REPLICA IO_THREAD FOR CHANNEL %s"))
    },
    "reset_replica_all": {
        "*": ((ANY, "RESET SLAVE ALL FOR CHANNEL %s"), ((8, 0, 22), "RESET REPLICA ALL FOR CHANNEL %s"))
    },
    # its list of options comes first, the channel last
    "change_source": {
        "*": (
            (ANY, "CHANGE MASTER TO {0} FOR CHANNEL %s"),
            ((8, 0, 23), "CHANGE REPLICATION SOURCE TO {0} FOR CHANNEL %s"),
        )
    },
    "binary_log_status": {"*": ((ANY, "SHOW MASTER STATUS"), ((8, 2, 0), "SHOW BINARY LOG STATUS"))},
    "reset_binary_logs": {"*": ((ANY, "RESET MASTER"), ((8, 2, 0), "RESET BINARY LOGS AND GTIDS"))},
    # both, so that no read_only = OFF that somebody persisted opens the server at its next start
    "fence": {
        "*": (
            (ANY, "SET GLOBAL super_read_only = 1, GLOBAL read_only = 1"),
            ((8, 0, 0), "SET PERSIST super_read_only = 1, PERSIST read_only = 1"),
        )
    },
    "unfence": {
        "*": (
            (ANY, "SET GLOBAL super_read_only = 0, GLOBAL read_only = 0"),
            ((8, 0, 0), "SET PERSIST super_read_only = 0, PERSIST read_only = 0"),
        )
    },
    # {0} is the name of the variable; RDS keeps none over a restart but by its parameter group
    "set_variable": {
        "*": ((ANY, "SET GLOBAL {0} = %s"), ((8, 0, 0), "SET PERSIST {0} = %s")),
        "rds": ((ANY, "SET GLOBAL {0} = %s"),),
    },
    # Who holds what a fence waits for. 5.7 has the locks not instrumented by default: there, whoever runs something.
    "blockers": {
        "*": (
            (
                ANY,
                "SELECT PROCESSLIST_ID AS id, PROCESSLIST_USER AS user, PROCESSLIST_HOST AS host,"
                " PROCESSLIST_DB AS db, PROCESSLIST_COMMAND AS command, PROCESSLIST_TIME AS seconds,"
                " PROCESSLIST_STATE AS state, PROCESSLIST_INFO AS statement, NAME AS thread"
                " FROM performance_schema.threads WHERE NAME = 'thread/sql/one_connection'"
                " AND PROCESSLIST_COMMAND = 'Query' AND PROCESSLIST_ID NOT IN (%s, CONNECTION_ID())"
                " AND COALESCE(PROCESSLIST_STATE, '') NOT LIKE 'Waiting for global read lock'"
                " ORDER BY PROCESSLIST_TIME DESC",
            ),
            (
                (8, 0, 0),
                "SELECT DISTINCT PROCESSLIST_ID AS id, PROCESSLIST_USER AS user, PROCESSLIST_HOST AS host,"
                " PROCESSLIST_DB AS db, PROCESSLIST_COMMAND AS command, PROCESSLIST_TIME AS seconds,"
                " PROCESSLIST_STATE AS state, PROCESSLIST_INFO AS statement, NAME AS thread"
                " FROM performance_schema.metadata_locks JOIN performance_schema.threads"
                " ON THREAD_ID = OWNER_THREAD_ID WHERE OBJECT_TYPE IN ('GLOBAL', 'COMMIT')"
                " AND LOCK_TYPE = 'INTENTION_EXCLUSIVE' AND LOCK_STATUS = 'GRANTED'"
                " AND PROCESSLIST_ID NOT IN (%s, CONNECTION_ID()) ORDER BY PROCESSLIST_TIME DESC",
            ),
        )
    },
}

# our names of variables -> ((since, the server's name), ...)
VARIABLES = {
    "log_replica_updates": ((ANY, "log_slave_updates"), ((8, 0, 26), "log_replica_updates")),
    "replica_parallel_workers": ((ANY, "slave_parallel_workers"), ((8, 0, 26), "replica_parallel_workers")),
    "replica_preserve_commit_order": (
        (ANY, "slave_preserve_commit_order"),
        ((8, 0, 26), "replica_preserve_commit_order"),
    ),
}

# our names of a channel's settings -> ((since, name in CHANGE ... TO), ...). A name of None: not there yet.
_RENAMED = (8, 0, 23)
SETTINGS = {
    "source_host": ((ANY, "MASTER_HOST"), (_RENAMED, "SOURCE_HOST")),
    "source_port": ((ANY, "MASTER_PORT"), (_RENAMED, "SOURCE_PORT")),
    "source_user": ((ANY, "MASTER_USER"), (_RENAMED, "SOURCE_USER")),
    "source_password": ((ANY, "MASTER_PASSWORD"), (_RENAMED, "SOURCE_PASSWORD")),
    "source_ssl": ((ANY, "MASTER_SSL"), (_RENAMED, "SOURCE_SSL")),
    "source_ssl_ca": ((ANY, "MASTER_SSL_CA"), (_RENAMED, "SOURCE_SSL_CA")),
    "source_ssl_cert": ((ANY, "MASTER_SSL_CERT"), (_RENAMED, "SOURCE_SSL_CERT")),
    "source_ssl_key": ((ANY, "MASTER_SSL_KEY"), (_RENAMED, "SOURCE_SSL_KEY")),
    "source_ssl_verify": ((ANY, "MASTER_SSL_VERIFY_SERVER_CERT"), (_RENAMED, "SOURCE_SSL_VERIFY_SERVER_CERT")),
    "get_source_public_key": (
        (ANY, None),
        ((8, 0, 4), "GET_MASTER_PUBLIC_KEY"),
        (_RENAMED, "GET_SOURCE_PUBLIC_KEY"),
    ),
    "source_delay": ((ANY, "MASTER_DELAY"), (_RENAMED, "SOURCE_DELAY")),
    "source_retry_count": ((ANY, "MASTER_RETRY_COUNT"), (_RENAMED, "SOURCE_RETRY_COUNT")),
    "source_connect_retry": ((ANY, "MASTER_CONNECT_RETRY"), (_RENAMED, "SOURCE_CONNECT_RETRY")),
    "source_heartbeat_period": ((ANY, "MASTER_HEARTBEAT_PERIOD"), (_RENAMED, "SOURCE_HEARTBEAT_PERIOD")),
    "auto_position": ((ANY, "MASTER_AUTO_POSITION"), (_RENAMED, "SOURCE_AUTO_POSITION")),
}

# Procedures of RDS by what they do, the newest name first: 8.4 has "source", 8.0 "master", some releases both.
PROCEDURES = {
    "set_source": (
        "rds_set_external_source_with_auto_position",
        "rds_set_external_master_with_auto_position",
    ),
    "set_source_for_channel": (
        "rds_set_external_source_with_auto_position_for_channel",
        "rds_set_external_master_with_auto_position_for_channel",
    ),
    "start": ("rds_start_replication",),
    "start_for_channel": ("rds_start_replication_for_channel",),
    "start_until": ("rds_start_replication_until_gtid",),
    "start_until_for_channel": ("rds_start_replication_until_gtid_for_channel",),
    "stop": ("rds_stop_replication",),
    "stop_for_channel": ("rds_stop_replication_for_channel",),
    "reset": ("rds_reset_external_source", "rds_reset_external_master"),
    "reset_for_channel": ("rds_reset_external_source_for_channel", "rds_reset_external_master_for_channel"),
    "gtid_purged": ("rds_set_external_source_gtid_purged", "rds_set_external_master_gtid_purged"),
    "read_only": ("rds_set_read_only",),
    "set_configuration": ("rds_set_configuration",),
    "show_configuration": ("rds_show_configuration",),
    "kill": ("rds_kill",),
    "skip_gtid": ("rds_skip_transaction_with_gtid",),
}

# The keys of a channel that are there on every version, with what turns the server's text into a value.
_NUMBERS = """
source_port connect_retry read_source_log_pos relay_log_pos last_errno skip_counter exec_source_log_pos relay_log_space
until_log_pos seconds_behind_source last_io_errno last_sql_errno source_server_id sql_delay sql_remaining_delay
source_retry_count
"""
_TEXTS = """
replica_io_state source_host source_user source_log_file relay_log_file relay_source_log_file replica_io_running
replica_sql_running replicate_do_db replicate_ignore_db replicate_do_table replicate_ignore_table
replicate_wild_do_table replicate_wild_ignore_table last_error until_condition until_log_file source_ssl_allowed
source_ssl_ca_file source_ssl_ca_path source_ssl_cert source_ssl_cipher source_ssl_key source_ssl_verify_server_cert
last_io_error last_sql_error replicate_ignore_server_ids source_uuid source_info_file replica_sql_running_state
source_bind last_io_error_timestamp last_sql_error_timestamp source_ssl_crl source_ssl_crlpath retrieved_gtid_set
executed_gtid_set replicate_rewrite_db channel_name source_tls_version source_public_key_path network_namespace
"""
_FLAGS = "auto_position get_source_public_key"


def _number(value):
    return None if value in (None, "") else int(value)


def _text(value):
    return None if value is None else str(value).replace("\n", "")


def _flag(value):
    return None if value is None else str(value) not in ("0", "", "No")


CHANNEL_KEYS: dict = {}
for _names, _kind in ((_NUMBERS, _number), (_TEXTS, _text), (_FLAGS, _flag)):
    CHANNEL_KEYS.update((_name, _kind) for _name in _names.split())


def channel_key(column):
    """The key of a column of SHOW REPLICA STATUS or SHOW SLAVE STATUS: "Seconds_Behind_Master" is
    "seconds_behind_source". Returns str."""
    return re.sub("slave", "replica", re.sub("master", "source", column.lower()))


def normalise_channel(row):
    """A row of SHOW REPLICA STATUS (or SLAVE) with the same keys on every version; what a version lacks is None."""
    values = {channel_key(column): value for column, value in row.items()}
    return {key: kind(values.get(key)) for key, kind in CHANNEL_KEYS.items()}


def _newest(choices, version):
    found = None
    for since, text in choices:
        if version >= since:
            found = text
    return found


class Dialect(object):
    """The words of one server."""

    def __init__(self, version, platform="mysql", procedures=(), where="server"):
        self.version = version
        self.platform = platform
        self.procedures = frozenset(procedures)
        self.where = where

    @classmethod
    def for_server(cls, server):
        """The dialect of an identified server."""
        return cls(server.version, server.platform, server.procedures, server.where)

    def statement(self, name):
        """The statement of that name in STATEMENTS, with %s for values."""
        choices = STATEMENTS[name]
        return _newest(choices.get(self.platform, choices["*"]), self.version)

    def variable(self, name):
        """The name of a variable of VARIABLES on this version."""
        return _newest(VARIABLES[name], self.version)

    def setting(self, name):
        """The name of a channel's setting in CHANGE ... TO, or None where the version lacks it."""
        return _newest(SETTINGS[name], self.version)

    def procedure(self, name, channel=""):
        """The qualified name of the procedure of RDS that does `name` (see PROCEDURES) for the channel.

        Raises MySQLMigrationError where the server has none.
        """
        wanted = PROCEDURES[name + ("_for_channel" if channel else "")]
        for candidate in wanted:
            if candidate in self.procedures:
                return "mysql." + candidate
        raise MySQLMigrationError(
            "Failed to find the procedure mysql.%s on %s: this version of RDS has none, or the account may not call "
            "it. Grant EXECUTE on it%s." % (wanted[0], self.where, ", or use the default channel" if channel else "")
        )

    def has_procedure(self, name, channel=""):
        """Whether the server has a procedure that does `name`."""
        return any(one in self.procedures for one in PROCEDURES[name + ("_for_channel" if channel else "")])

    @property
    def persists(self):
        """Whether SET PERSIST is there."""
        return "PERSIST" in self.statement("set_variable")

    def channels(self, session):
        """All channels of the server of a session, normalised, as list of dict."""
        return [normalise_channel(row) for row in session.rows(self.statement("show_replica_status"))]

    normalise_channel = staticmethod(normalise_channel)
