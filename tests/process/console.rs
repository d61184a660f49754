//! The console, as a person uses it: headless Chromium, typing and clicking.

use crate::root;
use crate::server::{Server, assert_ran};
use polder_testing::{Postgres, free_port};
use std::fs;
use tempfile::TempDir;

/// A server with two stores that have something to join, one that is down, and a table that follows the log.
struct Desk {
    postgres: Postgres,
    folder: TempDir,
    server: Server,
}

impl Desk {
    fn new() -> Self {
        let postgres = Postgres::start();
        postgres.psql(
            "CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, country text);
             INSERT INTO customers VALUES (1, 'Ada', 'NL'), (2, 'Bram', 'NL'), (3, 'Chloé', 'FR');
             ANALYZE customers;",
        );
        let folder = tempfile::tempdir().expect("make a temporary directory");
        let lake = folder.path().join("lake");
        fs::create_dir(&lake).expect("make a folder");
        let orders = "customer_id,amount,ordered_at\n1,120.50,2024-02-03\n1,8.00,2023-12-31\n2,20.00,2024-03-01\n\
                      3,310.00,2024-05-01\n";
        fs::write(lake.join("orders.csv"), orders).expect("write a file");
        let server = Server::start(&["--allow-location", folder.path().to_str().expect("a path of UTF-8")]);
        let (lake, index) = (lake.display(), folder.path().join("index"));
        for sql in [
            format!("CREATE CATALOG shop USING postgres WITH (url = '{}')", postgres.url()),
            format!("CREATE CATALOG lake USING object_store WITH (location = '{lake}')"),
            format!(
                "CREATE CATALOG down USING postgres WITH (url = 'postgres://nobody@127.0.0.1:{}/none')",
                free_port()
            ),
            format!("CREATE CATALOG docs USING search WITH (path = '{}')", index.display()),
            "CREATE TABLE docs.public.notes (id BIGINT PRIMARY KEY, body TEXT)".to_string(),
            "INSERT INTO docs.public.notes VALUES (1, 'dikes and ditches')".to_string(),
            "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT)".to_string(),
        ] {
            server.sql(&sql);
        }
        Self { postgres, folder, server }
    }

    fn does(&self, part: &str, arguments: &[&str]) {
        let mut client = Server::client("console.py", &self.server.http, part, arguments);
        assert_ran(&client.output().expect("run python"));
    }
}

#[test]
fn a_join_is_typed_run_drawn_and_explained() {
    let desk = Desk::new();
    desk.does("query", &[]);
    desk.server.stop();
}

#[test]
fn the_console_shows_what_there_is() {
    let desk = Desk::new();
    for part in ["tree", "datasets"] {
        desk.does(part, &[]);
    }
    desk.server.stop();
}

#[test]
fn the_console_says_what_is_wrong_and_where() {
    let desk = Desk::new();
    for part in ["errors", "hostile", "statements"] {
        desk.does(part, &[]);
    }
    desk.server.stop();
}

#[test]
fn the_console_ends_what_runs_too_long() {
    let desk = Desk::new();
    desk.does("cancel", &[&desk.postgres.url()]);
    desk.server.stop();
}

#[test]
fn the_console_logs_in_where_it_must() {
    let server = Server::start(&[]);
    assert_ran(&Server::client("console.py", &server.http, "login", &[]).output().expect("run python"));
    server.stop();
}

#[test]
fn the_console_looks_as_it_should() {
    let desk = Desk::new();
    let kept = root().join("docs/console.png").display().to_string();
    desk.does("picture", &[&kept, &desk.folder.path().display().to_string()]);
    desk.server.stop();
}
