# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a shell script among mounts of its own, so that what it mounts is nobody else's."""

import os
import subprocess

COLLECTIONS = os.path.join(os.path.dirname(__file__), "..", "build", "collections")


def run(script, *words):
    """script: of sh, which gets the words as its arguments. Modules of the collection can be imported there.

    Returns subprocess.CompletedProcess with all that was printed as stdout.
    """
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    return subprocess.run(
        command + [str(word) for word in words],
        env=dict(os.environ, PYTHONPATH=COLLECTIONS),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        check=False,
    )
