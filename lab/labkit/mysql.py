# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a host of the lab a MySQL server: its configuration, keys, accounts, and the variables for Ansible."""

import json
import os
import re
import secrets

from . import rds, ssh
from .machine import machine_lock
from .run import LabError, run
from .state import is_rds, kind

PORT = 3306
PARAMETER = re.compile(r"[a-z][a-z0-9_]*\Z")
PARAMETER_VALUE = re.compile(r"[A-Za-z0-9_.]+\Z")
ADMIN, RDS_ADMIN, REPLICATION, APPLICATION = "migration_admin", "admin", "migration_repl", "app"
SCHEMA = "shop"
TLS = "/etc/mysql/tls"
CONFIGURATION = """\
# SPDX-License-Identifier: GPL-3.0-or-later
# A small server: several of them share the machine.
[mysqld]
server_id = %(server_id)d
bind_address = %(address)s,127.0.0.1
report_host = %(address)s
mysqlx = 0
ssl_ca = /etc/mysql/tls/ca.pem
ssl_cert = /etc/mysql/tls/server-cert.pem
ssl_key = /etc/mysql/tls/server-key.pem
innodb_buffer_pool_size = 128M
innodb_redo_log_capacity = 256M
max_connections = 300
performance_schema_digests_size = 1000
"""
GTID_OFF = "gtid_mode = OFF\nenforce_gtid_consistency = OFF\n"
# Keys are the host's own, and the account has its number from the packages.
UNIT = "[Service]\nExecStartPre=+/usr/bin/chown -R mysql:mysql /etc/mysql/tls\n"
# What the migration needs, by what it needs it for. Each of the first line was found by taking it away.
ADMIN_PRIVILEGES = (
    "SYSTEM_VARIABLES_ADMIN, REPLICATION_SLAVE_ADMIN, CONNECTION_ADMIN, XA_RECOVER_ADMIN, PROCESS, RELOAD, "
    "REPLICATION CLIENT, SELECT, "
    # persisting a fence for the next start, purging, accounts for the replication and for clone
    "PERSIST_RO_VARIABLES_ADMIN, BINLOG_ADMIN, CREATE USER, REPLICATION SLAVE, BACKUP_ADMIN, CLONE_ADMIN, "
    # dump and load, with objects of other definers
    "SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, SHOW_ROUTINE, SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER, EXECUTE, "
    "CREATE, ALTER, DROP, INDEX, REFERENCES, INSERT, UPDATE, DELETE, CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE"
)
ADMIN_ACCOUNT = """\
CREATE USER IF NOT EXISTS '%(admin)s'@'%%' IDENTIFIED BY '%(admin_password)s';
GRANT %(privileges)s ON *.* TO '%(admin)s'@'%%' WITH GRANT OPTION;
"""
APPLICATION_ACCOUNT = """\
CREATE USER IF NOT EXISTS '%(app)s'@'%%' IDENTIFIED BY '%(app_password)s';
GRANT ALL ON `%(schema)s`.* TO '%(app)s'@'%%';
"""


class Secrets:
    """Passwords of a lab, made once and kept in a file that only root reads."""

    NAMES = ("admin", "replication", "application")

    def __init__(self, lab):
        self._path = lab.folder / "mysql-secrets.json"

    def read(self):
        """Name -> password, made when there are none."""
        with machine_lock("machine"):
            if not self._path.exists():
                write_private(self._path, json.dumps({name: secrets.token_urlsafe(18) for name in self.NAMES}))
        return json.loads(self._path.read_text(encoding="ascii"))


def write_private(path, text):
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)


def server_id(lab, host):
    return int(lab.address(host).rsplit(".", 1)[1])


def ca(lab):
    """The certificate authority of a lab's MySQL servers; the key lies beside it."""
    return lab.folder / "mysql-ca.pem"


def make_keys(lab, host):
    """Make the lab's authority, and a host's key and certificate for its address, where they are missing."""
    authority, key = ca(lab), lab.folder / "mysql-ca-key.pem"
    new_key = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    with machine_lock("machine"):
        if not authority.exists():
            subject = ["-subj", "/CN=lab %s" % lab.name, "-days", "3650", "-addext", "keyUsage=keyCertSign,cRLSign"]
            run(new_key + ["-x509", "-keyout", str(key), "-out", str(authority), *subject])
    keys = lab.folder / "hosts" / host
    request, certificate = keys / "mysql.csr", keys / "mysql-cert.pem"
    if certificate.exists():
        return
    address = lab.address(host)
    run(
        new_key
        + ["-keyout", str(keys / "mysql-key.pem"), "-out", str(request), "-subj", "/CN=%s" % host]
        + ["-addext", "subjectAltName=IP:%s,DNS:%s" % (address, host.replace("_", "-"))]
    )
    run(
        ["openssl", "x509", "-req", "-in", str(request), "-CA", str(authority), "-CAkey", str(key), "-days", "3650"]
        + ["-copy_extensions", "copy", "-out", str(certificate), "-set_serial", str(secrets.randbits(63))]
    )


