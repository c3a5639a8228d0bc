# SPDX-License-Identifier: GPL-3.0-or-later
"""A real rsync daemon on a free port of the loopback, for tests."""

import os
import socket
import subprocess
import time

USER, SECRET = "migration", "loop-secret"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Daemon:
    """Serves `path` as the module `data`, with a user and a secret. folder: where its files lie."""

    def __init__(self, folder, path, port=None, extra=""):
        self.folder = str(folder)
        self.port = port or free_port()
        self.url = "rsync://%s@127.0.0.1:%d/data/" % (USER, self.port)
        self.password_file = os.path.join(self.folder, "password")
        self._write("secrets", "%s:%s\n" % (USER, SECRET))
        self._write("password", SECRET + "\n")
        self._write("rsyncd.conf", "log file = %s\npid file = %s\nuse chroot = no\nmunge symlinks = no\n[data]\n"
                    "path = %s\nread only = no\nuid = root\ngid = root\nauth users = %s\nsecrets file = %s\n%s\n"
                    % (self.file("log"), self.file("pid"), path, USER, self.file("secrets"), extra))
        self.process = None

    def file(self, name):
        return os.path.join(self.folder, name)

    def _write(self, name, text):
        with open(self.file(name), "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
            stream.write(text)

    def start(self):
        if os.path.exists(self.file("pid")):
            os.unlink(self.file("pid"))
        self.process = subprocess.Popen(["rsync", "--daemon", "--no-detach", "--address=127.0.0.1",
                                         "--port=%d" % self.port, "--config=%s" % self.file("rsyncd.conf")],
                                        start_new_session=True, stdin=subprocess.DEVNULL)
        for _attempt in range(100):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        raise RuntimeError("the daemon does not listen")

    def stop(self):
        if self.process is not None:
            import signal

            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_unused):
        self.stop()
