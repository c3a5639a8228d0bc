# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal survives what kills its writers, holds no secret, and its lock keeps a second run out."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.seamless.migration.plugins.module_utils import journal
from ansible_collections.seamless.migration.plugins.module_utils.journal import Journal, JournalError, Lock
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture
def record(tmp_path):
    return Journal.of(str(tmp_path / "state" / "deep"), "m1")


def permissions(path):
    return os.stat(path).st_mode & 0o777


def test_an_event_is_one_line_with_the_keys_of_the_schema(record):
    record.append("started", stage="copy", step="bulk", host="old", data={"n": 1})
    with open(record.path, encoding="ascii") as stream:
        lines = stream.read().splitlines()
    assert len(lines) == 1
    event = json.loads(lines[0])
    assert list(event) == ["at", "migration", "stage", "step", "host", "event", "data"]
    assert event["at"].endswith("Z") and len(event["at"]) == len("2026-01-01T00:00:00.000Z")
    assert (event["migration"], event["stage"], event["step"], event["host"]) == ("m1", "copy", "bulk", "old")
    assert event["data"] == {"n": 1}


def test_folders_are_for_the_owner_only_and_so_is_the_file(record):
    record.append("note")
    assert permissions(record.path) == 0o600
    assert permissions(os.path.dirname(record.path)) == 0o700
    assert permissions(os.path.dirname(os.path.dirname(record.path))) == 0o700


def test_a_folder_that_exists_keeps_its_mode(tmp_path):
    os.chmod(str(tmp_path), 0o750)
    Journal.of(str(tmp_path), "m1").append("note")
    assert permissions(str(tmp_path)) == 0o750


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", ".hidden", "a b", "ä"])
def test_a_name_that_cannot_be_a_file_is_refused(tmp_path, name):
    with pytest.raises(JournalError, match="migration is"):
        Journal.of(str(tmp_path), name)


def test_a_relative_folder_is_refused():
    with pytest.raises(JournalError, match="absolute path"):
        Journal.of("state", "m1").append("note")


def test_an_unknown_event_is_refused_and_nothing_is_written(record):
    with pytest.raises(JournalError, match="event is 'begun'"):
        record.append("begun")
    assert not os.path.exists(record.path)


def test_reading_without_a_file_gives_nothing(record):
    assert list(record.read()) == []
    assert record.state()["stages"] == {}
    assert record.last(event="note") is None


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(min_value=1, max_value=120), text=st.text(max_size=30))
def test_a_torn_line_is_never_read_and_the_next_write_mends_the_file(tmp_path_factory, cut, text):
    record = Journal.of(str(tmp_path_factory.mktemp("torn")), "m1")
    record.append("note", data={"first": text})
    whole = os.path.getsize(record.path)
    record.append("note", data={"second": text})
    size = os.path.getsize(record.path)
    os.truncate(record.path, max(whole, size - cut))
    assert [event["data"] for event in record.read()] == [{"first": text}]
    record.append("note", data={"third": text})
    with open(record.path, "rb") as stream:
        lines = stream.read().split(b"\n")
    assert lines.pop() == b""
    datas = [json.loads(line.decode("ascii"))["data"] for line in lines]
    # Only the newline was missing: the event itself is whole, and kept.
    second = [{"second": text}] if cut == 1 else []
    expected = [{"first": text}] + second + [{"third": text}]
    assert datas == expected
    assert [event["data"] for event in record.read()] == expected


def test_a_block_of_zeros_after_a_power_cut_is_cut_off(record):
    record.append("note", data={"n": 1})
    with open(record.path, "ab") as stream:
        stream.write(b"\0" * 200000)
    assert len(list(record.read())) == 1
    record.append("note", data={"n": 2})
    assert [event["data"]["n"] for event in record.read()] == [1, 2]
    assert os.path.getsize(record.path) < 1000


def test_a_damaged_line_in_the_middle_is_passed_over(record):
    record.append("note", data={"n": 1})
    with open(record.path, "ab") as stream:
        stream.write(b"{nonsense\n[1]\n\xff\xfe\n")
    record.append("note", data={"n": 2})
    assert [event["data"]["n"] for event in record.read()] == [1, 2]


def _write_many(path, number, count):
    for index in range(count):
        Journal(path).append("note", data={"writer": number, "index": index})


