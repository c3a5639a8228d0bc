# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    # What every module says of itself. A module fills in `support` for check_mode, diff_mode and idempotent,
    # and may narrow what is given for the platform.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description:
      - Can run in C(check_mode) and tells exactly what a real run would change, without changing it.
  diff_mode:
    description:
      - Returns the state before and after when in diff mode, with secrets left out.
  idempotent:
    description:
      - When run twice in a row outside check mode with the same arguments, the second run indicates no change.
      - This assumes that nothing else changed the host in between.
  platform:
    description:
      - Target operating systems that the module works on.
    support: full
    platforms: linux
"""

    # For modules that only look. Use it beside the fragment above, after it.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module changes nothing.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    support: full
    details:
      - This module changes nothing.
"""

    # For modules that edit files of the administrator.
    FILES = r"""
options: {}
attributes:
  safe_file_operations:
    description:
      - Writes files atomically (a temporary file in the same folder, fsync, rename), and keeps owner, mode and SELinux
        context.
    support: full
"""

    # For modules that run on the controller instead of a host.
    CONTROLLER = r"""
options: {}
attributes:
  action:
    description:
      - Has an action plugin, so that a part of it or all of it runs on the controller.
    support: full
"""
