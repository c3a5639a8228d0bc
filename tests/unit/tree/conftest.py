# SPDX-License-Identifier: GPL-3.0-or-later
"""Two equal trees to break in one place, and a daemon that serves the second."""

import os
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "rsync"))

from hostile_names import HOSTILE  # noqa: E402 - after the path is set
from loopback_daemon import Daemon  # noqa: E402 - after the path is set


class Trees:
    """source and dest: str. names: hostile file names that both hold."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.source = os.path.join(self.folder, "source")
        self.dest = os.path.join(self.folder, "dest")
        self.work = os.path.join(self.folder, "work")
        os.makedirs(os.path.join(self.source, "deep", "er", "empty"))
        for place in (b"", b"deep/", b"deep/er/"):
            for number, name in enumerate(HOSTILE):
                self.write(self.source, place + name, b"%d %s" % (number, name))
        self.write(self.source, b"empty", b"")
        os.symlink(b"nowhere\n\xff", os.fsencode(self.source) + b"/link")
        os.symlink("deep", os.path.join(self.source, "link to folder"))
        os.mkfifo(os.path.join(self.source, "fifo"))
        for name in ("one", "two", "deep/three"):
            if name != "one":
                os.link(os.path.join(self.source, "one"), os.path.join(self.source, name))
            else:
                self.write(self.source, b"one", b"linked")
        self.write(self.source, b".seamless-sentinel", b"source")
        self.copy()

    def copy(self):
        shutil.rmtree(self.dest, ignore_errors=True)
        # On a busy machine the time of a directory can be set before its last file comes: the second pass sets it.
        for _again in range(2):
            subprocess.run(
                ["rsync", "-aHAX", "--modify-window=-1", "--exclude=/.seamless-*", self.source + "/", self.dest],
                check=True,
            )
        self.write(self.dest, b".seamless-sentinel", b"target")

    @staticmethod
    def write(root, path, content):
        with open(os.fsencode(root) + b"/" + path, "wb") as stream:
            stream.write(content)

    def at(self, path):
        """A path in dest, as bytes."""
        return os.fsencode(self.dest) + b"/" + path

    def list(self, *paths):
        name = os.path.join(self.folder, "list")
        with open(name, "wb") as stream:
            stream.write(b"".join(path + b"\0" for path in paths))
        return name


@pytest.fixture
def trees(tmp_path):
    return Trees(tmp_path)


@pytest.fixture
def daemon(trees, tmp_path):
    folder = tmp_path / "daemon"
    folder.mkdir()
    with Daemon(folder, trees.dest) as running:
        yield running
