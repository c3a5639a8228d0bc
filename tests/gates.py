# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the quality gates and count them.

A gate is a command: exit status 0 means passed, 77 skipped (its last line says why), anything else failed. What it
prints goes to build/logs/GATE.log, and its end to the screen when it failed.

Two gates run at a time, but those that would disturb each other one after the other. A story on real hosts that fails
is played once more, and the summary tells of it. Where GATES_MINUTES is set, a story for which no time is left is
skipped, and the summary tells of that too.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build"))
LOGS = BUILD / "logs"
STAGE = BUILD / "stage" / "ansible_collections" / "seamless" / "migration"
SKIPPED = 77
WORKERS = 2
# Minutes from the start after which no story begins any more, so that a run ends by itself before it is ended.
MINUTES = float(os.environ.get("GATES_MINUTES") or "inf")
# The last stories need so much longer than the others.
LATE_MINUTES = 10
STARTED = time.monotonic()
TAIL_LINES = 80
STORY_SECONDS = 1500
LATE_SECONDS = 1800
ALONE_SECONDS = 3600
# Process groups of the gates at work.
RUNNING: set[int] = set()
# Lines that tell why a gate failed. The summary repeats the last of them, because often only the end of a run is kept.
TELLING = re.compile(r"FAILED|ERROR|FATAL|fatal: \[|^E  |\bfailed$|TimeoutExpired|timed out")
TELLING_LINES = 6
# The closing line of pytest: told with the gate, because it counts the tests.
PYTEST_CLOSING = re.compile(r"^=* ?(\d+ (?:passed|failed|skipped|error).*?) ?=*$")


@dataclasses.dataclass(frozen=True)
class Gate:
    """apart: whether it may run beside any other; the rest changes inotify limits or jobs of cron of this very machine.

    tries: how often it is run until it passes. again: the command of a later try, where it is another. story: whether
    it may be left out when the time is over. late: whether it comes after all others. undo: takes down what the command
    leaves when it is ended.
    """

    name: str
    command: list[str]
    cwd: pathlib.Path = ROOT
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    timeout: int = 1800
    apart: bool = False
    tries: int = 1
    story: bool = False
    late: bool = False
    undo: list[str] = dataclasses.field(default_factory=list)
    again: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Outcome:
    gate: Gate
    state: str
    seconds: float
    remark: str
    why: tuple[str, ...] = ()


def listed(*patterns: str) -> list[str]:
    """Return the files of the checkout that git knows or would take, as paths relative to its root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    names = sorted({os.fsdecode(name) for name in output.split(b"\0") if name})
    return [name for name in names if os.path.lexists(ROOT / name)]


def stage() -> None:
    """Lay a copy of the files under .../ansible_collections/seamless/migration, which some of the tools ask for."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for name in listed():
        destination = STAGE / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, destination, follow_symlinks=False)
    # A repository of its own: under an ignored folder of ours, the tools would see no file at all.
    for arguments in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *arguments], cwd=STAGE, check=True)


