# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a database: each kind of harm is seen, and what may be either way is not called harm."""

import json

import pytest
from mysql_checker import both_writable, runs, verdict

ORDER = {"amount": "1.00", "note": None, "data": "FF", "version": 1}


class Log:
    """Writes a writer's log as mysql_writer.py does; time goes on by 10 ms at each line."""

    def __init__(self):
        self.lines = []
        self.now = 1000.0
        self.seq = 0

    def _add(self, **record):
        self.now += 0.01
        self.lines.append(json.dumps(dict(record, at=self.now)))

    def sent(self, *changes):
        self.seq += 1
        self._add(event="sent", seq=self.seq, changes=[list(change) for change in changes])
        return self

    def ok(self, server="old", **more):
        self._add(event="ok", seq=self.seq, server=server, began=self.now, **more)
        return self

    def refused(self, server="old"):
        self._add(event="refused", seq=self.seq, server=server, began=self.now)
        return self

    def unknown(self, server="old"):
        self._add(event="unknown", seq=self.seq, server=server, began=self.now)
        return self

    def order(self, ref, server="old", new_id=None, **columns):
        return self.sent(("orders", [ref], dict(ORDER, **columns))).ok(server, id=new_id or ref)


def order(ref, writer="w", **columns):
    return ("orders", writer, ref), dict(ORDER, id=ref, **columns)


def judged(log, rows, **options):
    return verdict({"w": log.lines}, rows, **options)


def test_rows_that_are_as_the_writers_were_told_are_a_clean_verdict():
    log = Log().order(1).order(2)
    log.sent(("orders", [1], dict(ORDER, version=2))).ok()
    log.sent(("orders", [2], None)).ok()
    found = judged(log, [order(1, version=2)])
    assert found["ok"]
    assert found["acknowledged"] == 4
    assert found["rows"] == 1


def test_an_acknowledged_row_that_is_not_there_is_lost():
    found = judged(Log().order(1).order(2), [order(1)])
    assert (found["lost"], found["ok"]) == (1, False)
    assert found["details"]["lost"] == [["orders", "w", 2]]


def test_a_row_that_is_there_twice_is_duplicated():
    again = (order(1)[0], dict(order(1)[1], id=9))
    found = judged(Log().order(1), [order(1), again])
    assert (found["duplicated"], found["lost"], found["different"], found["ok"]) == (1, 0, 0, False)


def test_an_update_that_did_not_come_along_is_different():
    log = Log().order(1)
    log.sent(("orders", [1], dict(ORDER, version=2, note="new"))).ok()
    found = judged(log, [order(1)])
    assert found["details"]["different"] == [["orders", "w", 1, ["note", "version"]]]
    assert not found["ok"]


def test_a_row_that_has_another_id_than_was_told_is_different():
    found = judged(Log().order(1, new_id=5), [order(1)])
    assert found["details"]["different"] == [["orders", "w", 1, ["id"]]]


def test_a_deleted_row_that_came_back_is_extra():
    log = Log().order(1)
    log.sent(("orders", [1], None)).ok()
    found = judged(log, [order(1)])
    assert (found["extra"], found["ok"]) == (1, False)


def test_a_row_that_nobody_wrote_is_extra():
    assert judged(Log().order(1), [order(1), order(7, writer="stranger")])["extra"] == 1


def test_half_a_transaction_is_lost():
    log = Log().sent(("orders", [1], ORDER), ("order_lines", [1, 1], {"sku": "a", "quantity": 2})).ok(id=1)
    found = judged(log, [order(1)])
    assert found["details"]["lost"] == [["order_lines", "w", 1, 1]]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("ending", ["told", "killed"])
def test_a_commit_of_unknown_outcome_may_be_there_or_not(there, ending):
    log = Log().order(1).sent(("orders", [2], ORDER))
    if ending == "told":
        log.unknown()
    found = judged(log, [order(1)] + ([order(2)] if there else []))
    assert found["ok"]
    assert found["unknown"] == 1


@pytest.mark.parametrize("version, accepted", [(1, True), (2, True), (3, False)])
def test_an_update_of_unknown_outcome_leaves_the_row_as_before_or_as_after(version, accepted):
    log = Log().order(1).sent(("orders", [1], dict(ORDER, version=2))).unknown()
    assert judged(log, [order(1, version=version)])["ok"] is accepted


def test_an_update_of_unknown_outcome_does_not_excuse_a_lost_row():
    log = Log().order(1).sent(("orders", [1], dict(ORDER, version=2))).unknown()
    found = judged(log, [])
    assert (found["different"], found["ok"]) == (1, False)


def test_what_is_known_again_after_an_unknown_outcome_must_be_there():
    log = Log().sent(("stock", ["a"], {"quantity": 1})).unknown()
    log.sent(("stock", ["a"], {"quantity": 2})).ok()
    assert judged(log, [(("stock", "w", "a"), {"quantity": 2})])["ok"]
    assert judged(log, [])["lost"] == 1
    log.sent(("stock", ["a"], None)).ok()
    assert judged(log, [(("stock", "w", "a"), {"quantity": 1})])["extra"] == 1


