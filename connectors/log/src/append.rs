//! Appending to a topic: rows go to their shards, one entry each.
//!
//! ```text
//! batches ─ check NOT NULL ─ hash keys ─ rows by shard ─ one entry a shard ─ append all ─ wait for all
//! ```
//!
//! # Promises
//! 1. What one call appends to one shard is one entry: durable and visible as a whole, or not at all.
//! 2. Over several shards it is several entries under one request id. If one fails, or the call is dropped, others may be
//!    in the log; the error says so. A caller that needs more appends to a topic with one shard.
//! 3. Rows of one key go to one shard, in the order in which they were given. Rows without a key go where the turn is, a
//!    batch each.
//! 4. Memory is bounded: an entry that grows beyond some megabytes goes to a file beside its shard until it is appended.

use crate::columns::TopicTable;
use crate::error::of_store;
use crate::pins::find;
use crate::source::{LogSource, Topics};
use crate::store::{Attributes, EntryKind, Log, NewEntry};
use arrow::array::{ArrayRef, UInt32Array, new_null_array};
use arrow::compute::take_record_batch;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use futures::{Stream, StreamExt};
use polder_catalog::{Error, Offset, Result, ShardName, SqlState};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Rows that are encoded on the thread of the caller; more go to one that may block.
const ROWS_INLINE_MAX: usize = 512;

/// What an append is answered with once it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// How many rows.
    pub rows: u64,
    /// For each shard that got some, the offset after its last: what a reader must have reached to see them.
    pub ends: BTreeMap<ShardName, Offset>,
}

impl LogSource {
    /// Appends rows, in the columns of the topic. The request id, and what else is said about them, is in `attributes`.
    ///
    /// # Errors
    /// 42P01, 42804 if the columns are others, 23502 naming a column that must not be NULL: then nothing was appended.
    pub async fn append(
        &self,
        topic: &str,
        attributes: Attributes,
        rows: impl Stream<Item = Result<RecordBatch>> + Send,
    ) -> Result<Appended> {
        let mut entries = Entries::new(&self.0, topic, attributes)?;
        let mut rows = pin!(rows);
        while let Some(batch) = rows.next().await {
            entries = entries.with(batch?, None).await?;
        }
        entries.append().await
    }

    /// Appends one batch.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_batch(&self, topic: &str, attributes: Attributes, rows: RecordBatch) -> Result<Appended> {
        Entries::new(&self.0, topic, attributes)?.with(rows, None).await?.append().await
    }

    /// Appends a tombstone for each key: it is gone from the newest rows.
    ///
    /// # Errors
    /// 0A000 if the topic has no key; else as [`append`](Self::append).
    pub async fn tombstone(&self, topic: &str, attributes: Attributes, keys: ArrayRef) -> Result<Appended> {
        let entries = Entries::new(&self.0, topic, attributes)?;
        let rows = entries.tombstones(&keys)?;
        entries.with(rows, Some(-1)).await?.append().await
    }
}

/// The entries of one call, one for each shard that gets rows.
struct Entries {
    topics: Arc<Topics>,
    log: Arc<Log>,
    table: Arc<TopicTable>,
    attributes: Attributes,
    entries: BTreeMap<usize, NewEntry>,
    rows: u64,
}

impl Entries {
    fn new(topics: &Arc<Topics>, topic: &str, attributes: Attributes) -> Result<Self> {
        let (table, log) = (topics.table(topic)?, topics.log()?);
        Ok(Self { topics: Arc::clone(topics), log, table, attributes, entries: BTreeMap::new(), rows: 0 })
    }

    /// Adds rows; with the weight -1 they are tombstones.
    async fn with(mut self, rows: RecordBatch, weight: Option<i64>) -> Result<Self> {
        if rows.num_rows() <= ROWS_INLINE_MAX {
            self.add(rows, weight)?;
            return Ok(self);
        }
        let added = tokio::task::spawn_blocking(move || {
            self.add(rows, weight)?;
            Ok(self)
        });
        added.await.map_err(|error| Error::report(format!("the thread that encodes rows stopped: {error}")))?
    }

    fn add(&mut self, rows: RecordBatch, weight: Option<i64>) -> Result<()> {
        if rows.num_rows() == 0 {
            return self.stored(rows).map(|_| ());
        }
        let rows = self.stored(rows)?;
        if weight.is_none() {
            self.check_not_null(&rows)?;
        }
        self.rows += rows.num_rows() as u64;
        for (shard, rows) in self.route(rows)? {
            let weights = weight.map(|weight| vec![weight; rows.num_rows()]);
            let id = self.table.definition.schema_id();
            let entry = self.entry(shard)?;
            entry.add_changes(id, &rows, weights.as_deref()).map_err(of_store)?;
        }
        Ok(())
    }

