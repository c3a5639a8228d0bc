# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide what has to be written so that one module of rsyncd.conf, its secrets and the global keys are as wanted."""

import ipaddress
import os
import re
import shlex

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.host.command import which
from ansible_collections.seamless.migration.plugins.module_utils.rsync import (
    daemon_check,
    daemon_config,
    daemon_keys,
    daemon_secrets,
)
from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_keys import ConfigError, normal

SECRETS_FOLDER = "/etc/seamless-migration"
SECRETS_FILE = SECRETS_FOLDER + "/rsyncd.secrets"

# Option of the module -> key of rsyncd.conf, in the order in which a new section gets them.
OPTIONS = (
    ("comment", "comment"),
    ("path", "path"),
    ("read_only", "read only"),
    ("list", "list"),
    ("uid", "uid"),
    ("gid", "gid"),
    ("use_chroot", "use chroot"),
    ("numeric_ids", "numeric ids"),
    ("munge_symlinks", "munge symlinks"),
    ("hosts_allow", "hosts allow"),
    ("hosts_deny", "hosts deny"),
    ("auth_users", "auth users"),
    ("secrets_file", "secrets file"),
    ("max_connections", "max connections"),
    ("timeout", "timeout"),
    ("refuse_options", "refuse options"),
    ("exclude", "exclude"),
    ("filter", "filter"),
    ("temp_dir", "temp dir"),
    ("incoming_chmod", "incoming chmod"),
    ("pre_xfer_exec", "pre-xfer exec"),
)
VARIABLE = re.compile(r"%[A-Z][^%]*%")


def _text_list(option, items, separator):
    """Patterns and rules that rsync splits at blanks. separator: what may not be inside one."""
    for item in items:
        if not item or separator.search(item):
            raise ConfigError(
                "%s: %r; rsync splits this value at blanks and cannot quote them. Write ? for a blank, or use "
                "'exclude from' in extra" % (option, item)
            )
    return " ".join(items)


def _check_network(option, entry):
    """Raise ConfigError for an address or network that rsync would log as malformed and then never match."""
    address, slash, _mask = entry.partition("/")
    if not (re.match(r"[0-9.]+$", address) or ":" in address):
        if slash:
            raise ConfigError(
                "%s: %r is no network; rsync would match nobody. Write an address, a network or a host "
                "name" % (option, entry)
            )
        return
    try:
        ipaddress.ip_network(re.sub(r"%[^/]*", "", entry), strict=False)
    except ValueError as error:
        raise ConfigError(
            "%s: %s; rsync would match nobody. Write it as 192.0.2.7 or 192.0.2.0/24" % (option, error)
        ) from error


def _check_path(params):
    path = params["path"]
    if not path.startswith("/"):
        raise ConfigError("path has to be an absolute path, not %r" % path)
    if params["require_path"] and VARIABLE.search(path):
        raise ConfigError(
            "path %r has a %%VARIABLE%%, which rsync replaces from the daemon's environment, so it cannot be checked. "
            "Set require_path: false if that is meant" % path
        )
    if params["require_path"] and not os.path.isdir(path):
        raise ConfigError(
            "path %s is no directory on this host. Create or mount it first, or set require_path: false" % path
        )
    if params["require_mountpoint"] and not os.path.ismount(path):
        raise ConfigError("path %s is not a mount point, so it may be an unmounted, empty tree. Mount it first" % path)


def _guard(params):
    """The command before a transfer: with require_mountpoint an unmounted tree is refused at each connection."""
    command = params["pre_xfer_exec"]
    if not params["require_mountpoint"]:
        return command
    guard = "%s -q %s" % (which("mountpoint") or "mountpoint", shlex.quote(params["path"]))
    return "%s || exit 1; %s" % (guard, command) if command else guard


def _access(params):
    for option in ("hosts_allow", "hosts_deny"):
        for entry in params[option] or []:
            _check_network(option, entry)
    if params["hosts_deny"] is None and params["hosts_allow"]:
        return ["*"]  # neither list matching means allowed
    return params["hosts_deny"]


def _values(params, secrets_file):
    """{option: value to write, None to leave alone, '' or [] to remove}"""
    values = {option: params[option] for option, label in OPTIONS}
    values["hosts_deny"] = _access(params)
    values["secrets_file"] = secrets_file
    values["pre_xfer_exec"] = _guard(params)
    for entry in params["auth_users"] or []:
        daemon_secrets.split_auth_user(entry)
    if params["auth_users"] is None and params["secrets"]:
        values["auth_users"] = sorted(params["secrets"])
    for option, separator in (("exclude", re.compile(r"\s")), ("filter", re.compile(r"\s{2,}|\s.*\s"))):
        if params[option]:
            values[option] = _text_list(option, params[option], separator)
    if params["munge_symlinks"] is None and (params["use_chroot"] is False or "/./" in params["path"]):
        raise ConfigError(
            "munge_symlinks has to be said when rsync does not chroot into the path itself: true rewrites every link "
            "to /rsyncd-munged/..., "
            "false stores links as they are"
        )
    return values


