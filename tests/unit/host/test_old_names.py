# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of files that are not ASCII, to Python 3.6 in the C locale: it takes no other text for a name than ASCII."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.host import files

ROOT = pathlib.Path(__file__).resolve().parents[3]
NAMES = ["plain", "über/€", "bad\udcff"]
OPTIONS = {"trees": [{"path": name} for name in NAMES], "number": 1, "none": None}

# What a module does with an option: looks at the tree, and keeps its path in a record that it reads again.
LOOK = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.storage import facts, freeze_mounts, freeze_state
params = json.loads(sys.stdin.buffer.read().decode("utf-8"))
path = files.native(params)["path"]
paths = freeze_state.Paths("m", params["root"])
paths.prepare()
freeze_state.save(paths, dict(freeze_state.load(paths), trees=[{"path": params["path"]}]))
(tree,) = freeze_state.load(paths)["trees"]
print(json.dumps(files.printable({
    "encoding": sys.getfilesystemencoding(), "facts": facts.tree_facts(path, 5), "found": os.listdir(tree["path"]),
    "tree": freeze_mounts.Tree(tree["path"], "/nowhere").path,
})))
"""


def old_python():
    """An interpreter of Python 3.6: this one, or one that stands where the leg `oldest` looks."""
    found = [sys.executable] if sys.version_info[:2] == (3, 6) else []
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
        found += [str(path) for path in sorted(pathlib.Path(root).glob("versions/3.6.*/bin/python3.6"))]
    found += [path for path in ("/usr/bin/python3.6", "/usr/libexec/platform-python3.6") if os.path.exists(path)]
    if not found:
        pytest.skip("no Python 3.6 on this machine")
    return found[0]


def run_old(argv, **more):
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [old_python()] + argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **more
    )


def test_options_stay_as_they_are_where_names_are_utf_8():
    assert files.native(OPTIONS, "utf-8") is OPTIONS


def test_options_become_names_of_the_same_bytes_where_names_are_ascii():
    named = files.native(OPTIONS, "ascii")
    assert [tree["path"].encode("ascii", "surrogateescape") for tree in named["trees"]] == [
        files.data(name) for name in NAMES
    ]
    assert (named["number"], named["none"]) == (1, None)
    assert files.native(named, "ascii") == named
    assert files.printable(named["trees"][1]["path"]) == NAMES[1]


def test_a_tree_with_such_a_path_is_looked_at_and_kept_in_a_record(tmp_path):
    tree = tmp_path / "über €"
    tree.mkdir()
    (tree / "file").write_text("x")
    params = {"path": str(tree), "root": str(tmp_path / "root")}
    done = run_old(["-c", LOOK, str(ROOT / "build" / "collections")], input=json.dumps(params).encode("ascii"))
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    told = json.loads(done.stdout.decode("ascii"))
    assert told["facts"]["exists"] and told["facts"]["counts"]["files"] == 1
    assert told["found"] == ["file"] and told["tree"] == told["facts"]["path"] == str(tree)


def test_the_guard_carries_a_tree_with_such_a_path(tmp_path):
    source, target = tmp_path / "über €", tmp_path / "dest"
    source.mkdir()
    target.mkdir()
    (source / ".seamless-sentinel").write_text("files data\n")
    (source / "größe").write_text("x")
    settings = {
        "source": str(source), "sentinel": str(source / ".seamless-sentinel"), "sentinel_content": "files data\n",
        "state_dir": str(tmp_path / "zustand ß"), "exclude": ["/öde"], "bwlimit_file": str(tmp_path / "grenze ü"),
    }
    (tmp_path / "grenze ü").write_text("0\n")
    (tmp_path / "guard.json").write_text(json.dumps(settings))
    program = tmp_path / "guard"
    program.write_bytes((ROOT / "roles/live_sync/files/rsync_guard.py").read_bytes())
    done = run_old([str(program), "-a", "-r", "%s/" % source, "%s/" % target])
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    assert (target / "größe").read_text() == "x"
    (source / ".seamless-sentinel").unlink()
    done = run_old([str(program), "-a", "-r", "%s/" % source, "%s/" % target])
    assert done.returncode == 5 and b"Is the source mounted?" in done.stderr
