# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say how a server is reached, and what all modules of this field do at their start and end."""

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import (
    OptionError,
    refuse_control_characters,
)
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.server import LIBRARY_ERROR

PLATFORMS = ("auto", "mysql", "rds")
SECRETS = ("login_password", "source_password")


def connection_spec():
    """The argument_spec of the connection options: a new dictionary."""
    return {
        "login_host": {"type": "str"},
        "login_port": {"type": "int"},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "login_unix_socket": {"type": "path"},
        "config_file": {"type": "path"},
        "ca_cert": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path"},
        "check_hostname": {"type": "bool"},
        "connect_timeout": {"type": "int", "default": 10},
    }


def platform_spec():
    """The argument_spec of `platform`."""
    return {"platform": {"type": "str", "choices": list(PLATFORMS), "default": "auto"}}


def endpoint_spec():
    """The options of a server as a dictionary (`source`, `target`, `peer`): those of connection_spec and `platform`."""
    return dict(connection_spec(), **platform_spec())


def check_options(params):
    """Refuse values that are none, before anything is connected to. Raises MySQLMigrationError.

    params: module.params, or a dictionary of an endpoint. Control characters are refused everywhere but in passwords.
    """
    try:
        refuse_control_characters(params, allow=SECRETS, secret=SECRETS)
    except OptionError as error:
        raise MySQLMigrationError(str(error)) from None
    for name, value in params.items():
        if isinstance(value, dict) and "login_host" in value:
            _check_endpoint(value, name + ".")
    _check_endpoint(params, "")


def _check_endpoint(params, prefix):
    port = params.get("login_port")
    if port is not None and not 0 < port < 65536:
        raise MySQLMigrationError("Failed to use option %slogin_port: %s is no port. Give 1 to 65535." % (prefix, port))
    timeout = params.get("connect_timeout")
    if timeout is not None and not 0 < timeout <= 3600:
        raise MySQLMigrationError(
            "Failed to use option %sconnect_timeout: %s is no time. Give 1 to 3600 seconds." % (prefix, timeout)
        )
    if params.get("client_key") and not params.get("client_cert"):
        raise MySQLMigrationError(
            "Failed to use option %sclient_key: there is no client_cert. Give both or none." % prefix
        )


def run_module(module, work, queries=lambda: []):
    """Run work() and end the module with what it returns, or with the error that it raised.

    module: the AnsibleModule. work: function without arguments that returns the dictionary for exit_json.
    queries: function that returns the statements so far, which a failure tells too.
    """
    if LIBRARY_ERROR:
        module.fail_json(msg=missing_required_lib("PyMySQL"), exception=LIBRARY_ERROR)
    try:
        check_options(module.params)
        result = work()
    except MySQLMigrationError as error:
        module.fail_json(msg=str(error), code=error.code, server_text=error.server_text, queries=queries())
    result.setdefault("queries", queries())
    module.exit_json(**result)
