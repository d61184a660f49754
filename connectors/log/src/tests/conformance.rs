//! The conformance suite on topics. All of them share one shard, so that one entry has parts of several.

use super::desk::definition;
use crate::store::{EntryKind, Log, LogOptions, NewEntry, TrimPolicy};
use crate::{LogSource, TopicColumn, TopicDefinition};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use polder_catalog::conformance::{Edit, Outcome, Subject, Table, Trouble, run};
use polder_catalog::{CatalogName, Connector, OptionSpec, Options, Result, Source};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SHARD: &str = "topics";

/// Topics have no connector of their own: the engine attaches their catalog. This one attaches a log without topics.
#[derive(Debug)]
struct TopicConnector;

#[async_trait]
impl Connector for TopicConnector {
    fn name(&self) -> &'static str {
        "topics"
    }

    fn doc(&self) -> &'static str {
        "The topics of a log."
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    async fn attach(&self, name: &CatalogName, _: Options) -> Result<Arc<dyn Source>> {
        let nothing = || Err(crate::store::Error::declined("there is no log"));
        Ok(Arc::new(LogSource::new(name.clone(), Arc::new(nothing))))
    }
}

pub(super) struct TopicSubject {
    source: LogSource,
    log: Arc<Log>,
    ids: AtomicU64,
    _folder: tempfile::TempDir,
}

impl TopicSubject {
    #[expect(clippy::unused_async, reason = "the suite starts its subjects so")]
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Every commit begins a new segment, so that history can be forgotten.
        let options = LogOptions { segment_bytes: 64, ..LogOptions::default() };
        let log = Arc::new(Log::open(folder.path(), options).expect("a new log"));
        log.create_shard(SHARD).expect("a new shard");
        let opened = Arc::clone(&log);
        let source = LogSource::new(CatalogName::new("polder"), Arc::new(move || Ok(Arc::clone(&opened))));
        Self { source, log, ids: AtomicU64::new(1), _folder: folder }
    }

    fn add(&self, entry: &mut NewEntry, table: &str, rows: &RecordBatch) {
        let topic = self.source.topic(table).expect("the topic is defined");
        let rows = RecordBatch::try_new(topic.stored_schema(), rows.columns().to_vec()).expect("the rows fit");
        entry.add_batch(topic.schema_id(), &rows).expect("the rows are encoded");
    }

    async fn append(&self, entry: NewEntry) {
        if entry.record_count() == 0 {
            return;
        }
        let shard = self.log.shard(SHARD).expect("the shard is there");
        shard.append_async(entry).await.await.expect("the entry is appended");
    }

    fn add_column(&self, table: &str, field: &FieldRef) {
        let mut topic = self.source.topic(table).expect("the topic is defined");
        let id = topic.columns.iter().map(|column| column.id).max().unwrap_or_default() + 1;
        topic.columns.push(TopicColumn { id, field: Arc::clone(field) });
        topic.schema += 1;
        self.source.define(topic).expect("the topic is altered");
    }
}

#[async_trait]
impl Subject for TopicSubject {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(TopicConnector)
    }

    fn options(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn catalog(&self) -> CatalogName {
        CatalogName::new("polder")
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.source.clone())
    }

    fn types(&self) -> Vec<DataType> {
        types()
    }

    fn keeps_not_null(&self) -> bool {
        false
    }

    fn deletes(&self) -> bool {
        false
    }

    async fn create(&self, table: &Table) -> Result<()> {
        let fields: Vec<Field> = table.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let key = table.key.as_ref().and_then(|key| table.schema.index_of(key).ok()).map(|key| key as u32 + 1);
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let topic = definition(id, &table.name, &fields, 1, key);
        self.source.define(TopicDefinition { shards: vec![SHARD.to_string()], ..topic })?;
        let mut entry = NewEntry::new(EntryKind::DATA);
        table.rows.iter().for_each(|rows| self.add(&mut entry, &table.name, rows));
        self.append(entry).await;
        Ok(())
    }

    async fn drop(&self, table: &str) -> Result<()> {
        self.source.undefine(table);
        Ok(())
    }

    async fn commit(&self, edits: &[Edit]) -> Result<bool> {
        let mut entry = NewEntry::new(EntryKind::DATA);
        for edit in edits {
            match edit {
                Edit::Insert { table, rows } => self.add(&mut entry, table, rows),
                Edit::AddColumn { table, field } => self.add_column(table, field),
                Edit::Delete { .. } | Edit::Truncate { .. } => return Ok(false),
            }
        }
        self.append(entry).await;
        Ok(true)
    }

    async fn active_requests(&self) -> Option<usize> {
        Some(self.source.active_streams())
    }

    async fn sent_requests(&self) -> Option<u64> {
        Some(self.source.started_streams())
    }

    async fn make(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::ForgetHistory => {
                let shard = self.log.shard(SHARD).expect("the shard is there");
                let all = TrimPolicy { before: Some(shard.end().offset), ..TrimPolicy::default() };
                shard.trim(all).await.expect("the shard is trimmed").segments > 0
            }
            Trouble::Scan | Trouble::Changes | Trouble::Apply => false,
        }
    }
}

/// The types that a declared column can have, as far as SQL has a name for them.
pub(super) fn types() -> Vec<DataType> {
    vec![
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::FixedSizeBinary(16),
        DataType::Date32,
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Decimal128(12, 2),
        DataType::Decimal128(38, 10),
        DataType::Decimal256(76, 20),
        DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))),
        DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
    ]
}

polder_catalog::conformance!(TopicSubject::start());

/// Every promise that is left out is named here.
#[tokio::test]
async fn topics_keep_what_can_be_asked_of_them() {
    let report = run(&TopicSubject::start().await).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    let not_applicable = report.names(|outcome| matches!(outcome, Outcome::NotApplicable(_)));
    let expected = [
        "connector_2_attaches_without_the_network",
        "connector_3_attaches_without_secrets",
        "changes_5_tells_old_rows",
        "writer_1_applies_whole_entries",
        "writer_1_a_refusal_leaves_no_trace",
        "writer_1_a_retry_leaves_no_trace",
        "writer_2_applies_once",
        "writer_3_remembers_with_the_data",
        "writer_4_dropped_anywhere_leaves_all_or_nothing",
        "writer_5_is_defined_by_the_log",
        "types_write_every_value",
    ];
    assert_eq!(not_applicable, expected, "{report}");
    // Nothing breaks a stream in the middle on demand, and a topic is never truncated.
    let not_shown = [
        "scan_5_a_broken_stream_ends_with_an_error",
        "source_5_errors_name_the_source",
        "changes_6_tells_what_rows_cannot",
        "changes_break_off_with_an_error",
    ];
    let left_out = report.names(Outcome::is_not_shown);
    assert!(left_out.iter().all(|name| not_shown.contains(name)), "{report}");
}
