# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import subprocess
import time

import pytest
import yaml
from ansible_collections.seamless.migration.plugins.module_utils.host import batch_jobs, batch_jobs_cron
from ansible_collections.seamless.migration.plugins.module_utils.host.batch_jobs_common import JobError
from ansible_collections.seamless.migration.plugins.module_utils.host.batch_jobs_cron import MARK, Crontab, shell_part
from ansible_collections.seamless.migration.plugins.module_utils.host.batch_jobs_running import (
    of_cron,
    of_scripts,
    words,
)
from ansible_collections.seamless.migration.plugins.module_utils.host.files import printable
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import OptionError
from ansible_collections.seamless.migration.plugins.modules import batch_job
from fake_systemd import FakeSystemd
from hypothesis import given
from hypothesis import strategies as st

CRONTAB = b"""# m h dom mon dow command
MAILTO=admin@example.com
PATH = "/usr/local/bin:/usr/bin:/bin"

 */5 * * * *\t/usr/local/bin/cleanup --older 30
@reboot sleep 5; /usr/local/bin/warm
# 1 2 3 4 5 /usr/local/bin/cleanup --disabled
0 3 * * 1-5 /usr/local/bin/backup "$(date +\\%F)"%line one%line two
0 4 * * * echo \xff\xfe caf\xe9
"""
CRON_D = b"SHELL=/bin/bash\r\n0 1 * * *\troot  /usr/bin/rsync -a /a /b\r\n0 2 * * * www-data /usr/bin/php x.php"


class Host:
    """A file system below tmp_path with cron's places and a systemctl."""

    def __init__(self, root):
        self.root = root
        self.systemd = FakeSystemd(root)
        for folder in ("etc/cron.d", "var/spool/cron/crontabs", "etc/cron.daily", "etc/cron.hourly", "proc"):
            (root / folder).mkdir(parents=True)
        (root / "etc/debian_version").write_text("12\n")

    def write(self, path, content, mode=0o644):
        path = self.root / path
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def plan(self, **options):
        params = dict.fromkeys(("kind", "name", "user", "match", "period", "definition"))
        params.update(regexp=False, required=True, wait=0, state="paused")
        params.update(options)
        batch_job.check_options(params)
        return batch_jobs.manage(params, run=self.systemd.run, which=self.systemd.which, root=str(self.root))

    def do(self, **options):
        change = self.plan(**options)
        (change.apply if change.differs else change.settle)()
        return change

    def settle(self, **options):
        """Run twice: the second run changes nothing."""
        first = self.do(**options)
        second = self.do(**options)
        assert not second.differs, second.diff()
        assert second.plan.jobs == first.plan.jobs
        return first

    def remembered(self):
        path = self.root / "var/lib/seamless-migration/batch_jobs.json"
        return json.loads(path.read_text())["entries"] if path.exists() else []


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.fixture
def crontab(host):
    return host.write("var/spool/cron/crontabs/root", CRONTAB, 0o600)


# -- options


def test_documentation_and_argument_spec_agree():
    options = yaml.safe_load(batch_job.DOCUMENTATION)["options"]
    spec = batch_job.argument_spec()
    assert set(options) == set(spec)
    for name, option in options.items():
        for key in ("type", "default", "choices", "elements"):
            assert option.get(key) == spec[name].get(key), (name, key)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "cron"}, "give user"),
        ({"kind": "cron.d"}, "give name or match"),
        ({"kind": "periodic"}, "give name"),
        ({"kind": "timer", "name": "../x"}, "'../x.timer'"),
        ({"kind": "cron", "user": "../x"}, "'../x'"),
        ({"kind": "cron.d", "name": "a/b"}, "'a/b'"),
        ({"kind": "periodic", "name": ".."}, "'..'"),
        ({"kind": "cron", "user": "root", "match": "(", "regexp": True}, "'\\('"),
        ({"state": "present", "definition": [{"kind": "at"}]}, "kind is 'at'"),
        ({}, "kind is missing"),
    ],
)
def test_bad_options_are_named_and_nothing_is_touched(host, options, told):
    with pytest.raises(JobError, match=told):
        host.do(**options)
    assert host.remembered() == []


