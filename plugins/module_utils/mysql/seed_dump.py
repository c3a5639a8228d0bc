# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill the target by mysqldump and mysql: two processes, what flows between them, and their ends.

The dump is never whole anywhere. Its GTID set is taken out of the stream and set when all of it is loaded, because
mysqldump writes it before the data: a load that broke off would otherwise say that it has everything.
"""

import contextlib
import os
import re
import subprocess
import threading
import time

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError
from ansible_collections.seamless.migration.plugins.module_utils.mysql.seed_facts import refuse

_BLOCK = 1 << 20
_HEAD = 1 << 22
_TAIL = 8192
_KEPT_ERRORS = 8192
_COMPLETE = b"-- Dump completed"
_FIRST_DATA = re.compile(rb"^(-- Current Database:|CREATE DATABASE |USE `)", re.MULTILINE)
_GTID = re.compile(rb"^SET @@GLOBAL\.GTID_PURGED=(?:/\*!80000 '\+'\*/ )?'([^']*)';\n", re.MULTILINE)
_LOG_BIN = re.compile(rb"^SET (@MYSQLDUMP_TEMP_LOG_BIN = @@SESSION\.SQL_LOG_BIN|@@SESSION\.SQL_LOG_BIN ?= ?.*);\n",
                      re.MULTILINE)
_NOT_LOGGED = b"SET @@SESSION.SQL_LOG_BIN= 0;\n"
# Before these, the GTID set of a dump did not belong to its snapshot.
_CONSISTENT = {(5, 7): (5, 7, 41), (8, 0): (8, 0, 32)}
_VERSION = re.compile(r"(?:Ver|Distrib) (\d+)\.(\d+)\.(\d+)")
_NOT_FLUSHED = re.compile(r"FLUSH (LOCAL )?TABLES|\b1227\b|\b1045\b.*FLUSH|RELOAD|FLUSH_TABLES", re.IGNORECASE)
_OURS = ("--defaults-file", "--defaults-extra-file", "--databases", "--all-databases", "--result-file", "--tab",
         "--set-gtid-purged", "--single-transaction", "--password", "--xml", "--no-data", "-r", "-T", "-p", "-A", "-B",
         "-X", "-d")


# --- the clients ---


def option_file(options, extra=()):
    """Text of an options file from which the clients take where to connect to and as whom. extra: (name, value)."""
    names = (("host", "login_host"), ("user", "login_user"), ("password", "login_password"),
             ("socket", "login_unix_socket"), ("ssl-ca", "ca_cert"), ("ssl-cert", "client_cert"),
             ("ssl-key", "client_key"))
    lines = ["[client]"]
    if options.get("config_file"):
        lines.insert(0, "!include %s" % options["config_file"])
    for theirs, ours in names:
        if options.get(ours):
            lines.append('%s="%s"' % (theirs, _escaped(options[ours])))
    if options.get("login_port"):
        lines.append("port=%d" % options["login_port"])
    if options.get("ca_cert"):
        strict = options.get("check_hostname") is not False
        lines.append("ssl-mode=%s" % ("VERIFY_IDENTITY" if strict else "VERIFY_CA"))
    lines += ['%s="%s"' % (name, _escaped(value)) for name, value in extra]
    return "\n".join(lines) + "\n"


def _escaped(text):
    """As between quotes in an options file."""
    for character, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(character, written)
    return text


@contextlib.contextmanager
def written(folder, name, text):
    """Path of a file 0600 with this text, for the time of the block."""
    path = os.path.join(folder, name)
    with contextlib.suppress(OSError):
        os.unlink(path)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode("utf-8"))
        yield path
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def ask(argv):
    """What a client prints. Raises MySQLMigrationError where there is none."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MySQLMigrationError(
            "Failed to run %s: %s. Install the MySQL clients on the host where the module runs, or name them in "
            "mysqldump_path and mysql_path." % (argv[0], getattr(error, "strerror", None) or error)) from error
    return done.stdout.decode("utf-8", "replace")


