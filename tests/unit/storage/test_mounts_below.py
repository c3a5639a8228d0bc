# SPDX-License-Identifier: GPL-3.0-or-later
"""A file system that was mounted below the source and is not any more looks like deleted files: nothing is deleted."""

import os
import subprocess
import sys

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError
from freeze_host import OPEN_AGAIN, own_namespace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "lsyncd"))

from guard_case import GuardCase  # noqa: E402 - after the path is set

DELETING = ("-r", "--delete")


@pytest.fixture
def inner(tmp_path):
    """Mount a file system at a path; what is still mounted at the end is taken down."""
    if os.geteuid() != 0:
        pytest.skip("needs root for mounts")
    own_namespace()
    mounted = []

    def mount(path, kind="tmpfs"):
        path.mkdir()
        subprocess.check_call(["mount", "-t", kind, kind, str(path)])
        mounted.append(path)
        return path

    yield mount
    for path in reversed(mounted):
        subprocess.call(["umount", "-l", str(path)], stderr=subprocess.DEVNULL)


@pytest.fixture
def case(tmp_path, inner):
    """A guard that has carried a tree with a file system in it."""
    made = GuardCase(tmp_path)
    made.inner = inner(made.source / "in ner")
    (made.inner / "precious").write_text("x")
    assert made.call(*DELETING) == 0
    assert made.paths("mounts") == {b"in ner"}
    return made


def test_the_guard_refuses_while_a_file_system_below_the_source_is_gone(case):
    subprocess.check_call(["umount", str(case.inner)])
    assert case.call(*DELETING) == 5
    assert case.call_list(b"/in ner/precious", b"/in ner/", b"/") == 5
    assert b"in ner any more: what was there would look deleted" in case.last.stderr
    assert (case.target / "in ner" / "precious").exists()


def test_the_guard_goes_on_when_it_is_back_or_known_to_be_gone_for_good(case):
    subprocess.check_call(["umount", str(case.inner)])
    assert case.call(*DELETING) == 5
    subprocess.check_call(["mount", "-t", "tmpfs", "tmpfs", str(case.inner)])
    assert case.call(*DELETING) == 0
    subprocess.check_call(["umount", str(case.inner)])
    (case.state / "mounts").unlink()
    assert case.call(*DELETING) == 0
    assert case.paths("mounts") == set()


def test_a_file_system_that_goes_during_the_run_makes_nothing_of_it_certain(case):
    case.fake_rsync("umount '%s'\nexit 0\n" % case.inner)
    assert case.call("-r") == 5
    assert case.paths("dirty") == {b"./"}


def test_the_freeze_refuses_before_anything_is_touched_and_goes_on_when_it_is_back(running, inner, tmp_path):
    path = os.path.join(running.tree, "inner")
    os.mkdir(path)
    running.touched("inner", kind="mounts")
    with pytest.raises(FreezeError, match="nothing is mounted at .*/inner any more"):
        running.run("frozen")
    assert running.open_again() == OPEN_AGAIN
    subprocess.check_call(["mount", "-t", "tmpfs", "tmpfs", path])
    assert running.run("frozen")["state"] == "drained"
