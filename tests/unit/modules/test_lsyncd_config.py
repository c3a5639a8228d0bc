# SPDX-License-Identifier: GPL-3.0-or-later
"""lsyncd_config as Ansible runs it, and the real lsyncd reading what it wrote."""

import json
import os
import shutil
import stat
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lsyncd_runner import run_module


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "target").mkdir()
    program = tmp_path / "rsync-guard"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return tmp_path


def options(place, **changes):
    sync = {
        "name": "data",
        "source": str(place / "tree"),
        "target": str(place / "target"),
        "delay": 1,
        "guard": {"sentinel_content": "files data\n", "max_delete": 5},
    }
    sync.update(changes.pop("sync", {}))
    given = {
        "path": str(place / "lsyncd.conf.lua"),
        "settings": {"log_file": str(place / "log"), "status_file": str(place / "status"), "status_interval": 1},
        "syncs": [sync],
        "guard_program": str(place / "rsync-guard"),
        "guard_folder": str(place / "guard"),
    }
    given.update(changes)
    return given


def run(place, check=False, **changes):
    return run_module("lsyncd_config", place, options(place, **changes), check=check)


def snapshot(place):
    return sorted((str(path.relative_to(place)), path.is_file() and path.read_bytes()) for path in place.rglob("*")
                  if path.name != "arguments.json")


def test_check_mode_tells_what_a_real_run_does_and_changes_nothing(place):
    before = snapshot(place)
    told = run(place, check=True)
    assert told["changed"] is True
    assert snapshot(place) == before
    done = run(place)
    assert done["changed"] is True
    assert done["diff"] == told["diff"]
    assert snapshot(place) != before


def test_the_second_run_changes_nothing(place):
    run(place)
    before = snapshot(place)
    again = run(place)
    assert (again["changed"], again["diff"]) == (False, [])
    assert snapshot(place) == before


def test_the_configuration_names_the_guard_and_the_guard_its_settings(place):
    result = run(place)
    content = (place / "lsyncd.conf.lua").read_text()
    assert 'binary = "%s"' % (place / "guard" / "data") in content
    assert os.readlink(str(place / "guard" / "data")) == str(place / "rsync-guard")
    settings = json.loads((place / "guard" / "data.json").read_text())
    assert settings["source"] == str(place / "tree")
    assert settings["sentinel"] == str(place / "tree" / ".seamless-sentinel")
    assert settings["max_delete"] == 5
    assert stat.S_IMODE(os.stat(str(place / "guard" / "data.json")).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(str(place / "guard")).st_mode) == 0o700
    assert result["validated_by"]
    assert result["version"] == "2.2.3"


def test_the_limits_are_counted_and_compared(place):
    limits = run(place)["limits"]
    assert limits["directories"] == 2
    assert limits["max_user_watches"] > 0
    assert limits["needed_queued_events"] == 1048576
    assert limits["sufficient"] is (not limits["short"])


def test_a_changed_delay_is_shown_in_the_diff(place):
    run(place)
    result = run(place, sync={"delay": 7})
    assert [entry["after_header"] for entry in result["diff"]] == [str(place / "lsyncd.conf.lua")]
    assert "delay = 7" in result["diff"][0]["after"]
    assert "delay = 1" in result["diff"][0]["before"]


def test_a_foreign_configuration_is_replaced_only_by_force_and_kept_as_a_copy(place):
    path = place / "lsyncd.conf.lua"
    path.write_text("sync{ default.rsync, source='/a', target='/b' }\n")
    refused = run(place)
    assert "was not written by this module" in refused["msg"]
    assert path.read_text().startswith("sync{")
    assert not (place / "guard").exists()
    done = run(place, force=True, backup=True)
    assert done["changed"] is True
    with open(done["backup_file"], encoding="utf-8") as copy:
        assert copy.read().startswith("sync{")


def test_absent_removes_what_present_wrote_and_nothing_else(place):
    run(place)
    (place / "guard" / "other.json").write_text("{}")
    result = run(place, state="absent", syncs=[])
    assert result["changed"] is True
    assert not (place / "lsyncd.conf.lua").exists()
    assert sorted(os.listdir(str(place / "guard"))) == ["other.json"]
    assert run(place, state="absent", syncs=[])["changed"] is False


def test_absent_leaves_a_foreign_configuration(place):
    (place / "lsyncd.conf.lua").write_text("sync{}\n")
    assert "was not written by this module" in run(place, state="absent", syncs=[])["msg"]


def test_a_sync_that_is_gone_takes_its_guard_along(place):
    run(place)
    run(place, syncs=[])
    assert os.listdir(str(place / "guard")) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sync": {"source": "/srv/a\nb"}}, "syncs[0].source has a newline"),
        ({"sync": {"exclude": ["a\n- b"]}}, "syncs[0].exclude[0] has a newline"),
        ({"settings": {"log_file": "/var/log\n/x"}}, "settings.log_file has a newline"),
        ({"path": "/etc/ly\ncd"}, "options.path has a newline"),
        ({"sync": {"rsync": {"deplay": 1}}}, "is no key of lsyncd 2.2.3"),
        ({"settings": {"onepass": True}}, "known to 2.2.4 and later"),
        ({"version": "1.9"}, "a version from 2.1.0 on"),
        ({"guard_program": "/nonexistent"}, "is not installed"),
    ],
)
def test_bad_options_are_refused_by_name_before_anything_is_touched(place, changes, message):
    before = snapshot(place)
    result = run(place, **changes)
    assert result.get("failed") is True
    assert message in result["msg"]
    assert snapshot(place) == before


@pytest.mark.parametrize("given", [True, "running"])
def test_deletion_takes_yaml_booleans_and_words(place, given):
    run(place, sync={"delete": given})
    expected = "delete = true" if given is True else 'delete = "running"'
    assert expected in (place / "lsyncd.conf.lua").read_text()


@pytest.mark.skipif(not shutil.which("lsyncd"), reason="no lsyncd on this machine")
def test_the_real_lsyncd_takes_the_configuration_with_every_key(place):
    flags = ("acls append backup checksum copy_dirlinks copy_links cvs_exclude executability existing group hard_links "
             "ignore_times inplace keep_dirlinks links omit_dir_times omit_link_times one_file_system owner perms "
             "protect_args prune_empty_dirs quiet sparse times update whole_file xattrs")
    settings = {"log_file": str(place / "log"), "status_file": str(place / "status"), "status_interval": 1,
                "pid_file": str(place / "pid"), "nodaemon": True, "max_processes": 2, "max_delays": 10,
                "inotify_mode": "CloseWrite or Modify"}
    hostile = place / 'tree "quoted" \\ ]] %d'
    hostile.mkdir()
    run(place, settings=settings, sync={
        "source": str(hostile), "guard": None, "exclude": ["*.tmp", 'a"b'], "max_delays": 5,
        "rsync": dict({flag: False for flag in flags.split()}, timeout=30, suffix="~", _extra=["--numeric-ids"])})
    argv = ["lsyncd", str(place / "lsyncd.conf.lua")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.time() + 15
        while not (place / "log").exists() or "finished" not in (place / "log").read_text():
            assert process.poll() is None, process.stdout.read()
            assert time.time() < deadline
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(timeout=10)
