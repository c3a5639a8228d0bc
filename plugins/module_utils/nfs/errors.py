# SPDX-License-Identifier: GPL-3.0-or-later


class NfsError(Exception):
    """Something about an export, a lock service or a mount could not be read or done. The message says what to do."""