def lint_gates() -> list[Gate]:
    """Return the static gates. All of them take the files as they are, none writes."""
    host_side = listed("plugins/modules/*.py", "plugins/module_utils/*.py", "roles/*/files/*.py")
    in_stage = {"ANSIBLE_COLLECTIONS_PATH": str(BUILD / "stage")}
    docs = ["lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "--validate-collection-refs=self", "."]
    pages = ["collection", "--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(BUILD / "docs")]
    shell = [name for name in listed() if is_shell(ROOT / name)]
    return [
        Gate("ansible-lint", ["ansible-lint", "--offline", "--strict", "--nocolor"], STAGE, in_stage, apart=True),
        Gate("antsibull-docs", ["antsibull-docs", *docs], STAGE, {"HOME": str(LOGS)}, apart=True),
        Gate("docs", ["antsibull-docs", *pages, "seamless.migration"], STAGE, in_stage, apart=True),
        Gate("mypy", ["mypy", *listed("plugins/module_utils/*.py")]),
        Gate("ruff", ["ruff", "check", "."]),
        Gate("yamllint", ["yamllint", "--strict", "."]),
        Gate("vermin", ["vermin", "--target=3.6-", "--violations", "--no-tips", "--eval-annotations", *host_side]),
        Gate("shellcheck", ["shellcheck", "--external-sources", *shell]),
        Gate("changelog", ["antsibull-changelog", "lint"]),
        Gate("checks", [sys.executable, "-m", "checks"], environment={"PYTHONPATH": str(ROOT / "tests")}),
    ]


def is_shell(path: pathlib.Path) -> bool:
    """Tell by its first line whether a file is a shell script."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        return re.match(rb"#!\s*/(usr/)?bin/(env )?(ba|da)?sh\b", stream.readline(100)) is not None


def unit_gates() -> list[Gate]:
    report = ["--cov=plugins/module_utils", "--cov-report=term:skip-covered", "--cov-fail-under=90"]
    # Most of them wait for processes that they started: more of them than cores do not disturb each other.
    spread = ["--numprocesses=4", "--dist=loadfile"]
    # Some of them measure time: what failed beside the others is run once more by itself, and the summary tells of it.
    again = ["pytest", "tests/unit", "-q", "--last-failed", "--last-failed-no-failures=none"]
    return [Gate("unit", ["pytest", "tests/unit", "-q", *spread, *report], timeout=2400, tries=2, again=again)]


def sanity_gates() -> list[Gate]:
    return [Gate("ansible-test sanity", [str(ROOT / "tests" / "sanity" / "run")], apart=True)]


def browser_gates() -> list[Gate]:
    return [Gate("browser", ["pytest", "tests/browser", "-q"], apart=True)]


def package_gates() -> list[Gate]:
    return [Gate("package", [str(ROOT / "tests" / "package")], apart=True)]


def leg_gates() -> list[Gate]:
    return [Gate("leg %s" % name, [str(ROOT / "tests" / "legs" / "run"), name]) for name in ("oldest", "newest")]


def chaos_gates() -> list[Gate]:
    # Few of the runs of `make chaos-mysql`, and always the same dice, so that a violation can be played again.
    return [Gate("chaos-mysql", [sys.executable, "tests/chaos/mysql.py", "--seed", "1", "--runs", "4"], apart=True)]


# Stories that `make test` leaves out, and why; `make molecule S=name` plays them.
ALONE = {"nfs_losses": "takes half an hour where nothing runs beside it; make molecule S=nfs_losses plays it"}


def molecule_gate(name: str, asked: list[str]) -> Gate:
    gate = "molecule:%s" % name
    if name in ALONE and gate not in asked:
        return Gate(gate, ["sh", "-c", 'echo "$1"; exit %d' % SKIPPED, "sh", ALONE[name]])
    # MySQL's hosts have no lsyncd, and guests with a kernel of their own have inotify limits of their own.
    apart = name.startswith(("mysql_", "nfs_"))
    command = ["molecule", "test", "--scenario-name", name]
    undo = ["molecule", "destroy", "--scenario-name", name]
    tries = 1 if gate in asked else 2
    late = name in LAST
    seconds = ALONE_SECONDS if name in ALONE else LATE_SECONDS if late else STORY_SECONDS
    return Gate(gate, command, timeout=seconds, apart=apart, tries=tries, story=True, late=late, undo=undo)


# The longest stories, which begin first, so that none of them is left for the end.
LONGEST = ("nfs_modules", "nfs_migration", "mysql_faults_server", "mysql_faults", "mysql_modules", "storage_killed")
# Long stories of rare faults, which come last: where the time is limited they are the ones to be left out.
LAST = ("storage_workers", "storage_faults", "nfs_faults")


def molecule_gates() -> list[Gate]:
    scenarios = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
    between = sorted(scenarios.difference(LONGEST, LAST))
    return [molecule_gate(name, sys.argv) for name in (*LONGEST, *between, *LAST)]


# Group: the gates, whether they need the copy.
GROUPS = {
    "lint": (lint_gates, True),
    "unit": (unit_gates, False),
    "browser": (browser_gates, False),
    "sanity": (sanity_gates, True),
    "package": (package_gates, True),
    "legs": (leg_gates, True),
    "chaos": (chaos_gates, False),
    "molecule": (molecule_gates, False),
}


def log_of(gate: Gate) -> pathlib.Path:
    return LOGS / ("%s.log" % re.sub(r"[^a-z0-9-]+", "-", gate.name))


def closing(text: list[str]) -> str:
    """Return the closing line of pytest without its frame, or nothing."""
    for line in reversed(text):
        match = PYTEST_CLOSING.match(line.strip())
        if match:
            return match.group(1)
    return ""


def execute(gate: Gate, command: list[str]) -> int:
    """Run a command of a gate once, with what it prints in its log; returns its exit status."""
    with log_of(gate).open("wb") as log:
        try:
            process = subprocess.Popen(
                command,
                cwd=gate.cwd,
                env={**os.environ, **gate.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            log.write(("\n%s\n" % error).encode())
            return 1
        RUNNING.add(process.pid)
        try:
            return process.wait(gate.timeout)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            log.write(("\n%s\n" % error).encode())
            if gate.undo:
                subprocess.run(gate.undo, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=300)
            return 1
        finally:
            RUNNING.discard(process.pid)


def run(gate: Gate) -> Outcome:
    """Run one gate, keep what it prints, and judge it by its exit status."""
    started = time.monotonic()
    for number in range(1, gate.tries + 1):
        minutes = MINUTES - (LATE_MINUTES if gate.late else 0)
        if gate.story and time.monotonic() - STARTED > 60 * minutes:
            if number > 1:
                break
            how = "no time was left for it after %g minutes; make molecule S=%s plays it"
            return Outcome(gate, "skipped", 0, how % (minutes, gate.name.partition(":")[2]))
        status = execute(gate, gate.again if number > 1 and gate.again else gate.command)
        if status in (0, SKIPPED):
            break
        if number < gate.tries:
            shutil.copy(log_of(gate), log_of(gate).with_suffix(".first.log"))
    text = [line for line in log_of(gate).read_text("utf-8", "replace").splitlines() if line.strip()]
    state = {0: "passed", SKIPPED: "skipped"}.get(status, "failed")
    remark = closing(text)
    if state == "skipped":
        remark = text[-1] if text else "no reason given"
    elif number > 1:
        remark = "%s only at try %d, see %s.first.log" % (state, number, log_of(gate).stem)
    return Outcome(gate, state, time.monotonic() - started, remark, telling(text) if state == "failed" else ())


def telling(text: list[str]) -> tuple[str, ...]:
    """Return the last lines that tell why a gate failed, or its very last ones where none does."""
    found = [line for line in text if TELLING.search(line)] or text
    return tuple(line.strip()[:240] for line in found[-TELLING_LINES:])


def told(gate: Gate, lock: threading.Lock) -> Outcome:
    """Run a gate and say at once how it went, with the end of its output when it failed."""
    outcome = run(gate)
    with lock:
        if outcome.state == "failed":
            text = log_of(gate).read_text("utf-8", "replace").splitlines()
            print("\n".join("    " + line for line in text[-TAIL_LINES:]))
            print("    (all of it: %s)" % os.path.relpath(log_of(gate), ROOT))
        print("%-7s %-28s %6.0f s  %s" % (outcome.state, gate.name, outcome.seconds, outcome.remark), flush=True)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="GATE", help="run only this gate; may be given again")
    parser.add_argument("groups", nargs="+", choices=GROUPS, metavar="GROUP")
    arguments = parser.parse_args()
    LOGS.mkdir(parents=True, exist_ok=True)
    if any(GROUPS[group][1] for group in arguments.groups):
        stage()
        (BUILD / "docs").mkdir(exist_ok=True)
    gates = [gate for group in arguments.groups for gate in GROUPS[group][0]()]
    outcomes = play([gate for gate in gates if not arguments.only or gate.name in arguments.only])
    return summary(outcomes, time.monotonic() - STARTED)


class Queue:
    """Hands out gates: first those that may not meet, so that nothing waits for them in the end."""

    def __init__(self, gates: list[Gate]) -> None:
        self._waiting = sorted(gates, key=lambda gate: (gate.late, gate.apart))
        self._at_work = False
        self._changed = threading.Condition()

    def take(self) -> Gate | None:
        """Return the next gate that may run now, or None when there is none left; waits for it."""
        with self._changed:
            while self._waiting:
                for gate in self._waiting:
                    if gate.apart or not self._at_work:
                        self._waiting.remove(gate)
                        self._at_work = self._at_work or not gate.apart
                        return gate
                self._changed.wait()
        return None

    def give_back(self, gate: Gate) -> None:
        with self._changed:
            self._at_work = self._at_work and gate.apart
            self._changed.notify_all()


def work(queue: Queue, lock: threading.Lock) -> list[Outcome]:
    """Run gates until there is none left."""
    outcomes = []
    for gate in iter(queue.take, None):
        outcomes.append(told(gate, lock))
        queue.give_back(gate)
    return outcomes


def play(gates: list[Gate]) -> list[Outcome]:
    queue, lock = Queue(gates), threading.Lock()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        try:
            played = [future.result() for future in [pool.submit(work, queue, lock) for _number in range(WORKERS)]]
        except KeyboardInterrupt:
            for group in list(RUNNING):
                os.killpg(group, signal.SIGINT)
            os._exit(130)
    return [outcome for outcomes in played for outcome in outcomes]


def summary(outcomes: list[Outcome], seconds: float) -> int:
    """Print what did not pass and the closing line; return the exit status."""
    count = {state: sum(outcome.state == state for outcome in outcomes) for state in ("passed", "failed", "skipped")}
    print()
    # What failed comes last, where it is read first.
    for outcome in sorted(outcomes, key=lambda outcome: ("skipped", "passed", "failed").index(outcome.state)):
        if outcome.state != "passed" or "only at try" in outcome.remark:
            print("%s: %s %s" % (outcome.state, outcome.gate.name, outcome.remark))
            print("".join("    %s\n" % line for line in outcome.why), end="")
    print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % count, "in %.0f s" % seconds)
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
