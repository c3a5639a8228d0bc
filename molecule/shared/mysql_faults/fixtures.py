# SPDX-License-Identifier: GPL-3.0-or-later
"""A pair of servers of the scenario's lab for each worker of pytest, put into a known state before each test."""

import os

import pytest
from bed import ROOT, Bed

LAB = os.environ.get("FAULTS_LAB", "mol-" + os.environ.get("MOLECULE_SCENARIO_NAME", "mysql_faults"))


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]
    number = "" if worker == "0" else str(int(worker) + 1)
    return Bed(ROOT / "build" / "lab" / LAB, tmp_path_factory.mktemp("faults"), number)


@pytest.fixture
def bed(servers):
    servers.reset()
    yield servers
    servers.end_all()
