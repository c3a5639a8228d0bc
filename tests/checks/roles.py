# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles: the defaults, the argument specification and the README name the same variables."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import yaml

TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (float, int),
    "int": (int,),
    "list": (list,),
    "path": (str,),
    "raw": (object,),
    "str": (str,),
}


def folders(root: pathlib.Path) -> list[pathlib.Path]:
    """Return the roles, in order."""
    return sorted(path for path in root.glob("roles/*") if path.is_dir())


def load(path: pathlib.Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; an absent file counts as an empty one."""
    return (yaml.safe_load(path.read_text("utf-8")) or {}) if path.is_file() else {}


def is_template(value: Any) -> bool:
    """Tell whether Ansible computes this value, so that nothing can be said of it here."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def entry_points(role: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Return the entry points that a role specifies, by name."""
    for name in ("argument_specs.yml", "argument_specs.yaml"):
        specs = load(role / "meta" / name)
        if specs:
            return specs.get("argument_specs", {})
    return {}


def specified(role: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Return the options of all entry points of a role, by name."""
    options: dict[str, dict[str, Any]] = {}
    for point in entry_points(role).values():
        options.update(point.get("options") or {})
    return options


def check_specs(root: pathlib.Path) -> Iterator[str]:
    """Each role has a specification, complete in itself, with the same variables as its defaults."""
    for role in folders(root):
        where = "roles/%s" % role.name
        points = entry_points(role)
        if "main" not in points:
            yield "%s/meta/argument_specs.yml: no entry point main" % where
        for name, point in points.items():
            yield from _incomplete_point("%s/meta/argument_specs.yml: %s" % (where, name), point)
        yield from _unequal(role, where)


def _incomplete_point(where: str, point: dict[str, Any]) -> Iterator[str]:
    for key in ("short_description", "description"):
        if not point.get(key):
            yield "%s: no %s" % (where, key)
    for name, option in (point.get("options") or {}).items():
        yield from _incomplete_option("%s: %s" % (where, name), option)


def _incomplete_option(where: str, option: dict[str, Any]) -> Iterator[str]:
    if not option.get("description"):
        yield "%s: no description" % where
    if option.get("type") not in TYPES:
        yield "%s: no type, or one that is unknown" % where
    if option.get("type") == "list" and not option.get("elements"):
        yield "%s: no elements" % where
    for name, inner in (option.get("options") or {}).items():
        yield from _incomplete_option("%s.%s" % (where, name), inner)


def _unequal(role: pathlib.Path, where: str) -> Iterator[str]:
    defaults = load(role / "defaults" / "main.yml")
    options = specified(role)
    for name in defaults:
        if not name.startswith((role.name + "_", "__%s_" % role.name)):
            yield "%s/defaults/main.yml: %s does not begin with the name of the role" % (where, name)
        if name not in options and not name.startswith("__"):
            yield "%s/meta/argument_specs.yml: %s of the defaults is missing" % (where, name)
    for name, option in options.items():
        if name in defaults:
            yield from _contradiction("%s/defaults/main.yml: %s" % (where, name), option, defaults[name])
            given = option.get("default", defaults[name])
            if given != defaults[name] and not is_template(given):
                yield "%s/meta/argument_specs.yml: %s: the default is %r there" % (where, name, defaults[name])
        elif not option.get("required"):
            yield "%s/defaults/main.yml: %s of the specification is missing" % (where, name)


def _contradiction(where: str, option: dict[str, Any], value: Any) -> Iterator[str]:
    """Yield where a default value does not fit its option, down through dictionaries and lists of them."""
    kind = option.get("type")
    if value is None or is_template(value) or kind not in TYPES:
        return
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind in ("int", "float")):
        yield "%s: %r is no %s" % (where, value, kind)
        return
    if option.get("choices") and kind == "str" and value not in option["choices"]:
        yield "%s: %r is none of the choices" % (where, value)
    if kind == "dict":
        yield from _inner(where, option, value)
    if kind == "list" and option.get("elements") == "dict":
        for number, element in enumerate(value):
            if isinstance(element, dict):
                yield from _inner("%s[%d]" % (where, number), option, element)


def _inner(where: str, option: dict[str, Any], value: dict[str, Any]) -> Iterator[str]:
    options = option.get("options")
    if options is None:
        return
    for name, element in value.items():
        if name in options:
            yield from _contradiction("%s.%s" % (where, name), options[name], element)
        else:
            yield "%s.%s: not in the specification" % (where, name)


def check_readmes(root: pathlib.Path) -> Iterator[str]:
    """Each role has a README that names each of its variables in backquotes."""
    for role in folders(root):
        readme = role / "README.md"
        text = readme.read_text("utf-8") if readme.is_file() else ""
        if not text:
            yield "roles/%s/README.md: missing" % role.name
            continue
        for name in specified(role):
            if "`%s`" % name not in text:
                yield "roles/%s/README.md: `%s` is not explained" % (role.name, name)
