# SPDX-License-Identifier: GPL-3.0-or-later
"""Writers of a tree: systemd units that are stopped together and cannot come back while a condition file exists."""

import os

from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.host.files import FileError, data, read, remove, write
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError

DROP_IN = """# Written by seamless.migration: this unit stays down while migration {migration} has closed this host.
[Unit]
ConditionPathExists=!{condition}
"""

BOOT_UNIT = """# Written by seamless.migration: after a boot, settles the freeze before anything can write.
[Unit]
Description=Settle the storage freeze of migration {migration}
ConditionPathExists={state}
RequiresMountsFor={trees}
After=local-fs.target remote-fs.target
Before={units}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={python} {program} boot {migration}

[Install]
WantedBy=multi-user.target
"""


def systemctl(words, timeout, ok=(0,)):
    """Run systemctl with words. Returns command.Result. Raises FreezeError naming the cause."""
    program = command.which("systemctl")
    if program is None:
        raise FreezeError(
            "systemctl is not on this host. A freeze needs systemd, to block the writers and to be kept or undone "
            "after a boot"
        )
    try:
        return command.run([program] + list(words), timeout=timeout, ok=ok)
    except command.CommandError as error:
        raise FreezeError(str(error)) from error


def unit_name(name):
    """A unit name with its type: 'upload' is 'upload.service'."""
    known = (".service", ".socket", ".timer", ".path", ".target", ".mount", ".automount", ".scope", ".slice")
    return name if name.endswith(known) else name + ".service"


def states(units, timeout=10):
    """ActiveState, LoadState and MainPID of units, in one call. Returns dict unit -> dict. Raises FreezeError."""
    if not units:
        return {}
    result = systemctl(["show", "-p", "Id,Names,ActiveState,LoadState,MainPID", "--"] + list(units), timeout, ok=None)
    found = {}
    for unit, block in zip(units, result.stdout.split("\n\n")):
        found[unit] = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    return found


def running(unit_state):
    """Whether a unit of states() is up or on its way up or down."""
    return unit_state.get("ActiveState") in ("active", "activating", "reloading", "deactivating")


def drop_in_path(paths, unit):
    """Path of our drop-in for a unit."""
    return os.path.join(paths.units, unit + ".d", "50-seamless-migration-%s.conf" % paths.migration)


def drop_ins(paths, units):
    """The drop-ins that block units: dict path -> content (bytes)."""
    text = DROP_IN.format(migration=paths.migration, condition=paths.condition)
    return {drop_in_path(paths, unit): data(text) for unit in units}


def boot_files(paths, trees, units, python):
    """The unit that settles the freeze at boot: dict path -> content (bytes)."""
    text = BOOT_UNIT.format(
        migration=paths.migration,
        state=paths.state,
        trees=" ".join('"%s"' % tree.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"') for tree in trees),
        units=" ".join(units),
        python=python,
        program=paths.program,
    )
    return {os.path.join(paths.units, paths.boot_unit): data(text)}


def wants_link(paths):
    """The link by which multi-user.target starts the boot unit."""
    return os.path.join(paths.units, "multi-user.target.wants", paths.boot_unit)


def missing(contents):
    """Of dict path -> content those that are not so on disk. Returns list of paths."""
    return [path for path, content in sorted(contents.items()) if read(path) != content]


def install(contents, mode=0o644):
    """Write what differs. contents: dict path -> bytes. Returns the paths written. Raises FreezeError."""
    try:
        written = missing(contents)
        for path in written:
            if not os.path.isdir(os.path.dirname(path)):
                os.makedirs(os.path.dirname(path), mode=0o755)
            write(path, contents[path], mode=mode)
    except (FileError, OSError) as error:
        raise FreezeError(str(error)) from error
    return written


def uninstall(files):
    """Remove files, and the folders of drop-ins that become empty. Returns those that were there."""
    gone = []
    for path in files:
        try:
            if remove(path):
                gone.append(path)
            if path.endswith(".conf"):
                os.rmdir(os.path.dirname(path))
        except (FileError, OSError):
            continue  # a folder that holds other drop-ins stays
    return gone


def block(paths):
    """From now on the writers' units do not start, over reboots too."""
    try:
        write(paths.condition, data("migration %s\n" % paths.migration), mode=0o600)
    except FileError as error:
        raise FreezeError(str(error)) from error


def unblock(paths):
    """The writers' units may start again. Returns whether they were blocked."""
    try:
        return remove(paths.condition)
    except FileError as error:
        raise FreezeError(str(error)) from error


def stop(units, timeout):
    """Stop units in one call. Raises FreezeError naming those that did not stop within timeout seconds."""
    if units:
        systemctl(["stop", "--"] + list(units), timeout)


def start(units, timeout=30):
    """Start units in one call and see that they run. Raises FreezeError naming those that do not."""
    if not units:
        return
    systemctl(["reset-failed", "--"] + list(units), timeout, ok=None)
    systemctl(["start", "--"] + list(units), timeout)
    down = [unit for unit, state in sorted(states(units).items()) if not running(state)]
    if down:
        raise FreezeError("%s did not start. Look at its journal" % ", ".join(down))


def start_later(units, timeout=10):
    """Ask for units to be started once what they wait for is done; for use within a unit that they wait for."""
    if units:
        systemctl(["start", "--no-block", "--"] + list(units), timeout)
