"""Checks a server through drivers of PostgreSQL: `postgres.py ADDRESS PART [ARGUMENT]`."""

import asyncio
import datetime
import decimal
import os
import socket
import struct
import sys
import threading
import time
import uuid

import asyncpg
import psycopg
from psycopg import errors

address, part, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
URL = f"postgresql://somebody@{address}/polder"


def connect(**options):
    return psycopg.connect(URL, **{"autocommit": True, **options})


def refused(kind, run):
    try:
        run()
    except kind as error:
        return error
    raise AssertionError(f"no {kind}")


TYPES = (
    "SELECT true, 1::smallint, 2::int, 3::bigint, 1.5::real, 2.5::double precision, (-12345.6780)::decimal(20, 4), 'it''s', "
    "'a'::bytea, DATE '2024-02-29', TIMESTAMP '2024-02-29 01:02:03.5', NULL, TIMESTAMPTZ '2024-02-29T01:02:03Z', "
    "0.00::decimal(10, 2), (-1.5e-7)::decimal(38, 10)"
)
VALUES = (
    True,
    1,
    2,
    3,
    1.5,
    2.5,
    decimal.Decimal("-12345.6780"),
    "it's",
    b"a",
    datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, 1, 2, 3, 500000),
    None,
    datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=datetime.timezone.utc),
    decimal.Decimal("0.00"),
    decimal.Decimal("-1.5e-7"),
)


def types():
    with connect() as connection:
        for binary in [False, True]:
            got = connection.cursor(binary=binary).execute(TYPES).fetchone()
            assert got == VALUES, (binary, got)
        # The simple protocol, without preparing.
        got = psycopg.ClientCursor(connection).execute(TYPES).fetchone()
        assert got == VALUES, got


def parameters():
    with connect() as connection:
        connection.execute("CREATE TABLE given (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(12, 3), at TIMESTAMP, day DATE, raw BYTEA)")
        at, day = datetime.datetime(2024, 1, 2, 3, 4, 5, 678901), datetime.date(2024, 1, 2)
        for count, binary in enumerate(["%s", "%b", "%t"]):
            row = (count, "it's $1 ;--", decimal.Decimal("-0.125"), at, day, b"\0'\\\xff")
            marks = ", ".join([binary] * len(row))
            written = connection.execute(f"INSERT INTO given VALUES ({marks})", row)
            assert written.rowcount == 1, written.rowcount
            [got] = connection.execute(f"SELECT * FROM given WHERE id = {binary}", (count,)).fetchall()
            assert got == row, (got, row)
            [got] = connection.cursor(binary=True).execute("SELECT * FROM given WHERE name = %s AND id = %s", (row[1], count))
            assert got == row, (got, row)
        many = connection.cursor()
        many.executemany("INSERT INTO given (id, name) VALUES (%s, %s)", [(number, None) for number in range(10, 20)])
        assert connection.execute("SELECT count(*) FROM given WHERE name IS NULL").fetchone() == (10,)
        # Prepared under a name after a few times.
        for number in range(10):
            assert connection.execute("SELECT id + 1 FROM given WHERE id = %s", (number + 10,)).fetchone() == (number + 11,)
        # NULL, and no type known.
        assert connection.execute("SELECT %s", (None,)).fetchone() == (None,)
        refused(errors.InvalidTextRepresentation, lambda: connection.execute("SELECT id FROM given WHERE id = %s", ("a",)))


def transactions():
    with connect(autocommit=False) as connection, connect() as other:
        other.execute("CREATE TABLE kept (id BIGINT PRIMARY KEY)")
        count = lambda by: by.execute("SELECT count(*) FROM kept").fetchone()[0]
        connection.execute("INSERT INTO kept VALUES (1)")
        assert (count(connection), count(other)) == (1, 0)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        connection.commit()
        assert count(other) == 1
        connection.execute("INSERT INTO kept VALUES (2)")
        connection.rollback()
        assert count(connection) == 1
        error = refused(errors.UniqueViolation, lambda: connection.execute("INSERT INTO kept VALUES (1)"))
        assert "kept" in str(error), error
        refused(errors.InFailedSqlTransaction, lambda: connection.execute("SELECT 1"))
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        connection.rollback()
        assert count(connection) == 1


