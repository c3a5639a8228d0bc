# SPDX-License-Identifier: GPL-3.0-or-later
"""After the bridge was left, and after it was taken down: one server takes writes, and has what both took."""

import time

testinfra_hosts = ["local://"]


def retired(events):
    return any(event["stage"] == "mysql_retire" for event in events)


def measured(events, step):
    return [event["data"] for event in events if event["event"] == "measured" and event["step"] == step]


def test_only_the_new_server_takes_writes(lab):
    assert lab.open_servers() == ["mysql_new"]


def test_nothing_is_lost_doubled_or_different(lab, tmp_path):
    time.sleep(3)  # the application goes on for a while
    found = lab.verdict("mysql_new", tmp_path)
    assert [found[key] for key in ("lost", "duplicated", "different", "extra", "missed")] == [0] * 5, found["details"]
    assert found["acknowledged"] > 100


def test_each_server_has_counted_with_an_offset_of_its_own(lab, events):
    rows = lab.sql("mysql_new", "SELECT id % 2 AS odd, COUNT(*) AS n FROM shop.orders GROUP BY id % 2")
    assert {row["odd"] for row in rows} == {0, 1}
    values = [lab.value(host, "SELECT @@GLOBAL.auto_increment_increment") for host in ("mysql_old", "mysql_new")]
    assert values == ([1, 1] if retired(events) else [2, 2])


def test_unique_keys_that_both_could_choose_were_named(events):
    named = measured(events, "bridge")[-1]["collisions"]
    assert "shop.order_lines.PRIMARY" in named and "shop.stock.PRIMARY" in named
    assert "shop.orders.PRIMARY" not in named


def test_what_the_settings_were_was_kept_before_they_were_changed(events):
    for side in ("source", "target"):
        kept = measured(events, "offset_" + side)
        assert len(kept) == 1 and kept[0]["before"]["auto_increment_increment"]["value"] == "1"


def test_the_journal_says_where_the_writes_are(events):
    assert [event["data"]["side"] for event in events if event["event"] == "committed"] == ["target"]
