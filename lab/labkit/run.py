# SPDX-License-Identifier: GPL-3.0-or-later
"""One way to run a command, and the one exception of the lab."""

import subprocess


class LabError(Exception):
    """Something about the lab could not be done; the text says what and why."""


def run(argv, check=True, env=None, data=None, timeout=600):
    """Run an argument vector and return the finished process, with stdout and stderr as text.

    :param data: bytes or text for standard input; bytes make the output bytes as well.
    :raises LabError: when the command is missing, takes longer than timeout seconds, or (with check) fails.
    """
    text = not isinstance(data, bytes)
    options = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(argv, capture_output=True, text=text, env=env, timeout=timeout, check=False, **options)
    except FileNotFoundError as error:
        raise LabError("Command not found: %s" % argv[0]) from error
    except subprocess.TimeoutExpired as error:
        raise LabError("Still running after %d s: %s" % (timeout, " ".join(map(str, argv)))) from error
    if check and done.returncode != 0:
        said = done.stderr if text else done.stderr.decode("utf-8", "replace")
        raise LabError("Exit %d from %s: %s" % (done.returncode, " ".join(map(str, argv)), said.strip()[-2000:]))
    return done
