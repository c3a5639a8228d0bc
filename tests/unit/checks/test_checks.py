# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check is silent about a checkout that is right, and names the place when one thing is broken."""

import pytest
from checks import changelog, files, modules, playbooks, readme, roles
from checks.__main__ import CHECKS

LOOK = "plugins/modules/look.py"
DEFAULTS = "roles/looking/defaults/main.yml"
SPECS = "roles/looking/meta/argument_specs.yml"


def problems(check, checkout):
    return list(check(checkout.root))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_nothing_is_said_of_a_checkout_that_is_right(check, checkout):
    assert problems(check, checkout) == []


def test_a_file_without_its_licence_is_named(checkout):
    checkout.write("docs/storage.md", "# Storage\n")
    assert [line.split(":")[0] for line in problems(files.check_headers, checkout)] == ["docs/storage.md"]


def test_files_that_git_ignores_need_no_licence(checkout):
    checkout.write(".gitignore", "# SPDX-License-Identifier: GPL-3.0-or-later\n/build/\n")
    checkout.write("build/made.py", "pass\n")
    assert problems(files.check_headers, checkout) == []


@pytest.mark.parametrize("path", ["/".join(["", "Users", "me", "x"]), "/".join(["", "work", "main"])])
def test_a_path_of_one_machine_is_named_with_its_line(checkout, path):
    checkout.write("docs/storage.md", "first\nsee %s\n" % path)
    assert problems(files.check_paths, checkout)[0].startswith("docs/storage.md:2: a path of one machine")


def test_a_path_that_only_ends_like_one_is_fine(checkout):
    checkout.write("docs/storage.md", "build/work/x and {{ folder }}/work/x and /srv/work/x and /home/ann\n")
    assert problems(files.check_paths, checkout) == []


def test_two_test_files_of_one_name_are_named(checkout):
    checkout.write("tests/unit/one/test_it.py", "")
    assert problems(files.check_names, checkout) == []
    checkout.write("tests/unit/two/test_it.py", "")
    [told] = problems(files.check_names, checkout)
    assert told == "tests/unit/two/test_it.py: has the name of tests/unit/one/test_it.py"


def test_a_registry_host_is_named(checkout):
    checkout.write("docs/storage.md", "get it from deb.%s.org\n" % "debian")
    assert "a registry host" in problems(files.check_paths, checkout)[0]


def test_a_default_without_specification_is_named(checkout):
    checkout.write(DEFAULTS, "looking_places: []\nlooking_count: 3\nlooking_address: ''\nlooking_new: 1\n")
    assert problems(roles.check_specs, checkout) == [
        "roles/looking/meta/argument_specs.yml: looking_new of the defaults is missing"
    ]


def test_a_specified_variable_without_default_is_named(checkout):
    checkout.replace(DEFAULTS, "looking_count: 3\n", "")
    assert problems(roles.check_specs, checkout) == [
        "roles/looking/defaults/main.yml: looking_count of the specification is missing"
    ]


def test_a_required_variable_needs_no_default(checkout):
    checkout.replace(DEFAULTS, "looking_count: 3\n", "")
    checkout.replace(SPECS, "default: 3", "required: true")
    assert problems(roles.check_specs, checkout) == []


def test_a_default_that_differs_from_the_specification_is_named(checkout):
    checkout.replace(DEFAULTS, "looking_count: 3", "looking_count: 4")
    assert problems(roles.check_specs, checkout) == [
        "roles/looking/meta/argument_specs.yml: looking_count: the default is 4 there"
    ]


def test_a_variable_of_another_name_than_the_role_is_named(checkout):
    checkout.replace(DEFAULTS, "looking_count", "seen_count")
    checkout.replace(SPECS, "looking_count", "seen_count")
    assert "does not begin with the name of the role" in problems(roles.check_specs, checkout)[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("looking_places: []", "looking_places: {}", "{} is no list"),
        ("looking_places: []", "looking_places: [{path: 1}]", "looking_places[0].path: 1 is no path"),
        ("looking_places: []", "looking_places: [{pth: x}]", "looking_places[0].pth: not in the specification"),
        ("looking_count: 3", "looking_count: true", "True is no int"),
    ],
)
def test_a_default_of_another_type_is_named_with_its_place(checkout, old, new, said):
    checkout.replace(DEFAULTS, old, new)
    assert any(line.endswith(said) for line in problems(roles.check_specs, checkout))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    description: Looks.\n", "", "main: no description"),
        ("        elements: dict\n", "", "looking_places: no elements"),
        ("{description: Where., type: path", "{type: path", "looking_places.path: no description"),
        ("        type: int\n", "", "looking_count: no type, or one that is unknown"),
    ],
)
def test_a_gap_in_a_specification_is_named_with_its_place(checkout, old, new, said):
    checkout.replace(SPECS, old, new)
    assert any(line.endswith(said) for line in problems(roles.check_specs, checkout))


