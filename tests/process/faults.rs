//! The matrix of faults: the program is killed, or its disk fails, at each step of append, commit, epoch, effect and checkpoint.
//! `strace` does it from outside, at the system calls that these steps are, so the program is the one that users have.
//!
//! After each fault the data directory is opened again: what was acknowledged is there, once; money that left an account has
//! arrived, once; nothing was made or lost.
//!
//! ```text
//! POLDER_FAULTS=n    tries each step at its first n calls in a thread, 2 by default
//! ```

use crate::polder;
use crate::program::{FOREIGN, Ran, command, run};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const ACCOUNTS: u64 = 6;
const BALANCE: u64 = 1000;
/// Payments that are sent in each round.
const PAYMENTS: u64 = 6;

/// What happens at a system call.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Fails(&'static str),
}

/// A step, by the system calls that it is made of.
struct Step {
    name: &'static str,
    calls: &'static str,
    fault: Fault,
}

const STEPS: &[Step] = &[
    Step { name: "append: killed before bytes are written", calls: "pwrite64", fault: Fault::Kill },
    Step { name: "commit, epoch, effect: killed at the sync", calls: "fdatasync", fault: Fault::Kill },
    Step { name: "new file: killed at the sync", calls: "fsync", fault: Fault::Kill },
    Step {
        name: "checkpoint: killed before a file is there",
        calls: "?rename,?renameat,?renameat2",
        fault: Fault::Kill,
    },
    Step { name: "clearing up: killed at a removal", calls: "?unlink,?unlinkat", fault: Fault::Kill },
    Step { name: "segment: killed at a change of length", calls: "ftruncate,fallocate", fault: Fault::Kill },
    Step { name: "commit: the sync fails", calls: "fdatasync", fault: Fault::Fails("EIO") },
    Step { name: "append: the disk is full", calls: "pwrite64", fault: Fault::Fails("ENOSPC") },
    Step { name: "checkpoint: the sync fails", calls: "fsync", fault: Fault::Fails("EIO") },
    Step { name: "checkpoint: the disk is full", calls: "?rename,?renameat,?renameat2", fault: Fault::Fails("ENOSPC") },
];

const BOOK: &[&str] = &[
    "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0)) WITH (shards = 3)",
    "CREATE TABLE sent (account BIGINT, payment BIGINT, PRIMARY KEY (account, payment)) WITH (shards = 3, key = 'account')",
    "CREATE TABLE received (account BIGINT, payment BIGINT, PRIMARY KEY (account, payment)) WITH (shards = 3, key = 'account')",
    "CREATE TABLE journal (payment BIGINT PRIMARY KEY)",
    "CREATE PROCEDURE pay(source BIGINT, target BIGINT, payment BIGINT) AS $$
       UPDATE accounts SET balance = balance - 1 WHERE id = source;
       INSERT INTO sent VALUES (source, payment);
       EMIT CALL receive(target, payment);
     $$",
    "CREATE PROCEDURE receive(target BIGINT, payment BIGINT) AS $$
       UPDATE accounts SET balance = balance + 1 WHERE id = target;
       INSERT INTO received VALUES (target, payment);
     $$",
];

/// One payment, and an entry of `main`, each under a request id; then a line that says that both were acknowledged.
fn payment(number: u64) -> String {
    let (from, to) = (number % ACCOUNTS, (number + 1) % ACCOUNTS);
    format!(
        "SET request_id = 'pay {number}';
        CALL pay({from}, {to}, {number});
        SET request_id = 'note {number}';
        INSERT INTO journal VALUES ({number});
        SELECT 'acknowledged {number}' AS done;\n"
    )
}

fn answer(data: &str, sql: &str) -> String {
    let Ran { code, stdout, stderr } = run(&["sql", "--data", data, "--format", "csv", "-c", sql]);
    assert_eq!(code, Some(0), "{sql}: {stderr}");
    stdout.lines().nth(1).unwrap_or_default().to_string()
}

