//! System tables for those who run an engine, in the types of what they tell.

use crate::activity::Entry;
use crate::catalogs::Catalogs;
use crate::engine::Inner;
use crate::histogram::Distribution;
use crate::sources::Health;
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

/// How each attached catalog is.
pub(super) fn sources(catalogs: &Catalogs) -> RecordBatch {
    let lines: Vec<_> = catalogs
        .attached
        .iter()
        .map(|(name, attached)| (name, attached, attached.health.latency.read(), attached.health.last_error()))
        .collect();
    let attaching = |name: &str| catalogs.get(name).and_then(|attached| attached.source(name)).err();
    let state = lines.iter().map(|(name, attached, ..)| {
        let is_failing = attached.health.is_failing() || attaching(name).is_some();
        Some(if is_failing { "failing" } else { "ok" })
    });
    let error = lines.iter().map(|(name, _, _, last)| {
        let attaching = attaching(name).map(|error| error.to_string());
        attaching.or_else(|| last.as_ref().map(|last| last.message.clone()))
    });
    let at = lines.iter().map(|(.., last)| last.as_ref().map(|last| last.at_micros));
    let at = at.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    let count = |count: &dyn Fn(&Health) -> u64| -> ArrayRef {
        let counts = lines.iter().map(|(_, attached, ..)| i64::try_from(count(&attached.health)).ok());
        Arc::new(counts.collect::<Int64Array>())
    };
    let latency = |read: &dyn Fn(&Distribution) -> Option<f64>| -> ArrayRef {
        Arc::new(lines.iter().map(|(_, _, latency, _)| read(latency)).collect::<Float64Array>())
    };
    table([
        ("catalog", Arc::new(lines.iter().map(|(name, ..)| Some(name.as_str())).collect::<StringArray>())),
        (
            "connector",
            Arc::new(
                lines
                    .iter()
                    .map(|(_, attached, ..)| Some(attached.definition.connector.as_str()))
                    .collect::<StringArray>(),
            ),
        ),
        ("state", Arc::new(state.collect::<StringArray>())),
        ("requests", count(&Health::requests)),
        ("errors", count(&Health::errors)),
        ("mean_ms", latency(&Distribution::mean_millis)),
        ("p50_ms", latency(&|latency| latency.quantile_millis(0.5))),
        ("p99_ms", latency(&|latency| latency.quantile_millis(0.99))),
        ("last_error", Arc::new(error.collect::<StringArray>())),
        ("last_error_at", Arc::new(at)),
    ])
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn table<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .expect("one array per column, all of one length")
}
