# SPDX-License-Identifier: GPL-3.0-or-later
"""A table as it is compared: its columns, its key, and the SQL made from them.

Every expression is exact in bytes: text is hashed as it is stored, whatever its collation; floats with all their
digits; a NULL, an empty string and blanks at the end are told apart, and no value can run over into the next column.
"""

import re

from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
_FLOATS = ("float", "double")
_TIMES = ("date", "time", "datetime", "timestamp")
_TEXTS = ("char", "varchar", "tinytext", "text")
_BYTES = ("binary", "varbinary", "tinyblob", "blob")
# Values of any length: hashed by themselves, because what CONCAT_WS makes may not be longer than a packet.
_BIG = ("mediumtext", "longtext", "mediumblob", "longblob", "json", "vector")
# Values of up to 64 KiB: hashed by themselves too where a row has many of them.
_LONG = ("text", "blob")
_MOST_LONG = 8
_NUMBERED = ("enum", "set", "bit")
_SPATIAL = ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
            "geomcollection", "geometrycollection")
_PLAIN_WORD = re.compile(r"^[a-z0-9_]+$")
# For servers whose BIT_XOR takes numbers only.
_FOLDED_NUMBERS = "HEX(BIT_XOR(CAST(CONV(LEFT(%s,16),16,10) AS UNSIGNED)))"
# Flags of this many columns fit into one number.
_FLAGS = 60
# Codecs of Python for character sets, only to show keys to people.
_CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "latin1": "cp1252", "ascii": "ascii",
           "utf16": "utf-16-be", "ucs2": "utf-16-be", "utf32": "utf-32-be", "utf16le": "utf-16-le", "cp1251": "cp1251",
           "latin2": "iso8859-2", "gbk": "gbk", "big5": "big5", "sjis": "shift_jis", "cp932": "cp932", "ujis": "euc_jp",
           "eucjpms": "euc_jp", "euckr": "euc_kr", "gb18030": "gb18030", "koi8r": "koi8-r", "koi8u": "koi8-u",
           "greek": "iso8859-7", "hebrew": "iso8859-8", "cp1250": "cp1250", "cp1256": "cp1256", "cp1257": "cp1257",
           "latin5": "iso8859-9", "latin7": "iso8859-13", "tis620": "tis-620"}


def quoted(name):
    """A name as an identifier, in a statement that is executed with arguments."""
    return "`%s`" % name.replace("`", "``").replace("%", "%%")


def _word(text):
    if not _PLAIN_WORD.match(text or ""):
        raise MySQLMigrationError("Failed to compare by the character set or collation %r: it is no name. Exclude the "
                                  "table." % text)
    return text


