# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a directory tree read-only for everybody but the owner of a private path.

Each mount has its own read-only flag (mount(2): MS_REMOUNT|MS_BIND|MS_RDONLY), and the kernel refuses to set it with
EBUSY while a file is open for writing through that mount. A tree that is no mount point is bind-mounted on itself
beforehand, so that later lookups of its path go through a mount of its own. Flags do not propagate between mount
namespaces, and a service with ProtectSystem= or PrivateTmp= has a namespace of its own: every namespace that can reach
the tree is therefore visited.
"""

import ctypes
import os

from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 1, 32, 4096, 16384
MS_PRIVATE, MS_SLAVE = 1 << 18, 1 << 19
KEPT_FLAGS = {
    b"ro": MS_RDONLY,
    b"nosuid": 2,
    b"nodev": 4,
    b"noexec": 8,
    b"noatime": 1024,
    b"nodiratime": 2048,
    b"relatime": 1 << 21,
}
MNT_DETACH = 2
CLONE_NEWNS = 0x20000


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _fs(path):
    return os.fsencode(path)


def mount(source, target, flags):
    """mount(2) without file system type or data. Raises OSError with the kernel's errno and the target's name."""
    if _libc().mount(_fs(source), _fs(target), None, ctypes.c_ulong(flags), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(target))


def unmount(target):
    """Detach a mount at once; who has files open through it keeps them. Raises OSError."""
    if _libc().umount2(_fs(target), MNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(target))


def _unescape(field):
    """Undo the \\040 escapes of mountinfo (proc(5))."""
    parts = field.split(b"\\")
    return parts[0] + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts[1:])


class Mount:
    """One line of mountinfo: number, device (major:minor), root (path within the file system), point, flags."""

    def __init__(self, line):
        words = line.split(b" ")
        self.number = int(words[0])
        self.device = words[2]
        self.root = _unescape(words[3])
        self.point = _unescape(words[4])
        self.options = words[5].split(b",")
        self.kind = words[words.index(b"-") + 1]

    @property
    def read_only(self):
        """Whether this mount (not the file system) is read-only."""
        return b"ro" in self.options

    def flags(self):
        """The mount(2) flags that a remount has to repeat to keep them."""
        return sum(KEPT_FLAGS.get(option, 0) for option in self.options)


def parse_mountinfo(content):
    """Content of /proc/PID/mountinfo (bytes) -> list of Mount, in the order of mounting."""
    return [Mount(line) for line in content.splitlines() if line]


def mounts_of(pid="self"):
    """Mounts that the process pid sees. Returns list of Mount; empty when the process is gone."""
    try:
        with open("/proc/%s/mountinfo" % pid, "rb") as stream:
            return parse_mountinfo(stream.read())
    except OSError:
        return []


def beneath(path, top):
    """Whether path is top or something below it. Both bytes, absolute, normal."""
    return top in (path, b"/") or path.startswith(top + b"/")


def join(top, rest):
    """top + rest, where rest is empty or starts with '/'."""
    return (top.rstrip(b"/") + rest) or b"/"


def exported_paths(table="/var/lib/nfs/etab"):
    """Paths that the NFS server of this host exports (exports(5): octal escapes). Returns set of bytes."""
    try:
        with open(table, "rb") as stream:
            return {_unescape(line.split(b"\t")[0].rstrip()) for line in stream if line.startswith(b"/")}
    except OSError:
        return set()


def mount_at(path, mounts):
    """The mount through which the absolute path is reached: the longest mount point, the last one on top."""
    best = None
    for candidate in mounts:
        if beneath(path, candidate.point) and (best is None or len(candidate.point) >= len(best.point)):
            best = candidate
    return best


def below(path, top):
    """The part of path below top: empty for top itself, else it starts with '/'. The inverse of join()."""
    return path[len(top.rstrip(b"/")) :].rstrip(b"/")


class Tree:
    """A tree as the kernel sees it: device and path within the file system, whatever it is called where."""

    def __init__(self, path, private):
        self.path = os.path.realpath(path)
        self.private = private
        mounts = mounts_of()
        self.mount = mount_at(_fs(self.path), mounts)
        if self.mount is None or not os.path.isdir(self.path):
            raise FreezeError("%s is not a directory. Mount its file system, or correct the path of the tree" % path)
        self.device = self.mount.device
        self.root = join(self.mount.root, below(_fs(self.path), self.mount.point))
        status = os.stat(self.path)
        self.identity = (status.st_dev, status.st_ino)

    def is_private(self, point):
        """Whether a mount point is our own door to the tree."""
        return beneath(point, _fs(self.private))

    def places(self, mounts):
        """Paths under which the tree's top can be looked up, one for each mount that contains it.

        Returns list of (path, mounted): mounted says whether a mount of its own lies there. Places hidden by another
        mount are left out by whoever visits them (identity()).
        """
        found = {}
        for candidate in mounts:
            if candidate.device == self.device and beneath(self.root, candidate.root):
                rest = below(self.root, candidate.root)
                place = join(candidate.point, rest)
                if not self.is_private(place):
                    top = [entry for entry in mounts if entry.point == place]
                    found[place] = bool(top) and top[-1].device == self.device and top[-1].root == self.root
        return sorted(found.items())

    def own_mounts(self, mounts):
        """Mounts whose whole content belongs to the tree: to be made read-only. Returns list of Mount."""
        places = [place for place, _unused in self.places(mounts)]
        topmost = {}
        for candidate in mounts:
            if self.is_private(candidate.point):
                continue
            inside = candidate.device == self.device and beneath(candidate.root, self.root)
            if inside or any(beneath(candidate.point, place) for place in places):
                topmost[candidate.point] = candidate
        return sorted(topmost.values(), key=lambda entry: entry.point)

    def private_mounts(self, mounts):
        """Mounts of our own door, submounts of the tree included."""
        return [candidate for candidate in mounts if self.is_private(candidate.point)]

    def here(self, path):
        """Whether path leads to this tree's top in the namespace of the caller."""
        try:
            status = os.stat(path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity


def namespaces():
    """Mount namespaces of this host other than our own: dict inode text -> pid of one process that lives in it."""
    own = os.readlink("/proc/self/ns/mnt")
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                link = os.readlink("/proc/%s/ns/mnt" % name)
            except OSError:
                continue
            if link != own:
                found.setdefault(link, int(name))
    return found


def _enter(pid):
    handle = os.open("/proc/%d/ns/mnt" % pid, os.O_RDONLY)
    if _libc().setns(handle, CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "namespace of process %d" % pid)


def inside(pid, work):
    """Run work() in the mount namespace of pid, in a child. Raises FreezeError with what the child raised."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _enter(pid)
            work()
            status = 0
        except (OSError, FreezeError) as error:
            os.write(writer, str(error).encode("utf-8", "replace")[:4000])
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode("utf-8", "replace")
    status = os.waitpid(child, 0)[1]
    if status != 0:
        raise FreezeError("the mount namespace of process %d: %s" % (pid, said or "status %d" % status))


def everywhere(work, wanted):
    """Run work() here and in each other mount namespace for which wanted(mounts of it) holds.

    A namespace that vanished meanwhile has nothing to be done in it. Raises OSError, FreezeError.
    """
    work()
    for link, pid in sorted(namespaces().items()):
        if wanted(mounts_of(pid)):
            try:
                inside(pid, work)
            except FreezeError:
                if namespaces().get(link) is not None:
                    raise


def _open_door(tree):
    """Mount the private way into the tree, writable, where the folder for it exists."""
    mounts = mounts_of()
    if not tree.private_mounts(mounts):
        mount(tree.path, tree.private, MS_BIND | MS_REC)
        # systemd makes all mounts shared: what is taken away at the door later would be taken from the tree as well.
        mount("none", tree.private, MS_SLAVE | MS_REC)
        originals = {entry.point: entry for entry in tree.own_mounts(mounts)}
        for entry in tree.private_mounts(mounts_of()):
            twin = originals.get(join(_fs(tree.path), below(entry.point, _fs(tree.private))))
            if entry.read_only and (twin is None or not twin.read_only):
                mount("none", entry.point, (entry.flags() & ~MS_RDONLY) | MS_REMOUNT | MS_BIND)


def _same_folder(path, identity):
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == identity


def stage(tree):
    """Lay the tree's own mounts everywhere, and the private door; writers notice nothing. Raises as everywhere()."""
    parent = os.path.dirname(tree.private)
    if not os.path.isdir(parent):
        os.makedirs(parent, mode=0o700)
    os.chmod(parent, 0o700)
    if not os.path.isdir(tree.private):
        os.mkdir(tree.private, 0o700)
    status = os.stat(parent)
    identity = (status.st_dev, status.st_ino)

    def work():
        for place, mounted in tree.places(mounts_of()):
            if not mounted and tree.here(place):
                mount(place, place, MS_BIND | MS_REC)
        # Last, so that what is laid on the tree is not laid once more on the door.
        if _same_folder(parent, identity) and tree.here(tree.path):
            _open_door(tree)

    def wanted(mounts):
        return any(not mounted for _unused, mounted in tree.places(mounts)) or bool(tree.own_mounts(mounts))

    everywhere(work, wanted)


def unstage(tree):
    """Take away the private door and the mounts that stage() laid at `covered` places. Raises OSError, FreezeError."""

    def work():
        for entry in sorted(tree.private_mounts(mounts_of()), key=lambda item: item.point, reverse=True):
            unmount(entry.point)

    everywhere(work, lambda mounts: bool(tree.private_mounts(mounts)))


def uncover(tree, place):
    """Take away the bind mount of the tree on itself at place. Raises OSError, FreezeError."""

    def work():
        entry = mount_at(_fs(place), mounts_of())
        if entry and entry.point == _fs(place) and entry.root == tree.root and entry.device == tree.device:
            mount("none", place, MS_PRIVATE | MS_REC)  # what is mounted below goes with it here, and nowhere else
            unmount(place)

    everywhere(work, lambda mounts: any(entry.point == _fs(place) and entry.root == tree.root for entry in mounts))


def read_only_before(tree):
    """Mount points of the tree that are read-only already, by the administrator's will. Returns list of str."""
    return [os.fsdecode(entry.point) for entry in tree.own_mounts(mounts_of()) if entry.read_only]


def set_read_only(tree, wish, keep=()):
    """Set (wish True) or take back the read-only flag of every mount of the tree, in every namespace.

    keep: mount points that were read-only before and stay so. Raises OSError (EBUSY: open for writing), FreezeError.
    """

    def due(mounts):
        return [
            entry
            for entry in tree.own_mounts(mounts)
            if entry.read_only != wish and (wish or os.fsdecode(entry.point) not in keep)
        ]

    def work():
        for entry in due(mounts_of()):
            flags = (entry.flags() | MS_RDONLY) if wish else (entry.flags() & ~MS_RDONLY)
            mount("none", entry.point, flags | MS_REMOUNT | MS_BIND)

    everywhere(work, lambda mounts: bool(due(mounts)))


def set_file_system_read_only(tree, wish):
    """The whole file system of the tree, through whatever mount it is reached. Raises OSError.

    Asked for at the private door, because a remount without MS_BIND sets the flag of the mount that it names too, and
    the doors of everybody else are set_read_only()'s business.
    """
    entry = [entry for entry in tree.private_mounts(mounts_of()) if entry.point == _fs(tree.private)][-1]
    mount("none", tree.private, (entry.flags() & ~MS_RDONLY) | MS_REMOUNT | (MS_RDONLY if wish else 0))


def writable_ways(tree):
    """Ways by which somebody could still write into the tree: (namespace pid or 0, path). Empty when it is closed."""
    found = []
    views = [(0, mounts_of())] + [(pid, mounts_of(pid)) for pid in namespaces().values()]
    for pid, mounts in views:
        own = {entry.point: entry for entry in tree.own_mounts(mounts)}
        for place, mounted in tree.places(mounts):
            prefix = "/proc/%d/root" % pid if pid else ""
            if not mounted and tree.here(prefix + os.fsdecode(place)):
                found.append((pid, os.fsdecode(place)))
        found.extend((pid, os.fsdecode(point)) for point, entry in sorted(own.items()) if not entry.read_only)
    return found
