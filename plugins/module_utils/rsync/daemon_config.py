# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and edit rsyncd.conf as rsync itself reads it, keeping every byte that is not ours.

The grammar follows rsync's params.c and loadparm.c (3.5.0): module and key names ignore case and all whitespace;
`#` and `;` begin a comment line (which a backslash does not continue); a trailing `\\` continues a line; the first
`=` splits; keys before any section, in [global] and after an &include belong to the global part; two sections whose
names are equal in that sense are one module.
"""

import os

from ansible_collections.seamless.migration.plugins.module_utils.host import files
from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_keys import (
    BLANKS,
    KEYS,
    ConfigError,
    meaning,
    normal,
)

MAX_DEPTH = 16  # of includes; rsync itself has no bound and would end by running out of file handles


class Item:
    """A piece of the file. kind: blank, comment, section, key, directive, junk (a line that rsync ignores).

    raw: the exact text, all of them together are the file. name, value: as rsync reads them. line: number of the
    line that it starts on. start: offset of the value in raw.
    """

    def __init__(self, kind, raw, line, *, name="", value="", start=0):
        self.kind = kind
        self.raw = raw
        self.line = line
        self.name = name
        self.value = value
        self.start = start


def _continued(text):
    """Offset of the backslash that continues a line, or -1 (Continuation() of params.c)."""
    stripped = text.rstrip(BLANKS)
    return len(stripped) - 1 if stripped.endswith("\\") else -1


def _skip_blanks(text, pos):
    while pos < len(text) and text[pos] in BLANKS and text[pos] != "\n":
        pos += 1
    return pos


def _line_end(text, pos):
    """Offset behind the newline that ends the line at pos."""
    found = text.find("\n", pos)
    return len(text) if found < 0 else found + 1


def _scan_section(text, pos):
    """pos: behind the `[`. Returns (name, offset behind the line), or (None, offset) when rsync would give up here."""
    name = ""
    while pos < len(text):
        c = text[pos]
        pos += 1
        if c == "]":
            name = " ".join(part for part in _split_blanks(name) if part)
            return (name or None), _line_end(text, pos)
        if c == "\n":
            cut = _continued(name)
            if cut < 0:
                return None, pos
            name = name[:cut]
        else:
            name += c
    return None, pos


def _split_blanks(text):
    for blank in BLANKS:
        text = text.replace(blank, " ")
    return text.split(" ")


def _scan_name(text, pos):
    """Returns (name or None for a line without a value, offset of the value or behind the line)."""
    name = ""
    directive = text[pos] == "&"
    while pos < len(text):
        c = text[pos]
        pos += 1
        if c == "=":
            return name, _skip_blanks(text, pos)
        if c == "\n":
            cut = _continued(name)
            if cut < 0:
                return None, pos
            name = name[:cut]
        elif directive and c in " \t":
            pos = _skip_blanks(text, pos)
            return name, _skip_blanks(text, pos + 1) if text[pos : pos + 1] == "=" else pos
        else:
            name += c
    return None, pos


def _scan_value(text, pos):
    """Returns (value as rsync reads it, offset behind the line)."""
    value = ""
    end = 0
    while pos < len(text):
        c = text[pos]
        pos += 1
        if c == "\r":
            continue
        if c == "\n":
            cut = _continued(value)
            if cut < 0:
                break
            value = value[:cut]
            end = cut
        else:
            value += c
            if c not in BLANKS:
                end = len(value)
    return value[:end], pos


def _scan_entry(text, begin, pos, line):
    name, pos = _scan_name(text, pos)
    if name is None:
        return Item("junk", text[begin:pos], line), pos
    start = pos - begin
    value, pos = _scan_value(text, pos)
    kind = "directive" if name.startswith("&") else "key"
    return Item(kind, text[begin:pos], line, name=name.strip(BLANKS), value=value, start=start), pos


def _scan_item(text, begin, line):
    pos = _skip_blanks(text, begin)
    if pos == len(text) or text[pos] == "\n":
        return Item("blank", text[begin : pos + 1], line), min(pos + 1, len(text))
    if text[pos] in "#;":
        pos = _line_end(text, pos)
        return Item("comment", text[begin:pos], line), pos
    if text[pos] == "\\":
        return Item("junk", text[begin : pos + 1], line), pos + 1
    if text[pos] == "[":
        name, pos = _scan_section(text, pos + 1)
        if name is None:
            raise ConfigError(
                "line %d begins a module name that is empty or has no ']'; rsync refuses the whole file" % line
            )
        return Item("section", text[begin:pos], line, name=name), pos
    return _scan_entry(text, begin, pos, line)


def scan(text):
    """Cut the text of an rsyncd.conf into Items; joined, their raw is text again.

    Raises ConfigError, naming the line, where rsync would refuse to read the file.
    """
    if "\0" in text:
        raise ConfigError(
            "line %d has a NUL byte, where rsync stops reading" % (text[: text.index("\0")].count("\n") + 1)
        )
    items = []
    pos = 0
    line = 1
    while pos < len(text):
        item, pos = _scan_item(text, pos, line)
        line += item.raw.count("\n")
        items.append(item)
    return items


class Module:
    """A module as rsync sees it.

    name: what clients ask for (the spelling of its first section). places: [(file, line)] of its sections.
    keys: {normal key name: value} that it sets itself. inherited: the same of the global part when it began.
    """

    def __init__(self, name, inherited):
        self.name = name
        self.inherited = dict(inherited)
        self.keys = {}
        self.places = []


class Meaning:
    """What rsync makes of a configuration.

    modules: {normal name: Module}. globals: {normal key name: value}. owners: for each Item of the file itself the
    normal name of the module that it belongs to, None for the global part. ignored: sentences on what rsync ignores.
    files: all files that were read.
    """

    def __init__(self, text, path):
        self.path = path
        self.modules = {}
        self.globals = {}
        self.owners = []
        self.ignored = []
        self.files = [path]
        self._current = None
        self.items = scan(text)
        self._walk(self.items, path, 0)

    def _walk(self, items, path, depth):
        for item in items:
            if item.kind == "section":
                self._section(item, path)
            elif item.kind == "junk":
                self._ignore(path, item, "%r is neither a key nor a comment" % item.raw.strip())
            elif item.kind == "key":
                self._key(item, path)
            if depth == 0:
                self.owners.append(self._current)
            if item.kind == "directive":
                self._directive(item, path, depth)

    def _ignore(self, path, item, why):
        self.ignored.append("%s line %d: %s; rsync ignores it" % (path, item.line, why))

    def _section(self, item, path):
        name = normal(item.name)
        if name == "global":
            self._current = None
            return
        if "/" in name:
            raise ConfigError(
                "%s line %d: module name '%s' has a '/'; rsync refuses the whole file" % (path, item.line, item.name)
            )
        if name not in self.modules:
            self.modules[name] = Module(item.name, self.globals)
        self.modules[name].places.append((path, item.line))
        self._current = name

    def _key(self, item, path):
        key = KEYS.get(normal(item.name))
        if key is None:
            self._ignore(path, item, "'%s' is no key of rsync" % item.name)
        elif meaning(key, item.value) is None:
            self._ignore(path, item, "'%s' is a yes or no, not '%s'" % (key.label, item.value))
        elif self._current is None:
            self.globals[normal(key.label)] = item.value
        elif key.scope == "global":
            self._ignore(path, item, "'%s' belongs before the first module" % key.label)
        else:
            self.modules[self._current].keys[normal(key.label)] = item.value

    def _directive(self, item, path, depth):
        word = item.name.lower()
        if word not in ("&include", "&merge"):
            raise ConfigError(
                "%s line %d: unknown directive %s; rsync refuses the whole file" % (path, item.line, item.name)
            )
        if depth >= MAX_DEPTH:
            raise ConfigError("%s line %d: files include each other without end" % (path, item.line))
        include = word == "&include"
        target = os.path.join("/", item.value)  # the daemon's working directory is /
        saved = dict(self.globals)
        for name in self._members(target, include, path, item):
            if include:
                self.globals = dict(saved)
                self._current = None
            content = files.read(name)
            self.files.append(name)
            self._walk(_scan_file(content, name), name, depth + 1)
            if include:
                self.globals = dict(saved)
                self._current = None

    @staticmethod
    def _members(target, include, path, item):
        if os.path.isfile(target):
            return [target]
        if os.path.isdir(target):
            ending = ".conf" if include else ".inc"
            names = sorted(os.fsencode(name) for name in os.listdir(target) if name.endswith(ending))
            return [os.path.join(target, os.fsdecode(name)) for name in names]
        raise ConfigError(
            "%s line %d: %s %s is not there; rsync refuses the whole file" % (path, item.line, item.name, item.value)
        )

    def same(self, other, but=None, inherited=True):
        """Names of modules that rsync would serve differently, and 'global' for the global part.

        other: Meaning. but: normal name of a module that may differ. inherited: whether defaults count.
        """

        def picture(state):
            found = {
                name: (module.name, module.keys, module.inherited if inherited else None)
                for name, module in state.modules.items()
                if name != but
            }
            if inherited:
                found["global"] = state.globals
            return found

        mine, theirs = picture(self), picture(other)
        return sorted(name for name in set(mine) | set(theirs) if mine.get(name) != theirs.get(name))


def _scan_file(content, name):
    try:
        return scan(files.text(content))
    except ConfigError as error:
        raise ConfigError("%s: %s" % (name, error)) from error


def _newline(text):
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def _ending(raw):
    if raw.endswith("\r\n"):
        return "\r\n"
    return "\n" if raw.endswith("\n") else ""


def _join(items):
    return "".join(item.raw for item in items)


def _check_open_end(items):
    """A continued last line would swallow what is appended."""
    if items and items[-1].kind in ("key", "directive", "junk") and _continued(items[-1].raw) >= 0:
        raise ConfigError(
            "line %d, the last one, ends with a backslash that continues nothing. Remove it first" % items[-1].line
        )


def _indent(items):
    """The indentation that keys of modules have in this file."""
    inside = False
    for item in items:
        inside = inside or item.kind == "section"
        if inside and item.kind == "key":
            return item.raw[: len(item.raw) - len(item.raw.lstrip(" \t"))].lstrip("\r\n")
    return "    "


def _insert(items, index, line, newline):
    """Put line (without its end) before items[index]; a file without a final newline stays one."""
    if index == len(items) and items and not items[-1].raw.endswith("\n"):
        items.insert(index, Item("key", newline + line, 0))
    else:
        items.insert(index, Item("key", line + newline, 0))


def _replace_value(item, text):
    """The raw of item with another value: indentation, spelling of the name, spacing and line end are kept."""
    prefix = item.raw[: item.start]
    bare = prefix.rstrip(BLANKS)
    gap = prefix[len(bare) :]
    gap = gap if gap and not gap.strip(" \t") else ("" if gap == "" and item.value else " ")
    return bare + gap + text + _ending(item.raw)


def _own(state, owner, label):
    """Indexes of the items with which owner sets the key label."""
    wanted = normal(label)
    return [
        index
        for index, item in enumerate(state.items)
        if item.kind == "key" and state.owners[index] == owner and normal(item.name) == wanted
    ]


def _with_key(text, path, owner, wish, insert_at):
    """text with a key set or removed. wish: (Key, str or None); insert_at: Meaning -> index of a new line."""
    key, value = wish
    state = Meaning(text, path)
    found = _own(state, owner, key.label)
    items = state.items
    if value is None:
        kept = _join(item for index, item in enumerate(items) if index not in found)
        return _like_before(text, kept)
    if found:
        item = items[found[-1]]
        if meaning(key, item.value) == meaning(key, value):
            return text
        item.raw = _replace_value(item, value)
        return _join(items)
    _check_open_end(items)
    indent = _indent(items) if owner is not None else ""
    _insert(items, insert_at(state), "%s%s = %s" % (indent, key.label, value), _newline(text))
    return _join(items)


def _like_before(text, changed):
    """A file without a final newline stays one."""
    if text and not text.endswith("\n") and changed.endswith("\n"):
        return changed[: -len(_ending(changed))]
    return changed


def _end_of_module(owner):
    def place(state):
        last = max(
            index
            for index, item in enumerate(state.items)
            if state.owners[index] == owner and item.kind in ("section", "key")
        )
        return last + 1

    return place


def _end_of_globals(state):
    """Behind the last global key before the first module; else behind the comment that heads the file."""
    first = next((i for i, item in enumerate(state.items) if item.kind in ("section", "directive")), len(state.items))
    keys = [i for i in range(first) if state.items[i].kind == "key"]
    if keys:
        return keys[-1] + 1
    index = 0
    while index < len(state.items) and state.items[index].kind == "comment":
        index += 1
    headed = index < len(state.items) and state.items[index].kind == "blank"
    return index + 1 if headed else 0


def _foreign(state, name):
    """Raise ConfigError when the module cannot be edited in this file alone."""
    module = state.modules.get(normal(name))
    if module is None:
        return
    elsewhere = [place for place in module.places if place[0] != state.path]
    if elsewhere:
        raise ConfigError(
            "module '%s' is defined in %s, line %d, which %s includes. Manage it there (config_file), or remove it "
            "from there" % ((name,) + elsewhere[0] + (state.path,))
        )


def _with_section(text, name):
    _check_open_end(scan(text))
    newline = _newline(text)
    header = "[%s]" % name
    if not text:
        return header + newline
    if text.endswith("\n"):
        return text + newline + header + newline
    return text + newline + newline + header


def _agree(before, after, name, allowed=True):
    others = before.same(after, but=normal(name) if name else None, inherited=allowed)
    if others:
        raise ConfigError(
            "the edit would change what rsync makes of %s as well. Put the modules of %s into plain sections first"
            % (", ".join(others), before.path)
        )


def _check_result(after, held, wishes, what):
    """The effect of the edit, read back: held: {normal key: value} that rsync sees, wishes: [(Key, str or None)]."""
    for key, value in wishes:
        seen = held.get(normal(key.label))
        if value is None and seen is None:
            continue
        if value is None or seen is None or meaning(key, seen) != meaning(key, value):
            raise ConfigError(
                "'%s' of %s would be %r and not %r: another line sets it, in one of %s. Remove that line first"
                % (key.label, what, seen, value, ", ".join(after.files))
            )


def present(text, path, name, wishes, exclusive=False):
    """text of rsyncd.conf with the module.

    text: str, the content of the file path. name: module name as clients ask for it. wishes: list of (Key, str to
    set or None to remove). exclusive: remove keys that are not among the wishes. Only this module's lines change.
    Raises ConfigError when rsync could not read the file or would make something else of the edit.
    """
    before = Meaning(text, path)
    _foreign(before, name)
    owner = normal(name)
    module = before.modules.get(owner)
    if module is not None and module.name != name:
        raise ConfigError(
            "line %d defines [%s], which rsync takes for the same module as '%s': case and blanks do not count, so a "
            "new section would be merged into it. Use that name, or rename the section"
            % (module.places[0][1], module.name, name)
        )
    changed = text if module is not None else _with_section(text, name)
    if exclusive and module is not None:
        asked = {normal(key.label) for key, value in wishes}
        wishes = list(wishes) + [(KEYS[label], None) for label in module.keys if label not in asked]
    for wish in wishes:
        changed = _with_key(changed, path, owner, wish, _end_of_module(owner))
    after = Meaning(changed, path)
    _agree(before, after, name)
    _check_result(after, after.modules[owner].keys, wishes, "module '%s'" % name)
    return changed


def absent(text, path, name):
    """text of rsyncd.conf without the module; comments that follow its last key stay. Raises ConfigError."""
    before = Meaning(text, path)
    _foreign(before, name)
    owner = normal(name)
    if owner not in before.modules:
        return text
    every = before.modules[owner].name == name
    items = before.items
    dropped = set()
    for index, item in enumerate(items):
        if item.kind == "section" and normal(item.name) == owner and (every or item.name == name):
            dropped.update(_extent(before, owner, index))
    changed = _like_before(text, _join(item for index, item in enumerate(items) if index not in dropped))
    _agree(before, Meaning(changed, path), name)
    return changed


def _extent(state, owner, header):
    """Indexes of a section: the blank line before it, its header, and what follows up to its last key."""
    end = header + 1
    last = header
    while end < len(state.items) and state.items[end].kind != "section" and state.owners[end] == owner:
        if state.items[end].kind == "directive":
            if state.items[end].name.lower() == "&merge":
                raise ConfigError(
                    "line %d merges a file into module '%s'. Remove that line first"
                    % (state.items[end].line, state.items[header].name)
                )
            break
        if state.items[end].kind in ("key", "junk"):
            last = end
        end += 1
    before = [header - 1] if header and state.items[header - 1].kind == "blank" else []
    return before + list(range(header, last + 1))


def with_globals(text, path, wishes):
    """text of rsyncd.conf with global keys set or removed; wishes as for present(). Raises ConfigError."""
    before = Meaning(text, path)
    changed = text
    for wish in wishes:
        changed = _with_key(changed, path, None, wish, _end_of_globals)
    after = Meaning(changed, path)
    _agree(before, after, None, allowed=False)
    _check_result(after, after.globals, wishes, "the global part")
    return changed
