# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the inputs of a MySQL migration, said before anything is touched. No sentence holds a secret."""

import re

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\Z")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
LOGIN_KEYS = (
    "login_host",
    "login_port",
    "login_user",
    "login_password",
    "login_unix_socket",
    "config_file",
    "ca_cert",
    "client_cert",
    "client_key",
    "check_hostname",
    "connect_timeout",
    "platform",
)
SIDE_COMMANDS = ("read_only_on", "read_only_off")
SIDE_KEYS = LOGIN_KEYS + SIDE_COMMANDS + ("address", "port", "parameter_group")
REPLICA_KEYS = LOGIN_KEYS + ("name", "behind", "repoint", "address", "port")
REPLICATION_KEYS = ("user", "host", "password", "ssl", "ca", "cert", "key", "verify", "get_public_key")
KEYS = (
    "source",
    "target",
    "replicas",
    "replication",
    "schemas",
    "seed_method",
    "overwrite",
    "strategy",
    "accept_conflicts",
    "binlog_retention_hours",
    "lag_limit_ms",
    "window_budget_ms",
    "long_transactions",
    "hooks",
    "fence_exempt",
)
CHOICES = {
    "seed_method": ("clone", "dump", "none"),
    "strategy": ("switchover", "read_only_window", "bridge"),
    "long_transactions": ("wait", "kill", "fail"),
}
NUMBERS = ("binlog_retention_hours", "lag_limit_ms", "window_budget_ms")
HOOKS = ("pause", "resume", "switch")


def login(endpoint, name=False):
    """What the modules take of an endpoint (dict): how to log in, not how others reach it. name: keep its name too."""
    keys = LOGIN_KEYS + (("name",) if name else ())
    return {key: value for key, value in endpoint.items() if key in keys}


def reached_at(endpoint):
    """How the other server reaches an endpoint (dict), as {"host", "port"}."""
    return {
        "host": endpoint.get("address") or endpoint.get("login_host", ""),
        "port": int(endpoint.get("port") or endpoint.get("login_port") or 3306),
    }


def input_errors(inputs):
    """Check the inputs.

    inputs: dict with "name" (migration_name) and "mysql" (migration_mysql).
    Returns a list of sentences, empty when all is well; each names the variable, the value and what would be right.
    """
    errors = []
    if not NAME.match(str(inputs["name"])):
        errors.append(
            "migration_name is %r: give the migration a name of letters, digits, dots, underscores and dashes"
            % inputs["name"]
        )
    mysql = inputs["mysql"]
    if not isinstance(mysql, dict) or not mysql:
        return errors + ["migration_mysql is empty: tell source, target and replication, see docs/mysql.md"]
    errors += _unknown("migration_mysql", mysql, KEYS)
    errors += _side_errors(mysql)
    errors += _replica_errors(mysql.get("replicas") or [])
    errors += _replication_errors(mysql.get("replication"))
    errors += _value_errors(mysql)
    return errors + _hook_errors(mysql.get("hooks") or {})


def _unknown(place, given, keys):
    return [
        "%s has the key %r: the keys are %s" % (place, key, ", ".join(sorted(keys)))
        for key in sorted(set(given) - set(keys), key=str)
    ]


def _port_errors(place, value):
    if str(value).isdigit() and 0 < int(value) < 65536:
        return []
    return ["%s is %r: a port number from 1 to 65535 is needed" % (place, value)]


def _endpoint_errors(place, endpoint, keys):
    if not isinstance(endpoint, dict) or not endpoint:
        return ["%s is empty: give login_host, login_user and login_password" % place]
    errors = _unknown(place, endpoint, keys)
    if not endpoint.get("login_host") and not endpoint.get("login_unix_socket"):
        errors.append("%s.login_host is empty: name the server" % place)
    for key in ("login_host", "address", "login_user"):
        if CONTROL.search(str(endpoint.get(key, ""))):
            errors.append("%s.%s is %r: control characters are not allowed in it" % (place, key, endpoint[key]))
    for key in ("login_port", "port"):
        errors += _port_errors("%s.%s" % (place, key), endpoint.get(key, 3306))
    return errors


