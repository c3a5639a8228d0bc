# SPDX-License-Identifier: GPL-3.0-or-later
"""Exactly what was broken on the new server was found from the old one."""

import json

import pytest

testinfra_hosts = ["ansible://storage_source"]

BROKEN = {
    "one/new\nline": ("different", ["content"]),
    "one/\\xff\\xfe": ("different", ["mode"]),
    "one/two/plain": ("different", ["owner"]),
    "one/17": ("different", ["xattr"]),
    "one/18": ("different", ["mtime"]),
    "one/two/quote'\"$(x)": ("lost", ["file"]),
}


@pytest.fixture
def found(host):
    return json.loads(host.file("/root/found.json").content_string)


def by_path(answer):
    return {item["path"]: (item["kind"], item["attributes"]) for item in answer["differences"]}


def test_every_broken_entry_is_found_and_nothing_else(found):
    paths = by_path(found["full"])
    assert paths.pop("one/extra\n")[0] == "extra"
    # The folders in which something was made or removed have another time.
    for folder in ("one", "one/two"):
        assert set(paths.pop(folder, ("different", ["mtime"]))[1]) == {"mtime"}
    assert paths == BROKEN
    assert found["full"]["equal"] is False
    assert found["full"]["counts"]["unsettled"] == 0


def test_the_content_of_every_file_was_compared(host, found):
    files = int(host.check_output("find /srv/files -type f -not -path '/srv/files/.seamless-*' -printf x | wc -c"))
    counts = found["full"]["counts"]
    assert counts["files"] == files
    assert counts["compared_files"] == files - 1  # one of them is lost


def test_asking_about_the_same_paths_without_manifests_finds_them_too(found):
    paths = by_path(found["touched"])
    assert {path: kind for path, (kind, _attributes) in paths.items() if path in BROKEN} == {
        path: kind for path, (kind, _attributes) in BROKEN.items()
    }
    assert paths["one/new\nline"][1] == ["content"]
    assert paths["one/extra\n"][0] == "extra"


def test_all_differences_are_in_a_file_of_root_only(host, found):
    file = host.file("/root/differences.jsonl")
    assert (file.user, file.mode) == ("root", 0o600)
    assert len(file.content_string.splitlines()) == len(found["full"]["differences"])
