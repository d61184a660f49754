//! The whole command line of Polder, with the connector built in.

use std::process::Command;

const DUMP: &str = "CREATE TABLE public.customers (\n    id integer NOT NULL,\n    name text\n);\n\n\
    COPY public.customers (id, name) FROM stdin;\n1\tAda\n2\tBram\n\\.\n\n-- PostgreSQL database dump complete\n";

#[test]
fn a_dump_is_joined_explained_and_printed() {
    let folder = tempfile::tempdir().expect("make a folder");
    let file = folder.path().join("shop.sql");
    std::fs::write(&file, DUMP).expect("write a dump");
    let attach = format!("CREATE CATALOG backup USING pg_dump WITH (file = '{}')", file.display());
    let query = "SELECT c.name, v.n FROM backup.customers c JOIN (VALUES (2, 'two')) AS v (id, n) ON v.id = c.id WHERE c.id > 1";
    let explain = "EXPLAIN SELECT name FROM backup.customers WHERE id > 1";
    let output = Command::new(env!("CARGO_BIN_EXE_polder-pg-dump"))
        .args(["sql", "--format", "csv", "-c", &attach, "-c", query, "-c", explain])
        .env_remove("POLDER_DATA")
        .output()
        .expect("run the program");
    let (said, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complaints}");
    assert!(said.starts_with("name,n\nBram,two\n"), "{said}");
    let request = format!("{}, byte ", file.display());
    assert!(said.contains(&request) && said.contains("public.customers (name) WHERE"), "{said}");
}
