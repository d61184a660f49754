# A DuckDB session over pipes. In: the length of a statement in bytes, a line feed, the statement. Out: the
# number of rows, the number of columns, then each field as its length and its text, or "-" for NULL; or "-"
# and a message.
import datetime
import glob
import importlib.util
import os
import sys

import duckdb

# Nothing is downloaded: extensions come from Python packages, or not at all.
connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": "2"})


def load(extension):
    package = importlib.util.find_spec(f"duckdb_extension_{extension}").submodule_search_locations[0]
    (path,) = glob.glob(os.path.join(package, "extensions", "*", f"{extension}.duckdb_extension"))
    connection.execute(f"LOAD '{path}'")


def text_of(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return str(value)


def write_text(text):
    if text is None:
        output.write(b"-\n")
    else:
        encoded = text.encode()
        output.write(b"%d\n" % len(encoded) + encoded)


def run(statement):
    if statement.startswith("-- load "):
        load(statement.removeprefix("-- load "))
        return [], 0
    cursor = connection.execute(statement)
    return cursor.fetchall(), len(cursor.description or [])


output = sys.stdout.buffer
while length := sys.stdin.buffer.readline():
    statement = sys.stdin.buffer.read(int(length)).decode()
    try:
        rows, columns = run(statement)
    except Exception as error:
        output.write(b"-\n")
        write_text(str(error))
    else:
        output.write(b"%d\n%d\n" % (len(rows), columns))
        for row in rows:
            for value in row:
                write_text(text_of(value))
    output.flush()