fn number(data: &str, sql: &str) -> u64 {
    answer(data, sql).parse().unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Sends payments from `first` on to a program that meets a fault; the last that was acknowledged, and whether it met the fault.
fn run_with_fault(data: &str, config: &str, trace: &Path, step: &Step, when: u64, first: u64) -> (Option<u64>, bool) {
    let fault = match step.fault {
        Fault::Kill => "signal=KILL".to_string(),
        Fault::Fails(error) => format!("error={error}"),
    };
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o", trace.to_str().expect("a path is UTF-8"), "-e", &format!("trace={}", step.calls)]);
    traced.args(["-e", &format!("inject={}:{fault}:when={when}", step.calls), "--"]);
    traced.arg(polder()).args(["sql", "--data", data, "--config", config, "--format", "csv"]);
    for variable in FOREIGN {
        traced.env_remove(variable);
    }
    let child = traced.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("run strace, which scripts/install-test-tools installs");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let sent: String = (first..first + PAYMENTS).map(payment).collect();
    // The pipe breaks when the program is killed.
    drop(stdin.write_all(sent.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output().expect("wait for strace");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let acknowledged = stdout.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok()).max();
    let seen = std::fs::read_to_string(trace).unwrap_or_default();
    (acknowledged, seen.contains("INJECTED") || seen.contains("killed by SIGKILL"))
}

#[test]
fn after_each_fault_everything_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = Path::to_str(&data).unwrap();
    let setup: Vec<String> = BOOK.iter().map(|sql| format!("{sql};")).collect();
    let accounts = (0..ACCOUNTS).map(|id| format!("INSERT INTO accounts VALUES ({id}, {BALANCE});"));
    let setup = setup.into_iter().chain(accounts).collect::<Vec<_>>().join("\n");
    let made = command(&["sql", "--data", data, "-c", &setup]).output().expect("run polder");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Checkpoints are written all the time, so that faults meet them.
    let config = folder.path().join("polder.toml");
    std::fs::write(&config, "[engine]\ncheckpoint_records = 1\n").unwrap();
    let (config, trace) = (Path::to_str(&config).unwrap(), folder.path().join("trace"));
    let calls = std::env::var("POLDER_FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let (mut next, mut rounds) = (0, 0);
    let mut met = BTreeSet::new();
    for step in STEPS {
        for when in 1..=calls {
            let (acknowledged, is_met) = run_with_fault(data, config, &trace, step, when, next);
            let place = format!("{}, call {when}", step.name);
            if is_met {
                met.insert(step.name);
            }
            next = check(data, &place, next, acknowledged);
            rounds += 1;
        }
    }
    println!("{rounds} faults at {} of {} steps, {next} payments", met.len(), STEPS.len());
    // A step that is never met would be tested by nothing.
    let missed: Vec<_> = STEPS.iter().map(|step| step.name).filter(|name| !met.contains(name)).collect();
    assert_eq!(missed, Vec::<&str>::new());
}

/// What has to hold when the directory is opened again; the number of the next payment.
fn check(data: &str, place: &str, first: u64, acknowledged: Option<u64>) -> u64 {
    let all = ACCOUNTS * BALANCE;
    let under_way =
        "SELECT (SELECT sum(balance) FROM accounts) + (SELECT count(*) FROM sent) - (SELECT count(*) FROM received)";
    assert_eq!(number(data, under_way), all, "{place}");
    // Closing has waited for what was under way.
    assert_eq!(number(data, "SELECT sum(balance) FROM accounts"), all, "{place}");
    let sent = number(data, "SELECT count(*) FROM sent");
    assert_eq!(number(data, "SELECT count(*) FROM received"), sent, "{place}");
    assert_eq!(number(data, "SELECT count(*) FROM polder.system.dead_letters"), 0, "{place}");
    let noted = number(data, "SELECT count(*) FROM journal");
    let wanted = acknowledged.map_or(first, |last| last + 1);
    // The one behind the last may have come into the log without anybody being told.
    assert!((wanted..=wanted + 1).contains(&sent), "{place}: {wanted} payments were acknowledged, {sent} are there");
    assert!((wanted..=sent).contains(&noted), "{place}: {wanted} were noted, {noted} are there");
    // Sent again, the last one changes nothing, and what is missing of it comes.
    let last = sent.saturating_sub(1);
    let again = command(&["sql", "--data", data, "-c", &payment(last)]).output().expect("run polder");
    assert!(sent == 0 || again.status.success(), "{place}: {}", String::from_utf8_lossy(&again.stderr));
    let first = number(data, "SELECT count(*) FROM sent");
    assert_eq!(number(data, "SELECT count(*) FROM journal"), first, "{place}");
    first
}
