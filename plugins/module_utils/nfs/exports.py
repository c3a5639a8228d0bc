# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and edit an exports file as nfs-utils reads it, keeping every byte that is not ours.

The grammar follows getexportent() and xgettok() of nfs-utils (support/nfs/exports.c, xio.c): a path, perhaps
`-options` for all that follow, then `client(options)` separated by blanks, up to the end of the line; a backslash at
the end of a line continues it; quotes toggle anywhere within a word; `\\ooo` is a byte where exactly three octal digits
follow; `#` begins a comment where a word could begin. One bad entry ends the reading of the file: all exports after
it are dropped, so it is a Fault here and nothing is edited before it is mended.

Text is handled as latin-1, one character a byte, because escapes stand for bytes.
"""

import ipaddress
import os
import re

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.nfs import export_options
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError

SPACE = " \t\n\v\f\r"
MAX_ENTRY = 511  # bytes of `client(options)`, escapes decoded
MAX_PATH = 1024
_OCTAL = "01234567"
_MISREAD = re.compile(r"\\[0-7]{3}")
_NAME = re.compile(r"[A-Za-z0-9_*?\[\]!.:-]+\Z")
_ADDRESS_PATTERN = re.compile(r"[0-9.*?\[\]-]+\Z")


class Fault:
    """Why nfs-utils stops reading. line: number. reason: what is wrong there. advice: what to do about it."""

    def __init__(self, line, reason, advice):
        self.line = line
        self.reason = reason
        self.advice = advice

    def told(self, path):
        return "%s line %d: %s; all exports after it in this file are dropped. %s" % (
            path,
            self.line,
            self.reason,
            self.advice,
        )


class _Stop(Exception):
    def __init__(self, line, reason, advice):
        super().__init__(reason)
        self.fault = Fault(line, reason, advice)


class Token:
    """A word. value: as nfs-utils reads it. start, end: offsets in the text. line: where it begins."""

    def __init__(self, value, start, end, line):
        self.value = value
        self.start = start
        self.end = end
        self.line = line


class _Reader:
    def __init__(self, text):
        self.text = text
        self.pos = 0
        self.line = 1

    def get(self):
        """The next character, a continued line end as one blank; empty at the end (xgetc)."""
        if self.pos == len(self.text):
            return ""
        c = self.text[self.pos]
        self.pos += 1
        if c == "\\" and self.text[self.pos : self.pos + 1] == "\n":
            self.line += 1
            self.pos += 1
            while self.text[self.pos : self.pos + 1] in (" ", "\t"):
                self.pos += 1
            return " "
        if c == "\n":
            self.line += 1
        return c

    def _unget(self, mark):
        self.pos, self.line = mark

    def skip(self, blanks):
        """Pass over blanks and comments (xskip)."""
        while True:
            mark = self.pos, self.line
            c = self.get()
            if c == "#":
                end = self.text.find("\n", self.pos)
                self.pos = len(self.text) if end < 0 else end
                mark = self.pos, self.line
                c = self.get()
            if not c or c not in blanks:
                self._unget(mark)
                return

    def token(self, limit, what):
        """The next word as Token, or None where the line or the file ends (xgettok)."""
        start, line = self.pos, self.line
        value = ""
        quoted = quotes = False
        while True:
            mark = self.pos, self.line
            c = self.get()
            if not c or (c in SPACE and not quoted):
                break
            if c == '"':
                quoted = not quoted
                quotes = True
                continue
            value = _decode_last(value + c)
            if len(value) > limit:
                raise _Stop(
                    line, "the %s is longer than %d bytes" % (what, limit), "Close its quote, or make it shorter."
                )
        if quoted:
            raise _Stop(line, "a quote is not closed", "Close it.")
        if c == "\n":
            self._unget(mark)
        if "\0" in value:
            raise _Stop(line, "the %s holds a NUL byte" % what, "Remove it.")
        if not value and quotes:
            raise _Stop(line, "a pair of quotes with nothing in it stands for the %s" % what, "Remove it.")
        return Token(value, start, mark[0], line) if value else None


def _decode_last(value):
    """value with `\\ooo` at its end replaced by the byte."""
    if len(value) >= 4 and value[-4] == "\\" and all(c in _OCTAL for c in value[-3:]):
        number = int(value[-3:], 8)
        if number < 256:
            return value[:-4] + chr(number)
    return value


class Entry:
    """One (path, client). client: as written, `*` for everybody. words: its options, those for the whole line first.

    token: its word in the text, None where a path stands alone. anonymous: no client is written before the bracket.
    """

    def __init__(self, record, token, client, words):
        self.record = record
        self.token = token
        self.client = client
        self.words = words
        self.anonymous = token is not None and token.value.startswith("(")
        self.line = (token or record.path).line

    @property
    def path(self):
        return files.text(self.record.path.value.encode("latin-1"))

    @property
    def trap(self):
        """Whether a blank before the bracket made everybody a client, where one client was meant."""
        return self.anonymous and len(self.record.entries) > 1

    def trap_told(self, name):
        before = self.record.entries[self.record.entries.index(self) - 1]
        return (
            "%s line %d: '%s %s' has a blank before the bracket, so %s gets default options and everybody gets %s."
            % (
                name,
                self.line,
                shown(before.client),
                shown(self.token.value),
                shown(before.client),
                shown(self.token.value),
            )
            + " Write %s%s" % (shown(before.client), shown(self.token.value))
        )


class Record:
    """A path with its clients. start, end: offsets of the line or lines, with their line end."""

    def __init__(self, path, start):
        self.path = path
        self.start = start
        self.end = start
        self.defaults = None
        self.entries = []


class Exports:
    """What nfs-utils makes of a text. records: list of Record; fault: Fault, or None when all of it can be read."""

    def __init__(self, text):
        self.text = text
        self.records = []
        self.fault = None
        try:
            self._read()
        except _Stop as stop:
            self.fault = stop.fault

    @property
    def entries(self):
        return [entry for record in self.records for entry in record.entries]

    def _read(self):
        reader = _Reader(self.text)
        while True:
            reader.skip(" \t\n")
            start, line = reader.pos, reader.line
            path = reader.token(MAX_PATH, "path")
            if path is None:
                if self.text[start:].strip(SPACE):
                    raise _Stop(line, "a carriage return stands alone on the line", "Use line ends without it.")
                return
            record = Record(path, self.text.rfind("\n", 0, start) + 1)
            if self.records:
                record.start = max(record.start, self.records[-1].end)
            self.records.append(record)
            self._clients(reader, record)
            end = self.text.find("\n", reader.pos)
            record.end = len(self.text) if end < 0 else end + 1
            if self.text[reader.pos : record.end].strip(SPACE) and not self._comment(reader.pos):
                record.end = reader.pos

    def _comment(self, pos):
        return self.text[pos:].lstrip(" \t").startswith("#")

    @staticmethod
    def _clients(reader, record):
        common = []
        while True:
            reader.skip(" \t")
            token = reader.token(MAX_ENTRY, "entry")
            if token is None:
                break
            if record.defaults is None and not record.entries and token.value.startswith("-"):
                record.defaults = token
                common = _checked(token, export_options.split(token.value[1:]))
                continue
            client, words = _entry(token)
            record.entries.append(Entry(record, token, client, common + words))
        if not record.entries:
            record.entries.append(Entry(record, None, "*", common))


def _entry(token):
    client, bracket, rest = token.value.partition("(")
    if bracket and rest.find(")") != len(rest) - 1:
        raise _Stop(
            token.line,
            "'%s' has a bracket that does not end the word" % shown(token.value),
            "Write client(options) without blanks inside or after the bracket.",
        )
    words = _checked(token, export_options.split(rest[:-1] if bracket else ""))
    return client or "*", words


def _checked(token, words):
    reason = export_options.wrong(words)
    if reason:
        raise _Stop(token.line, shown(reason), "Correct or remove it.")
    return words


def shown(text):
    """latin-1 text of a file as people read it; control characters escaped."""
    text = text.encode("latin-1", "replace").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\\%03o" % ord(c) for c in text)


def raw(text):
    """text (host.files) -> latin-1 text, one character a byte."""
    return files.data(text).decode("latin-1")


def escape(path):
    """A path (str) as it is written into an exports file.

    Raises NfsError for paths that nfs-utils cannot keep: it writes them escaped to its own table and reads that
    back wrong.
    """
    text = raw(path)
    if _MISREAD.search(text):
        raise NfsError(
            "path %s has a backslash before three octal digits, which exportfs itself reads as an escape. Rename it"
            % shown(text)
        )
    if len(text) > MAX_PATH:
        raise NfsError("path is longer than %d bytes, which NFS does not take. Export a shorter one" % MAX_PATH)
    special = SPACE + '"\\#'
    return "".join("\\%03o" % ord(c) if c in special or ord(c) < 32 or ord(c) == 127 else c for c in text)


def render(path, client, words):
    """One line of an exports file, latin-1, without its end. Raises NfsError when nfs-utils could not read it."""
    entry = "%s(%s)" % (client, ",".join(words))
    if len(entry) > MAX_ENTRY:
        raise NfsError(
            "the entry %s... has %d bytes and exportfs reads %d. Give fewer options, or a shorter client"
            % (entry[:40], len(entry), MAX_ENTRY)
        )
    return "%s %s" % (escape(path), entry)


def _check_network(client):
    address, _slash, _mask = client.partition("/")
    try:
        network = ipaddress.ip_network(client, strict=False)
    except ValueError as error:
        raise NfsError(
            "client %s is no network: %s. Write it as 192.0.2.0/24 or 2001:db8::/64" % (client, error)
        ) from error
    if ipaddress.ip_address(address) != network.network_address:
        raise NfsError("client %s has bits set behind the mask. Write %s" % (client, network))


def check_client(client):
    """Raise NfsError unless client is a host, an address, a network, a pattern of names or a @netgroup."""
    corrected = re.sub(r"\s*\(.*", "", client)
    if client != client.strip() or re.search(r"[\s()]", client):
        raise NfsError(
            "client %r has a blank or a bracket. A blank before the bracket would export to everybody. Write only %s "
            "here, and the options in their own options" % (client, corrected.strip() or "the client")
        )
    if client.startswith("[") and "]" in client and ":" in client:
        raise NfsError(
            "client %s: exports have IPv6 addresses without brackets. Write %s"
            % (client, re.sub(r"[\[\]]", "", client))
        )
    if client.startswith("gss/"):
        raise NfsError("client %s is the old way to ask for Kerberos. Write * and give sec" % client)
    if client.startswith("@"):
        name = client[1:]
    elif "/" in client:
        _check_network(client)
        return
    else:
        name = client
        _check_pattern(client)
    if not _NAME.match(name) or name.startswith("-"):
        raise NfsError(
            "client %r is no host, address, network, pattern or @netgroup. Give one such as files.example.com, "
            "192.0.2.0/24, *.example.com or @web" % client
        )


def _check_pattern(client):
    if client != "*" and _ADDRESS_PATTERN.match(client) and re.search(r"[*?\[]", client):
        raise NfsError(
            "client %s: patterns are for names, not for addresses. Write a network such as 192.0.2.0/24" % client
        )
    if ":" in client:
        try:
            ipaddress.IPv6Address(client.partition("%")[0])
        except ValueError as error:
            raise NfsError("client %s is no IPv6 address: %s. Write it without a port" % (client, error)) from error


def client_id(client):
    """What makes two spellings the same client. Returns str."""
    if client in ("", "*"):
        return "*"
    if client.startswith("@"):
        return client
    try:
        return str(ipaddress.ip_network(client, strict=False))
    except ValueError:
        return client.lower()


class Place:
    """An exports file as it is: path, content (bytes or None), read (Exports)."""

    def __init__(self, path):
        self.path = path
        self.content = files.read(path)
        self.read = Exports((self.content or b"").decode("latin-1"))


def _version_key(name):
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)]


def places(root=""):
    """The files that exportfs reads, in its order: /etc/exports, then exports.d. Returns list of Place."""
    folder = root + "/etc/exports.d"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    names = [name for name in names if name.endswith(".exports") and not name.startswith(".") and name != ".exports"]
    paths = [os.path.join(folder, name) for name in sorted(names, key=_version_key)]
    return [Place(path) for path in [root + "/etc/exports"] + [path for path in paths if os.path.isfile(path)]]


def _ending(text):
    return "\r\n" if "\r\n" in text[: text.find("\n") + 1] else "\n"


def _same_others(before, after, entry_id):
    """Whether two Exports have the same entries but for the one named."""

    def picture(exports):
        return [
            (entry.path, entry.client, entry.words)
            for entry in exports.entries
            if (entry.path, client_id(entry.client)) != entry_id
        ]

    return after.fault is None and picture(before) == picture(after)


def find(exports, same_path, client):
    """Entries of an Exports for a path and client. same_path: str -> bool. Returns list of Entry."""
    wanted = client_id(client)
    return [entry for entry in exports.entries if same_path(entry.path) and client_id(entry.client) == wanted]


def with_entry(text, path, client, words, same_path):
    """latin-1 text with one entry as wanted.

    words: options. same_path: str -> bool, whether a path in the text means this one. An existing entry is changed in
    its place, a new one is a line at the end. Raises NfsError when that cannot be done without touching others.
    """
    before = Exports(text)
    line = render(path, client, words)
    found = find(before, same_path, client)
    if not found:
        newline = _ending(text)
        gap = "" if not text or text.endswith("\n") else newline
        after = text + gap + line + newline
        changed_id = (path, client_id(client))
    else:
        entry = found[0]
        if entry.token is None:
            raise NfsError(
                "line %d exports %s to everybody by naming no client. Write the client there first, or remove the line"
                % (entry.line, path)
            )
        wanted = export_options.Meaning(words)
        if wanted.same(export_options.Meaning(entry.words)) and not entry.anonymous:
            return text
        after = text[: entry.token.start] + line[len(escape(path)) + 1 :] + text[entry.token.end :]
        changed_id = (entry.path, client_id(client))
    read = Exports(after)
    held = find(read, same_path, client)
    if not _same_others(before, read, changed_id) or not held:
        if text.rstrip("\n").endswith("\\"):
            raise NfsError("the last line ends with a backslash that continues nothing. Remove it first")
        raise NfsError("the edit would change other exports in this file. Put each path on a line of its own first")
    if not export_options.Meaning(words).holds_in(export_options.Meaning(held[0].words)):
        raise NfsError(
            "line %d has options for all its clients, -..., that would add to those of %s. Put %s on a line of its own "
            "first" % (held[0].line, client, client)
        )
    return after


def without_entry(text, client, same_path):
    """latin-1 text without the entries for a path and client. Raises NfsError when that would touch others."""
    while True:
        before = Exports(text)
        found = find(before, same_path, client)
        if not found:
            return text
        entry = found[0]
        record = entry.record
        if len(record.entries) == 1:
            # A path without clients is exported to everybody: the whole line goes.
            after = text[: record.start] + text[record.end :]
        else:
            previous = [token.end for token in [record.path, record.defaults] if token]
            previous += [other.token.end for other in record.entries if other.token.end <= entry.token.start]
            after = text[: max(previous)] + text[entry.token.end :]
        if not _same_others(before, Exports(after), (entry.path, client_id(client))):
            raise NfsError(
                "removing the entry would change other exports in this file. Put each path on its own line first"
            )
        text = after
