//! The topics of a log as a source: the catalog `polder`, schema `public`.

use crate::append::no_key;
use crate::changes::TopicChanges;
use crate::check::check;
use crate::columns::TopicTable;
use crate::error::of_store;
use crate::federation::TopicFederation;
use crate::key_index::KeyIndexes;
use crate::pins::{Pins, find};
use crate::provider::TopicProvider;
use crate::scan::Streams;
use crate::store::{self, CommitTime, Log, Shard, TrimPolicy};
use crate::topic::{LATEST, Retention, TopicDefinition};
use async_trait::async_trait;
use polder_catalog::{
    Capabilities, CatalogName, Changes, Check, Dataset, DatasetEntry, DatasetId, Error, Federation, Position,
    ReadContext, Result, Source, SqlState, Support,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// Opens the log. Called at the first use of a topic, and again after it failed.
pub type OpenLog = Arc<dyn Fn() -> store::Result<Arc<Log>> + Send + Sync>;

/// The schema that topics live in.
const SCHEMA: &str = "public";

/// The topics of a log. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct LogSource(pub(crate) Arc<Topics>);

/// What all reads and writes of topics share.
pub(crate) struct Topics {
    pub(crate) catalog: CatalogName,
    open: OpenLog,
    log: Mutex<Option<Arc<Log>>>,
    /// By name; replaced as a whole, so that a reader sees one state.
    tables: RwLock<Arc<BTreeMap<String, Arc<TopicTable>>>>,
    /// Which shard the next batch of a topic without a key goes to.
    pub(crate) turn: AtomicUsize,
    /// How many records were decoded so far.
    pub(crate) decoded: AtomicU64,
    pub(crate) keys: KeyIndexes,
    pub(crate) streams: Arc<Streams>,
    /// Tells that definitions have changed.
    pub(crate) defined: watch::Sender<()>,
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

impl LogSource {
    /// A source without topics yet, over a log that is opened when it is first needed.
    pub fn new(catalog: CatalogName, open: OpenLog) -> Self {
        let (log, tables, turn, decoded, keys, streams) = Default::default();
        let defined = watch::Sender::new(());
        Self(Arc::new(Topics { catalog, open, log, tables, turn, decoded, keys, streams, defined }))
    }

    /// Adds a topic, or puts another definition in the place of the one with the same id.
    ///
    /// # Errors
    /// 42P07 if another topic has the name; others if there cannot be such a topic.
    pub fn define(&self, definition: TopicDefinition) -> Result<()> {
        definition.check()?;
        self.0.change(|tables| {
            if tables.get(&definition.name).is_some_and(|other| other.definition.id != definition.id) {
                let message = format!("topic \"{}\" exists already", definition.name);
                return Err(Error::fix(SqlState::DUPLICATE_TABLE, message));
            }
            tables.retain(|_, other| other.definition.id != definition.id);
            tables.insert(definition.name.clone(), Arc::new(TopicTable::new(definition)));
            Ok(())
        })
    }

    /// Takes a topic away; what it was, if it was there. Its records stay in the log; what was derived from them goes.
    pub fn undefine(&self, name: &str) -> Option<TopicDefinition> {
        let taken = self.0.change(|tables| Ok(tables.remove(name)));
        let table = taken.ok().flatten()?;
        // A log that is not open yet has no index in use.
        if let Some(log) = self.0.log.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            self.0.keys.forget(log, &table.definition);
        }
        Some(table.definition.clone())
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<TopicDefinition> {
        self.0.tables().values().map(|table| table.definition.clone()).collect()
    }

    /// A topic by its name.
    pub fn topic(&self, name: &str) -> Option<TopicDefinition> {
        self.0.tables().get(name).map(|table| table.definition.clone())
    }

    /// Makes the reads of a query end at this position, unless it has read already.
    pub fn read_at(&self, context: &ReadContext, position: &Position) {
        Pins::of(context, &self.0.catalog).cut_at(position);
    }

    /// The position that the answer of a query reflects: the ends of the shards of the log as it saw them, if it read any.
    pub fn position(&self, context: &ReadContext) -> Position {
        Pins::of(context, &self.0.catalog).position()
    }

    /// Removes what the retention of a topic lets go: whole segments of its shards, none that is held. `now` is the time
    /// that ages are counted from. A shard that several datasets share is better trimmed by who knows them all.
    ///
    /// # Errors
    /// 42P01; the store's.
    pub async fn trim(&self, topic: &str, now: CommitTime) -> Result<u64> {
        let table = self.0.table(topic)?;
        let Retention { age, bytes } = table.definition.retention;
        let age = age.map(|age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let older_than = age.map(|age| CommitTime(now.0.saturating_sub(age)));
        let policy = TrimPolicy { before: None, older_than, bytes_max: bytes };
        let (log, mut removed) = (self.0.log()?, 0);
        for shard in &table.definition.shards {
            removed += find(&log, shard)?.trim(policy).await.map_err(of_store)?.bytes;
        }
        Ok(removed)
    }

    /// How many streams read topics now.
    pub fn active_streams(&self) -> usize {
        self.0.streams.active()
    }

    /// How many streams have read topics since the source was made.
    pub fn started_streams(&self) -> u64 {
        self.0.streams.started()
    }

    /// How many records were decoded since the source was made.
    pub fn decoded_records(&self) -> u64 {
        self.0.decoded.load(Ordering::Relaxed)
    }
}

impl Topics {
    /// The log, opened if it is not yet.
    pub(crate) fn log(&self) -> Result<Arc<Log>> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = log.as_ref() {
            return Ok(Arc::clone(log));
        }
        let opened = (self.open)().map_err(of_store)?;
        *log = Some(Arc::clone(&opened));
        Ok(opened)
    }

    pub(crate) fn tables(&self) -> Arc<BTreeMap<String, Arc<TopicTable>>> {
        Arc::clone(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A topic to write or read.
    pub(crate) fn table(&self, name: &str) -> Result<Arc<TopicTable>> {
        let table = self.tables().get(name).cloned();
        table.ok_or_else(|| Error::fix(SqlState::NO_TABLE, format!("topic \"{name}\" does not exist")))
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Arc<TopicTable>>) -> Result<T>) -> Result<T> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = BTreeMap::clone(&tables);
        let answer = change(&mut changed)?;
        *tables = Arc::new(changed);
        self.defined.send_replace(());
        Ok(answer)
    }

    /// A topic by the id of its dataset.
    pub(crate) fn table_of(&self, dataset: &DatasetId) -> Option<Arc<TopicTable>> {
        self.tables().values().find(|table| table.entry().id == *dataset).cloned()
    }

    /// The shards of all topics, each once. Those that are not in the log are left out.
    pub(crate) fn shards(&self) -> Result<Vec<Shard>> {
        let tables = self.tables();
        let names: BTreeSet<&String> = tables.values().flat_map(|table| &table.definition.shards).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let log = self.log()?;
        Ok(names.into_iter().filter_map(|name| log.shard(name)).collect())
    }

    fn describe(self: &Arc<Self>, context: &ReadContext, table: &Arc<TopicTable>, is_latest: bool) -> Result<Dataset> {
        let log = self.log()?;
        let pins = Pins::of(context, &self.catalog);
        let pinned = table.definition.shards.iter().map(|shard| pins.range(&log, shard)).collect::<Result<_>>()?;
        let entry = if is_latest { table.latest_entry() } else { table.entry() };
        let provider = TopicProvider::new(Arc::clone(self), context.clone(), Arc::clone(table), pinned, is_latest);
        let columns = table.columns();
        Ok(Dataset { entry, columns, provider: Arc::new(provider) })
    }
}

#[async_trait]
impl Source for LogSource {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            projection: Support::Exact,
            filter: Support::Exact,
            limit: Support::Exact,
            top_n: Support::Inexact,
            keys: true,
            snapshot: true,
            ..Capabilities::NONE
        }
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        context.check()?;
        Ok(vec![SCHEMA.to_string()])
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        context.check()?;
        if schema != SCHEMA {
            return Ok(Vec::new());
        }
        Ok(self.0.tables().values().map(|table| table.entry()).collect())
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        context.check()?;
        if schema != SCHEMA {
            return Ok(None);
        }
        let (name, is_latest) = match table.strip_suffix(LATEST) {
            Some(name) => (name, true),
            None => (table, false),
        };
        match self.0.tables().get(name) {
            Some(table) if is_latest && table.key.is_none() => Err(no_key(&table.definition.name)),
            Some(table) => self.0.describe(context, table, is_latest).map(Some),
            None => Ok(None),
        }
    }

    fn changes(&self) -> Option<Arc<dyn Changes>> {
        Some(Arc::new(TopicChanges(Arc::clone(&self.0))))
    }

    fn federation(&self) -> Option<Arc<dyn Federation>> {
        Some(Arc::new(TopicFederation))
    }

    async fn check(&self, _: &ReadContext) -> Vec<Check> {
        check(&self.0)
    }
}
