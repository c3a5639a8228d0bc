# SPDX-License-Identifier: GPL-3.0-or-later
"""Edit files that belong to the administrator: read whole, write atomically, keep owner, mode and SELinux context."""

import contextlib
import errno
import os
import sys
import tempfile
import time


class FileError(Exception):
    """A file could not be read or written."""


def read(path, missing=None):
    """Content of path as bytes, or `missing` when there is no such file. Raises FileError for anything else."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as error:
        if error.errno == errno.ENOENT:
            return missing
        raise FileError("%s cannot be read: %s" % (path, error.strerror)) from error


def text(data):
    """bytes -> str for display and parsing; undecodable bytes survive the way back through data()."""
    return data.decode("utf-8", "surrogateescape")


def data(string):
    """str -> bytes, the inverse of text()."""
    return string.encode("utf-8", "surrogateescape")


def native(value, encoding=None):
    """A value of options or of a record, its text (also within lists and dicts) as it names files to this Python.

    That is text as it is, but for Python 3.6 in the C locale, to which names are ASCII: what is more comes as surrogate
    escapes of its UTF-8, which os.fsencode() and data() turn into the right bytes. encoding: of file names, for tests.
    """
    if (encoding or sys.getfilesystemencoding()).lower() in ("utf-8", "utf8"):
        return value
    if isinstance(value, str):
        return data(value).decode("ascii", "surrogateescape")
    if isinstance(value, dict):
        return {key: native(item, encoding) for key, item in value.items()}
    if isinstance(value, list):
        return [native(item, encoding) for item in value]
    return value


def printable(value):
    """A value for results and diffs: str (also within lists, tuples and dicts) without surrogate escapes.

    Bytes that are no UTF-8 show as the replacement character; JSON on its way to the controller takes nothing else.
    """
    if isinstance(value, str):
        return data(value).decode("utf-8", "replace")
    if isinstance(value, dict):
        return {printable(key): printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(item) for item in value]
    return value


def _copy_context(source, handle):
    """Give the new file the SELinux context of the old one, where there is one."""
    try:
        os.setxattr(handle, "security.selinux", os.getxattr(source, "security.selinux"))
    except OSError:
        pass  # no SELinux, or a file system without attributes


def fsync_directory(path):
    """Make renames within the directory path durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def backup(path):
    """Copy path to path.<seconds since 1970>~ with owner and mode. Returns the new name, or None without a file."""
    content = read(path)
    if content is None:
        return None
    copy = "%s.%d~" % (path, time.time())
    status = os.stat(path)
    _write(copy, content, status.st_mode & 0o7777, (status.st_uid, status.st_gid), path)
    return copy


def _write(path, content, mode, owner, like):
    folder = os.path.dirname(path) or "."
    handle, temporary = tempfile.mkstemp(prefix=".seamless-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if owner is not None:
                os.fchown(stream.fileno(), *owner)
            if like is not None:
                _copy_context(like, stream.fileno())
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    fsync_directory(folder)


def write(path, content, mode=None, owner=None):
    """Replace path by content, atomically (temporary file in the same folder, fsync, rename, fsync of the folder).

    content: bytes. mode: permission bits, else those of the existing file, else 0644. owner: (uid, gid), else those
    of the existing file. A symbolic link is followed, so that the link stays. Raises FileError.
    """
    path = os.path.realpath(path)
    try:
        status = os.stat(path) if os.path.exists(path) else None
        if mode is None:
            mode = status.st_mode & 0o7777 if status else 0o644
        if owner is None and status:
            owner = (status.st_uid, status.st_gid)
        _write(path, content, mode, owner, path if status else None)
    except OSError as error:
        raise FileError("%s cannot be written: %s" % (path, error.strerror)) from error


def remove(path):
    """Remove the file path. Returns whether there was one. Raises FileError."""
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise FileError("%s cannot be removed: %s" % (path, error.strerror)) from error
    fsync_directory(os.path.dirname(os.path.realpath(path)))
    return True