def fails():
    with connect() as connection:
        error = refused(errors.UndefinedTable, lambda: connection.execute("SELECT * FROM missing"))
        assert error.diag.message_primary and error.diag.severity == "ERROR", error
        refused(errors.SyntaxError, lambda: connection.execute("SELECT 1 FROM"))
        refused(errors.DivisionByZero, lambda: connection.execute("SELECT 1 / 0"))
        # The connection goes on after each.
        assert connection.execute("SELECT 1").fetchone() == (1,)
    error = refused(psycopg.OperationalError, lambda: psycopg.connect(f"postgresql://{address}/elsewhere"))
    assert 'database "elsewhere" does not exist' in str(error), error
    # TLS that is only preferred is done without; one that is required is refused by the client.
    connect(sslmode="prefer").close()
    refused(psycopg.OperationalError, lambda: connect(sslmode="require"))


def settings():
    with connect(options="-c statement_timeout=5s", application_name="checks") as connection:
        status = connection.info.parameter_status
        assert status("server_encoding") == status("client_encoding") == "UTF8"
        assert (status("standard_conforming_strings"), status("TimeZone"), status("DateStyle")) == ("on", "UTC", "ISO, MDY")
        assert connection.info.server_version >= 160000
        show = lambda name: connection.execute(f"SHOW {name}").fetchone()[0]
        assert (show("statement_timeout"), show("application_name")) == ("5s", "checks")
        assert show("TRANSACTION ISOLATION LEVEL") == "serializable"
        connection.execute("SET extra_float_digits = 3")
        connection.execute("SET client_encoding TO 'UTF8'")
        refused(errors.InvalidParameterValue, lambda: connection.execute("SET client_encoding TO 'latin1'"))
        refused(errors.InvalidParameterValue, lambda: connection.execute("SET timezone TO 'Europe/Amsterdam'"))
        before = status("polder_position")
        connection.execute("CREATE TABLE positioned (id BIGINT PRIMARY KEY)")
        connection.execute("INSERT INTO positioned VALUES (1)")
        assert status("polder_position") not in (None, before)
    refused(psycopg.OperationalError, lambda: connect(options="-c no_such_setting=1"))


def portals():
    """Rows in parts, by the driver that asks for them so."""

    async def run():
        connection = await asyncpg.connect(URL)
        async with connection.transaction(isolation="serializable"):
            got = [row["value"] async for row in connection.cursor("SELECT value FROM range(1000) ORDER BY value", prefetch=7)]
            assert got == list(range(1000)), len(got)
            cursor = await connection.cursor("SELECT value FROM range(100000000)")
            assert [row["value"] for row in await cursor.fetch(3)] == [0, 1, 2]
            assert await connection.fetchval("SELECT 1") == 1
            assert [row["value"] for row in await cursor.fetch(2)] == [3, 4]
        assert await connection.fetch("SELECT $1::bigint AS a, $2::text AS b", 7, "x") == [(7, "x")]
        assert tuple(await connection.fetchrow(TYPES)) == VALUES, await connection.fetchrow(TYPES)
        statement = await connection.prepare("SELECT sum(value) FROM range(10) WHERE value < $1")
        assert [await statement.fetchval(limit) for limit in (1, 5)] == [0, 10]
        await connection.close()

    asyncio.run(run())


def pipelines():
    with connect() as connection:
        connection.execute("CREATE TABLE piped (id BIGINT PRIMARY KEY)")
        with connection.pipeline():
            for number in range(100):
                connection.execute("INSERT INTO piped VALUES (%s)", (number,))
            cursor = connection.execute("SELECT count(*) FROM piped")
            assert cursor.fetchone() == (100,)

        def broken():
            with connection.pipeline():
                connection.execute("INSERT INTO piped VALUES (100)")
                connection.execute("INSERT INTO piped VALUES (0)")
                connection.execute("INSERT INTO piped VALUES (101)")

        refused(errors.UniqueViolation, broken)
        assert connection.execute("SELECT max(id) FROM piped").fetchone() == (100,)


