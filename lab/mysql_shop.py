# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's schema in the lab: what the writers fill, and how its rows are read back for the verdict."""

SCHEMA = "shop"
# No unique key on what a writer calls its order: a statement that was done twice must show.
STATEMENTS = (
    "CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4",
    "CREATE TABLE IF NOT EXISTS shop.orders (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, "
    "writer varchar(60) NOT NULL, ref bigint NOT NULL, amount decimal(12,2), note varchar(200), data varbinary(64), "
    "version int NOT NULL, changed timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), "
    "KEY by_writer (writer, ref))",
    "CREATE TABLE IF NOT EXISTS shop.order_lines (writer varchar(60) NOT NULL, ref bigint NOT NULL, line int NOT NULL, "
    "sku varchar(40) NOT NULL, quantity int NOT NULL, PRIMARY KEY (writer, ref, line))",
    "CREATE TABLE IF NOT EXISTS shop.stock (writer varchar(60) NOT NULL, sku varchar(40) NOT NULL, "
    "quantity int NOT NULL, note varchar(200), version int NOT NULL, PRIMARY KEY (writer, sku))",
    "CREATE TABLE IF NOT EXISTS shop.products (id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, "
    "name varchar(80) NOT NULL, price decimal(10,2) NOT NULL, description text, KEY by_name (name))",
    # What the watcher tries to change; it has no rows, so that a try that works leaves no trace.
    "CREATE TABLE IF NOT EXISTS shop.watch (id int NOT NULL PRIMARY KEY, n int NOT NULL)",
)
# Table -> how a row is named by the writers, and what else of it is compared, as SQL that gives text or a number.
KEYS = {"orders": ("writer", "ref"), "order_lines": ("writer", "ref", "line"), "stock": ("writer", "sku")}
COLUMNS = {
    "orders": {"id": "id", "amount": "CAST(amount AS CHAR)", "note": "note", "data": "HEX(data)", "version": "version"},
    "order_lines": {"sku": "sku", "quantity": "quantity"},
    "stock": {"quantity": "quantity", "note": "note", "version": "version"},
}
# One number for all rows of the table that was filled before the writers began.
SEEDED = (
    "SELECT COUNT(*), COALESCE(BIT_XOR(CRC32(CONCAT_WS('#', id, name, price, CRC32(description)))), 0) "
    "FROM shop.products"
)


def select(table):
    """SQL that reads a table: the columns of its key, then those that are compared."""
    columns = list(KEYS[table]) + list(COLUMNS[table].values())
    return "SELECT %s FROM shop.%s" % (", ".join(columns), table)


def row(table, values):
    """(key, row) of what select() gave."""
    width = len(KEYS[table])
    return tuple(values[:width]), dict(zip(COLUMNS[table], values[width:]))
