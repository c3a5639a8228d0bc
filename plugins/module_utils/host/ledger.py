# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of what this collection did to a host, so that exactly that can be taken back."""

import json
import os

from ansible_collections.seamless.migration.plugins.module_utils.host import files


class Ledger:
    """A list of dicts in a file of root. path: of the file; entries: the list."""

    says = "what was done"
    otherwise = "undo by hand what it named"
    error = ValueError

    def __init__(self, path):
        self.path = path
        self.entries = []
        content = files.read(path)
        if content is not None:
            try:
                self.entries = json.loads(files.text(content))["entries"]
            except (ValueError, KeyError, TypeError) as error:
                raise self.error(
                    "Failed to read %s: %s. It says %s by this collection: restore it from a backup, or %s."
                    % (path, error, self.says, self.otherwise)
                ) from error

    def find(self, **keys):
        """The first entry with these values, or None."""
        for entry in self.entries:
            if all(entry.get(key) == value for key, value in keys.items()):
                return entry
        return None

    def write(self, entries):
        """Make entries the list; the file is written when that changes it."""
        if entries == self.entries:
            return
        self.entries = entries
        folder = os.path.dirname(self.path)
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o700)
        # ASCII, so that bytes that are no UTF-8 (surrogate escapes here) survive.
        content = json.dumps({"entries": entries}, indent=1, sort_keys=True) + "\n"
        files.write(self.path, content.encode("ascii"), mode=0o600)
