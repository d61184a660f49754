//! Measures the log on this machine: appends beside the raw rate of fdatasync, and scans beside memcpy.
//!
//! ```text
//! cargo run --release -p polder-log --no-default-features --example measure [FOLDER]
//! ```

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use polder_log::store::{BatchDecoder, EntryKind, Log, LogOptions, NewEntry, Offset, Result, SchemaId, Shard};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROWS: SchemaId = SchemaId { dataset: 1, schema: 1 };

/// How long each measurement of appends takes.
const LASTS: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".to_string());
    let folder = tempfile::tempdir_in(parent)?;
    raw_syncs(folder.path())?;
    let log = Log::open(folder.path().join("log"), LogOptions::default())?;
    for in_flight in [1, 16, 256] {
        appends(&log.create_shard(&format!("appends-{in_flight}"))?, in_flight)?;
    }
    let ones = log.create_shard("ones")?;
    fill(&ones, 1, 1_000_000)?;
    scan("one-row entries", &ones)?;
    let batches = log.create_shard("batches")?;
    fill(&batches, 1_000, 4_000)?;
    scan("entries of 1,000 rows", &batches)?;
    reopen(log, folder.path())?;
    if std::env::args().any(|argument| argument == "--large") {
        large(folder.path())?;
    }
    Ok(())
}

/// Writes 1 KB and syncs it, one after the other: no log with one append in flight is faster.
fn raw_syncs(folder: &Path) -> std::io::Result<()> {
    let mut file = File::create(folder.join("raw"))?;
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < LASTS {
        file.write_all(&[7; 1024])?;
        file.sync_data()?;
        count += 1;
    }
    println!("raw write + fdatasync of 1 KB      {:>10.0}/s", f64::from(count) / start.elapsed().as_secs_f64());
    Ok(())
}

fn appends(shard: &Shard, in_flight: usize) -> Result<()> {
    let payload = [7; 1000];
    let mut waiting = VecDeque::new();
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < LASTS {
        while waiting.len() < in_flight {
            let mut entry = NewEntry::new(EntryKind::DATA);
            entry.add_bytes(1, &payload)?;
            waiting.push_back(shard.append(entry));
        }
        // All that are done with the first are done with one sync: the queue fills again at once.
        for pending in waiting.drain(..in_flight.div_ceil(2)) {
            pending.wait()?;
            count += 1;
        }
    }
    println!(
        "append 1 KB, {in_flight:>3} in flight          {:>10.0}/s",
        f64::from(count) / start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn rows(count: usize, salt: usize) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, false),
        Field::new("n", DataType::Int64, true),
    ]);
    let ids = Int64Array::from_iter_values((0..count).map(|row| (salt + row) as i64));
    let names: StringArray = (0..count).map(|row| Some(format!("name {}", salt + row))).collect();
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids.clone()), Arc::new(names), Arc::new(ids)])
        .expect("the columns are those of the schema")
}

fn fill(shard: &Shard, rows_per_entry: usize, entries: usize) -> Result<()> {
    let source = rows(rows_per_entry + 999, 0);
    let mut waiting = VecDeque::new();
    let start = Instant::now();
    for number in 0..entries {
        let mut entry = NewEntry::new(EntryKind::DATA);
        entry.add_batch(ROWS, &source.slice(number % 999, rows_per_entry))?;
        waiting.push_back(shard.append(entry));
        if waiting.len() > 10_000 {
            waiting.pop_front().expect("it is not empty").wait()?;
        }
    }
    waiting.into_iter().try_for_each(|pending| pending.wait().map(drop))?;
    let rate = (entries * rows_per_entry) as f64 / start.elapsed().as_secs_f64();
    println!("fill {entries} entries of {rows_per_entry} rows {rate:>14.0} rows/s");
    Ok(())
}

fn scan(what: &str, shard: &Shard) -> Result<()> {
    for round in 0..2 {
        let start = Instant::now();
        let mut decoder = None;
        let (mut rows, mut bytes) = (0, 0);
        for entry in shard.read_from(Offset(0))? {
            let entry = entry?;
            bytes += entry.stored_bytes();
            if entry.header().kind != EntryKind::DATA {
                continue;
            }
            for part in entry.parts() {
                let decoder = match &mut decoder {
                    Some(decoder) => decoder,
                    none => none.insert(BatchDecoder::new(entry.schema(ROWS)?, None, 8192)?),
                };
                decoder.push(&part?)?;
                while let Some(batch) = decoder.next_batch() {
                    rows += batch.num_rows();
                }
            }
        }
        if let Some(batch) = decoder.and_then(|mut decoder| decoder.flush().transpose()) {
            rows += batch?.num_rows();
        }
        let seconds = start.elapsed().as_secs_f64();
        let (row_rate, byte_rate) = (rows as f64 / seconds, bytes as f64 / seconds / 1e6);
        println!("scan {what:<24} round {round} {row_rate:>12.0} rows/s {byte_rate:>8.0} MB/s, one thread");
    }
    Ok(())
}

fn reopen(log: Log, folder: &Path) -> Result<()> {
    drop(log);
    let start = Instant::now();
    let log = Log::open(folder.join("log"), LogOptions::default())?;
    println!("reopen {} shards in {:?}", log.shards().len(), start.elapsed());
    Ok(())
}

/// An entry of 2 GB, written and read with the memory of a few parts.
fn large(folder: &Path) -> Result<()> {
    let log = Log::open(folder.join("large"), LogOptions::default())?;
    let block = vec![5; 4 << 20];
    let start = Instant::now();
    let mut entry = log.main().new_entry(EntryKind::DATA);
    for _ in 0..512 {
        entry.add_bytes(1, &block)?;
    }
    log.main().append(entry).wait()?;
    println!("a 2 GB entry is written in {:?}, peak memory {}", start.elapsed(), peak_memory());
    let start = Instant::now();
    let entry = log.main().read_from(Offset(0))?.next().expect("it was appended")?;
    let parts = entry.parts().filter(|part| part.as_ref().is_ok_and(|part| part.payload == block)).count();
    println!("a 2 GB entry is read in {:?}, {parts} parts, peak memory {}", start.elapsed(), peak_memory());
    drop(log);
    let start = Instant::now();
    Log::open(folder.join("large"), LogOptions::default())?;
    println!("a log whose last segment has it is opened in {:?}, peak memory {}", start.elapsed(), peak_memory());
    Ok(())
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
    line.trim_start_matches("VmHWM:").trim().to_string()
}
