# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules: documented in full, tested, run on old hosts, in the action groups that they name."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import yaml

BLOCKS = ("DOCUMENTATION", "EXAMPLES", "RETURN")
ATTRIBUTES = ("check_mode", "diff_mode", "idempotent")
FRAGMENT = "seamless.migration.attributes"


def files(root: pathlib.Path) -> list[pathlib.Path]:
    """Return the modules, in order."""
    return sorted(path for path in root.glob("plugins/modules/*.py") if path.name != "__init__.py")


def blocks(path: pathlib.Path) -> dict[str, Any]:
    """Return what stands in the documentation strings of a module, parsed; what is absent or no YAML is left out."""
    found = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id in BLOCKS:
                try:
                    found[target.id] = yaml.safe_load(node.value.value)
                except yaml.YAMLError:
                    continue
    return found


def check_documentation(root: pathlib.Path) -> Iterator[str]:
    """Each module has the three blocks, the attributes, a version, and examples that use its full name."""
    for path in files(root):
        where = "plugins/modules/%s" % path.name
        found = blocks(path)
        for name in BLOCKS:
            if not found.get(name):
                yield "%s: no %s, or it does not parse" % (where, name)
        documentation = found.get("DOCUMENTATION") or {}
        yield from _gaps(where, path.stem, documentation)
        if not any("seamless.migration.%s" % path.stem in task for task in _tasks(found.get("EXAMPLES") or [])):
            yield "%s: EXAMPLES has no task with seamless.migration.%s" % (where, path.stem)


def _gaps(where: str, name: str, documentation: dict[str, Any]) -> Iterator[str]:
    if documentation.get("module") != name:
        yield "%s: DOCUMENTATION is of another module" % where
    if not documentation.get("version_added"):
        yield "%s: no version_added" % where
    fragments = documentation.get("extends_documentation_fragment") or []
    if FRAGMENT not in ([fragments] if isinstance(fragments, str) else fragments):
        yield "%s: does not extend %s" % (where, FRAGMENT)
    if "%s.info_module" % FRAGMENT in fragments:
        return
    for attribute in ATTRIBUTES:
        if not (documentation.get("attributes") or {}).get(attribute, {}).get("support"):
            yield "%s: does not say its support of %s" % (where, attribute)


def _tasks(examples: Any) -> Iterator[dict[str, Any]]:
    """Yield the tasks of examples, also those inside plays and blocks."""
    for item in examples if isinstance(examples, list) else []:
        if isinstance(item, dict):
            yield item
            for key in ("tasks", "block", "rescue", "always", "pre_tasks", "post_tasks"):
                yield from _tasks(item.get(key))


def check_tests(root: pathlib.Path) -> Iterator[str]:
    """Each module is named by a test, used by a story on real hosts or a role, and run by the play for old hosts."""
    tests = _text(root, "tests/unit/**/*.py") + _text(root, "molecule/**/*.py") + _text(root, "molecule/*/*.yml")
    uses = _text(root, "molecule/*/*.yml") + _text(root, "roles/*/tasks/*.yml") + _text(root, "playbooks/**/*.yml")
    for path in files(root):
        where = "plugins/modules/%s" % path.name
        name = re.compile(r"\b%s\b" % re.escape(path.stem))
        if not name.search(tests):
            yield "%s: no test names it" % where
        if not name.search(uses):
            yield "%s: neither a molecule scenario nor a role uses it" % where
        if not (root / "tests" / "legs" / "modules" / ("%s.yml" % path.stem)).is_file():
            yield "%s: no tests/legs/modules/%s.yml, so it is not run on old hosts" % (where, path.stem)


def _text(root: pathlib.Path, pattern: str) -> str:
    return "\n".join(path.read_text("utf-8", "replace") for path in sorted(root.glob(pattern)) if path.is_file())


def _membership(root: pathlib.Path, documentation: dict[str, Any]) -> str | list[str]:
    """Return the action groups that a module names, itself or by the fragments that it extends."""
    extended = documentation.get("extends_documentation_fragment") or []
    for name in [extended] if isinstance(extended, str) else extended:
        own, _dot, part = name.removeprefix("seamless.migration.").partition(".")
        source = root / "plugins" / "doc_fragments" / ("%s.py" % own)
        if source.is_file():
            attributes = _fragment(source, (part or "documentation").upper()).get("attributes") or {}
            if "action_group" in attributes:
                return attributes["action_group"].get("membership") or []
    return (documentation.get("attributes") or {}).get("action_group", {}).get("membership") or []


def _fragment(source: pathlib.Path, name: str) -> dict[str, Any]:
    """Return one part of a documentation fragment, parsed."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
            return yaml.safe_load(node.value.value) or {}
    return {}


def check_action_groups(root: pathlib.Path) -> Iterator[str]:
    """meta/runtime.yml and the action_group attributes of the modules say the same."""
    runtime = yaml.safe_load((root / "meta" / "runtime.yml").read_text("utf-8"))
    groups = runtime.get("action_groups") or {}
    names = {path.stem for path in files(root)}
    member_of: dict[str, set[str]] = {name: set() for name in names}
    for group, members in groups.items():
        for member in members:
            if not isinstance(member, str):
                continue
            if member not in names:
                yield "meta/runtime.yml: %s in the action group %s is no module" % (member, group)
            member_of.setdefault(member, set()).add("seamless.migration.%s" % group)
    for path in files(root):
        said = _membership(root, blocks(path).get("DOCUMENTATION") or {})
        if set([said] if isinstance(said, str) else said) != member_of[path.stem]:
            yield "plugins/modules/%s: its action_group attribute and meta/runtime.yml differ" % path.name