def test_a_variable_that_the_readme_forgets_is_named(checkout):
    checkout.replace("roles/looking/README.md", "`looking_count`", "looking_count")
    assert problems(roles.check_readmes, checkout) == [
        "roles/looking/README.md: `looking_count` is not explained"
    ]


def test_a_role_without_readme_is_named(checkout):
    checkout.remove("roles/looking/README.md")
    assert problems(roles.check_readmes, checkout) == ["roles/looking/README.md: missing"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("RETURN = ", "RESULT = ", "no RETURN, or it does not parse"),
        ("- name: Look\n  seamless", "- name: Look: at\n  seamless", "no EXAMPLES, or it does not parse"),
        ("seamless.migration.look:", "look:", "EXAMPLES has no task with seamless.migration.look"),
        ("  diff_mode: {support: N/A}\n", "", "does not say its support of diff_mode"),
        ("version_added: 0.1.0\n", "", "no version_added"),
        ("module: look\n", "module: see\n", "DOCUMENTATION is of another module"),
        ("  - seamless.migration.attributes\n", "  - other.attributes\n", "does not extend %s" % modules.FRAGMENT),
    ],
)
def test_a_gap_in_the_documentation_of_a_module_is_named(checkout, old, new, said):
    checkout.replace(LOOK, old, new)
    assert any(line == "%s: %s" % (LOOK, said) for line in problems(modules.check_documentation, checkout))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tests/unit/test_look.py", "no test names it"),
        ("roles/looking/tasks/main.yml", "neither a molecule scenario nor a role uses it"),
        ("tests/legs/modules/look.yml", "so it is not run on old hosts"),
    ],
)
def test_a_module_that_nobody_tests_is_named(checkout, name, said):
    checkout.remove(name)
    assert [said in line for line in problems(modules.check_tests, checkout)] == [True]


def test_an_action_group_with_a_module_that_is_not_there_is_named(checkout):
    checkout.write("meta/runtime.yml", "action_groups:\n  all: [look, gone]\n")
    checkout.replace(LOOK, "  idempotent:", "  action_group: {membership: seamless.migration.all}\n  idempotent:")
    assert problems(modules.check_action_groups, checkout) == [
        "meta/runtime.yml: gone in the action group all is no module"
    ]


def test_a_module_that_forgets_its_action_group_is_named(checkout):
    checkout.write("meta/runtime.yml", "action_groups:\n  all: [look]\n")
    assert "differ" in problems(modules.check_action_groups, checkout)[0]


def test_a_version_that_the_changelog_does_not_know_is_named(checkout):
    checkout.write("galaxy.yml", "version: 0.2.0\n")
    assert problems(changelog.check_release, checkout) == [
        "changelogs: neither a release 0.2.0 nor a fragment 0.2.0.yml that sums it up"
    ]


def test_a_missing_changelog_is_named(checkout):
    checkout.remove("CHANGELOG.md")
    assert problems(changelog.check_release, checkout) == ["CHANGELOG.md: missing, `make changelog` writes it"]


def test_a_play_that_another_strategy_could_tear_apart_is_named(checkout):
    checkout.replace("playbooks/look.yml", "  strategy: ansible.builtin.linear\n", "")
    assert problems(playbooks.check_strategy, checkout)[0].startswith("playbooks/look.yml: Look: no strategy")


def test_a_play_that_would_not_end_the_playbook_with_a_lost_host_is_named(checkout):
    line = "  strategy: ansible.builtin.linear\n"
    checkout.replace("playbooks/look.yml", line, line + "  any_errors_fatal: true\n")
    assert problems(playbooks.check_ends, checkout)[0].startswith("playbooks/look.yml: Look: any_errors_fatal without")
    checkout.replace("playbooks/look.yml", line, line + "  max_fail_percentage: 0\n")
    assert problems(playbooks.check_ends, checkout) == []


@pytest.mark.parametrize(
    "old, said",
    [
        ("`look`, or", "plugins/modules/look.py"),
        ("(roles/looking/README.md)", "roles/looking"),
        ("with `look`", "playbooks/look.yml"),
    ],
)
def test_what_the_readme_does_not_list_is_named(checkout, old, said):
    checkout.replace("README.md", old, "")
    assert ["README.md: %s is not listed" % said in line for line in problems(readme.check_lists, checkout)] == [True]
