# -*- coding: utf-8 -*-
# Copyright (c) 2026 The seamless.migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Found by Ansible beside the playbooks, so that the recorder needs no setting, also where they are imported."""

from __future__ import annotations

from ansible_collections.seamless.migration.plugins.callback.recorder import CallbackModule as Recorder


class CallbackModule(Recorder):
    """The recorder, enabled."""

    CALLBACK_NEEDS_ENABLED = False
