//! Every `sql` and `sh` block of the README and the documents runs, in order, as a reader would type them.
//!
//! The names that a reader replaces by their own stand for servers of the test. Commands of the checkout itself (`cargo
//! build`, `scripts/test`) are not run again from within a test; that what they name exists is checked.

use crate::{polder, root};
use polder_testing::{DuckDb, Postgres, S3};
use std::fmt::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const PASSWORD: &str = "correct horse";

/// The first screen of the project is true from the first command.
#[test]
fn every_block_of_the_readme_runs() {
    run_document("README.md");
}

/// A newcomer's five minutes.
#[test]
fn every_block_of_the_quickstart_runs() {
    run_document("docs/quickstart.md");
}

/// The rest: whatever else has blocks, so that a new document is run as well.
#[test]
fn every_block_of_every_other_document_runs() {
    let mut seen = 0;
    for document in crate::tidy::documents() {
        let name = document.to_str().expect("documents have plain names");
        if !["README.md", "docs/quickstart.md"].contains(&name) && runs(name) {
            run_document(name);
            seen += 1;
        }
    }
    assert!(seen > 0, "CONTRIBUTING.md at least has blocks");
}

/// What a reader is told to type. ARCHITECTURE.md and STYLE.md speak of code, not of use.
fn runs(name: &str) -> bool {
    (name.starts_with("docs/") || name == "CONTRIBUTING.md" || name == "connectors/README.md")
        && !blocks(&read(name)).is_empty()
}

fn run_document(name: &str) {
    let servers = Servers::start();
    let desk = Desk::new();
    let blocks = blocks(&read(name));
    assert!(!blocks.is_empty(), "{name} has no block to run");
    let mut script = String::from("set -eu -o pipefail\n");
    for (number, block) in blocks.iter().enumerate() {
        let text = servers.substitute(&block.text);
        let _ = writeln!(script, "echo \"== {name}, line {}\"", block.line);
        if block.language == "sql" {
            let file = desk.folder.path().join(format!("block-{number}.sql"));
            std::fs::write(&file, text).expect("write a block");
            let _ = writeln!(script, "polder sql -f '{}'", file.display());
        } else {
            script.push_str(&text);
        }
    }
    let mut bash = desk.bash(&script);
    bash.env("SHOP_PASSWORD", PASSWORD);
    bash.env("AWS_ACCESS_KEY_ID", servers.s3.access_key()).env("AWS_SECRET_ACCESS_KEY", servers.s3.secret_key());
    let output = bash.output().expect("run bash");
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} does not run ({}):\n{said}", output.status);
}

/// A fenced block with its language and the line it begins on.
struct Block {
    language: String,
    line: usize,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(language) if !open => {
                blocks.push(Block { language: language.to_string(), line: at + 1, text: String::new() });
                open = true;
            }
            Some(_) => open = false,
            None if open => {
                let block = blocks.last_mut().expect("an open block was pushed");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks.retain(|block| ["sql", "sh"].contains(&block.language.as_str()));
    blocks
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
}

/// What the documents' example names stand for: a database with customers, a bucket with orders.
struct Servers {
    postgres: Postgres,
    s3: S3,
}

impl Servers {
    fn start() -> Self {
        let postgres = Postgres::builder().password(PASSWORD).start();
        postgres.create_database("shop");
        postgres.psql_in(
            "shop",
            &format!(
                "CREATE ROLE app LOGIN PASSWORD '{PASSWORD}';
                 CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, country text);
                 INSERT INTO customers VALUES (1, 'Ada', 'NL'), (2, 'Bram', 'NL'), (3, 'Chloé', 'FR');
                 GRANT SELECT ON customers TO app;"
            ),
        );
        let s3 = S3::start();
        s3.create_bucket("sales-bucket");
        let mut duckdb = DuckDb::start();
        duckdb.use_s3(&s3);
        duckdb.query(
            "COPY (SELECT * FROM (VALUES (1, 120.50::DECIMAL(10,2), DATE '2024-02-03'), (1, 8.00, DATE '2023-12-31'),
                (3, 310.00, DATE '2024-05-01')) AS t (customer_id, amount, ordered_at))
             TO 's3://sales-bucket/lake/orders.parquet' (FORMAT parquet)",
        );
        Self { postgres, s3 }
    }

    fn substitute(&self, text: &str) -> String {
        let database = format!("postgres://app@127.0.0.1:{}/shop", self.postgres.port());
        let region = format!("region = '{}', endpoint = '{}'", self.s3.region(), self.s3.endpoint());
        text.replace("postgres://app@db.example.com:5432/shop", &database).replace("region = 'eu-west-1'", &region)
    }
}

/// A reader's folder and path.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("make a temporary directory");
        let programs = folder.path().join("bin");
        std::fs::create_dir(&programs).expect("make a folder for programs");
        symlink(polder(), programs.join("polder")).expect("link the program");
        write_program(
            &programs.join("cargo"),
            "case \"$1 $2\" in 'run --') shift 2; exec polder \"$@\" ;; 'build --release') ;; *) exit 1 ;; esac",
        );
        for script in ["scripts/test", ".ci/run"] {
            stand_in(folder.path(), script);
        }
        Self { folder }
    }

    pub(crate) fn bash(&self, script: &str) -> Command {
        let path = std::env::var("PATH").expect("PATH is set");
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).current_dir(self.folder.path());
        bash.env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()));
        bash.env("HOME", self.folder.path()).env_remove("POLDER_DATA").env_remove("POLDER_CONFIG");
        bash
    }
}

/// A script of the checkout that is there and can be run, but not from within its own tests.
fn stand_in(folder: &Path, script: &str) {
    let mode = std::fs::metadata(root().join(script)).unwrap_or_else(|error| panic!("{script}: {error}")).permissions();
    assert!(mode.mode() & 0o100 != 0, "{script} can be run");
    let file: PathBuf = folder.join(script);
    std::fs::create_dir_all(file.parent().expect("a script has a folder")).expect("make a folder");
    write_program(&file, ":");
}

fn write_program(file: &Path, text: &str) {
    std::fs::write(file, format!("#!/bin/sh\n{text}\n")).expect("write a program");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("make it a program");
}
