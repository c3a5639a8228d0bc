# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    # How one server is reached, for modules with flat options.
    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Name or address of the server. V(localhost) when neither this nor O(config_file) says another.
    type: str
  login_port:
    description:
      - Its port. 3306 when neither this nor O(config_file) says another.
    type: int
  login_user:
    description:
      - The account. That of O(config_file), or the user that the module runs as, when it is not given.
    type: str
  login_password:
    description:
      - Its password.
    type: str
  login_unix_socket:
    description:
      - Path of a socket to connect through, instead of host and port.
    type: path
  config_file:
    description:
      - A file with a section C([client]), as C(~/.my.cnf). Options that are given win over it.
      - None is read unless it is named here, so that two servers do not get each other's password.
    type: path
  ca_cert:
    description:
      - Certificate of the authority that signed the server's certificate. With it the connection is encrypted or fails.
    type: path
  client_cert:
    description:
      - Certificate of the account.
    type: path
  client_key:
    description:
      - Key of O(client_cert).
    type: path
  check_hostname:
    description:
      - Whether the server's certificate must be for O(login_host). It must when O(ca_cert) is given, unless this is
        V(false).
    type: bool
  connect_timeout:
    description:
      - Seconds in which the connection must stand.
    type: int
    default: 10
requirements:
  - PyMySQL >= 0.9.3
  - cryptography, for accounts with caching_sha2_password when the connection is not encrypted
notes:
  - Works with MySQL, Percona Server and RDS for MySQL from 5.7 on. MariaDB is refused, because its GTIDs are others.
attributes:
  action_group:
    description:
      - Use C(group/seamless.migration.mysql) in C(module_defaults) to give the connection options once.
    support: full
    membership:
      - seamless.migration.mysql
"""

    # What the server is, for modules that do it differently on RDS.
    PLATFORM = r"""
options:
  platform:
    description:
      - What runs the server. V(rds) uses the procedures C(mysql.rds_*) where others use statements.
      - V(auto) finds out by these procedures.
    type: str
    choices: [auto, mysql, rds]
    default: auto
"""

    # For modules that speak to two servers.
    ENDPOINTS = r"""
options:
  source:
    description:
      - The server that is left.
    type: dict
    required: true
    suboptions: &endpoint
      login_host:
        description: Name or address of the server.
        type: str
      login_port:
        description: Its port.
        type: int
      login_user:
        description: The account.
        type: str
      login_password:
        description: Its password.
        type: str
      login_unix_socket:
        description: Path of a socket to connect through, instead of host and port.
        type: path
      config_file:
        description: A file with a section C([client]). Options that are given win over it.
        type: path
      ca_cert:
        description: Certificate of the authority that signed the server's certificate.
        type: path
      client_cert:
        description: Certificate of the account.
        type: path
      client_key:
        description: Key of the account's certificate.
        type: path
      check_hostname:
        description: Whether the server's certificate must be for the host's name.
        type: bool
      connect_timeout:
        description: Seconds in which the connection must stand.
        type: int
        default: 10
      platform:
        description: What runs the server. V(auto) finds out by the procedures C(mysql.rds_*).
        type: str
        choices: [auto, mysql, rds]
        default: auto
  target:
    description:
      - The server that is moved to.
    type: dict
    required: true
    suboptions: *endpoint
requirements:
  - PyMySQL >= 0.9.3
  - cryptography, for accounts with caching_sha2_password when the connection is not encrypted
notes:
  - Works with MySQL, Percona Server and RDS for MySQL from 5.7 on. MariaDB is refused, because its GTIDs are others.
attributes:
  action_group:
    description:
      - Use C(group/seamless.migration.mysql) in C(module_defaults) to give all modules of the group the same options.
    support: full
    membership:
      - seamless.migration.mysql
"""
