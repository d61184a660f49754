//! What a transaction does to tables: whole or not at all, with ids that outlive names.

use super::subject::{MemorySubject, people};
use crate::{Alteration, MemorySource, Transaction};
use arrow::datatypes::{DataType, Field};
use polder_catalog::{Dataset, Error, Principal, QueryId, ReadContext, Source, SqlState};
use std::sync::Arc;

fn context() -> ReadContext {
    ReadContext::builder(QueryId("q".into()), Principal("tester".into())).build()
}

async fn start() -> Arc<MemorySource> {
    let source = MemorySubject::start().await.source;
    let transaction = Transaction::new().create_table("people", people(0..5).schema(), &["id"]);
    source.commit(transaction.insert("people", people(0..5))).expect("commit");
    source
}

async fn describe(source: &MemorySource, table: &str) -> Option<Dataset> {
    source.dataset(&context(), "public", table).await.expect("describe")
}

/// Each column as `id name`.
async fn columns(source: &MemorySource, table: &str) -> Vec<String> {
    let columns = describe(source, table).await.expect("the table exists").columns;
    columns.iter().map(|column| format!("{} {}", column.id, column.field.name())).collect()
}

fn alter(source: &MemorySource, alteration: Alteration) -> Result<(), Error> {
    source.commit(Transaction::new().alter("people", alteration)).map(|_| ())
}

fn rename(from: &str, to: &str) -> Alteration {
    Alteration::RenameColumn { from: from.into(), to: to.into() }
}

fn nullable(name: &str) -> Alteration {
    Alteration::AddColumn(Arc::new(Field::new(name, DataType::Utf8, true)))
}

#[tokio::test]
async fn ids_of_columns_outlive_names_and_are_never_used_again() {
    let source = start().await;
    assert_eq!(columns(&source, "people").await, ["c0 id", "c1 name", "c2 score"]);
    alter(&source, rename("name", "label")).expect("rename");
    alter(&source, Alteration::DropColumn("score".into())).expect("drop");
    alter(&source, nullable("score")).expect("add");
    assert_eq!(columns(&source, "people").await, ["c0 id", "c1 label", "c3 score"]);
}

#[tokio::test]
async fn an_id_of_a_table_outlives_its_name_but_not_the_table() {
    let source = start().await;
    let id = describe(&source, "people").await.expect("a table").entry.id;
    alter(&source, Alteration::Rename("persons".into())).expect("rename");
    assert!(describe(&source, "people").await.is_none());
    assert_eq!(describe(&source, "persons").await.expect("a table").entry.id, id);
    let again = Transaction::new().drop_table("persons").create_table("persons", people(0..1).schema(), &[]);
    source.commit(again).expect("drop and create");
    assert_ne!(describe(&source, "persons").await.expect("a table").entry.id, id);
}

#[tokio::test]
async fn what_cannot_be_altered_is_refused_by_name() {
    let source = start().await;
    let required = Alteration::AddColumn(Arc::new(Field::new("x", DataType::Utf8, false)));
    for (alteration, state, word) in [
        (nullable("name"), SqlState::DUPLICATE_OBJECT, "name"),
        (required, SqlState::NOT_NULL, "x"),
        (Alteration::DropColumn("nothing".into()), SqlState::NO_COLUMN, "nothing"),
        (Alteration::DropColumn("id".into()), SqlState::DEPENDENTS, "id"),
        (rename("nothing", "x"), SqlState::NO_COLUMN, "nothing"),
        (rename("name", "score"), SqlState::DUPLICATE_OBJECT, "score"),
        (Alteration::Rename("people".into()), SqlState::DUPLICATE_TABLE, "people"),
    ] {
        let error = alter(&source, alteration.clone()).expect_err("refused");
        assert_eq!(error.state(), state, "{alteration:?}: {error}");
        assert!(error.message().contains(word), "{alteration:?}: {error}");
        assert!(error.message().contains("catalog \"scratch\""), "{alteration:?}: {error}");
    }
    let error = source.commit(Transaction::new().alter("nobody", nullable("x"))).expect_err("no table");
    assert_eq!(error.state(), SqlState::NO_TABLE);
    assert_eq!(columns(&source, "people").await, ["c0 id", "c1 name", "c2 score"]);
}

#[tokio::test]
async fn a_key_stays_a_key_when_columns_before_it_go() {
    let source = start().await;
    let swapped = people(0..3).project(&[1, 0]).expect("project");
    let transaction = Transaction::new().create_table("swapped", swapped.schema(), &["id"]);
    source.commit(transaction.insert("swapped", swapped.clone())).expect("commit");
    source.commit(Transaction::new().alter("swapped", Alteration::DropColumn("name".into()))).expect("drop");
    let ids = |range| people(range).project(&[0]).expect("project");
    let error = source.commit(Transaction::new().insert("swapped", ids(2..4))).expect_err("2 is there");
    assert_eq!(error.state(), SqlState::UNIQUE);
    source.commit(Transaction::new().insert("swapped", ids(3..4))).expect("3 is not");
}

#[tokio::test]
async fn a_transaction_that_fails_in_the_end_leaves_nothing() {
    let source = start().await;
    let transaction = Transaction::new()
        .create_table("fresh", people(0..1).schema(), &[])
        .insert("people", people(5..6))
        .alter("people", nullable("extra"))
        .delete("people", people(90..91));
    source.commit(transaction).expect_err("rows of other columns, that are not there");
    assert!(describe(&source, "fresh").await.is_none());
    assert_eq!(columns(&source, "people").await, ["c0 id", "c1 name", "c2 score"]);
    source.commit(Transaction::new().insert("people", people(5..6))).expect("5 was not inserted");
}
