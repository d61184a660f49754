//! Ctrl-C and SIGTERM: whatever a query does, here or at a source, the user has the last word.

use crate::program::{Ran, Transcript, command, finish_soon, signal};
use polder_testing::Postgres;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Runs `SELECT 1`, then the query; sends the signal when the first answer says that the program listens.
fn signalled(query: &str, name: &str) -> Ran {
    let mut child = command(&["sql", "--format", "csv", "-c", "SELECT 1 AS a", "-c", query])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run polder");
    Transcript::of(child.stdout.take().expect("standard output is piped")).expect("1\n");
    signal(child.id(), name);
    finish_soon(child)
}

#[test]
fn an_interrupt_ends_a_script_that_waits_for_input_with_code_130() {
    let mut child = command(&["sql", "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run polder");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    stdin.write_all(b"SELECT 1 AS a;").expect("send");
    // The answer says that the program listens.
    Transcript::of(child.stdout.take().expect("standard output is piped")).expect("1\n");
    signal(child.id(), "INT");
    // Standard input stays open meanwhile.
    assert_eq!(finish_soon(child).code, Some(130));
    drop(stdin);
}

#[test]
fn a_query_that_computes_for_hours_ends_when_it_is_told_to() {
    let query = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let ran = signalled(query, name);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""));
    }
    let analyzed = signalled(&format!("EXPLAIN ANALYZE {query}"), "INT");
    assert_eq!((analyzed.code, analyzed.stderr.as_str()), (Some(130), ""));
}

/// One batch of this takes minutes, and no operator looks up in the middle of a batch.
#[test]
fn a_query_that_never_gives_way_ends_when_it_is_told_to() {
    let distance = "levenshtein(repeat('a', 30000 + value::int), repeat('b', 30000))";
    let ran = signalled(&format!("SELECT sum({distance}) FROM generate_series(1, 200)"), "INT");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(130), ""));
}

/// How many statements of clients PostgreSQL works on.
fn active(postgres: &Postgres) -> String {
    let mine = "pid <> pg_backend_pid() AND backend_type = 'client backend'";
    postgres
        .psql(&format!("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND {mine}"))
        .trim()
        .to_string()
}

/// The server would go on computing for nobody: it does not look at its connection before it has rows to send.
#[test]
fn an_interrupted_query_leaves_nothing_running_at_its_source() {
    let postgres = Postgres::start();
    let attach = format!("CREATE CATALOG shop USING postgres WITH (url = '{}')", postgres.url());
    // Longer than the test waits.
    let query = "SELECT * FROM query('shop', 'SELECT pg_sleep(600)')";
    let child = command(&["sql", "-c", &attach, "-c", query])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run polder");
    wait_for(&postgres, "1");
    signal(child.id(), "INT");
    assert_eq!(finish_soon(child).code, Some(130));
    wait_for(&postgres, "0");
}

/// Waits until this many statements of clients are active.
pub(crate) fn wait_for(postgres: &Postgres, count: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while active(postgres) != count {
        assert!(Instant::now() < deadline, "{} statements are active, expected {count}", active(postgres));
        std::thread::sleep(Duration::from_millis(20));
    }
}
