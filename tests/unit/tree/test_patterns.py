# SPDX-License-Identifier: GPL-3.0-or-later
"""Exclude patterns mean what they mean to rsync, which is asked."""

import os
import subprocess

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.tree.errors import TreeError
from ansible_collections.seamless.migration.plugins.module_utils.tree.patterns import Excludes, relative
from hypothesis import given, settings
from hypothesis import strategies as st

FILES = [
    "a", "b", "ab", "abc", "a.tmp", "x/a", "x/b", "x/ab/a", "x/ab/abc", "x/y/a", "x/y/ab/b", "y/x/a", "y/x/y/x/a",
    "a b", "a-b", "[a]", "a*", "x/[a]", "dir/a", "dir/dir/a", "dir/x/dir/b", "x/dir/a", "bb/c", "back\\slash",
    "x/back\\slash",
    "cache/x/a", "x/cache/a", "x/cachet", "!a", "^a", "]", "x/]",
]  # fmt: skip
PATTERNS = [
    "a", "/a", "a/", "/x", "x/", "/x/", "x/a", "/x/a", "x/y", "*", "/*", "*.tmp", "a*", "?", "??", "[ab]", "[!a]",
    "[^a]", "[a-b]c", "[]]", "[a-]", "\\*",
    "a\\*", "\\[a]", "[[]a]", "back\\slash", "x/*", "/x/*", "x/*/a", "**", "/**",
    "**/a", "x/**", "/x/**", "x/**/a",
    "**a", "a**", "x**a", "dir/***", "/dir/***", "x/***", "*/***", "cache/",
    "*/cache/",
    "/*/cache/", "ab/a", "ab", "x/ab/", "y/x/a", "/y/x/a", "x/y/*/b", "?/a",
    "x?a", "[!x]/a", "back?slash",
    "back\\\\sl*", "a b", "a ?", "b/*", "dir/x", "dir/*/dir", "**/dir/***", "x/**/", "**/",
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("tree"))
    for name in FILES:
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.exists(path):
            with open(path, "w", encoding="ascii"):
                pass
    return root


def of_rsync(root, patterns):
    argv = ["rsync", "-nr", "--out-format=%n"] + ["--exclude=" + pattern for pattern in patterns]
    done = subprocess.run([*argv, root + "/", "/nowhere/"], stdout=subprocess.PIPE, text=True, check=True)
    return sorted(line.rstrip("/") for line in done.stdout.splitlines() if line != "./" and not line.startswith("cre"))


def ours(root, patterns):
    excludes, found = Excludes(patterns), []
    for folder, folders, files in os.walk(root):
        for names, directory in ((folders, True), (files, False)):
            for name in list(names):
                path = os.path.relpath(os.path.join(folder, name), root)
                if excludes.match(os.fsencode(path), directory):
                    if directory:
                        folders.remove(name)
                else:
                    found.append(path.replace("\\#", "\\#134#"))
    return sorted(found)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_leaves_out_what_rsync_leaves_out(tree, pattern):
    assert ours(tree, [pattern]) == of_rsync(tree, [pattern])


@settings(max_examples=60, deadline=None)
@given(pattern=st.text(alphabet="abxy/*?[]!-\\", min_size=1, max_size=7))
def test_any_pattern_means_the_same_to_rsync_or_is_refused(tree, pattern):
    try:
        mine = ours(tree, [pattern])
    except TreeError:
        return
    assert mine == of_rsync(tree, [pattern])


def test_below_an_excluded_directory_everything_is_left_out():
    excludes = Excludes(["/x/cache/"])
    assert excludes.match_below(b"x/cache/deep/file", False)
    assert not excludes.match_below(b"x/cachet", False)


def test_our_own_names_are_left_out_in_the_root_only():
    excludes = Excludes()
    assert excludes.match(b".seamless-sentinel", False)
    assert not excludes.match(b"sub/.seamless-sentinel", False)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/",
        "- a",
        "+ a",
        "merge file",
        ". file",
        "a\nb",
        "[a",
        "[[:alpha:]]",
        "a***",
        "a***b",
        "!",
        "P a",
        "x[/]a",
        "[b-a]",
    ],
)
def test_what_rsync_reads_otherwise_is_refused(pattern):
    with pytest.raises(TreeError, match="Exclude pattern"):
        Excludes([pattern])


@pytest.mark.parametrize(
    ("given_path", "path"), [(b"a/b", b"a/b"), (b"./a//b/", b"a/b"), (b"/a", b"a"), (b".", b"."), (b"./", b".")]
)
def test_paths_of_lists_are_made_relative(given_path, path):
    assert relative(given_path) == path


def test_a_path_that_leaves_the_tree_is_refused():
    with pytest.raises(TreeError, match="leaves the tree"):
        relative(b"a/../../etc/passwd")
