# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage host that can be frozen."""

import os

import pytest


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with a tree, a writer's unit, a live sync that carries canaries, and the other side behind a daemon."""
    if os.geteuid() != 0:
        pytest.skip("needs root for mounts")
    import freeze_host

    freeze_host.own_namespace()
    made = freeze_host.Host(tmp_path, os.environ["PATH"])
    monkeypatch.setenv("PATH", made.path)
    yield made
    made.close()


@pytest.fixture
def running(host):
    """The host with its writer and its live sync at work, staged."""
    host.put("a/one", "one\n")
    host.put("one", "old\n", where=host.target)
    host.live_sync()
    host.writer()
    host.run("staged")
    return host
