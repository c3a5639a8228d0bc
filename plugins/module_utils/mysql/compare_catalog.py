# SPDX-License-Identifier: GPL-3.0-or-later
"""What tables both servers have, and in what their definitions differ."""

import re

from ansible_collections.seamless.migration.plugins.module_utils.mysql.compare_table import Column, Key, Table, quoted
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

SYSTEM_SCHEMAS = ("mysql", "sys", "information_schema", "performance_schema", "innodb", "tmp", "rdsadmin", "ndbinfo",
                  "mysql_innodb_cluster_metadata")

# What servers of different versions write differently of the same table.
_NORMAL = (
    (re.compile(r"\) ENGINE=(\w+) AUTO_INCREMENT=\d+"), r") ENGINE=\1"),
    (re.compile(r"\b(tinyint|smallint|mediumint|int|bigint)\((?!1\) )\d+\)(?! unsigned zerofill)"), r"\1"),
    (re.compile(r"\byear\(4\)"), "year"),
    (re.compile(r"\butf8(?=_|\b)(?!mb)"), "utf8mb3"),
    (re.compile(r" /\*!50100 (PARTITION.*?) \*/", re.DOTALL), r" \1"),
    (re.compile(r" /\*!80016 NOT ENFORCED \*/"), " NOT ENFORCED"),
    (re.compile(r" /\*!80023 INVISIBLE \*/"), " INVISIBLE"),
    (re.compile(r" CHARACTER SET \w+ COLLATE "), " COLLATE "),
    (re.compile(r"[ \t]+\n"), "\n"),
)

_ROUTINES = """
SELECT ROUTINE_SCHEMA AS schema_name, CONCAT(LOWER(ROUTINE_TYPE), ' ', ROUTINE_NAME) AS name,
 CONCAT_WS('\n', DEFINER, SECURITY_TYPE, SQL_MODE, SQL_DATA_ACCESS, IS_DETERMINISTIC, DTD_IDENTIFIER,
  IFNULL(ROUTINE_DEFINITION, '(not readable)'),
  (SELECT GROUP_CONCAT(CONCAT_WS(' ', ORDINAL_POSITION, PARAMETER_MODE, PARAMETER_NAME, DTD_IDENTIFIER)
    ORDER BY ORDINAL_POSITION) FROM information_schema.PARAMETERS p
    WHERE p.SPECIFIC_SCHEMA = r.ROUTINE_SCHEMA AND p.SPECIFIC_NAME = r.SPECIFIC_NAME
     AND p.ROUTINE_TYPE = r.ROUTINE_TYPE)) AS definition
FROM information_schema.ROUTINES r WHERE ROUTINE_SCHEMA IN %s"""
_TRIGGERS = """
SELECT TRIGGER_SCHEMA AS schema_name, CONCAT('trigger ', TRIGGER_NAME) AS name,
 CONCAT_WS('\n', DEFINER, SQL_MODE, ACTION_TIMING, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_ORDER,
  ACTION_STATEMENT) AS definition
FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA IN %s"""
_VIEWS = """
SELECT TABLE_SCHEMA AS schema_name, CONCAT('view ', TABLE_NAME) AS name,
 CONCAT_WS('\n', DEFINER, SECURITY_TYPE, CHECK_OPTION, VIEW_DEFINITION) AS definition
FROM information_schema.VIEWS WHERE TABLE_SCHEMA IN %s"""
# Their status is left out: on the target they wait for the cutover.
_EVENTS = """
SELECT EVENT_SCHEMA AS schema_name, CONCAT('event ', EVENT_NAME) AS name,
 CONCAT_WS('\n', DEFINER, SQL_MODE, TIME_ZONE, EVENT_TYPE, EXECUTE_AT, INTERVAL_VALUE, INTERVAL_FIELD, ON_COMPLETION,
  REPLACE(CHARACTER_SET_CLIENT, 'utf8mb3', 'utf8'), REPLACE(COLLATION_CONNECTION, 'utf8mb3', 'utf8'),
  EVENT_DEFINITION) AS definition
FROM information_schema.EVENTS WHERE EVENT_SCHEMA IN %s"""
_TABLES = """
SELECT TABLE_SCHEMA AS schema_name, TABLE_NAME AS name, ENGINE AS engine, TABLE_ROWS AS row_count,
 DATA_LENGTH + INDEX_LENGTH AS size
FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA IN %s
ORDER BY TABLE_SCHEMA, TABLE_NAME"""
_COLUMNS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME,
 COLLATION_NAME, EXTRA
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN %s ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"""
_INDEXES = """
SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART, NULLABLE
FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA IN %s
ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"""
_SCHEMATA = """
SELECT SCHEMA_NAME AS name, DEFAULT_CHARACTER_SET_NAME AS charset, DEFAULT_COLLATION_NAME AS collation
FROM information_schema.SCHEMATA"""


def normal(definition):
    """A definition without what differs between servers that hold the same: AUTO_INCREMENT, spellings of versions."""
    for pattern, replacement in _NORMAL:
        definition = pattern.sub(replacement, definition)
    return definition.strip()


def user_schemas(session):
    """Names of the schemas that are not the server's own, sorted."""
    return sorted(row["name"] for row in session.rows(_SCHEMATA) if row["name"].lower() not in SYSTEM_SCHEMAS)


def _upper(row):
    return dict((name.upper(), value) for name, value in row.items())


