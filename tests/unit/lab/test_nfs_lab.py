# SPDX-License-Identifier: GPL-3.0-or-later
"""Writers that begin a new log at each start are one writer, and the demo counts what both of its halves lost."""

import json
import signal
import subprocess
import sys
import time

import checker
import nfs_writer
import pytest
from demokit import nfs, storage
from labkit import data


def log(prefix, *acknowledged):
    lines = [{"event": "start", "prefix": prefix, "at": 0}]
    for number, (at, server) in enumerate(acknowledged, 1):
        lines.append({"seq": number, "event": "sent", "path": prefix + "/%d" % number, "op": "mkdir", "at": at})
        lines.append({"seq": number, "event": "ok", "server": server, "at": at})
    return [json.dumps(line) for line in lines]


@pytest.mark.parametrize(
    "name, family",
    [("writers-nfs_client1-1-1795718427194", "writers-nfs_client1-1"), ("app1-2-12345", "app1-2-12345")],
)
def test_logs_of_a_unit_belong_together_and_those_of_others_stay_alone(name, family):
    assert data.family(name) == family


def test_the_window_of_a_writer_that_was_started_again_is_counted_over_its_logs():
    logs = {
        "writers-c-1-100": log("writers/c-1-100", (1.0, "old"), (2.0, "old")),
        "writers-c-1-200": log("writers/c-1-200", (7.5, "new"), (8.0, "new")),
    }
    assert checker.verdict(logs, [])["windows"] == []
    switch = checker.verdict(logs, [], family=data.family)["windows"]
    assert [(window["from"], window["to"], window["longest_s"]) for window in switch] == [("old", "new", 5.5)]


def judged(window, **more):
    found = {"files": 10, "bytes": 100, "acknowledged": 50, "lost": 0, "different": 0, "extra": 0}
    return dict(found, windows=[{"longest_s": window}], **more)


def test_the_demo_tells_the_longest_window_of_a_client_and_is_clean_only_when_both_halves_are():
    numbers = storage.summary(judged(1.0), judged(2.0), {})
    numbers.update(nfs.summary(judged(6.25), judged(4.0)))
    assert (numbers["clients"], numbers["client_window_s"]) == (2, 6.25)
    assert storage.clean(numbers)
    assert "6.25 s" in storage.show(numbers)
    numbers["nfs"]["different"] = 1
    assert not storage.clean(numbers)


def test_the_demo_says_why_it_has_no_clients():
    numbers = storage.summary(judged(1.0), judged(2.0), {})
    numbers.update({"clients": 0, "client_window_s": None, "clients_missing": "/dev/net/tun is missing"})
    assert storage.clean(numbers)
    assert "/dev/net/tun is missing" in storage.show(numbers)


def test_a_sparse_file_without_a_byte_of_content_has_its_size_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(nfs_writer, "server_of", lambda top: "10.0.0.1")
    mount = nfs_writer.Mount(str(tmp_path))
    assert mount.request("PUT", b"hole", "?sparse=4711") == (200, "10.0.0.1")
    assert (tmp_path / "hole").read_bytes() == bytes(4711)
    assert mount.request("PUT", b"hole", "?sparse=20", b"end")[0] == 200
    assert (tmp_path / "hole").read_bytes() == bytes(17) + b"end"


def test_a_writer_on_a_mount_rests_and_goes_on_when_it_is_told(tmp_path):
    program = [sys.executable, nfs_writer.__file__, "--log", str(tmp_path), "--top", str(tmp_path), "--prefix", "w/a"]
    with subprocess.Popen(program) as writer:
        assert wait_for(tmp_path, "start")
        # No mount is there: it tries to make its folder until it is ended, and none of these ends it.
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            writer.send_signal(number)
            time.sleep(0.2)
            assert writer.poll() is None
        writer.terminate()
        assert writer.wait(timeout=20) == 0


def wait_for(folder, event, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if any('"event": "%s"' % event in path.read_text() for path in folder.glob("*.jsonl")):
            time.sleep(0.3)  # its signals are set up right after that
            return True
        time.sleep(0.05)
    return False
