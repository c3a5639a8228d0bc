# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan tells what will be done, by what was measured, and names what it does not know."""

import os
import re

import pytest
import report_stories as stories
import yaml
from ansible_collections.seamless.migration.plugins.action import migration_plan as plan_action
from ansible_collections.seamless.migration.plugins.modules import migration_plan as plan_page
from ansible_collections.seamless.migration.plugins.plugin_utils import pages, plan_stages
from ansible_collections.seamless.migration.plugins.plugin_utils.plan_model import mysql_plan, storage_plan
from ansible_collections.seamless.migration.plugins.plugin_utils.report_model import Model

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def planned(model=None, looks=None, **more):
    looks = (
        {"old": stories.look(), "new": stories.look(), "app1": {"host": {}, "trees": []}} if looks is None else looks
    )
    return storage_plan(stories.inputs(**more), looks, model or Model([]))


def stage(plan, name):
    return next(found for found in plan["stages"] if found["stage"] == name)


def test_the_stages_come_in_their_order_with_undo_and_gates():
    plan = planned()
    names = [found["stage"] for found in plan["stages"]]
    assert names.index("storage_copy") < names.index("storage_verify") < names.index("storage_cutover")
    assert all(found["undo"] and found["changes"] and found["duration"] for found in plan["stages"])
    assert "window" in [gate["name"] for gate in stage(plan, "storage_cutover")["gates"]]


def test_inputs_are_told_where_they_matter():
    plan = planned(bwlimit_kib_per_s=2048, hooks={"after_switch": "reload.yml"})
    assert "8 workers, limit 2.0 MiB/s." in stage(plan, "storage_copy")["does"]
    assert any("cron root find" in sentence for sentence in stage(plan, "storage_prepare")["does"])
    cutover = " ".join(stage(plan, "storage_cutover")["does"])
    assert "upload.service" in cutover and "files.example.org" in cutover and "reload.yml" in cutover
    assert stage(plan, "storage_copy")["where"] == ["source (old)"]


def test_the_number_of_workers_that_the_copy_chooses_itself_is_no_number_in_the_plan():
    assert "One worker more than the source has cores, no limit." in stage(planned(workers=0), "storage_copy")["does"]


def test_workers_are_told_where_there_are_any():
    plan = planned(storage_workers=["w1", "w2"])
    assert stage(plan, "storage_copy")["where"] == ["source (old)", "workers (w1, w2)"]
    assert any("dealt over w1, w2" in sentence for sentence in stage(plan, "storage_copy")["does"])
    assert [host["name"] for host in plan["hosts"] if host["role"] == "worker"] == ["w1", "w2"]


def test_what_happens_to_nfs_clients_is_told_where_there_are_some():
    gates = {gate["name"] for found in planned()["stages"] for gate in found["gates"]}
    assert not gates & set(plan_stages.NFS_GATES)
    plan = planned(nfs={"mounts": [{"path": "/mnt/a", "stop_units": ["app.service"]}], "quorum": 90}, service_name="")
    gates = {gate["name"] for found in plan["stages"] for gate in found["gates"]}
    assert set(plan_stages.NFS_GATES) <= gates
    cutover = " ".join(stage(plan, "storage_cutover")["does"])
    assert all(words in cutover for words in ("app.service stopped", "/mnt/a is mounted from the target", "90 percent"))
    assert any("exports the trees by NFS" in sentence for sentence in stage(plan, "storage_prepare")["does"])
    assert not any("How the clients find" in sentence for sentence in plan["unknown"])


def test_the_copy_takes_what_was_measured():
    plan = planned(Model(stories.moved().events))
    # 12 MB at the 200 kB/s, and 6000 files at the 100 a second, that the story has: 60 s both.
    assert stage(plan, "storage_copy")["duration"].startswith("about 1 min 0 s, at the 195.3 KiB/s and 100 files/s")
    assert "3.420 s" in stage(plan, "storage_cutover")["duration"]


def test_a_limit_makes_the_copy_longer():
    plan = planned(Model(stories.moved().events), bwlimit_kib_per_s=100)
    assert stage(plan, "storage_copy")["duration"].startswith("about 1 min 57 s")


def test_without_a_measurement_the_plan_says_so():
    plan = planned()
    assert stage(plan, "storage_copy")["duration"] == "not known: no copy has been measured yet"
    assert any("How fast the copy is" in sentence for sentence in plan["unknown"])
    limited = stage(planned(bwlimit_kib_per_s=100), "storage_copy")["duration"]
    assert limited.startswith("not less than 1 min 57 s")