def copies():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE copied (id BIGINT PRIMARY KEY, name TEXT)")
        with cursor.copy("COPY copied FROM STDIN WITH (FORMAT csv, HEADER false)") as copy:
            for number in range(5000):
                copy.write(f'{number},"name, {number}"\n')
        assert cursor.rowcount == 5000, cursor.rowcount
        assert cursor.execute("SELECT count(*), max(name) FROM copied").fetchone() == (5000, "name, 999")

        def broken():
            with cursor.copy("COPY copied FROM STDIN WITH (FORMAT csv, HEADER false)") as copy:
                copy.write("5000,a\n")
                raise ValueError("changed my mind")

        refused(ValueError, broken)

        def wrong():
            with cursor.copy("COPY copied FROM STDIN WITH (FORMAT csv, HEADER false)") as copy:
                copy.write("5000,a\nno number,b\n")

        refused(psycopg.Error, wrong)
        assert cursor.execute("SELECT count(*) FROM copied").fetchone() == (5000,)


def rows():
    """More than memory of one message, and the end of it before all was read."""
    with connect() as connection:
        total = 0
        for count, row in enumerate(connection.cursor().stream("SELECT value, repeat('x', 100) FROM range(200000)")):
            total += row[0]
        assert (count, total) == (199999, 199999 * 100000), (count, total)


def attach(connection):
    connection.execute(f"CREATE OR REPLACE CATALOG shop USING postgres WITH (url = '{arguments[0]}')")


def sleep():
    with connect() as connection:
        attach(connection)
        connection.execute("SELECT * FROM query('shop', 'SELECT pg_sleep(600)')")


def sleep_and_cancel():
    with connect() as connection:
        attach(connection)
        threading.Timer(2, connection.cancel).start()
        refused(errors.QueryCanceled, lambda: connection.execute("SELECT * FROM query('shop', 'SELECT pg_sleep(600)')"))
        assert connection.execute("SELECT 1").fetchone() == (1,)
        print("cancelled", flush=True)


def outlast():
    connection = connect()
    sql = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.value + b.value < 0"
    error = refused(psycopg.OperationalError, lambda: connection.execute(sql))
    assert error.sqlstate == "57P01", (error.sqlstate, error)


def message(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body


def hostile():
    """What no driver sends: refused by a message or by the end of the connection, and others are served."""
    host, port = address.rsplit(":", 1)
    start = struct.pack("!i", 196608) + b"user\0me\0database\0polder\0\0"
    start = struct.pack("!i", len(start) + 4) + start
    inputs = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\0",
        b"\0\0\0\4",
        b"\x7f\xff\xff\xff" + b"a" * 100,
        struct.pack("!ii", 8, 12345),
        struct.pack("!ii", 8, 196608),
        struct.pack("!i", 8 + 5) + struct.pack("!i", 196608) + b"user\0",
        struct.pack("!iiii", 16, 80877102, 1, 2),
        struct.pack("!ii", 8, 80877103) * 10,
        start + message(b"Q", b"SELECT 1"),
        start + message(b"Q", b"\xff\xfe\0"),
        start + message(b"B", b""),
        start + message(b"B", b"\0\0\x7f\xff"),
        start + message(b"B", b"\0\0\0\0\0\1\x7f\xff\xff\xff"),
        start + message(b"P", b"a\0SELECT $1\0\x7f\xff"),
        start + message(b"E", b"\0"),
        start + message(b"D", b"X\0"),
        start + message(b"C", b""),
        start + message(b"p", b"secret\0"),
        start + message(b"Z", b""),
        start + b"Q\xff\xff\xff\xff",
        start + b"Q\0\0\0\0",
        start + b"Q\x7f\xff\xff\xff",
        start + message(b"d", b"x" * 100) + message(b"c", b"") + message(b"f", b"no\0"),
        start + start,
    ]
    for sent in inputs:
        with socket.create_connection((host, int(port))) as stream:
            stream.settimeout(20)
            stream.sendall(sent)
            stream.shutdown(socket.SHUT_WR)
            try:
                while stream.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    # A client that says nothing is sent away.
    with socket.create_connection((host, int(port))) as silent:
        silent.settimeout(30)
        assert silent.recv(1) == b""
    assert connect().execute("SELECT 1").fetchone() == (1,)


globals()[part]()