@pytest.mark.parametrize(
    "definition", [{"kind": "cron", "line": "* * * * * a\n* * * * * b"}, {"kind": "cron", "user": "a\n"}]
)
def test_a_definition_with_a_newline_is_refused(host, definition):
    with pytest.raises(OptionError, match="definition"):
        host.plan(state="present", definition=[definition])


# -- crontabs


def test_only_the_matching_entry_is_paused_and_comes_back_byte_for_byte(host, crontab):
    change = host.settle(kind="cron", user="root", match="cleanup")
    paused = crontab.read_bytes()
    line = b" */5 * * * *\t/usr/local/bin/cleanup --older 30\n"
    assert paused == CRONTAB.replace(line, MARK.encode() + line)
    assert [job["command"] for job in change.plan.jobs] == ["/usr/local/bin/cleanup --older 30"]
    assert crontab.stat().st_mode & 0o777 == 0o600
    assert len(host.remembered()) == 1
    host.settle(kind="cron", user="root", match="cleanup", state="active")
    assert crontab.read_bytes() == CRONTAB
    assert host.remembered() == []


def test_without_a_match_all_entries_are_paused_and_no_environment_or_comment(host, crontab):
    host.settle(kind="cron", user="root")
    lines = crontab.read_bytes().split(b"\n")
    marked = [number for number, line in enumerate(lines) if line.startswith(MARK.encode())]
    assert marked == [4, 5, 7, 8]
    host.settle(kind="cron", user="root", state="active")
    assert crontab.read_bytes() == CRONTAB


def test_a_regular_expression_chooses(host, crontab):
    change = host.plan(kind="cron", user="root", match=r"backup.*two$", regexp=True)
    assert len(change.plan.jobs) == 1
    with pytest.raises(JobError, match="There are: .*cleanup"):
        host.plan(kind="cron", user="root", match=r"backup.*two$")
    assert host.plan(kind="cron", user="root", match="nothing", required=False).plan.jobs == []


def test_a_plan_changes_nothing_and_its_diff_is_exact(host, crontab):
    change = host.plan(kind="cron", user="root", match="warm")
    assert change.differs
    assert crontab.read_bytes() == CRONTAB
    assert host.remembered() == []
    diff = change.diff()[0]
    assert diff["after"] == diff["before"].replace("@reboot", MARK + "@reboot")


def test_an_entry_that_was_edited_while_paused_goes_on_as_edited_and_is_told(host, crontab):
    host.settle(kind="cron", user="root", match="cleanup")
    crontab.write_bytes(crontab.read_bytes().replace(b"--older 30", b"--older 60"))
    change = host.settle(kind="cron", user="root", match="cleanup", state="active")
    assert crontab.read_bytes() == CRONTAB.replace(b"--older 30", b"--older 60")
    assert any("goes on as it is now" in warning for warning in change.plan.warnings)
    assert host.remembered() == []


def test_an_entry_that_was_removed_while_paused_is_told_and_not_brought_back(host, crontab):
    host.settle(kind="cron", user="root", match="cleanup")
    crontab.write_bytes(b"0 0 * * * /usr/bin/true\n")
    change = host.do(kind="cron", user="root", match="cleanup", state="active")
    assert crontab.read_bytes() == b"0 0 * * * /usr/bin/true\n"
    assert "not brought back" in change.plan.warnings[0]
    assert host.remembered() == []


def test_other_edits_while_paused_are_kept(host, crontab):
    host.settle(kind="cron", user="root", match="cleanup")
    crontab.write_bytes(b"0 9 * * * new\n" + crontab.read_bytes() + b"# end\n")
    host.settle(kind="cron", user="root", match="cleanup", state="active")
    assert crontab.read_bytes() == b"0 9 * * * new\n" + CRONTAB + b"# end\n"


def test_an_entry_that_the_administrator_commented_out_stays_so(host, crontab):
    host.settle(kind="cron", user="root", match="cleanup")
    host.settle(kind="cron", user="root", match="cleanup", state="active")
    assert b"# 1 2 3 4 5 /usr/local/bin/cleanup --disabled\n" in crontab.read_bytes()


