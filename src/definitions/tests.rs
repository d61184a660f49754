//! Definitions survive, and a directory that cannot be read says why.

use super::*;

fn definitions() -> Definitions {
    let options =
        vec![("url".to_string(), "it's \\ \"x\"; DROP".to_string()), ("password".to_string(), "env:P".to_string())];
    let catalog = CatalogDefinition { connector: "postgres".to_string(), options };
    let view =
        ViewDefinition { columns: vec!["A\"b".to_string()], text: "SELECT '\\' || ';' -- ü\n  FROM t".to_string() };
    Definitions {
        catalogs: BTreeMap::from([("we\"ird; name".to_string(), catalog)]),
        views: BTreeMap::from([("v".to_string(), view)]),
    }
}

#[test]
fn definitions_read_back_as_they_were_saved() {
    let directory = tempfile::tempdir().unwrap();
    let store = DefinitionStore::open(directory.path()).unwrap();
    assert_eq!(store.load().unwrap(), Definitions::default());
    store.save(&definitions()).unwrap();
    assert_eq!(store.load().unwrap(), definitions());
}

#[test]
fn a_newer_format_is_refused_and_both_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = DefinitionStore::open(directory.path()).unwrap();
    fs::write(directory.path().join(FILE), r#"{"format": 99, "shape": "unknown"}"#).unwrap();
    let error = store.load().unwrap_err();
    assert!(error.message().contains("format 99") && error.message().contains("up to 1"), "{error}");
}

#[test]
fn a_damaged_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = DefinitionStore::open(directory.path()).unwrap();
    for text in ["", "{", "\u{0}", r#"{"format": 1, "statements": ["DROP CATALOG x"]}"#, r#"{"format": 1}"#] {
        fs::write(directory.path().join(FILE), text).unwrap();
        let error = store.load().unwrap_err();
        assert_eq!((error.kind(), error.state()), (Kind::Repair, SqlState::DAMAGED), "{text}");
        assert!(error.message().contains(FILE), "{error}");
    }
}

#[test]
fn two_engines_never_open_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = DefinitionStore::open(directory.path()).unwrap();
    assert_eq!(DefinitionStore::open(directory.path()).unwrap_err().state(), SqlState::IN_USE);
    drop(first);
    DefinitionStore::open(directory.path()).unwrap();
}

/// One directory of each released format stays in the tests and must open for ever.
#[test]
fn a_directory_of_format_1_opens() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(FILE), include_str!("../../tests/formats/1/definitions.json")).unwrap();
    let definitions = DefinitionStore::open(directory.path()).unwrap().load().unwrap();
    assert_eq!(definitions.catalogs["lake"].connector, "object_store");
    assert_eq!(definitions.catalogs["shop"].options[1], ("url".to_string(), "postgres://app@db:5432/shop".to_string()));
    assert_eq!(definitions.views["totals"].columns, ["customer", "total"]);
}
