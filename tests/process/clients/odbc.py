"""Checks a server through psqlODBC: `odbc.py ADDRESS`."""

import datetime
import decimal
import glob
import sys

import pyodbc

host, port = sys.argv[1].rsplit(":", 1)
(driver,) = glob.glob("/usr/lib/*/odbc/psqlodbcw.so")


def connect(**options):
    settings = {
        "Driver": driver,
        "Servername": host,
        "Port": port,
        "Database": "polder",
        "Username": "ada",
        **options,
    }
    text = ";".join(f"{name}={value}" for name, value in settings.items())
    return pyodbc.connect(text, autocommit=options.get("autocommit", True))


def refused(state, run):
    try:
        run()
    except pyodbc.Error as error:
        assert error.args[0] == state, error
        return
    raise AssertionError(f"no {state}")


def types(connection):
    row = connection.execute(
        "SELECT true, 1::smallint, 2::int, 9007199254740993, 0.25::real, 2.5::double, 1.50::decimal(10, 2), 'it''s', NULL, "
        "DATE '2024-02-29', TIMESTAMP '2024-02-29 01:02:03.5'"
    ).fetchone()
    assert row[1:4] == (1, 2, 9007199254740993), row
    assert row[0] in (True, "1"), row
    assert row[4:6] == (0.25, 2.5), row
    assert row[6] == decimal.Decimal("1.50"), row
    assert row[7:9] == ("it's", None), row
    assert row[9:] == (datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 1, 2, 3, 500000)), row


def statements(connection):
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE odbc_orders (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(10, 2), day DATE)")
    insert = "INSERT INTO odbc_orders VALUES (?, ?, ?, ?)"
    cursor.execute(insert, 1, "one", decimal.Decimal("1.50"), datetime.date(2024, 2, 29))
    assert cursor.rowcount == 1
    cursor.executemany(insert, [(2, None, decimal.Decimal("2"), None), (3, "three", decimal.Decimal("3"), None)])
    rows = cursor.execute("SELECT id, name, price, day FROM odbc_orders WHERE id < ? ORDER BY id", 3).fetchall()
    assert [tuple(row) for row in rows] == [
        (1, "one", decimal.Decimal("1.50"), datetime.date(2024, 2, 29)),
        (2, None, decimal.Decimal("2.00"), None),
    ], rows
    assert [column[0] for column in cursor.description] == ["id", "name", "price", "day"]
    cursor.execute("UPDATE odbc_orders SET price = price + ? WHERE id > 1", 1)
    assert cursor.rowcount == 2


def many_rows(connection):
    rows = connection.execute("SELECT value FROM generate_series(1, 20000) AS g (value)").fetchall()
    assert sum(row[0] for row in rows) == 200_010_000


def transactions():
    connection = connect()
    connection.autocommit = False
    connection.execute("DELETE FROM odbc_orders")
    connection.rollback()
    assert connection.execute("SELECT count(*) FROM odbc_orders").fetchval() == 3
    connection.execute("DELETE FROM odbc_orders WHERE id = 3")
    connection.commit()
    assert connection.execute("SELECT count(*) FROM odbc_orders").fetchval() == 2
    connection.commit()


def fails(connection):
    refused("42S02", lambda: connection.execute("SELECT * FROM nothing").fetchall())
    refused("23505", lambda: connection.execute("INSERT INTO odbc_orders (id) VALUES (1)"))
    refused("22012", lambda: connection.execute("SELECT 1 / (id - 1) FROM odbc_orders").fetchall())
    assert connection.execute("SELECT 1").fetchval() == 1


with_all = connect()
types(with_all)
statements(with_all)
many_rows(with_all)
transactions()
fails(with_all)
print("done")
