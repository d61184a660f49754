"""Checks a server through the ADBC driver of Flight SQL: `adbc.py URI PART [ARGUMENT]`."""

import datetime
import decimal
import os
import sys
import threading

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pyarrow as pa

uri, part, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
COOKIES = {adbc_driver_flightsql.DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true"}


def connect(autocommit=True, **options):
    return flightsql.connect(uri, db_kwargs=options, autocommit=autocommit)


def rows(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    return cursor.fetchall()


def refused(cursor, sql, parameters=None):
    """The error that a statement ends with."""
    try:
        rows(cursor, sql, parameters)
    except adbc_driver_manager.Error as error:
        return error
    raise AssertionError(f"{sql} was not refused")


def types():
    with connect() as connection, connection.cursor() as cursor:
        got = rows(
            cursor,
            "SELECT true, 1::smallint, 2::int, 3::bigint, 1.5::real, 2.5::double precision, 12.50::decimal(10, 2), "
            "'it''s', 'a'::bytea, DATE '2024-02-29', TIMESTAMP '2024-02-29 01:02:03.5', NULL, [1, 2]",
        )
        moment = datetime.datetime(2024, 2, 29, 1, 2, 3, 500000)
        want = (True, 1, 2, 3, 1.5, 2.5, decimal.Decimal("12.50"), "it's", b"a", datetime.date(2024, 2, 29), moment)
        assert got == [want + (None, [1, 2])], got
        assert rows(cursor, "SELECT 1 AS n WHERE false") == []
        assert [column[0] for column in cursor.description] == ["n"]


def parameters():
    with connect() as connection, connection.cursor() as cursor:
        assert rows(cursor, "SELECT $1 + 1, $2 || '!'", [41, "x"]) == [(42, "x!")]
        assert rows(cursor, "SELECT value FROM range(10) WHERE value > $1 ORDER BY value", [7]) == [(8,), (9,)]
        assert rows(cursor, "SELECT $1::decimal(5, 2)", [decimal.Decimal("1.25")]) == [(decimal.Decimal("1.25"),)]
        cursor.execute("CREATE TABLE given (id BIGINT PRIMARY KEY, at TIMESTAMP, price DECIMAL(9, 2), t TEXT)")
        at = datetime.datetime(2024, 1, 2, 3, 4, 5)
        cursor.execute("INSERT INTO given VALUES ($1, $2, $3, $4)", [1, at, decimal.Decimal("9.99"), None])
        assert rows(cursor, "SELECT * FROM given WHERE at = $1", [at]) == [(1, at, decimal.Decimal("9.99"), None)]
        cursor.adbc_statement.set_sql_query("SELECT t FROM given WHERE id = $1")
        cursor.adbc_statement.prepare()
        schema = pa.schema(cursor.adbc_statement.get_parameter_schema())
        assert schema.types == [pa.int64()], schema


def update_counts():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE counted (id BIGINT PRIMARY KEY, n BIGINT)")
        cursor.execute("INSERT INTO counted VALUES (1, 1), (2, 2), (3, 3)")
        assert cursor.rowcount == 3, cursor.rowcount
        cursor.execute("UPDATE counted SET n = n + 1 WHERE id > 1")
        assert cursor.rowcount == 2, cursor.rowcount
        cursor.executemany("INSERT INTO counted VALUES ($1, $2)", [(4, 4), (5, 5), (6, 6)])
        assert cursor.rowcount == 3, cursor.rowcount
        cursor.executemany("DELETE FROM counted WHERE id = $1", [(4,), (99,)])
        assert cursor.rowcount == 1, cursor.rowcount
        assert rows(cursor, "INSERT INTO counted VALUES (7, 70) RETURNING n") == [(70,)]
        assert rows(cursor, "SELECT count(*), sum(n) FROM counted") == [(6, 89)]
        cursor.adbc_statement.set_sql_query("DELETE FROM counted")
        assert cursor.adbc_statement.execute_update() == 6


def many_rows():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT value AS n, 'text number ' || value AS t FROM range(100000)")
        table = cursor.fetch_arrow_table()
        texts = table.column("t").cast(pa.string()).to_pylist()
        assert table.num_rows == 100000 and sum(table.column("n").to_pylist()) == 4999950000
        assert len(set(texts)) == 100000


def long_texts():
    """Batches that are larger than a message come in parts, each with its own texts only."""
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT repeat('x', 1000) || value AS t FROM range(30000)")
        table = cursor.fetch_arrow_table()
        assert table.num_rows == 30000
        assert table.nbytes < 2 * 30000 * 1010, table.nbytes


def objects():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE listed (id BIGINT PRIMARY KEY, name TEXT)")
        catalogs = connection.adbc_get_objects(depth="catalogs").read_all().to_pylist()
        assert [catalog["catalog_name"] for catalog in catalogs] == ["polder"], catalogs
        schemas = connection.adbc_get_objects(depth="db_schemas").read_all().to_pylist()
        names = [schema["db_schema_name"] for schema in schemas[0]["catalog_db_schemas"]]
        assert names == ["public", "system"], names
        deep = connection.adbc_get_objects(depth="all", table_name_filter="list%").read_all().to_pylist()
        [public] = [s for s in deep[0]["catalog_db_schemas"] if s["db_schema_name"] == "public"]
        [table] = public["db_schema_tables"]
        assert (table["table_name"], table["table_type"]) == ("listed", "TABLE")
        assert [column["column_name"] for column in table["table_columns"]] == ["id", "name"]
        assert "TABLE" in connection.adbc_get_table_types()
        info = connection.adbc_get_info()
        assert info["vendor_name"] == "Polder", info


def table_schema():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute('CREATE TABLE "Odd ""name" (id BIGINT PRIMARY KEY, price DECIMAL(10, 2))')
        schema = connection.adbc_get_table_schema('Odd "name')
        assert schema.names == ["id", "price"] and schema.field("price").type == pa.decimal128(10, 2), schema


def transactions():
    with connect() as setup, setup.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (id BIGINT PRIMARY KEY)")
    with connect(autocommit=False) as connection, connection.cursor() as cursor, connect() as other:
        cursor.execute("INSERT INTO kept VALUES (1)")
        assert rows(cursor, "SELECT count(*) FROM kept") == [(1,)]
        with other.cursor() as others:
            assert rows(others, "SELECT count(*) FROM kept") == [(0,)]
            connection.commit()
            assert rows(others, "SELECT count(*) FROM kept") == [(1,)]
        cursor.execute("INSERT INTO kept VALUES (2)")
        connection.rollback()
        assert rows(cursor, "SELECT count(*) FROM kept") == [(1,)]
        cursor.executemany("INSERT INTO kept VALUES ($1)", [(3,), (4,)])
        connection.commit()
        # One that fails leaves nothing but to roll back.
        assert rows(cursor, "SELECT count(*) FROM kept") == [(3,)]
        assert "23505" in sqlstate(refused(cursor, "INSERT INTO kept VALUES (1)"))
        assert "25P02" in sqlstate(refused(cursor, "SELECT 1"))
        connection.rollback()
        assert rows(cursor, "SELECT count(*) FROM kept") == [(3,)]
        assert "25001" in sqlstate(refused(cursor, "CREATE TABLE late (id BIGINT PRIMARY KEY)"))


def ingest():
    table = pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int64()),
            "name": pa.array(["a", None, "c"], pa.string()),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
            "price": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2.00")], pa.decimal128(10, 2)),
            "at": pa.array([datetime.datetime(2024, 1, 1)] * 3, pa.timestamp("us")),
            "small": pa.array([1, 2, None], pa.int16()),
            "flag": pa.array([True, False, None]),
        }
    )
    with connect() as connection, connection.cursor() as cursor:
        assert cursor.adbc_ingest("loaded", table, mode="create") == 3
        assert "42P07" in sqlstate(refused_ingest(cursor, "loaded", table, "create"))
        assert cursor.adbc_ingest("loaded", table, mode="append") == 3
        assert cursor.adbc_ingest("loaded", table.slice(0, 1), mode="create_append") == 1
        got = rows(cursor, "SELECT name, kind, price, at, small, flag FROM loaded WHERE id = 1 LIMIT 1")
        assert got == [("a", "x", decimal.Decimal("1.50"), datetime.datetime(2024, 1, 1), 1, True)], got
        assert rows(cursor, "SELECT count(*) FROM loaded") == [(7,)]
        assert cursor.adbc_ingest("loaded", table, mode="replace") == 3
        assert rows(cursor, "SELECT count(*) FROM loaded") == [(3,)]
        many = pa.table({"n": list(range(200000))})
        assert cursor.adbc_ingest("many", many.to_reader(max_chunksize=10000), mode="create") == 200000
        assert rows(cursor, "SELECT count(*), sum(n) FROM many") == [(200000, 19999900000)]
        # By name, in the types of the table; a column that is not there is an error, and nothing is left.
        cursor.execute("CREATE TABLE typed (id BIGINT PRIMARY KEY, n DECIMAL(5, 1))")
        assert cursor.adbc_ingest("typed", pa.table({"n": ["1.5"], "id": [1]}), mode="append") == 1
        assert rows(cursor, "SELECT * FROM typed") == [(1, decimal.Decimal("1.5"))]
        wrong = pa.table({"id": [2, 1], "n": ["1", "2"]})
        assert "23505" in sqlstate(refused_ingest(cursor, "typed", wrong, "append"))
        assert "42703" in sqlstate(refused_ingest(cursor, "typed", pa.table({"other": [1]}), "append"))
        assert "42P01" in sqlstate(refused_ingest(cursor, "nowhere", many, "append"))
        assert rows(cursor, "SELECT count(*) FROM typed") == [(1,)]