def test_a_run_killed_between_memory_and_file_is_simply_run_again(host, crontab, monkeypatch):
    change = host.plan(kind="cron", user="root", match="cleanup")
    monkeypatch.setattr(batch_jobs_cron.files, "remove", None)
    write = batch_jobs_cron.files.write

    def die(path, *rest, **keywords):
        if path == str(crontab):
            raise KeyboardInterrupt
        write(path, *rest, **keywords)

    monkeypatch.setattr(batch_jobs_cron.files, "write", die)
    with pytest.raises(KeyboardInterrupt):
        change.apply()
    monkeypatch.undo()
    assert crontab.read_bytes() == CRONTAB
    assert len(host.remembered()) == 1
    host.settle(kind="cron", user="root", match="cleanup")
    change = host.settle(kind="cron", user="root", match="cleanup", state="active")
    assert change.plan.warnings == []
    assert crontab.read_bytes() == CRONTAB


def test_crlf_a_missing_newline_and_the_user_column_are_kept_and_told(host):
    path = host.write("etc/cron.d/legacy", CRON_D)
    change = host.settle(kind="cron.d", name="legacy")
    assert [(job["user"], job["command"]) for job in change.plan.jobs] == [
        ("root", "/usr/bin/rsync -a /a /b"),
        ("www-data", "/usr/bin/php x.php"),
    ]
    assert "no newline" in change.plan.warnings[0]
    assert path.read_bytes().count(MARK.encode()) == 2
    host.settle(kind="cron.d", name="legacy", state="active")
    assert path.read_bytes() == CRON_D


def test_the_user_column_limits_the_choice(host):
    path = host.write("etc/cron.d/legacy", CRON_D)
    host.settle(kind="cron.d", name="legacy", user="www-data")
    assert path.read_bytes() == CRON_D.replace(b"0 2", MARK.encode() + b"0 2")


def test_a_match_without_a_name_looks_through_all_that_cron_reads(host):
    entry = b"0 1 * * * root /usr/bin/rsync -a /a /b\n"
    paths = [
        host.write(name, entry) for name in ("etc/crontab", "etc/cron.d/one", "etc/cron.d/two.bak", "etc/cron.d/.x")
    ]
    change = host.settle(kind="cron.d", match="rsync")
    assert [job["where"] for job in change.plan.jobs] == [str(paths[0]), str(paths[1])]
    assert paths[2].read_bytes() == paths[3].read_bytes() == entry


def test_a_file_that_cron_does_not_read_is_told_when_it_is_named(host):
    host.write("etc/cron.d/two.bak", b"0 1 * * * root /bin/x\n")
    assert "not run anyway" in host.settle(kind="cron.d", name="two.bak").plan.warnings[0]
    (host.root / "etc/debian_version").unlink()
    host.write("etc/cron.d/three.x", b"0 1 * * * root /bin/x\n")
    assert host.settle(kind="cron.d", name="three.x").plan.warnings == []
    host.write("etc/cron.d/four.rpmsave", b"0 1 * * * root /bin/x\n")
    assert "not run anyway" in host.settle(kind="cron.d", name="four.rpmsave").plan.warnings[0]


def test_absent_takes_paused_and_active_entries_out_and_leaves_the_rest(host, crontab):
    host.settle(kind="cron", user="root", match="cleanup")
    host.do(kind="cron", user="root", match="cleanup", state="absent")
    assert crontab.read_bytes() == CRONTAB.replace(b" */5 * * * *\t/usr/local/bin/cleanup --older 30\n", b"")
    assert not host.do(kind="cron", user="root", match="cleanup", state="absent").differs
    assert host.remembered() == []


TEXT = st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=30)
LINES = st.lists(
    st.one_of(
        TEXT,
        st.sampled_from(
            ["0 1 * * * root x", "@daily root y\r", "A=b", " A = 'c d'", "#0 1 * * * x", "", "\x0c", "-1 2 3 4 5 u z%a"]
        ),
    ),
    max_size=8,
)


