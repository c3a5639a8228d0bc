# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of one tree dealt over workers, each a job of its own with real rsyncs, and what becomes of lost ones."""

import os
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.rsync import binary, deal, job, partitions
from ansible_collections.seamless.migration.plugins.module_utils.rsync.bulk_task import Task
from ansible_collections.seamless.migration.plugins.modules import bulk_copy, bulk_deal


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


class Migration:
    """A source, a target, and workers that see the source at another path."""

    def __init__(self, folder):
        self.src, self.dest, self.mount = folder / "src", folder / "dest", folder / "mount"
        self.folder = folder
        for number in range(120):
            write(self.src / ("d%d" % (number % 5)) / ("f%d" % number), b"%d" % number * 1000)
        for number in range(6):
            for other in ("a", "b"):
                os.link(str(self.src / "d0" / ("f%d" % (number * 5))), str(self.src / ("%s%d" % (other, number))))
        os.setxattr(str(self.src / "d1/f1"), "user.colour", b"blue")
        os.symlink("d1", str(self.src / "link"))
        os.utime(str(self.src / "d3"), ns=(5, 1234567890123456789))
        (self.src / ".seamless-sentinel").write_text("m data\n")
        os.symlink(str(self.src), str(self.mount))

    def options(self, **given):
        found = {name: spec.get("default") for name, spec in bulk_copy.argument_spec().items()}
        found.update(src=str(self.src), dest=str(self.dest), job="data", sentinel=".seamless-sentinel", workers=2,
                     partition_files=10, partitioner="walk", state_dir=str(self.folder / "source"))
        return dict(found, **given)

    def source(self, mode, **given):
        return Task(self.options(mode=mode, **given)).perform()

    def deal(self, *workers, results=(), limit=0):
        spec = bulk_deal.argument_spec()
        found = {name: options.get("default") for name, options in spec.items()}
        found.update(job="data", workers=list(workers), results=list(results), bwlimit_kib_per_s=limit,
                     state_dir=str(self.folder / "source"))
        return deal.perform(found)

    def worker_options(self, name, dealt, **given):
        return self.options(mode="lists", src=str(self.mount), job="data.worker", deal=dealt["deal"], lease=900,
                            bwlimit_kib_per_s=dealt["bwlimit_kib_per_s"], state_dir=str(self.folder / name), **given)

    def copy(self, name, dealt, **given):
        """Let a worker copy what it was dealt. Returns what bulk_deal takes of it."""
        return self.part(name, Task(self.worker_options(name, dealt, **given)).perform())

    def job(self, name):
        return job.Job("data.worker", str(self.folder / name))

    @staticmethod
    def part(name, answer):
        keys = ("state", "deal", "lists_done", "files", "bytes", "seconds")
        return dict({key: answer[key] for key in keys}, worker=name)

    def rounds(self, *workers):
        """Deal until nothing is left. Returns how many rounds it took."""
        dealt, results, count = self.deal(*workers), [], 0
        while dealt["deals"]:
            results = [self.copy(name, one) for name, one in dealt["deals"].items()]
            dealt, count = self.deal(*dealt["workers"], results=results), count + 1
        return count

    def shown(self, top):
        """Everything that has to be equal."""
        seen, groups = {}, {}
        for folder, folders, names in sorted(os.walk(str(top))):
            for name in sorted(folders + names) + [""]:
                path = os.path.join(folder, name).rstrip("/")
                status, key = os.lstat(path), os.path.relpath(path, str(top))
                if key.startswith(".seamless-"):
                    continue
                content = None
                if os.path.islink(path):
                    content = os.readlink(path)
                elif os.path.isfile(path):
                    with open(path, "rb") as stream:
                        content = stream.read()
                first = groups.setdefault(status.st_ino, key)
                attributes = os.listxattr(path, follow_symlinks=False)
                seen[key] = (status.st_mode, status.st_mtime_ns, content, attributes, first)
        return seen


@pytest.fixture
def move(tmp_path):
    return Migration(tmp_path)