class Column(object):
    """One column. row: of information_schema.COLUMNS, with names in upper case."""

    def __init__(self, row):
        self.name = row["COLUMN_NAME"]
        self.data_type = row["DATA_TYPE"].lower()
        self.column_type = row["COLUMN_TYPE"]
        self.nullable = row["IS_NULLABLE"] == "YES"
        self.charset = row["CHARACTER_SET_NAME"]
        self.collation = row["COLLATION_NAME"]
        self.virtual = "VIRTUAL GENERATED" in (row["EXTRA"] or "").upper()

    @property
    def sql(self):
        return "t." + quoted(self.name)

    def value(self, by_number=True, apart=False):
        """Expression for the value, exact in bytes. by_number: enums and sets by their number. apart: hash of it."""
        if self.data_type in _FLOATS:
            return "%s*1e0" % self.sql      # a FLOAT as text has six digits; as a DOUBLE, as many as it takes
        if self.data_type == "bit" or (self.data_type in _NUMBERED and by_number):
            return "%s+0" % self.sql
        if self.data_type in _BIG or apart:
            return "SHA2(%s,256)" % self.sql
        if self.data_type in _TEXTS or self.data_type in _NUMBERED or self.data_type in _SPATIAL:
            return "CAST(%s AS BINARY)" % self.sql
        return self.sql

    def is_variable(self, by_number=True):
        """Whether the value may hold the character that parts values."""
        if self.data_type in _NUMBERED:
            return self.data_type != "bit" and not by_number
        return self.data_type not in _INTEGERS + _FLOATS + _TIMES + _BIG + ("decimal",)

    # --- as a part of the key ---

    @property
    def counts(self):
        """Whether the values are whole numbers."""
        return self.data_type in _INTEGERS and self.data_type != "year"

    @property
    def fits_key(self):
        return self.data_type in _INTEGERS + _FLOATS + _TIMES + _TEXTS + _BYTES + _NUMBERED + ("decimal",)

    def key_value(self):
        """Expression that reads the value so that `constant` compares equal to it."""
        if self.data_type in _TEXTS + _BYTES:
            return "HEX(%s)" % self.sql
        if self.data_type in _NUMBERED + ("year",):
            return "%s+0" % self.sql
        if self.data_type in _FLOATS:
            return "%s*1e0" % self.sql
        if self.data_type in _TIMES + ("decimal",):
            return "CAST(%s AS CHAR)" % self.sql
        return self.sql

    def constant(self):
        """Placeholder for one value that `key_value` gave, of the column's own type and collation."""
        if self.data_type in _TEXTS:
            return "(CONVERT(UNHEX(%%s) USING %s) COLLATE %s)" % (_word(self.charset), _word(self.collation))
        if self.data_type in _BYTES:
            return "UNHEX(%s)"
        if self.data_type == "decimal":
            return "CAST(%%s AS %s)" % self.column_type.upper().split(" ", 1)[0]
        return "%s"

    def shown(self, value):
        """A value of `key_value` for people."""
        if self.data_type not in _TEXTS:
            return value
        try:
            return bytes.fromhex(value).decode(_CODECS.get(self.charset, "ascii"))
        except (UnicodeDecodeError, LookupError):
            return {"hex": value}


class Key(object):
    """The key along which a table is read: the primary one, or a unique one of columns that cannot be NULL."""

    def __init__(self, name, columns):
        self.name = name
        self.columns = columns

    def values(self):
        """Expressions with aliases k0, k1, ..."""
        return ", ".join("%s AS k%d" % (column.key_value(), number) for number, column in enumerate(self.columns))

    def order(self):
        return ", ".join(column.sql for column in self.columns)

    def of_row(self, row):
        """The key in a row that `values` made, as a tuple."""
        return tuple(row["k%d" % number] for number in range(len(self.columns)))

    def shown(self, key):
        return dict((column.name, column.shown(value)) for column, value in zip(self.columns, key))

    def _beyond(self, number, sign, last):
        column = self.columns[number]
        if number == len(self.columns) - 1:
            return "%s %s %s" % (column.sql, last, column.constant())
        return "(%s %s %s OR (%s = %s AND %s))" % (column.sql, sign, column.constant(), column.sql, column.constant(),
                                                   self._beyond(number + 1, sign, last))

    def _arguments(self, key):
        """As many values as `_beyond` has placeholders."""
        arguments = []
        for value in key[:-1]:
            arguments += [value, value]
        return arguments + [key[-1]]

    def within(self, after, upto):
        """(condition, arguments) of the rows after the key `after` up to and with `upto`; None is no bound."""
        conditions, arguments = [], []
        for bound, sign, last in ((after, ">", ">"), (upto, "<", "<=")):
            if bound is None:
                continue
            conditions.append(self._beyond(0, sign, last))
            arguments += self._arguments(bound)
            if len(self.columns) > 1:
                # Follows from the condition before; the optimizer sees the range in it.
                conditions.append("%s %s= %s" % (self.columns[0].sql, sign, self.columns[0].constant()))
                arguments.append(bound[0])
        return " AND ".join(conditions) or "TRUE", arguments

    def among(self, keys):
        """(condition, arguments) of the rows with these keys."""
        # Not (a, b) IN ((x, y)): enums, floats and times are compared as other types in there, and not found.
        one = " AND ".join("%s = %s" % (column.sql, column.constant()) for column in self.columns)
        return " OR ".join(["(%s)" % one] * len(keys)), [value for key in keys for value in key]


