# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker finds what a migration lost, and nothing else."""

import json
import os
import threading
import time
from types import SimpleNamespace

import checker
import pytest
import seed
import tree_listing
import upload_service
import writer as writer_program

OLD, NEW = "10.0.0.1", "10.0.0.2"


class FakeLog:
    """Lines of a writer's log, made by hand."""

    def __init__(self):
        self.lines = [json.dumps({"event": "start", "prefix": "w"})]
        self.number = 0

    def did(self, operation, path, at=1.0, server=OLD, end="ok", **record):
        self.number += 1
        self.lines.append(json.dumps(dict(record, event="sent", seq=self.number, op=operation, path=path)))
        if end:
            self.lines.append(json.dumps({"event": end, "seq": self.number, "at": at, "server": server, "status": 404}))
        return self


def entries(log):
    return checker.Replay("w").feed(log.lines).entries


def listed(path, skip=()):
    return [json.dumps(entry) for entry in tree_listing.walk(os.fsencode(str(path)), b"", set(skip))]


@pytest.fixture
def service(tmp_path):
    """The real upload service on a tree of its own."""
    tree = tmp_path / "tree"
    tree.mkdir()
    server = upload_service.Server(("127.0.0.1", 0), upload_service.Tree(str(tree)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    client = writer_program.Client("127.0.0.1", server.server_address[1])
    yield SimpleNamespace(tree=tree, client=client, server=server)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def written(service, tmp_path, monkeypatch):
    """A tree after five hundred operations of a real writer, with the lines of its log."""
    # The tests may run as any user, and the service gives files that user's ownership.
    monkeypatch.setattr(checker, "OWNER", os.geteuid())
    log_path = tmp_path / "log.jsonl"
    made = writer_program.Writer(service.client, writer_program.Log(str(log_path)), "writers/w1", "7", 120)
    for folder in (b"writers", made.root):
        made._make_root(folder)
    made.log.write(event="start", prefix="writers/w1")
    for _unused in range(500):
        made.step()
    return SimpleNamespace(tree=service.tree, log=log_path, writer=made)


def judge(written, manifest=()):
    lines = written.log.read_text(encoding="ascii").splitlines()
    return checker.verdict({"w1": lines}, listed(written.tree), manifest)


def test_a_tree_that_lost_nothing_is_found_whole(written):
    result = judge(written)
    assert (result["lost"], result["different"], result["extra"]) == (0, 0, 0), result["paths"]
    assert result["ok"] and result["acknowledged"] > 450
    operations = {json.loads(line).get("op") for line in written.log.read_text(encoding="ascii").splitlines()}
    assert operations >= {"put", "append", "rename", "delete", "mkdir", "link", "symlink", "chmod"}


def some_file(written, size=1):
    for path in sorted(written.writer.files):
        whole = os.path.join(os.fsencode(str(written.tree)), path)
        if os.stat(whole).st_nlink == 1 and os.path.getsize(whole) >= size:
            return whole
    raise AssertionError("the writer left no such file")


def test_a_single_changed_byte_is_found(written):
    path = some_file(written, 10)
    with open(path, "r+b") as handle:
        byte = handle.read(1)
        handle.seek(0)
        handle.write(bytes([byte[0] ^ 1]))
    result = judge(written)
    assert (result["lost"], result["different"], result["extra"]) == (0, 1, 0)
    assert list(result["paths"]["different"].values()) == [["sha256"]]


def test_a_missing_file_an_extra_file_and_a_lost_rename_are_found(written):
    path = some_file(written)
    os.rename(path, path + b".other")
    result = judge(written)
    assert (result["lost"], result["different"], result["extra"]) == (1, 0, 1)
    assert result["paths"]["extra"] == [result["paths"]["lost"][0] + ".other"]
    assert not result["ok"]


def test_a_changed_mode_is_found(written):
    path = some_file(written)
    os.chmod(path, os.stat(path).st_mode ^ 0o010)
    assert list(judge(written)["paths"]["different"].values()) == [["mode"]]


def test_a_hard_link_that_became_a_copy_is_found(written):
    paths = {}
    for path, known in written.writer.files.items():
        paths.setdefault(id(known), []).append(os.path.join(os.fsencode(str(written.tree)), path))
    pair = next(group for group in paths.values() if len(group) > 1)
    mode = os.stat(pair[0]).st_mode
    with open(pair[0], "rb") as handle:
        content = handle.read()
    os.unlink(pair[0])
    with open(pair[0], "wb") as handle:
        handle.write(content)
    os.chmod(pair[0], mode)
    result = judge(written)
    assert result["different"] == len(pair)
    assert set(map(tuple, result["paths"]["different"].values())) == {("hard links are not one file",)}


def test_two_files_that_became_one_are_found():
    expected = {name: {"type": "file", "mode": 0o644, "size": 0, "sha256": "x"} for name in "ab"}
    actual = {name: dict(entry, inode="1:7") for name, entry in expected.items()}
    assert checker.compare(expected, actual)["different"] == {"b": ["one file with a"]}


def test_seed_data_that_lost_a_time_an_attribute_or_a_link_is_found(tmp_path):
    tree = tmp_path / "tree"
    if os.geteuid() != 0:
        pytest.skip("odd owners are root's to give")
    made = seed.Seeder(str(tree), "1").run(400)
    manifest = listed(tree)
    assert made >= 400
    assert checker.verdict({}, listed(tree), manifest)["ok"]
    os.utime(tree / "links" / "hard-0", ns=(1, 1))
    os.removexattr(tree / "attributes" / "xattr-1", b"user.empty")
    os.removexattr(tree / "attributes" / "acl-1", b"system.posix_acl_access")
    os.unlink(tree / "links" / "soft-2")
    result = checker.verdict({}, listed(tree), manifest)
    assert result["paths"]["lost"] == ["links/soft-2"]
    found = result["paths"]["different"]
    assert found["links/hard-0"] == ["mtime_ns"]
    assert found["attributes/xattr-1"] == ["xattrs"]
    assert "xattrs" in found["attributes/acl-1"]


def test_seed_data_is_the_same_for_the_same_seed(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("odd owners are root's to give")
    trees = [tmp_path / "one", tmp_path / "two"]
    for tree in trees:
        seed.Seeder(str(tree), "5").run(200)
    first, second = ({e["path"]: e.get("sha256") for e in map(json.loads, listed(tree))} for tree in trees)
    assert first == second


def test_an_unknown_overwrite_may_have_happened_or_not_or_in_part():
    log = FakeLog().did("put", "w/a", sha256="old", size=3).did("put", "w/a", sha256="new", size=5, end=None)
    replay = checker.Replay("w").feed(log.lines)
    for sha256, size in (("old", 3), ("new", 5), ("torn", 2)):
        actual = dict(replay.entries)
        actual["w/a"] = {"type": "file", "mode": 0o644, "uid": 2000, "gid": 2000, "sha256": sha256, "size": size}
        assert not any(checker.compare(replay.entries, actual, replay.either).values())
    gone = {path: entry for path, entry in replay.entries.items() if path != "w/a"}
    assert checker.compare(replay.entries, gone, replay.either)["different"]


def test_an_unknown_delete_may_have_happened_or_not():
    log = FakeLog().did("put", "w/a", sha256="x", size=3).did("delete", "w/a", end=None)
    replay = checker.Replay("w").feed(log.lines)
    before = dict(replay.entries)
    before["w/a"] = {"type": "file", "mode": 0o644, "uid": 2000, "gid": 2000, "sha256": "x", "size": 3}
    after = {path: entry for path, entry in before.items() if path != "w/a"}
    assert not any(checker.compare(replay.entries, before, replay.either).values())
    assert not any(checker.compare(replay.entries, after, replay.either).values())


def test_a_folder_takes_what_is_in_it_along_when_it_is_renamed():
    log = FakeLog().did("mkdir", "w/a").did("put", "w/a/b", sha256="x", size=1).did("put", "w/ab", sha256="y", size=1)
    log.did("rename", "w/a", to="w/c")
    assert sorted(entries(log)) == ["w", "w/ab", "w/c", "w/c/b"]


def test_an_overwritten_hard_link_changes_under_all_its_names():
    log = FakeLog().did("put", "w/a", sha256="x", size=1).did("link", "w/a", to="w/b")
    log.did("put", "w/b", sha256="y", size=2).did("delete", "w/b")
    assert entries(log)["w/a"]["sha256"] == "y"


def test_a_refused_operation_makes_the_verdict_bad_and_changes_nothing():
    log = FakeLog().did("put", "w/a", sha256="x", size=1).did("append", "w/a", end="refused", sha256="y", size=2)
    result = checker.verdict({"w": log.lines}, [])
    assert result["refused"] == 1 and not result["ok"]
    assert entries(log)["w/a"]["sha256"] == "x"


def test_the_window_is_the_time_between_the_last_of_the_old_and_the_first_of_the_new_server():
    one = [(1.0, OLD), (2.0, OLD), (5.5, NEW), (6.0, NEW), (9.0, OLD)]
    two = [(2.5, OLD), (4.0, NEW), (7.0, NEW), (8.0, OLD)]
    first, second = checker.windows([one, two])
    assert (first["from"], first["to"], second["to"]) == (OLD, NEW, OLD)
    assert (first["overall_s"], first["longest_s"]) == (1.5, 3.5)
    assert (second["overall_s"], second["longest_s"]) == (1.0, 3.0)


def test_two_servers_that_accept_at_the_same_time_are_told():
    logs = {}
    for name, switch in (("w", 2.0), ("x", 3.0)):
        log = FakeLog().did("mkdir", name + "/a", at=switch - 0.5)
        log.did("mkdir", name + "/b", at=switch, server=NEW)
        logs[name] = [line.replace('"prefix": "w"', '"prefix": "%s"' % name) for line in log.lines]
    result = checker.verdict(logs, [])
    assert result["two_servers_at_once"] and not result["ok"]


def test_a_log_that_ends_in_the_middle_of_a_line_is_read(written):
    with open(written.log, "a", encoding="ascii") as handle:
        handle.write('{"event": "se')
    assert judge(written)["ok"]


@pytest.mark.parametrize("path", [b"../x", b"a/../../x", b"a/./b", b"a\0b"])
def test_the_upload_service_refuses_paths_that_lead_out_of_the_tree(service, path):
    assert service.client.request("PUT", path, "", b"x")[0] == 400


def test_the_upload_service_does_not_follow_a_link_out_of_the_tree(service, tmp_path):
    (service.tree / "out").symlink_to(tmp_path)
    assert service.client.request("PUT", b"out/x", "", b"x")[0] == 400
    assert not (tmp_path / "x").exists()


def test_an_append_that_is_asked_twice_is_done_once(service):
    assert service.client.request("PUT", b"a", "", b"one")[0] == 200
    for _unused in range(2):
        assert service.client.request("POST", b"a", "?op=append&at=3", b"two")[0] == 200
    assert (service.tree / "a").read_bytes() == b"onetwo"


def test_a_sparse_file_has_its_size_and_its_content_at_the_end(service):
    for name, body in ((b"a", b"end"), (b"b", b"")):
        assert service.client.request("PUT", name, "?sparse=100000", body)[0] == 200
    assert (service.tree / "a").read_bytes() == bytes(99997) + b"end"
    assert (service.tree / "b").stat().st_size == 100000


def test_a_name_of_any_bytes_arrives_as_it_is(service):
    name = b"new\nline \xff\xfe 'quote' %20 + ? #"
    assert service.client.request("PUT", name, "", b"x")[0] == 200
    assert os.listdir(os.fsencode(str(service.tree))) == [name]


def test_a_writer_repeats_what_nobody_answered_and_loses_nothing(service, tmp_path, monkeypatch):
    log_path = tmp_path / "log.jsonl"
    made = writer_program.Writer(service.client, writer_program.Log(str(log_path)), "w", "1", 10)
    port = service.client.port
    service.client.port = 1  # nobody listens there
    timer = threading.Timer(0.2, setattr, (service.client, "port", port))
    timer.start()
    started = time.time()
    assert made.perform("PUT", b"a", "", b"x", op="put", sha256="", size=1)
    records = [json.loads(line) for line in log_path.read_text(encoding="ascii").splitlines()]
    assert [record["event"] for record in records] == ["sent", "unknown", "ok"]
    assert records[-1]["tries"] > 2 and started <= records[-1]["first_failed_at"] < records[-1]["at"]
    assert (service.tree / "a").read_bytes() == b"x"


def test_a_writer_takes_a_rename_for_done_that_was_done_at_an_unknown_try(service, tmp_path):
    made = writer_program.Writer(service.client, writer_program.Log(str(tmp_path / "log")), "w", "1", 10)
    (service.tree / "b").write_bytes(b"x")
    assert made.happened(404, {"op": "rename", "to": "b"})
    assert not made.happened(404, {"op": "rename", "to": "c"})
    assert made.happened(404, {"op": "delete"}) and not made.happened(404, {"op": "append"})
