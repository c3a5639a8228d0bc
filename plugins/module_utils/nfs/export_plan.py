# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide what has to be written so that one (path, client) is exported as wanted, write it, and see that it is so."""

import hashlib
import os
import re
import socket

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files
from ansible_collections.seamless.migration.plugins.module_utils.nfs import export_options, exports
from ansible_collections.seamless.migration.plugins.module_utils.nfs.errors import NfsError

# About an entry without the word, and exported all the same: mostly an older one of somebody else.
HARMLESS = re.compile("Neither .subtree_check. or .no_subtree_check. specified")
HEADER = "# Written by seamless.migration.nfs_export\n"
ETAB = "/var/lib/nfs/etab"
_SQUASH = {
    "root": ["root_squash", "no_all_squash"],
    "all": ["root_squash", "all_squash"],
    "none": ["no_root_squash", "no_all_squash"],
}
# Options of the module that are a yes or no -> words for yes and no
_SWITCHES = (
    ("read_only", "ro", "rw"),
    ("sync", "sync", "async"),
    ("subtree_check", "subtree_check", "no_subtree_check"),
    ("secure", "secure", "insecure"),
    ("crossmnt", "crossmnt", "nocrossmnt"),
    ("write_delay", "wdelay", "no_wdelay"),
)


def words_of(params):
    """Options of one export from module parameters. Returns list of str. Raises NfsError."""
    words = []
    if params["sec"]:
        words.append("sec=" + ":".join(params["sec"]))
    for option, yes, no in _SWITCHES:
        if params[option] is not None:
            words.append(yes if params[option] else no)
    words += _SQUASH[params["squash"]]
    for option in ("anonuid", "anongid"):
        if params[option] is not None:
            words.append("%s=%d" % (option, params[option]))
    if params["fsid"] is not None:
        words.append("fsid=%s" % params["fsid"])
    if params["require_mountpoint"]:
        words.append("mountpoint")
    extra = params["extra"] or []
    taken = {export_options.FLAGS[word][0] for word in words if word in export_options.FLAGS}
    taken |= {word.partition("=")[0] for word in words}
    for word in extra:
        name = export_options.FLAGS.get(word, (word.partition("=")[0],))[0]
        if name in taken or name == "sec":
            raise NfsError("extra: '%s' has an option of its own. Use that" % word)
        if re.search(r"[\s()\"\\#]", word):
            raise NfsError("extra: '%s' has a blank, a bracket, a quote, a # or a backslash. Remove it" % word)
    words += extra
    reason = export_options.wrong(words)
    if reason:
        raise NfsError("%s. See exports(5)" % reason)
    return words


