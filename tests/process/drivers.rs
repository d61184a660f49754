//! Drivers of other languages, each with a program of its own in `tests/process/clients` that checks for itself: JDBC, Go, Node, ODBC.
//! `docs/clients` says how each is used; its programs are run here, too.

use crate::root;
use crate::serve::{polder_python, tools};
use crate::server::{Server, assert_ran};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the tools, or the command that brings it.
fn tool(path: &str) -> PathBuf {
    let file = tools().join(path);
    assert!(file.exists(), "{} is missing: run scripts/install-test-tools", file.display());
    file
}

fn client(file: &str) -> PathBuf {
    root().join("tests/process/clients").join(file)
}

/// Java with the one driver of JDBC that is asked for.
fn java(jar: &str) -> Command {
    let mut java = Command::new("java");
    // The driver of Flight SQL reads memory that Java keeps to itself unless told otherwise.
    java.arg("--add-opens=java.base/java.nio=ALL-UNNAMED").arg("-cp").arg(tool(&format!("java/{jar}")));
    java
}

const PGJDBC: &str = "postgresql-42.7.14.jar";
const FLIGHT_JDBC: &str = "flight-sql-jdbc-driver-18.3.0.jar";

#[test]
fn pgjdbc_does_all_that_a_program_needs() {
    let server = Server::start(&[]);
    let mut java = java(PGJDBC);
    assert_ran(&java.arg(client("Jdbc.java")).args(["postgresql", &server.pg]).output().expect("run java"));
    server.stop();
}

#[test]
fn the_flight_sql_driver_of_jdbc_does_all_that_a_program_needs() {
    let server = Server::start(&[]);
    let mut java = java(FLIGHT_JDBC);
    assert_ran(&java.arg(client("Jdbc.java")).args(["flight", &server.flight]).output().expect("run java"));
    server.stop();
}

#[test]
fn pgx_does_all_that_a_program_needs() {
    let server = Server::start(&[]);
    assert_ran(&Command::new(tool("bin/pgx")).arg(&server.pg).output().expect("run pgx"));
    server.stop();
}

fn node() -> Command {
    let mut node = Command::new("node");
    node.env("NODE_PATH", tool("node/node_modules"));
    node
}

#[test]
fn node_postgres_does_all_that_a_program_needs() {
    let server = Server::start(&[]);
    assert_ran(&node().arg(client("node.js")).arg(&server.pg).output().expect("run node"));
    server.stop();
}

/// FIXME: psqlODBC looks into pg_type when it connects. Once pg_catalog is there its program must run to the end, and the document's too.
#[test]
fn psqlodbc_cannot_connect_without_pg_catalog() {
    let server = Server::start(&[]);
    let ran = Command::new(polder_python()).arg(client("odbc.py")).arg(&server.pg).output().expect("run python");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && said.contains("table \"pg_type\" does not exist"), "{said}");
    server.stop();
}

/// The blocks of a document in one language, with the address of a server in place of the one that they name.
fn programs(document: &str, language: &str, named: &str, address: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(document)).expect("read the document");
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next());
    let programs: Vec<_> = blocks.map(|block| block.replace(named, address)).collect();
    assert!(!programs.is_empty(), "{document} has programs");
    programs
}

#[test]
fn every_program_of_the_documents_on_drivers_runs() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    for program in programs("docs/clients/node.md", "javascript", "127.0.0.1:5433", &server.pg) {
        assert_ran(&node().args(["-e", &program]).output().expect("run node"));
    }
    let run_java = |jar: &str, program: &str| {
        let file = written(folder.path(), "Example.java", program);
        assert_ran(&java(jar).arg(file).output().expect("run java"));
    };
    for program in programs("docs/clients/jdbc.md", "java", "127.0.0.1:5433", &server.pg) {
        let program = program.replace("127.0.0.1:8815", &server.flight);
        run_java(if program.contains("arrow-flight") { FLIGHT_JDBC } else { PGJDBC }, &program);
    }
    server.stop();
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("write a file");
    file
}

/// What the document of the shell at a server tells to type; what logs in elsewhere is left out.
#[test]
fn every_command_of_the_document_on_the_shell_runs() {
    let server = Server::start(&[]);
    let commands = &programs("docs/clients/polder.md", "bash", "127.0.0.1:8080", &server.http)[0];
    let commands = commands.replace("127.0.0.1:8815", &server.flight).replace("127.0.0.1:5433", &server.pg);
    let commands = commands.replace("polder sql", &format!("'{}' sql", crate::polder().display()));
    assert_ran(&Command::new("bash").args(["-euc", &commands]).output().expect("run bash"));
    server.stop();
}
