# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of one entry of a tree, as one value that needs no NUL and no look at the other side."""

import collections
import errno
import hashlib
import os
import stat
from urllib.parse import quote_from_bytes

TYPES = {
    stat.S_IFREG: b"f",
    stat.S_IFDIR: b"d",
    stat.S_IFLNK: b"l",
    stat.S_IFIFO: b"p",
    stat.S_IFSOCK: b"s",
    stat.S_IFBLK: b"b",
    stat.S_IFCHR: b"c",
}
NAMES = {
    b"f": "file",
    b"d": "directory",
    b"l": "link",
    b"p": "fifo",
    b"s": "socket",
    b"b": "block device",
    b"c": "character device",
    b"?": "unreadable",
}
# group: the leader among the names of one file; acl, xattr, content: hashes; link: target, quoted. "-" is none.
FIELDS = "type size mtime_ns mode uid gid rdev group acl xattr link content ctime_ns".split()  # noqa: SIM905 - a list of words reads better
Entry = collections.namedtuple("Entry", FIELDS)  # type: ignore[misc]
NONE = b"-"
# Content that changed each time while it was read.
UNSTABLE = b"~"
GROUP, CONTENT = FIELDS.index("group"), FIELDS.index("content")

_ACLS = ("system.posix_acl_access", "system.posix_acl_default", "system.nfs4_acl")
# Given by the host's policy, or by a file system for itself.
_HOSTS_OWN = ("security.selinux", "security.ima", "security.evm", "trusted.overlay.", "trusted.SGI_", "system.")
_BLOCK = 1 << 20
_GONE = (errno.ENOENT, errno.ENOTDIR)


def parse(value):
    """The Entry in a value of a manifest."""
    return Entry(*value.split(b" "))


def digest(*parts, **options):
    """Hash of byte strings as hexadecimal bytes. size: bytes of the hash."""
    hashed = hashlib.blake2b(digest_size=options.get("size", 8))
    for part in parts:
        hashed.update(b"%d:" % len(part))
        hashed.update(part)
    return hashed.hexdigest().encode("ascii")


def is_gone(error):
    """Whether an OSError says that there is no such entry."""
    return error.errno in _GONE


def extended(full):
    """(hash of the ACLs, hash of the other extended attributes) of the entry at full (bytes); b"-" for none."""
    try:
        names = os.listxattr(full, follow_symlinks=False)
    except OSError as error:
        if is_gone(error):
            raise
        return NONE, NONE
    if not names:
        return NONE, NONE
    acls, others = [], []
    for name in sorted(names):
        kind = acls if name in _ACLS else others
        if kind is others and name.startswith(_HOSTS_OWN):
            continue
        try:
            kind += [os.fsencode(name), os.getxattr(full, name, follow_symlinks=False)]
        except OSError:
            continue  # taken away since, or not for us
    return (digest(*acls) if acls else NONE), (digest(*others) if others else NONE)


def content_hash(full):
    """Hash of what the file at full (bytes) holds, b"~" when it changed while it was read. Raises OSError."""
    for _attempt in range(2):
        handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            before = os.fstat(handle)
            hashed = hashlib.blake2b(digest_size=20)
            while True:
                block = os.read(handle, _BLOCK)
                if not block:
                    break
                hashed.update(block)
            after = os.fstat(handle)
        finally:
            os.close(handle)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return hashed.hexdigest().encode("ascii")
    return UNSTABLE


def describe(full, status, xattrs=True):
    """The value for the entry at full (bytes) with status (from lstat), without group and content. Raises OSError."""
    kind = TYPES.get(stat.S_IFMT(status.st_mode), b"?")
    size, rdev, link = 0, 0, NONE
    if kind == b"f":
        size = status.st_size
    elif kind == b"l":
        link = quote_from_bytes(os.readlink(full)).encode("ascii") or NONE
    elif kind in (b"b", b"c"):
        rdev = status.st_rdev
    acl, xattr = extended(full) if xattrs else (NONE, NONE)
    return b"%s %d %d %o %d %d %d - %s %s %s - %d" % (
        kind,
        size,
        status.st_mtime_ns,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        rdev,
        acl,
        xattr,
        link,
        status.st_ctime_ns,
    )


def unreadable(error):
    """The value for an entry that cannot be read because of error (OSError)."""
    cause = quote_from_bytes((error.strerror or "unknown").encode("utf-8")).encode("ascii")
    return b"? 0 0 0 0 0 0 - - - %s - 0" % cause


def replace(value, index, field):
    """The value with one field replaced."""
    fields = value.split(b" ")
    fields[index] = field
    return b" ".join(fields)


def differing(one, other, ignore=(), granularity_ns=1):
    """Names of the attributes in which two entries differ, content left out, as list.

    ignore: of "mtime", "directory_mtime", "link_mtime", "mode", "owner", "group", "acl", "xattr", "hard_links".
    granularity_ns: times that are less than this apart are equal.
    """
    if one.type != other.type:
        return ["type"]
    found = []
    if one.size != other.size:
        found.append("size")
    skip_time = {b"d": "directory_mtime", b"l": "link_mtime"}.get(one.type)
    if "mtime" not in ignore and skip_time not in ignore and _apart(one.mtime_ns, other.mtime_ns) >= granularity_ns:
        found.append("mtime")
    compared = (
        ("mode", one.mode, other.mode),
        ("owner", one.uid, other.uid),
        ("group", one.gid, other.gid),
        ("device", one.rdev, other.rdev),
        ("hard_links", one.group, other.group),
        ("acl", one.acl, other.acl),
        ("xattr", one.xattr, other.xattr),
        ("link", one.link, other.link),
    )
    return found + [name for name, left, right in compared if left != right and name not in ignore]


def _apart(one, other):
    return 0 if one == other else abs(int(one) - int(other))
