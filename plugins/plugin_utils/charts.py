# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots as SVG, in the colours of the page that holds them."""

from __future__ import annotations

import math
import time

from markupsafe import Markup

WIDTH, HEIGHT = 1000, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 44, 14, 30
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)
# Classes of the page's style sheet, one for each line.
LINES = ("one", "two", "three", "four")


def ceiling(value, base=10):
    """The next round number at or above value, and the step between the marks below it. base: 1024 for bytes."""
    if value <= 0:
        return 1.0, 0.5
    unit = float(base) ** math.floor(math.log(value, base)) if base != 10 else 1.0
    value /= unit
    power = 10.0 ** math.floor(math.log10(value))
    for factor in (1, 2, 4, 5, 10):
        if value <= factor * power:
            break
    top = factor * power * unit
    return top, top / (4 if factor in (2, 4, 1) else 5)


def marks_of_time(begin, end, most=8):
    """Round times between two (seconds since 1970) with what is written at them."""
    span = max(end - begin, 1)
    step = next((step for step in _STEPS if span / step <= most), 604800 * math.ceil(span / 604800 / most))
    form = "%d %b" if step >= 86400 else "%d %b %H:%M" if span > 86400 else "%H:%M" if step >= 60 else "%H:%M:%S"
    first = math.ceil(begin / step) * step
    return [(at, time.strftime(form, time.gmtime(at)).lstrip("0") or "0") for at in _range(first, end, step)]


def _range(first, end, step):
    at = first
    while at <= end:
        yield at
        at += step


def plot(series, unit, title, base=10):
    """Lines over time.

    series: name -> list of (seconds since 1970, number), not empty. unit: callable that writes a number. title: what is
    shown, for those who do not see it. Returns Markup.
    """
    points = [point for line in series.values() for point in line]
    begin, end = min(at for at, _value in points), max(at for at, _value in points)
    begin, end = (begin, end) if end > begin else (begin - 1, end + 1)
    top, step = ceiling(max(value for _at, value in points), base)
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def _x(at):
        return round(_LEFT + (at - begin) / (end - begin) * wide, 1)

    def _y(value):
        return round(_TOP + high - value / top * high, 1)

    parts = [Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, title)]
    grid = Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    for value in _range(0, top * 1.001, step):
        parts.append(grid.format(_LEFT, WIDTH - _RIGHT, _y(value), _y(value)))
        parts.append(Markup('<text class="y" x="{}" y="{}">{}</text>').format(_LEFT - 8, _y(value) + 4, unit(value)))
    for at, text in marks_of_time(begin, end):
        parts.append(Markup('<text class="x" x="{}" y="{}">{}</text>').format(_x(at), HEIGHT - 8, text))
    for index, line in enumerate(series.values()):
        parts.append(_line(line, LINES[index % len(LINES)], _x, _y, fill=len(series) == 1))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def _line(points, name, x, y, fill):
    path = " ".join("%s,%s" % (x(at), y(value)) for at, value in points)
    parts = []
    if fill and len(points) > 1:
        around = "%s,%s %s %s,%s" % (x(points[0][0]), y(0), path, x(points[-1][0]), y(0))
        parts.append(Markup('<polygon class="area {}" points="{}"/>').format(name, around))
    if len(points) > 1:
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(name, path))
    if len(points) <= 60:
        for at, value in points:
            parts.append(Markup('<circle class="dot {}" cx="{}" cy="{}" r="3"/>').format(name, x(at), y(value)))
    return Markup("").join(parts)
