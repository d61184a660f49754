//! System tables for those who run an engine, in the types of what they tell.

use crate::activity::Entry;
use crate::engine::Inner;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use std::sync::Arc;

/// Statements that run, and the last ones that have ended.
pub(super) fn queries(engine: &Inner) -> RecordBatch {
    let entries = engine.activity.list();
    let texts = |text: &dyn Fn(&Entry) -> Option<String>| -> ArrayRef {
        Arc::new(entries.iter().map(|entry| text(entry)).collect::<StringArray>())
    };
    let counts = |count: &dyn Fn(&Entry) -> u64| -> ArrayRef {
        Arc::new(entries.iter().map(|entry| i64::try_from(count(entry)).ok()).collect::<Int64Array>())
    };
    let started = entries.iter().map(|entry| Some(entry.started_micros)).collect::<TimestampMicrosecondArray>();
    let elapsed = entries.iter().map(|entry| Some(millis(entry.elapsed()))).collect::<Float64Array>();
    table([
        ("id", texts(&|entry| Some(entry.id.to_string()))),
        ("user", texts(&|entry| Some(entry.origin.user.to_string()))),
        ("protocol", texts(&|entry| Some(entry.origin.protocol.as_str().to_string()))),
        ("application", texts(&|entry| Some(entry.origin.application.clone()).filter(|name| !name.is_empty()))),
        ("state", texts(&|entry| Some(entry.state().as_str().to_string()))),
        ("started_at", Arc::new(started.with_timezone("UTC"))),
        ("elapsed_ms", Arc::new(elapsed)),
        ("rows", counts(&|entry| entry.given().0)),
        ("bytes", counts(&|entry| entry.given().1)),
        ("sqlstate", texts(&|entry| entry.error().map(|(state, _)| state.to_string()))),
        ("error", texts(&|entry| entry.error().map(|(_, message)| message.clone()))),
        ("sources", texts(&sources_of)),
        ("text", texts(&|entry| Some(entry.text().to_string()))),
    ])
}

/// What was read of each source, as JSON; NULL if nothing was.
fn sources_of(entry: &Entry) -> Option<String> {
    let sources = entry.sources().into_iter();
    let read = sources.map(|source| (source.name, serde_json::json!({"rows": source.rows, "bytes": source.bytes})));
    let read: serde_json::Map<_, _> = read.collect();
    (!read.is_empty()).then(|| serde_json::Value::Object(read).to_string())
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn table<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .expect("one array per column, all of one length")
}
