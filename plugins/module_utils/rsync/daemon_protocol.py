# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask an rsync daemon whether it would serve us, in its own protocol, and say what to mend when it would not.

The protocol is that of rsync's csprotocol.txt and clientserver.c. The probe announces protocol 31, ends before any
transfer, and is bounded in time and bytes whatever sits at the other end.
"""

import errno
import re
import socket
import threading
import time

from ansible_collections.seamless.migration.plugins.module_utils.rsync import daemon_digest

PROTOCOL = 31
MAX_BYTES = 1 << 20  # of message of the day and module list together
STATUSES = (
    "ok",
    "refused",
    "filtered",
    "unreachable",
    "denied",
    "auth_required",
    "auth_failed",
    "unknown_module",
    "not_rsync",
    "busy",
    "error",
)
GREETING = re.compile(r"@RSYNCD: (\d+)(?:\.(\d+))?(?: (.*))?$")

ADVICE = {
    "ok": "",
    "refused": "Nothing listens on {host} port {port}. Start the rsync daemon there (rsync.service, rsync.socket or "
    "xinetd) "
    "and look that it listens on this address and port, and not on 127.0.0.1 only.",
    "filtered": "A firewall rejects {host} port {port}. Open {port}/tcp there for the address {source} "
    "(seamless.migration.firewall_port), "
    "and on firewalls in between.",
    "filtered_here": "A firewall on this host forbids connections to {host} port {port}. Allow outgoing {port}/tcp "
    "here.",
    "no_machine": "No machine answers at {host}. Look whether it runs and whether the address is right.",
    "no_answer": "{host} port {port} does not answer within {timeout} s. The host is down, the address is wrong, or "
    "a firewall "
    "drops the packets: open {port}/tcp there for the address {source} (seamless.migration.firewall_port).",
    "no_route": "This host has no route to {host}. Look at the address and at the routes here.",
    "no_name": "The name {host} has no address here: {cause}. Look at DNS and /etc/hosts, or use the address.",
    "denied": "The daemon on {host} does not serve module '{module}' to {seen}. Add that address to the module's "
    "hosts allow.",
    "hidden": "The daemon on {host} says that it has no module '{module}', which is also its answer to an address "
    "that hosts allow leaves out "
    "while list = no. The module is known to be there, so add {source}, or the address that it has over there, to "
    "the module's hosts allow.",
    "closed": "{host} port {port} accepts and closes the connection without a greeting. Look whether xinetd "
    "(only_from) or hosts.deny keeps {source} "
    "out, and whether the daemon can read its rsyncd.conf: its log (journal or syslog) names the line.",
    "auth_required": "Module '{module}' asks for a user and a password. Give both.",
    "auth_failed": "The daemon on {host} refuses user '{user}' for module '{module}'. Compare the password with the "
    "line of this user in the module's "
    "secrets file, look that auth users names the user, and that the secrets file belongs to root with mode 0600.",
    "unknown_module": "The daemon on {host} has no module '{module}'{known}. Names count by case and blanks. If the "
    "module is there with list = no, "
    "this is also its answer to an address that hosts allow leaves out: then add {source} to it.",
    "not_rsync": "{what} answers on {host} port {port}. Give the port of the rsync daemon.",
    "silent": "{host} port {port} accepts the connection and says nothing for {timeout} s, so it is no rsync daemon, "
    "or one that waits for a "
    "name server (reverse lookup = no in rsyncd.conf ends that).",
    "busy": "Module '{module}' has all its connections in use. Raise max connections, or wait for the other transfers.",
    "stalled": "The daemon on {host} greets and then does not go on within {timeout} s. Look at its load and its log.",
    "cut": "The daemon on {host} closes the connection in the middle of the talk. Its log (journal or syslog) says "
    "why.",
    "no_digest": "The daemon on {host} offers only password digests that this Python cannot compute ({cause}). "
    "Update rsync or OpenSSL on one side.",
    "path": "The daemon on {host} cannot enter the path of module '{module}'. Look that the path exists there, that "
    "the module's uid may enter "
    "it, and with use chroot that the daemon runs as root.",
    "identity": "The uid or gid of module '{module}' does not exist on {host}, or the daemon does not run as root. "
    "Mend uid and gid in rsyncd.conf.",
    "lock": "The daemon on {host} cannot write its lock file. Look at lock file in rsyncd.conf and at the rights of "
    "its folder.",
    "error": "The daemon on {host} refuses module '{module}'. Its log (journal or syslog) says why.",
}

ERRORS = (  # text of the daemon, status, advice
    (r"Unknown module", "unknown_module", "unknown_module"),
    (r"access denied", "denied", "denied"),
    (r"auth failed", "auth_failed", "auth_failed"),
    (r"max connections", "busy", "busy"),
    (r"chroot failed|chdir failed|no path setting", "error", "path"),
    (r"invalid uid|invalid gid|getpwuid|setgid|setuid|setgroups|initgroups", "error", "identity"),
    (r"lock file", "error", "lock"),
    (r"daemon-auth checksums", "error", "no_digest"),
    (r"", "error", "error"),
)

STRANGERS = (
    (b"HTTP/", "An HTTP server"),
    (b"SSH-", "An SSH server"),
    (b"220", "An FTP or mail server"),
    (b"\x15\x03", "A TLS server"),
    (b"", "Something that is no rsync daemon"),
)


class ProbeError(Exception):
    """The probe was asked for something impossible."""


class _Verdict(Exception):
    """The talk is over. status: one of STATUSES; advice: key of ADVICE; facts: for its text."""

    def __init__(self, status, advice=None, **facts):
        super().__init__(status)
        self.status = status
        self.advice = advice or status
        self.facts = facts


class Deadline:
    """A point in time that everything together has to keep. timeout: seconds from now."""

    def __init__(self, timeout):
        self.end = time.monotonic() + timeout

    def left(self):
        """Seconds left, at least a millisecond; raises socket.timeout when there are none."""
        seconds = self.end - time.monotonic()
        if seconds <= 0:
            raise socket.timeout("timed out")
        return max(seconds, 0.001)


class Lines:
    """Lines of a connection, bounded by a deadline and by MAX_BYTES."""

    def __init__(self, connection, deadline):
        self.connection = connection
        self.deadline = deadline
        self.buffer = b""
        self.total = 0

    def _more(self):
        self.connection.settimeout(self.deadline.left())
        data = self.connection.recv(4096)
        self.total += len(data)
        if self.total > MAX_BYTES:
            raise _Verdict("not_rsync", what="Something that sends without end")
        self.buffer += data
        return bool(data)

    def greeting(self):
        """The first line; anything that is no rsync is told at its first wrong byte."""
        start = b"@RSYNCD: "
        while b"\n" not in self.buffer:
            try:
                more = self._more()
            except socket.timeout as error:
                raise _Verdict("not_rsync", "silent") from error
            except OSError:
                more = False
            if self.buffer[:9] != start[: len(self.buffer[:9])] and not self.buffer.startswith(b"@"):
                raise _Verdict("not_rsync", what=_stranger(self.buffer))
            if not more:
                if self.buffer:
                    raise _Verdict("not_rsync", what=_stranger(self.buffer))
                raise _Verdict("denied", "closed")
        return self.line()

    def line(self):
        """The next line as str without its end, or None at the end of the connection."""
        while b"\n" not in self.buffer:
            try:
                more = self._more()
            except socket.timeout as error:
                raise _Verdict("error", "stalled") from error
            except OSError:
                more = False
            if not more:
                return None
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode("utf-8", "replace").rstrip("\r")

    def send(self, text):
        try:
            self.connection.settimeout(self.deadline.left())
            self.connection.sendall(text.encode("utf-8", "surrogateescape"))
        except socket.timeout as error:
            raise _Verdict("error", "stalled") from error
        except OSError:
            pass  # the other side has closed; what it said before is still to be read


def _stranger(data):
    return next(name for start, name in STRANGERS if data.startswith(start))


class Talk:
    """One connection to a daemon, and what it told: protocol, greeting, motd, modules, message."""

    def __init__(self, connection, deadline):
        self.lines = Lines(connection, deadline)
        self.protocol = None
        self.greeting = ""
        self.digests = []
        self.motd = []
        self.modules = []
        self.message = ""

    def greet(self):
        """Exchange greetings. Raises _Verdict."""
        self.lines.send(" ".join(("@RSYNCD: %d.0" % PROTOCOL,) + daemon_digest.usable()) + "\n")
        self.greeting = self.lines.greeting()
        match = GREETING.match(self.greeting)
        if self.greeting.startswith("@ERROR"):
            self._error()
        if not match:
            raise _Verdict("not_rsync", what=_stranger(self.greeting.encode("utf-8", "replace")))
        self.protocol = int(match.group(1))
        self.digests = (match.group(3) or "").split()

    def _error(self, line=None):
        self.message = line or self.greeting
        status, advice = next((s, a) for pattern, s, a in ERRORS if re.search(pattern, self.message))
        seen = re.search(r"access denied to .* from (\S+) \(([^)]+)\)", self.message)
        facts = {"seen": seen.group(2)} if seen else {}
        raise _Verdict(status, advice, **facts)

    def list(self):
        """Ask for the modules. Sets motd and modules."""
        self.lines.send("#list\n")
        told = []
        for line in iter(self.lines.line, None):
            if line == "@RSYNCD: EXIT":
                break
            if line.startswith("@ERROR"):
                self._error(line)
            told.append(line)
        # The message of the day comes first and has no end mark; a module is `name padded to 15, tab, comment`.
        first = len(told)
        while first and re.match(r"[^\t]{15,}\t", told[first - 1]):
            first -= 1
        self.motd = told[:first]
        rows = [line.partition("\t") for line in told[first:]]
        self.modules = [{"name": name.rstrip(), "comment": comment} for name, _tab, comment in rows]

    def module(self, name, user, password):
        """Ask for a module as a client does that is about to transfer. Returns when it is ours; raises _Verdict."""
        self.lines.send(name + "\n")
        asked = False
        for line in iter(self.lines.line, None):
            if line == "@RSYNCD: OK":
                return
            if line.startswith("@RSYNCD: AUTHREQD "):
                asked = True
                self._answer(line[len("@RSYNCD: AUTHREQD ") :], user, password)
            elif line.startswith("@ERROR"):
                self._error(line)
            elif not asked:
                self.motd.append(line)
        raise _Verdict("error", "cut")

    def _answer(self, challenge, user, password):
        if not user or password is None:
            raise _Verdict("auth_required")
        digest = daemon_digest.choose(min(PROTOCOL, self.protocol), self.digests)
        if digest is None:
            raise _Verdict("error", "no_digest", cause=" ".join(self.digests) or "md5")
        self.lines.send("%s %s\n" % (user, daemon_digest.response(digest, password, challenge)))


def _resolve(host, port, source, deadline):
    """Addresses of host, of the family of source. getaddrinfo has no time limit of its own, so it gets a thread."""
    found = []

    def look():
        try:
            found.append(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=look)
    thread.daemon = True
    thread.start()
    thread.join(deadline.left())
    if not found:
        raise _Verdict("unreachable", "no_name", cause="the name server does not answer")
    if not isinstance(found[0], list):
        raise _Verdict("unreachable", "no_name", cause=getattr(found[0], "strerror", None) or found[0])
    family = (socket.AF_INET6 if ":" in source else socket.AF_INET) if source else None
    addresses = [a for a in found[0] if family in (None, a[0])]
    if not addresses:
        raise ProbeError("%s has no address of the same family as source_address %s" % (host, source))
    return addresses


def _silent_neighbour(address):
    """Whether this IPv4 address is on our own network and answers no ARP: no machine, rather than a firewall."""
    try:
        with open("/proc/net/arp") as table:
            rows = [line.split() for line in table]
    except OSError:
        return False
    return any(row[0] == address and row[2] == "0x0" for row in rows if len(row) > 2)


def _judge(error, address):
    if isinstance(error, socket.timeout) or error.errno == errno.ETIMEDOUT:
        return _Verdict("unreachable", "no_answer")
    if error.errno == errno.ECONNREFUSED:
        return _Verdict("refused")
    if error.errno in (errno.EHOSTUNREACH, errno.EHOSTDOWN):
        return _Verdict("unreachable", "no_machine") if _silent_neighbour(address) else _Verdict("filtered")
    if error.errno in (errno.EPERM, errno.EACCES):
        return _Verdict("filtered", "filtered_here")
    if error.errno == errno.ECONNRESET:
        return _Verdict("denied", "closed")
    return _Verdict("unreachable", "no_route")


def _bound(family, source):
    connection = socket.socket(family, socket.SOCK_STREAM)
    if source:
        try:
            connection.bind((source, 0))
        except OSError as error:
            connection.close()
            raise ProbeError(
                "source_address %s cannot be used: %s. Give an address of this host" % (source, error.strerror)
            ) from error
    return connection


def _connect(addresses, source, deadline):
    """A connection to the first address that takes one, each getting its share of the time. Raises _Verdict."""
    failures = []
    for index, (family, _kind, _proto, _name, address) in enumerate(addresses):
        connection = _bound(family, source)
        try:
            connection.settimeout(deadline.left() / (len(addresses) - index))
            connection.connect(address)
            return connection
        except OSError as error:  # includes socket.timeout
            connection.close()
            failures.append(_judge(error, address[0]))
    for status in ("refused", "filtered", "denied"):
        for failure in failures:
            if failure.status == status:
                raise failure
    raise failures[0]


def _local_address(addresses, source):
    """The address that this host uses towards the other one, found without sending anything."""
    if source:
        return source
    for family, _kind, _proto, _name, address in addresses:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(address)
                return probe.getsockname()[0]
            except OSError:
                continue
    return "this host"


def _check(name, value):
    if value is not None and any(ord(c) < 32 or ord(c) == 127 for c in value):
        shown = "" if name == "password" else ": %r" % value
        raise ProbeError("%s has a newline or another control character%s. Remove it" % (name, shown))


class Probe:
    """One question to a daemon.

    host, port: where. module: name, or None to list the modules. user, password: for its auth users. timeout:
    seconds for everything together. source_address: own address to come from, or None. module_known: the module is
    known to be defined there, so that `Unknown module` means that hosts allow leaves us out.
    """

    def __init__(
        self,
        host,
        port=873,
        module=None,
        *,
        user=None,
        password=None,
        timeout=10,
        source_address=None,
        module_known=False,
    ):
        texts = {"host": host, "module": module, "user": user, "password": password, "source_address": source_address}
        for name, value in texts.items():
            _check(name, value)
        if module is not None and (not module or module.startswith("#") or "/" in module):
            raise ProbeError("module %r is no name of a module. Give the name alone, without a path" % module)
        if user is not None and " " in user:
            raise ProbeError("user %r has a blank" % user)
        if not 0 < port < 65536:
            raise ProbeError("port %d is not between 1 and 65535" % port)
        if timeout <= 0:
            raise ProbeError("timeout %s has to be more than 0 seconds" % timeout)
        self.host = host
        self.port = port
        self.wanted = module
        self.user = user
        self.password = password
        self.timeout = timeout
        self.source = source_address
        self.module_known = module_known
        self.deadline = Deadline(timeout)
        self.addresses = []
        self.latency = None

    def _open(self):
        begin = time.monotonic()
        connection = _connect(self.addresses, self.source, self.deadline)
        if self.latency is None:
            self.latency = time.monotonic() - begin
        return connection

    def _talk(self, act):
        """Run act on a fresh Talk. Returns (Talk or None, _Verdict)."""
        talk = None
        try:
            with self._open() as connection:
                talk = Talk(connection, self.deadline)
                talk.greet()
                act(talk)
                return talk, _Verdict("ok")
        except _Verdict as outcome:
            return talk, outcome
        except socket.timeout:
            return talk, _Verdict("unreachable", "no_answer")

    def _ask(self):
        try:
            self.addresses = _resolve(self.host, self.port, self.source, self.deadline)
        except _Verdict as outcome:
            return None, outcome
        except socket.timeout:
            return None, _Verdict("unreachable", "no_answer")
        if self.wanted is None:
            return self._talk(lambda talk: talk.list())
        talk, verdict = self._talk(lambda talk: talk.module(self.wanted, self.user, self.password))
        if verdict.status == "unknown_module" and self.module_known:
            verdict = _Verdict("denied", "hidden")
        elif verdict.status == "unknown_module":
            listing, listed = self._talk(lambda talk: talk.list())
            if listed.status == "ok" and listing is not None:
                talk.modules = listing.modules
        return talk, verdict

    def run(self):
        """Ask. Returns a dict with what the module rsyncd_info documents as its RETURN."""
        talk, verdict = self._ask()
        source = _local_address(self.addresses, self.source)
        modules = talk.modules if talk else []
        known = ", only " + ", ".join(m["name"] for m in modules) if modules else ""
        facts = {
            "host": self.host,
            "port": self.port,
            "module": self.wanted,
            "user": self.user,
            "timeout": self.timeout,
            "source": source,
            "seen": source,
            "known": known,
            "cause": "",
        }
        facts.update(verdict.facts)
        return {
            "status": verdict.status,
            "advice": ADVICE[verdict.advice].format(**facts),
            "message": talk.message if talk else "",
            "protocol": talk.protocol if talk else None,
            "greeting": talk.greeting if talk else "",
            "digests": talk.digests if talk else [],
            "motd": "\n".join(talk.motd).rstrip("\n") if talk else "",
            "modules": modules,
            "latency_ms": None if self.latency is None else round(self.latency * 1000, 2),
            "source_address": facts["seen"],
        }