class Table(object):
    """One table as both servers have it. other: columns of the same table on the target, by name."""

    # BIT_XOR takes strings since 8.0; set to False where one of the servers is older.
    folds_bytes = True
    # Whether a FLOAT counts with all its digits, or with the six that the server shows and mysqldump writes.
    exact_floats = True

    def __init__(self, schema, name, columns, key, *, engine="InnoDB", rows=0, size=0, other=None):
        self.schema = schema
        self.name = name
        self.columns = columns
        self.key = key
        self.engine = engine
        self.rows = rows            # about, as the server estimates
        self.size = size
        self.other = other or dict((column.name, column) for column in columns)

    @property
    def sql(self):
        return "%s.%s" % (quoted(self.schema), quoted(self.name))

    @property
    def shown(self):
        return "%s.%s" % (self.schema, self.name)

    def row(self):
        """Expression for everything of a row, with nothing that could be read in two ways: the values, the lengths of
        those that may hold the parting character, and which are NULL."""
        parts, lengths, nullable = [], [], []
        many = sum(column.data_type in _LONG for column in self.columns) > _MOST_LONG
        for column in self.columns:
            if column.virtual:
                continue
            by_number = column.column_type == self.other[column.name].column_type
            apart = many and column.data_type in _LONG
            shown = column.data_type == "float" and not self.exact_floats
            parts.append(column.sql if shown else column.value(by_number, apart))
            if column.is_variable(by_number) and not apart:
                lengths.append("LENGTH(%s)" % column.sql)
            if column.nullable or self.other[column.name].nullable:
                nullable.append(column)
        # One of the lengths follows from the others.
        parts += lengths[:-1]
        for begin in range(0, len(nullable), _FLAGS):
            group = nullable[begin:begin + _FLAGS]
            parts.append("+".join("(%s IS NULL)*%d" % (column.sql, 1 << place) for place, column in enumerate(group)))
        return "CONCAT_WS(_binary'#', %s)" % ", ".join(parts)

    def _hash(self):
        return "SHA2(%s,256)" % self.row()

    def _from(self):
        forced = " FORCE INDEX (%s)" % quoted(self.key.name) if self.key else ""
        return "FROM %s AS t%s" % (self.sql, forced)

    def digest(self, after, upto):
        """(statement, arguments) for one row: rows and the digest of the rows after the key `after` up to `upto`."""
        if self.key is None:
            # A sum, because rows that are alike must not cancel each other out.
            return ("SELECT COUNT(*) AS n, CAST(SUM(CAST(CONV(LEFT(%s,15),16,10) AS UNSIGNED)) AS CHAR) AS digest %s"
                    % (self._hash(), self._from()), [])
        condition, arguments = self.key.within(after, upto)
        folded = "HEX(BIT_XOR(UNHEX(%s)))" if self.folds_bytes else _FOLDED_NUMBERS
        return ("SELECT COUNT(*) AS n, %s AS digest %s WHERE %s"
                % (folded % self._hash(), self._from(), condition), arguments)

    def boundary(self, after, rows):
        """(statement, arguments) for the key of the row that ends a chunk of `rows` rows after the key `after`."""
        condition, arguments = self.key.within(after, None)
        return ("SELECT %s %s WHERE %s ORDER BY %s LIMIT 1 OFFSET %%s"
                % (self.key.values(), self._from(), condition, self.key.order()), arguments + [rows - 1])

    def greatest(self):
        """(statement, arguments) for the last key k0 of a table whose key is one column."""
        column = self.key.columns[0]
        return ("SELECT %s %s ORDER BY %s DESC LIMIT 1" % (self.key.values(), self._from(), column.sql)), []

    def hashes(self, after, upto):
        """(statement, arguments) for the key and the hash h of each row of a chunk."""
        condition, arguments = self.key.within(after, upto)
        return self._hashes(condition), arguments

    def hashes_of(self, keys):
        """(statement, arguments) for the key and the hash h of the rows with these keys."""
        condition, arguments = self.key.among(keys)
        return self._hashes(condition), arguments

    def _hashes(self, condition):
        return "SELECT %s, %s AS h %s WHERE %s" % (self.key.values(), self._hash(), self._from(), condition)

    def multiset(self):
        """(statement, arguments) for the hash h and the number n of all rows that are alike."""
        return "SELECT %s AS h, COUNT(*) AS n %s GROUP BY h" % (self._hash(), self._from()), []
