# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL hosts that behave like endpoints of RDS: a profile says which procedure names they have.

How real endpoints behave was read from the public documentation and the public text of their procedures; none was
asked.
"""

import re
from pathlib import Path

from .run import LabError

# Name in 8.0, name in 8.4, arguments without the channel, name of the procedure that takes the channel as well.
_SOURCE = "p_host varchar(255), IN p_port int, IN p_user text, IN p_password text"
_POSITION = "p_file varchar(50), IN p_position bigint, IN p_ssl tinyint(1)"
WRAPPERS = (
    ("set_external_master", "set_external_source", "%s, IN %s" % (_SOURCE, _POSITION), "set_external_source"),
    (
        "set_external_master_with_delay",
        "set_external_source_with_delay",
        "%s, IN %s, IN p_delay int" % (_SOURCE, _POSITION),
        "set_external_source_with_delay",
    ),
    (
        "set_external_master_with_auto_position",
        "set_external_source_with_auto_position",
        _SOURCE + ", IN p_ssl tinyint(1), IN p_delay int",
        "set_external_source_with_auto_position",
    ),
    ("set_master_auto_position", "set_source_auto_position", "p_mode tinyint(1)", "set_source_auto_position"),
    ("reset_external_master", "reset_external_source", "", "reset_external_source"),
    ("set_source_delay", "set_source_delay", "p_delay int", "set_source_delay"),
    ("start_replication", "start_replication", "", "start_replication"),
    ("start_replication_until_gtid", "start_replication_until_gtid", "p_gtid text", "start_replication_until_gtid"),
    ("stop_replication", "stop_replication", "", "stop_replication"),
    ("skip_repl_error", "skip_repl_error", "", "skip_repl_error"),
)
NAMES = {"8.0": (0,), "8.4": (1,), "both": (0, 1)}
DEFAULT = {"old": "8.0", "new": "8.4"}
# Aurora 3 has it; the endpoints of RDS do not.
READ_ONLY = """\
DELIMITER $$
CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_set_read_only(IN p_mode tinyint(1))
BEGIN
  IF p_mode THEN SET GLOBAL read_only = 1; ELSE SET GLOBAL read_only = 0; END IF;
END$$
DELIMITER ;
"""
# What an endpoint of RDS lets its administrator do. Not among it: SUPER, CONNECTION_ADMIN, REPLICATION_SLAVE_ADMIN,
# SYSTEM_VARIABLES_ADMIN, BINLOG_ADMIN, CLONE_ADMIN, BACKUP_ADMIN, PERSIST_RO_VARIABLES_ADMIN. Real ones have RELOAD and
# still refuse FLUSH TABLES WITH READ LOCK and resets; here that takes leaving RELOAD out.
ADMIN = """\
CREATE USER IF NOT EXISTS '%(user)s'@'%%' IDENTIFIED BY '%(password)s';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES,
  CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW,
  CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, CREATE ROLE, DROP ROLE,
  APPLICATION_PASSWORD_ADMIN, ROLE_ADMIN, SET_ANY_DEFINER, XA_RECOVER_ADMIN, SHOW_ROUTINE, FLUSH_OPTIMIZER_COSTS,
  FLUSH_PRIVILEGES, FLUSH_STATUS, FLUSH_USER_RESOURCES ON *.* TO '%(user)s'@'%%' WITH GRANT OPTION;
"""
# RDS has no persisted variables; its parameter groups are files that nobody reaches.
CONFIGURATION = "persisted_globals_load = OFF\n"


def check_profile(text):
    """Return (names, read_only) of a profile like 8.0, 8.4, both or 8.4+read_only.

    :raises LabError: when it is none.
    """
    names, _plus, more = text.partition("+")
    if names not in NAMES or more not in ("", "read_only"):
        raise LabError("Not a profile of RDS: %r. Use 8.0, 8.4 or both, and +read_only after it if wanted" % text)
    return names, more == "read_only"


def default_profile(host):
    return DEFAULT["old" if host.startswith("mysql_rds_old") else "new"]


def _wrapper(name, arguments, inner):
    """A procedure for the default channel that calls the one for any channel."""
    declared = "IN " + arguments if arguments else ""
    given = re.findall(r"IN (\w+)", declared)
    return (
        "CREATE DEFINER=rdsadmin@localhost PROCEDURE mysql.rds_%s(%s)\n"
        "  CALL mysql.rds_%s_for_channel(%s);\n" % (name, declared, inner, ", ".join([*given, "''"]))
    )


def statements(profile, user, password):
    """SQL that makes a plain server one of RDS, for root over the socket."""
    names, read_only = check_profile(profile)
    parts = [Path(__file__).with_name("rds.sql").read_text(encoding="ascii")]
    made = set()
    for *both, arguments, inner in WRAPPERS:
        for name in (both[position] for position in NAMES[names]):
            if name not in made:
                parts.append(_wrapper(name, arguments, inner))
                made.add(name)
    if read_only:
        parts.append(READ_ONLY)
    parts.append(ADMIN % {"user": user, "password": password})
    return "".join(parts)