def test_two_workers_and_the_source_copy_all_of_a_tree_and_its_hard_links(move):
    assert move.source("cut")["state"] == "done"
    assert move.deal("one", "two")["deals"].keys() == {"one", "two"}
    move.rounds("one", "two")
    answer = move.source("full")
    assert answer["state"] == "done"
    assert move.shown(move.dest) == move.shown(move.src)
    assert os.getxattr(str(move.dest / "d1/f1"), "user.colour") == b"blue"
    assert not (move.src / ".seamless-lists").exists()
    assert not (move.dest / ".seamless-lists").exists()
    again = move.source("cut")
    assert (again["changed"], move.deal("one")["deals"]) == (False, {})
    assert move.source("full")["changed"] is False


def test_workers_copy_contents_and_the_source_only_what_they_cannot_see(move):
    move.source("cut")
    dealt = move.deal("one")
    part = move.copy("one", dealt["deals"]["one"])
    assert part["files"] == 120                        # the other names of a file are no transfers
    assert os.listxattr(str(move.dest / "d1/f1")) == []
    assert not os.path.lexists(str(move.dest / "link"))
    move.deal("one", results=[part])
    assert move.source("full")["files"] == part["files"]   # all of it by the worker
    assert move.shown(move.dest) == move.shown(move.src)


def test_the_lists_of_a_worker_that_is_lost_are_dealt_to_the_others_and_not_written_in_place_again(move):
    move.source("cut")
    first = move.deal("one", "two")
    lost = {entry[0] for entry in first["deals"]["one"]["deal"]["lists"]}
    done = move.copy("two", first["deals"]["two"])
    results = [done, {"worker": "one", "state": "lost", "deal": None, "lists_done": [], "files": 0, "bytes": 0,
                      "seconds": 0}]
    found = set()
    second = move.deal("one", "two", results=results)
    assert second["workers"] == ["two"]
    while second["deals"]:
        lists = second["deals"]["two"]["deal"]["lists"]
        found |= {entry[0] for entry in lists if entry[4]}
        second = move.deal("two", results=[move.copy("two", second["deals"]["two"])])
    assert lost <= found
    move.source("full")
    assert move.shown(move.dest) == move.shown(move.src)


def test_what_a_worker_did_of_its_lists_before_it_failed_is_not_dealt_again(move):
    move.source("cut")
    dealt = move.deal("one")["deals"]["one"]
    numbers = [entry[0] for entry in dealt["deal"]["lists"]]
    part = {"worker": "one", "state": "failed", "deal": dealt["deal"]["id"], "lists_done": numbers[:2], "files": 20,
            "bytes": 1000, "seconds": 1.0}
    again = move.deal("one", results=[part])["deals"]["one"]["deal"]["lists"]
    assert not {entry[0] for entry in again} & set(numbers[:2])


def test_a_worker_that_fails_without_a_single_list_is_dealt_nothing_more():
    said = [("a", "failed", []), ("b", "failed", [1]), ("c", "lost", []), ("d", "done", []), ("f", "ended", [])]
    results = [{"worker": name, "state": state, "lists_done": done} for name, state, done in said]
    assert deal.able(list("abcdef"), results) == ["b", "d", "e", "f"]


def test_a_list_that_nobody_could_copy_is_left_to_the_source(move):
    move.source("cut")
    rounds = 0
    while move.deal("one")["deals"]:
        rounds += 1
        assert rounds < 50
    assert move.source("full")["files"] == 120
    assert move.shown(move.dest) == move.shown(move.src)


def test_the_limit_is_shared_by_the_workers_of_a_round(move):
    move.source("cut")
    dealt = move.deal("one", "two", "three", limit=3000)["deals"]
    assert [one["bwlimit_kib_per_s"] for one in dealt.values()] == [1000, 1000, 1000]
    assert [one["bwlimit_kib_per_s"] for one in move.deal("one", limit=3000)["deals"].values()] == [3000]


def test_the_faster_worker_is_dealt_more(move):
    move.source("cut")
    books = deal.Books(job.Job("data", str(move.folder / "source")))
    books.kept["rates"] = {"slow": 1.0, "fast": 3.0}
    hands = books._dealt(books.left(), ["slow", "fast"])
    assert len(hands["fast"]) >= 2 * len(hands["slow"])