def refused_ingest(cursor, name, table, mode):
    try:
        cursor.adbc_ingest(name, table, mode=mode)
    except adbc_driver_manager.Error as error:
        return error
    raise AssertionError(f"{name} took the rows")


def ingest_topic():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TOPIC events (id BIGINT, name TEXT) WITH (key = 'id')")
        assert cursor.adbc_ingest("events", pa.table({"id": [1, 2], "name": ["a", "b"]}), mode="append") == 2
        assert cursor.adbc_ingest("events", pa.table({"id": [1], "name": ["c"]}), mode="create_append") == 1
        assert rows(cursor, "SELECT name FROM events WHERE id = 1 ORDER BY name") == [("a",), ("c",)]


def sqlstate(error):
    """The driver keeps headers of an error as its details."""
    return " ".join(f"{key}={value!r}" for key, value in error.details)


def errors():
    with connect() as connection, connection.cursor() as cursor:
        error = refused(cursor, "SELECT * FROM nothing")
        assert error.status_code == adbc_driver_manager.AdbcStatusCode.NOT_FOUND, error
        assert "42P01" in sqlstate(error), error.details
        assert 'table "nothing" does not exist' in str(error) and "hint: " in str(error), error
        error = refused(cursor, "SELECT (1")
        assert error.status_code == adbc_driver_manager.AdbcStatusCode.INVALID_ARGUMENT, error
        assert "42601" in sqlstate(error), error.details
        assert "42P02" in sqlstate(refused(cursor, "SELECT $1 + 1"))
        assert "0A000" in sqlstate(refused(cursor, "SET pushdown = off"))
        assert "0A000" in sqlstate(refused(cursor, "BEGIN"))
        # One that comes after the first rows ends them.
        assert "22012" in sqlstate(refused(cursor, "SELECT 1 / (500000 - value) AS n FROM range(1000000)"))
        assert rows(cursor, "SELECT 1") == [(1,)]


