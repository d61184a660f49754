"""Logs in by every protocol: `login.py HTTP FLIGHT PG CA PART`. Without a CA there is no TLS."""

import base64
import json
import socket
import ssl
import struct
import sys
import urllib.error
import urllib.request

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import psycopg
import pyarrow.flight as flight

http, grpc, pg, ca, part = sys.argv[1:6]
tls = ssl.create_default_context(cafile=ca) if ca else None
Options = adbc_driver_flightsql.DatabaseOptions


def post(sql, authorization=None):
    """The status and the answer of a statement over HTTP."""
    headers = {"Content-Type": "application/json"}
    if authorization:
        headers["Authorization"] = authorization
    url = f"{'https' if ca else 'http'}://{http}/v1/sql"
    request = urllib.request.Request(url, json.dumps({"sql": sql}).encode(), headers)
    try:
        with urllib.request.urlopen(request, context=tls) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        assert error.status != 401 or error.headers["WWW-Authenticate"], "401 without a challenge"
        return error.status, json.load(error)


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def postgres(user, password, **options):
    mode = {"sslmode": "verify-ca", "sslrootcert": ca} if ca else {"sslmode": "disable"}
    host, port = pg.split(":")
    options = {"host": host, "port": port, "dbname": "polder", "autocommit": True, **mode, **options}
    return psycopg.connect(user=user, password=password, **options)


def adbc(**options):
    if ca:
        options[Options.TLS_ROOT_CERTS.value] = open(ca).read()
    connection = flightsql.connect(f"grpc{'+tls' if ca else ''}://{grpc}", db_kwargs=options, autocommit=True)
    return connection


def refused(kind, run, words):
    try:
        run()
    except kind as error:
        assert words in str(error), error
        return
    raise AssertionError("it was let in")


WHO = "SELECT count(*) FROM people"


def logins():
    with postgres("root", "secret") as connection:
        connection.execute("CREATE TABLE people (id BIGINT PRIMARY KEY)")
        connection.execute("CREATE USER ana PASSWORD 'her password'")
        token = connection.execute("CREATE TOKEN script FOR root").fetchone()[0]
        old = connection.execute("CREATE TOKEN old FOR root VALID UNTIL '2020-01-01T00:00:00Z'").fetchone()[0]
    # PostgreSQL's protocol.
    with postgres("root", "secret") as connection:
        assert connection.execute(WHO).fetchone() == (0,)
    with postgres("ana", "her password") as connection:
        refused(psycopg.errors.InsufficientPrivilege, lambda: connection.execute(WHO), "permission denied")
    for user, password in [("root", "Secret"), ("root", ""), ("ghost", "secret")]:
        refused(psycopg.OperationalError, lambda: postgres(user, password), "")
    # HTTP.
    assert post(WHO, basic("root", "secret"))[0] == 200
    assert post(WHO, f"Bearer {token}")[0] == 200
    status, problem = post(WHO, basic("ana", "her password"))
    assert (status, problem["sqlstate"]) == (403, "42501"), problem
    for wrong in [None, basic("root", "wrong"), "Bearer wrong", f"Bearer {old}", "Digest x", "Basic ???"]:
        status, problem = post(WHO, wrong)
        assert status == 401 and problem["sqlstate"].startswith("28"), (wrong, status, problem)
    # Flight SQL: a name and a password, a token, and what a handshake gives.
    for options in [
        {"username": "root", "password": "secret"},
        {Options.AUTHORIZATION_HEADER.value: f"Bearer {token}"},
        {Options.AUTHORIZATION_HEADER.value: basic("root", "secret")},
    ]:
        with adbc(**options) as connection, connection.cursor() as cursor:
            cursor.execute(WHO)
            assert cursor.fetchall() == [(0,)]
    with adbc(username="ana", password="her password") as connection, connection.cursor() as cursor:
        refused(adbc_driver_manager.Error, lambda: cursor.execute(WHO), "permission denied")
    for options in [{}, {"username": "root", "password": "wrong"}, {Options.AUTHORIZATION_HEADER.value: "Bearer x"}]:

        def ask(options=options):
            with adbc(**options) as connection, connection.cursor() as cursor:
                cursor.execute(WHO)

        refused(adbc_driver_manager.Error, ask, "")
    options = {"tls_root_certs": open(ca).read()} if ca else {}
    client = flight.FlightClient(f"grpc{'+tls' if ca else ''}://{grpc}", **options)
    assert client.authenticate_basic_token("root", "secret")[1].startswith(b"Bearer ")
    # What a session was let in with, it goes on with; what is dropped does not come in again.
    with postgres("root", "secret") as connection, postgres("ana", "her password") as hers:
        connection.execute("GRANT SELECT ON people TO ana")
        assert hers.execute(WHO).fetchone() == (0,)
        connection.execute("DROP TOKEN script")
        connection.execute("DROP USER ana")
        refused(psycopg.Error, lambda: hers.execute(WHO), "does not exist")
    assert post(WHO, f"Bearer {token}")[0] == 401
    refused(psycopg.OperationalError, lambda: postgres("ana", "her password"), "password authentication failed")


def closed(connection):
    """Whether a server has closed a connection, or says why it will."""
    connection.settimeout(5)
    try:
        answer = connection.recv(100)
        return answer == b"" or answer[:1] in (b"E", b"\x15")
    except ConnectionResetError:
        return True


def hostile():
    host, port = pg.split(":")
    ask = struct.pack("!ii", 8, 80877103)
    # Without TLS nobody is heard.
    refused(psycopg.OperationalError, lambda: postgres("root", "secret", sslmode="disable"), "TLS")
    # Plain text behind the question, before TLS has begun.
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(ask + struct.pack("!ii", 8, 196608))
        assert connection.recv(1) == b"S"
        assert closed(connection)
    # TLS in TLS.
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(ask)
        assert connection.recv(1) == b"S"
        with tls.wrap_socket(connection, server_hostname=host) as secured:
            secured.sendall(ask)
            assert closed(secured)
    # What is no TLS at all, to each of them.
    for address in [http, grpc]:
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert closed(connection)
    # Logins that lie.
    for message in [
        b"SCRAM-SHA-256\0" + struct.pack("!i", 2**31 - 1) + b"n,,n=,r=x",
        b"SCRAM-SHA-256\0" + struct.pack("!i", -1),
        b"SCRAM-SHA-256-PLUS\0" + struct.pack("!i", 9) + b"n,,n=,r=x",
        b"secret\0",
        b"",
    ]:
        host, port = pg.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(ask)
            assert connection.recv(1) == b"S"
            with tls.wrap_socket(connection, server_hostname=host) as secured:
                start = struct.pack("!i", 196608) + b"user\0root\0\0"
                secured.sendall(struct.pack("!i", len(start) + 4) + start)
                assert secured.recv(100)[:1] == b"R"
                secured.sendall(b"p" + struct.pack("!i", len(message) + 4) + message)
                assert closed(secured)
    with postgres("root", "secret") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def certificate():
    """The serial number of the certificate that HTTP shows."""
    pem = ssl.get_server_certificate(tuple(http.split(":")))
    print(hash(pem) and ssl.PEM_cert_to_DER_cert(pem).hex()[-40:])


globals()[part]()
