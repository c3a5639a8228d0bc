# SPDX-License-Identifier: GPL-3.0-or-later
"""A small checkout that every check is content with, for tests to break in one place."""

import subprocess

import pytest

HEADER = "# SPDX-License-Identifier: GPL-3.0-or-later\n"

MODULE = HEADER + '''
DOCUMENTATION = r"""
module: look
short_description: Look
version_added: 0.1.0
description: [Looks.]
extends_documentation_fragment:
  - seamless.migration.attributes
attributes:
  check_mode: {support: full}
  diff_mode: {support: N/A}
  idempotent: {support: full}
"""

EXAMPLES = r"""
- name: Look
  seamless.migration.look:
"""

RETURN = r"""
seen: {description: What was seen., type: str, returned: always}
"""
'''

SPECS = HEADER + """
argument_specs:
  main:
    short_description: Look
    description: Looks.
    options:
      looking_places:
        description: Where.
        type: list
        elements: dict
        default: []
        options:
          path: {description: Where., type: path, required: true}
      looking_count:
        description: How often.
        type: int
        default: 3
      looking_address:
        description: Through whom.
        type: str
        default: "{{ migration_address }}"
"""

FILES = {
    "CHANGELOG.md": "",
    "README.md": "<!-- SPDX-License-Identifier: GPL-3.0-or-later -->\n"
    "## Playbooks\nBegin with `look`\n## Modules\n`look`, or [looking](roles/looking/README.md)\n",
    "changelogs/fragments/0.1.0.yml": HEADER + "release_summary: The first.\n",
    "galaxy.yml": HEADER + "version: 0.1.0\n",
    "meta/runtime.yml": HEADER + "action_groups: {}\n",
    "playbooks/look.yml": HEADER + "- name: Look\n  hosts: all\n  strategy: ansible.builtin.linear\n",
    "plugins/modules/look.py": MODULE,
    "roles/looking/README.md": "<!-- SPDX-License-Identifier: GPL-3.0-or-later -->\n"
    "`looking_places` `looking_count` `looking_address`\n",
    "roles/looking/defaults/main.yml": HEADER
    + 'looking_places: []\nlooking_count: 3\nlooking_address: "{{ migration_address }}"\n',
    "roles/looking/meta/argument_specs.yml": SPECS,
    "roles/looking/tasks/main.yml": HEADER + "- name: Look\n  seamless.migration.look:\n",
    "tests/legs/modules/look.yml": HEADER,
    "tests/unit/test_look.py": HEADER + "import look\n",
}


class Checkout:
    """A folder under git with files that tests change."""

    def __init__(self, root):
        self.root = root
        subprocess.run(["git", "init", "--quiet"], cwd=str(root), check=True)
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace(self, name, old, new):
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def remove(self, name):
        (self.root / name).unlink()


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)
