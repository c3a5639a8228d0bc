# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back is not begun while it would carry what only the target has: the role, run by a real ansible-playbook."""

from pathlib import Path

import plays
import pytest
import yaml
from ansible_collections.seamless.migration.plugins.module_utils.mysql import info
from fakes import OTHER, UUID, FakeServer

ROLE = Path(__file__).resolve().parents[3] / "roles" / "mysql_replication" / "tasks"


def own(target, source):
    """What mysql_replication_info tells of a target beside its source, by what each has executed."""
    sessions = []
    for uuid, executed in ((UUID, target), (OTHER, source)):
        server = FakeServer(server_uuid=uuid, gtid_executed=executed).server()
        sessions.append(server.session())
        server.identify(sessions[-1])
    return {"info": info.compared(*sessions)}


@pytest.fixture
def refusal(tmp_path):
    """Run the refusal. Returns the exit code of ansible-playbook and what it said."""

    def run(found, leaving="source"):
        given = {
            "mysql_replication_source": {"login_host": "db-old"},
            "mysql_replication_target": {"login_host": "db-new"},
            "mysql_replication_from": leaving,
            "__mysql_replication_own": found,
        }
        role = {"name": "seamless.migration.mysql_replication", "tasks_from": "refuse_errant.yml"}
        play = {"hosts": "localhost", "gather_facts": False, "vars": dict(plays.LOCAL, **given),
                "tasks": [{"ansible.builtin.include_role": role}]}  # fmt: skip
        done = plays.run(tmp_path, [play])
        return done.returncode, " ".join(done.stdout.split())

    return run


def test_what_only_the_target_has_is_refused_by_its_name_and_with_what_to_do(refusal):
    code, said = refusal(own(OTHER + ":1-9," + UUID + ":1-2", OTHER + ":1-10"))
    assert code != 0
    assert "Failed to let db-old follow db-new: it would execute what only that server has: %s:1-2." % UUID in said
    assert "Seed the server again" in said and "inject empty transactions for these GTIDs on the other" in said
    code, said = refusal(own(OTHER + ":1-9," + UUID + ":1-2", OTHER + ":1-10"), leaving="target")
    assert code != 0 and "Failed to let db-new follow db-old" in said


def test_what_the_source_lacks_nothing_of_or_has_been_given_empty_is_let_pass(refusal):
    assert refusal(own(OTHER + ":1-9", OTHER + ":1-10"))[0] == 0
    assert refusal(own(OTHER + ":1-9," + UUID + ":1-2", OTHER + ":1-10," + UUID + ":1-2"))[0] == 0


def test_the_refusal_stands_before_the_way_back():
    said = [str(task) for task in yaml.safe_load((ROLE / "main.yml").read_text())]
    refused = [place for place, text in enumerate(said) if "refuse_errant.yml" in text]
    back = [place for place, text in enumerate(said) if "Let the other replicate from the server that follows" in text]
    assert len(refused) == len(back) == 1 and refused < back
