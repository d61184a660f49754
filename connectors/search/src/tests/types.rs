//! Definitions: what is refused before it is logged, and values that are awkward for an index.

use super::desk::{Desk, column, rows, table};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, IntervalUnit};
use polder_catalog::SqlState;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn what_no_index_can_hold_is_refused_with_its_column() {
    let writer = Desk::new().await.source.writer().expect("search is written");
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Interval(IntervalUnit::DayTime), true)));
    for (column, state) in [
        (column("a", DataType::Interval(IntervalUnit::YearMonth), &[]), SqlState::NOT_SUPPORTED),
        (column("a", list, &[]), SqlState::NOT_SUPPORTED),
        (column("a", DataType::Null, &[]), SqlState::NOT_SUPPORTED),
        (column("a", DataType::Int64, &[("analyzer", "english")]), SqlState::PARAMETER),
        (column("a", DataType::Utf8, &[("analyser", "english")]), SqlState::PARAMETER),
        (column("id", DataType::Float64, &[]), SqlState::NOT_SUPPORTED),
        (column("_score", DataType::Int64, &[]), SqlState::DUPLICATE_OBJECT),
    ] {
        let name = column.field.name().clone();
        let error = writer.check_definition(&table("t", vec![column.clone()])).expect_err(&format!("{column:?}"));
        assert_eq!(error.state(), state, "{column:?}: {error}");
        assert!(error.to_string().contains(&format!("column \"{name}\"")), "{error}");
    }
    let mut empty = table("t", Vec::new());
    assert!(writer.check_definition(&empty).is_err());
    empty.options.insert("speed".into(), "high".into());
    assert!(writer.check_definition(&empty).is_err());
}

/// Longer than any term of an index may be: found by its hash, ordered here.
#[tokio::test(flavor = "multi_thread")]
async fn values_longer_than_any_term_are_whole() {
    let desk = Desk::new().await;
    let definition = table(
        "long_texts",
        vec![
            column("id", DataType::Int64, &[]),
            column("plain", DataType::Utf8, &[]),
            column("tag", DataType::Utf8, &[("analyzer", "keyword")]),
        ],
    );
    let long = |last: &str| format!("{}{last}", "long ".repeat(14_000));
    let texts = vec![Some(long("a")), Some(long("b")), Some("short".to_string()), None, Some(String::new())];
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
    let values: ArrayRef = Arc::new(StringArray::from(texts));
    desk.fill(&definition, &rows(&definition, vec![ids, Arc::clone(&values), values])).await;
    for name in ["plain", "tag"] {
        let count = |filter: String| format!("SELECT id FROM long_texts WHERE {filter} ORDER BY id");
        for (filter, expected) in [
            (format!("{name} = '{}'", long("b")), &["2"][..]),
            (format!("{name} <> '{}'", long("b")), &["1", "3", "5"]),
            (format!("{name} < '{}'", long("b")), &["1", "5"]),
            (format!("{name} > 'long'"), &["1", "2", "3"]),
            (format!("{name} = ''"), &["5"]),
            (format!("{name} IS NULL"), &["4"]),
        ] {
            assert_eq!(desk.ask("long_texts", &count(filter.clone())).await.texts(), expected, "{name}");
        }
        let ordered =
            desk.ask("long_texts", &format!("SELECT id FROM long_texts ORDER BY {name} DESC NULLS LAST LIMIT 2")).await;
        assert_eq!(ordered.texts(), ["3", "2"], "{name}");
        let lengths =
            desk.ask("long_texts", &format!("SELECT character_length({name}) FROM long_texts WHERE id < 3")).await;
        assert_eq!(lengths.texts(), ["70001", "70001"]);
        let groups = desk.ask("long_texts", &format!("SELECT count(*) FROM long_texts GROUP BY {name}")).await;
        assert_eq!(groups.rows.num_rows(), 5);
    }
    let found = desk.ask("long_texts", "SELECT id FROM long_texts WHERE match(plain, '+long +b')").await;
    assert_eq!(found.texts(), ["2"]);
}
