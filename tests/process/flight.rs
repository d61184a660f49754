//! `polder serve` over Flight SQL, by the driver of ADBC and by pyarrow's own client.

use crate::interrupt::wait_for;
use crate::server::{Server, assert_ran, run_python_blocks};
use polder_testing::Postgres;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

fn client(server: &Server, file: &str, part: &str, arguments: &[&str]) -> Command {
    Server::client(file, &format!("grpc://{}", server.flight), part, arguments)
}

/// Runs it; it checks for itself.
fn check(server: &Server, file: &str, part: &str) {
    assert_ran(&client(server, file, part, &[]).output().expect("run python"));
}

/// One server for all that only looks, or has tables of its own.
#[test]
fn adbc_does_all_that_a_program_needs() {
    let server = Server::start(&[]);
    for part in [
        "types",
        "parameters",
        "update_counts",
        "many_rows",
        "long_texts",
        "objects",
        "table_schema",
        "transactions",
        "ingest",
        "ingest_topic",
        "errors",
        "sessions",
        "session_options",
        "positions",
    ] {
        check(&server, "adbc.py", part);
    }
    server.stop();
}

#[test]
fn pyarrow_sees_what_the_protocol_promises() {
    let server = Server::start(&[]);
    for part in ["schemas", "tickets", "cancel", "ingest", "garbage", "listings"] {
        check(&server, "pyarrow_flight.py", part);
    }
    check(&server, "adbc.py", "types");
    server.stop();
}

/// The document's programs do what it says, in order, against one server.
#[test]
fn every_python_block_of_the_flight_document_runs() {
    let server = Server::start(&[]);
    run_python_blocks("docs/flight.md", "127.0.0.1:8815", &server.flight);
    server.stop();
}

/// A client that goes away takes its query with it, also at the source.
#[test]
fn a_flight_client_that_leaves_cancels_its_query() {
    let postgres = Postgres::start();
    let server = Server::start(&["--grace", "60"]);
    for part in ["sleep", "sleep_and_cancel"] {
        let mut client = client(&server, "adbc.py", part, &[&postgres.url()]);
        let mut client = client.stdout(Stdio::piped()).spawn().expect("run python");
        wait_for(&postgres, "1");
        if part == "sleep" {
            client.kill().expect("kill python");
        } else {
            let mut text = String::new();
            client.stdout.take().expect("it is piped").read_to_string(&mut text).expect("read");
            assert_eq!(text, "cancelled\n");
        }
        drop(client.wait());
        wait_for(&postgres, "0");
    }
    server.stop();
}

#[test]
fn flight_statements_that_outlast_the_grace_are_told() {
    let mut server = Server::start(&["--grace", "1"]);
    let client = client(&server, "adbc.py", "outlast", &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let client = client.expect("run python");
    std::thread::sleep(Duration::from_secs(3));
    server.terminate();
    server.said.expect("shutting down");
    assert_ran(&client.wait_with_output().expect("wait for python"));
    server.expect_end();
}

/// Whoever connects and does not speak HTTP/2 is sent away, and others are served.
#[test]
fn connections_that_mean_nothing_harm_nobody() {
    let server = Server::start(&[]);
    let silent = TcpStream::connect(&server.flight).expect("connect");
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\0",
        &[0xff; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff",
    ] {
        let mut stream = TcpStream::connect(&server.flight).expect("connect");
        drop(stream.write_all(bytes));
    }
    check(&server, "adbc.py", "types");
    let mut silent = silent;
    silent.set_read_timeout(Some(Duration::from_secs(60))).expect("set a timeout");
    let mut text = Vec::new();
    // Closed in order or not: it must be closed.
    if let Err(error) = silent.read_to_end(&mut text) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    server.stop();
}
