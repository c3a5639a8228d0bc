#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The upload service of the lab: a small HTTP server that changes a tree of files.

    PUT    /path[?sparse=SIZE]       create or overwrite in place; sparse: a hole, and the body at its end
    GET    /path                     content of a file, names of a directory (NUL after each)
    HEAD   /path                     200 when there is something by that name
    DELETE /path[?recursive=1]       file, symbolic link or directory
    POST   /path?op=append&at=SIZE   body after the first SIZE bytes: asked twice it is done once
    POST   /path?op=rename&to=PATH
    POST   /path?op=link&to=PATH     hard link
    POST   /path?op=symlink          body is the target
    POST   /path?op=mkdir
    POST   /path?op=chmod&mode=OCTAL

Paths are percent-encoded bytes. 2xx is said after the operation is done. Anything that the server cannot do now is 503.
"""

import argparse
import errno
import os
import shutil
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_to_bytes

STATUS = {
    errno.ENOENT: 404, errno.ENOTDIR: 404, errno.EEXIST: 409, errno.ENOTEMPTY: 409, errno.EISDIR: 409,
    errno.EROFS: 503, errno.EBUSY: 503, errno.ENOSPC: 507, errno.EACCES: 403, errno.EPERM: 403,
    errno.ENAMETOOLONG: 400, errno.EINVAL: 400, errno.ELOOP: 400,
}  # fmt: skip


class BadRequest(Exception):
    """The request itself is wrong; the text says how."""


class Tree:
    """The operations on one tree of files. Paths are bytes, relative to its root, already decoded."""

    def __init__(self, root):
        self.root = os.path.realpath(os.fsencode(root))

    def locate(self, path):
        """Absolute path for a requested one; never outside of the tree, not even through symbolic links."""
        parts = [part for part in path.split(b"/") if part]
        if any(part in (b".", b"..") or b"\0" in part for part in parts):
            raise BadRequest("a path must not have the parts . or .. or a NUL byte")
        whole = os.path.join(self.root, *parts)
        parent = os.path.realpath(os.path.dirname(whole)) if parts else self.root
        if parent != self.root and not parent.startswith(self.root + b"/"):
            raise BadRequest("the path leads out of the tree")
        return whole

    @staticmethod
    def _write(path, flags, body, offset):
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            if offset is not None:
                os.ftruncate(handle, offset)
                os.lseek(handle, offset, os.SEEK_SET)
            view = memoryview(body)
            while view:
                view = view[os.write(handle, view) :]
        finally:
            os.close(handle)

    def put(self, path, body, query):
        sparse = query.get("sparse")
        offset = max(0, int(sparse) - len(body)) if sparse else None
        self._write(self.locate(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, body, offset)

    def append(self, path, body, query):
        self._write(self.locate(path), os.O_WRONLY, body, int(query["at"]))

    def rename(self, path, body, query):
        os.rename(self.locate(path), self.locate(unquote_to_bytes(query["to"])))

    def link(self, path, body, query):
        os.link(self.locate(path), self.locate(unquote_to_bytes(query["to"])), follow_symlinks=False)

    def symlink(self, path, body, query):
        os.symlink(body, self.locate(path))

    def mkdir(self, path, body, query):
        os.mkdir(self.locate(path), 0o755)

    def chmod(self, path, body, query):
        os.chmod(self.locate(path), int(query["mode"], 8))

    def delete(self, path, body, query):
        where = self.locate(path)
        if where == self.root:
            raise BadRequest("the root of the tree stays")
        if os.path.islink(where) or not os.path.isdir(where):
            os.unlink(where)
        elif query.get("recursive") == "1":
            shutil.rmtree(where)
        else:
            os.rmdir(where)

    def get(self, path):
        where = self.locate(path)
        if os.path.isdir(where):
            return b"".join(name + b"\0" for name in sorted(os.listdir(where)))
        with open(where, "rb") as handle:
            return handle.read()


POSTED = ("append", "rename", "link", "symlink", "mkdir", "chmod")


class Handler(BaseHTTPRequestHandler):
    """One request. The tree hangs on the server."""

    timeout = 20
    server_version = "lab-upload/1"

    def log_message(self, format, *args):
        """Keep quiet: the writers keep the log that counts."""

    def _split(self):
        raw, _, question = self.path.partition("?")
        # Not parse_qs: "to" carries percent-encoded bytes, and parse_qs would decode them as text.
        query = dict(part.partition("=")[::2] for part in question.split("&") if part)
        return unquote_to_bytes(raw), query

    def _answer(self, status, body=b"", reason=None):
        if reason:
            body = (reason + "\n").encode("utf-8", "backslashreplace")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _do(self, action):
        try:
            path, query = self._split()
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) != length:
                return  # the client went away; nothing was begun
            answer = action(path, body, query)
        except (BadRequest, KeyError, ValueError) as error:
            self._answer(400, reason="%s: %s" % (type(error).__name__, error))
        except OSError as error:
            self._answer(STATUS.get(error.errno, 500), reason=error.strerror or str(error))
        else:
            self._answer(200, answer or b"")

    def do_PUT(self):
        self._do(self.server.tree.put)

    def do_DELETE(self):
        self._do(self.server.tree.delete)

    def do_GET(self):
        self._do(lambda path, body, query: self.server.tree.get(path))

    def do_HEAD(self):
        self._do(lambda path, body, query: os.lstat(self.server.tree.locate(path)) and b"")

    def do_POST(self):
        operation = self._split()[1].get("op")
        if operation not in POSTED:
            self._answer(400, reason="op must be one of %s" % ", ".join(POSTED))
            return
        self._do(getattr(self.server.tree, operation))


class Server(ThreadingHTTPServer):
    """Ends only when the requests that it took are answered."""

    daemon_threads = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address, tree):
        super().__init__(address, Handler)
        self.tree = tree


def main(argv):
    parser = argparse.ArgumentParser(description="Upload service of the lab")
    parser.add_argument("--tree", required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--address", default="")
    arguments = parser.parse_args(argv)
    server = Server((arguments.address, arguments.port), Tree(arguments.tree))
    # shutdown() waits for serve_forever() to end, so it must not be called from its own thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
