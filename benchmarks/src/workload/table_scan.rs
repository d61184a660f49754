//! `table_scan`: five million rows of a table after a million random updates, beside the same rows in one Parquet file; one row by
//! its key; and how long the engine takes from being opened to its first answer.

use super::data_fusion_table;
use crate::Result;
use crate::arguments::Settings;
use crate::contender::{Contender, query};
use crate::measure::{Samples, interleave};
use crate::report::{Finding, Measured};
use crate::rows;
use datafusion::parquet::arrow::ArrowWriter;
use polder::{Engine, Session};
use std::fs::File;
use std::path::Path;
use std::time::Instant;

const ROUNDS: u32 = 5;
const LOOKUPS: usize = 500;
/// Rows of one INSERT, and of one INSERT ... ON CONFLICT DO UPDATE.
const INSERTED: usize = 100_000;
const UPDATED: usize = 1_000;

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let (count, updates) = if settings.small { (20_000, 4_000) } else { (5_000_000, 1_000_000) };
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("polder");
    let engine = open(&data).await?;
    fill(&engine.session(), count, updates).await?;
    let file = folder.path().join("items.parquet");
    write_parquet(&engine.session(), &file).await?;

    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    let log_megabytes = bytes_of(&data.join("log"))? / 1_000_000;
    measured.contenders =
        vec![format!("polder ({log_megabytes} MB of log)"), "DataFusion with the rows in Parquet".to_string()];
    let plain = data_fusion_table(&file, "items", settings.threads).await?;
    let scan = [Contender::polder(&engine, all()), Contender::data_fusion("parquet", &plain, all())];
    let reference = scan[0].rows().await?;
    rows::assert_equal(&reference, scan[1].name, &scan[1].rows().await?)?;
    measured.hash = rows::fingerprint(&reference)?.to_string();
    let samples = interleave(&scan, measured.rounds).await?;
    measured.table("table_scan", &samples);
    measured.findings.push(Finding::time("table_scan", &samples[0], &samples[1], Some(2.0)));

    let lookups = lookups(&engine.session(), count).await?;
    measured.table("table_lookup", std::slice::from_ref(&lookups));
    measured.findings.push(Finding::within("table_lookup", &lookups, 1.0));

    drop(scan);
    engine.close().await?;
    let restarts = restarts(&data, count, measured.rounds).await?;
    measured.table("restart", std::slice::from_ref(&restarts));
    measured.findings.push(Finding::within("restart", &restarts, 3_000.0));
    Ok(measured)
}

async fn open(data: &Path) -> Result<Engine> {
    Ok(Engine::builder().data_dir(Some(data.to_path_buf())).open().await?)
}

/// Reads every column, and does little else.
fn all() -> &'static str {
    "SELECT sum(id) AS id, sum(account) AS account, sum(status) AS status, sum(amount) AS amount, max(note) AS note,
            max(at) AS at
     FROM items"
}

async fn fill(session: &Session, count: usize, updates: usize) -> Result<()> {
    let table =
        "CREATE TABLE items (id BIGINT PRIMARY KEY, account BIGINT NOT NULL, status INT, amount DOUBLE, note TEXT,
                 at TIMESTAMP)";
    session.run(table).await?;
    for start in (0..count).step_by(INSERTED) {
        let end = (start + INSERTED).min(count) - 1;
        let insert = format!("INSERT INTO items {} FROM generate_series({start}, {end}) AS g (n)", row("n"));
        session.run(&insert).await?;
    }
    for start in (0..updates).step_by(UPDATED) {
        // Far from each other, and all over the table.
        let id = format!("(n * 2654435761 % {count})");
        let rows = format!("{} FROM generate_series({start}, {}) AS g (n)", row(&id), start + UPDATED - 1);
        let update = "ON CONFLICT (id) DO UPDATE SET status = items.status + 1, amount = excluded.amount + 1";
        session.run(&format!("INSERT INTO items SELECT DISTINCT ON (id) * FROM ({rows}) AS given {update}")).await?;
    }
    Ok(())
}

/// About 160 bytes.
fn row(id: &str) -> String {
    format!(
        "SELECT {id} AS id, {id} % 1009 AS account, 0 AS status, {id} / 7.0 AS amount,
                'a note of some length, as people write them, about item ' || lpad(({id})::text, 60, '0') AS note,
                to_timestamp_micros({id}) AS at"
    )
}

async fn write_parquet(session: &Session, file: &Path) -> Result<()> {
    let mut rows = query(session, "SELECT * FROM items").await?;
    let mut writer = ArrowWriter::try_new(File::create(file)?, rows.schema(), None)?;
    while let Some(batch) = rows.next().await? {
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(())
}

/// As an application asks: a text for each, from words to the row.
async fn lookups(session: &Session, count: usize) -> Result<Samples> {
    let mut times = Vec::new();
    for number in 0..LOOKUPS {
        let id = number * 7_919_317 % count;
        let start = Instant::now();
        let found = query(session, &format!("SELECT * FROM items WHERE id = {id}")).await?.collect().await?;
        times.push(start.elapsed());
        if rows::count(&found) != 1 {
            return Err(format!("item {id} is there {} times", rows::count(&found)).into());
        }
    }
    Ok(Samples::new("polder", times))
}

async fn restarts(data: &Path, count: usize, rounds: u32) -> Result<Samples> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        let engine = open(data).await?;
        let found = query(&engine.session(), "SELECT id FROM items").await?.collect().await?;
        times.push(start.elapsed());
        if rows::count(&found) != count {
            return Err(format!("{} items came back of {count}", rows::count(&found)).into());
        }
        engine.close().await?;
    }
    Ok(Samples::new("polder", times))
}

fn bytes_of(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { bytes_of(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
