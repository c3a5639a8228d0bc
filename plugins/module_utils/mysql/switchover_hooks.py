# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks of the window: argument vectors, each with a time limit, killed with their process group when it is over."""

from ansible_collections.seamless.migration.plugins.module_utils.host import command

NAMES = ("pause", "resume", "switch")
TRIES = 3


class Hooks:
    """What the operator wants to be run. vectors: dict name -> list of argv. limit: seconds for each."""

    def __init__(self, vectors, limit, environment=None):
        self.vectors = vectors
        self.limit = limit
        self.environment = environment or {}

    def has(self, name):
        """Whether there is something to run."""
        return bool(self.vectors.get(name))

    def run(self, name, left=None):
        """Run all vectors of a hook in their order. left: seconds that may be spent on each, if less than the limit.

        Returns dict of evidence. Raises CommandError at the first that fails.
        """
        limit = self.limit if left is None else min(self.limit, left)
        for argv in self.vectors.get(name, []):
            command.run(argv, timeout=limit, env=dict(self.environment, SEAMLESS_HOOK=name))
        return {"commands": len(self.vectors.get(name, []))}

    def insist(self, name):
        """Run a hook until it succeeds, at most three times. Returns dict of evidence. Raises CommandError."""
        for number in range(1, TRIES + 1):
            try:
                return dict(self.run(name), tries=number)
            except command.CommandError:
                if number == TRIES:
                    raise
        return {}
