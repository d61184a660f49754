//! The program is killed while it writes tables, again and again: what it acknowledged is there once, and whoever sends
//! again what was not acknowledged does no harm.
//!
//! ```text
//! POLDER_KILLS=n    how many rounds, 6 by default
//! ```

use crate::program::{Ran, command, run};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const ACCOUNTS: u64 = 5;

/// One transfer: a transaction under a request id, and a line that says that it was acknowledged.
fn transfer(number: u64) -> String {
    let (from, to) = (number % ACCOUNTS, (number + 1) % ACCOUNTS);
    format!(
        "SET request_id = 'transfer {number}';
        BEGIN;
        INSERT INTO transfers VALUES ({number});
        UPDATE accounts SET balance = balance - 1 WHERE id = {from};
        UPDATE accounts SET balance = balance + 1 WHERE id = {to};
        COMMIT;
        SELECT 'acknowledged {number}' AS done;\n"
    )
}

/// Sends transfers from `first` on and kills the program some time after the first was acknowledged; the last that was.
fn run_and_kill(data: &str, config: &str, first: u64, after: Duration) -> u64 {
    let mut child = command(&["sql", "--data", data, "--config", config, "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run polder");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // The pipe breaks when the program is killed.
    let sending =
        std::thread::spawn(move || (first..).try_for_each(|number| stdin.write_all(transfer(number).as_bytes())));
    let mut lines = BufReader::new(child.stdout.take().expect("standard output is piped")).lines();
    let acknowledged = |line: String| line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok());
    let mut next = || lines.by_ref().map_while(Result::ok).find_map(acknowledged);
    let mut last = next().unwrap_or_else(|| panic!("nothing was acknowledged: {:?}", first));
    std::thread::sleep(after);
    child.kill().expect("kill polder");
    while let Some(number) = next() {
        last = number;
    }
    drop(sending.join().expect("the sender does not panic"));
    child.wait().expect("wait for polder");
    last
}

fn answer(data: &str, config: &str, sql: &str) -> String {
    let Ran { code, stdout, stderr } = run(&["sql", "--data", data, "--config", config, "--format", "csv", "-c", sql]);
    assert_eq!(code, Some(0), "{sql}: {stderr}");
    stdout.lines().nth(1).unwrap_or_default().to_string()
}

#[test]
fn a_program_that_is_killed_has_every_transaction_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = Path::to_str(&data).unwrap();
    let tables = "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL); CREATE TABLE transfers (id BIGINT PRIMARY KEY)";
    for sql in tables.split("; ") {
        assert_eq!(run(&["sql", "--data", data, "-c", sql]).code, Some(0));
    }
    let rows: Vec<_> = (0..ACCOUNTS).map(|id| format!("({id}, 1000)")).collect();
    assert_eq!(
        run(&["sql", "--data", data, "-c", &format!("INSERT INTO accounts VALUES {}", rows.join(", "))]).code,
        Some(0)
    );
    // Checkpoints are written all the time, so that kills meet them.
    let config = folder.path().join("polder.toml");
    std::fs::write(&config, "[engine]\ncheckpoint_records = 1\n").unwrap();
    let config = Path::to_str(&config).unwrap();
    let rounds = std::env::var("POLDER_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let mut last = 0;
    for round in 0..rounds {
        // The last one that was acknowledged is sent again as well.
        last = run_and_kill(data, config, last, Duration::from_millis(10 + round * 61 % 250));
        let (count, greatest) = (
            answer(data, config, "SELECT count(*) FROM transfers"),
            answer(data, config, "SELECT max(id) FROM transfers"),
        );
        let (count, greatest): (u64, u64) = (count.parse().unwrap(), greatest.parse().unwrap());
        assert_eq!(count, greatest + 1, "a transfer is missing");
        // The one behind it may have come into the log without anybody being told.
        assert!((last..=last + 1).contains(&greatest), "{last} were acknowledged, {greatest} are there");
        assert_eq!(answer(data, config, "SELECT sum(balance) FROM accounts"), (ACCOUNTS * 1000).to_string());
        let requests =
            "SELECT count(*) FROM polder.system.requests WHERE outcome = 'INSERT 0 1; UPDATE 1; UPDATE 1; COMMIT'";
        assert_eq!(answer(data, config, requests), count.to_string());
    }
    assert!(Path::new(data).join("tables/manifest").exists());
    println!("{rounds} kills, {} transfers", last + 1);
}
