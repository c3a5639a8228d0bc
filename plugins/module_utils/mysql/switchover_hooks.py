# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks of the window: argument vectors, each with a time limit, killed with their process group when it is over."""

from ansible_collections.seamless.migration.plugins.module_utils.host import command

TRIES = 3


class Hooks:
    """What the operator wants to be run. vectors: dict name -> list of argv. limit: seconds for each."""

    def __init__(self, vectors, limit):
        self.vectors = vectors
        self.limit = limit

    def has(self, name):
        """Whether there is something to run."""
        return bool(self.vectors.get(name))

    def run(self, name, **environment):
        """Run all vectors of a hook in their order, with its name in SEAMLESS_HOOK. environment: more for them.

        Returns dict of evidence. Raises CommandError at the first that fails.
        """
        for argv in self.vectors.get(name, []):
            command.run(argv, timeout=self.limit, env=dict(environment, SEAMLESS_HOOK=name), leaves_daemon=True)
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
