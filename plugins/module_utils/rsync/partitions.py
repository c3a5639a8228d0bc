# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut a tree into lists for rsync: threads walk it, every list goes to disk, memory stays the same for any tree.

A list holds what one rsync treats alike (the letters below). Names of hard-linked files go into buckets by inode, so
that all names of a file meet in one rsync. Directories are remembered for the last pass, which gives them their times.
"""

import errno
import json
import os
import stat
import threading

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.rsync.delta import is_ours

_CHUNK = 2048           # directory entries looked at in one go
_KNOWN = 50000           # directories that are remembered
_BUCKETS = 64           # for hard links
_DIRS_PER_PART = 20000

# What is special about the files of a list: letters in the kind of a partition.
PLAIN = "f"             # regular files that need nothing else
ATTRIBUTES = "a"        # has extended attributes or ACLs, or lies in a directory that has
SPARSE = "s"            # has holes
OTHER = "o"             # symbolic links, devices, fifos, sockets: never opened by the read-ahead
LINKS = "l"             # all names of files with more than one hard link
DIRECTORIES = "d"


def _open(path, mode):
    """A file that stays open as long as the object that it belongs to."""
    return open(path, mode)  # noqa: SIM115 - open as long as its owner


class Partition:
    """One list. number: int; kind: letters from above; count: paths; bytes: of their contents."""

    def __init__(self, number, kind, count, size):
        self.number = number
        self.kind = kind
        self.count = count
        self.bytes = size

    def as_list(self):
        return [self.number, self.kind, self.count, self.bytes]


class Store:
    """The lists on disk. folder: where; most_files, most_bytes: bounds of one list."""

    def __init__(self, folder, most_files, most_bytes, found):
        self.folder = folder
        self.most_files = most_files
        self.most_bytes = most_bytes
        self.found = found              # called with each finished Partition
        self.next = 0
        self.open = {}                  # kind -> [stream, number, count, bytes]
        self.buckets = [None] * _BUCKETS
        self.lock = threading.Lock()
        self.index = _open(os.path.join(folder, "index"), "a")

    def path(self, number):
        return os.path.join(self.folder, "%08d" % number)

    def _begin(self, kind):
        self.open[kind] = [_open(self.path(self.next), "wb"), self.next, 0, 0]
        self.next += 1

    def add(self, kind, path, size):
        """Take one path (bytes) of `size` bytes into the current list of its kind. Call with the lock held."""
        if kind not in self.open:
            self._begin(kind)
        current = self.open[kind]
        current[0].write(path + b"\0")
        current[2] += 1
        current[3] += size
        bound = _DIRS_PER_PART if kind == DIRECTORIES else self.most_files
        if current[2] >= bound or current[3] >= self.most_bytes:
            self._end(kind)

    def close(self, kind):
        """End the current list of a kind, if there is one. Call with the lock held."""
        if kind in self.open:
            self._end(kind)

    def _end(self, kind):
        stream, number, count, size = self.open.pop(kind)
        stream.close()
        self._publish(Partition(number, kind, count, size))

    def _publish(self, partition):
        self.index.write(json.dumps(partition.as_list()) + "\n")
        self.index.flush()
        self.found(partition)

    def add_link(self, status, path):
        """Take one name of a file with several names. Call with the lock held."""
        place = (status.st_ino ^ status.st_dev) % _BUCKETS
        if self.buckets[place] is None:
            self.buckets[place] = [_open(self.path(self.next), "wb"), self.next, 0, 0]
            self.next += 1
        bucket = self.buckets[place]
        bucket[0].write(path + b"\0")
        bucket[2] += 1
        bucket[3] += status.st_size // status.st_nlink

    def finish(self):
        """Publish what is still open, small buckets of hard links put together."""
        for kind in list(self.open):
            self._end(kind)
        merged = None
        for bucket in [bucket for bucket in self.buckets if bucket]:
            bucket[0].close()
            if merged is None:
                merged = bucket
            else:
                self._append(merged, bucket)
            if merged[2] >= self.most_files:
                self._publish(Partition(merged[1], LINKS, merged[2], merged[3]))
                merged = None
        if merged is not None:
            self._publish(Partition(merged[1], LINKS, merged[2], merged[3]))
        self.buckets = [None] * _BUCKETS
        self.index.close()

    def _append(self, merged, bucket):
        with open(self.path(merged[1]), "ab") as target, open(self.path(bucket[1]), "rb") as source:
            for block in iter(lambda: source.read(1 << 20), b""):
                target.write(block)
        os.unlink(self.path(bucket[1]))
        merged[2] += bucket[2]
        merged[3] += bucket[3]


def read_index(folder):
    """Partitions of an earlier walk that was finished. Returns a list of Partition."""
    with open(os.path.join(folder, "index")) as stream:
        return [Partition(*json.loads(line)) for line in stream]


class _Fifo:
    """Directories still to be walked, on disk: constant memory for a directory with a million directories in it."""

    def __init__(self, path):
        self.writer = _open(path, "ab")
        self.reader = _open(path, "rb")
        self.waiting = []
        self.rest = b""
        self.unread = 0

    def put(self, path):
        self.writer.write(path + b"\0")
        self.unread += 1

    def get(self):
        """The next directory, or None when there is none now."""
        if not self.unread:
            return None
        if not self.waiting:
            self.writer.flush()
            words = (self.rest + self.reader.read(1 << 16)).split(b"\0")
            self.rest = words.pop()
            self.waiting = words[::-1]
        self.unread -= 1
        return self.waiting.pop()

    def close(self):
        self.writer.close()
        self.reader.close()


class Walk:
    """Walk a tree with several threads.

    src: path. store: Store. patterns: patterns.Patterns. threads: int. attributes: look for extended attributes and
    ACLs. hard_links: put names of hard-linked files together. After join(): entries, files, bytes, blocks_bytes,
    directories are totals, unreadable is a list of (path str, reason).
    """

    def __init__(self, src, store, patterns, *, threads=8, attributes=True, hard_links=True):
        self.root = os.fsencode(src.rstrip("/") or "/")
        self.store = store
        self.patterns = patterns
        self.attributes = attributes
        self.hard_links = hard_links
        self.files = self.entries = self.bytes = self.blocks_bytes = self.directories = 0
        self.unreadable = []
        self._special = Special(self.root)
        self.error = None
        self.finished = False
        self.stop = False
        self._fifo = _Fifo(os.path.join(store.folder, "walk"))
        self._busy = 0
        self._closing = False
        self._ready = threading.Condition()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _number in range(threads)]

    def start(self):
        self._fifo.put(b"")
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join()

    def _next(self):
        with self._ready:
            while True:
                path = None if self.stop or self.error else self._fifo.get()
                if path is not None:
                    self._busy += 1
                    return path
                if not self._busy or self.stop or self.error:
                    self._ready.notify_all()
                    return None
                self._ready.wait(1)

    def _work(self):
        try:
            path = self._next()
            while path is not None:
                self._visit(path)
                with self._ready:
                    self._busy -= 1
                    self._ready.notify_all()
                path = self._next()
            self._close()
        except Exception as error:      # told by the engine; a thread has nobody to raise to
            self.error = error

    def _close(self):
        with self._ready:
            if self._closing or self._busy or self.stop or self.error:
                return
            self._closing = True
        self._fifo.close()
        with self.store.lock:
            self.store.finish()
        self.finished = True

    def _visit(self, folder):
        path = os.path.join(self.root, folder) if folder else self.root
        try:
            special = self.attributes and self._special(folder)
            with os.scandir(path) as entries:
                while not self.stop:
                    chunk = []
                    for entry in entries:
                        chunk.append(entry)
                        if len(chunk) >= _CHUNK:
                            break
                    if not chunk:
                        return
                    self._take(folder, chunk, special)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self.unreadable.append((files.text(folder) or ".", error.strerror))

    def _take(self, folder, chunk, special):
        chunk.sort(key=os.DirEntry.inode)       # the order of inodes on a spinning disk
        prefix = folder + b"/" if folder else b""
        found, links, folders = [], [], []
        blocks = 0
        for entry in chunk:
            path = prefix + entry.name
            directory = entry.is_dir(follow_symlinks=False)
            if (not folder and is_ours(path)) or (self.patterns.rules and self.patterns.match(path, directory)):
                continue
            if directory:
                folders.append(path)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            blocks += status.st_blocks * 512
            if status.st_nlink > 1 and self.hard_links:
                links.append((status, path))
            else:
                kind = self._kind(entry, status, special)
                found.append((kind, path, status.st_size if kind != OTHER else 0))
        self._hand_over(found, links, folders, blocks)

    def _kind(self, entry, status, special):
        if not stat.S_ISREG(status.st_mode):
            return OTHER
        if status.st_blocks * 512 < status.st_size and status.st_size >= 65536:
            return SPARSE
        if special or (self.attributes and has_attributes(entry.path)):
            return ATTRIBUTES
        return PLAIN

    def _hand_over(self, found, links, folders, blocks):
        with self.store.lock:
            for kind, path, size in found:
                self.store.add(kind, path, size)
                self.bytes += size
            for status, path in links:
                self.store.add_link(status, path)
                self.bytes += status.st_size // status.st_nlink
            for path in folders:
                self.store.add(DIRECTORIES, path, 0)
            self.blocks_bytes += blocks
            self.files += len(found) + len(links)
            self.directories += len(folders)
            self.entries = self.files + self.directories
        with self._ready:
            for path in folders:
                self._fifo.put(path)
            if folders:
                self._ready.notify_all()


def _attribute_names(path):
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def has_attributes(path):
    """Whether a path has extended attributes; ACLs are among them."""
    return bool(_attribute_names(path))


class Special:
    """Tells whether what lies in a directory of a tree may have attributes that the walk does not see on it.

    It may have got them from the directory itself, or the ACL from one further up: on the target, where directories are
    made in another order, a default ACL goes to all that is made below it. root: bytes. Threads may share it.
    """

    def __init__(self, root):
        self.root = root
        self._known = {}        # folder -> (whether it has attributes, whether it gives an ACL to what is below)

    def __call__(self, folder):
        """folder: bytes, relative to the root. Returns bool."""
        return any(self._look(folder))

    def _look(self, folder):
        known = self._known.get(folder)
        if known is None:
            given = bool(folder) and self._look(os.path.dirname(folder))[1]
            names = _attribute_names(os.path.join(self.root, folder) if folder else self.root)
            known = bool(names), given or "system.posix_acl_default" in names
            make_room(self._known)
            self._known[folder] = known
        return known


def make_room(known):
    """Forget everything in a dict that has grown large."""
    if len(known) >= _KNOWN:
        known.clear()