def check_clients(dump, load, server_version):
    """Refuse clients that cannot do it. Returns the version of mysqldump."""
    for path in (dump, load):
        text = ask([path, "--version"])
        found = _VERSION.search(text)
        if "MariaDB" in text or not found:
            refuse("use %s" % path, "it is no client of MySQL: %s" % text.strip(),
                   "It would leave out the GTID set; install MySQL's own")
    version = tuple(int(number) for number in _VERSION.search(ask([dump, "--version"])).groups())
    least = _CONSISTENT.get(version[:2])
    if least and version < least:
        refuse("use %s" % dump, "%s records a GTID set that is not that of its snapshot" % ".".join(map(str, version)),
               "Install %s or later" % ".".join(map(str, least)))
    if version[:2] < server_version[:2]:
        refuse("use %s" % dump, "%s is older than the source" % ".".join(map(str, version)),
               "Install one at least as new as the server")
    return version


def check_options(options):
    """Refuse options of mysqldump that would break what the module relies on."""
    for option in options:
        name = option.split("=", 1)[0]
        if not name.startswith("-") or name in _OURS or any(
                not name.startswith("--") and name.startswith(short) for short in _OURS if len(short) == 2):
            refuse("use the option dump_options", "%r is no option, or one that the module sets itself" % option,
                   "Leave it out")


def dump_command(path, defaults, schemas, options, *, gtid_purged=True):
    """Argument vector of mysqldump."""
    return ([path, "--defaults-file=%s" % defaults, "--single-transaction", "--quick", "--hex-blob", "--triggers",
             "--routines", "--events", "--no-tablespaces", "--default-character-set=utf8mb4",
             "--max-allowed-packet=1G", "--set-gtid-purged=%s" % ("ON" if gtid_purged else "OFF")]
            + list(options) + ["--databases", "--"] + list(schemas))


def load_command(path, defaults):
    """Argument vector of mysql."""
    return [path, "--defaults-file=%s" % defaults, "--binary-mode", "--max-allowed-packet=1G",
            "--default-character-set=utf8mb4"]


# --- the stream ---


class Stream(object):
    """Takes the dump in, gives what is to be loaded out.

    without_log_bin: leave out statements on sql_log_bin too. Otherwise one stands before all else, because mysqldump
    writes it only together with the GTID set.

    gtid: the set that the dump says it has, None while it is not known. complete: whether the dump said that it is.
    """

    def __init__(self, without_log_bin=False):
        self._without_log_bin = without_log_bin
        self._head = b""
        self._tail = b""
        self.gtid = None
        self.complete = False

    def feed(self, data):
        """bytes of the dump -> bytes to load."""
        if self._head is not None:
            self._head += data
            if not _FIRST_DATA.search(self._head) and len(self._head) < _HEAD:
                return b""
            data, self._head = self._opened(self._head), None
        data = self._tail + data
        self._tail = data[-_TAIL:]
        return data[:-_TAIL]

    def end(self):
        """The dump has ended: the last bytes to load."""
        rest = self._tail
        if self._head:
            rest += self._opened(self._head)
        self.complete = _COMPLETE in rest
        return _LOG_BIN.sub(b"", rest) if self._without_log_bin else rest

    def _opened(self, head):
        first = _FIRST_DATA.search(head)
        opening, rest = (head[:first.start()], head[first.start():]) if first else (head, b"")
        found = _GTID.search(opening)
        if found:
            self.gtid = found.group(1).decode("ascii").replace("\n", "")
            opening = _GTID.sub(b"", opening)
        if self._without_log_bin:
            return _LOG_BIN.sub(b"", opening) + rest
        return _NOT_LOGGED + opening + rest


class _Errors(threading.Thread):
    """Reads the standard error of a process, so that it never waits for us, and keeps the end of it."""

    def __init__(self, stream):
        super(_Errors, self).__init__(daemon=True)
        self._stream = stream
        self._kept = b""
        self.start()

    def run(self):
        while True:
            data = os.read(self._stream.fileno(), 65536)
            if not data:
                return
            self._kept = (self._kept + data)[-_KEPT_ERRORS:]

    def text(self):
        self.join(10)
        return self._kept.decode("utf-8", "replace").strip()


