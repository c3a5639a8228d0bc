# SPDX-License-Identifier: GPL-3.0-or-later
"""Receivers of channels: those that connect again, as after a restart of the other server, get there by themselves."""

import time

# Errors of a receiver that no further try mends: account, password, TLS, grant.
REFUSED = (1045, 1698, 2026, 2061, 13120)
# What is given to a receiver, whose tries by default are a minute apart, and by mysql_replicate ten seconds.
SECONDS = 30


def is_refused(channel):
    """Whether the receiver of a channel (normalised, dict) was refused for good."""
    return int(channel["last_io_errno"] or 0) in REFUSED


def await_connected(channels, from_uuid, seconds=SECONDS):
    """Wait while a channel from a server connects again. channels: reads them, normalised, as list of dict."""
    end = time.monotonic() + seconds
    while any(_connects(channel, from_uuid) for channel in channels()) and time.monotonic() < end:
        time.sleep(0.2)


def _connects(channel, from_uuid):
    waits = channel["replica_io_running"] == "Connecting" and not is_refused(channel)
    return waits and (channel["source_uuid"] or "").lower() in ("", from_uuid)
