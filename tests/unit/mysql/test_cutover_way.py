# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way the role mysql_cutover chooses for a switch by parameter group, from the servers and the journal."""

import pytest
import role_variables


def way(state, side, window, dry_run=False, leaving="source"):
    server = {"login_host": "db", "read_only_on": [["/bin/true"]]}
    return role_variables.value(
        "mysql_cutover",
        "__mysql_cutover_way",
        ansible_check_mode=False,
        mysql_cutover_mysql={"source": server, "target": server},
        mysql_cutover_from=leaving,
        mysql_cutover_dry_run=dry_run,
        __mysql_cutover_now={"state": state},
        __mysql_cutover_bridge_open=False,
        __mysql_cutover_journal={"summary": {"side": side, "window": {"state": window}}},
    )


@pytest.mark.parametrize(
    ("state", "side", "window", "wanted"),
    [
        ("source_open", "source", "none", "switch_by_parameter"),
        ("source_open", "source", "open", "switch_by_parameter"),  # killed before its commit
        ("neither_open", "target", "open", "switch_by_parameter"),  # killed between commit and opening
        ("target_open", "target", "open", "switch_by_parameter"),  # the hook `switch` failed, or it was killed there
        ("target_open", "target", "closed", "nothing"),
    ],
)
def test_a_switch_goes_on_until_its_window_is_closed(state, side, window, wanted):
    assert way(state, side, window) == wanted


def test_the_way_back_goes_on_as_well():
    assert way("target_open", "source", "open", leaving="target") == "switch_by_parameter"
    assert way("target_open", "source", "closed", leaving="target") == "nothing"


def test_nothing_is_gone_on_with_in_a_rehearsal():
    assert way("target_open", "target", "open", dry_run=True) == "nothing"