def test_a_statement_that_did_not_find_its_row_is_told():
    log = Log().order(1)
    log.sent(("orders", [1], dict(ORDER, version=2))).ok("new", missed=True)
    found = judged(log, [order(1, version=2)])
    assert (found["missed"], found["ok"]) == (1, False)


def test_a_seeded_table_that_changed_is_different():
    found = verdict({}, [], seeded=([10, 77], [10, 78]))
    assert (found["different"], found["rows"], found["ok"]) == (1, 10, False)
    assert verdict({}, [], seeded=([10, 77], [10, 77]))["ok"]


def test_the_last_line_of_a_killed_writer_may_be_half():
    log = Log().order(1)
    log.lines.append('{"event": "sen')
    assert judged(log, [order(1)])["ok"]


def switched():
    """A log of a switch: refused by the old server, then taken by the new one 40 ms after the last commit."""
    return Log().order(1).order(2).sent(("orders", [3], ORDER)).refused().refused().ok("new", id=3).order(4, "new")


def test_the_window_is_between_the_last_commit_on_the_old_and_the_first_on_the_new_server():
    found = judged(switched(), [order(ref) for ref in (1, 2, 3, 4)])
    assert found["window_ms"] == pytest.approx(40, abs=0.2)
    assert [(entry["from"], entry["to"]) for entry in found["windows"]] == [("old", "new")]
    assert not found["two_servers_at_once"]


def test_there_and_back_is_two_windows_and_not_two_servers_at_once():
    log = switched().sent(("orders", [5], ORDER)).refused("new").refused("new").refused("new").ok("old", id=5)
    log.order(6, "old")
    found = judged(log, [order(ref) for ref in range(1, 7)])
    assert found["ok"]
    assert [entry["window_ms"] for entry in found["windows"]] == pytest.approx([40, 50], abs=0.2)
    assert found["window_ms"] == found["windows"][-1]["window_ms"]


def test_without_a_switch_there_is_no_window():
    assert judged(Log().order(1), [order(1)])["window_ms"] is None


def test_writers_that_write_on_both_servers_at_once_are_told_although_no_row_is_lost():
    one, other = Log().order(1).order(2).order(3), Log()
    other.now = one.now - 0.055
    other.order(1, "new").order(2, "new")
    rows = [order(ref) for ref in (1, 2, 3)] + [order(ref, writer="v") for ref in (1, 2)]
    found = verdict({"w": one.lines, "v": other.lines}, rows)
    assert found["two_servers_at_once"]
    assert not found["ok"]
    assert (found["lost"], found["different"]) == (0, 0)
    assert found["both_writable"][0]["servers"] == ["new", "old"]


def test_writers_whose_connections_were_ended_at_the_fence_have_not_gone_on_writing_there():
    # Nobody is refused: what each asked for has an unknown outcome, and it goes to the other server, and later back.
    log = Log().order(1).order(2).sent(("orders", [3], ORDER)).unknown()
    log.order(4, "new").order(5, "new").sent(("orders", [6], ORDER)).unknown("new")
    log.order(7).order(8)
    found = judged(log, [order(ref) for ref in (1, 2, 4, 5, 7, 8)])
    assert found["both_writable"] == []
    assert found["ok"]


def took(server, began, ended):
    return (began, ended, server, True)


def refused(server, began, ended):
    return (began, ended, server, False)


def test_a_single_write_that_slips_through_while_the_other_server_is_on_is_seen():
    new = [took("new", number, number + 0.1) for number in range(10)]
    stray = [refused("old", 3.0, 3.1), took("old", 5.2, 5.3), refused("old", 6.0, 6.1)]
    assert [entry["from"] for entry in both_writable(new + stray)] == [5.2]


def test_a_commit_that_was_acknowledged_late_is_not_two_servers():
    # Asked for before the fence, acknowledged after the new server's first commit.
    events = [took("old", 0, 1), took("old", 1, 2), took("old", 1.5, 4.2), took("new", 3, 4), took("new", 4, 5)]
    assert both_writable(events) == []


def test_a_refusal_ends_a_run_and_a_later_success_begins_another():
    events = [took("old", 0, 1), took("old", 1, 2), refused("old", 3, 4), took("old", 5, 6)]
    assert [(run.start, run.end) for run in runs(events)] == [(1, 1), (6, 5)]


def test_an_answer_that_came_after_the_refusal_of_another_begins_no_run():
    # Two writers at the fence: one is refused, the other's commit of before is told a little later. After the way back
    # the first server takes writes again.
    old = [(0.0, 0.1, "old", True), (1.1, 1.2, "old", False), (1.1, 1.3, "old", True), (9.1, 9.2, "old", True)]
    new = [(2.0, 2.1, "new", True), (8.0, 8.1, "new", True)]
    assert both_writable(old + new) == []
    stray = (5.0, 5.1, "old", True)
    assert [entry["from"] for entry in both_writable([*old, stray, *new])] != []


def test_what_the_watcher_saw_counts_by_itself():
    watched = [took("old", 0, 1), took("old", 4, 5), took("new", 1, 2), took("new", 3, 4)]
    found = verdict({}, [], watched=watched)
    assert found["two_servers_at_once"]
    assert found["both_writable"] == [{"servers": ["new", "old"], "from": 2, "to": 3}]
