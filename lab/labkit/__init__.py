# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab: hosts as podman containers with systemd, reached over SSH like real ones."""
