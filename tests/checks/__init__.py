# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of this collection that no ready tool knows.

A check is a function that takes the root of a checkout and yields problems, each a line "path: what is wrong".
"""
