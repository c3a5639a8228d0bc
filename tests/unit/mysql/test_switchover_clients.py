# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in the way of a fence is found although the server cannot show all of it."""

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.mysql import switchover_clients as clients
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError


class Session:
    """A server whose innodb_trx fails with a code."""

    def __init__(self, code):
        self.code = code

    def rows(self, sql):
        if "innodb_trx" in sql:
            raise MySQLMigrationError("Failed", code=self.code)
        assert "data_locks" in sql
        return [{"id": 7}, {"id": 8}]


def test_transactions_are_found_by_their_locks_while_a_statement_has_a_character_that_innodb_trx_cannot_show():
    assert clients.transactions(Session(3854), own=[8]) == [{"id": 7}]


def test_any_other_failure_stays_one():
    with pytest.raises(MySQLMigrationError):
        clients.transactions(Session(1227), own=[])