def test_a_round_deals_half_of_what_is_left_of_a_large_tree(move):
    move.source("cut")
    books = deal.Books(job.Job("data", str(move.folder / "source")))
    books.lists = {number: partitions.Partition(number, "f", 1000, 1 << 24) for number in range(1000)}
    assert len(books._this_round(books.left(), ["a", "b"])) == 250      # nobody was measured
    books.kept["rates"] = {"a": 1 << 20, "b": 1 << 20}
    assert len(books._this_round(books.left(), ["a", "b"])) == 500


def test_a_source_that_ends_in_the_middle_of_a_deal_goes_on(move):
    move.source("cut")
    dealt = move.deal("one", "two")
    part = move.copy("one", dealt["deals"]["one"])
    # the controller dies here: nothing was written down; the next run asks each worker first
    again = Task(move.worker_options("one", dealt["deals"]["one"], state="stopped")).perform()
    assert sorted(again["lists_done"]) == sorted(part["lists_done"])
    assert move.source("cut")["state"] == "done"
    later = move.deal("one", "two", results=[move.part("one", again)])
    numbers = {entry[0] for one in later["deals"].values() for entry in one["deal"]["lists"]}
    assert not numbers & set(part["lists_done"])


def test_a_copy_that_nobody_looks_at_ends_by_itself(move):
    write(move.src / "large", os.urandom(4 << 20))
    move.source("cut")
    dealt = move.deal("one")["deals"]["one"]
    dealt["bwlimit_kib_per_s"] = 50
    Task(dict(move.worker_options("one", dealt, state="started"), lease=2)).perform()
    end = time.time() + 30
    while move.job("one").running() and time.time() < end:
        time.sleep(0.1)
    progress = move.job("one").progress()
    assert progress["state"] == "stopped"
    assert "nobody has looked for 2 s" in progress["message"]


def test_a_worker_without_the_lists_says_where_it_looked(move):
    move.source("cut")
    dealt = move.deal("one")["deals"]["one"]
    dealt["deal"]["folder"] = ".seamless-lists/elsewhere"
    with pytest.raises(binary.RsyncError, match="Failed to find the lists of data.worker at .*/mount/.seamless-lists"):
        move.copy("one", dealt)


@pytest.mark.parametrize("folder", ["../etc", ".seamless-lists/..", ".seamless-lists", ".seamless-lists/a/b", "x/y"])
def test_a_folder_of_lists_outside_of_theirs_is_refused(move, folder):
    move.source("cut")
    dealt = move.deal("one")["deals"]["one"]
    dealt["deal"]["folder"] = folder
    with pytest.raises(binary.RsyncError, match="is no folder of lists"):
        move.copy("one", dealt)


def test_dealing_before_the_tree_is_cut_says_what_is_missing(move):
    with pytest.raises(binary.RsyncError, match="run bulk_copy with mode=cut first"):
        move.deal("one")


def test_what_the_source_began_alone_and_what_is_there_already_is_never_written_in_place(move):
    write(move.src / "large", os.urandom(2 << 20))
    Task(move.options(state="started", bwlimit_kib_per_s=20)).perform()
    end = time.time() + 30
    while not (move.dest / "d0").exists() and time.time() < end:
        time.sleep(0.05)
    Task(move.options(state="stopped")).perform()
    move.source("cut")
    dealt = move.deal("one")["deals"]["one"]
    assert dealt["deal"]["fresh"] is False
    move.deal("one", results=[move.copy("one", dealt)])
    move.source("full")
    assert move.shown(move.dest) == move.shown(move.src)


def test_another_mode_of_a_running_job_is_refused(move):
    write(move.src / "large", os.urandom(2 << 20))
    Task(move.options(state="started", bwlimit_kib_per_s=50)).perform()
    try:
        with pytest.raises(binary.RsyncError, match="does something else .mode=full."):
            move.source("cut")
    finally:
        Task(move.options(state="stopped")).perform()


def test_a_directory_that_cannot_be_read_is_told_in_the_end_although_the_run_that_saw_it_is_over(move):
    source = job.Job("data", str(move.folder / "source"))
    move.source("cut")
    source.append("unreadable", {"path": "d9", "reason": "Permission denied"})
    with pytest.raises(binary.RsyncError, match="Failed to copy 1 paths of .* first d9 .Permission denied"):
        move.source("full")
