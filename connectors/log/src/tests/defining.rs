//! Definitions: what is refused, what survives being written down, what an altered topic shows of old records.

use super::conformance::types;
use super::desk::{Desk, attributes, clicks, context, definition, rows};
use crate::{TopicColumn, TopicDefinition};
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use polder_catalog::SqlState;
use std::sync::Arc;

#[test]
fn a_definition_comes_back_from_its_text() {
    let fields = types().into_iter().enumerate().map(|(at, of)| Field::new(format!("c{at}"), of, at % 2 == 0));
    let fields: Vec<_> = fields.collect();
    let topic = definition(3, "all types", &fields, 2, Some(5));
    let text = serde_json::to_string(&topic).unwrap();
    assert_eq!(serde_json::from_str::<TopicDefinition>(&text).unwrap(), topic);
    assert!(text.contains(r#""hash":"xxh64""#), "{text}");
}

#[test]
fn topics_that_cannot_be_are_refused() {
    let desk = Desk::new();
    let good = clicks("clicks", 2);
    desk.source.define(good.clone()).unwrap();
    let hidden = Field::new("_offset", DataType::Int64, true);
    let list = Field::new("list", DataType::new_list(DataType::Int32, true), true);
    for (topic, state) in [
        (TopicDefinition { name: "a$latest".into(), ..good.clone() }, SqlState::PARAMETER),
        (TopicDefinition { shards: vec![], ..good.clone() }, SqlState::PARAMETER),
        (TopicDefinition { key: Some(9), ..good.clone() }, SqlState::NO_COLUMN),
        (TopicDefinition { columns: vec![], ..good.clone() }, SqlState::SYNTAX),
        (TopicDefinition { id: 8, ..good.clone() }, SqlState::DUPLICATE_TABLE),
        (definition(8, "x", &[hidden], 1, None), SqlState::DUPLICATE_OBJECT),
        (definition(8, "x", &[list], 1, Some(1)), SqlState::NOT_SUPPORTED),
    ] {
        let error = desk.source.define(topic).unwrap_err();
        assert_eq!(error.state(), state, "{error}");
    }
    assert_eq!(desk.source.topics(), [good]);
}

#[tokio::test]
async fn old_records_are_read_by_the_ids_of_their_columns() {
    let desk = Desk::clicks(1);
    desk.append(rows(&[(1, Some("/a"))])).await;
    let mut topic = desk.source.topic("clicks").unwrap();
    // The key is wider and renamed, `url` is gone, another `url` has come.
    topic.columns = vec![
        TopicColumn { id: 3, field: Arc::new(Field::new("url", DataType::Int64, true)) },
        TopicColumn { id: 1, field: Arc::new(Field::new("user", DataType::Int64, false)) },
    ];
    topic.schema = 2;
    topic.name = "visits".into();
    desk.define(topic);
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![7])), Arc::new(Int64Array::from(vec![1]))];
    let fields = vec![Field::new("url", DataType::Int64, true), Field::new("user", DataType::Int64, false)];
    let batch = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).unwrap();
    desk.source.append_batch("visits", attributes("r"), batch).await.unwrap();
    assert_eq!(desk.query(&context(), r#"SELECT "user", url FROM visits"#).await, ["1 7", "1 NULL"]);
    assert!(desk.source.topic("clicks").is_none());
}
