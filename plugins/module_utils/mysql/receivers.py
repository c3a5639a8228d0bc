# SPDX-License-Identifier: GPL-3.0-or-later
"""Receivers of channels: whom they follow, and those that connect again, as after a restart of the other server."""

import time

# Errors of a receiver that no further try mends: account, password, TLS, grant.
REFUSED = (1045, 1698, 2026, 2061, 13120)
# What is given to a receiver, whose tries by default are a minute apart, and by mysql_replicate ten seconds.
SECONDS = 30


def is_refused(channel):
    """Whether the receiver of a channel (normalised, dict) was refused for good."""
    return int(channel["last_io_errno"] or 0) in REFUSED


def is_ours(channel, uuids, at=None, users=()):
    """Whether a channel belongs to the migration, so that it may be pointed to the other server.

    A server that is known by another name, or has moved to a new endpoint, is told by its uuid; one that was made anew,
    by its address. Only where the channel has never connected, so that it knows no uuid, its account tells whose it is.

    channel: normalised, dict. uuids: of both servers (a clone brings a channel of the source's that leads to itself).
    at: (host, port) where the other server is reached. users: names of the migration's accounts.
    """
    uuid = (channel.get("source_uuid") or "").lower()
    host, port = str(channel.get("source_host") or "").lower(), int(channel.get("source_port") or 3306)
    if uuid in uuids or (at and (host, port) == (at[0].lower(), int(at[1]))):
        return True
    return not uuid and channel.get("source_user") in users


def followed(channel):
    """Whom a channel follows, for a message."""
    where = "%s:%s" % (channel.get("source_host"), channel.get("source_port") or 3306)
    return "%s (server_uuid %s)" % (where, channel.get("source_uuid") or "not known yet")


def await_connected(channels, from_uuid, seconds=SECONDS):
    """Wait while a channel from a server connects again. channels: reads them, normalised, as list of dict."""
    end = time.monotonic() + seconds
    while any(_connects(channel, from_uuid) for channel in channels()) and time.monotonic() < end:
        time.sleep(0.2)


def _connects(channel, from_uuid):
    waits = channel["replica_io_running"] == "Connecting" and not is_refused(channel)
    return waits and (channel["source_uuid"] or "").lower() in ("", from_uuid)
