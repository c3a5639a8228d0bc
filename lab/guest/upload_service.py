#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placeholder until the upload service is written."""

import time

time.sleep(1e9)