def add_files(tar, lab, host, gtid):
    """Put a server's configuration and keys into the bundle of its host."""
    make_keys(lab, host)
    text = CONFIGURATION % {"server_id": server_id(lab, host), "address": lab.address(host)}
    text += ("" if gtid else GTID_OFF) + (rds.CONFIGURATION if is_rds(host) else "")
    tar.file("/etc/mysql/mysql.conf.d/zz-lab.cnf", text)
    tar.file("/etc/systemd/system/mysql.service.d/lab.conf", UNIT)
    keys = lab.folder / "hosts" / host
    tar.folder(TLS, 0o700)
    tar.file(TLS + "/ca.pem", ca(lab).read_bytes())
    tar.file(TLS + "/server-cert.pem", (keys / "mysql-cert.pem").read_bytes())
    tar.file(TLS + "/server-key.pem", (keys / "mysql-key.pem").read_bytes(), 0o600)


def sql(lab, host, text, timeout=120):
    """Run SQL as root over the host's socket; returns what the client prints, without column names."""
    return ssh.on(lab, host, "mysql --batch --raw --skip-column-names", data=text, timeout=timeout).stdout


def provision(lab, host, profile=None):
    """Make the accounts of a fresh server, none of it in the binary log, which begins empty.

    :param profile: for a server of the RDS kind, which procedures it has; see rds.check_profile()
    :return: the server's version as text
    """
    passwords = Secrets(lab).read()
    values = {
        "admin": ADMIN, "admin_password": passwords["admin"], "privileges": ADMIN_PRIVILEGES,
        "app": APPLICATION, "app_password": passwords["application"], "schema": SCHEMA,
    }  # fmt: skip
    version = sql(lab, host, "SELECT VERSION()").strip()
    if not version:
        raise LabError("%s: MySQL gives no version. See: lab ssh %s -- journalctl -u mysql" % (host, host))
    if is_rds(host):
        wanted = profile or rds.default_profile(host)
        text = rds.statements(wanted, RDS_ADMIN, passwords["admin"]) + APPLICATION_ACCOUNT % values
    else:
        text = "SET SESSION sql_log_bin = 0;\n" + (ADMIN_ACCOUNT + APPLICATION_ACCOUNT) % values
    sql(lab, host, text + "RESET BINARY LOGS AND GTIDS;\n")
    return version


def endpoint(lab, host):
    """How a module reaches a server: the options of `source` and `target`."""
    passwords = Secrets(lab).read()
    return {
        "login_host": lab.address(host),
        "login_port": PORT,
        "login_user": RDS_ADMIN if is_rds(host) else ADMIN,
        "login_password": passwords["admin"],
        "ca_cert": str(ca(lab)),
        "check_hostname": True,
        "platform": "auto",
        "address": lab.address(host),
        "port": PORT,
    }


def variables(lab):
    """The inputs of the playbooks for this lab, as a user would have them in group_vars."""
    sides = {side: lab.of_kind("mysql_" + side) for side in ("old", "new")}
    migration = {
        "replicas": [
            dict(endpoint(lab, host), name=host, behind="target" if host.startswith("mysql_replica_new") else "source")
            for host in lab.of_kind("mysql_replica")
        ],
        "replication": {
            "user": REPLICATION,
            "password": Secrets(lab).read()["replication"],
            "ssl": True,
            "ca": TLS + "/ca.pem",
        },
        "schemas": [],
    }
    for side, name in (("old", "source"), ("new", "target")):
        if sides[side]:
            migration[name] = endpoint(lab, sides[side][0])
    return {
        "migration_name": lab.name,
        "migration_state_dir": str(lab.folder / "migration"),
        "migration_mysql": migration,
        # Every server by its name, for tests that want other pairs.
        "lab_mysql": {host: endpoint(lab, host) for host in lab.mysql_hosts()},
        "lab_mysql_application": {"user": APPLICATION, "password": Secrets(lab).read()["application"]},
    }


def write_variables(lab):
    """Write build/lab/NAME/mysql.yml. JSON is YAML, and nothing has to be quoted by hand."""
    if any(kind(host).startswith("mysql") for host in lab.hosts):
        text = "# Written by lab/lab up\n" + json.dumps(variables(lab), indent=2) + "\n"
        write_private(lab.folder / "mysql.yml", text)


def set_parameter(lab, host, name, value):
    """Change a parameter of a server of the RDS kind, as its parameter group would: at once, and after restarts.

    :raises LabError: when the host is no such server, or the server refuses.
    """
    if not is_rds(host):
        raise LabError("%s has no parameter group: it is a plain server" % host)
    if not PARAMETER.match(name) or not PARAMETER_VALUE.match(value):
        raise LabError("Not a parameter and its value: %s=%s" % (name, value))
    sql(lab, host, "SET GLOBAL %s = %s" % (name, value))
    line = "printf '[mysqld]\\n%s = %s\\n' > /etc/mysql/mysql.conf.d/zzz-%s.cnf" % (name, value, name)
    ssh.on(lab, host, line)
