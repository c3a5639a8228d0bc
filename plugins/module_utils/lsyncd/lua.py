# SPDX-License-Identifier: GPL-3.0-or-later
"""Python values as Lua source, and the check of Lua source by whatever Lua is at hand."""

import re

from ansible_collections.seamless.migration.plugins.module_utils.host import command, files
from ansible_collections.seamless.migration.plugins.module_utils.lsyncd.errors import LsyncdError

NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
RESERVED = frozenset(
    (
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
        "not", "or", "repeat", "return", "then", "true", "until", "while",
    )
)
PARSERS = ("luac", "luac5.3", "luac5.4", "luac5.1", "luac5.2")
INTERPRETERS = ("lua", "lua5.3", "lua5.4", "lua5.1", "lua5.2")
LOAD = "local f, e = (loadstring or load)(io.read('*a'), '=lsyncd') if not f then io.stderr:write(e) os.exit(1) end"


def string(text):
    """A Lua string literal that has exactly the bytes of text.

    text: str (surrogate escapes stand for bytes that are no UTF-8) or bytes. Printable ASCII stands for itself, every
    other byte is written as three decimal digits (Lua 5.1 to 5.4 manual, 3.1), so that no byte can end the literal.
    """
    content = files.data(text) if isinstance(text, str) else text
    return '"%s"' % "".join(_escaped(byte) for byte in bytearray(content))


def _escaped(byte):
    if byte in (0x22, 0x5C):
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else "\\%03d" % byte


def key(name):
    """A table key: a plain name where Lua takes it, else a quoted one."""
    return name if NAME.match(name) and name not in RESERVED else "[%s]" % string(name)


def value(item, indent=0):
    """A Python bool, int, str, list or dict (insertion order) as a Lua expression. Raises LsyncdError for others."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, int):
        return str(item)
    if isinstance(item, (str, bytes)):
        return string(item)
    inner = "\t" * (indent + 1)
    if isinstance(item, dict):
        rows = ["%s%s = %s,\n" % (inner, key(name), value(part, indent + 1)) for name, part in item.items()]
    elif isinstance(item, list):
        rows = ["%s%s,\n" % (inner, value(part, indent + 1)) for part in item]
    else:
        raise LsyncdError("%r has no form in Lua" % (item,))
    return "{\n%s%s}" % ("".join(rows), "\t" * indent) if rows else "{}"


def check(source):
    """Let a Lua parser read source (bytes).

    Returns the name of the program that did, or None where no Lua is at hand. Raises LsyncdError with Lua's message.
    """
    for names, arguments in ((PARSERS, ["-p", "-"]), (INTERPRETERS, ["-e", LOAD])):
        for name in names:
            program = command.which(name)
            if not program:
                continue
            try:
                command.run([program] + arguments, stdin=source, timeout=20)
            except command.CommandError as error:
                cause = error.result.cause() if error.result else str(error)
                raise LsyncdError("the configuration is no Lua, says %s: %s" % (name, cause)) from error
            return name
    return None