    /// The rows under the schema that they are stored with.
    fn stored(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let stored = &self.table.stored;
        let fits = rows.num_columns() == stored.fields().len()
            && rows
                .columns()
                .iter()
                .zip(stored.fields())
                .all(|(column, field)| column.data_type() == field.data_type());
        if !fits {
            let types = |types: Vec<String>| types.join(", ");
            let found = types(rows.columns().iter().map(|column| column.data_type().to_string()).collect());
            let wanted = types(stored.fields().iter().map(|field| field.data_type().to_string()).collect());
            let message = format!("the rows do not fit the columns of topic \"{}\"", self.table.definition.name);
            return Err(Error::fix(SqlState::TYPE, message)
                .with_detail(format!("the columns are of types {wanted}, the rows of {found}")));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(stored), rows.columns().to_vec(), &options)
            .map_err(|error| Error::from_datafusion(error.into()))
    }

    fn check_not_null(&self, rows: &RecordBatch) -> Result<()> {
        let definition = &self.table.definition;
        let required = |at: usize| !definition.columns[at].field.is_nullable() || self.table.key == Some(at);
        match (0..rows.num_columns()).find(|at| required(*at) && rows.column(*at).null_count() > 0) {
            None => Ok(()),
            Some(at) => Err(null_in(&definition.name, definition.columns[at].field.name())),
        }
    }

    /// Rows with NULL everywhere but in the key.
    fn tombstones(&self, keys: &ArrayRef) -> Result<RecordBatch> {
        let name = &self.table.definition.name;
        let key = self.table.key.ok_or_else(|| no_key(name))?;
        let field = self.table.stored.field(key);
        if keys.data_type() != field.data_type() {
            let message =
                format!("a key of topic \"{name}\" is of type {}, not {}", field.data_type(), keys.data_type());
            return Err(Error::fix(SqlState::TYPE, message));
        }
        if keys.null_count() > 0 {
            return Err(null_in(name, field.name()));
        }
        let column = |at: usize| match at == key {
            true => Arc::clone(keys),
            false => new_null_array(self.table.stored.field(at).data_type(), keys.len()),
        };
        let columns = (0..self.table.declared()).map(column).collect();
        RecordBatch::try_new(Arc::clone(&self.table.stored), columns)
            .map_err(|error| Error::from_datafusion(error.into()))
    }

    /// The rows of each shard that gets some.
    fn route(&self, rows: RecordBatch) -> Result<Vec<(usize, RecordBatch)>> {
        let definition = &self.table.definition;
        let shards = definition.shards.len();
        if shards == 1 {
            return Ok(vec![(0, rows)]);
        }
        let Some(key) = self.table.key else {
            return Ok(vec![(self.topics.turn.fetch_add(1, Ordering::Relaxed) % shards, rows)]);
        };
        let hashes = definition.hash.of_each(rows.column(key))?;
        let mut places = vec![Vec::new(); shards];
        for (row, hash) in (0u32..).zip(hashes) {
            // A key is never NULL here.
            places[definition.shard_of(hash.unwrap_or_default())].push(row);
        }
        let places = places.into_iter().enumerate().filter(|(_, places)| !places.is_empty());
        let taken = places.map(|(shard, places)| {
            if places.len() == rows.num_rows() {
                return Ok((shard, rows.clone()));
            }
            Ok((shard, take_record_batch(&rows, &UInt32Array::from(places))?))
        });
        taken.collect::<Result<_, arrow::error::ArrowError>>().map_err(|error| Error::from_datafusion(error.into()))
    }

    fn entry(&mut self, shard: usize) -> Result<&mut NewEntry> {
        if !self.entries.contains_key(&shard) {
            let handle = find(&self.log, &self.table.definition.shards[shard])?;
            let entry = handle.new_entry(EntryKind::DATA).with_attributes(self.attributes.clone());
            self.entries.insert(shard, entry);
        }
        Ok(self.entries.get_mut(&shard).expect("the entry was just made"))
    }

    /// Appends all entries, and waits until all are durable.
    async fn append(self) -> Result<Appended> {
        let mut waiting = Vec::with_capacity(self.entries.len());
        for (shard, entry) in self.entries {
            let name = &self.table.definition.shards[shard];
            waiting.push((name, find(&self.log, name)?.append_async(entry).await));
        }
        let (mut appended, mut failed) = (Appended { rows: self.rows, ..Appended::default() }, None);
        for (name, pending) in waiting {
            match pending.await {
                Ok(answer) => {
                    let end = Offset(answer.end_offset().0);
                    appended.ends.insert(ShardName(name.as_str().into()), end);
                }
                Err(error) => failed = Some(of_store(error).at(format!("shard \"{name}\""))),
            }
        }
        match failed {
            None => Ok(appended),
            Some(error) => Err(partly(error, &appended)),
        }
    }
}

/// Says which shards have their rows all the same.
fn partly(error: Error, appended: &Appended) -> Error {
    if appended.ends.is_empty() {
        return error;
    }
    let shards: Vec<_> = appended.ends.keys().map(|shard| format!("\"{}\"", shard.0)).collect();
    error.with_detail(format!("the rows of shards {} are in the log", shards.join(", ")))
}

fn null_in(topic: &str, column: &str) -> Error {
    Error::fix(SqlState::NOT_NULL, format!("null value in column \"{column}\" of topic \"{topic}\" is refused"))
}

pub(crate) fn no_key(topic: &str) -> Error {
    Error::fix(SqlState::NOT_SUPPORTED, format!("topic \"{topic}\" has no key"))
        .with_hint("a topic has the key that it was created with: WITH (key = '...')")
}
