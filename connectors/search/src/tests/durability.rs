//! What survives: a restart, a crash in the middle, a lost folder; and that nothing happens twice.

use super::desk::{Desk, column, rows, table};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use polder_catalog::{Applied, DatasetDefinition, Definition, SqlState};
use std::fs;
use std::sync::Arc;

fn notes(name: &str) -> DatasetDefinition {
    table(name, vec![column("id", DataType::Int64, &[]), column("note", DataType::Utf8, &[])])
}

fn some(definition: &DatasetDefinition, ids: std::ops::Range<i64>) -> RecordBatch {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(ids.clone().map(|id| format!("note {id}"))));
    rows(definition, vec![Arc::new(Int64Array::from_iter_values(ids)), texts])
}

async fn count(desk: &Desk, table: &str) -> String {
    desk.ask(table, &format!("SELECT count(*) FROM {table}")).await.texts().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_everything_as_it_was() {
    let desk = Desk::new().await;
    let definition = notes("notes");
    desk.fill(&definition, &some(&definition, 0..10)).await;
    let before = desk.last_applied().await;
    let desk = desk.reopened().await;
    assert_eq!(desk.last_applied().await, before);
    let found = desk.ask("notes", "SELECT id, note FROM notes WHERE match(note, '7')").await;
    assert_eq!(found.texts(), ["7, note 7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_counts_once_across_restarts() {
    let desk = Desk::new().await;
    let definition = notes("notes");
    desk.fill(&definition, &some(&definition, 0..3)).await;
    let more = || vec![(definition.id.clone(), Desk::weighted(&some(&definition, 3..6), 1))];
    assert_eq!(desk.apply_at(2, Vec::new(), more()).await.expect("apply"), Applied::Done);
    assert_eq!(desk.apply_at(2, Vec::new(), more()).await.expect("apply"), Applied::Done);
    let desk = desk.reopened().await;
    assert_eq!(desk.apply_at(2, Vec::new(), more()).await.expect("apply"), Applied::Done);
    assert_eq!(count(&desk, "notes").await, "6");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_filled_again_and_the_others_skip_what_they_have() {
    let desk = Desk::new().await;
    let (left, right) = (notes("left_side"), notes("right_side"));
    // A table that had the name of another before.
    let old = DatasetDefinition { id: polder_catalog::DatasetId("old".into()), ..notes("right_side") };
    let entries = || {
        vec![
            (vec![Definition::Create(old.clone())], Vec::new()),
            (vec![Definition::Drop(old.id.clone())], Vec::new()),
            (vec![Definition::Create(left.clone())], vec![(left.id.clone(), Desk::weighted(&some(&left, 0..4), 1))]),
            (vec![Definition::Create(right.clone())], vec![(right.id.clone(), Desk::weighted(&some(&right, 0..5), 1))]),
            (Vec::new(), vec![(left.id.clone(), Desk::weighted(&some(&left, 0..1), -1))]),
        ]
    };
    for (offset, (definitions, changes)) in (1..).zip(entries()) {
        assert_eq!(desk.apply_at(offset, definitions, changes).await.expect("apply"), Applied::Done);
    }
    fs::remove_dir_all(desk.folder.path().join("indexes/t2")).expect("the folder of a table");
    assert_eq!(desk.last_applied().await, None, "an index is gone, and the store says that it has everything");
    for (offset, (definitions, changes)) in (1..).zip(entries()) {
        assert_eq!(desk.apply_at(offset, definitions, changes).await.expect("apply"), Applied::Done);
    }
    assert_eq!((count(&desk, "left_side").await.as_str(), count(&desk, "right_side").await.as_str()), ("3", "5"));
    fs::remove_dir_all(desk.folder.path().join("indexes")).expect("the whole folder");
    let desk = desk.reopened().await;
    assert_eq!(desk.last_applied().await, None);
}

/// What a crash before the commit leaves behind: rows in a segment that no commit names, and a folder that does not
/// count.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_cut_off_in_the_middle_opens_at_its_last_commit() {
    let desk = Desk::new().await;
    let definition = notes("notes");
    desk.fill(&definition, &some(&definition, 0..3)).await;
    desk.source.close().await;
    let path = desk.folder.path().join("indexes/t1");
    {
        let index = tantivy::Index::open_in_dir(&path).expect("open");
        let manager =
            crate::layout::Layout::new(definition.clone(), definition.clone()).expect("a layout").tokenizers();
        let mut index = index;
        index.set_tokenizers(manager);
        let mut writer: tantivy::IndexWriter = index.writer_with_num_threads(1, 15_000_000).expect("a writer");
        writer.add_document(tantivy::TantivyDocument::new()).expect("add");
        drop(writer.prepare_commit().expect("prepare"));
        drop(writer);
    }
    fs::write(path.join("0123456789abcdef0123456789abcdef.term"), b"cut off").expect("write");
    fs::create_dir_all(desk.folder.path().join("indexes/t2")).expect("a folder that does not count");
    let desk = desk.reopened().await;
    assert_eq!(count(&desk, "notes").await, "3");
    let more = vec![(definition.id.clone(), Desk::weighted(&some(&definition, 3..4), 1))];
    assert_eq!(desk.apply(Vec::new(), more).await.expect("apply"), Applied::Done);
    let other = notes("other");
    desk.fill(&other, &some(&other, 0..2)).await;
    assert_eq!((count(&desk, "notes").await.as_str(), count(&desk, "other").await.as_str()), ("4", "2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_altered_with_its_rows() {
    let desk = Desk::new().await;
    let definition = notes("notes");
    desk.fill(&definition, &some(&definition, 0..3)).await;
    let mut wider = notes("memos");
    wider.id = definition.id.clone();
    wider.columns.push(column("year", DataType::Int32, &[]));
    desk.apply(vec![Definition::Alter(wider.clone())], Vec::new()).await.expect("apply");
    let found = desk.ask("memos", "SELECT id, note, year FROM memos WHERE year IS NULL ORDER BY id LIMIT 1").await;
    assert_eq!(found.texts(), ["0, note 0, NULL"]);
    let mut narrower = wider.clone();
    narrower.columns.remove(1);
    desk.apply(vec![Definition::Alter(narrower.clone())], Vec::new()).await.expect("apply");
    let more = rows(
        &narrower,
        vec![Arc::new(Int64Array::from(vec![9])), Arc::new(arrow::array::Int32Array::from(vec![2020]))],
    );
    desk.apply(Vec::new(), vec![(narrower.id.clone(), Desk::weighted(&more, 1))]).await.expect("apply");
    let desk = desk.reopened().await;
    assert_eq!(desk.ask("memos", "SELECT id, year FROM memos WHERE year > 2000").await.texts(), ["9, 2020"]);
    assert_eq!(count(&desk, "memos").await, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_newer_format_is_refused_by_both_numbers() {
    let desk = Desk::new().await;
    let definition = notes("notes");
    desk.fill(&definition, &some(&definition, 0..3)).await;
    let path = desk.folder.path().join("indexes/catalog.json");
    let text = fs::read_to_string(&path).expect("read").replace("\"format\": 1", "\"format\": 7");
    fs::write(&path, text).expect("write");
    let desk = desk.reopened().await;
    let error = desk.source.datasets(&desk.context(), "public").await.expect_err("a newer format opens");
    assert!(error.to_string().contains("format 7") && error.to_string().contains("up to 1"), "{error}");
    assert_eq!(error.state(), SqlState::STATE);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_may_repeat() {
    let desk = Desk::new().await;
    let definition = table("log", vec![column("line", DataType::Utf8, &[]), column("level", DataType::Float64, &[])]);
    let batch = |lines: Vec<Option<&str>>| {
        let levels: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![f64::NAN; lines.len()]));
        rows(&definition, vec![Arc::new(StringArray::from(lines)), levels])
    };
    desk.fill(&definition, &batch(vec![Some("a"), Some("a"), None, Some("a")])).await;
    let changes = vec![
        (definition.id.clone(), Desk::weighted(&batch(vec![Some("a")]), -1)),
        (definition.id.clone(), Desk::weighted(&batch(vec![Some("b"), None]), 1)),
    ];
    assert_eq!(desk.apply(Vec::new(), changes).await.expect("apply"), Applied::Done);
    let found = desk.ask("log", "SELECT line, count(*) FROM log GROUP BY line ORDER BY line NULLS LAST").await;
    assert_eq!(found.texts(), ["a, 2", "b, 1", "NULL, 2"]);
    let missing = vec![(definition.id.clone(), Desk::weighted(&batch(vec![Some("c")]), -1))];
    assert!(matches!(desk.apply(Vec::new(), missing).await.expect("apply"), Applied::Refused { .. }));
}
