//! Measures topics on this machine: appends, scans of all columns, the last record, and lookups of keys.
//!
//! ```text
//! cargo run --release -p polder-log --example topics [MILLIONS] [FOLDER]
//! ```

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used, reason = "it measures and prints")]

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt};
use polder_catalog::conformance::push;
use polder_catalog::{CatalogName, Principal, QueryId, ReadContext, Source, SourceTable, TableName};
use polder_log::store::{Attributes, Log, LogOptions};
use polder_log::{KeyHash, LogSource, Retention, TopicColumn, TopicDefinition};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Done = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Done {
    let mut arguments = std::env::args().skip(1);
    let millions: i64 = arguments.next().map_or(Ok(1), |count| count.parse())?;
    let folder = tempfile::tempdir_in(arguments.next().unwrap_or_else(|| ".".to_string()))?;
    let log = Arc::new(Log::open(folder.path(), LogOptions::default())?);
    let opened = Arc::clone(&log);
    let source = LogSource::new(CatalogName::new("polder"), Arc::new(move || Ok(Arc::clone(&opened))));
    let records = millions * 1_000_000;
    for (topic, batch) in [("batches", 1_000), ("ones", 1)] {
        define(&log, &source, topic, batch as u64)?;
        fill(&source, topic, records, batch).await?;
        scan(&source, topic, records as usize).await?;
        let last = "SELECT * FROM t ORDER BY _offset DESC LIMIT 1";
        timed(&source, topic, "the last record", last).await?;
        timed(&source, topic, "the last record", last).await?;
    }
    let latest = "ones$latest";
    let key = format!("SELECT * FROM t WHERE user_id = {}", records / 3 % KEYS);
    for what in ["first lookup, makes the index", "lookup", "lookup"] {
        timed(&source, latest, what, &key).await?;
    }
    timed(&source, latest, "all keys", "SELECT count(*), sum(user_id) FROM t").await?;
    parquet(folder.path(), records as usize).await
}

const KEYS: i64 = 100_003;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("user_id", DataType::Int64, false),
        Field::new("url", DataType::Utf8, true),
        Field::new("agent", DataType::Utf8, true),
        Field::new("status", DataType::Int32, true),
        Field::new("seconds", DataType::Float64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]))
}

/// About a hundred bytes a record.
fn rows(start: i64, count: i64) -> RecordBatch {
    let ids = || start..start + count;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids().map(|id| id % KEYS))),
        Arc::new(StringArray::from_iter_values(ids().map(|id| format!("/a/page/of/some/length/{id:0>12}")))),
        Arc::new(StringArray::from_iter_values(ids().map(|id| format!("an agent, version {:0>18}", id % 97)))),
        Arc::new(Int32Array::from_iter_values(ids().map(|id| (id % 5) as i32 * 100))),
        Arc::new(Float64Array::from_iter_values(ids().map(|id| id as f64 / 7.0))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(ids()).with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn define(log: &Log, source: &LogSource, name: &str, id: u64) -> Done {
    let column = |(id, field): (u32, &Arc<Field>)| TopicColumn { id, field: Arc::clone(field) };
    log.create_shard(name)?;
    source.define(TopicDefinition {
        id,
        name: name.to_string(),
        columns: (1..).zip(schema().fields()).map(column).collect(),
        schema: 1,
        shards: vec![name.to_string()],
        key: Some(1),
        hash: KeyHash::Xxh64,
        retention: Retention::default(),
    })?;
    Ok(())
}

async fn fill(source: &LogSource, topic: &str, records: i64, batch: i64) -> Done {
    let start = Instant::now();
    let appends = (0..records / batch).map(|number| {
        let rows = rows(number * batch, batch);
        source.append_batch(topic, Attributes::default(), rows)
    });
    futures::stream::iter(appends).buffer_unordered(256).try_for_each(|_| async { Ok(()) }).await?;
    report(topic, &format!("append, {batch} a call, 256 at once"), records as usize, start.elapsed());
    Ok(())
}

/// A query over one topic, planned as the engine does it.
async fn query(source: &LogSource, topic: &str, query: &str) -> Result<Vec<RecordBatch>, Box<dyn std::error::Error>> {
    let context = ReadContext::builder(QueryId("measure".into()), Principal("me".into())).partitions(2).build();
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let dataset = source.dataset(&context, "public", topic).await?.ok_or("the topic is defined")?;
    let name = TableName { catalog: CatalogName::new("polder"), schema: "public".into(), table: topic.to_string() };
    session.register_table("t", Arc::new(SourceTable::new(name, dataset, source.federation())))?;
    let (state, plan) = session.sql(query).await?.into_parts();
    let plan = push(state.optimize(&plan)?)?;
    let plan = state.query_planner().create_physical_plan(&plan, &state).await?;
    Ok(datafusion::physical_plan::collect(plan, session.task_ctx()).await?)
}

/// Makes every column be read, and little else be done.
const ALL: &str = "SELECT sum(user_id), max(url), max(agent), sum(status), sum(seconds), max(at) FROM t";

async fn scan(source: &LogSource, topic: &str, records: usize) -> Done {
    for (what, text) in
        [("six columns", ALL), ("one column", "SELECT sum(status) FROM t"), ("count", "SELECT count(*) FROM t")]
    {
        let start = Instant::now();
        query(source, topic, text).await?;
        report(topic, what, records, start.elapsed());
    }
    Ok(())
}

async fn timed(source: &LogSource, topic: &str, what: &str, text: &str) -> Done {
    let (start, before) = (Instant::now(), source.decoded_records());
    let rows: usize = query(source, topic, text).await?.iter().map(RecordBatch::num_rows).sum();
    let (time, decoded) = (start.elapsed().as_secs_f64() * 1e3, source.decoded_records() - before);
    println!("{topic:<14} {what:<32} {time:>9.2} ms, {rows} rows of {decoded} decoded");
    Ok(())
}

/// The same rows in a Parquet file as DataFusion writes it, read by the same query.
async fn parquet(folder: &std::path::Path, records: usize) -> Done {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let path = folder.join("rows.parquet");
    let path = path.to_str().ok_or("the path is text")?;
    let batches = (0..records as i64 / 100_000).map(|number| rows(number * 100_000, 100_000)).collect();
    let table = datafusion::datasource::MemTable::try_new(schema(), vec![batches])?;
    let frame = session.read_table(Arc::new(table))?;
    frame.write_parquet(path, DataFrameWriteOptions::new().with_single_file_output(true), None).await?;
    session.register_parquet("t", path, ParquetReadOptions::default()).await?;
    for round in ["six columns", "six columns, again"] {
        let start = Instant::now();
        session.sql(ALL).await?.collect().await?;
        report("parquet", round, records, start.elapsed());
    }
    Ok(())
}

fn report(what: &str, how: &str, records: usize, time: Duration) {
    let rate = records as f64 / time.as_secs_f64() / 1e6;
    println!("{what:<14} {how:<32} {rate:>9.2} M records/s");
}
