# SPDX-License-Identifier: GPL-3.0-or-later
"""What each lsyncd takes and where each system keeps it: data read in lsyncd's sources, one row a fact.

Versions 2.1.0 to 2.3.1 were read tag by tag: `settingsCheckgauge` in lsyncd.lua, `checkgauge` in default.lua,
default-rsync.lua and default-rsyncssh.lua. Before 2.2.0 settings{} takes anything and ignores what it does not
know; from 2.2.0 on an unknown key is fatal. In sync{} it is fatal in all of them.
"""

from collections import namedtuple

OLDEST = (2, 1, 0)
ASSUMED = (2, 2, 3)  # where no lsyncd is installed yet: Debian 11 and 12, EPEL 8 and 9

Key = namedtuple("Key", "name kind since until")  # until: first version without it, or None


def _keys(kind, since, names, until=None):
    return [Key(name, kind, since, until) for name in names.split()]


SETTINGS = (
    _keys("str", OLDEST, "logfile pidfile statusFile logfacility logident inotifyMode")
    + _keys("int", OLDEST, "statusInterval maxProcesses maxDelays")
    + _keys("bool", OLDEST, "nodaemon")
    + _keys("bool", OLDEST, "insist", until=(2, 2, 0))
    + _keys("bool", (2, 2, 2), "insist")  # 2.2.0 and 2.2.1 misspell it "insisit" and refuse the right word
    + _keys("bool", (2, 2, 4), "onepass")
)

SYNC = (
    _keys("str", OLDEST, "source target host targetdir delete")
    + _keys("int", OLDEST, "delay maxDelays maxProcesses")
    + _keys("bool", OLDEST, "init onMove")
    + _keys("list", OLDEST, "exclude")
    + _keys("str", (2, 1, 2), "excludeFrom")
    + _keys("int", (2, 3, 0), "batchSizeLimit")
)

RSYNC = (
    _keys(
        "bool",
        OLDEST,
        "acls checksum compress copy_links cvs_exclude dry_run executability group hard_links ignore_times ipv4 ipv6 "
        "links one_file_system owner perms protect_args prune_empty_dirs quiet sparse times update verbose "
        "whole_file xattrs",
    )
    + _keys("str", OLDEST, "binary rsh rsync_path temp_dir")
    + _keys("list", (2, 1, 1), "_extra")
    + _keys("bool", (2, 1, 4), "archive keep_dirlinks")
    + _keys("int", (2, 1, 5), "bwlimit timeout")
    + _keys("str", (2, 1, 5), "password_file")
    + _keys("bool", (2, 1, 6), "inplace")
    + _keys("bool", (2, 2, 0), "append append_verify backup copy_dirlinks existing omit_dir_times omit_link_times")
    + _keys("str", (2, 2, 0), "backup_dir chmod chown groupmap suffix usermap")
    + _keys("bool", (2, 2, 4), "copy_unsafe_links delete_excluded")
)

SSH = (
    _keys("str", OLDEST, "binary")
    + _keys("int", OLDEST, "port")
    + _keys("list", OLDEST, "_extra")
    + _keys("str", (2, 1, 6), "identityFile")
    + _keys("dict", (2, 1, 6), "options")
)

# What archive=true means, for the versions (before 2.1.4) that do not know the word.
ARCHIVE_BOOLEANS = ("links", "perms", "times", "group", "owner")
ARCHIVE_EXTRA = "-D"
ARCHIVE_SINCE = (2, 1, 4)

# Words in _extra that break lsyncd's way of calling rsync, or that belong to an option of their own.
FORBIDDEN_EXTRA = {
    "-r": "lsyncd adds it itself",
    "--recursive": "lsyncd adds it itself",
    "-a": "set archive",
    "--archive": "set archive",
    "-R": "lsyncd's paths are relative to the source already",
    "--relative": "lsyncd's paths are relative to the source already",
    "--delete": "set delete of the sync",
    "--ignore-errors": "it deletes on the target what cannot be read on the source",
}

Place = namedtuple("Place", "config options_file options_variable service init")

# Debian and Ubuntu: SysV script, run through systemd's generator. EPEL: a unit with EnvironmentFile.
PLACES = {
    "Debian": Place("/etc/lsyncd/lsyncd.conf.lua", "/etc/default/lsyncd", "DAEMON_ARGS", "lsyncd", "sysv"),
    "RedHat": Place("/etc/lsyncd.conf", "/etc/sysconfig/lsyncd", "LSYNCD_OPTIONS", "lsyncd", "systemd"),
    "Suse": Place("/etc/lsyncd/lsyncd.conf", "/etc/sysconfig/lsyncd", "LSYNCD_OPTIONS", "lsyncd", "systemd"),
}
RELEASE_FILES = (
    ("/etc/debian_version", "Debian"),
    ("/etc/redhat-release", "RedHat"),
    ("/etc/system-release", "RedHat"),
    ("/etc/SUSE-brand", "Suse"),
    ("/etc/SuSE-release", "Suse"),
)


def known(table, version):
    """Keys of a table that lsyncd `version` (tuple of int) takes. Returns dict of name -> Key."""
    return {
        key.name: key for key in table if key.since <= version and (key.until is None or version < key.until)
    }


def since(table, name):
    """The versions that take a key, in words, or None for a key that no version knows."""
    spans = [
        "%s%s" % (dotted(key.since), " to before %s" % dotted(key.until) if key.until else " and later")
        for key in table
        if key.name == name
    ]
    return ", ".join(spans) or None


def dotted(version):
    """(2, 2, 3) -> "2.2.3"."""
    return ".".join(str(number) for number in version)
