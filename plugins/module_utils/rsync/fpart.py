# SPDX-License-Identifier: GPL-3.0-or-later
"""Let fpart cut the tree into lists, where it is installed.

Its lists say nothing of hard links, holes and attributes, so each of their paths is looked at once more and put where
the walk of our own would have put it. fpart 1.5 writes part.1, part.2 and so on in live mode; one is complete as soon
as the next is begun.
"""

import collections
import os
import shutil
import stat
import subprocess
import tempfile
import time

from ansible_collections.seamless.migration.plugins.module_utils.host import command
from ansible_collections.seamless.migration.plugins.module_utils.rsync import delta, partitions
from ansible_collections.seamless.migration.plugins.module_utils.rsync.binary import RsyncError

CHOICES = ("auto", "fpart", "walk")
_NEEDED = ("-L\t", "-0\t", "-zzz\t")     # in its help: live mode, names that end with a NUL, all directories
_LOOK = 0.02

_Listed = collections.namedtuple("_Listed", "path")


def program():
    """Path of an fpart that can do what is needed, or None."""
    path = command.which("fpart")
    if path is None:
        return None
    shown = command.run([path, "-h"], timeout=20, ok=None)
    return path if all(word in shown.stdout + shown.stderr for word in _NEEDED) else None


def crawler(choice):
    """The class that cuts a tree into lists. choice: one of CHOICES. Raises RsyncError when there is no such fpart."""
    found = None if choice == "walk" else program()
    if choice == "fpart" and found is None:
        raise RsyncError("Failed to use the option partitioner: no fpart with live mode and -0 is installed. Install"
                         " it, or use walk.")
    return partitions.Walk if found is None else Crawl


class Crawl(partitions.Walk):
    """As partitions.Walk, with fpart as the one that walks."""

    def __init__(self, src, store, patterns, **options):
        super().__init__(src, store, patterns, threads=1, **options)
        self._folder = ""
        self._excluded = {}

    def start(self):
        for thread in self._threads:
            thread.start()

    def _work(self):
        try:
            # of a name of its own: an fpart that outlived a killed engine may still write into the folder of that
            self._folder = tempfile.mkdtemp(prefix="fpart-", dir=self.store.folder)
            self._crawl()
            self._close()
        except Exception as error:      # told by the engine; a thread has nobody to raise to
            self.error = error
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _crawl(self):
        argv = [program(), "-L", "-0", "-zzz", "-f", str(self.store.most_files), "-s", str(self.store.most_bytes),
                "-o", self._part(""), "."]
        with open(self._part("errors"), "w+b") as errors:
            process = subprocess.Popen(argv, cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=errors, env=dict(os.environ, LC_ALL="C"))
            try:
                self._take_lists(process)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
            errors.seek(0)
            self._judge(process.returncode, errors.read().decode("utf-8", "surrogateescape"))

    def _part(self, number):
        return os.path.join(self._folder, "part" + (".%s" % number if number else ""))

    def _take_lists(self, process):
        number = 1
        while not self.stop:
            ended = process.poll() is not None
            there, next_there = (os.path.exists(self._part(one)) for one in (number, number + 1))
            if there and (ended or next_there):
                self._take_list(delta.read_list(self._part(number)))
                os.unlink(self._part(number))
                number += 1
            elif ended:
                return
            else:
                time.sleep(_LOOK)

    def _judge(self, status, said):
        if self.stop:
            return
        for line in said.splitlines():
            if line.strip() and "No such file or directory" not in line:
                self.unreadable.append((None, "fpart: " + line.strip()))
        if status != 0:
            raise OSError("fpart ended with %d: %s. Use the partitioner walk" % (status, said.strip() or "no reason"))

    def _take_list(self, listed):
        found, links, folders = [], [], []
        blocks = 0
        for path, status in sorted(self._looked_at(listed), key=lambda entry: entry[1].st_ino):
            if stat.S_ISDIR(status.st_mode):
                folders.append(path)
                continue
            blocks += status.st_blocks * 512
            if status.st_nlink > 1 and self.hard_links:
                links.append((status, path))
                continue
            special = self.attributes and self._special(os.path.dirname(path))
            kind = self._kind(_Listed(os.path.join(self.root, path)), status, special)
            found.append((kind, path, status.st_size if kind != partitions.OTHER else 0))
        self._hand_over(found, links, folders, blocks)

    def _looked_at(self, listed):
        """Pairs (path, status) of what is not excluded and still there."""
        for raw in listed:
            path = os.path.normpath(raw)
            if path == b"." or delta.is_ours(path) or self._is_excluded(os.path.dirname(path)):
                continue
            try:
                status = os.lstat(os.path.join(self.root, path))
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not (self.patterns.rules and self.patterns.match(path, stat.S_ISDIR(status.st_mode))):
                yield path, status

    def _is_excluded(self, folder):
        """Whether a directory, or one above it, is excluded with all that is in it."""
        if not folder or not self.patterns.rules:
            return False
        if folder not in self._excluded:
            above = self._is_excluded(os.path.dirname(folder))
            partitions.make_room(self._excluded)
            self._excluded[folder] = above or self.patterns.match(folder, True)
        return self._excluded[folder]
