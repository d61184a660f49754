"""Checks a server through pyarrow's client of Flight, message by message: `pyarrow_flight.py URI PART`."""

import sys
import threading
import time

import pyarrow as pa
import pyarrow.flight as flight

uri, part = sys.argv[1], sys.argv[2]
client = flight.connect(uri)


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """A field of a protobuf message: bytes, or a whole number."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def packed(name, message=b""):
    return field(1, f"type.googleapis.com/arrow.flight.protocol.sql.{name}".encode()) + field(2, message)


def descriptor(name, message=b""):
    return flight.FlightDescriptor.for_command(packed(name, message))


def query(sql):
    return descriptor("CommandStatementQuery", field(1, sql.encode()))


def refused(act, kind=pa.ArrowInvalid):
    try:
        act()
    except kind as error:
        return str(error)
    raise AssertionError("it was not refused")


def schemas():
    schema = client.get_schema(query("SELECT 1::bigint AS n, 'x' AS t")).schema
    assert schema.names == ["n", "t"], schema
    info = client.get_flight_info(query("SELECT 1::bigint AS n, 'x' AS t"))
    assert info.schema == schema
    assert client.do_get(info.endpoints[0].ticket).schema == schema
    assert list(client.list_flights()) == []
    # Asking for the schema of a change does not change anything.
    client.get_flight_info(query("CREATE TABLE asked (id BIGINT PRIMARY KEY)"))
    assert client.get_schema(query("INSERT INTO asked VALUES (1)")).schema.names == []
    info = client.get_flight_info(query("INSERT INTO asked VALUES (2), (3)"))
    assert (info.total_records, info.endpoints) == (2, [])
    # A planned column has the type that comes.
    for sql in ["SELECT * FROM asked", "SHOW TABLES", "EXPLAIN SELECT 1", "SELECT count(*), sum(id) FROM asked"]:
        info = client.get_flight_info(query(sql))
        reader = client.do_get(info.endpoints[0].ticket)
        assert reader.schema == info.schema, (sql, reader.schema, info.schema)
        reader.read_all()


def tickets():
    info = client.get_flight_info(query("SELECT 1"))
    ticket = info.endpoints[0].ticket
    assert client.do_get(ticket).read_all().num_rows == 1
    assert "no such ticket" in refused(lambda: client.do_get(ticket).read_all(), KeyError)


def cancel():
    sql = "SELECT sum(value % 7) FROM range(1000000000000)"
    info = client.get_flight_info(query(sql))

    def later():
        time.sleep(1)
        body = field(1, info.serialize())
        [result] = flight.connect(uri).do_action(flight.Action("CancelFlightInfo", body))
        assert result.body.to_pybytes() == field(1, 1), result.body.to_pybytes()

    thread = threading.Thread(target=later)
    thread.start()
    refused(lambda: client.do_get(info.endpoints[0].ticket).read_all(), (KeyboardInterrupt, flight.FlightCancelledError))  # pyarrow takes it for a Ctrl-C
    thread.join()
    [result] = client.do_action(flight.Action("CancelFlightInfo", field(1, info.serialize())))
    assert result.body.to_pybytes() == field(1, 3), result.body.to_pybytes()


def put(name, message, table):
    """Sends a table; the count that comes back."""
    writer, reader = client.do_put(descriptor(name, message), table.schema)
    writer.write_table(table)
    writer.done_writing()
    result = reader.read()
    writer.close()
    return result.to_pybytes()


def ingest():
    """In a transaction, as the driver of ADBC does not: the rows are there when it is committed, or never."""
    client.get_flight_info(query("CREATE TABLE loaded (id BIGINT PRIMARY KEY)"))
    count = "SELECT id FROM loaded ORDER BY id"
    for action, want in [(2, []), (1, [1, 2, 3])]:
        [begun] = client.do_action(flight.Action("BeginTransaction", packed("ActionBeginTransactionRequest")))
        # An Any around a message of one field.
        transaction = begun.body.to_pybytes().split(b"\n ")[-1]
        options = field(1, 2) + field(2, 2)
        message = field(1, options) + field(2, b"loaded") + field(6, transaction)
        assert put("CommandStatementIngest", message, pa.table({"id": [1, 2, 3]})) == field(1, 3)
        assert read(count) == []
        end = packed("ActionEndTransactionRequest", field(1, transaction) + field(2, action))
        list(client.do_action(flight.Action("EndTransaction", end)))
        assert read(count) == want, (want, read(count))


def read(sql):
    info = client.get_flight_info(query(sql))
    return client.do_get(info.endpoints[0].ticket).read_all().column(0).to_pylist()


def garbage():
    for ticket in [b"", b"\xff" * 100, b"garbage", packed("TicketStatementQuery", b"\xff"), packed("Nothing")]:
        refused(lambda: client.do_get(flight.Ticket(ticket)).read_all(), (pa.ArrowException, KeyError))
    for bytes in [b"", b"\xff" * 100, packed("CommandStatementQuery", b"\xff")]:
        command = flight.FlightDescriptor.for_command(bytes)
        refused(lambda: client.get_flight_info(command), (pa.ArrowException,))
        refused(lambda: client.get_schema(command), (pa.ArrowException,))
    for action in ["CreatePreparedStatement", "BeginTransaction", "CancelFlightInfo", "SetSessionOptions", "Nothing"]:
        refused(lambda: list(client.do_action(flight.Action(action, b"\xff\xff"))), (pa.ArrowException,))
    unknown = field(1, b"nothing")
    refused(lambda: client.get_flight_info(descriptor("CommandPreparedStatementQuery", unknown)), KeyError)
    refused(lambda: list(client.do_action(flight.Action("EndTransaction", packed("ActionEndTransactionRequest", unknown)))), KeyError)
    # Rows for what takes none, and rows that take no end.
    for name in ["CommandPreparedStatementUpdate", "CommandStatementIngest", "CommandGetTables"]:

        def wrong():
            put(name, field(2, b"nowhere"), pa.table({"n": [1]}))

        refused(wrong, (pa.ArrowException, KeyError))
    # A message beyond the limit.
    large = query("SELECT '" + "x" * (17 << 20) + "'")
    refused(lambda: client.get_flight_info(large), (pa.ArrowException,))
    info = client.get_flight_info(query("SELECT 1"))
    assert client.do_get(info.endpoints[0].ticket).read_all().num_rows == 1


def listings():
    commands = {
        "CommandGetCatalogs": b"",
        "CommandGetDbSchemas": field(2, b"pub%"),
        "CommandGetTables": field(5, 1),
        "CommandGetTableTypes": b"",
        "CommandGetSqlInfo": b"",
        "CommandGetXdbcTypeInfo": b"",
        "CommandGetPrimaryKeys": field(3, b"t"),
        "CommandGetExportedKeys": field(3, b"t"),
        "CommandGetImportedKeys": field(3, b"t"),
        "CommandGetCrossReference": field(3, b"t") + field(6, b"u"),
    }
    for name, message in commands.items():
        info = client.get_flight_info(descriptor(name, message))
        table = client.do_get(info.endpoints[0].ticket).read_all()
        assert table.schema == info.schema, (name, table.schema, info.schema)
        assert client.get_schema(descriptor(name, message)).schema == info.schema
        assert (table.num_rows == 0) == ("Key" in name or "Cross" in name), (name, table.num_rows)
    info = client.get_flight_info(descriptor("CommandGetTables", field(3, b"data%") + field(5, 1)))
    [table] = client.do_get(info.endpoints[0].ticket).read_all().to_pylist()
    assert (table["catalog_name"], table["table_name"], table["table_type"]) == ("polder", "datasets", "SYSTEM TABLE")
    assert "frontier" in pa.ipc.read_schema(pa.py_buffer(table["table_schema"])).names


globals()[part]()