@pytest.mark.parametrize(
    "looks, more, sentence",
    [
        (
            {"old": {"unreachable": True, "msg": "timed out"}, "new": stories.look()},
            {},
            "What is on old (source): timed out",
        ),
        (
            {"old": stories.look(), "new": {"failed": True, "msg": "no Python"}},
            {},
            "What is on new (target): no Python",
        ),
        ({"old": stories.look(complete=False), "new": stories.look()}, {}, "counting ran out of time"),
        ({"old": stories.look(exists=False), "new": stories.look()}, {}, "/srv/a does not exist on the source"),
        ({"old": stories.look(), "new": stories.look(exists=False)}, {}, "/srv/b does not exist on the target yet"),
        (None, {"writers": []}, "migration_writers is empty"),
        (None, {"clients": []}, "storage_clients is empty"),
        (None, {"service_name": ""}, "none of migration_service_name, migration_nfs"),
        ({}, {"source": "", "target": ""}, "the group storage_source is empty"),
    ],
)
def test_what_is_not_known_is_named(looks, more, sentence):
    plan = planned(looks=looks, **more)
    assert any(sentence in found for found in plan["unknown"]), plan["unknown"]


def test_the_gates_are_decided_as_of_now_but_for_the_clocks():
    gates = {gate["name"]: gate["state"] for gate in planned()["gates_now"]}
    assert gates["space"] == "ok" and "clocks" not in gates
    assert planned(looks={})["gates_now"] == []


def test_the_pages_hold_the_numbers_and_no_markup_of_others():
    plan = planned(trees=[{"name": stories.HOSTILE, "source": stories.HOSTILE, "target": "/t|x`\n# head"}])
    page, text = pages.plan([plan], stories.HOSTILE, "/j.jsonl", "inv")
    assert "<script" not in page and 'data-bytes="12000000"' in page and 'data-files="6000"' in page
    assert "<script" not in text and "\\|x\\`" in text and "\n# head" not in text
    assert "ansible-playbook -i inv seamless.migration.storage_cutover" in text


def test_a_mysql_plan_knows_what_the_guardrails_said():
    mysql = {"source": {"login_host": "db1"}, "target": {"login_host": "db2"}, "strategy": "bridge"}
    seen = {
        "servers": {"source": {"version": "8.0.40", "bytes": 10_000_000, "schemas": ["shop"]}, "target": {}},
        "gates": [{"name": "versions", "ok": True, "evidence": {}, "advice": ""}],
    }
    plan = mysql_plan({"mysql": mysql, "force_gates": []}, seen, Model(stories.mysql().events))
    assert stage(plan, "mysql_seed")["duration"].startswith("about 20 s")
    assert "Strategy: bridge." in stage(plan, "mysql_cutover")["does"]
    assert "210 ms" in stage(plan, "mysql_cutover")["duration"]
    page, text = pages.plan([plan], "shop", "/j.jsonl")
    assert "db1:3306" in page and "8.0.40" in text and 'data-value="10000000"' in page
    blind = mysql_plan({"mysql": mysql, "force_gates": []}, {"msg": "refused"}, Model([]))
    assert "What the servers are: refused" in blind["unknown"]


def playbook_of(name):
    with open(os.path.join(ROOT, "playbooks", name + ".yml"), encoding="utf-8") as stream:
        return yaml.safe_load(stream)


@pytest.mark.parametrize("kind, stages", [("storage", plan_stages.STORAGE), ("mysql", plan_stages.MYSQL)])
def test_the_plan_names_the_playbooks_that_there_are_in_their_order(kind, stages):
    names = [found["stage"] for found in stages]
    chain = [play["ansible.builtin.import_playbook"][: -len(".yml")] for play in playbook_of(kind)]
    assert names == [*chain, kind + "_cutover", kind + "_retire"]
    assert all(playbook_of(name) for name in names)


def test_the_plan_knows_every_gate_of_the_storage_roles():
    found = set()
    for role in ("storage_verify", "storage_cutover", "storage_preflight"):
        folder = os.path.join(ROOT, "roles", role, "tasks")
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="utf-8") as stream:
                text = stream.read()
            if "migration_gate" in text:
                found |= set(re.findall(r"^ +(?:- )?name: ([a-z_]+)$", text, re.MULTILINE))
            found |= set(re.findall(r"__storage_verify_gate: ([a-z_]+)", text))
    for path in (("storage", "preflight.py"), ("nfs", "migration.py")):
        with open(os.path.join(ROOT, "plugins", "module_utils", *path), encoding="utf-8") as stream:
            found |= set(re.findall(r'gate\(\s*"([a-z_]+)"', stream.read()))
    told = {name for found_stage in plan_stages.STORAGE for name in found_stage["gates"]}
    assert told == found
    assert told <= set(plan_stages.GATES)


def test_the_role_hands_over_what_the_plan_takes_and_documents():
    with open(os.path.join(ROOT, "roles", "report", "vars", "main.yml"), encoding="utf-8") as stream:
        handed = yaml.safe_load(stream)["__report_storage"]
    documented = yaml.safe_load(plan_page.DOCUMENTATION)["options"]["storage"]["suboptions"]
    assert set(handed) == set(plan_action.STORAGE) == set(documented)
