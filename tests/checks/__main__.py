# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every check over this checkout and print what is wrong."""

from __future__ import annotations

import pathlib
import sys

from checks import changelog, files, modules, playbooks, readme, roles

CHECKS = (
    changelog.check_release,
    files.check_headers,
    files.check_names,
    files.check_paths,
    modules.check_action_groups,
    modules.check_documentation,
    modules.check_tests,
    playbooks.check_strategy,
    playbooks.check_ends,
    readme.check_lists,
    roles.check_readmes,
    roles.check_specs,
)


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    problems = [problem for check in CHECKS for problem in check(root)]
    print("\n".join(problems) or "%d checks, nothing wrong" % len(CHECKS))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