def _removes(value):
    return value is None or value in ("", [])


def module_wishes(params, version, secrets_file):
    """What the section should say: list of (Key, str, or None to remove). Raises ConfigError."""
    wishes = []
    values = _values(params, secrets_file)
    for option, label in OPTIONS:
        value = values[option]
        if value is None:
            continue
        key = daemon_keys.find(label, None if _removes(value) else version)
        wishes.append((key, None if _removes(value) else daemon_keys.render(key, value)))
    taken = {normal(label): option for option, label in OPTIONS}
    for name, value in (params["extra"] or {}).items():
        key = daemon_keys.find(name, None if _removes(value) else version)
        if key.scope == "global":
            raise ConfigError("extra: '%s' is a key of the whole daemon. Put it into globals" % key.label)
        if normal(key.label) in taken:
            raise ConfigError("extra: '%s' has an option of its own. Use %s" % (key.label, taken[normal(key.label)]))
        wishes.append((key, None if _removes(value) else daemon_keys.render(key, value)))
    return wishes


def global_wishes(wanted, version):
    """The same for the global part. wanted: {key name: value, None to remove}."""
    wishes = []
    for name, value in wanted.items():
        key = daemon_keys.find(name, None if _removes(value) else version)
        wishes.append((key, None if _removes(value) else daemon_keys.render(key, value)))
    return wishes


class File:
    """A file before and after. content: bytes or None when there is none."""

    def __init__(self, path):
        self.path = path
        self.content = files.read(path)
        self.before = files.text(self.content or b"")
        self.after = self.before

    @property
    def differs(self):
        return self.after != self.before


class Change:
    """What is to be written. See plan()."""

    def __init__(self, params):
        self.params = params
        self.config = File(params["config_file"])
        self.secrets = None
        self.secret_users = []
        self.version = None
        self.wrong_rights = False
        self.drop_secrets = False
        self.validated = None

    @property
    def differs(self):
        return self.config.differs or self._secrets_differ

    @property
    def _secrets_differ(self):
        return self.secrets is not None and (self.secrets.differs or self.wrong_rights or self.drop_secrets)

    def apply(self):
        """Write. Secrets come before the configuration that refers to them, and go after it. Returns backup or None."""
        copy = None
        if self.params["state"] == "present":
            self._write_secrets()
        if self.config.differs:
            copy = files.backup(self.config.path) if self.params["backup"] else None
            files.write(self.config.path, files.data(self.config.after))
        if self.params["state"] == "absent":
            self._write_secrets()
        return copy

    def _write_secrets(self):
        if not self._secrets_differ:
            return
        path = self.secrets.path
        if self.drop_secrets:
            files.remove(path)
            return
        folder = os.path.dirname(path)
        if folder == SECRETS_FOLDER and not os.path.isdir(folder):
            os.makedirs(folder, 0o700)
        files.write(path, files.data(self.secrets.after), mode=0o600, owner=(os.geteuid(), os.getegid()))

    def diff(self):
        """Before and after of both files, for people; without secrets."""
        result = []
        if self.config.differs:
            result.append(_diff(self.config.path, self.config.before, self.config.after))
        if self._secrets_differ:
            before = daemon_secrets.masked(self.secrets.before)
            after = "" if self.drop_secrets else daemon_secrets.masked(self.secrets.after, self.secret_users)
            if self.wrong_rights:
                before += "(mode or owner not 0600 root)\n"
            result.append(_diff(self.secrets.path, before, after))
        return result

    def result(self):
        """What the module returns besides changed and diff."""
        after = daemon_config.Meaning(self.config.after, self.config.path)
        before = daemon_config.Meaning(self.config.before, self.config.path)
        name = self.params["name"]
        module = after.modules.get(normal(name)) if name else None
        held = {daemon_keys.KEYS[key].label: value for key, value in module.keys.items()} if module else {}
        return {
            "config_file": self.config.path,
            "settings": {label: _printable(value) for label, value in held.items()},
            "modules": [_printable(other.name) for other in after.modules.values()],
            "secrets_file": held.get("secrets file", ""),
            "users": self.secret_users,
            "ignored": [_printable(line) for line in after.ignored],
            "restart_needed": any(
                before.globals.get(normal(key)) != after.globals.get(normal(key)) for key in daemon_keys.NEEDS_RESTART
            ),
            "rsync_version": ".".join(map(str, self.version)) if self.version else "",
            "validated": bool(self.validated),
        }


def _printable(text):
    return files.data(text).decode("utf-8", "replace")