def test_writers_at_the_same_time_lose_no_event(record):
    workers = [multiprocessing.Process(target=_write_many, args=(record.path, number, 25)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seen = sorted((event["data"]["writer"], event["data"]["index"]) for event in record.read())
    assert seen == [(number, index) for number in range(4) for index in range(25)]


def test_a_killed_writer_leaves_a_journal_that_reads_and_takes_the_next_event(record):
    record.append("note", data={"n": "first"})
    worker = multiprocessing.Process(target=_write_many, args=(record.path, 0, 100000))
    worker.start()
    deadline = time.time() + 20
    while len(list(record.read())) < 20 and time.time() < deadline:
        time.sleep(0.01)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    record.append("note", data={"n": "last"})
    events = list(record.read())
    assert events[-1]["data"] == {"n": "last"}
    indexes = [event["data"]["index"] for event in events[1:-1]]
    assert len(indexes) >= 19
    assert indexes == list(range(len(indexes)))


def test_a_disk_that_takes_no_more_is_told(record):
    record.append("note")
    os.unlink(record.path)
    os.symlink("/dev/full", record.path)
    with pytest.raises(JournalError, match="Failed to write the journal"):
        record.append("note")


# --- secrets


@pytest.mark.parametrize(
    "key",
    ["password", "login_password", "rsyncSecret", "API_KEY", "key", "client_key", "token", "authTokens", "db-pwd"],
)
def test_a_key_that_looks_like_a_secret_is_one(key):
    assert journal.is_secret(key)


@pytest.mark.parametrize(
    "key", ["tables_without_primary_key", "password_file", "secrets_file", "monkey", "bypass", "files", "keyboard", ""]
)
def test_a_key_that_opens_nothing_is_no_secret(key):
    assert not journal.is_secret(key)


def test_no_secret_reaches_the_file(record):
    record.append(
        "note",
        data={
            "password": "hunter22",
            "nested": [{"api_key": ["hunter22"], "secrets": {"migration": "hunter22"}}],
            "url": "rsync://migration:hunter22@new:873/data",
            "command": ["rsync", "x-hunter22-y"],
            "secret_set": True,
        },
        secrets=["hunter22"],
    )
    with open(record.path, encoding="ascii") as stream:
        content = stream.read()
    assert "hunter22" not in content
    data = json.loads(content)["data"]
    assert data["url"] == "rsync://migration:********@new:873/data"
    assert data["command"] == ["rsync", "x-********-y"]
    assert data["secret_set"] is True


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(data=st.dictionaries(st.text(), VALUES))
def test_whatever_is_recorded_reads_back_as_what_was_masked(tmp_path_factory, data):
    record = Journal.of(str(tmp_path_factory.mktemp("any")), "m1")
    event = record.append("note", data=data)
    assert list(record.read()) == [event]


# --- what the journal says


def test_before_any_event_the_source_takes_the_writes(record):
    state = record.state()
    assert (state["side"], state["committed"], state["window"]["state"]) == ("source", False, "none")


def test_a_commit_moves_the_side_and_a_rollback_moves_it_back(record):
    record.append("committed", stage="storage_cutover")
    assert (record.state()["side"], record.state()["committed"]) == ("target", True)
    record.append("committed", stage="storage_rollback")
    assert (record.state()["side"], record.state()["committed"]) == ("source", False)
    record.append("committed", stage="anything", data={"side": "target"})
    assert record.state()["side"] == "target"


def test_what_was_started_and_not_ended_is_open(record):
    record.append("started", stage="cutover")
    record.append("started", stage="cutover", step="freeze")
    record.append("done", stage="cutover", step="freeze")
    record.append("started", stage="cutover", step="drain", host="old")
    state = record.state()
    assert [(item["step"], item["host"]) for item in state["open"]] == [(None, None), ("drain", "old")]
    assert state["stages"]["cutover"]["state"] == "started"
    assert state["stages"]["cutover"]["steps"]["freeze"]["state"] == "done"
    assert state["stages"]["cutover"]["steps"]["drain"]["hosts"] == {"old": "started"}


def test_a_stage_that_ends_closes_its_steps_but_a_commit_within_it_does_not(record):
    record.append("started", stage="cutover")
    record.append("started", stage="cutover", step="switch")
    record.append("committed", stage="cutover")
    assert len(record.state()["open"]) == 2
    record.append("done", stage="cutover")
    state = record.state()
    assert state["open"] == []
    assert state["stages"]["cutover"]["state"] == "done"
    assert state["stages"]["cutover"]["committed"]


def test_the_window_has_its_length(record, monkeypatch):
    times = iter(["2026-02-28T23:59:59.500Z", "2026-03-01T00:00:02.750Z"])
    monkeypatch.setattr(journal, "now", lambda: next(times))
    record.append("window_opened", stage="cutover")
    assert record.state()["window"]["state"] == "open"
    record.append("window_closed", stage="cutover")
    window = record.state()["window"]
    assert (window["state"], window["seconds"], window["stage"]) == ("closed", 3.25, "cutover")


def test_the_last_state_of_a_gate_counts(record):
    record.append("gate", data={"name": "lag", "state": "failed"})
    record.append("gate", data={"name": "lag", "state": "ok"})
    assert record.state()["gates"]["lag"]["state"] == "ok"


def test_the_tail_is_the_newest_events_in_order(record):
    for number in range(30):
        record.append("note", data={"n": number})
    assert [event["data"]["n"] for event in record.tail(4)] == [26, 27, 28, 29]
    assert record.tail(0) == []


# --- the lock


def run_of(process):
    return journal.owner_of(process.pid, user="alice@ops", playbook="storage_cutover")


@pytest.fixture
def other():
    """Another run that lives."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def lock(tmp_path):
    return Lock.of(str(tmp_path / "state"), "m1")


def me():
    return journal.owner_of(os.getpid(), user="bob@ops", playbook="storage_cutover")


def test_a_second_run_is_kept_out_and_told_by_whom(lock, other):
    assert lock.acquire(run_of(other)) is None
    with pytest.raises(JournalError) as caught:
        lock.acquire(me())
    text = str(caught.value)
    assert "process %d on %s" % (other.pid, os.uname().nodename) in text
    assert "alice@ops" in text and "storage_cutover" in text and "since 2" in text and "Wait" in text
    assert lock.owner()["pid"] == other.pid


def test_the_same_run_may_take_it_again(lock):
    assert lock.acquire(me()) is None
    assert lock.acquire(me()) is None
    assert permissions(lock.path) == 0o600


def test_the_lock_of_a_killed_run_is_taken_over(lock, other):
    lock.acquire(run_of(other))
    other.kill()  # not waited for: a zombie is dead as well
    deadline = time.time() + 10
    while lock.owner() and time.time() < deadline:
        time.sleep(0.01)
    assert lock.acquire(me())["pid"] == other.pid
    assert lock.owner()["pid"] == os.getpid()


def test_another_process_with_the_same_number_is_not_the_owner(lock, other):
    lock.acquire(dict(run_of(other), started=1))
    assert lock.owner() is None
    lock.acquire(me())


def test_the_lock_of_a_machine_that_booted_since_is_taken_over(lock, other):
    lock.acquire(dict(run_of(other), boot="another"))
    lock.acquire(me())


def test_a_run_on_another_controller_counts_as_alive(lock, other):
    lock.acquire(dict(run_of(other), host="elsewhere"))
    with pytest.raises(JournalError, match="remove .*m1.lock"):
        lock.acquire(me())


def test_only_the_owner_gives_the_lock_back(lock, other):
    assert not lock.release(me())
    lock.acquire(run_of(other))
    assert not lock.release(me())
    assert lock.owner()
    assert lock.release(run_of(other))
    assert lock.owner() is None
    lock.acquire(me())


def test_a_torn_lock_holds_nothing(lock):
    lock.acquire(me())
    os.truncate(lock.path, 10)
    assert lock.owner() is None
    assert lock.acquire(me()) is None


def _race(path, barrier, results):
    owner = journal.owner_of(os.getpid())
    barrier.wait()
    try:
        Lock(path).acquire(owner)
        results.put("got")
    except JournalError:
        results.put("refused")
    barrier.wait()


def test_of_many_runs_at_once_exactly_one_gets_it(lock):
    barrier, results = multiprocessing.Barrier(8), multiprocessing.Queue()
    runs = [multiprocessing.Process(target=_race, args=(lock.path, barrier, results)) for _unused in range(8)]
    for run in runs:
        run.start()
    outcome = sorted(results.get(timeout=30) for _unused in runs)
    for run in runs:
        run.join()
    assert outcome == ["got"] + ["refused"] * 7


def test_the_summary_has_the_last_measurement_of_each_step():
    def measured(at, **more):
        return dict({"at": at, "event": "measured", "stage": "s", "step": None, "host": None}, **more)

    found = journal.summary(
        [
            measured("2026-01-01T00:00:00.000Z", data={"n": 1}),
            measured("2026-01-01T00:00:01.000Z", data={"n": 2}),
            measured("2026-01-01T00:00:02.000Z", step="compare", data={"n": 3}),
            measured("2026-01-01T00:00:03.000Z", step="compare", host="one", data={"n": 4}),
        ]
    )
    assert found["measured"]["s"]["data"] == {"n": 2}
    assert found["measured"]["compare"] == {"at": "2026-01-01T00:00:02.000Z", "data": {"n": 3}}
