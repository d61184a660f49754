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


def answer(peer, request):
    if "do" in request:
        peer.do(request["do"])
        return {}
    if "time" in request:
        start = time.perf_counter()
        table = peer.read(request["time"])
        return {"seconds": time.perf_counter() - start, "rows": table.num_rows}
    if "save" in request:
        table = peer.read(request["save"])
        with pa.ipc.new_file(request["path"], table.schema) as file:
            file.write_table(table)
        return {"rows": table.num_rows}
    if "peak" in request:
        return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    raise ValueError(f"unknown request: {request}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=["duckdb", "connectorx", "sqlite", "psycopg"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--url", help="the PostgreSQL that connectorx and psycopg read")
    parser.add_argument("--mails", help="the mails to index, as NDJSON")
    arguments = parser.parse_args()
    peers = {"duckdb": DuckDB, "connectorx": ConnectorX, "sqlite": SQLite, "psycopg": Psycopg}
    peer = peers[arguments.peer](arguments)
    print(json.dumps({"version": peer.version}), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(peer, json.loads(line))
        except Exception as error:  # whatever went wrong is the benchmark's to report
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
