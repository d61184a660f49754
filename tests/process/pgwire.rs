//! `polder serve` over PostgreSQL's protocol, by psql and by drivers of Python.

use crate::interrupt::wait_for;
use crate::server::{Server, assert_ran, run_python_blocks};
use polder_testing::Postgres;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const CLIENT: &str = "postgres.py";

fn check(server: &Server, part: &str) {
    assert_ran(&Server::client(CLIENT, &server.pg, part, &[]).output().expect("run python"));
}

/// One server for all that only looks, or has tables of its own.
#[test]
fn drivers_of_postgres_do_all_that_a_program_needs() {
    let server = Server::start(&[]);
    for part in ["types", "parameters", "transactions", "fails", "settings", "portals", "pipelines", "copies", "rows"] {
        check(&server, part);
    }
    server.stop();
}

#[test]
fn what_is_no_message_harms_nobody() {
    let server = Server::start(&[]);
    check(&server, "hostile");
    server.stop();
}

#[test]
fn every_python_block_of_the_postgres_document_runs() {
    let server = Server::start(&[]);
    run_python_blocks("docs/postgres.md", "127.0.0.1:5433", &server.pg);
    server.stop();
}

/// A client that goes away, or cancels, takes its query with it, also at the source.
#[test]
fn a_client_of_postgres_that_leaves_cancels_its_query() {
    let postgres = Postgres::start();
    let server = Server::start(&["--grace", "60"]);
    for part in ["sleep", "sleep_and_cancel"] {
        let mut client = Server::client(CLIENT, &server.pg, part, &[&postgres.url()]);
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
fn statements_of_postgres_that_outlast_the_grace_are_told() {
    let mut server = Server::start(&["--grace", "1"]);
    let client =
        Server::client(CLIENT, &server.pg, "outlast", &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let client = client.expect("run python");
    std::thread::sleep(Duration::from_secs(3));
    server.terminate();
    server.said.expect("shutting down");
    assert_ran(&client.wait_with_output().expect("wait for python"));
    server.expect_end();
}

fn psql(server: &Server, arguments: &[&str], input: &str) -> Output {
    let mut psql = Command::new(Postgres::psql_program());
    psql.arg(format!("postgresql://{}/polder", server.pg)).args(["-X", "-q"]).args(arguments);
    psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut psql = psql.spawn().expect("run psql");
    psql.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("write to psql");
    psql.wait_with_output().expect("wait for psql")
}

#[test]
fn psql_reads_writes_and_copies() {
    let server = Server::start(&[]);
    let script = "\
CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT);
COPY t FROM STDIN WITH (FORMAT csv, HEADER false);
1,\"one, and only\"
2,
\\.
SELECT * FROM t ORDER BY id;
BEGIN;
DELETE FROM t;
SELECT count(*) AS n FROM t;
ROLLBACK;
SELECT count(*) AS n FROM t \\; SELECT 'two results' AS said;
SELECT 1.50::decimal(10, 2) AS price, NULL AS nothing \\gx
SELECT missing FROM t;
";
    let ran = psql(&server, &["-A", "--pset=null=∅"], script);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    insta::assert_snapshot!(said(&ran.stdout) + "--\n" + &said(&ran.stderr));
    // As scripts use it: unaligned, only rows, and the code of an error.
    let ran = psql(&server, &["-At", "-c", "SELECT name FROM t WHERE id = 1"], "");
    assert_eq!((said(&ran.stdout), ran.status.code()), ("one, and only\n".to_string(), Some(0)));
    assert_eq!(psql(&server, &["-c", "SELECT FROM WHERE"], "").status.code(), Some(1));
    server.stop();
}