def sessions():
    """Who logs in, with whatever name, has a session for the connection."""
    with connect(username="ada", password="any") as connection, connection.cursor() as cursor:
        cursor.execute("SET pushdown = off")
        assert rows(cursor, "SHOW pushdown")[0][0] == "off"
        cursor.execute("CREATE TABLE session_table (id BIGINT PRIMARY KEY)")
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO session_table VALUES (1)")
        cursor.execute("ROLLBACK")
        assert rows(cursor, "SELECT count(*) FROM session_table") == [(0,)]
    header = adbc_driver_flightsql.DatabaseOptions.AUTHORIZATION_HEADER.value
    with connect(**{header: "Bearer stale"}) as connection, connection.cursor() as cursor:
        error = refused(cursor, "SELECT 1")
        assert error.status_code == adbc_driver_manager.AdbcStatusCode.UNAUTHENTICATED, error


def session_options():
    prefix = "adbc.flight.sql.session.option."
    with connect(**COOKIES) as connection, connection.cursor() as cursor:
        handle = connection.adbc_connection
        handle.set_options(**{prefix + "pushdown": "off"})
        assert rows(cursor, "SHOW pushdown")[0][0] == "off"
        assert handle.get_option(prefix + "pushdown") == "off"
        for name, value in [("nothing", "1"), ("pushdown", "perhaps")]:
            try:
                handle.set_options(**{prefix + name: value})
            except adbc_driver_manager.Error:
                continue
            raise AssertionError(f"{name} = {value} was set")


def positions():
    """What was written is read after its token, and a request has one effect."""
    rpc = "adbc.flight.sql.rpc.call_header.polder-"
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE once (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n BIGINT)")
    for _ in range(2):
        with connect(**{rpc + "request-id": "first"}) as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO once (n) VALUES (7)")
            assert cursor.rowcount == 1
    with connect(**{rpc + "read-after": "nonsense"}) as connection, connection.cursor() as cursor:
        refused(cursor, "SELECT count(*) FROM once")
    with connect() as connection, connection.cursor() as cursor:
        assert rows(cursor, "SELECT count(*) FROM once") == [(1,)]


def sleep():
    attach()
    with connect() as connection, connection.cursor() as cursor:
        rows(cursor, "SELECT * FROM query('shop', 'SELECT pg_sleep(600)')")


def attach():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE OR REPLACE CATALOG shop USING postgres WITH (url = '{arguments[0]}')")


def sleep_and_cancel():
    attach()
    with connect() as connection, connection.cursor() as cursor:
        threading.Timer(2, cursor.adbc_cancel).start()
        refused(cursor, "SELECT * FROM query('shop', 'SELECT pg_sleep(600)')")
        print("cancelled")


def outlast():
    sql = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.value + b.value < 0"
    cursor = connect().cursor()
    error = refused(cursor, sql)
    assert "57P01" in sqlstate(error), (error, error.details)
    # The server is gone, so that nothing can be closed in order.
    sys.stdout.flush()
    os._exit(0)


globals()[part]()
