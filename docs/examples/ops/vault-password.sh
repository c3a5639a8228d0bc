#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Prints the password of the vault. Ask your password store here; this example takes the environment.
printf '%s\n' "${VAULT_PASSWORD:?Set VAULT_PASSWORD to the password of the vault}"
