# SPDX-License-Identifier: GPL-3.0-or-later
"""mysql_switchover as Ansible runs it: options that cannot be meant, and servers that are not there."""

import json
import os
import subprocess
import sys

import pytest
import yaml

COLLECTIONS = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..", "build", "collections"))
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.seamless.migration.plugins.modules import mysql_switchover
sys.argv = sys.argv[:1]
mysql_switchover.main()
"""
NOWHERE = {"login_host": "127.0.0.1", "login_port": 1, "login_user": "admin", "login_password": "hush-hush"}


def run(tmp_path, check=False, **changes):
    """Run the module in a process of its own. Returns what it prints, as dict."""
    params = {
        "migration": "shop",
        "journal_path": str(tmp_path / "shop.jsonl"),
        "source": dict(NOWHERE),
        "target": dict(NOWHERE),
    }
    params.update(changes, _ansible_check_mode=check, _ansible_diff=True)
    done = subprocess.run(
        [sys.executable, "-c", RUN, COLLECTIONS], input=json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout, done.stderr.decode()
    return json.loads(done.stdout.decode().splitlines()[-1])


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("migration", "../shop", "migration is '../shop'"),
        ("budget_ms", 5, "Option budget_ms is 5. Give a number from 100 to 3600000"),
        ("lock_wait", 0, "Option lock_wait is 0"),
        ("hooks", {"switch": [[]]}, "Option hooks.switch has to be a list of commands"),
        ("strategy", "bridge", "accept_conflicts"),
        ("force", ["two_writers"], "Option force has two_writers"),
        ("forward_channel", "a\nb", "control character"),
        ("source", dict(NOWHERE, login_host="db\r1"), "control character"),
        ("state", "moved", "value of state must be one of"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(tmp_path, option, value, told):
    result = run(tmp_path, **{option: value})
    assert result["failed"]
    assert told in result["msg"]
    assert not (tmp_path / "shop.jsonl").exists()


@pytest.mark.parametrize("check", [False, True])
def test_a_server_that_is_not_there_is_told_with_what_to_do_and_without_the_password(tmp_path, check):
    result = run(tmp_path, check=check)
    assert result["failed"]
    assert "connect to source 127.0.0.1 port 1 as admin" in result["msg"]
    assert (result["state"], result["steps"], result["changed"]) == ("unknown", [], False)
    assert "hush-hush" not in json.dumps(result)


def test_the_documented_options_are_those_that_are_taken():
    sys.path.insert(0, COLLECTIONS)
    from ansible_collections.seamless.migration.plugins.modules import mysql_switchover

    documented = yaml.safe_load(mysql_switchover.DOCUMENTATION)["options"]
    taken = mysql_switchover.ARGUMENTS
    assert set(documented) | {"source", "target"} == set(taken)  # both come from the fragment
    for name, option in documented.items():
        assert option["type"] == taken[name]["type"], name
        assert option.get("default") == taken[name].get("default"), name
        assert option.get("choices") == taken[name].get("choices"), name