def best_key(columns, indexes):
    """The key along which to read: the primary one, else the unique one of least bytes without NULL. columns: dict of
    Column by name. indexes: dict of name -> rows of STATISTICS. Returns Key or None."""
    usable = []
    for name, parts in indexes.items():
        named = [columns.get(part["COLUMN_NAME"]) for part in parts]
        if any(column is None or column.nullable or not column.fits_key or part["SUB_PART"] is not None
               for column, part in zip(named, parts)):
            continue
        text = sum(not column.data_type.endswith("int") for column in named)
        usable.append((name != "PRIMARY", text, len(named), name, named))
    if not usable:
        return None
    best = min(usable, key=lambda one: one[:4])
    return Key(best[3], best[4])


class Catalog(object):
    """The tables and definitions of one server."""

    def __init__(self, session, schemas):
        self._session = session
        self.schemas = schemas
        self.tables = {}
        self.columns = {}
        self.indexes = {}
        if not schemas:
            return
        for row in session.rows(_TABLES, (schemas,)):
            self.tables[(row["schema_name"], row["name"])] = row
        for row in map(_upper, session.rows(_COLUMNS, (schemas,))):
            table = self.columns.setdefault((row["TABLE_SCHEMA"], row["TABLE_NAME"]), {})
            table[row["COLUMN_NAME"]] = Column(row)
        for row in map(_upper, session.rows(_INDEXES, (schemas,))):
            table = self.indexes.setdefault((row["TABLE_SCHEMA"], row["TABLE_NAME"]), {})
            table.setdefault(row["INDEX_NAME"], []).append(row)

    def definitions(self, tables):
        """dict of (schema, name) -> normal definition: of these tables, and of views, routines, triggers, events."""
        found = {}
        for row in self._session.rows(_SCHEMATA):
            if row["name"] in self.schemas:
                found[(row["name"], "schema")] = normal("%s %s" % (row["charset"], row["collation"]))
        for schema, name in tables:
            row = self._session.row("SHOW CREATE TABLE %s.%s" % (quoted(schema), quoted(name)), ())
            found[(schema, "table " + name)] = normal(list(row.values())[1])
        for statement in (_VIEWS, _ROUTINES, _TRIGGERS, _EVENTS) if self.schemas else ():
            for row in self._session.rows(statement, (self.schemas,)):
                found[(row["schema_name"], row["name"])] = normal(_text(row["definition"]))
        return found


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def definition_differences(source, target):
    """What two dicts of `Catalog.definitions` differ in: list of dicts with schema, object and kind."""
    found = []
    for schema, name in sorted(set(source) | set(target)):
        one, other = source.get((schema, name)), target.get((schema, name))
        if one == other:
            continue
        kind = "lost" if other is None else "extra" if one is None else "different"
        found.append({"schema": schema, "object": name, "kind": kind, "source": one, "target": other})
    return found


def _matches(schema, name, patterns):
    """Whether a table is among names of the form `table`'s full name schema.table, or schema.* for all of a schema."""
    return "%s.%s" % (schema, name) in patterns or "%s.*" % schema in patterns


class Selection(object):
    """Which tables to compare. schemas: names, empty for all of the user's. tables, exclude: schema.table, schema.*"""

    def __init__(self, schemas=(), tables=(), exclude=()):
        self.schemas = list(schemas)
        self.tables = set(tables)
        self.exclude = set(exclude)

    def of(self, session):
        """Names of the schemas to look at on a server."""
        present = user_schemas(session)
        if self.schemas:
            return [name for name in self.schemas if name in present]
        return present

    def has(self, schema, name):
        if self.tables and not _matches(schema, name, self.tables):
            return False
        return not _matches(schema, name, self.exclude)


def plan(source, target, selection):
    """What is to be compared. source, target: Catalog.

    Returns (tables, judged): Tables to compare, and results (dicts with schema, table, state and reason) of those that
    need no look or cannot be compared.
    """
    tables, judged = [], []
    for schema, name in sorted(set(source.tables) | set(target.tables)):
        if not selection.has(schema, name):
            continue
        one, other = source.tables.get((schema, name)), target.tables.get((schema, name))
        if one is None or other is None:
            state = "extra" if one is None else "lost"
            reason = "only the %s has it" % ("target" if one is None else "source")
            judged.append({"schema": schema, "table": name, "state": state, "reason": reason})
            continue
        columns, others = source.columns[(schema, name)], target.columns.get((schema, name), {})
        if set(columns) != set(others):
            apart = sorted(set(columns) ^ set(others))
            judged.append({"schema": schema, "table": name, "state": "not_comparable",
                           "reason": "these columns are not on both sides: %s" % ", ".join(apart)})
            continue
        key = _common_key(source, target, schema, name)
        tables.append(Table(schema, name, list(columns.values()), key, engine=one["engine"],
                            rows=int(one["row_count"] or 0), size=int(one["size"] or 0), other=others))
    return tables, judged


def _common_key(source, target, schema, name):
    """The best key of the source's table if the target has it too, by the same name and columns."""
    place = (schema, name)
    theirs = target.indexes.get(place, {})
    both = {}
    for index, parts in source.indexes.get(place, {}).items():
        if [part["COLUMN_NAME"] for part in parts] == [part["COLUMN_NAME"] for part in theirs.get(index, [])]:
            both[index] = parts
    return best_key(source.columns[place], both)


def check_selection(selection, *catalogs):
    """Refuse names that no server has. Raises MySQLMigrationError."""
    schemas = set(schema for catalog in catalogs for schema in catalog.schemas)
    missing = sorted(set(selection.schemas) - schemas)
    if missing:
        raise MySQLMigrationError("Failed to use the option schemas: neither server has %s. Correct it."
                                  % ", ".join(missing))
    known = set("%s.%s" % place for catalog in catalogs for place in catalog.tables)
    known.update("%s.*" % schema for schema in schemas)
    missing = sorted(selection.tables - known)
    if missing:
        raise MySQLMigrationError("Failed to use the option tables: neither server has %s. Correct it."
                                  % ", ".join(missing))
