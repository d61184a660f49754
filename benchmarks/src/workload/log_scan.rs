//! `log_scan`: every record of a topic, and its last one, beside the same rows in one Parquet file.
//!
//! A record has about a hundred bytes in six columns. One topic was appended in batches of a thousand, the other one record at
//! a time. Everything is durable before it is read; what is read is in the page cache.

use super::data_fusion_table;
use crate::arguments::Settings;
use crate::contender::{Contender, engine};
use crate::measure::interleave;
use crate::report::{Finding, Measured};
use crate::{Result, rows};
use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use futures::{StreamExt, TryStreamExt};
use polder::{Engine, Session};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

const ROUNDS: u32 = 5;
/// Appends that wait for the disk at once.
const IN_FLIGHT: usize = 256;
const BATCH: usize = 1_000;
/// Keys repeat, so that the newest of one is somewhere.
const KEYS: i64 = 100_003;
/// A record at a time is slow to write, and as telling with a tenth of the records.
const ONES_SHARE: usize = 10;

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let records = if settings.small { 20_000 } else { 10_000_000 };
    let ones = records / ONES_SHARE;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("records.parquet");
    write_parquet(&file, records)?;
    let engine = engine(&[topic("batches"), topic("ones")]).await?;
    fill(&engine, "batches", records, BATCH).await?;
    fill(&engine, "ones", ones, 1).await?;

    let plain = data_fusion_table(&file, "batches", settings.threads).await?;
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders = vec!["polder".to_string(), "DataFusion with the rows in Parquet".to_string()];
    let scan = vec![
        Contender::polder(&engine, all("batches")),
        Contender::data_fusion("parquet", &plain, all("batches")),
        Contender::polder_with("one_by_one", &engine, &[], all("ones")).await?,
    ];
    let reference = scan[0].rows().await?;
    rows::assert_equal(&reference, scan[1].name, &scan[1].rows().await?)?;
    let first = all(&format!("(SELECT * FROM batches ORDER BY at LIMIT {ones}) AS first"));
    let first = Contender::data_fusion("parquet", &plain, first);
    rows::assert_equal(&scan[2].rows().await?, first.name, &first.rows().await?)?;
    measured.hash = rows::fingerprint(&reference)?.to_string();

    let samples = interleave(&scan, measured.rounds).await?;
    measured.table("scan", &samples);
    measured.findings.push(Finding::rate("scan", records, &samples[0], &samples[1], Some(0.5)));
    measured.findings.push(Finding::at_rate("scan_one_by_one", ones, &samples[2], 2_000_000.0));
    for (measure, sql) in [
        ("last_of_batches", "SELECT * FROM batches ORDER BY _offset DESC LIMIT 1".to_string()),
        ("last_of_ones", "SELECT * FROM ones ORDER BY _offset DESC LIMIT 1".to_string()),
        ("latest_of_key", format!("SELECT * FROM batches$latest WHERE user_id = {}", records as i64 / 3 % KEYS)),
    ] {
        let samples = interleave(&[Contender::polder(&engine, sql)], measured.rounds).await?;
        measured.table(measure, &samples);
        measured.findings.push(Finding::within(measure, &samples[0], 5.0));
    }
    Ok(measured)
}

fn topic(name: &str) -> String {
    format!(
        "CREATE TOPIC {name} (user_id BIGINT NOT NULL, url TEXT, agent TEXT, status INT, seconds DOUBLE, at TIMESTAMP)
         WITH (key = 'user_id')"
    )
}

/// Reads every column, and does little else.
fn all(table: &str) -> String {
    format!(
        "SELECT sum(user_id) AS users, max(url) AS url, max(agent) AS agent, sum(status) AS status,
                sum(seconds) AS seconds, max(at) AS at
         FROM {table}"
    )
}

async fn fill(engine: &Engine, topic: &str, records: usize, batch: usize) -> Result<()> {
    let session: Session = engine.session();
    let appends = (0..records / batch).map(|number| append(&session, topic, number * batch, batch));
    futures::stream::iter(appends).buffered(IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await
}

async fn append(session: &Session, topic: &str, start: usize, count: usize) -> Result<u64> {
    Ok(session.append(topic, records(start, count)?).await?)
}

fn records(start: usize, count: usize) -> Result<RecordBatch> {
    let ids = || (start as i64)..((start + count) as i64);
    let columns: [(&str, ArrayRef); 6] = [
        ("user_id", Arc::new(Int64Array::from_iter_values(ids().map(|id| id % KEYS)))),
        ("url", Arc::new(StringArray::from_iter_values(ids().map(|id| format!("/a/page/of/some/length/{id:0>12}"))))),
        (
            "agent",
            Arc::new(StringArray::from_iter_values(ids().map(|id| format!("an agent, version {:0>18}", id % 97)))),
        ),
        ("status", Arc::new(Int32Array::from_iter_values(ids().map(|id| (id % 5) as i32 * 100)))),
        ("seconds", Arc::new(Float64Array::from_iter_values(ids().map(|id| id as f64 / 7.0)))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(ids()))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn write_parquet(file: &Path, count: usize) -> Result<()> {
    let mut writer = ArrowWriter::try_new(File::create(file)?, records(0, 1)?.schema(), None)?;
    for start in (0..count).step_by(BATCH) {
        writer.write(&records(start, BATCH)?)?;
    }
    writer.close()?;
    Ok(())
}
