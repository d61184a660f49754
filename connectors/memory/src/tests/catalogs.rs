//! Attaching: what the options make, and that two catalogs share nothing.

use super::subject::people;
use crate::{MemoryConnector, MemorySource, Transaction};
use polder_catalog::{
    CatalogName, Connector, Error, Options, Principal, QueryId, ReadContext, Result, Source, SqlState,
};
use std::sync::Arc;

fn context() -> ReadContext {
    ReadContext::builder(QueryId("q".into()), Principal("tester".into())).build()
}

async fn attach(connector: &MemoryConnector, name: &str, options: &[(&str, &str)]) -> Result<Arc<dyn Source>> {
    let given = options.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    connector.attach(&CatalogName::new(name), Options::validate(connector.options(), given)?).await
}

fn held(connector: &MemoryConnector, name: &str) -> Arc<MemorySource> {
    connector.source(&CatalogName::new(name)).expect("the catalog is attached")
}

async fn tables(source: &dyn Source, schema: &str) -> Vec<String> {
    let listed = source.datasets(&context(), schema).await.expect("list");
    listed.into_iter().map(|entry| entry.name).collect()
}

#[tokio::test]
async fn a_catalog_starts_with_the_tables_of_its_options() {
    let connector = MemoryConnector::default();
    let options = [("tables", "b (id int PRIMARY KEY); a (n text); sales.orders (id int)")];
    let source = attach(&connector, "scratch", &options).await.expect("attach");
    assert_eq!(source.schemas(&context()).await.expect("schemas"), ["public", "sales"]);
    assert_eq!(tables(source.as_ref(), "public").await, ["a", "b"]);
    assert_eq!(tables(source.as_ref(), "sales").await, ["orders"]);
    let described = source.dataset(&context(), "public", "b").await.expect("describe").expect("a table");
    let types: Vec<_> = described.columns.iter().map(|column| column.native_type.as_str()).collect();
    assert_eq!(types, ["integer"]);
    assert!(described.provider.constraints().is_some_and(|constraints| !constraints.is_empty()));
}

#[tokio::test]
async fn options_that_make_no_table_attach_nothing() {
    let connector = MemoryConnector::default();
    for (tables, state) in [
        ("a (n int", SqlState::PARAMETER),
        ("a (n int); a (n int)", SqlState::DUPLICATE_TABLE),
        ("a (n int, n int)", SqlState::DUPLICATE_OBJECT),
        ("a (n int, PRIMARY KEY (m))", SqlState::NO_COLUMN),
    ] {
        let error: Error = attach(&connector, "scratch", &[("tables", tables)]).await.expect_err(tables);
        assert_eq!(error.state(), state, "{tables}: {error}");
        assert!(connector.source(&CatalogName::new("scratch")).is_none(), "{tables}: it is attached all the same");
    }
}

#[tokio::test]
async fn two_catalogs_share_nothing() {
    let connector = MemoryConnector::default();
    let left = attach(&connector, "left", &[("tables", "t (id int)")]).await.expect("attach");
    let right = attach(&connector, "right", &[("tables", "t (id int)")]).await.expect("attach");
    let more = Transaction::new().create_table("only_left", people(0..2).schema(), &["id"]);
    let position = held(&connector, "left").commit(more.insert("only_left", people(0..2))).expect("commit");
    assert_eq!(tables(left.as_ref(), "public").await, ["only_left", "t"]);
    assert_eq!(tables(right.as_ref(), "public").await, ["t"]);
    // One context serves both, each with its own snapshot.
    let context = context();
    for (source, expected) in [(&left, 2), (&right, 1)] {
        assert_eq!(source.datasets(&context, "public").await.expect("list").len(), expected);
    }
    let changes = held(&connector, "right").changes().expect("memory tells changes");
    assert_ne!(changes.latest(&context).await.expect("latest"), position, "positions of two catalogs are told apart");
}

#[tokio::test]
async fn a_catalog_lasts_as_long_as_it_is_attached() {
    let connector = MemoryConnector::default();
    let first = attach(&connector, "scratch", &[("tables", "t (id int)")]).await.expect("attach");
    drop(first);
    assert!(connector.source(&CatalogName::new("scratch")).is_none());
    let again = attach(&connector, "scratch", &[]).await.expect("attach");
    assert_eq!(tables(again.as_ref(), "public").await, [""; 0], "rows of a dropped catalog are back");
}