def _diff(path, before, after):
    return {"before_header": path, "after_header": path, "before": _printable(before), "after": _printable(after)}


def plan(params):
    """Decide.

    params: the options of the Ansible module rsyncd_module. Returns a Change, nothing is written. Raises ConfigError
    or FileError.
    """
    change = Change(params)
    change.version = daemon_check.rsync_version()
    name = params["name"]
    if name is not None:
        daemon_keys.check_module_name(name)
        (_plan_present if params["state"] == "present" else _plan_absent)(change, name)
    if params["globals"]:
        wishes = global_wishes(params["globals"], change.version)
        change.config.after = daemon_config.with_globals(change.config.after, change.config.path, wishes)
    return change


def _plan_present(change, name):
    params = change.params
    _check_path(params)
    for user, secret in (params["secrets"] or {}).items():
        daemon_secrets.check_user("secrets", user)
        daemon_secrets.check_secret(user, secret)
    path = _secrets_path(change, name)
    wishes = module_wishes(params, change.version, path)
    change.config.after = daemon_config.present(
        change.config.before, change.config.path, name, wishes, exclusive=params["exclusive"]
    )
    _plan_secrets(change, name)


def _secrets_path(change, name):
    """Where the secrets are: as asked, else where the module has them, else our own place; None without any."""
    params = change.params
    path = params["secrets_file"]
    if path:
        daemon_keys.check_text("secrets_file", path)
        if not path.startswith("/"):
            raise ConfigError("secrets_file has to be an absolute path, not %r" % path)
        return path
    module = daemon_config.Meaning(change.config.before, change.config.path).modules.get(normal(name))
    held = module.keys.get("secretsfile") if module else None
    return (held or SECRETS_FILE) if params["secrets"] else path


def _plan_secrets(change, name):
    """The secrets file of the module as it will be: the wanted secrets in it, every user of auth users with a line."""
    params = change.params
    module = daemon_config.Meaning(change.config.after, change.config.path).modules[normal(name)]
    asked = daemon_keys.words(module.keys.get("authusers", ""))
    path = module.keys.get("secretsfile")
    if asked and not path:
        raise ConfigError(
            "auth_users %s have no secrets. Give secrets or secrets_file; rsync would refuse every "
            "user" % ", ".join(asked)
        )
    if not path or not (params["secrets"] or params["auth_users"]):
        return
    change.secrets = File(path)
    wanted = params["secrets"] or {}
    change.secret_users = daemon_secrets.differing(change.secrets.before, wanted)
    change.secrets.after = daemon_secrets.with_users(change.secrets.before, wanted)
    change.wrong_rights = change.secrets.content is not None and not _private(path)
    known = daemon_secrets.users(change.secrets.after)
    for entry in asked:
        user, access = daemon_secrets.split_auth_user(entry)
        if access != "deny" and not re.search(r"[@*?\[]", user) and user not in known:
            raise ConfigError("auth_users: '%s' has no line in %s. Give its password in secrets" % (user, path))


def _private(path):
    status = os.stat(path)
    return status.st_mode & 0o077 == 0 and status.st_uid == os.geteuid()


def _plan_absent(change, name):
    """Without the module, and without the lines of its users in our secrets file that no other module needs."""
    before = daemon_config.Meaning(change.config.before, change.config.path)
    module = before.modules.get(normal(name))
    change.config.after = daemon_config.absent(change.config.before, change.config.path, name)
    after = daemon_config.Meaning(change.config.after, change.config.path)
    path = change.params["secrets_file"] or SECRETS_FILE
    if module is None or normal(name) in after.modules:
        return
    if module.keys.get("secretsfile") != path or not os.path.exists(path):
        return
    needed = {user for other in after.modules.values() for user in _plain_users(other)}
    change.secrets = File(path)
    gone = [user for user in _plain_users(module) if user not in needed]
    change.secrets.after = daemon_secrets.without_users(change.secrets.before, gone)
    change.secret_users = [user for user in gone if user in daemon_secrets.users(change.secrets.before)]
    change.drop_secrets = bool(change.secret_users) and not change.secrets.after.strip()


def _plain_users(module):
    return [entry.partition(":")[0] for entry in daemon_keys.words(module.keys.get("authusers", ""))]


def validate(change):
    """Have the real rsync read the new configuration before it is put in place. Raises ConfigError."""
    params = change.params
    name = params["name"] if params["state"] == "present" else None
    enter = name
    if name is not None:
        module = daemon_config.Meaning(change.config.after, change.config.path).modules[normal(name)]
        if VARIABLE.search(module.keys["path"]) or not os.path.isdir(module.keys["path"]):
            enter = None  # require_path: false said that it cannot be entered yet
    change.validated = daemon_check.check(change.config.after, change.config.path, enter)
