# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the real rsync read a configuration before it is put in place.

rsync serves one connection and ends when its standard input is a socket (as under inetd). So no port is opened to
others, no process stays, and the file is tried out as a copy that only this host may use.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError, run, which
from ansible_collections.seamless.migration.plugins.module_utils.rsync import daemon_config, daemon_keys
from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_protocol import (
    ADVICE,
    Deadline,
    Talk,
    _Verdict,
)


def rsync_version():
    """(major, minor, patch) of the installed rsync, or None."""
    program = which("rsync")
    if program is None:
        return None
    try:
        output = run([program, "--version"], timeout=20).stdout
    except CommandError:
        return None
    found = re.search(r"version v?(\d+)\.(\d+)\.(\d+)", output)
    return tuple(int(part) for part in found.groups()) if found else None


def _pair():
    """Two ends of a TCP connection over the loopback, because rsync asks its socket for an address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        near = socket.create_connection(listener.getsockname(), 5)
        far, address = listener.accept()
    if address != near.getsockname():  # somebody else on this host was faster; the copy asks for no password
        near.close()
        far.close()
        raise OSError("another process took the connection")
    return near, far


def _trial(text, path, name):
    """text with the module open to this host alone, without a password, and without commands of the administrator."""
    state = daemon_config.Meaning(text, path)
    held = dict(state.globals)
    held.update(state.modules[daemon_keys.normal(name)].keys)
    wishes = {"hosts allow": "127.0.0.1", "hosts deny": "*", "list": "yes", "auth users": ""}
    for label in ("early exec", "pre-xfer exec", "post-xfer exec", "name converter"):
        if daemon_keys.normal(label) in held:
            wishes[label] = "" if label == "name converter" else "true"
    return daemon_config.present(text, path, name, [(daemon_keys.find(key), value) for key, value in wishes.items()])


def _served(near, name, timeout):
    """What the daemon at the other end says. name: module to enter, or None to list. Returns (_Verdict, message)."""
    talk = Talk(near, Deadline(timeout))
    try:
        talk.greet()
        if name is None:
            talk.list()
        else:
            talk.module(name, None, None)
    except _Verdict as verdict:
        return verdict, talk.message
    return _Verdict("ok"), ""


def check(text, path, name=None, timeout=15):
    """Have rsync read text.

    text: content for the configuration file path. name: module to enter, or None to ask for the list only. timeout:
    seconds. Returns True, or None when there is no rsync to ask. Raises
    ConfigError with what rsync says.
    """
    program = which("rsync")
    if program is None:
        return None
    folder = tempfile.mkdtemp(prefix="seamless-rsyncd-")
    try:
        config, log = os.path.join(folder, "rsyncd.conf"), os.path.join(folder, "log")
        files.write(config, files.data(_trial(text, path, name) if name else text), mode=0o600)
        near, far = _pair()
        with near:
            with far:
                process = subprocess.Popen(
                    [program, "--daemon", "--config=" + config, "--log-file=" + log],
                    stdin=far,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            try:
                verdict, message = _served(near, name, timeout)
            finally:
                near.close()
                _end(process)
        if verdict.status not in ("ok", "busy"):
            raise daemon_keys.ConfigError(_reason(verdict, message, name, log))
        return True
    except OSError as error:
        raise daemon_keys.ConfigError(
            "rsync cannot be asked to read the new file: %s. Use validate: false to go without" % error
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(process):
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reason(verdict, message, name, log):
    told = [line.partition("] ")[2] for line in files.text(files.read(log, b"")).splitlines() if "] " in line]
    told = [
        line for line in told if not line.startswith(("connect from", "rsync allowed access", "module-list request"))
    ]
    cause = "; ".join(([message] if message else []) + told[-3:])
    advice = ADVICE[verdict.advice] if verdict.advice in ("path", "identity", "lock") else ""
    return "rsync does not serve %s from the new file: %s. %s" % (
        "module '%s'" % name if name else "anything",
        cause or verdict.status,
        advice.format(module=name, host="this host", cause="") or "The file was left as it was.",
    )
