//! Definitions survive, and a directory that cannot be read says why.

use super::change::define;
use super::store::FILE;
use super::*;
use crate::commit::Commit;
use arrow::datatypes::{DataType, Field};
use polder_catalog::{Error, Kind, SqlState};
use polder_log::store::LogOptions;
use polder_log::{KeyHash, Retention, TopicColumn};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn definitions() -> Definitions {
    let options =
        vec![("url".to_string(), "it's \\ \"x\"; DROP".to_string()), ("password".to_string(), "env:P".to_string())];
    let catalog = CatalogDefinition { connector: "postgres".to_string(), options };
    let view =
        ViewDefinition { columns: vec!["A\"b".to_string()], text: "SELECT '\\' || ';' -- ü\n  FROM t".to_string() };
    let table = table(3, "mails");
    Definitions {
        catalogs: BTreeMap::from([("we\"ird; name".to_string(), catalog)]),
        views: BTreeMap::from([("v".to_string(), view)]),
        procedures: BTreeMap::from([("p".to_string(), procedure())]),
        topics: BTreeMap::from([("clicks".to_string(), topic(2))]),
        tables: BTreeMap::from([(table.full_name(), table)]),
        last_dataset: 3,
    }
}

fn procedure() -> ProcedureDefinition {
    ProcedureDefinition {
        parameters: vec![("a\"b".to_string(), "NUMERIC(12,2)".to_string())],
        body: " ASSERT 1 = 1, '$p0$';\n EMIT DELETE FROM t WHERE x = $$\\ü$$ ".to_string(),
    }
}

fn topic(id: u64) -> TopicDefinition {
    TopicDefinition {
        id,
        name: "clicks".to_string(),
        columns: vec![TopicColumn { id: 1, field: Arc::new(Field::new("url", DataType::Utf8, true)) }],
        schema: 1,
        shards: vec![format!("clicks-{id}-0")],
        key: Some(1),
        hash: KeyHash::default(),
        retention: Retention::default(),
    }
}

fn table(id: u64, name: &str) -> TableDefinition {
    let field = polder_catalog::mark::marked(
        Field::new("bo\"dy", DataType::Utf8, false),
        "json",
        polder_catalog::mark::Comparison::None,
    );
    let options = BTreeMap::from([("analyzer".to_string(), "english".to_string())]);
    TableDefinition {
        id,
        catalog: "docs".to_string(),
        schema: "public".to_string(),
        name: name.to_string(),
        columns: vec![StoredColumn {
            id: 4,
            field: Arc::new(field),
            options,
            default: Some("'x' || 1".to_string()),
            identity: None,
        }],
        checks: vec![StoredCheck { name: "c".to_string(), condition: "\"bo\"\"dy\" <> ''".to_string() }],
        key: vec![4],
        unique: vec![vec![4]],
        options: BTreeMap::new(),
        indexes: vec![StoredIndex { name: "i".to_string(), columns: vec![4] }],
        references: vec![StoredReference { columns: vec![4], table: 3, key: vec![4] }],
        sharding: Some(StoredSharding { count: 3, key: vec![4], hash: KeyHash::default() }),
        version: 7,
        last_column: 4,
    }
}

fn open(directory: &Path) -> (DefinitionStore, Commit) {
    let store = DefinitionStore::open(directory).unwrap();
    let tables = Arc::new(polder_rows::RowsSource::new(polder_catalog::CatalogName::new(POLDER)));
    let requests = Arc::new(crate::requests::Requests::new(std::time::Duration::MAX));
    let effects = Arc::default();
    let commit = Commit::new(
        store.log_folder(),
        LogOptions::default(),
        tables,
        requests,
        effects,
        Box::new(|_| Box::pin(async { Ok(()) })),
    );
    (store, commit)
}

async fn refused(store: &DefinitionStore, commit: &Commit) -> Error {
    store.load(commit).await.unwrap_err()
}

#[tokio::test]
async fn a_new_directory_has_nothing_and_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let (store, commit) = open(directory.path());
    assert_eq!(store.load(&commit).await.unwrap(), Definitions::default());
    assert!(!store.log_folder().exists());
}