def _side_errors(mysql):
    errors = []
    for side in ("source", "target"):
        place = "migration_mysql.%s" % side
        errors += _endpoint_errors(place, mysql.get(side), SIDE_KEYS)
        for key in SIDE_COMMANDS if isinstance(mysql.get(side), dict) else ():
            errors += _command_errors("%s.%s" % (place, key), mysql[side].get(key) or [])
    if not errors and reached_at(mysql["source"]) == reached_at(mysql["target"]):
        errors.append("migration_mysql.source and migration_mysql.target are the same server: two servers are needed")
    return errors


def _replica_errors(replicas):
    errors = []
    for number, replica in enumerate(replicas):
        place = "migration_mysql.replicas[%d]" % number
        errors += _endpoint_errors(place, replica, REPLICA_KEYS)
        if not isinstance(replica, dict):
            continue
        if not NAME.match(str(replica.get("name", ""))):
            errors.append(
                "%s.name is %r: letters, digits, dots, underscores and dashes are needed" % (place, replica.get("name"))
            )
        if replica.get("behind") not in ("source", "target"):
            errors.append("%s.behind is %r: say source or target" % (place, replica.get("behind")))
    names = [str(replica.get("name")) for replica in replicas if isinstance(replica, dict)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        errors.append("migration_mysql.replicas has two replicas named %r: names must differ" % name)
    return errors


def _replication_errors(replication):
    """Sentences about the replication account; its password is never in them."""
    place = "migration_mysql.replication"
    if not isinstance(replication, dict) or not replication:
        return ["%s is empty: give user and password of the replication account" % place]
    errors = _unknown(place, replication, REPLICATION_KEYS)
    user = str(replication.get("user", ""))
    if not user or len(user) > 32 or CONTROL.search(user):
        errors.append("%s.user is %r: a name of 1 to 32 characters is needed" % (place, user))
    password = str(replication.get("password", ""))
    if len(password) < 8:
        errors.append("%s.password is shorter than 8 characters: set a longer one, best from a vault" % place)
    # The server refuses more than 32 characters for a replication channel (error 3056).
    if len(password) > 32 or CONTROL.search(password):
        errors.append(
            "%s.password is longer than 32 characters or has control characters: "
            "a replication channel takes at most 32 characters" % place
        )
    return errors


def _value_errors(mysql):
    errors = []
    for key, choices in sorted(CHOICES.items()):
        if mysql.get(key, choices[0]) not in choices:
            errors.append("migration_mysql.%s is %r: say one of %s" % (key, mysql[key], ", ".join(choices)))
    for key in NUMBERS:
        value = str(mysql.get(key, 1))
        if not value.isdigit() or int(value) < 1:
            errors.append("migration_mysql.%s is %r: a whole number, at least 1, is needed" % (key, mysql[key]))
    if mysql.get("strategy") == "bridge" and mysql.get("accept_conflicts") is not True:
        errors.append(
            "migration_mysql.strategy is bridge, where rows can be written on both sides at once and conflict: "
            "set migration_mysql.accept_conflicts to true, or choose another strategy"
        )
    with_commands = [side for side in ("source", "target") if _has_commands(mysql.get(side))]
    if mysql.get("strategy") == "read_only_window" and with_commands:
        errors.append(
            "migration_mysql.strategy is read_only_window, which a switch by migration_mysql.%s.read_only_on does not "
            "have, since it opens the target at once: choose switchover" % with_commands[0]
        )
    for key in ("schemas", "overwrite", "fence_exempt"):
        value = mysql.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            errors.append("migration_mysql.%s is %r: a list of names is needed" % (key, value))
    return errors


def _has_commands(endpoint):
    return isinstance(endpoint, dict) and "read_only_on" in endpoint


def _hook_errors(hooks):
    errors = _unknown("migration_mysql.hooks", hooks, HOOKS)
    for name in HOOKS:
        errors += _command_errors("migration_mysql.hooks.%s" % name, hooks.get(name) or [])
    return errors


def _command_errors(place, commands):
    if isinstance(commands, list) and all(_is_command(command) for command in commands):
        return []
    return [
        "%s is %r: give a list of commands, each a list of words that begins with the absolute path of a program, "
        "such as [[/usr/local/bin/proxy, pause]]" % (place, commands)
    ]


def _is_command(words):
    return (
        isinstance(words, list)
        and bool(words)
        and all(isinstance(word, str) for word in words)
        and words[0].startswith("/")
    )
