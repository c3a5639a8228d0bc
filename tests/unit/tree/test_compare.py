# SPDX-License-Identifier: GPL-3.0-or-later
"""Two trees are equal only when they are: each single change is found, by each way of comparing."""

import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.tree import compare, manifest
from ansible_collections.seamless.migration.plugins.module_utils.tree import daemon as daemon_of_tree
from ansible_collections.seamless.migration.plugins.module_utils.tree.compare import Job, Rules
from ansible_collections.seamless.migration.plugins.module_utils.tree.errors import TreeError
from ansible_collections.seamless.migration.plugins.module_utils.tree.manifest import Manifest, Plan, make
from hostile_names import HOSTILE
from loopback_daemon import Daemon

NAME = b"deep/er/new\nline"


def acl():
    """The attribute for u::rw-,u:1234:r--,g::r--,m::rw-,o::r--."""
    entries = [(1, 6, 0xFFFFFFFF), (2, 4, 1234), (4, 4, 0xFFFFFFFF), (16, 6, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def keeping_mtime(path, change):
    status = os.lstat(path)
    change(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def flip_a_byte(path):
    def flip(name):
        with open(name, "r+b") as stream:
            first = stream.read(1)
            stream.seek(0)
            stream.write(bytes([first[0] ^ 1]))

    keeping_mtime(path, flip)


def break_link(path):
    """The same file by content and attributes, no longer one with its other names."""
    shutil.copy2(path, path + b".new")
    os.rename(path + b".new", path)
    os.utime(os.path.dirname(path), ns=(0, 0))


def retarget(path):
    target = os.readlink(path)
    os.unlink(path)
    os.symlink(target[:-1] + b"x", path)


def replace_by_folder(path):
    os.unlink(path)
    os.mkdir(path)


# What is done to one entry of the other tree -> what has to be found of that entry.
CHANGES = {
    "mode": (NAME, lambda path: os.chmod(path, 0o4755), "different", {"mode"}),
    "owner": (NAME, lambda path: os.chown(path, 4321, -1), "different", {"owner"}),
    "group": (NAME, lambda path: os.chown(path, -1, 4321), "different", {"group"}),
    "mtime": (NAME, lambda path: os.utime(path, (1, 1)), "different", {"mtime"}),
    "a nanosecond": (
        NAME,
        lambda path: os.utime(path, ns=(1, os.lstat(path).st_mtime_ns + 1)),
        "different",
        {"mtime"},
    ),
    "xattr": (NAME, lambda path: os.setxattr(path, "user.x", b"1"), "different", {"xattr"}),
    "ACL": (NAME, lambda path: os.setxattr(path, "system.posix_acl_access", acl()), "different", {"acl", "mode"}),
    "size": (NAME, lambda path: keeping_mtime(path, lambda name: os.truncate(name, 3)), "different", {"size"}),
    "lost": (NAME, os.unlink, "lost", {"file"}),
    "extra": (b"deep/\xfe", os.mkdir, "extra", {"directory"}),
    "type": (NAME, replace_by_folder, "different", {"type"}),
    "link target": (b"link", retarget, "different", {"link"}),
    "hard link": (b"deep/three", break_link, "different", {"hard_links"}),
    "directory mode": (b"deep/er/empty", lambda path: os.chmod(path, 0o700), "different", {"mode"}),
    "root mode": (b".", lambda path: os.chmod(path, 0o700), "different", {"mode"}),
}


def job(trees, level="metadata", **more):
    plan = more.pop("plan", {})
    return Job(
        trees.source, Plan(level=level, workers=2, **plan), more.pop("dest", trees.dest), work_dir=trees.work, **more
    )


def found(result, path):
    text = compare.printable(path)
    return [(item["kind"], set(item["attributes"])) for item in result["differences"] if item["path"] == text]


def make_manifests(trees, level="metadata", **plan):
    paths = []
    for side in ("source", "dest"):
        path = os.path.join(trees.folder, side + ".manifest")
        make(getattr(trees, side), Plan(level=level, workers=2, **plan), path, trees.work)
        paths.append(path)
    return {"source_manifest": paths[0], "dest_manifest": paths[1]}


@pytest.mark.parametrize("level", ["metadata", "sample", "full"])
def test_equal_trees_are_equal_and_all_of_them_was_looked_at(trees, level):
    result = job(trees, level).run()
    assert result["equal"], result["differences"]
    files = 3 * len(HOSTILE) + 1 + 3
    assert result["counts"]["files"] == files
    # root, deep, er, empty folder, two links, fifo
    assert result["counts"]["entries"] == files + 7
    expected = {"metadata": 0, "sample": files - 1, "full": files}[level]  # an empty file needs no look inside
    assert result["counts"]["compared_files"] == expected


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_single_change_is_found(trees, change):
    path, break_it, kind, attributes = CHANGES[change]
    break_it(trees.at(path))
    result = job(trees).run()
    assert not result["equal"]
    kinds = found(result, path)
    assert kinds and kinds[0][0] == kind and attributes <= kinds[0][1]


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_single_change_is_found_in_manifests_alone(trees, change):
    path, break_it, kind, attributes = CHANGES[change]
    break_it(trees.at(path))
    result = job(trees, dest=None, **make_manifests(trees)).run()
    assert not result["equal"]
    assert found(result, path)[0][0] == kind and attributes <= found(result, path)[0][1]


@pytest.mark.parametrize("change", sorted(set(CHANGES) - {"root mode"}))
def test_a_single_change_of_what_was_touched_is_found_by_asking_the_daemon(trees, daemon, change):
    path, break_it, kind, attributes = CHANGES[change]
    names = [place + name for place in (b"", b"deep/", b"deep/er/") for name in HOSTILE]
    names += [b"deep/", b"link", b"one", b"two", b"deep/three", b"deep/er/empty", b"deep/\xfe", b"never/was", b"fifo"]
    more = {"dest": daemon.url, "password_file": daemon.password_file, "plan": {"files_from": trees.list(*names)}}
    assert job(trees, "touched", **more).run()["equal"]
    break_it(trees.at(path))
    result = job(trees, "touched", **more).run()
    assert not result["equal"]
    kinds = found(result, path)
    if change == "type":  # rsync only says that what the source has is not there
        assert kinds[0][0] == "lost"
    else:
        assert kinds[0][0] == kind and attributes - {"file", "directory", "acl"} <= kinds[0][1]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_changed_byte_under_any_name_is_found(trees, daemon, name):
    path = b"deep/" + name
    flip_a_byte(trees.at(path))
    assert job(trees).run()["equal"]  # metadata cannot see it
    for level in ("sample", "full"):
        assert found(job(trees, level).run(), path) == [("different", {"content"})]
    plan = {"files_from": trees.list(path, b"one")}
    assert found(job(trees, "touched", plan=plan).run(), path) == [("different", {"content"})]
    more = {"dest": daemon.url, "password_file": daemon.password_file, "plan": plan}
    result = job(trees, "touched", **more).run()
    assert found(result, path) == [("different", {"content"})]
    assert result["counts"]["compared_files"] == 2


def test_everything_lost_is_told_and_written_to_a_file(trees):
    shutil.rmtree(trees.dest)
    os.mkdir(trees.dest)
    trees.write(trees.dest, b"extra", b"")
    file = os.path.join(trees.folder, "differences")
    result = job(trees, differences_file=file).run()
    with open(file, encoding="ascii") as stream:
        items = [json.loads(line) for line in stream]
    lost = {os.fsencode(item["path"]) for item in items if item["kind"] == "lost"}
    assert {b"deep/" + name for name in HOSTILE} <= lost
    assert result["counts"]["lost"] == len(lost)
    assert result["counts"]["extra"] == 1
    assert os.stat(file).st_mode & 0o777 == 0o600


def test_the_first_hundred_are_shown_and_all_are_counted(trees):
    for number in range(130):
        trees.write(trees.dest, b"extra%d" % number, b"")
    result = job(trees).run()
    assert (len(result["differences"]), result["counts"]["extra"]) == (100, 130)


def test_what_is_excluded_is_not_compared(trees):
    trees.write(trees.dest, b"deep/x.tmp", b"")
    trees.write(trees.dest, b".seamless-canary-1", b"")
    os.mkdir(trees.at(b"cache"))
    trees.write(trees.dest, b"cache/file", b"")
    for name in (".", "deep"):
        shutil.copystat(os.path.join(trees.source, name), os.path.join(trees.dest, name))
    assert job(trees).run()["counts"]["extra"] == 3
    assert job(trees, plan={"exclude": ["*.tmp", "/cache/"]}).run()["equal"]


@pytest.mark.parametrize(
    ("ignore", "change"),
    [
        ("mode", lambda path: os.chmod(path, 0o600)),
        ("owner", lambda path: os.chown(path, 4321, -1)),
        ("group", lambda path: os.chown(path, -1, 4321)),
        ("mtime", lambda path: os.utime(path, (1, 1))),
        ("xattr", lambda path: os.setxattr(path, "user.x", b"1")),
    ],
)
def test_what_is_ignored_is_no_difference(trees, daemon, ignore, change):
    change(trees.at(b"one"))
    rules = Rules([ignore])
    assert not job(trees).run()["equal"]
    assert job(trees, rules=rules).run()["equal"]
    more = {"dest": daemon.url, "password_file": daemon.password_file, "plan": {"files_from": trees.list(b"one")}}
    assert not job(trees, "touched", **more).run()["equal"]
    assert job(trees, "touched", rules=rules, **more).run()["equal"]


def test_times_within_the_granularity_are_equal(trees):
    status = os.stat(trees.at(b"one"))
    os.utime(trees.at(b"one"), ns=(0, status.st_mtime_ns + 999))
    assert not job(trees, rules=Rules((), 999)).run()["equal"]
    assert job(trees, rules=Rules((), 1000)).run()["equal"]


def test_times_of_directories_and_links_count_by_the_second_unless_asked_for(trees, daemon):
    whole = os.stat(trees.source + "/deep").st_mtime_ns // 10**9 * 10**9
    for root, fraction in ((trees.source, 1), (trees.dest, 2)):
        os.utime(os.path.join(root, "deep"), ns=(0, whole + fraction))
        os.utime(os.path.join(root, "link"), ns=(0, whole + fraction), follow_symlinks=False)
    plan = {"files_from": trees.list(b"deep", b"link")}
    more = {"dest": daemon.url, "password_file": daemon.password_file, "plan": plan}
    assert job(trees).run()["equal"]
    assert job(trees, "touched", **more).run()["equal"]
    assert job(trees, rules=Rules((), 1, 1)).run()["counts"]["different"] == 2
    assert job(trees, "touched", rules=Rules((), 1, 1), **more).run()["counts"]["different"] == 2


def test_mtimes_of_directories_and_links_can_be_ignored_alone(trees):
    os.utime(trees.at(b"deep"), (1, 1))
    os.utime(trees.at(b"link"), (1, 1), follow_symlinks=False)
    assert found(job(trees, rules=Rules(["directory_mtime"])).run(), b"link")
    assert found(job(trees, rules=Rules(["link_mtime"])).run(), b"deep")
    assert job(trees, rules=Rules(["directory_mtime", "link_mtime"])).run()["equal"]


def test_a_sparse_copy_is_equal(trees):
    for root, sparse in ((trees.source, False), (trees.dest, True)):
        path = os.path.join(root, "big")
        with open(path, "wb") as stream:
            if sparse:
                stream.truncate(1 << 20)
            else:
                stream.write(bytes(1 << 20))
        os.utime(path, (5, 5))
    assert job(trees, "full").run()["equal"]


def test_a_hard_link_out_of_the_tree_is_no_difference(trees):
    os.link(trees.at(b"plain"), os.path.join(trees.folder, "outside"))
    assert job(trees).run()["equal"]


def test_other_manifests_than_alike_are_refused(trees):
    made = make_manifests(trees)
    make(trees.dest, Plan(exclude=["x"], workers=1), made["dest_manifest"], trees.work)
    with pytest.raises(TreeError, match="different options: exclude"):
        job(trees, dest=None, **made).run()


def test_a_manifest_that_was_cut_is_refused(trees):
    made = make_manifests(trees)
    size = os.path.getsize(made["dest_manifest"])
    for cut in (size - 1, size // 2, 10, 0):
        os.truncate(made["dest_manifest"], cut)
        with pytest.raises(TreeError, match=r"Make it again|make or fetch it again"):
            job(trees, dest=None, **made).run()


def test_a_manifest_cut_between_two_entries_is_refused(trees):
    path = make_manifests(trees)["dest_manifest"]
    with open(path, "rb") as stream:
        fields = stream.read().split(b"\0")
    with open(path, "wb") as stream:
        stream.write(b"\0".join(fields[:8]) + b"\0")
    with pytest.raises(TreeError, match="has no end"):
        list(Manifest(path).entries())


def test_the_manifest_in_the_root_is_fetched_through_the_daemon(trees, daemon):
    flip_a_byte(trees.at(b"one"))
    make(trees.dest, Plan("full", workers=1), os.path.join(trees.dest, ".seamless-manifest-x"), trees.work)
    more = {"dest": daemon.url, "password_file": daemon.password_file, "dest_manifest": ".seamless-manifest-x"}
    result = job(trees, "full", **more).run()
    assert found(result, b"one") == [("different", {"content"})]
    assert result["counts"]["different"] == 3  # the other names of that file too
    more["dest_manifest"] = ".seamless-manifest-y"
    with pytest.raises(TreeError, match="cannot be asked"):
        job(trees, "full", **more).run()


def test_a_daemon_that_is_too_old_for_exact_times_is_asked_without(trees, tmp_path):
    flip_a_byte(trees.at(b"one"))
    folder = tmp_path / "old"
    folder.mkdir()
    with Daemon(folder, trees.dest, extra="refuse options = modify-window") as old:
        more = {"dest": old.url, "password_file": old.password_file, "plan": {"files_from": trees.list(b"one")}}
        assert found(job(trees, "touched", **more).run(), b"one") == [("different", {"content"})]


def test_a_wrong_password_is_told(trees, daemon):
    with open(daemon.password_file, "w", encoding="ascii") as stream:
        stream.write("wrong\n")
    plan = {"files_from": trees.list(b"one")}
    with pytest.raises(TreeError, match="auth failed"):
        job(trees, "touched", dest=daemon.url, password_file=daemon.password_file, plan=plan).run()


def test_a_path_below_what_is_a_file_by_now_is_not_there_for_the_daemon(trees, daemon, tmp_path):
    asked = daemon_of_tree.Daemon(daemon.url, daemon.password_file, str(tmp_path))
    assert asked.existing([b"one", b"one/below", b"nowhere"]) == {b"one"}
    assert asked.differing(trees.source, [b"one", b"one/below"]) == {}
    os.symlink("loop", os.path.join(trees.dest, "loop"))
    with pytest.raises(TreeError, match="Too many levels"):
        asked.existing([b"one", b"loop/below"])


def test_a_folder_with_content_in_the_place_of_a_file_or_link_is_a_difference(trees, daemon):
    for name in (NAME, b"link"):
        path = os.path.join(os.fsencode(trees.dest), name)
        replace_by_folder(path)
        trees.write(trees.dest, name + b"/inside", b"x")
    plan = {"files_from": trees.list(NAME, b"link")}
    result = job(trees, "touched", dest=daemon.url, password_file=daemon.password_file, plan=plan).run()
    for name in (NAME, b"link"):
        assert found(result, name) == [("lost", set())]
        assert os.path.exists(os.path.join(os.fsencode(trees.dest), name, b"inside"))


def test_asking_the_daemon_changes_nothing(trees, daemon):
    shutil.rmtree(trees.at(b"deep"))
    trees.write(trees.dest, b"extra", b"x")
    before = subprocess.run(["find", trees.dest, "-printf", "%P %s %T@\n"], stdout=subprocess.PIPE, check=True).stdout
    plan = {"files_from": trees.list(b"extra", b"deep", b"deep/plain", b"gone")}
    result = job(trees, "touched", dest=daemon.url, password_file=daemon.password_file, plan=plan).run()
    assert (result["counts"]["lost"], result["counts"]["extra"]) == (2, 1)
    after = subprocess.run(["find", trees.dest, "-printf", "%P %s %T@\n"], stdout=subprocess.PIPE, check=True).stdout
    assert before == after


# --- samples


def test_both_sides_choose_the_same_sample_and_another_seed_another(trees):
    def chosen(side, seed):
        path = os.path.join(trees.folder, "m")
        make(getattr(trees, side), Plan("sample", sample=5, seed=seed, workers=2), path, trees.work)
        return {name for name, value in Manifest(path).entries() if value.split(b" ")[11] != b"-"}

    assert len(chosen("source", "a")) == 5
    assert chosen("source", "a") == chosen("dest", "a")
    assert chosen("source", "a") != chosen("source", "b")


def test_what_changed_since_is_in_the_sample(trees):
    flip_a_byte(trees.at(b"plain"))
    for root in (trees.source, trees.dest):
        os.utime(os.path.join(root, "plain"), (2000000000, 2000000000))
    plan = {"sample": 1, "changed_since_ns": 1999999999 * 10**9}
    made = make_manifests(trees, "sample", **plan)
    assert found(job(trees, "sample", dest=None, plan=plan, **made).run(), b"plain")


def test_a_change_that_kept_its_mtime_is_in_the_sample_by_its_ctime(trees, daemon):
    since = int(time.time() * 1e9)
    time.sleep(0.05)
    flip_a_byte(os.path.join(trees.source, "plain").encode())
    plan = {"sample": 1, "changed_since_ns": since}
    make(trees.dest, Plan("sample", workers=1, **plan), os.path.join(trees.dest, ".seamless-m"), trees.work)
    assert found(job(trees, "sample", plan=plan).run(), b"plain") == [("different", {"content"})]
    more = {"dest": daemon.url, "password_file": daemon.password_file, "dest_manifest": ".seamless-m"}
    assert found(job(trees, "sample", plan=plan, **more).run(), b"plain") == [("different", {"content"})]


def test_a_list_is_in_the_sample(trees):
    flip_a_byte(trees.at(NAME))
    plan = {"sample": 1, "seed": "s", "files_from": trees.list(NAME)}
    assert found(job(trees, "sample", plan=plan).run(), NAME) == [("different", {"content"})]


def test_content_that_one_side_only_was_asked_for_is_unproven(trees):
    plan = {"sample": 1, "files_from": trees.list(NAME)}
    made = make_manifests(trees, "sample", **plan)
    make(trees.dest, Plan("sample", sample=1, workers=1), made["dest_manifest"], trees.work)
    result = job(trees, "sample", dest=None, plan=plan, **made).run()
    assert not result["equal"] and result["counts"]["unproven"] == 1


# --- while it lives


def test_a_difference_that_is_mended_before_the_second_look_does_not_count(trees, daemon):
    made = make_manifests(trees)
    os.unlink(trees.at(NAME))
    os.utime(os.path.dirname(trees.at(NAME)), (1, 1))
    time.sleep(0.05)
    made["dest_manifest"] = make_manifests(trees)["dest_manifest"]
    trees.copy()
    for more in ({}, {"dest": daemon.url, "password_file": daemon.password_file}):
        result = job(trees, live=True, recheck_delay=0, **dict(made, **more)).run()
        assert result["equal"] and result["counts"]["unsettled"] == 0, result


@pytest.mark.parametrize("way", ["local", "daemon"])
def test_a_difference_that_stays_counts(trees, daemon, way):
    os.unlink(trees.at(NAME))
    flip_a_byte(trees.at(b"plain"))
    os.chmod(trees.at(b"empty"), 0o600)
    trees.write(trees.dest, b"extra", b"")
    os.utime(trees.at(b"quote'\"`$(x)"), ns=(0, os.stat(trees.at(b"quote'\"`$(x)")).st_mtime_ns + 1))
    time.sleep(0.05)
    made = make_manifests(trees, "full")
    if way == "daemon":
        made.update(dest=daemon.url, password_file=daemon.password_file)
    result = job(trees, "full", live=True, recheck_delay=0, **made).run()
    assert not result["equal"] and result["counts"]["unsettled"] == 0
    kinds = {item["path"]: (item["kind"], item["attributes"]) for item in result["differences"]}
    kinds.pop("deep/er", None)  # its mtime, for the entry that is lost
    assert kinds == {
        "deep/er/new\nline": ("lost", ["file"]),
        "plain": ("different", ["content"]),
        "empty": ("different", ["mode"]),
        "extra": ("extra", kinds["extra"][1]),
        "quote'\"`$(x)": ("different", ["mtime"]),
    }


@pytest.mark.parametrize("way", ["local", "daemon"])
def test_what_is_written_meanwhile_is_unsettled(trees, daemon, way):
    """Both passes began, then a file was written, and its copy has not arrived at the second look."""
    began = int(time.time() * 1e9)
    time.sleep(0.05)
    trees.write(trees.source, b"plain", b"written after the pass began")
    os.unlink(os.path.join(trees.source, "empty"))
    made = make_manifests(trees)
    with open(made["source_manifest"], "rb") as stream:
        fields = stream.read().split(b"\0")
    header = json.loads(fields[1].decode("ascii"))
    fields[1] = json.dumps(dict(header, started_ns=began)).encode("ascii")
    with open(made["source_manifest"], "wb") as stream:
        stream.write(b"\0".join(fields))
    os.unlink(trees.at(b"empty"))
    if way == "daemon":
        made.update(dest=daemon.url, password_file=daemon.password_file)
    unsettled = os.path.join(trees.folder, "unsettled")
    result = job(trees, live=True, recheck_delay=0, unsettled_file=unsettled, **made).run()
    assert result["equal"], result
    with open(unsettled, "rb") as stream:
        assert stream.read() == b"plain\0"
    assert not job(trees, **dict(made, dest=None)).run()["equal"]


def test_trees_that_are_written_all_the_time_do_not_differ(trees):
    """A writer and a live sync run; what they have not finished is unsettled, nothing counts."""
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            trees.write(trees.source, b"deep/live%d" % (number % 50), b"x" * (number % 997))
            if number % 7 == 0:
                os.unlink(os.path.join(trees.source, "deep", "live%d" % (number % 50)))
            if number % 40 == 0:
                argv = [
                    "rsync",
                    "-aHAX",
                    "--delete",
                    "--modify-window=-1",
                    "--exclude=/.seamless-*",
                    trees.source + "/",
                    trees.dest,
                ]
                subprocess.run(argv, check=False, stderr=subprocess.DEVNULL)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _round in range(3):
            result = job(trees, "full", live=True, recheck_delay=5).run()
            assert result["equal"], result["differences"]
    finally:
        stop.set()
        writer.join()
    subprocess.run(
        ["rsync", "-aHAX", "--delete", "--modify-window=-1", "--exclude=/.seamless-*", trees.source + "/", trees.dest],
        check=True,
    )
    assert job(trees, "full").run()["equal"]


def test_what_was_touched_is_looked_at_again_only_where_it_differs(trees, daemon):
    more = {"dest": daemon.url, "password_file": daemon.password_file, "live": True}
    plan = {"files_from": trees.list(b"plain", b"one", b"gone")}
    began = time.monotonic()
    assert job(trees, "touched", plan=plan, recheck_delay=30, **more).run()["equal"]
    assert time.monotonic() - began < 25
    flip_a_byte(trees.at(b"plain"))
    result = job(trees, "touched", plan=plan, recheck_delay=0, **more).run()
    assert found(result, b"plain") == [("different", {"content"})]


def test_a_file_that_changes_while_it_is_read_is_read_again_later(trees, monkeypatch):
    flip_a_byte(trees.at(b"plain"))
    real = manifest.content_hash
    monkeypatch.setattr(manifest, "content_hash", lambda full: b"~" if full.endswith(b"t/plain") else real(full))
    result = job(trees, "full").run()
    assert found(result, b"plain") == [("different", {"content"})]
    result = job(trees, "full", dest=None, **make_manifests(trees, "full")).run()
    assert not result["equal"] and result["counts"]["unproven"] == 1


# --- roots and what cannot be read


def test_a_root_that_is_missing_empty_or_no_mount_is_refused(trees, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / ".seamless-sentinel").write_text("only ours")
    with pytest.raises(TreeError, match="is empty"):
        manifest.check_root(str(empty))
    manifest.check_root(str(empty), may_be_empty=True)
    with pytest.raises(TreeError, match="Is it mounted"):
        manifest.check_root(str(tmp_path / "missing"))
    with pytest.raises(TreeError, match="not a mount point"):
        manifest.check_root(trees.source, require_mountpoint=True)
    with pytest.raises(TreeError, match="not a directory"):
        manifest.check_root(os.path.join(trees.source, "one"))
    manifest.check_root("/proc", require_mountpoint=True)


def test_what_cannot_be_read_is_a_finding(trees, monkeypatch):
    real = os.listdir

    def listdir(path):
        # Python 3.6 removes a tree by the listings of file descriptors.
        if not isinstance(path, int) and os.fsencode(path).endswith(b"source/deep/er"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    result = job(trees).run()
    assert not result["equal"]
    assert found(result, b"deep/er") == [("unreadable", {"source"})]


def test_a_worker_that_dies_is_told(trees, monkeypatch):
    monkeypatch.setattr(manifest._Worker, "_walk", lambda *_arguments: os._exit(9))
    with pytest.raises(TreeError, match="a worker process ended"):
        job(trees).run()


def test_what_a_killed_run_left_is_removed_by_the_next(trees):
    os.makedirs(os.path.join(trees.work, "tree-999999999-abc"))
    os.makedirs(os.path.join(trees.work, "tree-%d-abc" % os.getpid()))
    path = os.path.join(trees.folder, "m")
    for name in (path, path + ".77.tmp", path + ".77.tmp.other"):
        trees.write(trees.folder, os.fsencode(os.path.basename(name)), b"")
    job(trees).run()
    assert os.listdir(trees.work) == ["tree-%d-abc" % os.getpid()]
    manifest.remove(path)
    assert [name for name in os.listdir(trees.folder) if name.startswith("m")] == ["m.77.tmp.other"]


def test_a_daemon_that_does_not_answer_is_given_up(trees):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        url = "rsync://127.0.0.1:%d/data/" % silent.getsockname()[1]
        with pytest.raises(TreeError, match="cannot be asked"):
            job(trees, "touched", dest=url, timeout=1, plan={"files_from": trees.list(b"one")}).run()


def test_nothing_is_left_behind(trees):
    job(trees, "full").run()
    assert os.listdir(trees.work) == []


# --- the cache


def test_with_a_cache_nothing_is_read_twice_and_a_change_is_still_seen(trees):
    cache = os.path.join(trees.folder, "cache")
    path = os.path.join(trees.folder, "m")

    def totals():
        return make(trees.dest, Plan("full", workers=2, cache=cache), path, trees.work)["totals"]

    first = totals()
    assert first["hashed"] == first["files"] and first["reused"] == 0
    again = totals()
    assert again["hashed"] == 0 and again["reused"] == first["files"]
    flip_a_byte(trees.at(b"plain"))
    assert totals()["hashed"] == 1
    made = {"dest": None, "dest_manifest": path}
    assert found(job(trees, "full", **made).run(), b"plain") == [("different", {"content"})]


def test_a_broken_cache_is_made_again(trees):
    cache = os.path.join(trees.folder, "cache")
    trees.write(trees.folder, b"cache", b"this is no database" * 100)
    plan = Plan("full", workers=2, cache=cache)
    path = os.path.join(trees.folder, "m")
    assert make(trees.dest, plan, path, trees.work)["totals"]["reused"] == 0
    assert make(trees.dest, plan, path, trees.work)["totals"]["hashed"] == 0
