# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of dictionaries come from inventories as values do: none with a newline gets any further than the option."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from rsyncd_case import run  # noqa: E402 - after the path is set

from tests.checks import modules  # noqa: E402 - after the path is set

KEY = "ke\ny"
CONTROLLER = "migration_"  # these write JSON on the controller, which escapes what it carries
SYNC = {"name": "data", "source": "/srv/files", "target": "/srv/new"}

# What each module needs beside the dictionary.
GIVEN = {
    ("batch_job", "definition"): {"kind": "cron.d", "state": "present"},
    ("lsyncd_config", "syncs.rsync"): {"syncs": [dict(SYNC, mode="rsync")]},
    ("lsyncd_config", "syncs.ssh.options"): {
        "syncs": [{"name": "data", "source": "/srv/files", "mode": "rsyncssh", "host": "new", "targetdir": "/srv/new"}],
    },
    ("mysql_settings", "settings"): {},
    ("mysql_settings", "before"): {"state": "restored"},
    ("rsyncd_module", "secrets"): {"name": "data", "path": "/srv/files"},
    ("rsyncd_module", "extra"): {"name": "data", "path": "/srv/files"},
    ("rsyncd_module", "globals"): {},
    ("storage_freeze", "extra_paths_files"): {"migration": "m", "run_id": "r"},
}


def dictionaries(options, place=()):
    """Places of options that take a dictionary with any keys, as (place, whether it is a list of them)."""
    for name, option in (options or {}).items():
        here = place + (name,)
        if option.get("suboptions"):
            yield from dictionaries(option["suboptions"], here)
        elif "dict" in (option.get("type"), option.get("elements")):
            yield here, option["type"] == "list"


def cases():
    for path in modules.files(ROOT):
        if not path.stem.startswith(CONTROLLER):
            for place, several in dictionaries(modules.blocks(path)["DOCUMENTATION"].get("options")):
                yield pytest.param(path.stem, place, several, id="%s-%s" % (path.stem, ".".join(place)))


def put(params, place, value):
    """Set the option at a place; of a list on the way the first entry is meant."""
    for name in place[:-1]:
        inner = params.setdefault(name, {})
        params = inner[0] if isinstance(inner, list) else inner
    params[place[-1]] = value


@pytest.mark.parametrize(("name", "place", "several"), list(cases()))
def test_a_key_with_a_newline_is_refused_before_anything_is_touched(capsys, name, place, several):
    params = {key: [dict(item) for item in value] if isinstance(value, list) else value
              for key, value in GIVEN[name, ".".join(place)].items()}
    put(params, place, [{KEY: "x"}] if several else {KEY: "x"})
    plugin = importlib.import_module("ansible_collections.seamless.migration.plugins.modules." + name)
    answer = run(plugin, capsys, check=True, **params)
    assert answer.get("failed"), answer
    assert "control character" in answer["msg"]
    assert place[-1] in answer["msg"]
    assert KEY not in answer["msg"]
    assert ("'ke\\ny'" in answer["msg"]) != (place == ("secrets",))


def test_every_module_with_such_an_option_is_known_here():
    assert {(case.values[0], ".".join(case.values[1])) for case in cases()} == set(GIVEN)