@given(LINES, st.booleans(), st.booleans())
def test_any_file_reads_and_renders_the_same_and_pausing_all_of_it_comes_back(lines, system, newline):
    content = "\n".join(lines).encode() + (b"\n" if newline else b"")
    table = Crontab("x", content, system=system)
    assert table.render() == content
    entries = [number for number, line in enumerate(table.lines) if line.kind == "entry" and not line.paused]
    for number in entries:
        table.replace(number, MARK + table.lines[number].raw)
    again = Crontab("x", table.render(), system=system)
    assert [n for n, line in enumerate(again.lines) if line.kind == "entry" and line.paused] == entries
    for number in entries:
        again.replace(number, again.lines[number].original)
    assert again.render() == content


@pytest.mark.parametrize(
    ("command", "shell"),
    [
        ("mail root%hello%you", "mail root"),
        (r"date +\%F", "date +%F"),
        (r"a\%b%c", "a%b"),
        ("plain", "plain"),
    ],
)
def test_the_shell_gets_what_stands_before_the_percent_sign(command, shell):
    assert shell_part(command) == shell


# -- moving


def test_an_entry_is_installed_on_another_host_with_its_environment(tmp_path, host, crontab):
    definition = host.settle(kind="cron", user="root", match="cleanup").plan.definition
    (tmp_path / "target").mkdir()
    target = Host(tmp_path / "target")
    change = target.plan(state="present", definition=json.loads(json.dumps(definition)))
    change.apply()
    assert target.systemd.crontabs["root"] == (
        b'MAILTO=admin@example.com\nPATH = "/usr/local/bin:/usr/bin:/bin"\n'
        b" */5 * * * *\t/usr/local/bin/cleanup --older 30\n"
    )
    assert "not on this host" in change.plan.warnings[0]
    target.write("var/spool/cron/crontabs/root", target.systemd.crontabs["root"])
    assert not target.do(state="present", definition=definition).differs
    target.do(kind="cron", user="root", match="cleanup", state="absent")
    assert not (target.root / "var/spool/cron/crontabs/root").exists()


def test_an_entry_that_is_no_utf8_moves_byte_for_byte(tmp_path, host, crontab):
    change = host.settle(kind="cron", user="root", match="echo")
    json.dumps(printable(change.diff())).encode("utf-8")
    definition = json.loads(json.dumps(change.plan.definition).encode("utf-8").decode("utf-8"))
    assert "\\udc" not in json.dumps(definition)
    (tmp_path / "target").mkdir()
    target = Host(tmp_path / "target")
    target.do(state="present", definition=definition)
    assert target.systemd.crontabs["root"].endswith(b"\n0 4 * * * echo \xff\xfe caf\xe9\n")


def test_an_entry_is_not_put_into_an_environment_that_it_did_not_have(host, crontab):
    definition = [{"kind": "cron", "user": "root", "line": "0 0 * * * /bin/x", "environment": []}]
    with pytest.raises(JobError, match="sets MAILTO, PATH"):
        host.plan(state="present", definition=definition)


def test_present_resumes_an_entry_that_is_paused_there(host, crontab):
    definition = host.settle(kind="cron", user="root", match="cleanup").plan.definition
    host.settle(state="present", definition=definition)
    assert crontab.read_bytes() == CRONTAB
    assert host.remembered() == []


def test_a_file_of_cron_d_is_installed_and_removed_with_its_last_entry(host):
    line = "0 1 * * * root /usr/bin/x"
    host.settle(state="present", definition=[{"kind": "cron.d", "name": "job", "line": line, "environment": ["A=b"]}])
    assert (host.root / "etc/cron.d/job").read_text() == "A=b\n" + line + "\n"
    host.do(kind="cron.d", name="job", match="/usr/bin/x", state="absent")
    assert not (host.root / "etc/cron.d/job").exists()
    assert host.remembered() == []


def test_nothing_is_appended_behind_a_line_without_newline(host):
    host.write("etc/cron.d/legacy", CRON_D)
    definition = [{"kind": "cron.d", "name": "legacy", "line": "0 0 * * * root x", "environment": ["SHELL=/bin/bash"]}]
    with pytest.raises(JobError, match="no newline"):
        host.plan(state="present", definition=definition)


# -- scripts of cron.daily and friends


