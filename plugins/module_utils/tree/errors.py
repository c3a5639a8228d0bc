# SPDX-License-Identifier: GPL-3.0-or-later
"""The exception of this package."""


class TreeError(Exception):
    """A tree could not be read, or two trees could not be compared."""
