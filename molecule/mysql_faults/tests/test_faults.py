# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever breaks during a switchover: never two writers, nothing that was acknowledged lost, and a way on.

Every test begins with both servers in a known state, breaks real things, and ends with the same verdict.
"""

import contextlib
import socket
import threading
import time
from pathlib import Path

import pymysql
import pytest
from bed import (
    FENCE,
    FORWARD,
    OPEN,
    REVERSE,
    UNREACHABLE,
    Writers,
    executed,
    paused,
    put_back,
    switched,
    transaction,
    verdict,
)

# --- the plain way -------------------------------------------------------------------------------------------------


def test_writes_move_and_come_back_and_none_is_lost(bed):
    with Writers(bed) as writers:
        assert switched(bed.switch())
        writers.wait_for_writes(100)
        bed.follow(bed.new, bed.old, FORWARD)
        assert switched(bed.switch(back=True))
        assert verdict(bed, writers, "old", "new", "old")
    assert writers.gaps_ms()
    bed.follow(bed.old, bed.new, REVERSE)
    bed.wait_for(bed.new, bed.old)
    assert writers.lost_on(bed.new) == []


def test_a_second_run_changes_nothing(bed):
    assert switched(bed.switch())
    before = bed.journal.read_bytes()
    assert bed.switch()["changed"] is False
    assert bed.journal.read_bytes() == before


def test_the_dry_run_changes_nothing_and_leaves_the_target_closed(bed):
    with Writers(bed) as writers:
        before = bed.new.value("SELECT @@GLOBAL.gtid_purged")
        result = bed.switch(dry_run=True)
        assert not result["failed"], result["msg"]
        assert result["plan"]
        assert bed.new.value("SELECT @@GLOBAL.gtid_purged") == before
        assert not bed.journal.exists()
        assert verdict(bed, writers, "old")


def test_a_read_only_window_waits_and_is_opened(bed):
    with Writers(bed) as writers:
        result = bed.switch(strategy="read_only_window")
        assert (result["failed"], result["state"]) == (False, "both_fenced")
        assert switched(bed.switch(state="opened"))
        assert verdict(bed, writers, "old", "new")


def test_a_read_only_window_is_taken_back(bed):
    with Writers(bed) as writers:
        bed.switch(strategy="read_only_window")
        result = bed.switch(back=True)
        assert (result["failed"], result["recovered"]) == (False, "put_back")
        assert verdict(bed, writers, "old")


# --- what stands in the way of the fence -----------------------------------------------------------------------------


IDLE = ("BEGIN", "INSERT INTO shop.orders VALUES (900, 1, SYSDATE(6))")


@pytest.mark.parametrize("policy", ["wait", "fail"])
def test_an_idle_transaction_with_rows_is_named_and_kept(bed, policy):
    with Writers(bed) as writers, transaction(bed.old, *IDLE) as link:
        time.sleep(1.2)
        result = bed.switch(long_transactions=policy, long_transactions_timeout=2)
        assert put_back(result)
        assert "connection %d of app@" % link.thread_id() in result["msg"]
        link.commit()
        assert bed.old.value("SELECT COUNT(*) FROM shop.orders WHERE writer = 900") == 1
        assert verdict(bed, writers, "old")


def test_an_idle_transaction_is_ended_when_asked_and_its_rows_are_on_no_server(bed):
    with Writers(bed) as writers, transaction(bed.old, *IDLE) as link:
        time.sleep(1.2)
        assert switched(bed.switch(long_transactions="kill"))
        with pytest.raises(pymysql.err.MySQLError):
            link.commit()
        assert verdict(bed, writers, "old", "new")
    assert [node.value("SELECT COUNT(*) FROM shop.orders WHERE writer = 900") for node in bed.nodes] == [0, 0]


def test_a_prepared_branch_stops_it_and_is_never_ended(bed):
    with Writers(bed) as writers, transaction(bed.old, "XA START 'x'", IDLE[1], "XA END 'x'", "XA PREPARE 'x'"):
        pass
    writers.stop()
    result = bed.switch(long_transactions="kill", long_transactions_timeout=1)
    assert put_back(result)
    assert "prepared XA" in result["msg"]
    assert len(bed.old.run("XA RECOVER")) == 1


def test_a_branch_prepared_between_the_look_and_the_fence_is_put_back(bed):
    with Writers(bed) as writers:
        process = paused(bed, "fence")
        with transaction(bed.old, "XA START 'x'", IDLE[1], "XA END 'x'", "XA PREPARE 'x'"):
            pass
        process.go_on("fence")
        result = process.end()
        assert put_back(result)
        assert "prepared XA" in result["msg"]
        assert verdict(bed, writers, "old")


def test_a_branch_committed_through_the_fence_arrives_on_the_target(bed):
    with Writers(bed) as writers:
        process = bed.start(pause=["fence", "fence.done"])
        assert process.wait_at("fence")
        with transaction(bed.old, "XA START 'x'", IDLE[1], "XA END 'x'", "XA PREPARE 'x'"):
            pass
        process.go_on("fence")
        assert process.wait_at("fence.done")
        assert bed.old.fenced()
        bed.old.run("XA COMMIT 'x'")
        process.go_on("fence.done")
        assert switched(process.end())
        assert verdict(bed, writers, "old", "new")
    assert bed.new.value("SELECT COUNT(*) FROM shop.orders WHERE writer = 900") == 1


BLOCK = "LOCK TABLES shop.stock WRITE"


def test_locked_tables_hold_the_fence_up_and_are_named(bed):
    with Writers(bed) as writers:
        process = paused(bed, "fence")
        with transaction(bed.old, BLOCK) as link:
            process.go_on("fence")
            result = process.end()
            assert put_back(result)
            assert "connection %d of app@" % link.thread_id() in result["msg"]
        assert verdict(bed, writers, "old")


def test_locked_tables_are_unlocked_when_asked(bed):
    with Writers(bed) as writers:
        process = paused(bed, "fence", long_transactions="kill")
        with transaction(bed.old, BLOCK):
            process.go_on("fence")
            assert switched(process.end())
        assert verdict(bed, writers, "old", "new")


def test_a_running_alter_is_ended_when_asked(bed):
    bed.old.run("INSERT INTO shop.stock SELECT 10 + ROW_NUMBER() OVER (), 0 FROM mysql.help_keyword LIMIT 500")
    with Writers(bed) as writers:
        process = paused(bed, "fence", long_transactions="kill")
        with bed.old.app() as link:
            alter = "ALTER TABLE shop.stock ADD COLUMN slow INT DEFAULT (SLEEP(0.05)), ALGORITHM=COPY"
            thread = threading.Thread(target=lambda: _ignore_errors(link, alter))
            thread.start()
            time.sleep(0.5)
            process.go_on("fence")
            result = process.end()
            thread.join()
        # whether the ALTER was ended in time or not, one of both states is whole
        if result["failed"]:
            assert put_back(result)
            assert verdict(bed, writers, "old")
        else:
            assert verdict(bed, writers, "old", "new")


def _ignore_errors(link, statement):
    with contextlib.suppress(*UNREACHABLE), link.cursor() as cursor:
        cursor.execute(statement)


def test_a_branch_committed_behind_the_fence_is_carried_over(bed):
    with Writers(bed) as writers:
        process = bed.start(pause=["fence", "fence.done"])
        assert process.wait_at("fence"), process.end()
        with transaction(bed.old, "XA START 'x'", IDLE[1], "XA END 'x'", "XA PREPARE 'x'"):
            pass
        process.go_on("fence")
        assert process.wait_at("fence.done"), process.end()
        assert bed.old.fenced()
        with transaction(bed.old, "XA COMMIT 'x'"):
            assert bed.old.value("SELECT COUNT(*) FROM shop.orders WHERE writer = 900") == 1
        process.go_on("fence.done")
        assert switched(process.end())
        assert verdict(bed, writers, "old", "new")
    assert bed.new.value("SELECT COUNT(*) FROM shop.orders WHERE writer = 900") == 1


def test_a_flush_behind_the_fence_is_carried_over(bed):
    with Writers(bed) as writers:
        process = paused(bed, "drain.done")
        before = bed.old.value("SELECT @@GLOBAL.gtid_executed")
        bed.old.run("FLUSH STATUS", "FLUSH TABLES")
        assert bed.old.value("SELECT @@GLOBAL.gtid_executed") != before
        process.go_on("drain.done")
        assert switched(process.end())
        assert verdict(bed, writers, "old", "new")
    assert bed.old.value("SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, '%s')" % executed(bed.new)) == ""


def test_a_server_that_does_not_answer_while_the_fence_waits_never_fences_later(bed):
    with Writers(bed) as writers:
        process = paused(bed, "fence", lock_wait=3)
        with transaction(bed.old, BLOCK):
            process.go_on("fence")
            time.sleep(1)
            bed.old.shell("systemctl kill -s STOP mysql")
            time.sleep(14)
            bed.old.shell("systemctl kill -s CONT mysql")
            result = process.end()
        assert put_back(result)
        time.sleep(6)
        assert verdict(bed, writers, "old")


# --- gates ---------------------------------------------------------------------------------------------------------


def test_a_lag_that_never_gets_low_is_put_back(bed):
    with Writers(bed) as writers, bed.new.connect() as link, link.cursor() as cursor:
        process = paused(bed, "low_lag", lag_timeout=3)
        cursor.execute("FLUSH TABLES WITH READ LOCK")
        process.go_on("low_lag")
        result = process.end()
        cursor.execute("UNLOCK TABLES")
        assert put_back(result)
        assert "lag did not stay below" in result["msg"]
        assert verdict(bed, writers, "old")


def test_a_drain_that_does_not_end_is_put_back(bed):
    with Writers(bed) as writers, bed.new.connect() as link, link.cursor() as cursor:
        process = paused(bed, "fence", budget_ms=3000)
        cursor.execute("FLUSH TABLES WITH READ LOCK")
        writers.wait_for_writes(50)
        process.go_on("fence")
        result = process.end()
        cursor.execute("UNLOCK TABLES")
        assert put_back(result)
        assert verdict(bed, writers, "old")


def test_a_delayed_target_is_refused(bed):
    bed.new.run("STOP REPLICA FOR CHANNEL ''", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 60 FOR CHANNEL ''")
    bed.new.run("START REPLICA FOR CHANNEL ''")
    result = bed.switch()
    assert put_back(result)
    assert "delay" in result["msg"]


def test_a_filter_is_refused(bed):
    bed.new.run("STOP REPLICA FOR CHANNEL ''")
    bed.new.run("CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (nothing) FOR CHANNEL ''")
    bed.new.run("START REPLICA FOR CHANNEL ''")
    try:
        result = bed.switch()
        assert put_back(result)
        assert "filters" in result["msg"]
    finally:
        bed.new.run("STOP REPLICA FOR CHANNEL ''", "CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = () FOR CHANNEL ''")


@pytest.mark.parametrize("option", ["binlog_do_db", "binlog_ignore_db"])
def test_a_filter_of_the_binary_log_is_refused(bed, option):
    """What the source leaves out of its binary log never reaches the target, and GTIDs do not tell."""
    node = bed.old
    node.shell("echo '%s = mysql' >> /etc/mysql/mysql.conf.d/zz-lab.cnf && systemctl restart mysql" % option)
    try:
        node.wait_until_up()
        node.run(OPEN)
        result = bed.switch()
        assert result["failed"]
        assert "%s=mysql" % option in result["msg"]
        assert not bed.old.fenced()
    finally:
        node.shell("sed -i '/^%s/d' /etc/mysql/mysql.conf.d/zz-lab.cnf && systemctl restart mysql" % option)
        node.wait_until_up()


def test_an_errant_transaction_is_refused(bed):
    bed.old.run("STOP REPLICA FOR CHANNEL '%s'" % REVERSE)
    bed.new.run(OPEN, "CREATE TABLE shop.errant (id INT PRIMARY KEY)", FENCE)
    result = bed.switch(force=["errant", "reverse_channel"])
    assert put_back(result)
    assert "errant" in result["msg"]


def test_a_target_that_says_super_read_only_and_takes_writes_is_refused(bed):
    node = bed.new
    node.shell("echo 'super_read_only = 1' >> /etc/mysql/mysql.conf.d/zz-lab.cnf")
    try:
        node.run(OPEN, "RESET PERSIST super_read_only")
        node.shell("systemctl restart mysql")
        node.wait_until_up()
        both = node.run("SELECT @@GLOBAL.read_only AS r, @@GLOBAL.super_read_only AS s")[0]
        assert (both["r"], both["s"]) == (0, 1)
        result = bed.switch()
        assert result["failed"]
        assert "Both servers take writes" in result["msg"]
        assert not bed.old.fenced()
    finally:
        node.shell("sed -i '/^super_read_only/d' /etc/mysql/mysql.conf.d/zz-lab.cnf && systemctl restart mysql")
        node.wait_until_up()


def test_the_way_back_refuses_when_its_channel_is_broken(bed):
    assert switched(bed.switch())
    bed.follow(bed.new, bed.old, FORWARD)
    bed.old.run("STOP REPLICA SQL_THREAD FOR CHANNEL '%s'" % REVERSE)
    with Writers(bed) as writers:
        result = bed.switch(back=True, force=["forward_channel", "reverse_channel"])
        assert put_back(result)
        assert verdict(bed, writers, "new")


@pytest.mark.parametrize("restarted", ["old", "new"])
def test_a_server_that_was_restarted_just_now_is_waited_for(bed, restarted):
    """The channel of its replica connects again after source_connect_retry only."""
    node = getattr(bed, restarted)
    replica, channel = (bed.new, FORWARD) if node is bed.old else (bed.old, REVERSE)
    replica.run("STOP REPLICA FOR CHANNEL '%s'" % channel)
    bed.follow(replica, node, channel, SOURCE_CONNECT_RETRY=12)
    bed.wait_for(replica, node)
    node.shell("systemctl restart mysql")
    node.wait_until_up()
    bed.old.run(OPEN)
    receiver = "SELECT SERVICE_STATE FROM performance_schema.replication_connection_status WHERE CHANNEL_NAME = '%s'"
    assert replica.value(receiver % channel) == "CONNECTING"
    assert switched(bed.switch())


# --- hooks and second runs -----------------------------------------------------------------------------------------


def test_hooks_that_fail_or_hang_are_told_and_the_switch_is_tried_again(bed):
    gate = bed.folder / "gate"
    gate.unlink(missing_ok=True)
    with Writers(bed) as writers:
        for argv in (["false"], ["sleep", "1000"]):
            assert put_back(bed.switch(hooks={"pause": [argv], "resume": [["true"]]}, hook_timeout=1))
        hooks = {"pause": [["true"]], "resume": [["true"]], "switch": [["test", "-e", str(gate)]]}
        result = bed.switch(hooks=hooks)
        assert (result["failed"], result["state"], result["complete"]) == (False, "target_open", False)
        gate.touch()
        assert switched(bed.switch(hooks=hooks))
        assert verdict(bed, writers, "old", "new")


def test_of_two_switchovers_at_once_one_is_refused(bed):
    with Writers(bed) as writers:
        first = paused(bed, "low_lag.done")
        for back in (False, True):
            result = bed.switch(back)
            assert result["failed"]
            assert "Another switchover holds the lock" in result["msg"]
        first.go_on("low_lag.done")
        assert switched(first.end())
        assert verdict(bed, writers, "old", "new")


# --- the moment of opening -----------------------------------------------------------------------------------------


class Link:
    """A way to a server that can be cut at the n-th statement from now: it arrives, its answer does not.

    The last connection counts that was made before; cut_at: how many statements are left. done: whether it was cut.
    """

    def __init__(self, node):
        self.there = (node.login["login_host"], node.login["login_port"])
        self.cut_at = 0
        self.done = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _address = self.listener.accept()
                far = socket.create_connection(self.there)
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for one, other, up in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._carry, args=(one, other, up), daemon=True).start()

    def _carry(self, one, other, up):
        with contextlib.suppress(OSError):
            while True:
                content = one.recv(65536)
                if not content:
                    break
                other.sendall(content)
                if up and self.cut_at:
                    self.cut_at -= 1
                    if not self.cut_at:
                        self.done = True
                        time.sleep(0.02)
                        one.close()
                        break
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()


# What opening says on its connection: two looks at the configuration, the statement that opens, two that forget what
# was persisted. The sixth belongs to the connection over which it is read back.
@pytest.mark.parametrize("statement", range(1, 7))
def test_a_connection_lost_exactly_while_the_target_is_opened(bed, statement):
    link = Link(bed.new)
    with Writers(bed) as writers:
        options = bed.options()
        options["target"].update(login_host="127.0.0.1", login_port=link.port, check_hostname=False)
        process = paused(bed, "unfence_target", target=options["target"])
        link.cut_at = statement
        process.go_on("unfence_target")
        result = process.end()
        assert link.done
        assert switched(result)
        assert verdict(bed, writers, "old", "new")
    link.close()


# --- secrets -------------------------------------------------------------------------------------------------------


def test_no_password_stands_in_journal_output_or_processes(bed):
    process = paused(bed, "fence.done")
    seen = b"".join(Path("/proc/%d/%s" % (process.process.pid, name)).read_bytes() for name in ("cmdline", "environ"))
    seen += "".join(
        str(row) for node in bed.nodes for row in node.run("SELECT INFO FROM performance_schema.processlist")
    ).encode()
    process.go_on("fence.done")
    process.end()
    seen += b"".join(process.said) + bed.journal.read_bytes()
    for secret in (bed.old.login["login_password"], bed.replication["password"], bed.old.application["password"]):
        assert secret.encode() not in seen
