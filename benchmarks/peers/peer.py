"""One peer as a process: reads requests from standard input, one JSON object a line, and answers each with one line.

    {"do": "CREATE VIEW ..."}                 runs a statement                     -> {}
    {"time": "SELECT ..."}                    reads all rows into Arrow, timed     -> {"seconds": 0.12, "rows": 10}
    {"save": "SELECT ...", "path": "x.arrow"} the same, into an Arrow IPC file     -> {"rows": 10}
    {"peak": true}                            the process's peak of memory so far  -> {"bytes": 123456}

A failure is {"error": "..."}. The time is taken here, so that it holds neither the start of Python nor this pipe.
"""

import argparse
import glob
import json
import os
import resource
import sys
import time

import pyarrow as pa


class DuckDB:
    """DuckDB with its postgres and fts extensions, as wheels bring them: nothing is downloaded."""

    def __init__(self, arguments):
        import duckdb

        config = {"threads": str(arguments.threads), "allow_unsigned_extensions": "true"}
        self.connection = duckdb.connect(config=config)
        wheels = os.path.dirname(os.path.dirname(duckdb.__file__))
        for extension in glob.glob(os.path.join(wheels, "duckdb_extension_*/extensions/*/*.duckdb_extension")):
            self.connection.execute(f"LOAD '{extension}'")
        self.version = f"duckdb {duckdb.__version__}"

    def do(self, sql):
        self.connection.execute(sql)

    def read(self, sql):
        return self.connection.execute(sql).to_arrow_table()


class ConnectorX:
    """connectorx with its default protocol, binary COPY."""

    def __init__(self, arguments):
        import connectorx

        self.connectorx = connectorx
        self.url = arguments.url
        self.version = f"connectorx {connectorx.__version__}"

    def do(self, sql):
        raise NotImplementedError("connectorx only reads")

    def read(self, sql):
        return self.connectorx.read_sql(self.url, sql, return_type="arrow")


def mails(path):
    with open(path, encoding="utf-8") as lines:
        return [(mail["id"], mail["body"]) for mail in map(json.loads, lines)]


def table(columns, rows):
    """Rows as an Arrow table, whatever their number."""
    return pa.table({name: [row[at] for row in rows] for at, name in enumerate(columns)})


class SQLite:
    """SQLite's FTS5 over the mails, in memory."""

    def __init__(self, arguments):
        import sqlite3

        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("CREATE VIRTUAL TABLE mails USING fts5(body, content='')")
        self.connection.executemany("INSERT INTO mails (rowid, body) VALUES (?, ?)", mails(arguments.mails))
        self.connection.execute("INSERT INTO mails (mails) VALUES ('optimize')")
        self.version = f"sqlite {sqlite3.sqlite_version} fts5"

    def do(self, sql):
        self.connection.execute(sql)

    def read(self, sql):
        return table(["id", "score"], self.connection.execute(sql).fetchall())


class Psycopg:
    """PostgreSQL's own full-text search under a GIN index."""

    def __init__(self, arguments):
        import psycopg

        self.connection = psycopg.connect(arguments.url, autocommit=True)
        self.do("CREATE TABLE mails (id bigint PRIMARY KEY, words tsvector)")
        # A tsvector holds a megabyte of words; longer mails are cut.
        insert = "INSERT INTO mails VALUES (%s, to_tsvector('simple', left(%s, 500000)))"
        with self.connection.cursor() as cursor:
            cursor.executemany(insert, mails(arguments.mails))
        self.do("CREATE INDEX ON mails USING gin (words)")
        self.do("VACUUM ANALYZE mails")
        version = self.connection.execute("SHOW server_version").fetchone()[0]
        self.version = f"PostgreSQL {version.split()[0]} gin"

    def do(self, sql):
        self.connection.execute(sql)

    def read(self, sql):
        return table(["id", "score"], self.connection.execute(sql).fetchall())


class Adbc:
    """ADBC's driver of Flight SQL."""

    def __init__(self, arguments):
        import adbc_driver_flightsql
        import adbc_driver_flightsql.dbapi

        self.connection = adbc_driver_flightsql.dbapi.connect(arguments.url, autocommit=True)
        self.version = f"adbc {adbc_driver_flightsql.__version__}"

    def do(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def read(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()


class Flight:
    """Flight without a database: a server of pyarrow's that holds a table, and a client of pyarrow's."""

    def __init__(self, arguments):
        import pyarrow.flight

        self.source = Adbc(arguments)
        self.tables = tables = {}

        class Server(pyarrow.flight.FlightServerBase):
            def do_get(self, context, ticket):
                return pyarrow.flight.RecordBatchStream(tables[ticket.ticket])

        self.server = Server("grpc://127.0.0.1:0")
        self.client = pyarrow.flight.FlightClient(("127.0.0.1", self.server.port))
        self.ticket = pyarrow.flight.Ticket
        self.version = f"pyarrow.flight {pa.__version__}"

    def do(self, sql):
        self.tables[sql.encode()] = self.source.read(sql)

    def read(self, sql):
        return self.client.do_get(self.ticket(sql.encode())).read_all()


class PsycopgRows:
    """Rows as psycopg gives them: a tuple of Python's values for each."""

    def __init__(self, arguments):
        import psycopg

        self.connection = psycopg.connect(arguments.url, autocommit=True)
        self.version = f"psycopg {psycopg.__version__}"

    def do(self, sql):
        self.connection.execute(sql)

    def count(self, sql):
        return len(self.connection.execute(sql).fetchall())

    def read(self, sql):
        cursor = self.connection.execute(sql)
        return table([column.name for column in cursor.description], cursor.fetchall())


def answer(peer, request):
    if "do" in request:
        peer.do(request["do"])
        return {}
    if "time" in request:
        start = time.perf_counter()
        rows = peer.count(request["time"]) if hasattr(peer, "count") else peer.read(request["time"]).num_rows
        return {"seconds": time.perf_counter() - start, "rows": rows}
    if "save" in request:
        table = peer.read(request["save"])
        with pa.ipc.new_file(request["path"], table.schema) as file:
            file.write_table(table)
        return {"rows": table.num_rows}
    if "peak" in request:
        return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    raise ValueError(f"unknown request: {request}")


PEERS = {
    "duckdb": DuckDB,
    "connectorx": ConnectorX,
    "sqlite": SQLite,
    "psycopg": Psycopg,
    "adbc": Adbc,
    "flight": Flight,
    "psycopg_rows": PsycopgRows,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--url", help="the server that connectorx, psycopg and adbc read")
    parser.add_argument("--mails", help="the mails to index, as NDJSON")
    arguments = parser.parse_args()
    peer = PEERS[arguments.peer](arguments)
    print(json.dumps({"version": peer.version}), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(peer, json.loads(line))
        except Exception as error:  # whatever went wrong is the benchmark's to report
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
