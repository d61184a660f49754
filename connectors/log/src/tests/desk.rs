//! What the tests share: a log with topics, queries over them.

use crate::store::{Attributes, Log, LogOptions};
use crate::{Appended, KeyHash, LogSource, Retention, TopicColumn, TopicDefinition};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_common::TableReference;
use polder_catalog::{CatalogName, Principal, QueryId, ReadContext, Source, SourceTable, TableName};
use std::path::Path;
use std::sync::Arc;

pub(super) struct Desk {
    pub(super) source: LogSource,
    pub(super) log: Arc<Log>,
    _folder: Option<tempfile::TempDir>,
}

pub(super) fn catalog() -> CatalogName {
    CatalogName::new("polder")
}

pub(super) fn attributes(request: &str) -> Attributes {
    Attributes { request_id: Some(request.to_string()), ..Attributes::default() }
}

pub(super) fn context() -> ReadContext {
    contexts(2, true)
}

pub(super) fn contexts(partitions: usize, pushdown: bool) -> ReadContext {
    let builder = ReadContext::builder(QueryId("q".into()), Principal("tester".into()));
    builder.partitions(partitions).pushdown(pushdown).build()
}

/// `user_id`, the key, and `url`.
pub(super) fn clicks(name: &str, shards: usize) -> TopicDefinition {
    let fields = [Field::new("user_id", DataType::Int64, false), Field::new("url", DataType::Utf8, true)];
    definition(7, name, &fields, shards, Some(1))
}

pub(super) fn definition(id: u64, name: &str, fields: &[Field], shards: usize, key: Option<u32>) -> TopicDefinition {
    let column = |(id, field): (u32, &Field)| TopicColumn { id, field: Arc::new(field.clone()) };
    TopicDefinition {
        id,
        name: name.to_string(),
        columns: (1u32..).zip(fields).map(column).collect(),
        schema: 1,
        shards: (0..shards).map(|shard| format!("{name}-{shard}")).collect(),
        key,
        hash: KeyHash::Xxh64,
        retention: Retention::default(),
    }
}

pub(super) fn click_schema() -> SchemaRef {
    let fields = vec![Field::new("user_id", DataType::Int64, true), Field::new("url", DataType::Utf8, true)];
    Arc::new(Schema::new(fields))
}

pub(super) fn rows(rows: &[(i64, Option<&str>)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let urls: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1)));
    RecordBatch::try_new(click_schema(), vec![ids, urls]).unwrap()
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with(LogOptions::default())
    }

    pub(super) fn with(options: LogOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::in_folder(folder.path(), options).keeping(folder)
    }

    pub(super) fn in_folder(folder: &Path, options: LogOptions) -> Self {
        let log = Arc::new(Log::open(folder, options).unwrap());
        let opened = Arc::clone(&log);
        let source = LogSource::new(catalog(), Arc::new(move || Ok(Arc::clone(&opened))));
        Self { source, log, _folder: None }
    }

    fn keeping(self, folder: tempfile::TempDir) -> Self {
        Self { _folder: Some(folder), ..self }
    }

    /// A desk with the topic `clicks`.
    pub(super) fn clicks(shards: usize) -> Self {
        let desk = Self::new();
        desk.define(clicks("clicks", shards));
        desk
    }

    pub(super) fn define(&self, definition: TopicDefinition) {
        for shard in &definition.shards {
            if self.log.shard(shard).is_none() {
                self.log.create_shard(shard).unwrap();
            }
        }
        self.source.define(definition).unwrap();
    }

    pub(super) async fn append(&self, batch: RecordBatch) -> Appended {
        self.source.append_batch("clicks", attributes("r"), batch).await.unwrap()
    }

    /// A session in which these topics are registered, as the engine does it for one query.
    pub(super) async fn session(&self, context: &ReadContext, tables: &[&str]) -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(context.partitions());
        let session = SessionContext::new_with_config(config);
        let federation = self.source.federation().filter(|_| context.pushdown());
        for table in tables {
            let dataset = self.source.dataset(context, "public", table).await.unwrap().unwrap();
            let name = TableName { catalog: catalog(), schema: "public".into(), table: (*table).to_string() };
            let provider = SourceTable::new(name, dataset, federation.clone());
            session.register_table(TableReference::bare(*table), Arc::new(provider)).unwrap();
        }
        session
    }

    /// The rows of a query over `clicks`, printed, in no order.
    pub(super) async fn query(&self, context: &ReadContext, query: &str) -> Vec<String> {
        let tables = self.source.topics().into_iter().map(|topic| topic.name).collect::<Vec<_>>();
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        let session = self.session(context, &tables).await;
        run(&session, query).await
    }
}

pub(super) async fn run(session: &SessionContext, query: &str) -> Vec<String> {
    let (state, plan) = session.sql(query).await.unwrap().into_parts();
    let plan = polder_catalog::conformance::push(state.optimize(&plan).unwrap()).unwrap();
    let plan = state.query_planner().create_physical_plan(&plan, &state).await.unwrap();
    let batches = datafusion::physical_plan::collect(plan, session.task_ctx()).await.unwrap();
    printed(&batches)
}

pub(super) fn printed(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayRef| match column.is_null(row) {
                true => "NULL".to_string(),
                false => arrow::util::display::array_value_to_string(column, row).unwrap(),
            };
            lines.push(batch.columns().iter().map(cell).collect::<Vec<_>>().join(" "));
        }
    }
    lines.sort();
    lines
}
