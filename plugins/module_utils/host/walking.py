# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks over many entries that end when their time is over."""

OFTEN = 1000  # entries between two looks at the clock


def no_hurry():
    """The clock of a walk that may take as long as it takes."""


def watched(items, still_time):
    """The items, with a look at the clock at the first of each thousand. still_time: raises when the time is over."""
    for number, item in enumerate(items):
        if number % OFTEN == 0:
            still_time()
        yield item
