//! A process that appends is killed, again and again: what it was told is durable is there, once each.
//!
//! ```text
//! POLDER_KILLS=n    how many rounds, 6 by default
//! ```

use super::{EntryKind, Log, LogOptions, NewEntry, texts};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Names the directory to the child, which is this test binary again.
const DIRECTORY: &str = "POLDER_LOG_OF_THE_KILLED";
const THREADS: usize = 16;

/// Small segments, so that a kill also meets the moment in which one is sealed.
fn options() -> LogOptions {
    LogOptions { segment_bytes: 256 << 10, ..LogOptions::default() }
}

/// Not a test by itself: what the parent starts. Each thread appends its own numbers, and says which are acknowledged.
#[test]
#[ignore = "started by the test below, which kills it"]
fn a_process_that_appends_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let log = Log::open(directory, options()).unwrap();
    let main = log.main();
    let round = main.end().entries.0;
    let out = Arc::new(Mutex::new(std::io::stdout()));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (main, out) = (main.clone(), Arc::clone(&out));
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("{round}-{thread}-{number}");
                    let mut entry = NewEntry::new(EntryKind::DATA);
                    entry.add_bytes(1, format!("{name} {}", "x".repeat(number % 3000)).as_bytes()).unwrap();
                    main.append(entry).wait().unwrap();
                    writeln!(out.lock().unwrap(), "acknowledged {name}").unwrap();
                }
            });
        }
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a real process is killed in real time")]
fn a_process_that_is_killed_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rounds: u64 = std::env::var("POLDER_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let mut acknowledged = BTreeSet::new();
    let mut reopened = Duration::ZERO;
    for round in 0..rounds {
        acknowledged.extend(run_and_kill(folder.path(), Duration::from_millis(20 + round * 37 % 200)));
        let began = std::time::Instant::now();
        let log = Log::open(folder.path(), options()).unwrap();
        reopened = reopened.max(began.elapsed());
        check(&log, &acknowledged, round);
    }
    assert!(!acknowledged.is_empty(), "nothing was acknowledged in {rounds} rounds");
    println!("{rounds} kills, {} acknowledged, reopened in at most {} ms", acknowledged.len(), reopened.as_millis());
}

fn check(log: &Log, acknowledged: &BTreeSet<String>, round: u64) {
    let main = log.main();
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for text in texts(main.read_from(main.start()).unwrap()) {
        *found.entry(text.split(' ').next().unwrap().to_string()).or_default() += 1;
    }
    let lost: Vec<_> = acknowledged.iter().filter(|name| !found.contains_key(*name)).collect();
    assert!(lost.is_empty(), "round {round} lost {} of {}: {:?}", lost.len(), acknowledged.len(), lost.first());
    let doubled: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "round {round} doubled {doubled:?}");
    let report = main.verify(None);
    assert!(report.is_good(), "round {round}: {:?}", report.problems);
}

/// What the child said before it was killed. A line that the kill cut short counts for nothing.
#[expect(clippy::disallowed_methods, reason = "a real process is killed in real time")]
fn run_and_kill(directory: &Path, after: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "store::tests::killed::a_process_that_appends_until_it_is_killed"]);
    child.args(["--ignored", "--nocapture", "--test-threads=1"]);
    let mut child = child.env(DIRECTORY, directory).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    // It is up once it says anything of its own.
    let mut said = String::new();
    while !said.contains("acknowledged") {
        said.clear();
        assert!(lines.read_line(&mut said).unwrap() > 0, "the child ended before it appended anything");
    }
    std::thread::sleep(after);
    child.kill().unwrap();
    let rest = std::iter::once(said)
        .chain(lines.split(b'\n').map_while(Result::ok).map(|line| String::from_utf8_lossy(&line).into_owned() + "\n"));
    let names = rest.filter_map(|line| Some(line.split_once("acknowledged ")?.1.trim_end().to_string())).collect();
    child.wait().unwrap();
    names
}