/// From the entries alone, from the checkpoint alone, and from a checkpoint that lags.
#[tokio::test]
async fn definitions_read_back_as_they_were_saved() {
    let directory = tempfile::tempdir().unwrap();
    let (store, commit) = open(directory.path());
    let first = Definitions { tables: BTreeMap::new(), last_dataset: 2, ..definitions() };
    define(&commit, &Definitions::default().changes_to(&first)).await.unwrap();
    assert_eq!(store.load(&commit).await.unwrap(), first);
    store.save(&first, &commit).await.unwrap();
    assert_eq!(store.load(&commit).await.unwrap(), first);
    define(&commit, &first.changes_to(&definitions())).await.unwrap();
    assert_eq!(store.load(&commit).await.unwrap(), definitions());
    fs::remove_file(directory.path().join(FILE)).unwrap();
    assert_eq!(store.load(&commit).await.unwrap(), definitions());
}

/// Whatever was defined, the changes between two states make one of the other; ids are never given out again.
#[test]
fn changes_make_one_state_of_another() {
    let states = [
        Definitions::default(),
        definitions(),
        Definitions { views: BTreeMap::new(), ..definitions() },
        Definitions { topics: BTreeMap::from([("clicks".to_string(), topic(9))]), last_dataset: 9, ..definitions() },
        Definitions {
            tables: BTreeMap::from([(table(3, "renamed").full_name(), table(3, "renamed"))]),
            ..definitions()
        },
        Definitions { catalogs: BTreeMap::new(), tables: BTreeMap::new(), ..definitions() },
    ];
    for old in &states {
        for new in &states {
            let mut changed = old.clone();
            old.changes_to(new).into_iter().for_each(|change| changed.apply(change).unwrap());
            assert!(changed.last_dataset >= old.last_dataset);
            assert_eq!(Definitions { last_dataset: new.last_dataset, ..changed }, *new);
            assert!(new.changes_to(new).is_empty());
        }
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_and_both_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (store, commit) = open(directory.path());
    fs::write(directory.path().join(FILE), r#"{"format": 99, "shape": "unknown"}"#).unwrap();
    let error = refused(&store, &commit).await;
    assert!(error.message().contains("format 99") && error.message().contains("up to 2"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (store, commit) = open(directory.path());
    for text in ["", "{", "\u{0}", r#"{"format": 1, "statements": ["DROP CATALOG x"]}"#, r#"{"format": 1}"#] {
        fs::write(directory.path().join(FILE), text).unwrap();
        let error = refused(&store, &commit).await;
        assert_eq!((error.kind(), error.state()), (Kind::Repair, SqlState::DAMAGED), "{text}");
        assert!(error.message().contains(FILE), "{error}");
    }
}

/// The log was replaced by an older copy, the checkpoint was not: what is missing is said, not guessed.
#[tokio::test]
async fn a_checkpoint_that_is_ahead_of_its_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (store, commit) = open(directory.path());
    define(&commit, &Definitions::default().changes_to(&definitions())).await.unwrap();
    store.save(&definitions(), &commit).await.unwrap();
    drop((store, commit));
    fs::remove_dir_all(directory.path().join("log")).unwrap();
    let (store, commit) = open(directory.path());
    commit.log().await.unwrap();
    assert_eq!(refused(&store, &commit).await.state(), SqlState::DAMAGED);
}

#[test]
fn two_engines_never_open_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = DefinitionStore::open(directory.path()).unwrap();
    assert_eq!(DefinitionStore::open(directory.path()).unwrap_err().state(), SqlState::IN_USE);
    drop(first);
    DefinitionStore::open(directory.path()).unwrap();
}

/// One directory of each released format stays in the tests and must open for ever. Its definitions become entries.
#[tokio::test]
async fn a_directory_of_format_1_is_imported() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(FILE), include_str!("../../tests/formats/1/definitions.json")).unwrap();
    let (store, commit) = open(directory.path());
    let definitions = store.load(&commit).await.unwrap();
    assert_eq!(definitions.catalogs["lake"].connector, "object_store");
    assert_eq!(definitions.catalogs["shop"].options[1], ("url".to_string(), "postgres://app@db:5432/shop".to_string()));
    assert_eq!(definitions.views["totals"].columns, ["customer", "total"]);
    fs::remove_file(directory.path().join(FILE)).unwrap();
    assert_eq!(store.load(&commit).await.unwrap(), definitions);
}
