# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkout importable as ansible_collections.seamless.migration."""

import contextlib
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COLLECTIONS = os.path.join(ROOT, "build", "collections")
LINK = os.path.join(COLLECTIONS, "ansible_collections", "seamless", "migration")


def _link():
    """Lay a link build/collections/ansible_collections/seamless/migration -> checkout."""
    if os.path.realpath(LINK) == ROOT:
        return
    os.makedirs(os.path.dirname(LINK), exist_ok=True)
    os.symlink(ROOT, LINK)


_link()
sys.path.insert(0, COLLECTIONS)

# A machine that does other things at the same time is slow, and no reason for a test to fail. Not on every leg.
with contextlib.suppress(ImportError):
    from hypothesis import HealthCheck, settings

    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")
