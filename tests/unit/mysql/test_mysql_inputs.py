# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with migration_mysql is said before anything is touched, and never with a password."""

import copy

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql.inputs import input_errors, login, reached_at

GOOD = {
    "source": {"login_host": "10.0.0.1", "login_user": "admin", "login_password": "s3cret-of-old"},
    "target": {"login_host": "10.0.0.2", "login_user": "admin", "login_password": "s3cret-of-new", "address": "db-new"},
    "replication": {"user": "migration_repl", "password": "s3cret-of-repl"},
}


def errors(name="shop2026", **changes):
    mysql = copy.deepcopy(GOOD)
    for path, value in changes.items():
        place = mysql
        *parts, last = path.split("__")
        for part in parts:
            place = place[part]
        place[last] = value
    return input_errors({"name": name, "mysql": mysql})


def test_good_inputs_have_no_errors():
    assert errors() == []
    assert errors(
        strategy="bridge", accept_conflicts=True, seed_method="dump", schemas=["shop"], lag_limit_ms=500,
        replicas=[{"name": "r1", "behind": "source", "login_host": "10.0.0.3", "repoint": True}],
        hooks={"pause": [["/bin/true"]], "switch": [["/bin/proxy", "to", "new"]]},
        source__read_only_on=[["/bin/aws", "rds"]],
    ) == []  # fmt: skip


@pytest.mark.parametrize("changes, says", [
    ({"name": "no such/name"}, "migration_name is 'no such/name'"),
    ({"source": {}}, "migration_mysql.source is empty"),
    ({"source__login_host": ""}, "migration_mysql.source.login_host is empty"),
    ({"source__login_host": "a\nb"}, "control characters"),
    ({"target__login_port": 0}, "migration_mysql.target.login_port is 0"),
    ({"target__port": "x"}, "migration_mysql.target.port is 'x'"),
    ({"target__adress": "x"}, "has the key 'adress'"),
    ({"target__address": "10.0.0.1"}, "are the same server"),
    ({"strateyg": "bridge"}, "has the key 'strateyg'"),
    ({"strategy": "fast"}, "migration_mysql.strategy is 'fast'"),
    ({"strategy": "bridge"}, "accept_conflicts"),
    ({"strategy": "read_only_window", "target__read_only_on": [["/bin/aws"]]}, "migration_mysql.target.read_only_on"),
    ({"seed_method": "tar"}, "migration_mysql.seed_method is 'tar'"),
    ({"lag_limit_ms": 0}, "migration_mysql.lag_limit_ms is 0"),
    ({"schemas": "shop"}, "migration_mysql.schemas is 'shop'"),
    ({"replication": {}}, "migration_mysql.replication is empty"),
    ({"replication__user": "u" * 33}, "a name of 1 to 32 characters"),
    ({"replication__password": "short"}, "shorter than 8 characters"),
    ({"replication__password": "p" * 33}, "at most 32 characters"),
    ({"replicas": [{"name": "r 1", "behind": "source", "login_host": "h"}]}, "replicas[0].name is 'r 1'"),
    ({"replicas": [{"name": "r1", "behind": "him", "login_host": "h"}]}, "say source or target"),
    ({"replicas": ["r1"]}, "migration_mysql.replicas[0] is empty"),
    ({"replicas": [{"name": "r", "behind": "source", "login_host": "h"}] * 2}, "two replicas named 'r'"),
    ({"hooks": {"pause": ["/bin/true"]}}, "each a list of words"),
    ({"hooks": {"pause": [["true"]]}}, "absolute path"),
    ({"hooks": {"before": []}}, "has the key 'before'"),
    ({"source__read_only_on": [["aws"]]}, "migration_mysql.source.read_only_on"),
])  # fmt: skip
def test_each_mistake_is_named(changes, says):
    found = errors(**changes)
    assert any(says in error for error in found), found
    assert "s3cret" not in repr(found)


def test_nothing_at_all_is_told_where_to_read():
    assert "docs/mysql.md" in input_errors({"name": "a", "mysql": {}})[0]


def test_a_login_has_no_more_than_the_modules_take():
    endpoint = {"login_host": "h", "platform": "rds", "address": "a", "port": 1, "name": "r1", "behind": "source"}
    assert login(endpoint) == {"login_host": "h", "platform": "rds"}
    assert login(endpoint, name=True) == {"login_host": "h", "platform": "rds", "name": "r1"}


def test_a_server_is_reached_where_it_logs_in_unless_another_address_is_given():
    assert reached_at({"login_host": "h", "login_port": 3307}) == {"host": "h", "port": 3307}
    assert reached_at({"login_host": "h", "address": "a", "port": "3308"}) == {"host": "a", "port": 3308}
