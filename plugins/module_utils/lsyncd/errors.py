# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of everything that has to do with lsyncd."""


class LsyncdError(Exception):
    """A configuration cannot be made, or lsyncd's files cannot be used."""
