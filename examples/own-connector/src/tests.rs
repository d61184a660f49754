//! The conformance suite on this connector, and what is special about dumps.

mod subject;

use crate::DumpConnector;
use polder_catalog::conformance::{Outcome, run};
use polder_catalog::{CatalogName, Connector, Options, Principal, QueryId, ReadContext, Source};
use std::sync::Arc;
use subject::DumpSubject;
use tempfile::TempDir;

polder_catalog::conformance!(DumpSubject::start());

/// Nothing is left out by mistake: a dump cannot break off once and be whole the next time.
#[tokio::test]
async fn only_broken_reads_are_not_shown_by_the_suite() {
    let report = run(&DumpSubject::start().await).await;
    assert_eq!(report.broken(), Vec::<&str>::new(), "{report}");
    let not_shown = report.names(Outcome::is_not_shown);
    assert_eq!(not_shown, ["source_5_errors_name_the_source", "scan_5_a_broken_stream_ends_with_an_error"], "{report}");
}

/// As pg_dump 15 writes it.
const DUMP: &str = r#"--
-- PostgreSQL database dump
--

SET standard_conforming_strings = on;

CREATE TYPE public.mood AS ENUM (
    'sad',
    'happy'
);

CREATE TABLE public.people (
    id bigint NOT NULL,
    name character varying(20) DEFAULT 'NOT NULL'::character varying,
    "first seen" timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT named CHECK (((name)::text <> ''::text))
);

CREATE TABLE public."a""b" (
    "back\slash" integer
);

COPY public.people (id, name, "first seen") FROM stdin;
1	Ann\tTab	2024-01-01 00:00:00+00
2	\N	2024-01-02 00:00:00+00
3	C:\\N	2024-01-03 00:00:00+00
\.

COPY public."a""b" ("back\slash") FROM stdin;
\.

--
-- PostgreSQL database dump complete
--
"#;

async fn attach(text: &str) -> (TempDir, Arc<dyn Source>) {
    let folder = tempfile::tempdir().expect("make a folder");
    let file = folder.path().join("dump.sql");
    std::fs::write(&file, text).expect("write a dump");
    let given = [("file".to_string(), file.display().to_string())];
    let options = Options::validate(DumpConnector.options(), given).expect("the options fit");
    let source = DumpConnector.attach(&CatalogName::new("backup"), options).await.expect("any file attaches");
    (folder, source)
}

fn context() -> ReadContext {
    ReadContext::builder(QueryId("test".into()), Principal("tester".into())).build()
}

#[tokio::test]
async fn a_dump_is_read_with_its_names_types_and_nulls() {
    let (_folder, source) = attach(DUMP).await;
    let listed = source.datasets(&context(), "public").await.unwrap();
    assert_eq!(listed.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a\"b", "people"]);
    let people = source.dataset(&context(), "public", "people").await.unwrap().unwrap();
    let described: Vec<_> = people
        .columns
        .iter()
        .map(|column| (column.field.name().as_str(), column.native_type.as_str(), column.field.is_nullable()))
        .collect();
    let expected = [
        ("id", "bigint", false),
        ("name", "character varying(20)", true),
        ("first seen", "timestamp with time zone", false),
    ];
    assert_eq!(described, expected);
    let states: Vec<_> = source.check(&context()).await.into_iter().map(|check| check.state.as_str()).collect();
    assert_eq!(states, ["ok", "ok"]);
}

/// What pg_dump did not finish is not presented as the whole table, and CHECK CATALOG says so beforehand.
#[tokio::test]
async fn a_dump_that_breaks_off_is_an_error_that_names_source_and_table() {
    let (_folder, source) = attach(&DUMP[..DUMP.find("3\tC:").unwrap()]).await;
    let states: Vec<_> = source.check(&context()).await.into_iter().map(|check| check.state.as_str()).collect();
    assert_eq!(states, ["ok", "warning"]);
    let people = source.dataset(&context(), "public", "people").await.unwrap().unwrap();
    let session = datafusion::prelude::SessionContext::new();
    session.register_table("people", people.provider).unwrap();
    let read = session.sql("SELECT name FROM people").await.unwrap().collect().await;
    let error = polder_catalog::Error::from_datafusion(read.expect_err("half a table is no table"));
    let expected = "source \"backup\": table public.people cannot be read: the dump ends in the middle of it";
    assert_eq!(error.message(), expected);
}