class Ended(object):
    """How a process ended. rc: exit status. errors: what it wrote there."""

    def __init__(self, rc, errors):
        self.rc = rc
        self.errors = errors


def _start(argv, **streams):
    try:
        return subprocess.Popen(argv, stderr=subprocess.PIPE, start_new_session=True, close_fds=True, **streams)
    except OSError as error:
        raise MySQLMigrationError("Failed to start %s: %s. Install the MySQL clients." % (argv[0], error.strerror)
                                  ) from error


class Pipe(object):
    """mysqldump | mysql. tell: function of a dict. limit: bytes a second, 0 is none."""

    def __init__(self, dump_argv, load_argv, stream, *, tell, limit=0):
        self._argv = dump_argv, load_argv
        self._stream = stream
        self._tell = tell
        self._limit = limit
        self._begin = time.monotonic()
        self.bytes = 0

    def run(self):
        """Returns (dump, load), both Ended."""
        dump = _start(self._argv[0], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            load = _start(self._argv[1], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        except MySQLMigrationError:
            _end(dump)
            raise
        errors = _Errors(dump.stderr), _Errors(load.stderr)
        try:
            self._pump(dump.stdout, load.stdin)
            dump.wait()
            load.wait()
        finally:
            _end(dump)
            _end(load)
        return Ended(dump.returncode, errors[0].text()), Ended(load.returncode, errors[1].text())

    def _pump(self, source, target):
        """Carry everything over. Ends when the dump does, or when nobody takes it any more."""
        told = 0.0
        try:
            while True:
                data = os.read(source.fileno(), _BLOCK)
                if not data:
                    break
                self.bytes += len(data)
                self._write(target, self._stream.feed(data))
                if time.monotonic() - told >= 0.5:
                    told = time.monotonic()
                    self._tell({"phase": "dump and load", "bytes": self.bytes})
                self._slow_down()
            self._write(target, self._stream.end())
        except BrokenPipeError:
            source.close()      # the dump ends by it
        finally:
            with contextlib.suppress(BrokenPipeError):
                target.close()

    @staticmethod
    def _write(target, data):
        view = memoryview(data)
        while view:
            view = view[os.write(target.fileno(), view):]

    def _slow_down(self):
        if self._limit:
            ahead = self.bytes / float(self._limit) - (time.monotonic() - self._begin)
            if ahead > 0:
                time.sleep(ahead)


def _end(process):
    if process.poll() is None:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError, ValueError):
                stream.close()


def judge(dump, load, stream, doing):
    """Raise MySQLMigrationError unless both processes ended well and the dump said that it is complete."""
    again = "The target is not complete and says so; run this again, it begins anew"
    if "(1419)" in load.errors or "ERROR 1419" in load.errors:
        again = "Set log_bin_trust_function_creators to 1 in the parameter group of the target, then run this again"
    ends = ["%s ended with status %d: %s" % (name, process.rc, process.errors or "no message")
            for name, process in (("mysqldump", dump), ("loading", load)) if process.rc != 0]
    if ends:
        refuse(doing, "; ".join(ends), again)
    if not stream.complete:
        refuse(doing, "the dump does not say that it is complete", again)


def cannot_flush(dump):
    """Whether a dump failed because this account may not hold the tables still, as on RDS."""
    return dump.rc != 0 and bool(_NOT_FLUSHED.search(dump.errors))


def intervals(gtid_set):
    """(uuid, first, last) of a GTID set, for the procedure of RDS that takes one at a time. Raises for tags."""
    found = []
    for part in gtid_set.replace("\n", "").split(","):
        pieces = part.strip().split(":")
        for piece in pieces[1:]:
            first, _dash, last = piece.partition("-")
            if not first.isdigit():
                raise MySQLMigrationError(
                    "Failed to set gtid_purged: %s has tags, which the procedure of RDS does not take. Use a source "
                    "without tagged transactions." % gtid_set)
            found.append((pieces[0], int(first), int(last or first)))
    return found