def own_file(path, client):
    """Name of the file under exports.d that holds this one export."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", "%s-%s" % (path, client)).strip("-.")[:60]
    number = hashlib.sha256(("%s\0%s" % (path, client)).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return "/etc/exports.d/seamless-%s-%s.exports" % (plain, number)


def other_names(client):
    """Names under which exportfs may note a host: its canonical name, and that of its address. Returns set of ids."""
    if re.search(r"[*?\[@/]", client):
        return set()
    names = set()
    try:
        names.add(socket.getaddrinfo(client, None, flags=socket.AI_CANONNAME)[0][3])
        if re.search(r"[:.][0-9a-fA-F]*\Z", client):
            names.add(socket.gethostbyaddr(client)[0])
    except OSError:
        pass  # not known, or without a name: it stands as it is
    return {exports.client_id(name) for name in names if name}


class Table:
    """What is exported now, by the table that mountd answers the kernel from (etab).

    entries: {(path, client id): (client as it stands there, export_options.Meaning)}; known: whether there is a table.
    """

    def __init__(self, path):
        content = files.read(path)
        self.known = content is not None
        read = exports.Exports((content or b"").decode("latin-1"))
        self.entries = {
            (entry.path, exports.client_id(entry.client)): (entry.client, export_options.Meaning(entry.words))
            for entry in read.entries
        }


class Change:
    """What is to be done. See plan()."""

    def __init__(self, params, root, run, which, names):
        self.params = params
        self._names = names
        self._known_names = {}
        self.root = root
        self.run = run
        self.which = which
        self.path = os.path.normpath(params["path"])
        self.real = os.path.realpath(self.path)
        self.client = params["client"]
        self.words = words_of(params)
        self.file = root + (params["file"] or own_file(self.path, self.client))
        self.places = exports.places(root)
        self.before = files.read(self.file)
        self.after = self.before
        self.table = Table(root + ETAB)
        self.warnings = []
        self.commands = []
        self.by_hand = []

    @property
    def wanted(self):
        return self.params["state"] == "present"

    def ids(self, client):
        """All ids under which a client may stand in the table."""
        if client not in self._known_names:
            self._known_names[client] = {exports.client_id(client)} | self._names(client)
        return self._known_names[client]

    @property
    def key(self):
        """The key of this export in the table."""
        keys = sorted((self.real, one) for one in self.ids(self.client))
        return next((key for key in keys if key in self.table.entries), (self.real, exports.client_id(self.client)))

    def is_path(self, other):
        """Whether a path in a file means the path of this export; exportfs follows links."""
        return os.path.realpath(other) == self.real

    @property
    def exported_as_wanted(self):
        """Whether the table of exports says what is wanted already."""
        found = self.table.entries.get(self.key)
        if not self.wanted:
            return found is None or self.elsewhere is not None
        return found is not None and export_options.Meaning(self.words).holds_in(found[1])

    @property
    def file_differs(self):
        return self.after != self.before

    @property
    def differs(self):
        return self.file_differs or not self.exported_as_wanted

    @property
    def elsewhere(self):
        """Another file with the same path and client: (file, Entry), or None."""
        for place in self.places:
            if os.path.realpath(place.path) != os.path.realpath(self.file):
                found = exports.find(place.read, self.is_path, self.client)
                if found:
                    return place.path, found[0]
        return None

    def diff(self):
        return {
            "before_header": self.file,
            "after_header": self.file,
            "before": _told(self.before),
            "after": _told(self.after),
        }

    def apply(self):
        """Write, export, compare. Everything is put back before an NfsError is raised."""
        program = self.which("exportfs")
        if program is None:
            raise NfsError("exportfs is not on this host. Install the NFS server (nfs-utils, nfs-kernel-server)")
        exported = set(self.table.entries)
        self._put(self.after)
        try:
            said = self._export(program, self.wanted)
            self._compare(exported, said)
        except (NfsError, command.CommandError) as error:
            self._put(self.before)
            self._export(program, self.key in exported)
            raise NfsError("%s. %s was put back" % (str(error).rstrip("."), self.file)) from error

    def _put(self, content):
        if content is None:
            files.remove(self.file)
            return
        folder = os.path.dirname(self.file)
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o755)
        if files.read(self.file) != content:
            files.write(self.file, content)

    def _export(self, program, stays):
        """Make the table follow the files. stays: whether this export is to be in it. Returns list of complaints."""
        # -r drops what was exported by hand; -a adds to it, and then the export that goes has to be named.
        commands = [[program, "-a" if self.by_hand else "-r"]]
        if self.by_hand and not stays and self.key in self.table.entries:
            commands.insert(0, [program, "-u", "%s:%s" % (_bracketed(self.table.entries[self.key][0]), self.real)])
        said = []
        for argv in commands:
            result = self.run(argv, timeout=self.params["timeout"])
            self.commands.append(argv)
            said += [line.strip() for line in result.stderr.splitlines() if line.strip()]
        return said

    def _compare(self, exported, said):
        table = Table(self.root + ETAB)
        self.table = table
        told = "exportfs says: %s" % "; ".join(said) if said else "exportfs said nothing"
        if self.wanted and any(
            re.search(re.escape(self.real) + r"(?![\w/.-])", line) for line in said if not HARMLESS.search(line)
        ):
            raise NfsError(told)
        if not self.exported_as_wanted:
            raise NfsError("exportfs ended without %s to %s being as asked; %s" % (self.path, self.client, told))
        self.warnings += said
        mine = {(self.real, one) for one in self.ids(self.client)}
        lost = sorted(key for key in exported - set(table.entries) - mine if key in self._in_files())
        if lost:
            raise NfsError("exportfs dropped %s to %s, which the files still have" % lost[0])

    def _in_files(self):
        return {
            (os.path.realpath(entry.path), one)
            for place in self.places
            for entry in place.read.entries
            for one in self.ids(entry.client)
        }

    def result(self):
        found = self.table.entries.get(self.key)
        entry = exports.shown(exports.render(self.path, self.client, self.words)) if self.wanted else ""
        return {
            "file": self.file,
            "entry": entry,
            "exported": found is not None,
            "clients": sorted(client for (path, _id), (client, _m) in self.table.entries.items() if path == self.real),
            "commands": self.commands,
        }


def _bracketed(client):
    """exportfs takes IPv6 addresses in brackets on its command line."""
    address, slash, rest = client.partition("/")
    return "[%s]%s%s" % (address, slash, rest) if ":" in client else client


def _told(content):
    return (content or b"").decode("utf-8", "replace")


def _check_files(change):
    """Refuse what would lose exports of others: broken lines, the trap, a second entry for the same."""
    for place in change.places:
        if place.read.fault:
            raise NfsError(place.read.fault.told(place.path))
        for entry in place.read.entries:
            if entry.trap:
                told = entry.trap_told(place.path)
                if change.is_path(entry.path):
                    raise NfsError(told)
                change.warnings.append(told + ".")
    if change.wanted and change.elsewhere:
        name, entry = change.elsewhere
        raise NfsError(
            "%s is exported to %s in %s line %d already, and the first one counts. Give file: %s to manage it there, "
            "or remove it from there" % (change.path, change.client, name, entry.line, name)
        )


def _check_fsid(change):
    if change.params["fsid"] is None:
        return
    wanted = export_options.Meaning(["fsid=" + change.params["fsid"]]).values["fsid"]
    for place in change.places:
        for entry in place.read.entries:
            if change.is_path(entry.path):
                continue
            if export_options.Meaning(entry.words).values.get("fsid") == wanted:
                raise NfsError(
                    "fsid %s is that of %s already (%s line %d), and clients would see one file system for the other. "
                    "Give another" % (change.params["fsid"], entry.path, place.path, entry.line)
                )


def _check(change):
    params = change.params
    if not params["path"].startswith("/"):
        raise NfsError("path has to be an absolute path, not %r" % params["path"])
    exports.check_client(params["client"])
    if params["file"] and not (
        params["file"] == "/etc/exports" or re.match(r"/etc/exports\.d/[^./][^/]*\.exports\Z", params["file"])
    ):
        raise NfsError(
            "file %s is not read by exportfs. Give /etc/exports, or a name in /etc/exports.d that ends in .exports"
            % params["file"]
        )
    if change.wanted and params["require_path"] and not os.path.isdir(change.path):
        raise NfsError(
            "path %s is no directory on this host. Create or mount it first, or set require_path: false" % change.path
        )
    if change.wanted and params["require_mountpoint"] and params["require_path"] and not os.path.ismount(change.path):
        raise NfsError(
            "path %s is not a mount point, so it may be an unmounted, empty tree. Mount it first" % change.path
        )


def plan(params, *, root="", run=None, which=None, names=other_names):
    """Decide.

    params: the options of the Ansible module nfs_export. root: prefix of the files of NFS, for tests. names: looks up
    under which other names a host is known. Returns a Change, nothing is written. Raises NfsError or FileError.
    """
    change = Change(params, root, run or command.run, which or command.which, names)
    _check(change)
    _check_files(change)
    _check_fsid(change)
    known = change._in_files()
    change.by_hand = sorted(key for key in change.table.entries if key not in known and key != change.key)
    for path, client in change.by_hand:
        change.warnings.append(
            "%s is exported to %s by hand, in no file. It stays until the server restarts." % (path, client)
        )
    text = (change.before or b"").decode("latin-1")
    if change.wanted:
        start = text if change.before is not None or change.params["file"] else HEADER
        after = exports.with_entry(start, change.path, change.client, change.words, change.is_path)
        change.after = after.encode("latin-1")
    elif change.before is not None:
        after = exports.without_entry(text, change.client, change.is_path)
        empty_own = not change.params["file"] and after == HEADER
        change.after = None if empty_own else after.encode("latin-1")
        if change.elsewhere:
            name, entry = change.elsewhere
            change.warnings.append(
                "%s stays exported to %s: %s line %d has it, too." % (change.path, change.client, name, entry.line)
            )
    return change
