# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe may find on a port, for tests: a real rsync daemon with a given configuration, and strangers."""

import contextlib
import os
import socket
import subprocess
import threading
import time


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def rsync_daemon(config, *arguments):
    """A real daemon that reads the file config. Yields its port."""
    port = free_port()
    process = subprocess.Popen(
        ["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", "--port=%d" % port, "--config=%s" % config]
        + ["--log-file=%s.log" % config, *arguments],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _attempt in range(200):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def stranger(serve):
    """A server whose every connection is handed to serve(connection) in a thread. Yields its port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)

    def accept():
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection):
        with connection, contextlib.suppress(OSError):
            serve(connection)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        # close() alone would leave accept() waiting
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def private(path, text):
    """Write text to path with mode 0600."""
    with open(str(path), "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
        stream.write(text)
    return str(path)
