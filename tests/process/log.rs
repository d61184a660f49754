//! `polder log` looks into a data directory, stopped or in use, and finds what is damaged.

use crate::polder;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(polder());
    command.args(arguments).env_remove("POLDER_DATA").env_remove("POLDER_CONFIG");
    command.output().expect("run polder")
}

fn good(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "polder {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

const SETUP: &str = "CREATE TOPIC clicks (user_id BIGINT, url TEXT) WITH (shards = 2, key = 'user_id');
    INSERT INTO clicks SELECT n, 'https://example.com/' || n FROM generate_series(1, 50) AS t (n)";

fn data() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let data = directory.path().join("data").to_str().expect("a plain path").to_string();
    good(&["sql", "--data", &data, "-c", SETUP]);
    (directory, data)
}

#[test]
fn a_stopped_log_is_listed_printed_and_verified() {
    let (_directory, data) = data();
    let list = good(&["log", "ls", "--data", &data, "--format", "csv"]);
    let names: Vec<_> = list.lines().skip(1).map(|line| line.split(',').next().unwrap_or_default()).collect();
    assert_eq!(names, ["clicks-1-0", "clicks-1-1", "main"], "{list}");
    let definitions = good(&["log", "cat", "--data", &data]);
    assert!(definitions.contains(r#""kind":"definition""#) && definitions.contains("create_topic"), "{definitions}");
    let records =
        good(&["log", "cat", "--data", &data, "clicks-1-0"]) + &good(&["log", "cat", "--data", &data, "clicks-1-1"]);
    assert!(records.contains(r#"{"name":"user_id","type":"Int64"}"#), "{records}");
    assert_eq!(records.matches(r#""url":"https://example.com/"#).count(), 50, "{records}");
    let roots = good(&["log", "root", "--data", &data]);
    assert_eq!(roots.lines().count(), 3, "{roots}");
    let without = good(&["log", "verify", "--data", &data]);
    assert!(without.contains("self-consistency only"), "{without}");
    let mut with = vec!["log", "verify", "--data", &data];
    roots.lines().for_each(|root| with.extend(["--root", root]));
    assert!(!good(&with).contains("self-consistency"), "{roots}");
}

/// A root that was noted stays provable as the log grows; one of another log does not.
#[test]
fn a_root_kept_elsewhere_tells_a_rewritten_log() {
    let (_directory, data) = data();
    let roots = good(&["log", "root", "--data", &data]);
    let noted = roots.lines().find(|line| line.starts_with("main:")).expect("main has a root").to_string();
    good(&["sql", "--data", &data, "-c", "CREATE VIEW v AS SELECT 1 AS one"]);
    good(&["log", "verify", "--data", &data, "--root", &noted]);
    let (_other, other) = self::data();
    let output = run(&["log", "verify", "--data", &other, "--root", &noted]);
    // Commit times differ, so the entries do.
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The shell holds the lock; looking does not need it.
#[test]
fn a_log_in_use_is_looked_into() {
    let (_directory, data) = data();
    let mut shell = Command::new(polder());
    shell.args(["sql", "--data", &data]).env_remove("POLDER_DATA").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.spawn().expect("start a shell");
    let mut input = shell.stdin.take().expect("its input is piped");
    let mut lines = BufReader::new(shell.stdout.take().expect("its output is piped"));
    writeln!(input, "INSERT INTO clicks VALUES (1, 'live'); SELECT 'ready' AS state;").expect("write to the shell");
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(lines.read_line(&mut line).expect("read from the shell") > 0, "the shell ended");
    }
    let records =
        good(&["log", "cat", "--data", &data, "clicks-1-0"]) + &good(&["log", "cat", "--data", &data, "clicks-1-1"]);
    assert!(records.contains("live"), "{records}");
    assert!(good(&["log", "verify", "--data", &data]).contains("ok"));
    drop(input);
    assert!(shell.wait().expect("the shell ends").success());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("list a folder").map(|entry| entry.expect("an entry").path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| self::files(folder)));
    files
}

/// One flipped bit in any file of the log.
#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let (_directory, data) = data();
    let log = Path::new(&data).join("log");
    let shards: Vec<_> = files(&log).into_iter().filter(|file| file.parent() != Some(&log)).collect();
    assert!(shards.len() >= 9, "{shards:?}");
    for path in shards {
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("open a file of the log");
        let length = file.metadata().expect("its length").len();
        for at in [0, length / 3, length / 2, length - 1] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("read a byte");
            file.write_all_at(&[byte[0] ^ 4], at).expect("flip a bit");
            let output = run(&["log", "verify", "--data", &data]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "byte {at} of {}: {said}", path.display());
            let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
            assert!(said.contains(name) && !said.contains("panic"), "byte {at} of {}: {said}", path.display());
            file.write_all_at(&byte, at).expect("flip it back");
        }
    }
    good(&["log", "verify", "--data", &data]);
}

#[test]
fn what_is_not_there_is_said() {
    let output = run(&["log", "ls"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--data"));
    let folder = tempfile::tempdir().expect("make a temporary directory");
    let data = folder.path().to_str().expect("a plain path");
    assert!(String::from_utf8_lossy(&run(&["log", "root", "--data", data]).stderr).contains("has no log"));
    let (_directory, data) = self::data();
    assert!(String::from_utf8_lossy(&run(&["log", "cat", "--data", &data, "nope"]).stderr).contains("clicks-1-0"));
    let output = run(&["log", "verify", "--data", &data, "--root", "main:x:y"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no root"));
}

/// Pipes: one Polder's NDJSON is another's COPY.
#[test]
fn ndjson_goes_from_one_polder_to_another() {
    let (_directory, data) = data();
    let out = good(&["sql", "--data", &data, "--format", "ndjson", "-c", "SELECT * FROM clicks"]);
    let (directory, other) = self::data();
    let file = directory.path().join("clicks.ndjson");
    std::fs::write(&file, &out).expect("write a file");
    let copy = |sql: &str, input: Option<&str>| {
        let mut command = Command::new(polder());
        command.args(["sql", "--data", &other, "-c", sql]).env_remove("POLDER_DATA");
        let mut child =
            command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run polder");
        let mut stdin = child.stdin.take().expect("its input is piped");
        stdin.write_all(input.unwrap_or_default().as_bytes()).expect("write its input");
        drop(stdin);
        let output = child.wait_with_output().expect("polder ends");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    assert_eq!(copy("COPY clicks FROM STDIN", Some(&out)), "COPY 50");
    assert_eq!(copy(&format!("COPY clicks FROM '{}'", file.display()), None), "COPY 50");
    let csv = "user_id,url\n7,\"a,b\"\n8,\n";
    assert_eq!(copy("COPY clicks FROM STDIN WITH (format csv)", Some(csv)), "COPY 2");
    let swapped = pipe(
        Command::new(polder()),
        &["sql", "--data", &other, "-c", "COPY clicks FROM STDIN WITH (format csv)"],
        "url,user_id\n1,2\n",
    );
    assert_eq!(swapped.status.code(), Some(1));
    let said = String::from_utf8_lossy(&swapped.stderr).into_owned();
    assert!(said.contains("names (url, user_id), written are (user_id, url)"), "{said}");
    let among = "COPY clicks FROM STDIN;\n{\"user_id\": 9, \"url\": \"x\"}\n\\.\nSELECT count(*) AS n FROM clicks;\n";
    let mut command = Command::new(polder());
    command.args(["sql", "--data", &other, "--format", "csv"]).env_remove("POLDER_DATA");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run polder");
    child.stdin.take().expect("its input is piped").write_all(among.as_bytes()).expect("write its input");
    let output = child.wait_with_output().expect("polder ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "n\n153\n");
    let bad = Command::new(polder());
    let output = pipe(bad, &["sql", "--data", &other, "-c", "COPY clicks FROM STDIN"], "{\"user_id\": \"x\"}\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("22P04"), "{}", String::from_utf8_lossy(&output.stderr));
}

fn pipe(mut command: Command, arguments: &[&str], input: &str) -> Output {
    command
        .args(arguments)
        .env_remove("POLDER_DATA")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("run polder");
    child.stdin.take().expect("its input is piped").write_all(input.as_bytes()).expect("write its input");
    child.wait_with_output().expect("polder ends")
}

/// Whoever finds one tells what it is.
#[test]
fn a_file_of_the_log_begins_with_its_magic() {
    let (_directory, data) = data();
    for path in files(&Path::new(&data).join("log")) {
        let mut file = std::fs::File::open(&path).expect("open a file of the log");
        let mut magic = [0; 4];
        file.seek(SeekFrom::Start(0)).expect("seek");
        file.read_exact(&mut magic).expect("a file of the log has a head");
        assert!(magic.iter().all(u8::is_ascii_graphic), "{}: {magic:?}", path.display());
    }
}

/// `polder log cat | head` ends as other programs do, without a word.
#[test]
fn a_reader_that_goes_away_ends_a_look_quietly() {
    let (_directory, data) = data();
    let mut child = Command::new(polder());
    child.args(["log", "cat", "--data", &data]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("run polder");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("polder ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(141), ""));
}