def test_a_script_is_paused_by_a_name_that_run_parts_passes_over(host):
    script = host.write("etc/cron.daily/backup", b"#!/bin/sh\n\xff\n", 0o750)
    before = script.stat()
    host.settle(kind="periodic", name="backup")
    listed = subprocess.run(["run-parts", "--test", str(script.parent)], capture_output=True, text=True, check=True)
    assert listed.stdout == ""
    host.settle(kind="periodic", name="backup", state="active")
    after = script.stat()
    assert (script.read_bytes(), after.st_ino, after.st_mode, after.st_mtime_ns) == (
        b"#!/bin/sh\n\xff\n",
        before.st_ino,
        before.st_mode,
        before.st_mtime_ns,
    )
    assert host.remembered() == []


def test_a_link_to_a_script_is_paused_without_touching_what_it_points_to(host, tmp_path):
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    (host.root / "etc/cron.hourly/tool").symlink_to(tmp_path / "tool")
    host.settle(kind="periodic", name="tool", period="hourly")
    assert os.access(str(tmp_path / "tool"), os.X_OK)
    assert not (host.root / "etc/cron.hourly/tool").exists()
    host.settle(kind="periodic", name="tool", state="active")
    assert (host.root / "etc/cron.hourly/tool").is_symlink()


def test_a_script_that_was_made_anew_while_paused_is_kept_and_told(host):
    script = host.write("etc/cron.daily/backup", b"old", 0o755)
    host.settle(kind="periodic", name="backup")
    script.write_bytes(b"new")
    change = host.do(kind="periodic", name="backup", state="active")
    assert script.read_bytes() == b"new"
    assert "made anew" in change.plan.warnings[0]


def test_a_script_moves_to_another_host_with_bytes_and_mode(host, tmp_path):
    host.write("etc/cron.daily/backup", b"\x7fELF\xff", 0o750)
    definition = host.settle(kind="periodic", name="backup").plan.definition
    (tmp_path / "target").mkdir()
    target = Host(tmp_path / "target")
    target.settle(state="present", definition=definition)
    there = target.root / "etc/cron.daily/backup"
    assert (there.read_bytes(), there.stat().st_mode & 0o777) == (b"\x7fELF\xff", 0o750)
    there.write_bytes(b"other")
    with pytest.raises(JobError, match="another script"):
        target.plan(state="present", definition=definition)


# -- timers

TIMER = "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"
SERVICE = "[Service]\nExecStart=/usr/local/bin/thumbs --all\n"


@pytest.fixture
def timer(host):
    host.systemd.unit("thumbs.timer", TIMER, "etc/systemd/system")
    host.systemd.unit("thumbs.service", SERVICE)
    host.systemd.active.add("thumbs.timer")
    host.systemd.enabled.add("thumbs.timer")
    return host


def test_a_timer_is_stopped_cannot_start_and_goes_on_as_it_was(timer):
    timer.settle(kind="timer", name="thumbs.timer")
    timer.systemd.run(["systemctl", "start", "thumbs.timer"])
    assert timer.systemd.active == set()
    timer.settle(kind="timer", name="thumbs", state="active")
    assert timer.systemd.active == {"thumbs.timer"}
    assert list((timer.root / "etc/systemd/system").rglob("*.conf")) == []


def test_a_timer_that_was_stopped_before_stays_stopped(timer):
    timer.systemd.active.clear()
    timer.settle(kind="timer", name="thumbs")
    timer.settle(kind="timer", name="thumbs", state="active")
    assert timer.systemd.active == set()


def test_a_timer_that_is_not_there_is_told(host):
    with pytest.raises(JobError, match=r"the timer no\.timer"):
        host.plan(kind="timer", name="no")
    assert host.plan(kind="timer", name="no", required=False).plan.jobs == []


