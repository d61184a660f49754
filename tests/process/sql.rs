//! `polder sql` as a script: formats, exit codes, streams, and how errors look.

use crate::program::{Transcript, command, finish, run, run_with_input};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

#[test]
fn each_format_writes_the_same_values() {
    let query = "SELECT 9007199254740993 AS n, 1.50::decimal(10,2) AS d, '' AS empty, NULL::text AS nothing";
    let expect = |format: &str, wanted: &str| {
        let ran = run(&["sql", "--format", format, "-c", query]);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), wanted, ""), "{format}");
    };
    expect("csv", "n,d,empty,nothing\n9007199254740993,1.50,\"\",\n");
    let object = r#"{"n":9007199254740993,"d":1.50,"empty":"","nothing":null}"#;
    expect("json", &format!("[{object}]\n"));
    expect("ndjson", &format!("{object}\n"));
    let table = "                n |    d | empty | nothing\n\
                 ------------------+------+-------+---------\n \
                 9007199254740993 | 1.50 |       |\n\
                 (1 row)\n";
    expect("table", table);
}

#[test]
fn a_failed_statement_ends_the_list_with_code_1() {
    let ran =
        run(&["sql", "--format", "csv", "-c", "SELECT 1 AS a; SELECT * FROM no_such_table", "-c", "SELECT 2 AS b"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(ran.stdout, "a\n1\n");
    let first = ran.stderr.lines().next().unwrap_or_default();
    assert!(first.starts_with("error: ") && first.ends_with("[42P01]"), "{}", ran.stderr);
}

#[test]
fn wrong_usage_ends_with_code_2_and_says_so_on_standard_error() {
    for arguments in [&["sql", "--format", "xml"][..], &["sql", "--no-such-option"], &["frobnicate"], &[]] {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.stderr.contains("--help"), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn commands_and_files_run_in_the_order_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("two.sql");
    std::fs::write(&file, "SELECT 2 AS n; -- and\nSELECT 3 AS n").expect("write a file");
    let file = file.to_str().expect("a plain path");
    let ran = run(&["sql", "--format", "ndjson", "-c", "SELECT 1 AS n", "-f", file, "-c", "SELECT 4 AS n"]);
    assert_eq!(ran.stdout, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n", "{}", ran.stderr);
}

#[test]
fn an_error_in_a_file_names_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.sql");
    std::fs::write(&file, "SELECT 1;\n\nSELECT FROM WHERE;\n").expect("write a file");
    let ran = run(&["sql", "-f", file.to_str().expect("a plain path")]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with(&format!("error: {}:3: ", file.display())), "{}", ran.stderr);
}

#[test]
fn a_statement_is_answered_before_the_next_is_sent() {
    let mut child =
        command(&["sql", "--format", "csv"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run polder");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let mut answers = Transcript::of(child.stdout.take().expect("standard output is piped"));
    stdin.write_all(b"SELECT 1 AS a;").expect("send");
    assert_eq!(answers.expect("1\n"), "a\n1\n");
    stdin.write_all(b"SELECT 'two; \xc3").expect("send half a character");
    stdin.write_all(b"\xa9' AS b;").expect("send the rest");
    assert_eq!(answers.expect("é\n"), "b\ntwo; é\n");
    drop(stdin);
    assert_eq!(finish(child).code, Some(0));
}

#[test]
fn input_that_is_no_text_is_refused() {
    let mut child = command(&["sql"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run polder");
    child.stdin.take().expect("standard input is piped").write_all(b"SELECT '\xff';").expect("send");
    let ran = finish(child);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("error: standard input is not valid UTF-8 [22021]\nhint: "), "{}", ran.stderr);
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let mut child = command(&["sql", "--format", "csv", "-c", "SELECT * FROM generate_series(1, 50000000)"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run polder");
    let mut stdout = child.stdout.take().expect("standard output is piped");
    let mut head = [0; 16];
    stdout.read_exact(&mut head).expect("the first rows");
    drop(stdout);
    let ran = finish(child);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(141), ""));
}

/// Beside the rows, not among them.
#[test]
fn a_word_that_no_row_has_gets_a_suggestion() {
    let asked = |text: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let made = format!(
            "CREATE CATALOG docs USING search WITH (path = '{}');
             CREATE TABLE docs.public.mails (id BIGINT PRIMARY KEY, body TEXT WITH (analyzer = 'english'));
             INSERT INTO docs.public.mails VALUES (1, 'You will receive Receipts'), (2, 'nothing');",
            folder.path().join("docs").display()
        );
        let query =
            format!("SELECT id FROM docs.public.mails WHERE match(body, '{text}') ORDER BY _score DESC LIMIT 3");
        let ran = run(&["sql", "--format", "csv", "-c", &made, "-c", &query]);
        (ran.stdout, ran.stderr.lines().filter(|line| line.starts_with("notice: ")).collect::<String>())
    };
    let (rows, notices) = asked("recieve");
    assert_eq!(rows, "id\n");
    assert_eq!(notices, "notice: no row of \"mails\" has the word \"reciev\"; did you mean \"receive\"?");
    assert_eq!(asked("receive"), ("id\n1\n".to_string(), String::new()));
}

#[test]
fn a_tag_is_a_result_for_people_only() {
    let statement = "CREATE CATALOG scratch USING memory";
    let table = run(&["sql", "-c", statement]);
    assert_eq!((table.stdout.as_str(), table.stderr.as_str()), ("CREATE CATALOG\n", ""));
    let csv = run(&["sql", "--format", "csv", "-c", statement]);
    assert_eq!((csv.stdout.as_str(), csv.stderr.as_str()), ("", "CREATE CATALOG\n"));
}

#[test]
fn definitions_are_kept_in_a_data_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("a plain path");
    assert_eq!(run(&["sql", "--data", data, "-c", "CREATE VIEW two AS SELECT 2 AS n"]).code, Some(0));
    let ran = run(&["sql", "--data", data, "--format", "csv", "-c", "SELECT n FROM two"]);
    assert_eq!(ran.stdout, "n\n2\n", "{}", ran.stderr);
}

#[test]
fn a_secret_is_never_printed_nor_kept() {
    let canary = "canary-7f3a91";
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let statements = "CREATE CATALOG shop USING postgres WITH (url = 'postgres://app@127.0.0.1:1/shop', password = 'env:POLDER_TEST_CANARY');
        SHOW CATALOGS; CHECK CATALOG shop; EXPLAIN SELECT * FROM shop.public.t";
    let child = command(&["sql", "--data", data.to_str().expect("a plain path"), "-c", statements])
        .env("POLDER_TEST_CANARY", canary)
        .env("POLDER_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run polder");
    let ran = finish(child);
    assert!(ran.stdout.contains("env:POLDER_TEST_CANARY"), "the reference is shown: {} {}", ran.stdout, ran.stderr);
    assert!(!ran.stdout.contains(canary) && !ran.stderr.contains(canary), "{} {}", ran.stdout, ran.stderr);
    let kept = Command::new("grep").args(["-r", canary]).arg(&data).output().expect("run grep");
    assert_eq!(kept.status.code(), Some(1), "{}", String::from_utf8_lossy(&kept.stdout));
}

#[test]
fn a_backslash_command_in_a_script_says_what_to_use() {
    let ran = run_with_input(&["sql"], "\\dt\n");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("hint: use SHOW TABLES"), "{}", ran.stderr);
}
