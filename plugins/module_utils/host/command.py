# SPDX-License-Identifier: GPL-3.0-or-later
"""Run external commands: an argument vector, a time limit, an environment, and a result that cannot be ignored."""

import contextlib
import os
import signal
import subprocess
import tempfile


class CommandError(Exception):
    """A command could not be started, failed, or ran out of time.

    The message can be shown and sent as JSON: bytes of file names that are no UTF-8 stand in it as \\xNN.
    """

    def __init__(self, message, result=None):
        super().__init__(message.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
        self.result = result


class Result:
    """What came of a command.

    argv: list of str; rc: exit status (negative: ended by that signal); stdout, stderr: str, undecodable bytes
    kept as surrogate escapes.
    """

    def __init__(self, argv, rc, stdout, stderr):
        self.argv = argv
        self.rc = rc
        self.stdout = stdout
        self.stderr = stderr

    def cause(self):
        """The last line that says why it failed, else the exit status. Returns str."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        if not lines:
            return "exit status %d" % self.rc
        if any(character.isalnum() for character in lines[-1]):
            return lines[-1]
        # nft and others end with a line of carets below the place they mean: take the line that has the words.
        return next((line for line in reversed(lines) if "error" in line.lower()), lines[0])


def _decode(data):
    return data.decode("utf-8", "surrogateescape")


def _environment(extra):
    environment = dict(os.environ, LC_ALL="C", LANGUAGE="C")
    environment.update(extra or {})
    return environment


def _kill(process):
    """End a command and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _communicate(process, stdin, timeout):
    try:
        return process.communicate(stdin, timeout=timeout)
    except BaseException as error:
        _kill(process)
        if not isinstance(error, subprocess.TimeoutExpired):
            process.wait()
            raise
    try:
        # What left the group of processes may keep the output open for ever.
        return process.communicate(timeout=5) + (True,)
    except subprocess.TimeoutExpired:
        return b"", b"", True


def _wait(process, stdin, timeout, outputs):
    """Like _communicate, for a command whose output goes to files: its end is the end, whoever has them open."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(stdin)
        process.stdin.close()
    late = ()
    try:
        process.wait(timeout)
    except BaseException as error:
        _kill(process)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        late = (True,)
    for stream in outputs:
        stream.seek(0)
    return tuple(stream.read() for stream in outputs) + late


def run(argv, timeout=60, *, env=None, stdin=b"", ok=(0,), cwd=None, leaves_daemon=False):
    """Run argv to its end.

    argv: list of str, never a shell string. timeout: seconds, after which the command and its children are killed.
    env: dict of additions to the environment (LC_ALL is always C). stdin: bytes. ok: exit statuses that are a
    success, or None for any. leaves_daemon: the command may leave a process behind that keeps its output open, as
    start scripts do; only the command itself is waited for then. Returns Result. Raises CommandError naming the
    command and the cause; secrets belong into env, a file or stdin, because argv is part of the message.
    """
    argv = [str(word) for word in argv]
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _unused in range(2)] if leaves_daemon else []
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=outputs[0] if outputs else subprocess.PIPE,
                stderr=outputs[1] if outputs else subprocess.PIPE,
                env=_environment(env),
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandError("%s cannot be started: %s" % (argv[0], error.strerror or error)) from error
        ended = _wait(process, stdin, timeout, outputs) if outputs else _communicate(process, stdin, timeout)
    result = Result(argv, process.returncode, _decode(ended[0]), _decode(ended[1]))
    if len(ended) > 2:
        raise CommandError("%s did not end within %s s" % (" ".join(argv), timeout), result)
    if ok is not None and result.rc not in ok:
        raise CommandError("%s: %s" % (" ".join(argv), result.cause()), result)
    return result


def which(name, extra=("/usr/sbin", "/sbin", "/usr/local/sbin")):
    """Full path of a program, or None. Looks in PATH and in the places of administrators' programs."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) + list(extra):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None