def test_a_timer_moves_and_only_what_was_installed_is_removed(timer, tmp_path):
    definition = timer.settle(kind="timer", name="thumbs").plan.definition
    with pytest.raises(JobError, match="not installed by this module"):
        timer.plan(kind="timer", name="thumbs", state="absent")
    (tmp_path / "target").mkdir()
    target = Host(tmp_path / "target")
    target.systemd.unit("thumbs.service", SERVICE)
    target.settle(state="present", definition=definition)
    units = target.root / "etc/systemd/system"
    assert [path.name for path in units.iterdir()] == ["thumbs.timer"]
    assert (target.systemd.active, target.systemd.enabled) == ({"thumbs.timer"}, {"thumbs.timer"})
    target.do(kind="timer", name="thumbs", state="absent")
    assert list(units.iterdir()) == []
    assert (target.systemd.active, target.systemd.enabled) == (set(), set())
    assert (target.root / "lib/systemd/system/thumbs.service").exists()


@pytest.mark.parametrize(
    "path", ["../x.timer", "thumbs.timer.d/../../x", "/etc/passwd", "x.timer.d/a/b.conf", "thumbs.mount"]
)
def test_a_definition_writes_nowhere_but_to_unit_files(host, path):
    definition = [{"kind": "timer", "name": "thumbs.timer", "files": {"thumbs.timer": TIMER, path: "x"}}]
    with pytest.raises(JobError, match="definition is broken"):
        host.plan(state="present", definition=definition)


def test_the_running_service_of_a_timer_is_told(timer):
    timer.systemd.active.add("thumbs.service")
    timer.systemd.main_pid["thumbs.service"] = 4711
    running = timer.plan(kind="timer", name="thumbs").running()
    assert running == [{"pid": 4711, "command": "/usr/local/bin/thumbs --all (thumbs.service)"}]


# -- what runs


def process(root, pid, parent, name, *, argv=(), group=""):
    folder = root / "proc" / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text("%d (%s) S %d 1 1 0" % (pid, name, parent))
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
    (folder / "cgroup").write_text("0::%s\n" % group)


def test_processes_of_a_cron_job_are_found_however_the_shell_started_them(tmp_path):
    process(tmp_path, 10, 1, "cron", argv=["/usr/sbin/cron", "-f"], group="/system.slice/cron.service")
    process(tmp_path, 11, 10, "cron", argv=["/usr/sbin/CRON", "-f"], group="/system.slice/cron.service")
    process(tmp_path, 12, 11, "sh", argv=["/bin/sh", "-c", "cd /srv && backup"])
    process(tmp_path, 13, 11, "cleanup", argv=["/bin/sh", "/usr/local/bin/cleanup", "--older", "30"])
    process(tmp_path, 14, 1, "cleanup", argv=["/bin/sh", "/usr/local/bin/cleanup", "--older", "30"])
    process(
        tmp_path,
        15,
        1,
        "cleanup",
        argv=["/usr/local/bin/cleanup", "--older", "30"],
        group="/system.slice/crond.service",
    )
    found = of_cron(["cd /srv && backup", "/usr/local/bin/cleanup --older 30 >/dev/null 2>&1"], str(tmp_path))
    assert [one["pid"] for one in found] == [12, 13, 15]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("A=b /bin/x 'a b' >/dev/null", ["/bin/x", "a b"]),
        ("/bin/x; /bin/y", ["/bin/x"]),
        ("/bin/x %stdin", ["/bin/x"]),
        ("/bin/x 'unclosed", []),
    ],
)
def test_the_first_command_of_an_entry_is_read(command, expected):
    assert words(command) == expected


def test_a_script_that_really_runs_is_found_and_waited_for(tmp_path):
    script = tmp_path / "job"
    script.write_text("#!/bin/sh\nsleep 1.5\ntrue\n")
    script.chmod(0o755)
    running = subprocess.Popen([str(script)])
    time.sleep(0.2)
    found = of_scripts([str(script)])
    assert running.pid in [one["pid"] for one in found]

    def still():
        running.poll()
        return of_scripts([str(script)])

    left, waited = batch_jobs.wait_until_idle(still, 10)
    assert left == []
    assert 0.5 < waited < 6


def test_waiting_ends_at_the_limit_and_says_what_still_runs():
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    left, waited = batch_jobs.wait_until_idle(lambda: [{"pid": 1, "command": "x"}], 3, lambda: now[0], sleep)
    assert (left, waited) == ([{"pid": 1, "command": "x"}], 3.0)
