# SPDX-License-Identifier: GPL-3.0-or-later
"""storage_freeze as Ansible runs it: its arguments, its check and diff mode, and what it says."""

import json
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "storage"))
COLLECTIONS = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..", "build", "collections"))
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.seamless.migration.plugins.modules import storage_freeze
from ansible_collections.seamless.migration.plugins.module_utils.storage import freeze_state
root = sys.argv[2]
sys.argv = sys.argv[:1]
paths = freeze_state.Paths.__init__
freeze_state.Paths.__init__ = lambda self, migration, _root="/": paths(self, migration, root)
storage_freeze.main()
"""


@pytest.fixture
def host(tmp_path, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("needs root for mounts")
    import freeze_host

    freeze_host.own_namespace()
    made = freeze_host.Host(tmp_path, os.environ["PATH"])
    monkeypatch.setenv("PATH", made.path)
    made.live_sync()
    made.unit("upload.service")
    yield made
    made.close()


def run(host, state, check=False, **changes):
    """Run the module in a process of its own. Returns what it prints, as dict."""
    params = host.params(state, **changes)
    params = {key: value for key, value in params.items() if value is not None}
    params.update(_ansible_check_mode=check, _ansible_diff=True)
    done = subprocess.run(
        [sys.executable, "-c", RUN, COLLECTIONS, host.root],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        check=False, timeout=60,
    )
    assert done.stdout, done.stderr.decode()
    return json.loads(done.stdout.decode().splitlines()[-1])


def everything(folder):
    found = {}
    for top, _unused, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            if not name.endswith(".lock"):
                with open(path, "rb") as stream:
                    found[path] = stream.read()
    return found


def test_check_mode_tells_the_plan_and_touches_nothing(host):
    before = everything(host.root), everything(host.tree)
    result = run(host, "frozen", check=True)
    assert result["changed"] is True
    assert "stop and block upload.service" in result["plan"]
    assert "make %s read-only" % host.tree in result["plan"]
    assert "plan" not in run(host, "read")
    assert (everything(host.root), everything(host.tree)) == before
    assert [call for call in host.calls() if not call.startswith("show")] == []
    assert host.active("upload.service")


def test_check_mode_of_a_thaw_names_what_it_would_open(host):
    run(host, "frozen")
    result = run(host, "thawed", check=True)
    assert "open %s" % host.tree in result["plan"]
    assert "start upload.service" in result["plan"]
    assert result["diff"]["before"] == "state: drained\n"
    assert result["diff"]["after"].startswith("state: thawed\n")
    assert not host.writable()
    run(host, "thawed")


def test_check_mode_on_a_host_that_is_not_prepared_says_so_instead_of_failing(host):
    os.unlink(os.path.join(host.tree, ".seamless-sentinel"))
    result = run(host, "frozen", check=True)
    assert "failed" not in result
    assert any("a run would refuse" in str(warning) for warning in result["warnings"])


def test_check_mode_of_a_thaw_asks_for_the_same_evidence(host):
    run(host, "frozen")
    run(host, "committed")
    assert "Freeze the other side" in run(host, "thawed", check=True)["msg"]
    assert "failed" not in run(host, "thawed", check=True, other_side_frozen=True, other_side_run="r")
    run(host, "thawed", other_side_frozen=True, other_side_run="r")


def test_the_whole_way_through_the_module(host):
    assert run(host, "staged")["changed"] is True
    assert run(host, "staged")["changed"] is False
    assert run(host, "frozen")["state"] == "drained"
    committed = run(host, "committed")
    assert (committed["state"], committed["changed"]) == ("committed", True)
    assert committed["diff"] == {"before": "state: drained\n", "after": "state: committed\n"}
    refused = run(host, "thawed")
    assert refused["failed"] and refused["msg"].startswith("Failed to thaw files2026: ")
    assert run(host, "thawed", other_side_frozen=True, other_side_run="r")["state"] == "thawed"


def test_a_failure_says_the_cause_and_that_it_was_undone(host):
    result = run(host, "frozen", commands={"after_stop": [["false"]]})
    assert result["failed"] is True
    assert result["msg"].startswith("Failed to freeze files2026: ")
    assert result["undone"] is True
    assert result["state"] == "thawed"
    assert [step["name"] for step in result["steps"] if not step["ok"]] == ["hook_after_stop"]


def test_no_secret_is_returned(host):
    run(host, "staged")
    assert "s3cret" not in json.dumps(run(host, "frozen"))
    run(host, "thawed")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"migration": "a\nb"}, "migration"),
        ({"run_id": "x\ty"}, "run_id"),
        ({"migration": "../x"}, "migration"),
        ({"writers": ["--now"]}, "writers"),
        ({"writers": ["a.service\nb"]}, "writers"),
        ({"budget": 0}, "budget"),
        ({"deadman": 10}, "deadman"),
        ({"max_delta": -1}, "max_delta"),
        ({"trees": []}, "trees"),
        ({"tree": {"path": "srv"}}, "path"),
        ({"tree": {"path": "/"}}, "path"),
        ({"tree": {"name": "a/b"}}, "name"),
        ({"tree": {"sentinel": "../x"}}, "sentinel"),
        ({"tree": {"live_sync": {"method": "lsyncd"}}}, "live_sync"),
        ({"commands": {"after_stop": [[]]}}, "after_stop"),
        ({"extra_paths_files": {"other": ["/x"]}}, "extra_paths_files"),
    ],
)
def test_a_bad_option_is_named_before_anything_is_touched(host, changes, told):
    result = run(host, "frozen", **changes)
    assert result["failed"] is True
    assert told in result["msg"] and "Failed to use option" in result["msg"]
    assert everything(host.root) == {}
    assert not os.path.exists(os.path.join(host.units, "calls"))


def test_the_documentation_and_the_arguments_agree(host):
    import yaml
    from ansible_collections.seamless.migration.plugins.modules import storage_freeze

    options = yaml.safe_load(storage_freeze.DOCUMENTATION)["options"]
    compare(options, storage_freeze.ARGUMENTS)
    returned = set(yaml.safe_load(storage_freeze.RETURN)) - {"plan"}
    assert set(run(host, "read")) - {"changed", "diff", "invocation"} == returned


def compare(documented, accepted):
    assert set(documented) == set(accepted)
    for name, option in documented.items():
        assert option["type"] == accepted[name]["type"], name
        assert option.get("default") == accepted[name].get("default"), name
        assert option.get("choices") == accepted[name].get("choices"), name
        if "suboptions" in option:
            compare(option["suboptions"], accepted[name]["options"])
