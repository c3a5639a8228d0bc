# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as people read them, in plan, status and report."""

from __future__ import annotations

import calendar
import time

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(number):
    """1536 -> '1.5 KiB'. None -> '-'."""
    if number is None:
        return "-"
    value = float(number)
    for unit in _UNITS:
        if abs(value) < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return "%.0f %s" % (value, unit) if unit == "B" else "%.1f %s" % (value, unit)


def rate(number):
    """1536 -> '1.5 KiB/s'. None -> '-'."""
    return "-" if number is None else size(number) + "/s"


def count(number):
    """1234567 -> '1 234 567', with narrow no-break spaces. None -> '-'."""
    return "-" if number is None else format(int(number), ",").replace(",", "\u202f")


def duration(seconds):
    """Seconds as the two units that matter: 0.42 -> '420 ms', 75 -> '1 min 15 s', 90000 -> '1 d 1 h'. None -> '-'."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return "%d ms" % round(seconds * 1000)
    if seconds < 60:
        return "%.1f s" % seconds if seconds < 10 else "%d s" % seconds
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return "%d min %d s" % (minutes, rest)
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return "%d h %d min" % (hours, minutes)
    days, hours = divmod(hours, 24)
    return "%d d %d h" % (days, hours)


def exact(milliseconds):
    """Milliseconds to the millisecond: 7204.1 -> '7.204 s', 18.4 -> '18 ms'."""
    if milliseconds is None:
        return "-"
    return "%.3f s" % (milliseconds / 1000) if milliseconds >= 1000 else "%d ms" % round(milliseconds)


def epoch(text):
    """A time of the journal as seconds since 1970, float."""
    whole, _dot, rest = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + (rest or "0"))


def moment(text):
    """A time of the journal as '22 Nov 2026 06:57:23'. None -> '-'."""
    return time.strftime("%d %b %Y %H:%M:%S", time.gmtime(epoch(text))).lstrip("0") if text else "-"


def clock(text):
    """A time of the journal as '06:57:23'. None -> '-'."""
    return text[11:19] if text else "-"


def stage(name):
    """'storage_cutover' -> 'Storage cutover', 'mysql_gtid' -> 'MySQL gtid'."""
    text = (name or "no stage").replace("_", " ")
    return "MySQL" + text[5:] if text.startswith("mysql") else text[:1].upper() + text[1:]


def step(name):
    """'stop_writers' -> 'stop writers'."""
    return (name or "").replace("_", " ")
